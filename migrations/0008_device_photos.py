"""A phone says how many photos it still has to send, beside its entries."""

from typing import Any


async def up(tx: Any) -> None:
    """The same statement stands on SQLite and PostgreSQL."""
    await tx.run("ALTER TABLE device ADD COLUMN photos BIGINT")
