"""A fresh server for each test, on either database; after it the ledger verifies, and what is live is what the ledger gives."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))

from world import World, kind_document

from backend.audit.cold import Cold
from backend.audit.verify import verify
from backend.sync.rebuild import differences


@pytest_asyncio.fixture
async def world(tmp_path: Path, database: str) -> AsyncIterator[World]:
    async with World(tmp_path, url=database) as world:
        await world.sync.say(kind_document("parked"))
        yield world
        cold = Cold(tmp_path / "cold")
        report = await verify(world.store, world.keys, cold=cold)
        assert report.ok, report.text()
        assert await differences(world.store, world.judge, cold) == []
