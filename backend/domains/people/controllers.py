"""What an administrator does to persons beside their documents: accounts, and stopping access now."""

import msgspec
from litestar import post
from litestar.di import NamedDependency
from litestar.params import FromPath

from backend.auth.service import Auth, ShortText
from backend.auth.sessions import Principal

BODY_BYTES_MAX = 16_384


class AccountIn(msgspec.Struct, forbid_unknown_fields=True):
    """A person's name to sign in with, and the password to begin with."""

    person: ShortText
    username: ShortText
    password: ShortText


class AccountOut(msgspec.Struct):
    """The name as it is kept."""

    person: str
    username: str


@post("/api/people/accounts", who="manage_people", status_code=201, request_max_body_size=BODY_BYTES_MAX)
async def put_account(data: AccountIn, auth: NamedDependency[Auth], principal: NamedDependency[Principal]) -> AccountOut:
    """Give a person an account, or another name and password."""
    return AccountOut(data.person, await auth.put_account(principal, data.person, data.username, data.password))


@post("/api/people/{person:str}/revoke", who="manage_people", status_code=204)
async def revoke(person: FromPath[str], auth: NamedDependency[Auth], principal: NamedDependency[Principal]) -> None:
    """Stop a person's access now."""
    await auth.revoke_person(principal, person, revoked=True)


@post("/api/people/{person:str}/restore", who="manage_people", status_code=204)
async def restore(person: FromPath[str], auth: NamedDependency[Auth], principal: NamedDependency[Principal]) -> None:
    """Let a person in again."""
    await auth.revoke_person(principal, person, revoked=False)


ROUTES = [put_account, revoke, restore]
