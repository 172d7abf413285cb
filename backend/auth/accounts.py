"""Accounts: a name to sign in with, for one person. The name is compared as NFKC and casefolded, so that a full-width keyboard signs in
too."""

import re
import unicodedata
from typing import Any

import msgspec

from backend.kernel.errors import Refusal

USERNAME_CHARS_MAX = 64
_USERNAME = re.compile(r"[\w.@+-]{2,64}")


class Account(msgspec.Struct, frozen=True):
    """An account; `password` is the PHC string."""

    username: str
    person: str
    password: str


def folded(username: str) -> str:
    """The one spelling of a user name."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username[: USERNAME_CHARS_MAX * 2]).casefold()).strip()


def checked(username: str) -> str:
    """The spelling to keep. Raises Refusal `auth.username`."""
    name = folded(username)
    if not _USERNAME.fullmatch(name):
        raise Refusal("auth.username", max=USERNAME_CHARS_MAX)
    return name


async def find(tx: Any, username: str) -> Account | None:
    """The account of this name, however it is spelled."""
    row = await tx.one("SELECT username, person, password FROM account WHERE username = $1", folded(username))
    return None if row is None else Account(row["username"], row["person"], row["password"])


async def of_person(tx: Any, person: str) -> Account | None:
    """The account of a person."""
    row = await tx.one("SELECT username, person, password FROM account WHERE person = $1", person)
    return None if row is None else Account(row["username"], row["person"], row["password"])


async def count(tx: Any) -> int:
    """How many accounts there are; none means that nobody has set the plant up yet."""
    row = await tx.one("SELECT COUNT(*) AS n FROM account")
    return int(row["n"])


async def put(tx: Any, username: str, person: str, password: str, now: int) -> None:
    """Make the person's account, or give it another name and password. Raises Refusal `auth.username_taken`."""
    held = await find(tx, username)
    if held is not None and held.person != person:
        raise Refusal("auth.username_taken", username=held.username)
    await tx.run("DELETE FROM account WHERE person = $1", person)
    await tx.run(
        "INSERT INTO account (username, person, password, made_at, changed_at) VALUES ($1, $2, $3, $4, $4)",
        folded(username),
        person,
        password,
        now,
    )


async def rehash(tx: Any, username: str, password: str) -> None:
    """Keep the same password at another cost."""
    await tx.run("UPDATE account SET password = $2 WHERE username = $1", username, password)
