"""Piccolo over the store's own connections.

Piccolo's SQLite engine opens a connection and a thread for every query and sets no WAL (165 single inserts a second where kept connections
make thousands). Ours runs a query in the transaction the task is in; outside one, a query gets a snapshot and a statement a transaction of
its own.

    class Machine(Table, db=ENGINE): …

Columns are whole numbers, text and bytes (`BigInt`, `Integer`, `Text`, `Varchar`, `Bytea`): values are not converted on the way out.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import Any

from piccolo.engine.base import BaseAtomic, BaseBatch, Engine
from piccolo.query.base import DDL, Query
from piccolo.querystring import QueryString

from backend.store.base import Store, Tx, current_tx, opened

BATCH_ROWS = 100


class StoreEngine(Engine[Any]):
    """Runs Piccolo's queries on the store of the running transaction, else on the one opened last, in its dialect."""

    __slots__ = ()

    def __init__(self) -> None:
        self.current_transaction = ContextVar("anlu_piccolo_transaction", default=None)
        super().__init__(engine_type="sqlite", min_version_number=3.35)

    @property
    def engine_type(self) -> str:
        tx = _tx()
        return tx.dialect if tx is not None else opened[-1].dialect if opened else "sqlite"

    @engine_type.setter
    def engine_type(self, _: str) -> None:
        """Piccolo's own beginning sets one; the store that is open decides."""

    def transaction(self, *_: Any, **__: Any) -> Any:
        """A write of the store, or a savepoint where this task already writes."""
        return _transaction()

    def transaction_exists(self) -> bool:
        return _tx() is not None

    async def run_querystring(self, querystring: QueryString, in_pool: bool = True) -> list[dict[str, Any]]:
        sql, params = querystring.compile_string(engine_type=self.engine_type)
        return await _run(sql, params)

    async def run_ddl(self, ddl: str, in_pool: bool = True) -> list[dict[str, Any]]:
        return await _run(ddl, [])

    async def batch(self, query: Query[Any, Any], batch_size: int = BATCH_ROWS, node: str | None = None) -> "_Batch":
        return _Batch(query, batch_size)

    def atomic(self) -> "_Atomic":
        return _Atomic()

    async def get_version(self) -> float:
        return self.get_version_sync()

    def get_version_sync(self) -> float:
        import sqlite3

        major, minor, *_ = sqlite3.sqlite_version_info
        return float(f"{major}.{minor}")

    async def prep_database(self) -> None:
        """Nothing: the store sets its connections up."""


ENGINE: StoreEngine


class _Batch(BaseBatch):
    def __init__(self, query: Query[Any, Any], size: int) -> None:
        self._query = query
        self._size = size
        self._rows: list[dict[str, Any]] = []

    async def __aenter__(self) -> "_Batch":
        self._rows = await self._query.run()
        return self

    async def __aexit__(self, *_: Any) -> None:
        self._rows = []

    def __aiter__(self) -> "_Batch":
        return self

    async def __anext__(self) -> list[dict[str, Any]]:
        if not self._rows:
            raise StopAsyncIteration
        head, self._rows = self._rows[: self._size], self._rows[self._size :]
        return head


class _Atomic(BaseAtomic):
    def __init__(self) -> None:
        self._queries: list[Query[Any, Any] | DDL] = []

    def add(self, *query: Query[Any, Any] | DDL) -> None:
        self._queries += query

    async def run(self) -> None:
        queries, self._queries = self._queries, []
        async with _transaction():
            for query in queries:
                await query.run()

    def run_sync(self) -> None:
        from piccolo.utils.sync import run_sync

        run_sync(self.run())

    def __await__(self) -> Any:
        return self.run().__await__()


def _tx() -> Any:
    tx = current_tx.get()
    return tx if tx is not None and tx.open else None


def _store() -> Store:
    if not opened:
        raise RuntimeError("no store is open")
    store: Store = opened[-1]
    return store


def _transaction() -> AbstractAsyncContextManager[Any]:
    tx = _tx()
    return tx.savepoint() if tx is not None and tx.writes else _store().write()


async def _run(sql: str, params: list[Any]) -> list[dict[str, Any]]:
    tx = _tx()
    if tx is not None:
        return _dicts(await tx.all(sql, *params))
    reads = sql.lstrip().split(None, 1)[0].upper() in ("SELECT", "WITH")
    async with _scope(reads) as scope:
        return _dicts(await scope.all(sql, *params))


@asynccontextmanager
async def _scope(reads: bool) -> AsyncIterator[Tx]:
    async with _store().read() if reads else _store().write() as tx:
        yield tx


def _dicts(rows: list[Any]) -> list[dict[str, Any]]:
    return [dict(row) for row in rows]


ENGINE = StoreEngine()
