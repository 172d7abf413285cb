"""The three routes over HTTP: encodings, sizes, streams."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator

import brotli
import httpx
import msgspec
import pytest
import pytest_asyncio
from litestar import Litestar
from litestar.di import Provide
from world import NOW, Phone, World

from backend.auth.sessions import Principal
from backend.sync.controllers import ROUTES
from backend.web import errors

UNPACK = {"br": brotli.decompress, "gzip": gzip.decompress, "": bytes}


def scope_of(method: str, path: str, headers: dict[str, str]) -> dict:
    """A request as the server hands it to the app: httpx's in-process transport waits for the end of a stream."""
    given = [(name.encode(), value.encode()) for name, value in headers.items()]
    at = {"path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"", "client": ("x", 1), "server": ("anlu", 80)}
    return at | {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "headers": given,
        "state": {},
    }


class Served:
    """The routes over a world's server, with one person signed in."""

    def __init__(self, world: World, phone: Phone) -> None:
        self.world, self.phone = world, phone

        async def principal() -> Principal:
            return Principal(phone.person, phone.number, "a-session", NOW, NOW)

        self.app = Litestar(
            ROUTES,
            dependencies={"principal": Provide(principal)},
            exception_handlers=errors.HANDLERS,
            openapi_config=None,
            logging_config=None,
        )
        self.app.state["sync"] = world.sync
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app, raise_app_exceptions=False), base_url="http://anlu")

    async def push(self, body: bytes, signature: str, **headers: str) -> httpx.Response:
        given = {"anlu-signature": signature, "content-type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return await self.http.post("/api/sync/push", content=body, headers=given)


@pytest_asyncio.fixture
async def served(world: World) -> AsyncIterator[Served]:
    served = Served(world, await world.phone())
    async with served.http:
        yield served


@pytest.mark.parametrize("up", ["", "gzip", "deflate"])
@pytest.mark.parametrize("down", ["br", "gzip", ""])
async def test_a_bundle_may_be_compressed_either_way_and_the_signature_is_over_what_it_was_before(served: Served, up: str, down: str):
    for _ in range(20):
        served.phone.new({"note": "a"})
    data = served.phone.bundle()
    body = {"": data, "gzip": gzip.compress(data), "deflate": zlib.compress(data)}[up]
    async with served.http.stream(
        "POST",
        "/api/sync/push",
        content=body,
        headers={"anlu-signature": served.phone.sign(data), "accept-encoding": down, "content-encoding": up},
    ) as answer:
        raw = b"".join([part async for part in answer.aiter_raw()])
    assert (answer.status_code, answer.headers.get("content-encoding", "")) == (200, down)
    said = json.loads(UNPACK[down](raw))
    assert (said["have"], said["epoch"], len(said["verdicts"])) == (20, served.world.sync.epoch, 20)
    assert set(said) == {"have", "epoch", "now", "receipt", "verdicts"}
    assert set(said["verdicts"][0]) == {"op", "n", "seq", "state"}


async def test_what_cannot_be_taken_is_answered_in_the_one_shape_of_an_error(served: Served):
    served.phone.new({})
    data = served.phone.bundle()
    good = served.phone.sign(data)
    bomb = gzip.compress(b" " * 60_000_000)
    for body, signature, headers, status, code in (
        (b"{", good, {}, 400, "sync.malformed"),
        (data, "", {}, 401, "sync.signature"),
        (data, good, {"content_encoding": "gzip"}, 400, "sync.malformed"),
        (data, good, {"content_encoding": "zstd"}, 400, "sync.malformed"),
        (gzip.compress(data)[:-3], good, {"content_encoding": "gzip"}, 400, "sync.malformed"),
        (bomb, good, {"content_encoding": "gzip"}, 413, "sync.too_large"),
        (b" " * 1_000_001, good, {}, 413, "sync.too_large"),
        (b" " * 2_000_000, good, {}, 413, "http.too_large"),
        (data, good, {"content_type": "application/jose"}, 400, "sync.sealed_bundle"),
    ):
        answer = await served.push(body, signature, **headers)
        said = answer.json()
        assert (answer.status_code, said["code"]) == (status, code)
        assert said["message"]["zh"]
        assert said["message"]["en"]
    assert (await served.push(data, good)).status_code == 200


async def test_a_kept_bundle_is_taken_as_jose(served: Served):
    served.phone.new({})
    kept = served.phone.kept(served.phone.bundle(), "")
    answer = await served.push(kept, "", content_type="application/jose")
    assert answer.json()["have"] == 1


@pytest.mark.parametrize("down", ["br", "gzip", "identity"])
async def test_a_pull_streams_pages_each_of_which_can_be_read_as_it_comes(served: Served, down: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("backend.sync.pull.DOCS_IN_PAGE_MAX", 50)
    for _ in range(240):
        served.phone.new({"note": "x" * 50})
    await served.phone.push()
    sent: list[dict] = []
    over = asyncio.Event()
    asked = [{"type": "http.request", "body": b'{"cursor":null,"want":[]}', "more_body": False}]

    async def receive() -> dict:
        if asked:
            return asked.pop()
        await over.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict) -> None:
        sent.append(message)
        if not message.get("more_body", True):
            over.set()

    await served.app(scope_of("POST", "/api/sync/pull", {"accept-encoding": down, "content-type": "application/json"}), receive, send)
    assert dict(sent[0]["headers"])[b"content-type"].startswith(b"application/x-ndjson")
    raw = [message["body"] for message in sent[1:]]
    decoder = brotli.Decompressor()

    def unbr(data: bytes) -> bytes:
        out = decoder.process(data)
        while more := decoder.process(b""):
            out += more
        return out

    ungzip = zlib.decompressobj(31)
    unpack = {"br": unbr, "gzip": ungzip.decompress, "identity": bytes}[down]
    pages = [page for part in raw if (page := unpack(part))]
    assert len(pages) >= 5
    assert all(page.endswith(b"}\n") and b'"cursor"' in page.splitlines()[-1] for page in pages)
    lines = [json.loads(line) for page in pages for line in page.splitlines()]
    assert len([line for line in lines if "doc" in line]) == 241
    assert lines[-1]["more"] is False


async def test_a_pull_that_asks_for_nonsense_is_400(served: Served):
    for body in (b"", b"[]", b'{"cursor": 5}', b'{"want": "x"}'):
        answer = await served.http.post("/api/sync/pull", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400, body


async def test_events_stream_a_poke_at_the_start_and_at_a_change(served: Served):
    sent: list[bytes] = []
    poked = asyncio.Event()
    gone = asyncio.Event()

    async def receive() -> dict:
        if not sent:
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict) -> None:
        sent.append(message.get("body", b"") or msgspec.json.encode(message.get("status", 0)))
        if sum(part.startswith(b"event: poke") for part in sent) == 2:
            poked.set()

    async with served.world.store.write() as tx:
        await tx.run(
            "INSERT INTO session (name, person, device, began_at, proven_at, ends_at) VALUES ('a-session', $1, $2, $3, $3, $4)",
            served.phone.person,
            served.phone.number,
            NOW,
            NOW + 10_000,
        )
    task = asyncio.create_task(served.app(scope_of("GET", "/api/sync/events", {}), receive, send))
    while len(served.world.sync.hub) == 0 or not any(part.startswith(b"event") for part in sent):
        await asyncio.sleep(0.01)
    served.phone.new({})
    await served.phone.push()
    await asyncio.wait_for(poked.wait(), 5)
    gone.set()
    served.world.sync.hub.stop()
    await asyncio.wait_for(task, 5)
    assert sent[0] == b"200"
