"""Uploads on their way, photos that are here or were refused, and the documents that name them."""

from typing import Any

STATEMENTS = [
    # `have`: bytes synced to disk. `state`: open, done, refused. Times are Unix ms.
    """CREATE TABLE upload (
        id TEXT PRIMARY KEY, sha256 TEXT NOT NULL, type TEXT NOT NULL, length BIGINT NOT NULL, have BIGINT NOT NULL, state TEXT NOT NULL,
        code TEXT, person TEXT, made_at BIGINT NOT NULL, ends_at BIGINT NOT NULL
    )""",
    "CREATE INDEX upload_sha256 ON upload (sha256)",
    "CREATE INDEX upload_ends ON upload (ends_at)",
    # `state`: stored, refused (with the code that says why).
    """CREATE TABLE media (
        sha256 TEXT PRIMARY KEY, type TEXT NOT NULL, size BIGINT NOT NULL, w BIGINT, h BIGINT,
        state TEXT NOT NULL, code TEXT, at BIGINT NOT NULL
    )""",
    "CREATE TABLE media_ref (sha256 TEXT NOT NULL, doc TEXT NOT NULL, PRIMARY KEY (sha256, doc))",
    "CREATE INDEX media_ref_doc ON media_ref (doc)",
]


async def up(tx: Any) -> None:
    for statement in STATEMENTS:
        await tx.run(statement)
