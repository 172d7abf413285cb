"""Several workers on one database: each learns what the others have committed.

A worker knows the ledger up to a sequence. Before it writes it reads what came above it (it holds the writer's lock then, so that is all
there is), and so it never judges by a person, limit or kind that another worker has changed. To poke its listeners soon, it hears of
each commit by PostgreSQL's NOTIFY on the channel `anlu`; what is heard is only that there is something to read, so that a notice lost with
its connection costs nothing but time. Where no notice comes through (a pooler in transaction mode), it looks every few seconds.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Any

from backend.store import DatabaseAway, Store, Tx
from backend.sync import ledger
from backend.sync.events import Hub
from backend.sync.judge import Judge

CHANNEL = "anlu"
LOOK_EVERY_SECONDS = 5
AGAIN_AFTER_SECONDS = 1

log = logging.getLogger("anlu.sync")


class Follower:
    """`seq`: up to where this worker knows what happened. One process on SQLite is alone and has nothing to follow."""

    def __init__(self, store: Store, judge: Judge, hub: Hub) -> None:
        self.seq = 0
        self._store = store
        self._judge = judge
        self._hub = hub
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, seq: int) -> None:
        """Begin at the ledger's end."""
        self.seq = seq
        if self._store.dialect == "postgres":
            self._task = asyncio.create_task(self._run(), name="anlu-follower")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def wrote(self, seq: int) -> None:
        """This worker has committed up to here itself."""
        self.seq = max(self.seq, seq)

    async def learn(self, tx: Tx, upto: int) -> None:
        """Read what others committed up to `upto`, forget what the judge kept of it, and poke who listens here."""
        since = self.seq
        if upto <= since:
            return
        rows = await tx.all("SELECT DISTINCT doc FROM ledger WHERE seq > $1 AND seq <= $2 AND doc IS NOT NULL", since, upto)
        shapes = {row["shape"] for row in await tx.all("SELECT DISTINCT shape FROM trail WHERE seq > $1 AND seq <= $2", since, upto)}
        told = await tx.all("SELECT DISTINCT queue FROM ledger WHERE seq > $1 AND seq <= $2 AND what IN ('again', 'verdict')", since, upto)
        if upto <= self.seq:
            return  # meanwhile the writer has: what it has open must not be taken for committed
        self.seq = upto
        self._judge.observe([row["doc"] for row in rows])
        self._hub.poke(upto, shapes, {row["queue"] for row in told})

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except DatabaseAway as away:
                log.info("what other workers do cannot be heard now", extra={"why": away.why})
            except Exception:
                log.exception("what other workers do could not be followed")
            await asyncio.sleep(AGAIN_AFTER_SECONDS)

    async def _listen(self) -> None:
        store: Any = self._store
        connection = await store.connect()
        try:
            connection.add_termination_listener(lambda _: self._woken.set())
            await connection.add_listener(CHANNEL, self._heard)
            while not connection.is_closed():
                self._woken.clear()
                await self._look()
                # Not `wait_for`: before Python 3.12 it forgets that it was cancelled where a notice comes at the same moment.
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_SECONDS):
                        await self._woken.wait()
        finally:
            connection.terminate()

    async def _look(self) -> None:
        async with self._store.read() as tx:
            end, _ = await ledger.head(tx)
            await self.learn(tx, end)

    def _heard(self, _connection: Any, _pid: int, _channel: str, payload: str) -> None:
        if not payload.isdecimal() or int(payload) > self.seq:
            self._woken.set()


async def tell(tx: Tx, seq: int) -> None:
    """Let every worker hear, at the commit, that the ledger goes up to here now."""
    if tx.dialect == "postgres":
        await tx.run("SELECT pg_notify($1, $2)", CHANNEL, str(seq))
