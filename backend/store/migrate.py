"""Migrations: numbered files in `migrations/`, each with `async def up(tx)`, run once, in order, in one transaction with the note that
they ran.

A migration says its statements in SQLite's words where those have one meaning in both: on PostgreSQL `TEXT` is ordered by its bytes like
SQLite's, whatever the database's locale (`COLLATE "C"`), `BLOB` is `BYTEA`, and `WITHOUT ROWID` falls away. Where more differs it looks at
`tx.dialect`. Several workers that start at once wait for each other's lock, and the first does the work.

They only add: a server one version older still works on the newer schema, so an upgrade can go back.
"""

import importlib.util
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from backend.kernel.clock import Clock, wall_clock
from backend.store.base import Store

FOLDER = Path(__file__).resolve().parents[2] / "migrations"


async def migrate(store: Store, *, folder: Path = FOLDER, clock: Clock = wall_clock) -> list[str]:
    """Bring the schema up to date; the names of what ran. Raises ValueError where two files have one number."""
    files = _files(folder)
    numbers = [file.name[:4] for file in files]
    if len(set(numbers)) != len(numbers):
        raise ValueError("two migrations have the same number")
    ran: list[str] = []
    async with store.write() as tx:
        schema = Schema(tx)
        await schema.run("CREATE TABLE IF NOT EXISTS migration (name TEXT PRIMARY KEY, ran_at BIGINT NOT NULL)")
        done = {row["name"] for row in await tx.all("SELECT name FROM migration")}
        for file in files:
            if file.stem in done:
                continue
            await _up(file)(schema)
            await tx.run("INSERT INTO migration (name, ran_at) VALUES ($1, $2)", file.stem, clock())
            ran.append(file.stem)
    return ran


class Schema:
    """What a migration is given: the transaction, with statements on tables said in its dialect, and as much time as they need."""

    def __init__(self, tx: Any) -> None:
        self._tx = tx
        if tx.dialect == "postgres":
            tx.seconds_max = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    async def run(self, sql: str, *params: Any) -> int:
        """Execute a statement; the count of rows it touched."""
        if self._tx.dialect == "postgres" and sql.lstrip().upper().startswith(("CREATE TABLE", "ALTER TABLE")):
            for words, other in _WORDS:
                sql = words.sub(other, sql)
        count: int = await self._tx.run(sql, *params)
        return count


_WORDS = (
    (re.compile(r"\bTEXT\b"), 'TEXT COLLATE "C"'),
    (re.compile(r"\bBLOB\b"), "BYTEA"),
    (re.compile(r"\s+WITHOUT ROWID"), ""),
)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.py"))


def _up(file: Path) -> Callable[[Any], Awaitable[None]]:
    spec = importlib.util.spec_from_file_location(f"migrations.{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    up: Callable[[Any], Awaitable[None]] = module.up
    return up
