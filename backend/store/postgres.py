"""PostgreSQL: one pool of connections, Piccolo's, for its tables and for the hand-written statements.

Reading is a REPEATABLE READ, READ ONLY transaction. Writing is a READ COMMITTED transaction that first takes one advisory lock of the
database and holds it to its commit: one writer at a time over all workers, so that sequences are given in commit order and a snapshot that
sees one has seen all below it (decisions/0003). Both begin in one round trip. Nothing outlives its transaction on a connection, so a
pooler in transaction mode may stand between; it wants `statement_cache_size=0`.

    postgres://anlu:secret@host:5432/anlu?sslmode=verify-full&pool_size=10&statement_cache_size=0

`pool_size` and `statement_cache_size` are ours; everything else in the address is libpq's.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

import asyncpg
from piccolo.engine.postgres import PostgresEngine

from backend.kernel.errors import Refusal
from backend.store.base import DatabaseAway, DatabaseError, TryAgain, current_tx, opened

POOL_MAX = 10
STATEMENTS_CACHED_MAX = 256
BUSY_MS_MAX = 5_000
"""How long a write waits for the writers of other processes before it gives up."""
IDLE_SECONDS_MAX = 30
"""A worker that falls silent inside a write (frozen, cut off) loses its transaction, and with it the writer's lock, after this time."""
CONNECT_SECONDS_MAX = 10
COMMAND_SECONDS_MAX = 60
ROWS_AT_ONCE_MAX = 5_000
WRITER_LOCK = 0x416E6C75
"""The advisory lock of whoever writes: `Anlu` in ASCII."""

_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL jit = off"
_WRITE = (
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL jit = off; SET LOCAL lock_timeout = {busy_ms};"
    f" SET LOCAL idle_in_transaction_session_timeout = '{IDLE_SECONDS_MAX}s';"
    # A database set up to answer before its commit is on disk does so for everything but us; a stronger promise stays as it is.
    " SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off';"
    # Last, and alone in its statement: every statement after it sees what the writer before has committed.
    f" SELECT pg_advisory_xact_lock({WRITER_LOCK})"
)

T = TypeVar("T")


class PostgresStore:
    """See `backend.store.base.Store`. `url` as above."""

    dialect = "postgres"

    def __init__(self, url: str, *, busy_ms: int = BUSY_MS_MAX) -> None:
        address, own = _options(url)
        self._pool_size = own.get("pool_size", POOL_MAX)
        self._pool_engine = _Pool(
            {
                "dsn": address,
                "min_size": 0,
                "max_size": self._pool_size,
                "statement_cache_size": own.get("statement_cache_size", STATEMENTS_CACHED_MAX),
                "timeout": CONNECT_SECONDS_MAX,
                "command_timeout": COMMAND_SECONDS_MAX,
                "reset": _nothing,
            }
        )
        self.address = address
        self._begin_write = _WRITE.format(busy_ms=busy_ms)
        self._opening = asyncio.Lock()
        self._turn = asyncio.Lock()
        # Readers never take the last connection: what waits to be written goes on while everybody reads.
        self._one_is_free = asyncio.Semaphore(max(1, self._pool_size - 1))
        self._forms: dict[str, str] = {}
        self._closed = False
        opened.append(self)

    @asynccontextmanager
    async def read(self) -> AsyncIterator["PostgresTx"]:
        self._check_open()
        async with self._one_is_free, self._transaction(_READ, writes=False) as tx:
            yield tx

    @asynccontextmanager
    async def write(self) -> AsyncIterator["PostgresTx"]:
        self._check_open()
        outer = current_tx.get()
        if outer is not None and outer.open and outer.writes and outer.store is self:
            raise RuntimeError("a write inside a write of the same task would wait for itself: use a savepoint")
        async with self._turn, self._transaction(self._begin_write, writes=True) as tx:
            yield tx

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        async with self._turn, self._opening:
            if self._pool_engine.pool is not None:
                try:
                    await asyncio.wait_for(self._pool_engine.close_connection_pool(), CONNECT_SECONDS_MAX)
                except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                    pool, self._pool_engine.pool = self._pool_engine.pool, None
                    if pool is not None:
                        pool.terminate()
        if self in opened:
            opened.remove(self)

    async def connect(self) -> Any:
        """A connection of its own, outside the pool: for who listens. Raises DatabaseAway."""
        return await _said(self._pool_engine.get_listener(), None)

    @asynccontextmanager
    async def _transaction(self, begin: str, *, writes: bool) -> AsyncIterator["PostgresTx"]:
        pool = await self._pool()
        began = time.monotonic_ns()
        connection = await self._begin(pool, begin)
        tx = PostgresTx(self, connection, writes, began)
        token = current_tx.set(tx)
        try:
            try:
                yield tx
                await tx.finish("COMMIT")
            except BaseException:
                if not _dead(connection):
                    with suppress(DatabaseAway, DatabaseError):
                        await tx.finish("ROLLBACK")
                raise
            for call in tx.afterwards:
                call()
        finally:
            tx.open = False
            current_tx.reset(token)
            await _release(pool, connection)

    async def _begin(self, pool: Any, begin: str) -> Any:
        for left in range(self._pool_size, -1, -1):
            connection = await _said(pool.acquire(), None)
            try:
                await _said(connection.execute(begin), connection)
            except BaseException as error:
                # Those that waited in the pool may have died there; what they were asked has done nothing.
                stale = isinstance(error, DatabaseAway) and _dead(connection)
                await _release(pool, connection)
                if not stale or not left:
                    raise
                continue
            return connection
        raise AssertionError

    async def _pool(self) -> Any:
        if self._pool_engine.pool is None:
            async with self._opening:
                self._check_open()
                if self._pool_engine.pool is None:
                    await _said(self._pool_engine.start_connection_pool(), None)
        return self._pool_engine.pool

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the store is closed")

    async def form(self, connection: Any, sql: str) -> str:
        """A statement for one row as the one for many: columns as arrays, laid side by side by `unnest`. Empty where there is none."""
        if sql not in self._forms:
            parts = _INSERT.fullmatch(sql)
            if parts is None or not _in_order(parts["marks"]):
                self._forms[sql] = ""
            else:
                types = (await connection.prepare(sql)).get_parameters()
                arrays = ", ".join(f"${i}::{one.name}[]" for i, one in enumerate(types, 1))
                self._forms[sql] = f"{parts['head']} SELECT * FROM unnest({arrays}){parts['rest']}"
        return self._forms[sql]


class PostgresTx:
    """See `backend.store.base.Tx`. `seconds_max` bounds a statement; None for the long ones of a migration."""

    dialect = "postgres"

    def __init__(self, store: PostgresStore, connection: Any, writes: bool, began: int) -> None:
        self.store = store
        self.connection = connection
        self.writes = writes
        self.open = True
        self.began = began
        self.seconds_max: float | None = COMMAND_SECONDS_MAX
        self.afterwards: list[Callable[[], None]] = []
        self._savepoints = 0

    async def all(self, sql: str, *params: Any) -> list[Any]:
        return await self._call(self.connection.fetch, sql, *params, timeout=self.seconds_max)

    async def each(self, queries: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
        return [await self.all(*query) for query in queries]

    async def one(self, sql: str, *params: Any) -> Any:
        return await self._call(self.connection.fetchrow, sql, *params, timeout=self.seconds_max)

    async def run(self, sql: str, *params: Any) -> int:
        status = await self._call(self.connection.execute, sql, *params, timeout=self.seconds_max)
        count = status.rpartition(" ")[2]
        return int(count) if count.isdecimal() else -1

    async def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        held = rows if isinstance(rows, list) else list(rows)
        if not held:
            return
        form = await self._call(self.store.form, self.connection, sql)
        for i in range(0, len(held), ROWS_AT_ONCE_MAX):
            part = held[i : i + ROWS_AT_ONCE_MAX]
            if form:
                columns = map(list, zip(*part, strict=True))
                await self._call(self.connection.execute, form, *columns, timeout=self.seconds_max)
            else:
                await self._call(self.connection.executemany, sql, part, timeout=self.seconds_max)

    async def bulk(self, parts: Iterable[tuple[str, Sequence[Sequence[Any]]]]) -> None:
        for sql, rows in parts:
            await self.many(sql, rows)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        self._savepoints += 1
        name = f"s{self._savepoints}"
        held = len(self.afterwards)
        await self.run(f"SAVEPOINT {name}")
        try:
            yield
        except BaseException:
            del self.afterwards[held:]
            if not _dead(self.connection):
                await self.finish(f"ROLLBACK TO {name}; RELEASE {name}")
            raise
        await self.run(f"RELEASE {name}")

    def after(self, call: Callable[[], None]) -> None:
        self.afterwards.append(call)

    def among(self, column: str, position: int) -> str:
        return f"{column} = ANY(${position})"

    def listed(self, values: Iterable[Any]) -> list[Any]:
        return list(values)

    async def finish(self, sql: str) -> None:
        """Do this to its end, whoever is cancelled meanwhile: nobody leaves a connection in the middle of a commit."""
        task = asyncio.ensure_future(self._call(self.connection.execute, sql, timeout=COMMAND_SECONDS_MAX))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            while not task.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([task])
            if not task.cancelled():
                task.exception()
            raise

    async def _call(self, work: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        if not self.open:
            raise RuntimeError("this transaction has ended")

        async def done() -> T:
            return await work(*args, **kwargs)

        return await _said(done(), self.connection, writes=self.writes)


class _Pool(PostgresEngine):
    """Piccolo's engine for its pool. It does not look at the server when it is made: our connections open when first used."""

    async def check_version(self) -> None:
        pass

    async def prep_database(self) -> None:
        pass

    async def get_listener(self) -> Any:
        """A connection that is not of the pool."""
        return await asyncpg.connect(self.config["dsn"], timeout=CONNECT_SECONDS_MAX, statement_cache_size=0)


async def _said(work: Awaitable[T], connection: Any, *, writes: bool = True) -> T:
    """What the database answers; what it raises as the store's own exceptions."""
    try:
        return await work
    except asyncpg.PostgresError as error:
        raise _failure(error, writes) from error
    except (OSError, TimeoutError) as error:
        raise DatabaseAway(f"{type(error).__name__}: {error}") from error
    except asyncpg.InternalClientError as error:
        # A connection that dies while it is idle may not know it yet.
        if connection is not None:
            _end(connection)
        raise DatabaseAway(str(error)) from error
    except asyncpg.InterfaceError as error:
        if connection is None or _dead(connection):
            raise DatabaseAway(str(error)) from error
        raise DatabaseError(str(error)) from error


def _failure(error: Any, writes: bool) -> Exception:
    state = error.sqlstate or ""
    said = f"{state} {error}"
    if state in _AGAIN or isinstance(error, asyncpg.InvalidCachedStatementError):
        return TryAgain(said)
    if state.startswith(_AWAY) or (state == _READ_ONLY and writes):
        return DatabaseAway(said)
    if state == _NOT_A_CHARACTER:
        # The one character that JSON and SQLite have and PostgreSQL's text has not: U+0000.
        return Refusal("http.malformed", where="U+0000")
    return DatabaseError(said)


def _dead(connection: Any) -> bool:
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True  # the pool has taken it away already


def _end(connection: Any) -> None:
    with suppress(asyncpg.InterfaceError):
        connection.terminate()


async def _release(pool: Any, connection: Any) -> None:
    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        await pool.release(connection)


async def _nothing(_: Any) -> None:
    """A connection is given back as it is: asyncpg has rolled back what was open, and we set nothing beyond a transaction."""


def _options(url: str) -> tuple[str, dict[str, int]]:
    """The address without our own options, and these. Raises ValueError."""
    address, _, query = url.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    own = {}
    for name, value in pairs:
        if name in _OPTIONS:
            if not value.isdecimal() or not _OPTIONS[name][0] <= int(value) <= _OPTIONS[name][1]:
                raise ValueError(f"{name} in a database URL is a whole number from {_OPTIONS[name][0]} to {_OPTIONS[name][1]}")
            own[name] = int(value)
    rest = urlencode([(name, value) for name, value in pairs if name not in _OPTIONS])
    return (f"{address}?{rest}" if rest else address), own


def _in_order(marks: str) -> bool:
    return marks.split(", ") == [f"${i}" for i in range(1, marks.count("$") + 1)]


_OPTIONS = {"pool_size": (2, 1_000), "statement_cache_size": (0, 100_000)}
_INSERT = re.compile(r"(?P<head>INSERT INTO \w+ \([\w, ]+\)) VALUES \((?P<marks>\$\d+(?:, \$\d+)*)\)(?P<rest>.*)", re.DOTALL)
_AGAIN = ("40001", "40P01")
_AWAY = ("08", "53", "57P", "55P03", "25P03")
"""Connection lost, no resources, shutting down or starting, a lock not given in time, idle for too long."""
_READ_ONLY = "25006"
"""To a writer: this is a standby that is not yet the primary."""
_NOT_A_CHARACTER = "22021"
