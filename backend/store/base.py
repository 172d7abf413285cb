"""What every store can do."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from typing import Any, Protocol

from backend.kernel.errors import Refusal

RETRY_SECONDS = 1


class Row(Protocol):
    """A row: values by name and by position."""

    def __getitem__(self, key: Any) -> Any: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __len__(self) -> int: ...
    def keys(self) -> Any: ...


class Tx(Protocol):
    """A transaction. One task uses it at a time."""

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgres`."""
        ...

    @property
    def began(self) -> int:
        """When it began, as `time.monotonic_ns` has it: what it reads is at least as new as this."""
        ...

    async def all(self, sql: str, *params: Any) -> list[Row]:
        """Every row of a query."""
        ...

    async def each(self, queries: Iterable[tuple[Any, ...]]) -> list[list[Row]]:
        """Every row of each query, a statement followed by its parameters, in one go."""
        ...

    async def one(self, sql: str, *params: Any) -> Row | None:
        """The first row of a query."""
        ...

    async def run(self, sql: str, *params: Any) -> int:
        """Execute a statement; the count of rows it touched."""
        ...

    async def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute a statement for each row. Of the rows of one call, no two update the same: on PostgreSQL an `INSERT … VALUES ($1, $2, …)`
        becomes one statement for all of them."""
        ...

    async def bulk(self, parts: Iterable[tuple[str, Sequence[Sequence[Any]]]]) -> None:
        """`many` for each statement with its rows, in this order."""
        ...

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """What is done inside is undone, and only that, where it raises."""
        ...

    def after(self, call: Callable[[], None]) -> None:
        """Call this once the commit is on disk; not at all where the transaction fails."""
        ...

    def among(self, column: str, position: int) -> str:
        """The condition that `column` is one of the values in parameter `$position`, given as `listed(values)`."""
        ...

    def listed(self, values: Iterable[Any]) -> Any:
        """Texts or whole numbers as one parameter, for `among`."""
        ...


class Store(Protocol):
    """A database with kept connections."""

    @property
    def dialect(self) -> str: ...

    def read(self) -> AbstractAsyncContextManager[Tx]:
        """A snapshot to read from."""
        ...

    def write(self) -> AbstractAsyncContextManager[Tx]:
        """The writer: waits for its turn, commits to disk at the end, rolls back where the block raises. Not inside another write of the
        same task."""
        ...

    async def close(self) -> None:
        """Close every connection and end its thread."""
        ...


class DatabaseError(Exception):
    """The database refused a statement, in its own words. SQLite's are `sqlite3.Error`."""


class DatabaseAway(Refusal):
    """The database cannot be reached, is restarting, or has no room or time now. Nothing of the transaction was done, unless the line broke
    in the middle of its commit: whoever sends again finds out."""

    def __init__(self, why: str) -> None:
        super().__init__("http.unavailable", {"Retry-After": str(RETRY_SECONDS)}, seconds=RETRY_SECONDS)
        self.why = why

    def __str__(self) -> str:
        return self.why


class TryAgain(DatabaseAway):
    """Another transaction was in the way (serialization, deadlock): the same work may succeed at once. Nothing of it was done."""


current_tx: ContextVar[Any] = ContextVar("anlu_tx", default=None)
"""The transaction this task is in, for Piccolo's queries."""

opened: list[Any] = []
"""Stores of this process, the last opened last: where a Piccolo query outside any transaction goes."""
