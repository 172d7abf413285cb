"""HTTP of media: tus 1.0.0 for the way in, plain GET for the way out.

    OPTIONS /api/media/uploads            what this server can do
    POST    /api/media/uploads            Upload-Length, Upload-Metadata: sha256 <base64 of hex>,type <base64> → 201 Location
    HEAD    /api/media/uploads/<id>       Upload-Offset: how far it is
    PATCH   /api/media/uploads/<id>       bytes at Upload-Offset → 204; the last one answers once the photo is checked and stored
    DELETE  /api/media/uploads/<id>       give it up
    POST    /api/media/carried            a whole photo out of a phone's outbox file, as a JWE for the server (application/jose) or in clear
    GET     /api/media/<sha256>/<original|screen|thumb>

A refusal's code stands in the body, and in the header `Anlu-Code` too, because the answer to a HEAD has no body.
"""

import asyncio
import base64
import binascii
import functools
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import formatdate
from typing import Any

from litestar import Request, Response, delete, get, head, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Stream

from backend.auth.permissions import ANYONE, DEVICE, SESSION
from backend.auth.sessions import Principal
from backend.auth.tokens import BadToken, Keys
from backend.kernel.errors import Refusal
from media import check
from media.intake import CHECKSUMS, Media, Upload

VERSION = "1.0.0"
UPLOADS = "/api/media/uploads"
PATCH_TYPE = "application/offset+octet-stream"
DIGITS_MAX = 16
CARRIED_BYTES_MAX = check.BYTES_MAX * 4 // 3 + 10_000
"""A photo as a compact JWE."""
HEX = frozenset("0123456789abcdef")

Asking = Request[Any, Any, Any]
Handler = Callable[..., Awaitable[Response[Any]]]


def _tus(handler: Handler) -> Handler:
    """What every answer of the protocol has: the version asked for and given, and a code where it is a refusal."""

    @functools.wraps(handler)
    async def wrapped(request: Asking, **given: Any) -> Response[Any]:
        try:
            if request.headers.get("tus-resumable") != VERSION:
                raise Refusal("media.tus_version", headers={"Tus-Version": VERSION})
            answer = await handler(request=request, **given)
        except Refusal as refusal:
            refusal.headers = {**refusal.headers, "Tus-Resumable": VERSION, "Anlu-Code": refusal.code, "Cache-Control": "no-store"}
            raise
        answer.headers.update({"Tus-Resumable": VERSION, "Cache-Control": "no-store"})
        return answer

    return wrapped


@route(UPLOADS, http_method=["OPTIONS"], who=ANYONE, status_code=204)
async def options() -> Response[None]:
    """What this server can do."""
    return Response(
        None,
        status_code=204,
        headers={
            "Tus-Resumable": VERSION,
            "Tus-Version": VERSION,
            "Tus-Extension": "creation,checksum,expiration,termination",
            "Tus-Max-Size": str(check.BYTES_MAX),
            "Tus-Checksum-Algorithm": ",".join(CHECKSUMS),
        },
    )


@post(UPLOADS, who=DEVICE, status_code=201, request_max_body_size=0)
@_tus
async def create(request: Asking) -> Response[None]:
    """Begin an upload. Needs a session, or an op that awaits these bytes."""
    media = _media(request)
    length = _number(request, "Upload-Length")
    sha256, media_type = _metadata(request.headers.get("upload-metadata", ""))
    try:
        person = (await media.caller(request)).person
    except Refusal:
        person = None
    upload = await media.create(sha256, media_type, length, person)
    return Response(None, status_code=201, headers={"Location": f"{UPLOADS}/{upload.id}", **_progress(upload)})


@head(UPLOADS + "/{upload_id:str}", who=DEVICE)
@_tus
async def look(request: Asking, upload_id: FromPath[str]) -> Response[None]:
    """How far an upload is."""
    upload = await _media(request).look(upload_id)
    return Response(None, status_code=200, headers={"Upload-Length": str(upload.length), **_progress(upload)})


@route(UPLOADS + "/{upload_id:str}", http_method=["PATCH", "POST"], who=DEVICE, status_code=204, request_max_body_size=check.BYTES_MAX)
@_tus
async def append(request: Asking, upload_id: FromPath[str]) -> Response[None]:
    """Add bytes. Takes POST too, for nets whose proxies know no PATCH (X-HTTP-Method-Override)."""
    if request.method == "POST":
        override = request.headers.get("x-http-method-override", "").upper()
        if override == "DELETE":
            await _media(request).end(upload_id)
            return Response(None, status_code=204)
        if override != "PATCH":
            raise Refusal("http.method")
    if request.headers.get("content-type", "").partition(";")[0].strip() != PATCH_TYPE:
        raise Refusal("media.patch_type")
    offset = _number(request, "Upload-Offset")
    size = _number(request, "Content-Length") if "content-length" in request.headers else None
    if size is not None and size > check.BYTES_MAX:
        raise Refusal("media.too_large", limit_mb=check.BYTES_MAX // 1024 // 1024)
    upload = await _media(request).append(upload_id, offset, request.stream(), size, _checksum(request))
    return Response(None, status_code=204, headers=_progress(upload))


@delete(UPLOADS + "/{upload_id:str}", who=DEVICE, status_code=204)
@_tus
async def end(request: Asking, upload_id: FromPath[str]) -> Response[None]:
    """Give an upload up."""
    await _media(request).end(upload_id)
    return Response(None, status_code=204)


@post("/api/media/carried", who=SESSION, status_code=204, request_max_body_size=CARRIED_BYTES_MAX)
async def carried(request: Asking) -> None:
    """Take a photo that somebody else's phone could not send and gave out as a file, in one piece. An op has to await it: whoever carries
    it gains no right to it."""
    data = await request.body()
    if request.headers.get("content-type", "").partition(";")[0].strip() == "application/jose":
        try:
            data = await asyncio.to_thread(_keys(request).open_jose, data.decode("ascii"))
        except (BadToken, ValueError):
            raise Refusal("sync.sealed_bundle") from None
    media_type = check.sniff(data[: check.HEAD_BYTES])
    if media_type is None:
        raise Refusal("media.not_an_image")
    media = _media(request)
    sha256 = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
    upload = await media.create(sha256, media_type, len(data), None)

    async def whole() -> AsyncIterator[bytes]:
        yield data

    await media.append(upload.id, 0, whole(), len(data), None)


@get("/api/media/{sha256:str}/{variant:str}", who=SESSION)
async def read(request: Asking, sha256: FromPath[str], variant: FromPath[str], principal: NamedDependency[Principal]) -> Stream:
    """A photo, for whoever may read a document that names it."""
    if len(sha256) != 64 or not set(sha256) <= HEX:
        raise Refusal("media.not_found")
    part, media_type = await _media(request).read(sha256, variant, principal.person)
    return Stream(
        part.pieces,
        media_type=media_type,
        headers={
            "Content-Length": str(part.size),
            # The browser's cache is not under the worker's PIN: what may be kept, the app keeps itself.
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        },
    )


ROUTES = [options, create, look, append, end, carried, read]


def _media(request: Asking) -> Media:
    media: Media = request.app.state["media"]
    return media


def _keys(request: Asking) -> Keys:
    keys: Keys = request.app.state["auth"].keys
    return keys


def _progress(upload: Upload) -> dict[str, str]:
    return {"Upload-Offset": str(upload.have), "Upload-Expires": formatdate(upload.ends_at / 1000, usegmt=True)}


def _number(request: Asking, name: str) -> int:
    text = request.headers.get(name.lower(), "")
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
        raise Refusal("http.malformed", where=name)
    return int(text)


def _metadata(text: str) -> tuple[str, str]:
    """The SHA-256 (hex) and the media type of Upload-Metadata; what else a client says is not kept."""
    said: dict[str, str] = {}
    for pair in text.split(",") if len(text) <= 2048 else ():
        name, _, value = pair.strip().partition(" ")
        try:
            said[name] = base64.b64decode(value, validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise Refusal("http.malformed", where="Upload-Metadata") from None
    sha256 = said.get("sha256", "")
    if len(sha256) != 64 or not set(sha256) <= HEX or "type" not in said:
        raise Refusal("http.malformed", where="Upload-Metadata")
    return sha256, said["type"]


def _checksum(request: Asking) -> tuple[str, bytes] | None:
    text = request.headers.get("upload-checksum")
    if text is None:
        return None
    algorithm, _, value = text.partition(" ")
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if algorithm not in CHECKSUMS or not digest:
        raise Refusal("media.checksum_kind", kinds=", ".join(CHECKSUMS))
    return algorithm, digest
