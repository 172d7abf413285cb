"""What SQLite alone does with the rows of a finished run: python -m bench.sync.raw DATABASE. Prints a line of JSON.

The same ledger, trail and document rows that a push of the run wrote, into the same tables with the same indexes and settings, as many to a
commit as phones pushed bundles; then every document's body, read and joined. No HTTP, no signature, no rule, no merge, no hash: the floor
under anything that keeps these rows.
"""

import json
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

IN_COMMIT = 500
TABLES = ("ledger", "trail", "document")
SETTINGS = ("journal_mode=WAL", "synchronous=FULL", "cache_size=-32768")


def measure(database: Path) -> dict[str, float]:
    """Milliseconds of the push and of the pull."""
    kept = sqlite3.connect(database)
    ledger = rows(kept, "SELECT * FROM ledger WHERE bytes >= CAST('[\"set\"' AS BLOB) AND bytes < CAST('[\"seu' AS BLOB) ORDER BY seq")
    doc = [one[0] for one in kept.execute("SELECT name FROM pragma_table_info('ledger')")].index("doc")
    documents = {row[0]: row for row in rows(kept, "SELECT * FROM document")}
    with tempfile.TemporaryDirectory(dir=database.parent) as folder:
        alone = sqlite3.connect(Path(folder) / "alone.db", isolation_level=None)
        for setting in SETTINGS:
            alone.execute(f"PRAGMA {setting}")
        for (made,) in kept.execute("SELECT sql FROM sqlite_master WHERE tbl_name IN (?, ?, ?) AND sql IS NOT NULL ORDER BY rowid", TABLES):
            alone.execute(made)
        trail: dict[int, list[Any]] = {}
        for row in rows(kept, "SELECT * FROM trail"):
            trail.setdefault(row[1], []).append(row)
        insert(alone, "document", list(documents.values()))
        began = time.perf_counter()
        for at in range(0, len(ledger), IN_COMMIT):
            part = ledger[at : at + IN_COMMIT]
            alone.execute("BEGIN IMMEDIATE")
            insert(alone, "ledger", part)
            insert(alone, "trail", [row for entry in part for row in trail.get(entry[0], ())])
            changed = [(documents[key][1], documents[key][2], key) for key in {entry[doc] for entry in part}]
            alone.executemany("UPDATE document SET seq = ?, body = ? WHERE key = ?", changed)
            alone.execute("COMMIT")
        pushed = time.perf_counter()
        joined = b"\n".join(body for (body,) in alone.execute("SELECT body FROM document ORDER BY key"))
        pulled = time.perf_counter()
        alone.close()
    kept.close()
    if not joined:
        raise ValueError(f"{database} holds no documents")
    return {"edits": len(ledger), "push_ms": 1_000 * (pushed - began), "pull_ms": 1_000 * (pulled - pushed)}


def rows(database: sqlite3.Connection, sql: str) -> list[Any]:
    return database.execute(sql).fetchall()


def insert(database: sqlite3.Connection, table: str, found: list[Any]) -> None:
    if found:
        marks = ", ".join("?" * len(found[0]))
        database.execute("SAVEPOINT filling")
        database.executemany(f"INSERT INTO {table} VALUES ({marks})", found)
        database.execute("RELEASE filling")


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
