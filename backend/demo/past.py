"""Laying a demo plant's past into its ledger, once its server answers.

The ops are those of `backend.demo.history`, said by the server's own device in the name of whom each is about, at the time it is about; the
ledger's own times say when they came, and hide nothing (decision 7). What has been laid is noted in the same transaction, so that a demo
that was stopped meanwhile goes on where it was. The photos are drawn by programs of their own, and go in as a phone's would: after the ops
that name them, checked and derived like any other, newest first.
"""

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import structlog

from backend.demo.history import Event, History, history, shots_in, with_values
from backend.demo.ids import area_id
from backend.demo.plant import Plant
from backend.demo.shots import Fact, Shot
from backend.flow.judge import FlowJudge
from backend.flow.load import file_kinds
from backend.kernel.clock import Clock
from backend.kernel.errors import Refusal, Text
from backend.kernel.ids import SERVER_AUTHOR, derived, spawned
from backend.store import Store, Tx
from backend.sync.op import Add, New, Op
from backend.sync.server import Sync
from backend.sync.shapes import TxDocs
from media.intake import Media

MARK = "demo"
"""The row of the table `meta` that says what has been laid."""
AT_ONCE_MAX = 250
"""Ops between two commits: others get their turn."""
SENDERS = 2
TRIES_MAX = 20
TELL_SHARE = 5
"""Progress is told each time this part of the past is laid."""
ROOT = Path(__file__).resolve().parents[2]
PLAN = "plan"

log = structlog.get_logger("anlu.demo")


class Mark(msgspec.Struct):
    """How far it is: the moment of seeding (Unix ms), how many days lie behind it, and how many events are laid; `over`: all."""

    at: int
    days: int
    laid: int = 0
    over: bool = False

    async def write(self, tx: Tx) -> None:
        await tx.run(
            "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            MARK,
            msgspec.json.encode(self).decode(),
        )


class Past:
    """`lay`, and beside it `send`; both may be cut off at any moment and go on at the next start. `folder`: where drawn photos wait."""

    def __init__(
        self,
        plant: Plant,
        store: Store,
        sync: Sync,
        judge: FlowJudge,
        media: Media,
        folder: Path,
        clock: Clock,
        say: Callable[[Text], None],
    ) -> None:
        self._plant = plant
        self._store = store
        self._sync = sync
        self._judge = judge
        self._media = media
        self._folder = folder
        self._clock = clock
        self._say = say
        self.refused = 0
        self._laid = asyncio.Event()
        self._drawn = asyncio.Event()
        self._facts: dict[int, Fact] = {}

    async def lay(self) -> None:
        """Say what has not been said yet. Somebody may be using the plant: what they have made impossible is left out."""
        async with self._store.read() as tx:
            row = await tx.one("SELECT value FROM meta WHERE name = $1", MARK)
        if row is None or (mark := msgspec.json.decode(row["value"], type=Mark)).over:
            self._laid.set()
            return
        self._say(
            Text(f"正在补上过去 {mark.days} 天的检查、隐患和巡检……", f"Laying the past {mark.days} days of checks, hazards and rounds …")
        )
        began = self._clock()
        found = await asyncio.to_thread(history, self._plant, file_kinds(), mark.at, mark.days)
        async with asyncio.TaskGroup() as group:
            drawing = group.create_task(self._draw((Shot(PLAN, False, ""), *found.shots)))
            await self._tell(found, mark)
            await drawing
        self._laid.set()
        seconds = (self._clock() - began) // 1000
        self._say(Text(f"历史已补齐：{mark.laid} 条，用了 {seconds} 秒。", f"The past is laid: {mark.laid:,} entries in {seconds} s."))

    async def send(self) -> None:
        """Bring the photos in that have been drawn, newest first, once the ops that name them are here."""
        await self._laid.wait()
        if not self._folder.exists():
            return
        first, *rest = sorted(self._folder.glob("*.jpg")) or [self._folder / "0000.jpg"]
        # The plan before all.
        waiting = [one for one in (first, *reversed(rest)) if one.exists()]

        async def work() -> None:
            while waiting:
                await self._bring(waiting.pop(0))

        await asyncio.gather(*(work() for _ in range(SENDERS)))
        await asyncio.to_thread(_empty, self._folder)

    async def _tell(self, found: History, mark: Mark) -> None:
        named = await self._named(found.events[: mark.laid])
        if not mark.laid:
            await self._sync.say(*self._plan(mark.at, await self._fact(0)))
        told = mark.laid
        for part in _parts(found.events[mark.laid :]):
            ops = [await self._op(event, named) for event in part]
            said = [(event, op) for event, op in zip(part, ops, strict=True) if op is not None]
            async with self._store.write() as tx:
                verdicts = await self._sync.say(*(op for _, op in said), tx=tx)
                mark.laid += len(part)
                mark.over = mark.laid == len(found.events)
                await mark.write(tx)
            for (event, op), verdict in zip(said, verdicts, strict=True):
                if verdict.state != "ok":
                    self.refused += 1
                    log.info("left out of the demo's past", doc=op.doc, verb=op.verb, code=verdict.code, params=verdict.params)
                elif event.name:
                    named[event.name] = f"hazard/{spawned(verdict.op, 'hazard')}"
            if mark.laid - told >= len(found.events) // TELL_SHARE:
                told = mark.laid
                share = 100 * mark.laid // len(found.events)
                self._say(Text(f"历史已补 {share}%", f"{share}% of the past is laid"))
            # A page that somebody waits for goes before the past.
            await asyncio.sleep(0)

    async def _op(self, event: Event, named: dict[str, str]) -> Op | None:
        """What is said, with the hazard's key and the photos' facts in their places; None where the hazard never came about."""
        for n in shots_in(event.op):
            await self._fact(n + 1)
        op = with_values(event.op, self._filled)
        if event.of:
            if event.of not in named:
                return None
            op = msgspec.structs.replace(op, doc=named[event.of])
        return op

    def _filled(self, value: Any) -> Any:
        match value:
            case {"shot": int(n)}:
                return self._facts[n + 1].value()
            case dict():
                return {name: self._filled(part) for name, part in value.items()}
            case list():
                return [self._filled(part) for part in value]
        return value

    async def _fact(self, n: int) -> Fact:
        """What is drawn as the nth, once it is."""
        while n not in self._facts:
            self._drawn.clear()
            await self._drawn.wait()
        return self._facts[n]

    async def _named(self, laid: Sequence[Event]) -> dict[str, str]:
        """The hazards that events of an earlier start have brought about."""
        if not laid:
            return {}
        async with self._store.read() as tx:
            hazards = await TxDocs(tx).all("hazard")
        fields = {doc.key: {name: entry[0] for name, entry in doc.body["fields"].items()} for doc in hazards}
        keys = {(one.get("source"), one.get("item")): key for key, one in fields.items()}
        found = {}
        for event in laid:
            if event.name and isinstance(event.op, Add) and (key := keys.get((event.op.doc, event.op.item["item"]))) is not None:
                found[event.name] = key
        return found

    def _plan(self, at: int, picture: Fact) -> list[Op]:
        """The drawn plan, and where each area lies on it."""
        version = self._judge.newest("plan")
        if version is None:
            return []
        doc = f"plan/{derived('demo:plan')}"
        title = {"zh": "厂区平面图", "en": "Site plan"}
        said: list[Op] = [New(0, 0, at, SERVER_AUTHOR, doc, version, {"title": title, "picture": picture.value()})]
        for area in self._plant.areas:
            if area.box is not None:
                west, north, east, south = area.box
                # A works' own mark stands in its corner across from its name: its middle is some hall's.
                x, y = (east - 0.028, north + 0.014) if area.works else ((west + east) / 2, north + (south - north) * 0.7)
                spot = {"area": area_id(area.key), "x": round(x, 4), "y": round(y, 4)}
                said.append(Add(0, 0, at, SERVER_AUTHOR, doc, "spots", derived(f"demo:spot:{area.key}"), spot))
        return said

    # Photos.

    async def _draw(self, shots: Sequence[Shot]) -> None:
        """Draw them all into the folder, by a program for every other processor: the past is laid meanwhile."""
        await asyncio.to_thread(self._folder.mkdir, mode=0o700, exist_ok=True)
        pens = max(1, min(4, (os.cpu_count() or 1) // 2))
        asked = msgspec.json.encode(shots)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}

        async def pen(first: int) -> None:
            words = ["-m", "backend.demo.pictures", str(self._folder), str(first), str(pens)]
            piped = asyncio.subprocess.PIPE
            program = await asyncio.create_subprocess_exec(sys.executable, *words, stdin=piped, stdout=piped, env=environment)
            assert program.stdin is not None
            assert program.stdout is not None
            try:
                program.stdin.write(asked)
                program.stdin.close()
                async for line in program.stdout:
                    fact = msgspec.json.decode(line, type=Fact)
                    self._facts[fact.n] = fact
                    self._drawn.set()
                if await program.wait():
                    raise RuntimeError("the demo's photos could not be drawn")
            finally:
                if program.returncode is None:
                    program.kill()
                    await program.wait()

        await asyncio.gather(*(pen(first) for first in range(pens)))

    async def _bring(self, path: Path) -> None:
        """One photo, as an upload. A machine that is busy now is asked again."""
        content = await asyncio.to_thread(path.read_bytes)
        digest = await asyncio.to_thread(_digest, content)

        async def body() -> AsyncIterator[bytes]:
            yield content

        for _ in range(TRIES_MAX):
            try:
                upload = await self._media.create(digest, "image/jpeg", len(content), None)
                await self._media.append(upload.id, 0, body(), len(content), None)
                break
            except Refusal as refusal:
                if refusal.code in ("media.already_here", "media.not_awaited"):
                    break
                await asyncio.sleep(1)
        else:
            log.warning("a demo photo could not be brought in", file=path.name)
        await asyncio.to_thread(path.unlink, missing_ok=True)


def _parts(events: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """In pieces: what is about a hazard stands in a later piece than what brings it about, whose id is known by then."""
    begin, named = 0, set[str]()
    for n, event in enumerate(events):
        if n - begin >= AT_ONCE_MAX or (event.of and event.of in named):
            yield events[begin:n]
            begin, named = n, set()
        if event.name:
            named.add(event.name)
    if begin < len(events):
        yield events[begin:]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _empty(folder: Path) -> None:
    for left in folder.glob("*"):
        left.unlink(missing_ok=True)
    folder.rmdir()
