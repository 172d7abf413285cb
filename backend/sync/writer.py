"""One writer for all: what waits is done together, each in a savepoint of its own, and shares one commit."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from backend.kernel.errors import Refusal
from backend.store import FAILURES, Store, TryAgain
from backend.sync.taking import Batch, Taking

WAITING_MAX = 256
TOGETHER_MAX = 32
"""Bundles in one commit: more would keep the first of them waiting too long."""
TRIES_MAX = 4
"""How often a batch is begun again that met another transaction (serialization, deadlock)."""

Work = Callable[[Taking], Awaitable[Any]]


class Writer:
    """Takes work from everywhere and does it in batches; it may be done again where the database asks for that. `open` makes a batch in a
    transaction; `done` is called after the commit, or after it failed."""

    def __init__(self, store: Store, open_batch: Callable[[Any], Awaitable[Batch]], done: Callable[[Batch, bool], None]) -> None:
        self._store = store
        self._open = open_batch
        self._done = done
        self._waiting: asyncio.Queue[tuple[Work, asyncio.Future[Any]]] = asyncio.Queue(WAITING_MAX)
        self._task: asyncio.Task[None] | None = None

    async def do(self, work: Work) -> Any:
        """The work's result, once it is on disk. Raises what the work raises, and Refusal `http.unavailable` where too much waits."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="anlu-writer")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            self._waiting.put_nowait((work, future))
        except asyncio.QueueFull:
            raise Refusal("http.unavailable", headers={"Retry-After": "2"}, seconds=2) from None
        return await future

    async def stop(self) -> None:
        """Finish what waits, then end."""
        if self._task is not None:
            await self._waiting.join()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _run(self) -> None:
        while True:
            jobs = [await self._waiting.get()]
            while len(jobs) < TOGETHER_MAX and not self._waiting.empty():
                jobs.append(self._waiting.get_nowait())
            try:
                await self._together(jobs)
            finally:
                for _ in jobs:
                    self._waiting.task_done()

    async def _together(self, jobs: list[tuple[Work, "asyncio.Future[Any]"]]) -> None:
        for tried in range(1, TRIES_MAX + 1):
            batch: Batch | None = None
            results: list[tuple[asyncio.Future[Any], Any]] = []
            try:
                async with self._store.write() as tx:
                    batch = await self._open(tx)
                    for work, future in jobs:
                        try:
                            results.append((future, await batch.run(work)))
                        except FAILURES:
                            raise
                        except Exception as error:
                            results.append((future, error))
                    await batch.close()
            except BaseException as error:
                if batch is not None:
                    self._done(batch, False)
                if isinstance(error, TryAgain) and tried < TRIES_MAX:
                    continue
                for _, future in jobs:
                    _fail(future, error if isinstance(error, Exception) else Refusal("http.unavailable", seconds=1))
                if not isinstance(error, Exception):
                    raise
                return
            self._done(batch, True)
            for future, result in results:
                if isinstance(result, Exception):
                    _fail(future, result)
                elif not future.done():
                    future.set_result(result)
            return


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
