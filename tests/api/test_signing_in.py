"""Nobody gets in where they don't belong, and nobody who belongs is kept out longer than they must be."""

import asyncio
import base64
import json
import secrets
import statistics
import time

import pytest

from backend.auth import setup
from backend.auth.attempts import ATTEMPTS_MAX
from backend.demo import PEOPLE, person_id
from tests.api.phone import Phone


@pytest.fixture(params=["sqlite", "postgres"])
def store_kind(request: pytest.FixtureRequest) -> str:
    """Here on both databases; see conftest.py."""
    kind: str = request.param
    return kind


# Signing in.


async def test_a_worker_signs_in_and_gets_all_that_the_phone_goes_on_with(plant):
    phone = await plant.phone().sign_in("worker")
    given = phone.signed_in
    assert set(given) == {"person", "device", "certificate", "author_token", "keys", "epoch", "now"}
    assert given["person"]["id"] == person_id("worker")
    assert given["person"]["names"] == {"zh": "张伟", "en": "Zhang Wei"}
    assert given["person"]["roles"][0]["role"] == "worker"
    assert 0 < given["device"] < 2**48
    keys = plant.app.state["auth"].keys
    author = keys.verify_author(given["author_token"], plant.clock())
    assert (author.person, author.device) == (phone.person, phone.number)
    certificate = keys.verify_certificate(given["certificate"])
    assert (certificate.device, certificate.public_key, certificate.predecessors) == (phone.number, phone.spki, ())
    me = await phone.get("/api/auth/me")
    assert me.json()["person"]["id"] == phone.person


async def test_the_name_may_be_typed_in_any_case_and_width(plant):
    for name in ("WORKER", "ｗｏｒｋｅｒ", " Worker "):
        assert (await plant.phone().try_sign_in(name)).status_code == 200


async def test_a_wrong_password_and_an_unknown_name_get_the_same_answer(plant):
    wrong = await plant.phone().try_sign_in("worker", "not it at all")
    unknown = await plant.phone().try_sign_in("nobody-here", "not it at all")
    assert (wrong.status_code, wrong.json()) == (unknown.status_code, unknown.json())
    assert (wrong.status_code, wrong.json()["code"]) == (401, "auth.wrong")
    assert "set-cookie" not in wrong.headers


async def test_a_wrong_password_and_an_unknown_name_take_the_same_time(plant):
    async def took(username: str) -> float:
        began = time.perf_counter()
        await plant.phone().try_sign_in(username, "not it at all", {"public_key": "x"})
        return time.perf_counter() - began

    known, unknown = [], []
    for i, person in enumerate(PEOPLE * 4):
        known.append(await took(person.username))
        unknown.append(await took(f"nobody{i}"))
    plant.clock.pass_(minutes=6)
    one, other = statistics.median(known), statistics.median(unknown)
    assert 0.6 < one / other < 1.67, (one, other)


async def test_a_phone_that_is_known_proves_its_key_and_keeps_its_number(plant):
    phone = await plant.phone().sign_in("worker")
    number = phone.number
    await phone.sign_in("inspector")
    assert phone.number == number
    assert phone.person == person_id("inspector")


async def test_a_number_without_its_key_is_worth_nothing(plant):
    phone = await plant.phone().sign_in("worker")
    thief = plant.phone()
    for proof in (
        await thief.proof(phone.number),
        {**await phone.proof(), "number": phone.number + 1},
        {**await phone.proof(), "nonce": await phone.nonce()},
        {**await phone.proof(), "proof": base64.b64encode(b"x" * 64).decode()},
        {"number": phone.number},
        {},
    ):
        answer = await thief.try_sign_in("worker", device=proof)
        assert (answer.status_code, answer.json()["code"]) == (401, "auth.proof")


async def test_a_nonce_is_good_once_and_for_five_minutes(plant):
    phone = await plant.phone().sign_in("worker")
    proof = await phone.proof()
    assert (await phone.try_sign_in("worker", device=proof)).status_code == 200
    assert (await phone.try_sign_in("worker", device=proof)).json()["code"] == "auth.proof"
    old = await phone.proof()
    plant.clock.pass_(minutes=5)
    assert (await phone.try_sign_in("worker", device=old)).json()["code"] == "auth.proof"


@pytest.mark.parametrize("key", ["", "AAAA", "not base64", base64.b64encode(b"\x30\x00").decode()])
async def test_a_key_that_is_not_p256_is_refused(plant, key):
    answer = await plant.phone().try_sign_in("worker", device={"public_key": key})
    assert (answer.status_code, answer.json()["code"]) == (400, "auth.key")


async def test_numbers_are_random_and_never_given_again(plant):
    numbers = [(await plant.phone().sign_in("worker")).number for _ in range(20)]
    assert len(set(numbers)) == 20
    assert max(numbers) > 2**40


# Limits.


async def test_the_eleventh_wrong_password_in_five_minutes_waits_and_is_told_how_long(plant):
    for _ in range(ATTEMPTS_MAX):
        assert (await plant.phone().try_sign_in("worker", "wrong password")).status_code == 401
    for password in ("wrong password", "anlu-demo"):
        answer = await plant.phone().try_sign_in("worker", password)
        assert (answer.status_code, answer.json()["code"]) == (429, "auth.too_many")
        assert 0 < answer.json()["params"]["seconds"] <= 300
        assert answer.headers["retry-after"] == str(answer.json()["params"]["seconds"])
    assert (await plant.phone().try_sign_in("inspector")).status_code == 200, "another account on the same network is not touched"
    plant.clock.pass_(seconds=answer.json()["params"]["seconds"])
    assert (await plant.phone().try_sign_in("worker")).status_code == 200


async def test_guesses_at_the_same_moment_count_too_and_names_without_an_account_count_alike(plant):
    for name in ("worker", "nobody-here"):
        answers = await asyncio.gather(*(plant.phone().try_sign_in(name, f"guess {i}") for i in range(3 * ATTEMPTS_MAX)))
        statuses = [a.status_code for a in answers]
        assert (statuses.count(401), statuses.count(429)) == (ATTEMPTS_MAX, 2 * ATTEMPTS_MAX)


async def test_right_passwords_never_use_the_limit_up(plant):
    for _ in range(ATTEMPTS_MAX + 5):
        await plant.phone().sign_in("worker")


# Sessions.


async def test_the_session_is_an_opaque_cookie_that_scripts_and_other_sites_cannot_use(plant):
    phone = plant.phone()
    answer = await phone.try_sign_in("worker")
    cookie = answer.headers["set-cookie"]
    value = cookie.split(";")[0].partition("=")[2]
    assert len(base64.urlsafe_b64decode(value + "==")) * 8 == 128
    parts = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/", f"max-age={12 * 3600}"} <= parts
    assert value.encode() not in await plant.stored()


async def test_every_sign_in_makes_a_new_session(plant):
    phone = await plant.phone().sign_in("worker")
    first = phone.client.cookies["anlu"]
    await phone.sign_in("worker")
    assert phone.client.cookies["anlu"] != first


@pytest.mark.parametrize(("username", "hours"), [("worker", 12), ("supervisor", 12), ("admin", 8)])
async def test_a_session_ends_by_itself(plant, username, hours):
    phone = await plant.phone().sign_in(username)
    plant.clock.pass_(hours=hours - 0.1)
    assert (await phone.get("/api/auth/me")).status_code == 200
    plant.clock.pass_(hours=0.2)
    answer = await phone.get("/api/auth/me")
    assert (answer.status_code, answer.json()["code"]) == (401, "auth.expired")


async def test_signing_out_ends_the_session_and_not_the_author_token(plant):
    phone = await plant.phone().sign_in("worker")
    kept = dict(phone.client.cookies)
    assert (await phone.post("/api/auth/sign-out")).status_code == 204
    phone.client.cookies.update(kept)
    assert (await phone.get("/api/auth/me")).json()["code"] == "auth.expired"
    assert plant.app.state["auth"].keys.verify_author(phone.signed_in["author_token"], plant.clock()).person == phone.person


async def test_one_persons_request_never_lands_in_anothers_session(plant):
    phone = await plant.phone().sign_in("worker")
    theirs = phone.headers
    await phone.sign_in("inspector")
    for headers in (
        theirs,
        {},
        {"Anlu-Person": phone.person},
        {**phone.headers, "Anlu-Device": "1"},
        {**phone.headers, "Anlu-Device": "x"},
    ):
        answer = await phone.client.get("/api/auth/me", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (409, "auth.other_session")
    assert (await phone.client.get("/api/auth/me", params={"person": phone.person, "device": phone.number})).status_code == 200


@pytest.mark.parametrize("cookie", ["", "x", "a" * 22, "../..", "é"])
async def test_a_made_up_cookie_opens_nothing(plant, cookie):
    answer = await plant.browser().get("/api/auth/me", headers={"Cookie": f"anlu={cookie}".encode("latin-1")})
    assert (answer.status_code, answer.json()["code"]) == (401, "auth.expired")


async def test_a_page_of_another_site_can_ask_for_nothing_to_be_done(plant):
    phone = await plant.phone().sign_in("worker")
    for site in ("cross-site", "same-site"):
        for path, body in (("/api/auth/sign-in", {"username": "a", "password": "b", "device": {}}), ("/api/auth/refresh", {})):
            answer = await phone.client.post(path, json=body, headers={**phone.headers, "Sec-Fetch-Site": site})
            assert (answer.status_code, answer.json()["code"]) == (403, "auth.forbidden")
    assert (
        await phone.client.post("/api/auth/refresh", json={}, headers={**phone.headers, "Sec-Fetch-Site": "same-origin"})
    ).status_code == 200


# Going on.


async def test_refresh_gives_a_fresh_author_token_under_the_same_session(plant):
    phone = await plant.phone().sign_in("worker")
    plant.clock.pass_(hours=2)
    fresh = (await phone.post("/api/auth/refresh", {})).json()
    assert fresh["device"] == phone.number
    keys = plant.app.state["auth"].keys
    assert keys.verify_author(fresh["author_token"]).issued_at > keys.verify_author(phone.signed_in["author_token"]).issued_at


async def test_after_a_fork_the_phone_gets_a_new_number_that_names_the_old_ones(plant):
    phone = await plant.phone().sign_in("worker")
    keys = plant.app.state["auth"].keys
    numbers = [phone.number]
    for _ in range(2):
        heir = Phone(phone.client)
        body = {"device": {"label": "again", "public_key": heir.spki, "predecessor": await phone.proof()}}
        answer = await phone.post("/api/auth/refresh", body)
        assert answer.status_code == 200, answer.text
        heir.took(answer.json())
        assert keys.verify_certificate(heir.signed_in["certificate"]).predecessors == tuple(reversed(numbers))
        assert (await heir.get("/api/auth/me")).status_code == 200, "the session goes on under the new number"
        assert (await phone.get("/api/auth/me")).json()["code"] == "auth.other_session"
        numbers.append(heir.number)
        phone = heir


async def test_nobody_names_a_predecessor_whose_key_they_lack(plant):
    victim = await plant.phone().sign_in("worker")
    thief = await plant.phone().sign_in("inspector")
    body = {"device": {"public_key": thief.spki, "predecessor": await thief.proof(victim.number)}}
    assert (await thief.post("/api/auth/refresh", body)).json()["code"] == "auth.proof"


# The first administrator.


async def test_the_code_from_the_servers_screen_makes_the_first_administrator_once(empty):
    code = setup.make(empty.settings.keys_path, empty.clock())
    phone = empty.phone()
    body = {"code": code.lower().replace("-", " "), "name": {"zh": "孙丽", "en": "Sun Li"}, "username": "Sunli", "password": "鞍山-2026-冬"}
    made = await phone.client.post("/api/auth/setup", json={**body, "device": await phone.device()})
    assert made.status_code == 201, made.text
    phone.took(made.json()["signed_in"])
    assert phone.signed_in["person"]["caps"]["manage_people"] == ["*"]
    assert (await phone.get("/api/devices")).status_code == 200
    again = await empty.browser().post("/api/auth/setup", json=body)
    assert (again.status_code, again.json()["code"]) == (403, "auth.setup_code")
    assert (await empty.phone().try_sign_in("sunli", "鞍山-2026-冬")).status_code == 200


async def test_a_wrong_or_old_code_makes_nobody(empty):
    code = setup.make(empty.settings.keys_path, empty.clock())
    body = {"name": {"zh": "a", "en": "a"}, "username": "somebody", "password": "long enough"}
    for wrong in ("", "0000-0000-0000", code[:-1]):
        assert (await empty.browser().post("/api/auth/setup", json={**body, "code": wrong})).json()["code"] == "auth.setup_code"
    empty.clock.pass_(hours=25)
    assert (await empty.browser().post("/api/auth/setup", json={**body, "code": code})).json()["code"] == "auth.setup_code"


async def test_two_who_hold_the_code_at_once_do_not_both_get_in(empty):
    code = setup.make(empty.settings.keys_path, empty.clock())
    bodies = [{"code": code, "name": {"zh": "a", "en": "a"}, "username": f"user{i}", "password": "long enough"} for i in range(4)]
    answers = await asyncio.gather(*(empty.browser().post("/api/auth/setup", json=body) for body in bodies))
    assert sorted(a.status_code for a in answers) == [201, 403, 403, 403]


async def test_a_weak_password_or_a_bad_name_is_told_as_such(empty):
    code = setup.make(empty.settings.keys_path, empty.clock())
    body = {"code": code, "name": {"zh": "a", "en": "a"}, "username": "somebody", "password": "long enough"}
    for change, refusal in (
        ({"password": "short"}, "auth.password_weak"),
        ({"password": "x" * 201}, "auth.password_weak"),
        ({"username": "a b"}, "auth.username"),
    ):
        assert (await empty.browser().post("/api/auth/setup", json={**body, **change})).json()["code"] == refusal
    assert (await empty.browser().post("/api/auth/setup", json=body)).status_code == 201


async def test_a_plant_without_people_has_no_password_that_works(empty):
    for username in ("admin", "worker", "root"):
        assert (await empty.phone().try_sign_in(username)).json()["code"] == "auth.wrong"


# A supervisor, in person.


async def test_a_supervisor_opens_a_workers_phone_again(plant):
    phone = await plant.phone().sign_in("worker")
    body = {"person": phone.person, "username": "supervisor", "password": "anlu-demo"}
    for device in (None, await phone.proof()):
        answer = await phone.post("/api/auth/pin-reset", body | ({"device": device} if device else {}))
        assert answer.status_code == 200, answer.text
        phone.took(answer.json())
        assert phone.person == person_id("worker")
        assert (await phone.get("/api/auth/me")).json()["person"]["id"] == person_id("worker")


@pytest.mark.parametrize(
    ("username", "person", "refusal"),
    [
        ("worker", "inspector", "auth.forbidden"),
        ("gate", "worker", "auth.forbidden"),
        ("supervisor", "admin", "auth.forbidden"),
        ("supervisor", "gate", "auth.forbidden"),
        ("nobody-here", "worker", "auth.wrong"),
    ],
)
async def test_nobody_opens_a_phone_of_a_person_they_do_not_lead(plant, username, person, refusal):
    phone = await plant.phone().sign_in("worker")
    body = {"person": person_id(person), "username": username, "password": "anlu-demo", "device": await phone.proof()}
    assert (await phone.post("/api/auth/pin-reset", body)).json()["code"] == refusal


async def test_a_reset_without_a_phone_that_proves_itself_is_refused(plant):
    body = {"person": person_id("worker"), "username": "supervisor", "password": "anlu-demo"}
    assert (await plant.browser().post("/api/auth/pin-reset", json=body)).status_code == 401


# Accounts.


async def test_an_administrator_gives_an_account_and_the_old_sessions_end(plant):
    admin = await plant.phone().sign_in("admin")
    worker = await plant.phone().sign_in("worker")
    body = {"person": worker.person, "username": "Zhang.Wei", "password": "new password"}
    answer = await admin.post("/api/people/accounts", body)
    assert (answer.status_code, answer.json()["username"]) == (201, "zhang.wei")
    assert (await worker.get("/api/auth/me")).json()["code"] == "auth.expired"
    assert (await plant.phone().try_sign_in("worker")).json()["code"] == "auth.wrong"
    assert (await plant.phone().try_sign_in("zhang.wei", "new password")).status_code == 200
    taken = await admin.post("/api/people/accounts", {**body, "person": person_id("gate")})
    assert (taken.status_code, taken.json()["code"]) == (409, "auth.username_taken")
    unknown = await admin.post("/api/people/accounts", {**body, "username": "other", "person": "00000000-0000-7000-8000-000000000000"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "auth.person_unknown")


async def test_one_changes_ones_own_password_by_knowing_it(plant):
    phone, other = await plant.phone().sign_in("worker"), await plant.phone().sign_in("worker")
    assert (await phone.post("/api/auth/password", {"password": "wrong", "new_password": "new password"})).json()["code"] == "auth.wrong"
    assert (await phone.post("/api/auth/password", {"password": "anlu-demo", "new_password": "new password"})).status_code == 204
    assert (await phone.get("/api/auth/me")).status_code == 200
    assert (await other.get("/api/auth/me")).json()["code"] == "auth.expired"
    assert (await plant.phone().try_sign_in("worker", "new password")).status_code == 200


# Revocation.


async def test_a_revoked_person_is_out_at_once_and_stays_out_after_the_database_is_restored(plant):
    admin = await plant.phone().sign_in("admin")
    worker = await plant.phone().sign_in("worker")
    assert (await admin.post(f"/api/people/{worker.person}/revoke")).status_code == 204
    assert (await worker.get("/api/auth/me")).json()["code"] == "auth.expired"
    answer = await worker.try_sign_in("worker", device={"public_key": worker.spki})
    assert (answer.status_code, answer.json()["code"]) == (403, "auth.revoked")
    assert (await worker.try_sign_in("worker", "wrong password")).json()["code"] == "auth.wrong"
    from backend.auth.revocations import Revocations

    kept = Revocations(plant.settings.keys_path / "revocations.jsonl")
    assert kept.person(worker.person)
    assert (await admin.post(f"/api/people/{worker.person}/restore")).status_code == 204
    assert (await plant.phone().try_sign_in("worker")).status_code == 200


async def test_an_administrator_cannot_lock_themselves_out(plant):
    admin = await plant.phone().sign_in("admin")
    assert (await admin.post(f"/api/people/{admin.person}/revoke")).json()["code"] == "auth.yourself"


async def test_a_retired_phone_is_out_at_once_with_every_person_on_it(plant):
    admin = await plant.phone().sign_in("admin")
    lost = await plant.phone().sign_in("worker")
    await lost.post("/api/devices/report", {"held": 12, "unsent": 3, "photos": 2, "oldest_at": plant.clock() - 1000})
    listed = {d["number"]: d for d in (await admin.get("/api/devices")).json()["devices"]}
    assert (listed[lost.number]["held"], listed[lost.number]["unsent"], listed[lost.number]["photos"]) == (12, 3, 2)
    # A phone of the version before knows nothing of photos.
    assert (await lost.post("/api/devices/report", {"held": 12, "unsent": 3, "oldest_at": None})).status_code == 204
    assert (await admin.post(f"/api/devices/{lost.number}/retire")).status_code == 204
    # Nobody is sent to a sign-in that cannot help: the phone says that it was retired, and who can be asked.
    for answer in (await lost.get("/api/auth/me"), await lost.try_sign_in("inspector")):
        assert (answer.status_code, answer.json()["code"]) == (403, "auth.device_retired")
        assert set(answer.json()["params"]["by"]) == {"zh", "en"}
        assert answer.json()["params"]["by"]["zh"]
    assert (await admin.post(f"/api/devices/{2**47}/retire")).json()["code"] == "auth.device_unknown"
    assert plant.app.state["auth"].revocations.device(lost.number)


# What is written down.


async def test_no_password_token_or_cookie_is_in_the_log_or_the_database(plant, capsys):
    phone = await plant.phone().sign_in("worker", "anlu-demo")
    secret = secrets.token_hex(8)
    await plant.phone().try_sign_in("worker", secret)
    value = phone.client.cookies["anlu"]
    out = capsys.readouterr()
    said = out.out + out.err
    stored = await plant.stored()
    assert phone.person.encode() in stored
    for word in (secret, "anlu-demo", value, phone.signed_in["author_token"]):
        assert word not in said
        assert word.encode() not in stored


async def test_sign_ins_resets_and_revocations_are_on_record(plant):
    admin = await plant.phone().sign_in("admin")
    worker = await plant.phone().sign_in("worker")
    await worker.post("/api/auth/pin-reset", {"person": worker.person, "username": "supervisor", "password": "anlu-demo"})
    await admin.post(f"/api/people/{worker.person}/revoke")
    async with plant.app.state["store"].read() as tx:
        rows = [tuple(row) for row in await tx.all("SELECT what, by_person, person FROM auth_event ORDER BY at")]
    assert ("pin_reset", person_id("supervisor"), worker.person) in rows
    assert ("revoke", admin.person, worker.person) in rows
    assert [what for what, _, person in rows if person == worker.person].count("sign_in") == 1


def test_every_refusal_says_in_both_languages_what_to_do():
    from importlib.resources import files

    for code, entry in json.loads(files("backend.kernel").joinpath("catalogue/auth.json").read_text("utf-8")).items():
        assert entry["zh"].endswith("。"), code
        assert entry["do"]["zh"].endswith("。"), code
        assert entry["do"]["en"].endswith("."), code
