"""The store: one door to the database, whichever it is.

    store = open_store("sqlite:////var/lib/anlu/anlu.db")
    async with store.write() as tx:                      # one at a time, all or nothing
        await tx.run("UPDATE place SET have = $2 WHERE device = $1", device, have)
    async with store.read() as tx:                       # a snapshot: sees nothing that commits meanwhile
        rows = await tx.all("SELECT key, body FROM document WHERE key > $1 LIMIT 10", key)

SQL is written with `$1`, `$2`, … and columns are whole numbers, text and bytes only: what both databases hold alike. Times are Unix
milliseconds, yes and no are 1 and 0. Statements take lists (`many`, `among`), so that a bundle of ops costs a handful of them; on
PostgreSQL the same calls become `unnest` and `ANY`. Piccolo's tables run over the same connections (`engine.py`), inside `store.write()`
too.
"""

from backend.store.base import Row, Store, Tx
from backend.store.migrate import migrate
from backend.store.sqlite import FAILURES, SqliteStore

__all__ = ["FAILURES", "Row", "SqliteStore", "Store", "Tx", "migrate", "open_store"]


def open_store(url: str) -> Store:
    """The store at `sqlite:///path` (three slashes and a path, absolute or not). Connections open when first used. Raises ValueError for
    another URL."""
    scheme, _, path = url.partition(":///")
    if scheme != "sqlite" or not path:
        raise ValueError(f"a database URL is sqlite:///path, not {url!r}")
    return SqliteStore(path)
