"""The ledger and what is derived from it, for everything but the sync path's own few statements. `migrations/0001_ledger.py` makes them.

Columns are whole numbers, text and bytes. `member`, `trail` and `stop` have keys of several columns, which Piccolo does not know: they are
read by statements only.
"""

from piccolo.columns import BigInt, Bytea, Text
from piccolo.table import Table

from backend.store.engine import ENGINE


class MetaRow(Table, db=ENGINE, tablename="meta"):
    """What is to be known of this database: `epoch`, `boot`, `device` (the server's own), `cursor` (the key of pull's cursors)."""

    name = Text(primary_key=True)
    value = Text()


class LedgerRow(Table, db=ENGINE, tablename="ledger"):
    """An entry; see `backend.sync.ledger`. Never saved or changed from here."""

    seq = BigInt(primary_key=True)
    what = Text()
    at = BigInt()
    op = Text(null=True, default=None)
    queue = BigInt(null=True, default=None)
    n = BigInt(null=True, default=None)
    device = BigInt(null=True, default=None)
    author = Text(null=True, default=None)
    doc = Text(null=True, default=None)
    e = BigInt(null=True, default=None)
    state = Text(null=True, default=None)
    code = Text(null=True, default=None)
    params = Text(null=True, default=None)
    mark = Text(null=True, default=None)
    patch = Bytea(null=True, default=None)
    bytes = Bytea(null=True, default=None)
    hash = Bytea()


class SealedRow(Table, db=ENGINE, tablename="sealed"):
    """A personal value; salt and text are null once it was erased, by the entry `erased`. `rounded`: the hash of what stands for it."""

    hash = Text(primary_key=True)
    salt = Bytea(null=True, default=None)
    value = Text(null=True, default=None)
    erased = BigInt(null=True, default=None)
    rounded = Text(null=True, default=None)


class DocumentRow(Table, db=ENGINE, tablename="document"):
    """A document as it is now; `body` encoded as it is sent."""

    key = Text(primary_key=True)
    seq = BigInt()
    body = Bytea()
    author = Text()
    created_at = BigInt()


class PlaceRow(Table, db=ENGINE, tablename="place"):
    """Where a device stands: as a queue (`have`, `last` op) and as a speaker (`e`, the effective clock of its last op)."""

    device = BigInt(primary_key=True)
    have = BigInt()
    last = Text(null=True, default=None)
    e = BigInt()


class ParkedRow(Table, db=ENGINE, tablename="parked"):
    """An op that waits; `awaits` is a document's key or an op's id, null where it waits for a person."""

    op = Text(primary_key=True)
    seq = BigInt()
    device = BigInt()
    doc = Text()
    code = Text()
    awaits = Text(null=True, default=None)
