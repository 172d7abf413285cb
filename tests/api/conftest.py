"""A demo plant that is made once for each sort of database and copied for each test, and time that a test can move."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest

from backend.app import Anlu, build
from backend.settings import Settings
from tests.api.phone import Phone
from tests.conftest import Databases


class Time:
    """The server's clock: wall time, and what a test added."""

    def __init__(self) -> None:
        self.added_ms = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self.added_ms

    def pass_(self, **given: float) -> None:
        per = {"seconds": 1_000, "minutes": 60_000, "hours": 3_600_000, "days": 86_400_000}
        self.added_ms += int(sum(per[unit] * n for unit, n in given.items()))


class Plant:
    """A running app in this process."""

    def __init__(self, app: Anlu, settings: Settings, clock: Time) -> None:
        self.app, self.settings, self.clock = app, settings, clock

    def browser(self) -> httpx.AsyncClient:
        """A browser with cookies of its own."""
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app, raise_app_exceptions=False), base_url=self.settings.public_origin)

    async def stored(self) -> bytes:
        """All that the database holds: SQLite's files, or every row of every table of PostgreSQL."""
        if not self.settings.database:
            return b"".join(file.read_bytes() for file in self.settings.data_path.glob("anlu.db*"))
        async with self.app.state["store"].read() as tx:
            tables = [row["tablename"] for row in await tx.all("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
            values = [value for table in tables for row in await tx.all(f'SELECT * FROM "{table}"') for value in row]
        return b"\0".join(value if isinstance(value, bytes) else str(value).encode() for value in values)

    def phone(self) -> Phone:
        return Phone(self.browser())


@asynccontextmanager
async def running(app: Anlu) -> AsyncIterator[None]:
    """The app's lifespan in a task of its own: a fixture begins and ends in different ones."""
    begun, over = asyncio.Event(), asyncio.Event()

    async def live() -> None:
        async with app.lifespan():
            begun.set()
            await over.wait()

    task = asyncio.create_task(live())
    waiting = asyncio.create_task(begun.wait())
    await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        waiting.cancel()
        await task
    try:
        yield
    finally:
        over.set()
        await task


def make(settings: Settings) -> None:
    async def once() -> None:
        async with build(settings).lifespan():
            pass

    asyncio.run(once())


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo plant on disk."""
    folder = tmp_path_factory.mktemp("plant") / "data"
    make(Settings(data=str(folder), demo=True, password_ms=20))
    return folder


@pytest.fixture(scope="session")
def made_on_postgres(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> tuple[Path, str]:
    """The folder and the database of a demo plant on PostgreSQL."""
    folder, url = tmp_path_factory.mktemp("plant") / "data", databases.new()
    make(Settings(data=str(folder), database=url, demo=True, password_ms=20))
    return folder, url


@pytest.fixture
def copied(store_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Settings]:
    """A copy of the demo plant for one test."""
    folder = tmp_path / "data"
    if store_kind == "sqlite":
        shutil.copytree(request.getfixturevalue("made"), folder)
        yield Settings(data=str(folder), password_ms=20)
        return
    made_folder, like = request.getfixturevalue("made_on_postgres")
    databases: Databases = request.getfixturevalue("databases")
    shutil.copytree(made_folder, folder)
    url = databases.new(like)
    yield Settings(data=str(folder), database=url, password_ms=20)
    databases.drop(url)


@pytest.fixture
def store_kind() -> str:
    """Starting a whole plant is dear, so SQLite. What sign-in, the demo and imports ask of a database is asked of PostgreSQL too: those files
    have a `store_kind` of their own."""
    return "sqlite"


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def origin() -> str:
    """A test file that wants another address says so by a fixture of its own."""
    return ""


@pytest.fixture
async def plant(copied: Settings, clock: Time, origin: str) -> AsyncIterator[Plant]:
    settings = msgspec.structs.replace(copied, origin=origin)
    app = build(settings, clock)
    async with running(app):
        yield Plant(app, settings, clock)


@pytest.fixture
async def empty(tmp_path: Path, database: str, clock: Time) -> AsyncIterator[Plant]:
    """A plant that nobody has set up."""
    settings = Settings(data=str(tmp_path / "data"), database=database, password_ms=20)
    app = build(settings, clock)
    async with running(app):
        yield Plant(app, settings, clock)
