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

from typing import TYPE_CHECKING, Any

from backend.store.base import DatabaseAway, DatabaseError, Row, Store, TryAgain, Tx
from backend.store.migrate import migrate
from backend.store.sqlite import FAILURES as _SQLITE_FAILURES
from backend.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from backend.store.postgres import PostgresStore

__all__ = [
    "FAILURES",
    "DatabaseAway",
    "DatabaseError",
    "PostgresStore",
    "Row",
    "SqliteStore",
    "Store",
    "TryAgain",
    "Tx",
    "migrate",
    "open_store",
]

FAILURES = (*_SQLITE_FAILURES, DatabaseError, DatabaseAway)
"""What the database itself raises: a full disk, a broken file, a connection that is gone."""


def open_store(url: str) -> Store:
    """The store at `sqlite:///path` (three slashes and a path, absolute or not) or `postgres://user:password@host/database`. Connections
    open when first used. Raises ValueError for another URL."""
    scheme, _, path = url.partition("://")
    if scheme == "sqlite" and path.startswith("/") and len(path) > 1:
        return SqliteStore(path[1:])
    if scheme in ("postgres", "postgresql") and path:
        store: Store = __getattr__("PostgresStore")(url)
        return store
    shown = f"{scheme}://…" if "@" in path else url
    raise ValueError(f"a database URL is sqlite:///path or postgres://user:password@host/database, not {shown!r}")


def __getattr__(name: str) -> Any:
    # Who keeps the plant in SQLite does not pay for the other's driver.
    if name == "PostgresStore":
        from backend.store.postgres import PostgresStore

        return PostgresStore
    raise AttributeError(name)
