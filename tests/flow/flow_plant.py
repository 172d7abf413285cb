"""A plant small enough to see through: a real server, two areas, a crane, people with one role each."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "sync"))

from world import Phone, World

from backend.flow import load
from backend.flow.judge import FlowJudge
from backend.kernel.ids import SERVER_AUTHOR, derived
from backend.sync.op import New

AREA, OTHER_AREA, CRANE = derived("test:area"), derived("test:other"), derived("test:crane")
CRANE_KEY = f"machine/{CRANE}"
PEOPLE = {
    "worker": ("worker", AREA),
    "inspector": ("inspector", AREA),
    "supervisor": ("supervisor", AREA),
    "second": ("supervisor", AREA),
    "stranger": ("inspector", OTHER_AREA),
    "safety": ("safety", None),
    "manager": ("manager", None),
    "admin": ("admin", None),
}
ITEMS = [item.id for kind in load.file_kinds() if kind.name == "check.overhead_crane" for item in kind.kind.items]
PHOTO = {"sha256": "ab" * 32, "type": "image/jpeg", "size": 1000, "w": 10, "h": 20}
ANSWERS: dict[str, dict[str, Any]] = {"overhead_crane.rope_turns": {"value": 3}, "overhead_crane.clearance": {"value": 2}}
MINUTE = 60_000


class Plant:
    """The server, and a phone for each of its people."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.phones: dict[str, Phone] = {}

    async def phone(self, name: str) -> Phone:
        if name not in self.phones:
            self.phones[name] = await self.world.phone(person(name))
        return self.phones[name]

    def later(self, minutes: float = 1) -> None:
        self.world.now += int(minutes * MINUTE)

    async def say(self, name: str, verb: str, *args: Any, **named: Any) -> tuple[str, str | None]:
        """What the server answers to one op of this person: its state and code."""
        phone = await self.phone(name)
        getattr(phone, verb)(*args, **named)
        verdict = (await phone.push_new()).verdicts[-1]
        return verdict.state, verdict.code

    async def ok(self, name: str, verb: str, *args: Any, **named: Any) -> str:
        """The same, and it must be taken. Gives the document of a `new`, else the op."""
        phone = await self.phone(name)
        made = getattr(phone, verb)(*args, **named)
        verdict = (await phone.push_new()).verdicts[-1]
        assert verdict.state == "ok", verdict
        return made

    async def begin(self, name: str = "inspector", mode: str = "pre_shift") -> str:
        self.later()
        return await self.ok(name, "new", {"machine": CRANE, "mode": mode}, kind="check.overhead_crane")

    async def answer(self, check: str, bad: tuple[str, ...] = (), name: str = "inspector", items: list[str] = ITEMS) -> None:
        phone = await self.phone(name)
        for item in items:
            verdict = {"verdict": "bad", "media": [PHOTO], "note": "cracked", "grade": "red"} if item in bad else {"verdict": "ok"}
            phone.add(check, {"item": item, "dwell_ms": 9000, **ANSWERS.get(item, {}), **verdict}, "answers")
        assert {verdict.state for verdict in (await phone.push_new()).verdicts} == {"ok"}

    async def check(self, bad: tuple[str, ...] = (), name: str = "inspector", mode: str = "pre_shift") -> dict[str, Any]:
        """A whole check; its view."""
        check = await self.begin(name, mode)
        await self.answer(check, bad, name)
        self.later()
        await self.ok(name, "act", check, "finish")
        return await self.world.view(check)

    async def crane(self) -> dict[str, Any]:
        return await self.world.view(CRANE_KEY)

    async def documents(self, kind: str) -> list[str]:
        return [row["key"] for row in await self.world.rows("SELECT key FROM document WHERE key LIKE $1 ORDER BY seq", f"{kind}/%")]


def person(name: str) -> str:
    return derived(f"test:{name}")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plant's folder as every test begins with it."""
    folder = tmp_path_factory.mktemp("plant")
    asyncio.run(_make(folder))
    return folder


@pytest.fixture(scope="session")
def made_on_postgres(tmp_path_factory: pytest.TempPathFactory, databases: Any) -> tuple[Path, str]:
    """The same on PostgreSQL: its folder and its database."""
    folder, url = tmp_path_factory.mktemp("plant"), databases.new()
    asyncio.run(_make(folder, url))
    return folder, url


@pytest.fixture
def copied(store_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Path, str]]:
    """A copy for one test: the folder, and where the database is not in it its address."""
    folder = tmp_path / "plant"
    if store_kind == "sqlite":
        shutil.copytree(request.getfixturevalue("made"), folder)
        yield folder, ""
        return
    made_folder, like = request.getfixturevalue("made_on_postgres")
    databases = request.getfixturevalue("databases")
    shutil.copytree(made_folder, folder)
    url = databases.new(like)
    yield folder, url
    databases.drop(url)


@pytest.fixture
async def plant(copied: tuple[Path, str]) -> AsyncIterator[Plant]:
    folder, url = copied
    async with World(folder, FlowJudge(load.file_kinds()), url) as world:
        assert await load.start(world.sync, world.judge)
        yield Plant(world)


async def _make(folder: Path, url: str = "") -> None:
    async with World(folder, FlowJudge(load.file_kinds()), url) as world:
        await load.start(world.sync, world.judge)

        def new(kind: str, name: str, fields: dict[str, Any]) -> New:
            return New(0, 0, 0, SERVER_AUTHOR, f"{kind}/{derived(f'test:{name}')}", 1, fields)

        label = {"zh": "名", "en": "Name"}
        said = [new("area", name, {"code": name, "names": label}) for name in ("area", "other")]
        said += [
            new("person", name, {"names": {"zh": "人", "en": name}, "roles": [{"role": role} | ({"area": area} if area else {})]})
            for name, (role, area) in PEOPLE.items()
        ]
        said.append(new("machine", "crane", {"number": "QZ-1", "names": label, "type": "overhead_crane", "area": AREA}))
        verdicts = await world.sync.say(*said)
        assert {verdict.state for verdict in verdicts} == {"ok"}, verdicts
