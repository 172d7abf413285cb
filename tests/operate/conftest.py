"""A demo plant on disk that nobody serves, copied for each test."""

import asyncio
import shutil
from pathlib import Path

import pytest

from backend.app import build
from backend.settings import Settings


@pytest.fixture(scope="session")
def made_plant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once."""
    folder = tmp_path_factory.mktemp("made") / "data"

    async def once() -> None:
        async with build(Settings(data=str(folder), demo=True, password_ms=20)).lifespan():
            pass

    asyncio.run(once())
    return folder


@pytest.fixture
def resting(made_plant: Path, tmp_path: Path) -> Settings:
    """A copy of it."""
    shutil.copytree(made_plant, tmp_path / "data")
    return Settings(data=str(tmp_path / "data"), password_ms=20)
