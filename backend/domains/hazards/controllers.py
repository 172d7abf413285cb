"""Hazards from people without a session. Everybody else's go by ops."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.params import FromPath

from backend.auth.permissions import ANYONE
from backend.domains.hazards.service import ANSWER_MS_MIN, CODE_CHARS_MAX, CONTACT_CHARS_MAX, PasserBy
from backend.kernel.errors import Text

BODY_BYTES_MAX = 16_384

Asking = Request[Any, Any, Any]


class ReportIn(msgspec.Struct, forbid_unknown_fields=True):
    """What somebody typed: the tag's code (or its whole address), what they saw, and how to reach them if they say so."""

    code: Annotated[str, msgspec.Meta(max_length=CODE_CHARS_MAX)]
    text: str
    contact: Annotated[str, msgspec.Meta(max_length=CONTACT_CHARS_MAX)] = ""


class MachineOut(msgspec.Struct):
    """What the tag itself says of the machine, and nothing more."""

    number: str
    names: Text


def _after_the_same_time(handler: Callable[..., Awaitable[MachineOut]]) -> Callable[..., Awaitable[MachineOut]]:
    @wraps(handler)
    async def wrapped(**given: Any) -> MachineOut:
        began = time.monotonic()
        try:
            return await handler(**given)
        finally:
            await asyncio.sleep(max(0.0, ANSWER_MS_MIN / 1000 - (time.monotonic() - began)))

    return wrapped


@get("/api/hazards/from-tag/{code:str}", who=ANYONE)
@_after_the_same_time
async def look(request: Asking, code: FromPath[str]) -> MachineOut:
    """The name and number of the machine that carries this tag."""
    machine = await _passer_by(request).look(code, _address(request))
    return MachineOut(machine.number, machine.names)


@post("/api/hazards/from-tag", who=ANYONE, status_code=201, request_max_body_size=BODY_BYTES_MAX)
@_after_the_same_time
async def report(request: Asking, data: ReportIn) -> MachineOut:
    """Report a hazard on the machine that carries this tag, without signing in."""
    machine = await _passer_by(request).report(data.code, data.text, data.contact, _address(request))
    return MachineOut(machine.number, machine.names)


ROUTES = [look, report]


def _passer_by(request: Asking) -> PasserBy:
    found: PasserBy = request.app.state["passer_by"]
    return found


def _address(request: Asking) -> str:
    return request.client.host if request.client else ""
