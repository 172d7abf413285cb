"""The ledger, and what is derived from it."""

from typing import Any

STATEMENTS = [
    # What is this ledger: epoch, boot, the server's own device number, secrets of this database.
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    # Append-only, hash-chained. `what`: op, again, verdict, erasure, epoch, lost.
    """CREATE TABLE ledger (
        seq {serial} PRIMARY KEY,
        what TEXT NOT NULL,
        at BIGINT NOT NULL,
        op TEXT,
        queue BIGINT,
        n BIGINT,
        device BIGINT,
        author TEXT,
        doc TEXT,
        e BIGINT,
        state TEXT,
        code TEXT,
        params TEXT,
        mark TEXT,
        patch {bytes},
        bytes {bytes},
        hash {bytes} NOT NULL
    )""",
    "CREATE INDEX ledger_op ON ledger (op) WHERE op IS NOT NULL",
    "CREATE UNIQUE INDEX ledger_number ON ledger (queue, n) WHERE what <> 'verdict'",
    "CREATE INDEX ledger_queue ON ledger (queue, seq)",
    "CREATE INDEX ledger_doc ON ledger (doc, seq) WHERE doc IS NOT NULL",
    # Salt and text of personal values; both null once erased.
    "CREATE TABLE sealed (hash TEXT PRIMARY KEY, salt {bytes}, value TEXT, erased BIGINT)",
    # From here on: derived, rebuilt from the ledger.
    "CREATE TABLE document (key TEXT PRIMARY KEY, seq BIGINT NOT NULL, body {bytes} NOT NULL, author TEXT NOT NULL,"
    " created_at BIGINT NOT NULL)",
    "CREATE TABLE member (shape TEXT NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (shape, doc)){without_rowid}",
    "CREATE INDEX member_doc ON member (doc)",
    # What happened in a shape: `what` is 0 changed, 1 came, 2 left.
    "CREATE TABLE trail (shape TEXT NOT NULL, seq BIGINT NOT NULL, doc TEXT NOT NULL, what INTEGER NOT NULL, PRIMARY KEY (shape,"
    " seq)){without_rowid}",
    # Of a device as a queue: `have` and the op there; as who speaks: the effective clock of its last op.
    "CREATE TABLE place (device BIGINT PRIMARY KEY, have BIGINT NOT NULL, last TEXT, e BIGINT NOT NULL)",
    "CREATE TABLE parked (op TEXT PRIMARY KEY, seq BIGINT NOT NULL, device BIGINT NOT NULL, doc TEXT NOT NULL,"
    " code TEXT NOT NULL, awaits TEXT)",
    "CREATE INDEX parked_awaits ON parked (awaits)",
    "CREATE INDEX parked_doc ON parked (doc, device)",
    "CREATE TABLE stop (doc TEXT NOT NULL, seq BIGINT NOT NULL, author TEXT NOT NULL, device BIGINT NOT NULL,"
    " queue BIGINT NOT NULL, n BIGINT NOT NULL,"
    " PRIMARY KEY (doc, seq)){without_rowid}",
]

NEVER_CHANGES = [
    "CREATE TRIGGER ledger_keeps BEFORE UPDATE ON ledger BEGIN SELECT RAISE(ABORT, 'the ledger never changes'); END",
    "CREATE TRIGGER ledger_stays BEFORE DELETE ON ledger BEGIN SELECT RAISE(ABORT, 'the ledger never changes'); END",
]


NEVER_CHANGES_POSTGRES = [
    "CREATE FUNCTION ledger_never_changes() RETURNS trigger LANGUAGE plpgsql AS"
    " $body$ BEGIN RAISE EXCEPTION 'the ledger never changes'; END $body$",
    "CREATE TRIGGER ledger_keeps BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger FOR EACH STATEMENT EXECUTE FUNCTION ledger_never_changes()",
]


async def up(tx: Any) -> None:
    """Make the tables."""
    words = {"serial": "INTEGER", "bytes": "BLOB", "without_rowid": " WITHOUT ROWID"}
    if tx.dialect == "postgres":
        words = {"serial": "BIGINT", "bytes": "BYTEA", "without_rowid": ""}
    for statement in STATEMENTS:
        await tx.run(statement.format(**words))
    for statement in NEVER_CHANGES if tx.dialect == "sqlite" else NEVER_CHANGES_POSTGRES:
        await tx.run(statement)
