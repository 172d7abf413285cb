"""Accounts: a name to sign in with, for one person. The name is compared as NFKC and casefolded, so that a full-width keyboard signs in
too."""

import re
import unicodedata
from typing import Any

import msgspec

from backend.auth.tables import AccountRow
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


async def find(username: str) -> Account | None:
    """The account of this name, however it is spelled. Like all here, in the running transaction."""
    return _account(await AccountRow.select().where(AccountRow.username == folded(username)).first())


async def of_person(person: str) -> Account | None:
    """The account of a person."""
    return _account(await AccountRow.select().where(AccountRow.person == person).first())


async def any_yet() -> bool:
    """Whether there is an account; none means that nobody has set the plant up yet."""
    return bool(await AccountRow.exists())


async def put(username: str, person: str, password: str, now: int) -> None:
    """Make the person's account, or give it another name and password. Raises Refusal `auth.username_taken`."""
    held = await find(username)
    if held is not None and held.person != person:
        raise Refusal("auth.username_taken", username=held.username)
    await AccountRow.delete().where(AccountRow.person == person)
    await AccountRow.insert(AccountRow(username=folded(username), person=person, password=password, made_at=now, changed_at=now))


async def rehash(username: str, password: str) -> None:
    """Keep the same password at another cost."""
    await AccountRow.update({AccountRow.password: password}).where(AccountRow.username == username)


def _account(row: dict[str, Any] | None) -> Account | None:
    return None if row is None else Account(row["username"], row["person"], row["password"])
