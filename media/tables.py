"""Piccolo's view of the media tables, and the questions asked of them. Made by migrations/0003_media.py."""

from collections.abc import Iterable

from piccolo.columns import BigInt, Text
from piccolo.table import Table

from backend.store import Tx
from backend.store.engine import ENGINE

PARKED_SEARCHED_MAX = 1_000


class Upload(Table, tablename="upload", db=ENGINE):
    """Bytes on their way. `have`: how many lie synced on the disk. `state`: open, done, refused."""

    id = Text(primary_key=True)
    sha256 = Text()
    type = Text()
    length = BigInt()
    have = BigInt()
    state = Text()
    code = Text(null=True)
    person = Text(null=True)
    made_at = BigInt()
    ends_at = BigInt()


class Media(Table, tablename="media", db=ENGINE):
    """A photo by the SHA-256 of its uploaded bytes: stored, or refused with a code."""

    sha256 = Text(primary_key=True)
    type = Text()
    size = BigInt()
    w = BigInt(null=True)
    h = BigInt(null=True)
    state = Text()
    code = Text(null=True)
    at = BigInt()


class MediaRef(Table, tablename="media_ref", db=ENGINE):
    """A document names a photo: who may read the one may see the other."""

    sha256 = Text(primary_key=True)
    doc = Text()


async def name(tx: Tx, pairs: Iterable[tuple[str, str]]) -> None:
    """Note that documents name photos: (sha256, document key)."""
    await tx.many("INSERT INTO media_ref (sha256, doc) VALUES ($1, $2) ON CONFLICT DO NOTHING", list(pairs))


async def awaited(tx: Tx, sha256: str) -> bool:
    """Whether an op names this photo: an accepted one, or one that is parked until somebody decides."""
    if await tx.one("SELECT 1 FROM media_ref WHERE sha256 = $1", sha256) is not None:
        return True
    # Few are parked at a time, and what they will be is not known yet: their bytes are searched.
    parked = await tx.all("SELECT bytes FROM ledger WHERE what = 'op' AND op IN (SELECT op FROM parked LIMIT $1)", PARKED_SEARCHED_MAX)
    return any(sha256.encode() in bytes(row["bytes"]) for row in parked)


async def documents(tx: Tx, sha256: str) -> list[str]:
    """Keys of the documents that name this photo."""
    return [row["doc"] for row in await tx.all("SELECT doc FROM media_ref WHERE sha256 = $1", sha256)]


async def brought(tx: Tx, sha256: str, person: str) -> bool:
    """Whether this person uploaded the bytes, as long as the upload is remembered."""
    row = await tx.one("SELECT 1 FROM upload WHERE sha256 = $1 AND person = $2 AND state = 'done' LIMIT 1", sha256, person)
    return row is not None


async def state(tx: Tx, sha256: str) -> tuple[str, str | None] | None:
    """`stored` or `refused`, with the refusal's code; None where no bytes were judged yet."""
    row = await tx.one("SELECT state, code FROM media WHERE sha256 = $1", sha256)
    return None if row is None else (row["state"], row["code"])
