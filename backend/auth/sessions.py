"""Sessions: an opaque 128-bit number in a cookie, of which the database holds only the hash. New at each sign-in; ended at once by
revocation."""

import base64
import hashlib
import secrets
from typing import Any

import msgspec

TOKEN_BYTES = 16
OVER_KEPT_DAYS = 30
"""How long a session that is over stays on record."""
COOKIE = "anlu"
COOKIE_HTTPS = "__Host-anlu"
"""The prefix makes the browser refuse the cookie unless it is Secure, for this host alone and for every path."""


class Principal(msgspec.Struct, frozen=True):
    """Who is at which phone now. `session` is the hash that names the session; `at` when it began and `proven_at` when a password was
    last given, Unix ms."""

    person: str
    device: int
    session: str
    at: int
    proven_at: int


def new_token(random: bytes) -> str:
    """The cookie's value from 16 random bytes."""
    return base64.urlsafe_b64encode(random).decode().rstrip("=")


def name_of(token: str) -> str:
    """What the database knows the session by: without the cookie nobody can make a session from a stolen database."""
    return hashlib.sha256(token.encode()).hexdigest()


async def begin(tx: Any, person: str, device: int, now: int, ends_at: int) -> str:
    """Begin a session and give the cookie's value. Times are Unix ms."""
    await tx.run("DELETE FROM session WHERE ends_at < $1", now - OVER_KEPT_DAYS * 86_400_000)
    token = new_token(secrets.token_bytes(TOKEN_BYTES))
    await tx.run(
        "INSERT INTO session (name, person, device, began_at, proven_at, ends_at) VALUES ($1, $2, $3, $4, $4, $5)",
        name_of(token),
        person,
        device,
        now,
        ends_at,
    )
    return token


async def find(tx: Any, token: str, now: int) -> Principal | None:
    """Whose session this is; None where it is unknown, over or ended."""
    row = await tx.one(
        "SELECT name, person, device, began_at, proven_at FROM session WHERE name = $1 AND ended_at IS NULL AND ends_at > $2",
        name_of(token),
        now,
    )
    return None if row is None else Principal(row["person"], row["device"], row["name"], row["began_at"], row["proven_at"])


async def device(tx: Any, token: str) -> int | None:
    """The phone on which this session was begun, also once it is over; None where it is unknown."""
    row = await tx.one("SELECT device FROM session WHERE name = $1", name_of(token))
    return None if row is None else row["device"]


async def move(tx: Any, name: str, device: int) -> None:
    """The session goes on under the phone's new number."""
    await tx.run("UPDATE session SET device = $2 WHERE name = $1", name, device)


async def end(tx: Any, name: str, now: int) -> None:
    """End one session."""
    await tx.run("UPDATE session SET ended_at = $2 WHERE name = $1 AND ended_at IS NULL", name, now)


async def end_of_person(tx: Any, person: str, now: int) -> None:
    """End every session of a person, on all phones."""
    await tx.run("UPDATE session SET ended_at = $2 WHERE person = $1 AND ended_at IS NULL", person, now)
