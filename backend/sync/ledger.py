"""The ledger's entries and statements. Append-only: an entry, once written, is never changed, and triggers in the database refuse to.

| what | meaning |
| --- | --- |
| op | an op arrived: its bytes, where it stood in its queue, the clock it got, the first verdict and what it did |
| again | the same op came under another number of another queue (a phone that registered anew): it takes that number, nothing else |
| verdict | a later verdict on an op that was parked, and what it did |
| erasure | personal values of a document were erased: which hashes, by whom, why; `params.rounded`: what stands for a hash since |
| epoch | the ledger's life began, or began anew from a backup |
| lost | a phone no longer holds numbers `params.from` to `n` of its queue |

`patch` is what the entry did to its document: the whole body for a `new`, else `{"set", "add", "status"}` with their clocks, as they go to
phones. Everything in the derived tables follows from it, in this order, without judging again.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from backend.audit.chain import COLUMNS, START, link
from backend.store import Tx


class Entry(msgspec.Struct):
    """One row. `at` is the arrival in Unix ms, `e` the effective hlc, `author` a person id or `sealed:` + hash, `mark` words about it,
    `data` the op's bytes."""

    seq: int
    what: str
    at: int
    op: str | None = None
    queue: int | None = None
    n: int | None = None
    device: int | None = None
    author: str | None = None
    doc: str | None = None
    e: int | None = None
    state: str | None = None
    code: str | None = None
    params: str | None = None
    mark: str | None = None
    patch: bytes | None = None
    data: bytes | None = None


HEAD = "SELECT seq, hash FROM ledger ORDER BY seq DESC LIMIT 1"
ALL = ", ".join((*COLUMNS, "bytes", "hash"))
INSERT = f"INSERT INTO ledger ({ALL}) VALUES ({', '.join(f'${i}' for i in range(1, len(COLUMNS) + 3))})"


async def head(tx: Tx) -> tuple[int, bytes]:
    """The last entry's seq and hash; 0 and zeros before the first."""
    return end(await tx.all(HEAD))


def end(rows: list[Any]) -> tuple[int, bytes]:
    """The same from the rows of `HEAD`."""
    return (rows[0]["seq"], rows[0]["hash"]) if rows else (0, START)


def rows(before: bytes, entries: Iterable[Entry]) -> tuple[bytes, list[tuple[Any, ...]]]:
    """The hash of the last of these entries, and their rows, after the entry with hash `before`."""
    found = []
    for entry in entries:
        columns = msgspec.structs.astuple(entry)
        before = link(before, columns[:-1])
        found.append((*columns, before))
    return before, found


async def append(tx: Tx, before: bytes, entries: Iterable[Entry]) -> bytes:
    """Write entries after the one with hash `before`; the hash of the last."""
    last, found = rows(before, entries)
    await tx.many(INSERT, found)
    return last


async def upto(tx: Tx, at: int) -> int:
    """The seq of the last entry that was written before `at` (Unix ms); 0 where none was. Found by halves, as entries stand in the order of
    their time: where the server's clock was set back it is one of the places where an older entry meets a younger."""
    last, _ = await head(tx)
    low, high = 0, last
    while low < high:
        row = await tx.one("SELECT seq, at FROM ledger WHERE seq >= $1 ORDER BY seq LIMIT 1", (low + high) // 2 + 1)
        assert row is not None
        if row["at"] < at:
            low = row["seq"]
        else:
            high = (low + high) // 2
    row = await tx.one("SELECT seq FROM ledger WHERE seq <= $1 ORDER BY seq DESC LIMIT 1", low)
    return 0 if row is None else row["seq"]


def verdicts(tx: Tx, ops: Iterable[str]) -> tuple[str, Any]:
    """The query for the verdicts on these ops that the ledger knows: op, seq, state, code, params, the latest last."""
    columns = "op, seq, state, code, params"
    return f"SELECT {columns} FROM ledger WHERE {tx.among('op', 1)} AND what IN ('op', 'verdict') ORDER BY seq", tx.listed(ops)


async def arrival(tx: Tx, op: str) -> Any:
    """The entry with which an op arrived."""
    return await tx.one("SELECT * FROM ledger WHERE op = $1 AND what = 'op'", op)


async def number(tx: Tx, op: str) -> tuple[int, int]:
    """The queue and number under which an op stands now: where its phone numbered it last."""
    row = await tx.one("SELECT queue, n FROM ledger WHERE op = $1 AND what IN ('op', 'again') ORDER BY seq DESC LIMIT 1", op)
    assert row is not None
    return row["queue"], row["n"]
