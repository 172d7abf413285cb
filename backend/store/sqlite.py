"""SQLite with kept connections: one writer, several readers, each with a thread of its own for as long as the store is open.

A call that is cancelled waits until its thread has finished the statement, so that no connection is ever left in the middle of something,
and a `BEGIN IMMEDIATE` that finds another process writing ends as `http.unavailable` with the connection as it was. Nothing here starts a
thread for a query.
"""

import asyncio
import logging
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from backend.kernel.errors import Refusal
from backend.store.base import DatabaseAway, current_tx, opened

READERS_MAX = 4
BUSY_MS_MAX = 5_000
"""How long a write waits for another process (a backup, the command line) before it gives up."""
CACHE_KIB_WRITER = 16_384
CACHE_KIB_READER = 4_096
"""Of pages kept by each connection; what is read again soon is in the system's cache anyhow."""
CHECKPOINT_PAGES = 4_000

NO_DISK = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
"""Errors that go when there is room again."""

log = logging.getLogger("anlu.store")

T = TypeVar("T")


class SqliteStore:
    """See `backend.store.base.Store`."""

    dialect = "sqlite"

    def __init__(self, path: str | Path, *, readers: int = READERS_MAX, busy_ms: int = BUSY_MS_MAX) -> None:
        self.path = Path(path)
        self._busy_ms = busy_ms
        self._writer = _Connection(self.path, busy_ms, writes=True)
        self._turn = asyncio.Lock()
        self._readers = [_Connection(self.path, busy_ms, writes=False) for _ in range(readers)]
        self._free = list(self._readers)
        self._one_is_free = asyncio.Semaphore(readers)
        self._closed = False
        opened.append(self)

    @asynccontextmanager
    async def read(self) -> AsyncIterator["SqliteTx"]:
        self._check_open()
        async with self._one_is_free:
            connection = self._free.pop()
            try:
                # A reader cannot make the file or turn WAL on; the writer does.
                if not self._writer.is_open:
                    async with self._turn:
                        await self._writer.call(self._writer.ready)
                async with self._transaction(connection, "BEGIN") as tx:
                    yield tx
            finally:
                self._free.append(connection)

    @asynccontextmanager
    async def write(self) -> AsyncIterator["SqliteTx"]:
        self._check_open()
        outer = current_tx.get()
        if outer is not None and outer.open and outer.writes and outer.connection is self._writer:
            raise RuntimeError("a write inside a write of the same task would wait for itself: use a savepoint")
        async with self._turn, self._transaction(self._writer, "BEGIN IMMEDIATE") as tx:
            yield tx

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        async with self._turn:
            await self._writer.close()
        for connection in self._readers:
            await connection.close()
        if self in opened:
            opened.remove(self)

    @asynccontextmanager
    async def _transaction(self, connection: "_Connection", begin: str) -> AsyncIterator["SqliteTx"]:
        tx = SqliteTx(connection)
        token = current_tx.set(tx)
        try:
            try:
                await connection.call(connection.begin, begin)
                yield tx
                await connection.call(connection.execute, "COMMIT", ())
            except BaseException:
                await connection.call(connection.roll_back)
                raise
            for call in tx.afterwards:
                call()
        finally:
            tx.open = False
            current_tx.reset(token)

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the store is closed")


class SqliteTx:
    """See `backend.store.base.Tx`."""

    dialect = "sqlite"

    def __init__(self, connection: "_Connection") -> None:
        self.connection = connection
        self.writes = connection.writes
        self.open = True
        self.began = time.monotonic_ns()
        self.afterwards: list[Callable[[], None]] = []
        self._savepoints = 0
        self._first: list[str] = []

    async def all(self, sql: str, *params: Any) -> list[Any]:
        return await self._call(self.connection.rows, sql, params)

    async def each(self, queries: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
        return await self._call(self.connection.rows_of_each, list(queries))

    async def one(self, sql: str, *params: Any) -> Any:
        return await self._call(self.connection.row, sql, params)

    async def run(self, sql: str, *params: Any) -> int:
        return await self._call(self.connection.execute, sql, params)

    async def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        held = rows if isinstance(rows, list) else list(rows)
        if held:
            await self._call(self.connection.execute_many, sql, held)

    async def bulk(self, parts: Iterable[tuple[str, Sequence[Sequence[Any]]]]) -> None:
        held = [(sql, rows) for sql, rows in parts if rows]
        if held:
            await self._call(self.connection.execute_all, held)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        self._savepoints += 1
        name = f"s{self._savepoints}"
        held = len(self.afterwards)
        begin = f"SAVEPOINT {name}"
        # Begun and released with the next statement: each way to the connection's thread costs more than these do. What is not released at
        # the commit is by it.
        self._first.append(begin)
        try:
            yield
        except BaseException:
            del self.afterwards[held:]
            if begin in self._first:
                del self._first[self._first.index(begin) :]
            else:
                self._first.clear()
                # A full disk rolls back the whole transaction by itself: then there is no savepoint left to go back to.
                if self.connection.in_transaction:
                    await self.connection.call(self.connection.back_to, name)
            raise
        if begin in self._first:
            del self._first[self._first.index(begin) :]
        else:
            self._first.append(f"RELEASE {name}")

    def after(self, call: Callable[[], None]) -> None:
        self.afterwards.append(call)

    def among(self, column: str, position: int) -> str:
        return f"{column} IN (SELECT value FROM json_each(${position}))"

    def listed(self, values: Iterable[Any]) -> str:
        return _json.encode(list(values)).decode()

    async def _call(self, work: Callable[..., T], *args: Any) -> T:
        if not self.open:
            raise RuntimeError("this transaction has ended")
        if self._first:
            first, self._first = self._first, []
            return await self.connection.call(self.connection.after, first, work, *args)
        return await self.connection.call(work, *args)


class _Connection:
    """A connection and the one thread that touches it."""

    def __init__(self, path: Path, busy_ms: int, *, writes: bool) -> None:
        self.path = path
        self.writes = writes
        self._busy_ms = busy_ms
        self._thread: ThreadPoolExecutor | None = None
        self._db: sqlite3.Connection | None = None

    # From the event loop.

    async def call(self, work: Callable[..., T], *args: Any) -> T:
        """Do this in the connection's thread. A cancelled caller waits for the end of it before the cancellation goes on. Raises
        DatabaseAway where the disk has no room or does not answer."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"anlu-{'writer' if self.writes else 'reader'}")
        future = asyncio.get_running_loop().run_in_executor(self._thread, work, *args)
        try:
            return await asyncio.shield(future)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in NO_DISK:
                log.error("the disk of the database fails: %s", error)
                raise DatabaseAway(str(error)) from error
            raise
        except asyncio.CancelledError:
            while not future.done():
                try:
                    await asyncio.wait([future])
                except asyncio.CancelledError:
                    continue
            if not future.cancelled():
                future.exception()
            raise

    async def close(self) -> None:
        if self._thread is not None:
            await self.call(self._shut)
            self._thread.shutdown(wait=True)
            self._thread = None

    @property
    def is_open(self) -> bool:
        return self._db is not None

    @property
    def in_transaction(self) -> bool:
        return self._db is not None and self._db.in_transaction

    # In the thread.

    def ready(self) -> sqlite3.Connection:
        if self._db is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            db = sqlite3.connect(
                self.path, timeout=self._busy_ms / 1000, isolation_level=None, check_same_thread=False, cached_statements=256
            )
            try:
                db.row_factory = sqlite3.Row
                db.execute("PRAGMA foreign_keys = ON")
                if self.writes:
                    db.execute("PRAGMA journal_mode = WAL")
                    db.execute("PRAGMA synchronous = FULL")
                    db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
                else:
                    db.execute("PRAGMA query_only = ON")
                db.execute(f"PRAGMA cache_size = -{CACHE_KIB_WRITER if self.writes else CACHE_KIB_READER}")
                db.execute("PRAGMA temp_store = MEMORY")
            except BaseException:
                db.close()
                raise
            self._db = db
        return self._db

    def begin(self, sql: str) -> None:
        db = self.ready()
        try:
            db.execute(sql)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise Refusal("http.unavailable", headers={"Retry-After": "1"}, seconds=1) from error
            raise

    def after(self, first: list[str], work: Callable[..., T], *args: Any) -> T:
        for sql in first:
            self.execute(sql, ())
        return work(*args)

    def execute(self, sql: str, params: Sequence[Any]) -> int:
        return self.ready().execute(_translate(sql), params).rowcount

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        self.ready().executemany(_translate(sql), rows)

    def execute_all(self, parts: list[tuple[str, Sequence[Sequence[Any]]]]) -> None:
        for sql, rows in parts:
            self.execute_many(sql, rows)

    def rows(self, sql: str, params: Sequence[Any]) -> list[sqlite3.Row]:
        return self.ready().execute(_translate(sql), params).fetchall()

    def rows_of_each(self, queries: list[tuple[Any, ...]]) -> list[list[sqlite3.Row]]:
        return [self.rows(sql, params) for sql, *params in queries]

    def row(self, sql: str, params: Sequence[Any]) -> sqlite3.Row | None:
        found: sqlite3.Row | None = self.ready().execute(_translate(sql), params).fetchone()
        return found

    def back_to(self, name: str) -> None:
        db = self.ready()
        db.execute(f"ROLLBACK TO {name}")
        db.execute(f"RELEASE {name}")

    def roll_back(self) -> None:
        if self._db is not None and self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def _shut(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


FAILURES = (sqlite3.Error, OSError)
"""What the database itself raises: a full disk, a broken file."""

_json = msgspec.json.Encoder()
_PARAMETER = re.compile(r"\$(\d+)")


@lru_cache(maxsize=1024)
def _translate(sql: str) -> str:
    return _PARAMETER.sub(r"?\1", sql)
