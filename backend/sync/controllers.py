"""HTTP of sync: push, pull, events."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from typing import Any

import brotli
import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.response import Stream

from backend.auth.permissions import DEVICE, SESSION
from backend.auth.sessions import Principal
from backend.kernel.errors import Refusal
from backend.sync.events import LISTENERS_MAX
from backend.sync.op import BUNDLE_BYTES_MAX, OPS_IN_BUNDLE_MAX
from backend.sync.push import JOSE_BYTES_MAX
from backend.sync.server import Sync

BROTLI_QUALITY = 2
GZIP_LEVEL = 5
SMALL_BYTES = 512
"""Below this, compressing costs more than it saves."""

Asking = Request[Any, Any, Any]


class PullAsk(msgspec.Struct):
    """What a pull asks: from where, and which documents whole."""

    cursor: str | None = None
    want: list[str] = []


@post("/api/sync/push", who=DEVICE, status_code=200, request_max_body_size=JOSE_BYTES_MAX)
async def push(request: Asking) -> Response[bytes]:
    """Take a signed bundle. The signature, the certificate and the tokens in it are the authentication."""
    sync = _sync(request)
    raw = await request.body()
    body = await asyncio.to_thread(_inflate, raw, request.headers.get("content-encoding", ""))
    jose = request.headers.get("content-type", "").partition(";")[0].strip() == "application/jose"
    answer = await sync.push(body, request.headers.get("anlu-signature", ""), jose=jose)
    content = msgspec.json.encode(answer)
    encoding, press = _compressor(request)
    if press is not None and len(content) > SMALL_BYTES:
        content = await asyncio.to_thread(lambda: press(content, True))
        return Response(content, media_type="application/json", headers={"content-encoding": encoding, "vary": "accept-encoding"})
    return Response(content, media_type="application/json", headers={"vary": "accept-encoding"})


@post("/api/sync/pull", who=SESSION, status_code=200)
async def pull(request: Asking, data: JSONBody[PullAsk], principal: NamedDependency[Principal]) -> Stream:
    """Pages of what the signed-in person's phone lacks."""
    pages = _sync(request).pull(principal.person, principal.device, data.cursor, data.want)
    encoding, press = _compressor(request)
    headers = {"cache-control": "no-store", "vary": "accept-encoding", "x-accel-buffering": "no"}
    if press is None:
        return Stream(pages, media_type="application/x-ndjson", headers=headers)

    async def pressed() -> AsyncIterator[bytes]:
        async for page in pages:
            # Each page is flushed whole: a phone on a bad line applies it before the next one comes.
            yield await asyncio.to_thread(press, page, False)
        yield await asyncio.to_thread(press, b"", True)

    return Stream(pressed(), media_type="application/x-ndjson", headers=headers | {"content-encoding": encoding})


@get("/api/sync/events", who=SESSION)
async def events(request: Asking, principal: NamedDependency[Principal]) -> Stream:
    """Server-sent events for the signed-in person: pokes and alerts while the app is in front."""
    sync = _sync(request)
    if len(sync.hub) >= LISTENERS_MAX:
        raise Refusal("http.unavailable", {"Retry-After": "30"}, seconds=30)
    listener = sync.hub.join(principal.person, principal.device, await sync.shapes(principal.person))

    async def stands() -> bool:
        async with sync.store.read() as tx:
            row = await tx.one(
                "SELECT 1 FROM session WHERE name = $1 AND ended_at IS NULL AND ends_at > $2", principal.session, sync.clock()
            )
        return row is not None

    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return Stream(sync.hub.stream(listener, stands), media_type="text/event-stream", headers=headers)


ROUTES = [push, pull, events]


def _sync(request: Asking) -> Sync:
    sync = request.app.state["sync"]
    assert isinstance(sync, Sync)
    return sync


def _compressor(request: Asking) -> tuple[str, Any]:
    """The encoding that the client takes, and a function (bytes, whether the last) → bytes, each call's output complete in itself."""
    accepted = {
        part.partition(";")[0].strip() for part in request.headers.get("accept-encoding", "").lower().split(",") if ";q=0" not in part
    }
    if "br" in accepted:
        pressing = brotli.Compressor(quality=BROTLI_QUALITY)

        def br(data: bytes, last: bool) -> bytes:
            return bytes(pressing.process(data) + (pressing.finish() if last else pressing.flush()))

        return "br", br
    if "gzip" in accepted:
        deflating = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, 31)

        def gzip(data: bytes, last: bool) -> bytes:
            return deflating.compress(data) + deflating.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)

        return "gzip", gzip
    return "", None


def _inflate(raw: bytes, encoding: str) -> bytes:
    """The body before its Content-Encoding. Raises Refusal where it is none, or too large: a small body may unfold to a very large one."""
    match encoding.strip().lower():
        case "" | "identity":
            return raw
        case "gzip":
            unfold = zlib.decompressobj(31)
        case "deflate":
            unfold = zlib.decompressobj()
        case _:
            raise Refusal("sync.malformed", reason="encoding")
    try:
        body = unfold.decompress(raw, JOSE_BYTES_MAX + 1)
    except zlib.error:
        raise Refusal("sync.malformed", reason="encoding") from None
    if len(body) > JOSE_BYTES_MAX:
        raise Refusal("sync.too_large", ops=OPS_IN_BUNDLE_MAX, bytes=BUNDLE_BYTES_MAX)
    if not unfold.eof:
        raise Refusal("sync.malformed", reason="encoding")
    return body
