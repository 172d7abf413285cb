"""Who may call what. Every route names in `who` whom it serves; a route that names nobody serves nobody.

    anyone      no proof asked (health, the app's own files, signing in)
    device      the body proves itself (push: signature, certificate, tokens; media that an op awaits)
    operator    asked from the server's own machine, or with the operator's token (metrics)
    session     somebody is signed in on this phone
    <cap>       somebody is signed in who holds this capability somewhere; the handler asks about the place. `a or b`: one of these

Capabilities come from the roles in a person's document and the plant's role table, which the flow reads; the app hands that in as `People`.
"""

import hmac
import ipaddress
from typing import Any, Protocol

import msgspec
from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from backend.kernel.errors import Refusal, Text

ANYONE = "anyone"
DEVICE = "device"
OPERATOR = "operator"
SESSION = "session"

FORWARDED = frozenset({"forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"})
"""What a reverse proxy adds: it asks from this machine for somebody who may be anywhere."""

OWN_SITE = frozenset({"same-origin", "none"})
READING = frozenset({"GET", "HEAD", "OPTIONS"})

POWERS = frozenset({"manage_people", "manage_plant", "manage_equipment", "decide_parked", "supervise", "clear_fault", "read_all"})
"""Capabilities over others. Nobody opens the account or the phone of a person who holds one of these that they lack themselves."""

ADMINISTRATION = frozenset({"manage_people", "manage_plant", "manage_equipment"})
"""Who holds one of these has the shorter session."""


class Role(msgspec.Struct, frozen=True):
    """A role in an area with all that lies in it; None is the whole plant."""

    role: str
    area: str | None = None


class Standing(msgspec.Struct, frozen=True):
    """What a person is and may do now. `caps` maps each capability to area ids (what lies in them counted in), or `["*"]`."""

    id: str
    names: Text
    active: bool
    roles: tuple[Role, ...] = ()
    caps: dict[str, list[str]] = {}

    def has(self, cap: str, area: str | None = None) -> bool:
        """Whether the person holds the capability in this area; without an area, anywhere."""
        areas = self.caps.get(cap, [])
        return bool(areas) if area is None else "*" in areas or area in areas

    def covers(self, other: "Standing") -> bool:
        """Whether this person holds every power that the other one holds, wherever that one holds it. Who manages all people covers all."""
        if "*" in self.caps.get("manage_people", []):
            return True
        for power in POWERS:
            mine, theirs = self.caps.get(power, []), other.caps.get(power, [])
            if "*" not in mine and not set(theirs) <= set(mine):
                return False
        return True


class People(Protocol):
    """Reads persons' documents; the app hands it in."""

    async def standing(self, tx: Any, person: str) -> Standing | None:
        """What this person is now; None where there is no such document."""
        ...

    async def make_administrator(self, tx: Any, names: Text) -> str:
        """Begin a person with the role admin over the whole plant and give the id."""
        ...


def capabilities(who: str) -> list[str]:
    """The capabilities that a route's `who` names, of which one is enough."""
    return who.split(" or ")


async def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let through whom the route serves. Default deny. Puts the `Principal` where `sessions.provide_principal` finds it."""
    # A page of another site has nothing to say here, not even a wrong password. Browsers add this header; nobody else needs to.
    if connection.headers.get("sec-fetch-site", "same-origin") not in OWN_SITE and connection.scope.get("method") not in READING:
        raise Refusal("auth.forbidden")
    who = handler.opt.get("who")
    if who in (ANYONE, DEVICE) or (who == OPERATOR and _operator(connection)):
        return
    if who is None or who == OPERATOR:
        raise Refusal("auth.forbidden")
    auth = connection.app.state["auth"]
    principal = await auth.principal(connection)
    connection.state.principal = principal
    if who != SESSION:
        standing = await auth.standing(principal.person)
        if not any(standing.has(cap) for cap in capabilities(who)):
            raise Refusal("auth.forbidden")


def _operator(connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    token: str = connection.app.state["settings"].metrics_token
    if token:
        return hmac.compare_digest(connection.headers.get("authorization", "").encode(), f"Bearer {token}".encode())
    if connection.client is None or any(name in FORWARDED for name in connection.headers):
        return False
    try:
        return ipaddress.ip_address(connection.client.host).is_loopback
    except ValueError:
        return False
