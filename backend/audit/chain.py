"""How ledger entries hang together. Pure.

    hash(entry) = SHA-256(hash of the entry before, 32 zero bytes at the first | MessagePack array of the columns in the order of `COLUMNS`)

The op's bytes are not hashed a second time: `op` is their SHA-256, and `check` compares the two. So changing, removing, adding or swapping
entries shows at that place, and cutting the end off shows against any hash that was kept elsewhere: the signed heads beside the keys, the
receipts on the phones.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

COLUMNS = ("seq", "what", "at", "op", "queue", "n", "device", "author", "doc", "e", "state", "code", "params", "mark", "patch")
"""What the hash covers, in this order, before `bytes` and `hash` themselves."""

KINDS = frozenset({"op", "again", "verdict", "erasure", "epoch", "lost"})
START = bytes(32)

_encoder = msgspec.msgpack.Encoder()


class Problem(msgspec.Struct, frozen=True):
    """Something does not fit at this entry. `what` is a key: `order`, `hash`, `bytes`, `kind`, `missing`, `head`, `sealed`, `document`,
    …"""

    seq: int
    what: str
    detail: str = ""


def link(before: bytes, columns: Sequence[Any]) -> bytes:
    """The hash of an entry with these `COLUMNS` after the entry with hash `before`."""
    return hashlib.sha256(before + _encoder.encode(columns)).digest()


def check(
    rows: Iterable[Any],
    before: bytes = START,
    last: int = 0,
    seen: Callable[[int, bytes], None] | None = None,
    cold: Callable[[int], bytes | None] = lambda _: None,
) -> list[Problem]:
    """What does not fit in rows of `COLUMNS` + bytes + hash, in the order of seq. `seen` is told each entry's seq and hash; `cold` gives
    the bytes that are no longer in the row of an op's seq."""
    problems: list[Problem] = []
    for row in rows:
        *columns, data, stored = row
        seq, what, op = columns[0], columns[1], columns[3]
        if not isinstance(seq, int) or seq <= last:
            problems.append(Problem(last, "order", f"{seq!r} after {last}"))
        if what not in KINDS:
            problems.append(Problem(seq, "kind", repr(what)))
        if what == "op":
            data = cold(seq) if data is None else data
            if not isinstance(data, bytes) or hashlib.sha256(data).hexdigest() != op:
                problems.append(Problem(seq, "bytes", "the op's bytes are not those of its id"))
        elif data is not None:
            problems.append(Problem(seq, "bytes", "bytes where no op came"))
        try:
            expected = link(before, columns)
        except (TypeError, OverflowError, UnicodeEncodeError):
            expected = b""
        if stored != expected:
            problems.append(Problem(seq, "hash", "this entry, or the one before it, is not what was written"))
        # Go on from what is stored, so that one change is one place and not all that follows.
        before = stored if isinstance(stored, bytes) else b""
        last = seq if isinstance(seq, int) else last
        if seen is not None:
            seen(last, before)
    return problems
