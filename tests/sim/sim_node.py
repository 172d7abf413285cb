"""The app's own phones: one node process for all of them, spoken to in lines of JSON. Its network calls come back through the pipe."""

import asyncio
import base64
import itertools
import json
import shutil
import sys
from pathlib import Path
from random import Random
from typing import Any

from sim_model import plain
from sim_phones import Cut, HttpError, Line, Private

ROOT = Path(__file__).parents[2]
LINE_BYTES_MAX = 64 * 1024 * 1024
PATIENCE_SECONDS = 60


class Node:
    """The process. Belongs to the event loop that started it."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.phones: dict[int, AppPhone] = {}
        self._errors: list[bytes] = []

    async def start(self) -> None:
        beside = Path(sys.executable).with_name("node")
        node = str(beside) if beside.exists() else shutil.which("node") or "node"
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            node, "tests/sim/run.mjs", cwd=ROOT / "pwa", stdin=pipe, stdout=pipe, stderr=pipe, limit=LINE_BYTES_MAX
        )
        assert self._process.stdout is not None
        ready = await asyncio.wait_for(self._process.stdout.readline(), PATIENCE_SECONDS)
        if b"ready" not in ready:
            raise RuntimeError((await self._process.communicate())[1].decode())
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._complaints())]
        self._calls: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def do(self, phone: int, what: str, now: int, **given: Any) -> dict[str, Any]:
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        await self._tell({"do": number, "phone": phone, "what": what, "now": now, **given})
        return await asyncio.wait_for(future, PATIENCE_SECONDS)

    async def forget(self) -> None:
        """A history is over: its phones go."""
        await self.do(0, "end", 0)
        self.phones.clear()

    async def _tell(self, line: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        await self._process.stdin.drain()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            if "done" in said:
                self._waiting.pop(said["done"]).set_result(said)
            else:
                call = asyncio.create_task(self._answer(said))
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)
        for future in self._waiting.values():
            future.set_exception(RuntimeError("the phones are gone: " + b"".join(self._errors[-20:]).decode()))

    async def _complaints(self) -> None:
        assert self._process.stderr is not None
        while line := await self._process.stderr.readline():
            self._errors.append(line)

    async def _answer(self, said: dict[str, Any]) -> None:
        line = self.phones[said["phone"]].line
        try:
            status, _, body, cookie = await line.ask(said["path"], said["headers"], said["cookie"], base64.b64decode(said["body"]))
        except Cut:
            await self._tell({"answer": said["call"], "cut": True})
            return
        except Exception as error:
            # A mistake of the simulation's own must not look like a bad network.
            self.phones[said["phone"]].mistakes.append(repr(error))
            await self._tell({"answer": said["call"], "cut": True})
            return
        await self._tell({"answer": said["call"], "status": status, "body": base64.b64encode(body).decode(), "cookie": cookie})


class AppPhone:
    """One phone with the real app's data layer. Stands beside `sim_phones.Phone` and answers to the same names."""

    _ids = itertools.count(1)

    def __init__(self, node: Node, line: Line, truth: Any, random: Random, persons: list[str]) -> None:
        self.node, self.line, self.truth, self.random, self.persons = node, line, truth, random, persons
        self.id = next(self._ids)
        self.skew = 0
        self.person = ""
        self.complete = False
        self.mistakes: list[str] = []
        self._device = 0
        self._begun = False
        node.phones[self.id] = self

    async def _do(self, what: str, **given: Any) -> Any:
        if not self._begun:
            self._begun = True
            await self._do("begin")
        said = await self.node.do(self.id, what, self.truth() + self.skew, **given)
        if self.mistakes:
            raise RuntimeError(self.mistakes[0])
        self.person = said["person"]
        if "error" in said:
            if said["text"]:
                raise RuntimeError(said["text"])
            if said["error"] in ("net.offline", "auth.offline"):
                raise Cut
            raise HttpError(400, said["error"], {})
        self._device = said["device"]
        return said["result"]

    async def sign_in(self, person: str) -> None:
        await self._do("sign_in", person=person)

    async def sign_out(self) -> None:
        await self._do("sign_out")

    async def sync(self) -> None:
        said = await self._do("sync")
        self.complete = said["complete"]
        if not said["online"]:
            raise Cut
        if said["trouble"]:
            raise HttpError(400, said["trouble"], {})

    push = pull = ask_and_push = sync

    async def say(self, verb: str, doc: str, *rest: Any, anonymous: bool = False) -> bool:
        names = {"new": ("version", "fields"), "set": ("fields",), "add": ("set", "itemId", "item"), "act": ("transition", "input", "base")}
        saying = {"verb": verb, "doc": doc, "anonymous": anonymous, **dict(zip(names[verb], rest, strict=True))}
        values = saying.get("fields") or {}
        saying["seal"] = [name for name, value in values.items() if isinstance(value, Private)]
        judged = self.random.random() < 0.5
        return bool(await self._do("say", saying=saying, judged=judged))

    async def say_bytes(self, data: bytes) -> None:
        """The app cannot say what is no op."""

    async def held(self) -> dict[str, tuple[int, bytes]]:
        return {key: (seq, plain(body)) for key, (seq, body) in (await self._do("held")).items()}

    async def queue(self) -> list[tuple[str, str, bool]]:
        return [(op, state, state != "queued") for op, state, _ in (await self._do("queue"))["rows"]]

    async def told(self) -> list[tuple[str, str]]:
        return [(op, state) for op, state, mine in (await self._do("queue"))["rows"] if mine]

    async def stuck(self) -> bool:
        return bool((await self._do("queue"))["forked"])

    async def number(self) -> int:
        return self._device

    async def docs(self) -> list[str]:
        return sorted(await self._do("docs"))

    async def base(self, key: str) -> int:
        return int((await self._do("docs")).get(key, 0))

    async def pending(self) -> list[str]:
        found: list[str] = await self._do("pending")
        return found

    async def keep_snapshot(self) -> None:
        await self._do("keep")

    async def roll_back(self) -> None:
        await self._do("roll_back")

    async def clone(self) -> "AppPhone":
        other = AppPhone(self.node, Line(self.line.wire), self.truth, Random(self.id), self.persons)
        other._begun, other.skew, other._device = True, self.skew, self._device
        await self._do("clone", other=other.id)
        await other._do("docs")
        return other

    async def reopen(self, random: Random) -> None:
        await self._do("reopen", nth=random.choice([0, random.randint(1, 30)]))

    async def evict(self) -> None:
        await self._do("evict")

    async def clear_cache(self) -> None:
        await self._do("clear_cache")

    async def lose(self) -> None:
        await self._do("lose", nth=self.random.randint(1, 3))
