"""What is to happen because time passes. Derived: the documents and their kinds say it."""

from typing import Any

STATEMENTS = (
    "CREATE TABLE deadline (doc TEXT NOT NULL, step TEXT NOT NULL, at BIGINT NOT NULL, PRIMARY KEY (doc, step))",
    "CREATE INDEX deadline_at ON deadline (at)",
)


async def up(tx: Any) -> None:
    """The same statements stand on SQLite and PostgreSQL."""
    for statement in STATEMENTS:
        await tx.run(statement)
