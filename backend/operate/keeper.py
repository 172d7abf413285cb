"""What goes because its time is over, once a day: exact places, trails, sessions and imports that are long done, old ops to cold files.

Every server has one; the day's run is claimed in the database, so of several workers one does it, and a claim that was left behind by a
crash ends by itself. It works in pages of their own beside the pushes, and repeats nothing that a run before it did.
"""

import asyncio
import logging
import secrets
from pathlib import Path

import msgspec

from backend.auth.sessions import OVER_KEPT_DAYS
from backend.flow.judge import FlowJudge
from backend.kernel.clock import Clock
from backend.kernel.errors import Text
from backend.operate import cooling, places
from backend.store import Store, Tx
from backend.sync import trail
from backend.sync.server import Sync

BEGIN_AFTER_SECONDS = 60
"""A server that has just started has other things to do."""
LOOK_EVERY_SECONDS = 600
EVERY_MS = 86_400_000
CLAIM_MS = 3_600_000
LATE_DAYS_MAX = 3
"""So long without a run is told by `anlu doctor`."""
IMPORTS_KEPT_DAYS = 365
DAY_MS = 86_400_000
CLAIM = "keeper"
KEPT = "kept"

log = logging.getLogger("anlu.keeper")


class Kept(msgspec.Struct, frozen=True):
    """What a run took away. `at`: when it ended, Unix ms; `ms`: how long it took."""

    at: int
    ms: int = 0
    places: int = 0
    trails: int = 0
    sessions: int = 0
    imports: int = 0
    cooled: int = 0

    def text(self, *, dry: bool = False) -> Text:
        """For a person."""
        zh = f"位置取整 {self.places} 处，变动轨迹 {self.trails} 行，过期登录 {self.sessions} 个，旧导入记录 {self.imports} 条"
        zh += f"，移到冷文件的旧操作 {self.cooled} 条"
        en = f"{self.places} places rounded, {self.trails} rows of trails, {self.sessions} sessions and {self.imports} imports removed,"
        en += f" {self.cooled} old ops moved to cold files"
        if dry:
            return Text(f"到期待处理：{zh}。未做任何改动。", f"Due: {en}. Nothing was changed.")
        return Text(f"已处理：{zh}，用时 {self.ms / 1000:.1f} 秒。", f"Done: {en}, in {self.ms / 1000:.1f} s.")


class Keeper:
    """Let `run` run until it is cancelled, or call `keep` for one run now."""

    def __init__(self, sync: Sync, judge: FlowJudge, clock: Clock, *, cold: Path, cold_years: int) -> None:
        self._cold, self._cold_years = cold, cold_years
        self._sync = sync
        self._judge = judge
        self._clock = clock
        self._name = secrets.token_hex(8)

    async def run(self) -> None:
        """Look whether a run is due, until cancelled."""
        await asyncio.sleep(BEGIN_AFTER_SECONDS)
        while True:
            try:
                await self.keep_if_due()
            except Exception:
                log.exception("what is old could not be taken away")
            await asyncio.sleep(LOOK_EVERY_SECONDS)

    async def keep_if_due(self) -> Kept | None:
        """Do the day's run unless it was done, or another does it."""
        async with self._sync.store.read() as tx:
            before = await last(tx)
        if before is not None and self._clock() - before.at < EVERY_MS:
            return None
        return await self.keep()

    async def keep(self) -> Kept | None:
        """One run now; None where another is at it."""
        if not await self._claim():
            return None
        began = self._clock()
        rounded = await places.round_old(self._sync, self._judge, began)
        gone = await trail.prune(self._sync.store, began)
        cooled = await cooling.cool(self._sync.store, self._cold, self._cold_years, began)
        async with self._sync.store.write() as tx:
            counts = {name: await tx.run(f"DELETE FROM {over}", limit) for name, (over, limit) in _over(began).items()}
            now = self._clock()
            kept = Kept(now, now - began, rounded, gone, cooled=cooled, **counts)
            await _put(tx, KEPT, msgspec.json.encode(kept).decode())
            await tx.run("DELETE FROM meta WHERE name = $1", CLAIM)
        log.info("what is old was taken away", extra=msgspec.structs.asdict(kept))
        return kept

    async def due(self) -> Kept:
        """What a run would take away now; nothing is changed."""
        now = self._clock()
        rounded = await places.round_old(self._sync, self._judge, now, dry=True)
        gone = await trail.prune(self._sync.store, now, dry=True)
        cooled = await cooling.cool(self._sync.store, self._cold, self._cold_years, now, dry=True)
        async with self._sync.store.read() as tx:
            rows = {name: await tx.one(f"SELECT COUNT(*) AS n FROM {over}", limit) for name, (over, limit) in _over(now).items()}
        return Kept(now, 0, rounded, gone, cooled=cooled, **{name: row["n"] for name, row in rows.items() if row is not None})

    async def _claim(self) -> bool:
        now = self._clock()
        async with self._sync.store.write() as tx:
            row = await tx.one("SELECT value FROM meta WHERE name = $1", CLAIM)
            name, until = row["value"].split(":") if row is not None else ("", "0")
            # One that lies further ahead than any claim goes was made by a clock that was wrong.
            if name != self._name and now < int(until) <= now + CLAIM_MS:
                return False
            await _put(tx, CLAIM, f"{self._name}:{now + CLAIM_MS}")
        return True


def _over(now: int) -> dict[str, tuple[str, int]]:
    """Tables and conditions of what is long done, and the moment before which it was."""
    return {
        "sessions": ("session WHERE ends_at < $1", now - OVER_KEPT_DAYS * DAY_MS),
        "imports": ("import_job WHERE ended_at < $1", now - IMPORTS_KEPT_DAYS * DAY_MS),
    }


async def last(tx: Tx) -> Kept | None:
    """The last run; None where there was none."""
    row = await tx.one("SELECT value FROM meta WHERE name = $1", KEPT)
    return None if row is None else msgspec.json.decode(row["value"], type=Kept)


async def late(store: Store, now: int) -> int | None:
    """Days since the last run, or since the ledger began where there was none, if that is too long ago."""
    async with store.read() as tx:
        before = await last(tx)
        row = await tx.one("SELECT at FROM ledger ORDER BY seq LIMIT 1")
    since = before.at if before is not None else row["at"] if row is not None else now
    days = (now - since) // DAY_MS
    return days if days > LATE_DAYS_MAX else None


async def _put(tx: Tx, name: str, value: str) -> None:
    await tx.run("INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
