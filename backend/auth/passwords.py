"""Passwords: Argon2id (RFC 9106) in threads behind a semaphore, at a cost measured once for this machine.

Floor 19 MiB, t=2, p=1 (OWASP Password Storage Cheat Sheet). The cost found at the first start is kept beside the keys, so that every hash
of a plant costs the same: an account that does not exist is then as slow as one that does.
"""

import asyncio
import secrets
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from backend.auth.tokens import write_secret
from backend.kernel.errors import Refusal

MEMORY_KIB_MIN = 19_456
ROUNDS_MIN = 2
ROUNDS_MAX = 12
PASSWORD_CHARS_MIN = 8
PASSWORD_CHARS_MAX = 200
HASHES_AT_ONCE_MAX = 2
HASHES_WAITING_MAX = 200
SALT_BYTES = 16

T = TypeVar("T")


class Cost(msgspec.Struct, frozen=True):
    """What one hash costs here."""

    memory_kib: int = MEMORY_KIB_MIN
    rounds: int = ROUNDS_MIN
    lanes: int = 1


class Passwords:
    """Hashes and compares. At most `HASHES_AT_ONCE_MAX` run, so that sign-ins leave the machine to the work."""

    def __init__(self, cost: Cost) -> None:
        self.cost = cost
        self._hasher = PasswordHasher(time_cost=cost.rounds, memory_cost=cost.memory_kib, parallelism=cost.lanes)
        self._nobody = self._hasher.hash(secrets.token_hex(SALT_BYTES))
        self._turn = asyncio.Semaphore(HASHES_AT_ONCE_MAX)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """The PHC string to keep. Raises Refusal `auth.password_weak`."""
        if not PASSWORD_CHARS_MIN <= len(password) <= PASSWORD_CHARS_MAX:
            raise Refusal("auth.password_weak", min=PASSWORD_CHARS_MIN, max=PASSWORD_CHARS_MAX)
        return await self._in_turn(lambda: self._hasher.hash(_folded(password)))

    async def matches(self, password: str, kept: str | None) -> bool:
        """Whether the password is the kept one; for nobody (None) the same work is done and the answer is no."""
        candidate = _folded(password[:PASSWORD_CHARS_MAX])

        def compare() -> bool:
            try:
                return self._hasher.verify(kept or self._nobody, candidate) and kept is not None
            except (VerificationError, InvalidHashError):
                return False

        return await self._in_turn(compare) and len(password) <= PASSWORD_CHARS_MAX

    def outdated(self, kept: str) -> bool:
        """Whether a kept hash was made at another cost and is to be made anew now that the password is at hand."""
        return self._hasher.check_needs_rehash(kept)

    async def _in_turn(self, work: Callable[[], T]) -> T:
        if self._waiting >= HASHES_WAITING_MAX:
            raise Refusal("http.unavailable", {"Retry-After": "10"}, seconds=10)
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1


def cost_of(file: Path, milliseconds_max: int) -> Cost:
    """The cost kept in `file`, or the dearest one that stays within the time on this machine, then kept. Never below the floor."""
    if file.exists():
        return msgspec.json.decode(file.read_bytes(), type=Cost)
    cost = calibrated(milliseconds_max)
    write_secret(file, msgspec.json.encode(cost))
    return cost


def calibrated(milliseconds_max: int) -> Cost:
    """Measure the floor and raise the rounds as far as the time allows: time grows with rounds, memory stays what a small server has."""
    floor = Cost()
    hasher = PasswordHasher(time_cost=floor.rounds, memory_cost=floor.memory_kib, parallelism=floor.lanes)
    took_ms = max(_measured_ms(hasher) for _ in range(3))
    rounds = int(ROUNDS_MIN * milliseconds_max / took_ms)
    return Cost(rounds=max(ROUNDS_MIN, min(ROUNDS_MAX, rounds)))


def _measured_ms(hasher: PasswordHasher) -> float:
    began = time.perf_counter()
    hasher.hash("calibration")
    return (time.perf_counter() - began) * 1000


def _folded(password: str) -> str:
    # NFKC: the same keys give another code point from one keyboard to the next.
    return unicodedata.normalize("NFKC", password)
