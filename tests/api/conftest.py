"""A demo plant that is made once and copied for each test, and time that a test can move."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from backend.app import Anlu, build
from backend.settings import Settings
from tests.api.phone import Phone


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


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo plant on disk."""
    folder = tmp_path_factory.mktemp("plant") / "data"
    settings = Settings(data=str(folder), demo=True, password_ms=20)

    async def make() -> None:
        async with build(settings).lifespan():
            pass

    asyncio.run(make())
    return folder


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def origin() -> str:
    """A test file that wants another address says so by a fixture of its own."""
    return ""


@pytest.fixture
async def plant(made: Path, tmp_path: Path, clock: Time, origin: str) -> AsyncIterator[Plant]:
    folder = tmp_path / "data"
    shutil.copytree(made, folder)
    settings = Settings(data=str(folder), password_ms=20, origin=origin)
    app = build(settings, clock)
    async with running(app):
        yield Plant(app, settings, clock)


@pytest.fixture
async def empty(tmp_path: Path, clock: Time) -> AsyncIterator[Plant]:
    """A plant that nobody has set up."""
    settings = Settings(data=str(tmp_path / "data"), password_ms=20)
    app = build(settings, clock)
    async with running(app):
        yield Plant(app, settings, clock)
