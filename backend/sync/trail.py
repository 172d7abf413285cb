"""How far back a phone may stand. What happened in shapes is told for 90 days; a phone that was away longer begins from a reset, which
loses nothing of its queue.

The floor is written first, in a commit of its own, and rows go afterwards: whoever pulls sees the floor, or all of the rows.
"""

from backend.store import Store, Tx
from backend.sync import ledger

TRAIL_DAYS = 90
ROWS_AT_ONCE_MAX = 2_000
"""In one write: a push waits for no more than this."""
DAY_MS = 86_400_000
FLOOR = "trail_floor"


async def floor(tx: Tx) -> int:
    """The seq up to which trails were cut: a phone that stands below it begins again."""
    row = await tx.one("SELECT value FROM meta WHERE name = $1", FLOOR)
    return 0 if row is None else int(row["value"])


async def prune(store: Store, now: int, *, dry: bool = False) -> int:
    """Take away what is older than `TRAIL_DAYS`; how many rows went. `dry`: only count them."""
    async with store.read() as tx:
        upto = await ledger.upto(tx, now - TRAIL_DAYS * DAY_MS)
        if dry:
            row = await tx.one("SELECT COUNT(*) AS n FROM trail WHERE seq <= $1", upto)
            return 0 if row is None else int(row["n"])
    async with store.write() as tx:
        upto = max(upto, await floor(tx))
        await tx.run(
            "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", FLOOR, str(upto)
        )
    gone = 0
    shape = ""
    while True:
        async with store.read() as tx:
            row = await tx.one("SELECT shape FROM trail WHERE shape > $1 ORDER BY shape LIMIT 1", shape)
        if row is None:
            return gone
        shape = row["shape"]
        gone += await _prune(store, shape, upto)


async def _prune(store: Store, shape: str, upto: int) -> int:
    gone = 0
    while True:
        async with store.write() as tx:
            # Rows go from the oldest, so that a kill leaves no hole above what is left.
            row = await tx.one(
                f"SELECT seq FROM trail WHERE shape = $1 AND seq <= $2 ORDER BY seq LIMIT 1 OFFSET {ROWS_AT_ONCE_MAX - 1}", shape, upto
            )
            gone += await tx.run("DELETE FROM trail WHERE shape = $1 AND seq <= $2", shape, upto if row is None else row["seq"])
        if row is None:
            return gone
