"""What happens because time passes: a kind says while which state, at which moment, the server takes which transition.

A table holds the moments, kept beside every accepted op; a task looks every few seconds and lets the server's own device say the step. The
step is judged like any other, so a moment that no longer holds does nothing.
"""

import asyncio
import logging
from typing import Any

from backend.flow import machine
from backend.flow.cel import RuleFailed
from backend.flow.celtext import CelSyntax
from backend.flow.judge import CALENDAR_KEY, FlowJudge
from backend.flow.kind import CompiledKind
from backend.flow.machine import Env
from backend.kernel.clock import Clock
from backend.kernel.ids import SERVER_AUTHOR
from backend.store import Tx
from backend.sync.judge import Body, Docs
from backend.sync.op import Act
from backend.sync.server import Accepted, Sync
from backend.sync.shapes import TxDocs

LOOK_EVERY_SECONDS = 5
AT_ONCE_MAX = 200

log = logging.getLogger("anlu.flow")


class Deadlines:
    """Hand `on_accepted` to sync, then let `run` run until it is cancelled."""

    def __init__(self, judge: FlowJudge) -> None:
        self._judge = judge

    async def on_accepted(self, tx: Tx, accepted: list[Accepted]) -> None:
        """Write down the moments of the documents that have changed. Inside the transaction."""
        last = {one.key: one for one in accepted if (kind := self._kind(one.key, one.body)) is not None and kind.kind.deadlines}
        if any(one.key == CALENDAR_KEY for one in accepted):
            await self._put_again(tx, accepted[-1].at)
        if last:
            docs = TxDocs(tx)
            for key, one in last.items():
                await self._put(tx, docs, key, one.body, one.at)

    async def run(self, sync: Sync, clock: Clock) -> None:
        """Look for what is due until cancelled."""
        await self.fill(sync, clock())
        while True:
            try:
                await self.take(sync, clock())
            except Exception:
                log.exception("deadlines could not be taken")
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def fill(self, sync: Sync, now: int) -> None:
        """Write down every moment anew: the table may be older than the documents."""
        names = {kind.name for kind in self._judge.kinds() if kind.kind.deadlines}
        async with sync.store.write() as tx:
            docs = TxDocs(tx)
            await tx.run("DELETE FROM deadline")
            for name in sorted(names):
                for doc in await docs.all(name):
                    await self._put(tx, docs, doc.key, doc.body, now)

    async def take(self, sync: Sync, now: int) -> int:
        """Say every step that is due; how many were."""
        async with sync.store.read() as tx:
            rows = await tx.all("SELECT doc, step FROM deadline WHERE at <= $1 ORDER BY at, doc, step LIMIT $2", now, AT_ONCE_MAX)
            docs = TxDocs(tx)
            found = await docs.get_many([row["doc"] for row in rows])
        taken = 0
        for row in rows:
            key, step = row["doc"], row["step"]
            async with sync.store.write() as tx:
                # Gone before it is said: if the step brings it about again, the hook writes it again.
                if not await tx.run("DELETE FROM deadline WHERE doc = $1 AND step = $2 AND at <= $3", key, step, now):
                    continue  # another worker was there before, or it is not due any more
            doc = found.get(key)
            kind = self._kind(key, doc.body) if doc is not None else None
            if doc is None or kind is None:
                continue
            given = {}
            for deadline in kind.kind.deadlines:
                if deadline.do == step and doc.body["status"] in deadline.during:
                    async with sync.store.read() as tx:
                        env = await self._judge.env(TxDocs(tx), SERVER_AUTHOR, now, kind)
                    given = {name: self._value(kind, key, doc.body, text, env) for name, text in deadline.input.items()}
            verdicts = await sync.say(Act(0, 0, now, SERVER_AUTHOR, key, step, {n: v for n, v in given.items() if v is not None}, doc.seq))
            if any(verdict.state != "ok" for verdict in verdicts):
                log.info("a deadline's step was not taken", extra={"doc": key, "step": step, "code": verdicts[0].code})
            taken += 1
        return taken

    async def _put_again(self, tx: Tx, now: int) -> None:
        """The calendar has changed, and with it every moment that a rule works out from it."""
        docs = TxDocs(tx)
        for kind in self._judge.kinds():
            if kind.asks_calendar:
                for doc in await docs.all(kind.name):
                    if doc.body["version"] == kind.kind.version:
                        await self._put(tx, docs, doc.key, doc.body, now)

    async def _put(self, tx: Tx, docs: Docs, key: str, body: Body, now: int) -> None:
        kind = self._kind(key, body)
        if kind is None:
            return
        env = await self._judge.env(docs, SERVER_AUTHOR, now, kind)
        for deadline in kind.kind.deadlines:
            at = self._value(kind, key, body, deadline.at, env) if body["status"] in deadline.during else None
            if isinstance(at, int | float) and not isinstance(at, bool):
                await tx.run(
                    "INSERT INTO deadline (doc, step, at) VALUES ($1, $2, $3) ON CONFLICT (doc, step) DO UPDATE SET at = excluded.at",
                    key,
                    deadline.do,
                    int(at),
                )
            else:
                await tx.run("DELETE FROM deadline WHERE doc = $1 AND step = $2", key, deadline.do)

    def _kind(self, key: str, body: Body) -> CompiledKind | None:
        return self._judge.kind(key.partition("/")[0], body["version"])

    def _value(self, kind: CompiledKind, key: str, body: Body, text: str, env: Env) -> Any:
        try:
            return machine.run(kind, text, "doc", env, machine.view(kind, key, body))
        except (RuleFailed, CelSyntax):
            return None
