"""Many histories, one after another: on both databases, with phones of both sorts; a failure comes with its seed and made small."""

import asyncio
import importlib.util
import logging
import os
import tempfile
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from sim_node import AppPhone, Node
from sim_phones import Phone
from sim_run import Base, Run, run, scratch
from sim_schedule import Schedule, make, shrink

APP_EVERY = 10
"""Every tenth history has phones with the app's own data layer among the others; a history of theirs takes several times as long."""
POSTGRES_EVERY = 8
SECONDS_MAX = 150
"""A history that takes longer hangs."""
SHRINK_TRIES_MAX = 80


class Simulation:
    """Where histories run: a template for each database, and the process of the app's phones. An async context manager."""

    def __init__(self, *, postgres: bool = True, app: bool = True, databases: Any = None) -> None:
        self._postgres, self._app, self._databases = postgres, app, databases
        self.counted: Counter[str] = Counter()

    async def __aenter__(self) -> "Simulation":
        # What the server complains of is what the histories do to it.
        self._quiet = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        self._stack = AsyncExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(dir=scratch())))
        self.bases = {"sqlite": Base(folder / "sqlite", "sqlite")}
        if self._postgres:
            if self._databases is None:
                self._databases = _databases()
                self._stack.callback(self._databases.stop)
            self.bases["postgres"] = Base(folder / "postgres", "postgres", self._databases)
        for base in self.bases.values():
            await base.prepare()
        self.node = Node()
        if self._app:
            await self.node.start()
        return self

    async def __aexit__(self, *_: Any) -> None:
        if self._app:
            await self.node.stop()
        for base in self.bases.values():
            base.forget()
        await self._stack.aclose()
        logging.disable(self._quiet)

    def schedule(self, seed: int) -> Schedule:
        """The history of a seed: its database and its phones follow from it too."""
        store = "postgres" if self._postgres and seed % POSTGRES_EVERY == 1 else "sqlite"
        return make(seed, store, ["app", "wire"] if self._app and seed % APP_EVERY == 0 else ["wire"])

    def phone(self, sort: str, *given: Any) -> Any:
        return AppPhone(self.node, *given) if sort == "app" else Phone(*given)

    async def run(self, schedule: Schedule) -> list[str]:
        """What was wrong in this history."""
        one: Run | None = None
        try:
            problems, one = await asyncio.wait_for(run(self.bases[schedule["store"]], schedule, self.phone), SECONDS_MAX)
        except Exception as error:
            problems = [f"the simulation stopped: {error!r}"]
        if self._app and "app" in schedule["phones"]:
            await self.node.forget()
        self.counted["histories"] += 1
        self.counted[f"on {schedule['store']}"] += 1
        self.counted["with the app's own phones"] += "app" in schedule["phones"]
        self.counted["phones"] += len(schedule["phones"])
        if one is not None:
            self.counted["ops"] += len(one.world.model.verdicts)
            for verdict in one.world.model.verdicts.values():
                self.counted[verdict.state] += 1
        return problems

    async def smallest(self, schedule: Schedule) -> Schedule:
        """The shortest schedule found that still fails."""

        async def fails(shorter: Schedule) -> bool:
            return bool(await self.run(shorter))

        return await shrink(schedule, fails, SHRINK_TRIES_MAX)


def _databases() -> Any:
    spec = importlib.util.spec_from_file_location("anlu_databases", Path(__file__).parents[1] / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Databases(f"sim-{os.getpid()}")
