"""An op's bytes may leave the ledger for a cold file; nothing else of an entry ever changes, and its `op` still is their SHA-256."""

from typing import Any

COLUMNS = ("seq", "what", "at", "op", "queue", "n", "device", "author", "doc", "e", "state", "code", "params", "mark", "patch", "hash")

SQLITE = (
    "DROP TRIGGER ledger_keeps",
    "CREATE TRIGGER ledger_keeps BEFORE UPDATE ON ledger WHEN NEW.bytes IS NOT NULL OR "
    + " OR ".join(f"NEW.{name} IS NOT OLD.{name}" for name in COLUMNS)
    + " BEGIN SELECT RAISE(ABORT, 'the ledger never changes'); END",
)
POSTGRES = (
    "DROP TRIGGER ledger_keeps ON ledger",
    "CREATE FUNCTION ledger_only_cools() RETURNS trigger LANGUAGE plpgsql AS $body$ BEGIN"
    f" IF NEW.bytes IS NOT NULL OR ({', '.join(f'NEW.{name}' for name in COLUMNS)})"
    f" IS DISTINCT FROM ({', '.join(f'OLD.{name}' for name in COLUMNS)})"
    " THEN RAISE EXCEPTION 'the ledger never changes'; END IF; RETURN NEW; END $body$",
    "CREATE TRIGGER ledger_keeps BEFORE UPDATE ON ledger FOR EACH ROW EXECUTE FUNCTION ledger_only_cools()",
    "CREATE TRIGGER ledger_stays BEFORE DELETE OR TRUNCATE ON ledger FOR EACH STATEMENT EXECUTE FUNCTION ledger_never_changes()",
)


async def up(tx: Any) -> None:
    for statement in SQLITE if tx.dialect == "sqlite" else POSTGRES:
        await tx.run(statement)
