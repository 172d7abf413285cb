"""Where finished files lie: `MediaStore` is what any place can do, `DiskStore` is a folder. Names are the SHA-256 (hex) of the bytes as
they were uploaded.

Each photo has the parts `evidence` (as uploaded, never served) and what `derive` made. A part is written once and never changes: putting
it again changes nothing.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import msgspec

EVIDENCE = "evidence"
SERVED = {"original": "image/jpeg", "screen": "image/webp", "thumb": "image/webp"}
"""The parts that `derive` makes, and the media type each is served with."""
PIECE_BYTES = 256 * 1024


class Part(msgspec.Struct, frozen=True):
    """A stored part: its size in bytes and the bytes themselves, in pieces."""

    size: int
    pieces: AsyncIterator[bytes]


class MediaStore(Protocol):
    """A place for finished media."""

    async def put(self, sha256: str, part: str, file: Path) -> None:
        """Keep a finished, synced file under this name, durably when this returns. The file itself may stay. Raises OSError where the
        place is full or gone."""
        ...

    name: str
    """For the operator."""

    async def ready(self) -> None:
        """Make sure of the place before the first photo. Raises OSError where it cannot be used."""
        ...

    async def has(self, sha256: str, part: str) -> bool:
        """Whether a part is here."""
        ...

    async def open(self, sha256: str, part: str) -> Part | None:
        """Read a part; None where it is not here. Raises OSError where the place does not answer."""
        ...


def shelf(folder: Path, bucket: str) -> MediaStore:
    """Where finished photos lie: in a bucket where its address is given, else in the folder."""
    if not bucket:
        return DiskStore(folder)
    # Here, since its client is large and most plants have a disk.
    from media.s3 import S3Store

    return S3Store(bucket)


class DiskStore:
    """A folder: `ab/cd/abcd….part`. Files are linked into place, so that a file is there whole or not at all, and folders are synced."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = str(root)

    def path(self, sha256: str, part: str) -> Path:
        """Where a part lies or would lie."""
        return self.root / sha256[:2] / sha256[2:4] / checked(sha256, part)

    async def ready(self) -> None:
        await asyncio.to_thread(self.root.mkdir, mode=0o700, parents=True, exist_ok=True)

    async def has(self, sha256: str, part: str) -> bool:
        return await asyncio.to_thread(self.path(sha256, part).exists)

    async def put(self, sha256: str, part: str, file: Path) -> None:
        await asyncio.to_thread(self._put, self.path(sha256, part), file)

    async def open(self, sha256: str, part: str) -> Part | None:
        path = self.path(sha256, part)
        try:
            size = (await asyncio.to_thread(path.stat)).st_size
        except FileNotFoundError:
            return None
        return Part(size, self._pieces(path))

    def _put(self, path: Path, file: Path) -> None:
        made = [folder for folder in (path.parent, path.parent.parent) if not folder.exists()]
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.link(file, path)
        sync_folder(path.parent)
        for folder in made:
            sync_folder(folder.parent)

    async def _pieces(self, path: Path) -> AsyncIterator[bytes]:
        with await asyncio.to_thread(path.open, "rb") as file:
            while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
                yield piece


def checked(sha256: str, part: str) -> str:
    """The name of a part, `abcd….part`. Raises ValueError where it is none."""
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef") or not part.isalnum():
        raise ValueError("not the name of a part")
    return f"{sha256}.{part}"


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable: a file's own sync does not cover the name it has."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
