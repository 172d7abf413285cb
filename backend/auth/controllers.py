"""HTTP of SYNC's "Signing in", and of a phone's own page for the administrator."""

from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import Cookie as SetCookie
from litestar.di import NamedDependency
from litestar.params import FromPath

from backend.auth import devices
from backend.auth.permissions import ANYONE, SESSION
from backend.auth.service import (
    Auth,
    Cookie,
    Count,
    DeviceNumber,
    NewPassword,
    PersonOut,
    PinReset,
    Refresh,
    SetUp,
    SignedIn,
    SignIn,
    UnixMs,
)
from backend.auth.sessions import Principal
from backend.kernel.errors import Refusal

BODY_BYTES_MAX = 16_384
Asking = Request[Any, Any, Any]


class KeySet(msgspec.Struct):
    """RFC 7517."""

    keys: list[dict[str, str]]


class Nonce(msgspec.Struct):
    """To be signed by the phone's key within five minutes, once."""

    nonce: str


class SetUpDone(msgspec.Struct):
    """The administrator's person; `signed_in` where the phone said which it is."""

    person: str
    signed_in: SignedIn | None


class Me(msgspec.Struct):
    """Who is signed in here, and when the session began (Unix ms)."""

    person: PersonOut
    device: int
    at: int


class Report(msgspec.Struct, forbid_unknown_fields=True):
    """What a phone holds in its queue: ops kept, ops not acknowledged, photos not sent, and the time of the oldest of those."""

    held: Count
    unsent: Count
    photos: Count | None = None
    oldest_at: UnixMs | None = None


class DeviceOut(msgspec.Struct):
    """A phone as the administrator sees it. Times in Unix ms."""

    number: int
    person: str | None
    label: str
    predecessor: int | None
    registered_at: int
    seen_at: int | None
    retired_at: int | None
    retired_by: str | None
    held: int | None
    unsent: int | None
    photos: int | None
    oldest_at: int | None
    reported_at: int | None


class DeviceList(msgspec.Struct):
    """All phones, the last heard of first."""

    devices: list[DeviceOut]


@post("/api/auth/sign-in", who=ANYONE, status_code=200, request_max_body_size=BODY_BYTES_MAX)
async def sign_in(data: SignIn, auth: NamedDependency[Auth]) -> Response[SignedIn]:
    """Sign in with name and password on a phone."""
    signed, cookie = await auth.sign_in(data)
    return _with_cookie(auth, signed, cookie)


@post("/api/auth/refresh", who=SESSION, status_code=200, request_max_body_size=BODY_BYTES_MAX)
async def refresh(data: Refresh, auth: NamedDependency[Auth], principal: NamedDependency[Principal]) -> SignedIn:
    """A fresh author token, or a new number after a fork."""
    return await auth.refresh(principal, data)


@post("/api/auth/sign-out", who=SESSION, status_code=204)
async def sign_out(auth: NamedDependency[Auth], principal: NamedDependency[Principal]) -> Response[None]:
    """End this session."""
    await auth.sign_out(principal)
    response: Response[None] = Response(None, status_code=204)
    response.delete_cookie(auth.cookie, path="/")
    return response


@post("/api/auth/pin-reset", who=ANYONE, status_code=200, request_max_body_size=BODY_BYTES_MAX)
async def pin_reset(request: Asking, data: PinReset, auth: NamedDependency[Auth]) -> Response[SignedIn]:
    """A supervisor, in person, opens a worker's phone again."""
    principal = None
    if data.device is None:
        principal = await auth.principal(request)
    signed, cookie = await auth.reset_pin(data, principal)
    return _with_cookie(auth, signed, cookie)


@post("/api/auth/setup", who=ANYONE, status_code=201, request_max_body_size=BODY_BYTES_MAX)
async def set_up(data: SetUp, auth: NamedDependency[Auth]) -> Response[SetUpDone]:
    """Make the first administrator with the code from the server's screen."""
    signed, person, cookie = await auth.set_up(data)
    return _with_cookie(auth, SetUpDone(person, signed), cookie, 201)


@post("/api/auth/password", who=SESSION, status_code=204, request_max_body_size=BODY_BYTES_MAX)
async def change_password(data: NewPassword, auth: NamedDependency[Auth], principal: NamedDependency[Principal]) -> None:
    """Change one's own password."""
    await auth.change_password(principal, data)


@get("/api/auth/me", who=SESSION)
async def me(auth: NamedDependency[Auth], principal: NamedDependency[Principal]) -> Me:
    """Who is signed in on this phone, and what they may do."""
    standing = await auth.standing(principal.person)
    person = PersonOut(standing.id, standing.names.zh, standing.names, standing.roles, standing.caps)
    return Me(person, principal.device, principal.at)


@get("/api/auth/keys", who=ANYONE)
async def keys(auth: NamedDependency[Auth]) -> KeySet:
    """The server's public keys, retired ones too while a token of theirs may stand."""
    return KeySet(auth.keys.jwks(auth.clock())["keys"])


@get("/api/auth/nonce", who=ANYONE)
async def nonce(auth: NamedDependency[Auth]) -> Nonce:
    """Something fresh to sign."""
    return Nonce(auth.nonces.make(auth.clock()))


@get("/api/devices", who="manage_people")
async def list_devices(auth: NamedDependency[Auth]) -> DeviceList:
    """All phones and what each last said it holds unsent."""
    async with auth.store.read() as tx:
        found = await devices.every(tx)
    return DeviceList([msgspec.convert(msgspec.structs.asdict(d), DeviceOut) for d in found])


@post("/api/devices/{number:int}/retire", who="manage_people", status_code=204)
async def retire_device(number: FromPath[DeviceNumber], auth: NamedDependency[Auth], principal: NamedDependency[Principal]) -> None:
    """End a phone: lost, replaced, given back."""
    await auth.retire_device(principal, number)


@post("/api/devices/report", who=SESSION, status_code=204, request_max_body_size=BODY_BYTES_MAX)
async def report_device(data: Report, auth: NamedDependency[Auth], principal: NamedDependency[Principal]) -> None:
    """A phone says what it still holds."""
    async with auth.store.write() as tx:
        await devices.report(
            tx, principal.device, held=data.held, unsent=data.unsent, photos=data.photos, oldest_at=data.oldest_at, now=auth.clock()
        )


async def provide_auth(request: Asking) -> Auth:
    """The app's one Auth."""
    found: Auth = request.app.state["auth"]
    return found


async def provide_principal(request: Asking) -> Principal:
    """Who asks, as the guard found it. A route that nobody is signed in for has no principal."""
    found = request.state.get("principal")
    if not isinstance(found, Principal):
        raise Refusal("auth.expired")
    return found


ROUTES = [
    sign_in,
    refresh,
    sign_out,
    pin_reset,
    set_up,
    change_password,
    me,
    keys,
    nonce,
    list_devices,
    retire_device,
    report_device,
]


def _with_cookie(auth: Auth, content: Any, cookie: Cookie | None, status: int = 200) -> Response[Any]:
    response: Response[Any] = Response(content, status_code=status)
    if cookie is not None:
        response.set_cookie(
            SetCookie(
                key=auth.cookie, value=cookie.value, max_age=cookie.seconds, path="/", httponly=True, samesite="strict", secure=auth.https
            )
        )
    return response
