"""Ops' bytes go to cold files once they are years old (see `backend.audit.cold`): the largest part of a ledger that is seldom read.

What waits for a decision stays, and so does what holds a sealed value, whose place is to be found when its time is over. A file is on disk
before the first of its bytes leaves the database; after a kill in between both have them, and the next run goes on.
"""

import asyncio
from pathlib import Path

from backend.audit import cold
from backend.store import Store
from backend.sync import ledger

YEAR_MS = 365 * 86_400_000
OPS_IN_FILE_MAX = 2_000
ROWS_AT_ONCE_MAX = 250
"""In one write: a push waits for no more than this."""
MARK = "cold_upto"


async def cool(store: Store, folder: Path, years: int, now: int, *, dry: bool = False) -> int:
    """Move what is older than `years` (0: nothing); how many ops went. `dry`: only count them."""
    if not years:
        return 0
    async with store.read() as tx:
        end = await ledger.upto(tx, now - years * YEAR_MS)
        row = await tx.one("SELECT value FROM meta WHERE name = $1", MARK)
        after = 0 if row is None else int(row["value"])
    done = 0
    while after < end:
        async with store.read() as tx:
            rows = await tx.all(
                "SELECT seq, bytes FROM ledger WHERE seq > $1 AND seq <= $2 AND what = 'op' AND op NOT IN (SELECT op FROM parked)"
                f" ORDER BY seq LIMIT {OPS_IN_FILE_MAX}",
                after,
                end,
            )
        ops = [(row["seq"], bytes(row["bytes"])) for row in rows if row["bytes"] is not None and b'"sealed"' not in row["bytes"]]
        after = rows[-1]["seq"] if len(rows) == OPS_IN_FILE_MAX else end
        done += len(ops)
        if dry:
            continue
        if ops:
            await asyncio.to_thread(cold.write, folder, ops)
        for start in range(0, len(ops), ROWS_AT_ONCE_MAX):
            part = [seq for seq, _ in ops[start : start + ROWS_AT_ONCE_MAX]]
            async with store.write() as tx:
                await tx.run(f"UPDATE ledger SET bytes = NULL WHERE {tx.among('seq', 1)}", tx.listed(part))
        async with store.write() as tx:
            await tx.run(
                "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", MARK, str(after)
            )
    return done
