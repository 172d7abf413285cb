"""Imports of tables: who took what in, when, and how it ended."""

from typing import Any

STATEMENTS = [
    # `state`: running, done (written with the ops themselves, so it says so exactly when they are in), failed. Times are Unix ms;
    # `result` is JSON: counts where it is done, the refusal where it failed.
    """CREATE TABLE import_job (
        id TEXT PRIMARY KEY, what TEXT NOT NULL, person TEXT NOT NULL, state TEXT NOT NULL, begun_at BIGINT NOT NULL, ended_at BIGINT,
        result TEXT
    )""",
    "CREATE INDEX import_job_person ON import_job (person, begun_at)",
]


async def up(tx: Any) -> None:
    for statement in STATEMENTS:
        await tx.run(statement)
