"""A password is dear to guess, whoever's it is, and never keeps the others from working."""

import asyncio

import pytest
from argon2 import extract_parameters

from backend.auth.passwords import (
    HASHES_AT_ONCE_MAX,
    HASHES_WAITING_MAX,
    MEMORY_KIB_MIN,
    ROUNDS_MAX,
    ROUNDS_MIN,
    Cost,
    Passwords,
    calibrated,
    cost_of,
)
from backend.demo import PASSWORD
from backend.kernel.errors import Refusal


def test_the_cost_never_falls_below_the_floor_however_slow_the_machine_is():
    cost = calibrated(0)
    assert (cost.memory_kib, cost.rounds, cost.lanes) == (MEMORY_KIB_MIN, ROUNDS_MIN, 1) == (19_456, 2, 1)
    assert ROUNDS_MIN <= calibrated(250).rounds <= ROUNDS_MAX


def test_the_cost_is_measured_once_and_kept_beside_the_keys(tmp_path):
    first = cost_of(tmp_path / "cost.json", 250)
    assert cost_of(tmp_path / "cost.json", 0) == first
    assert (tmp_path / "cost.json").stat().st_mode & 0o077 == 0


async def test_what_is_kept_is_argon2id_at_that_cost():
    kept = await Passwords(Cost()).hash("long enough")
    assert kept.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert extract_parameters(kept).salt_len >= 16


async def test_the_same_keys_of_another_keyboard_are_the_same_password():
    passwords = Passwords(Cost())
    kept = await passwords.hash("ｐａｓｓｗｏｒｄ１")
    assert await passwords.matches("password1", kept)
    assert not await passwords.matches("password2", kept)
    assert not await passwords.matches("", kept)
    assert not await passwords.matches("password1", None)


async def test_a_very_long_password_is_neither_kept_nor_cut_short_in_comparing():
    passwords = Passwords(Cost())
    kept = await passwords.hash("x" * 200)
    assert await passwords.matches("x" * 200, kept)
    assert not await passwords.matches("x" * 201, kept)
    with pytest.raises(Refusal):
        await passwords.hash("x" * 201)


async def test_few_run_at_once_and_beyond_a_long_queue_who_comes_is_told_to_wait():
    passwords = Passwords(Cost())
    running, most = 0, 0

    def work() -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        running -= 1
        return 1

    answers = await asyncio.gather(*(passwords._in_turn(work) for _ in range(HASHES_WAITING_MAX + 20)), return_exceptions=True)
    refused = [a for a in answers if isinstance(a, Refusal)]
    assert answers.count(1) == HASHES_WAITING_MAX
    assert {(r.code, r.headers["Retry-After"]) for r in refused} == {("http.unavailable", "10")}
    assert most <= HASHES_AT_ONCE_MAX


async def test_a_hash_of_another_cost_is_made_anew_at_the_next_sign_in(plant):
    auth = plant.app.state["auth"]
    auth.passwords = Passwords(Cost(rounds=3))
    await plant.phone().sign_in("worker")
    async with plant.app.state["store"].read() as tx:
        row = await tx.one("SELECT password FROM account WHERE username = 'worker'")
    assert ",t=3," in row["password"]
    assert await auth.passwords.matches(PASSWORD, row["password"])
