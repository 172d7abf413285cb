"""On PostgreSQL several workers read what happened since a sequence, whatever the shape."""

from typing import Any


async def up(tx: Any) -> None:
    if tx.dialect == "postgres":
        await tx.run("CREATE INDEX trail_seq ON trail (seq)")
