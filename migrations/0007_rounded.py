"""A personal value that was rounded names the hash of the rough one that stands for it."""

from typing import Any


async def up(tx: Any) -> None:
    """The same statement stands on SQLite and PostgreSQL."""
    await tx.run("ALTER TABLE sealed ADD COLUMN rounded TEXT")
