"""What a backup looks like on disk, read and written in one place.

    FOLDER/
      media/ab/cd/<sha256>.<part>     every photo of every snapshot, once: a part never changes
      media/list.jsonl                its hash, since which snapshot it is here, and since when the database knows it no more
      cold/                           old ops' bytes of every snapshot, once: a file never changes
      20260701T031500Z/               one snapshot; `.part` behind its name while it is being made
        manifest.json                 written last: time, ledger head, and the hash of every file
        anlu.db | anlu.pgdump         the database
        keys/                         keys, revocations, ledger heads: 0600 in 0700; elsewhere with `--keys`

A snapshot without its manifest is none.
"""

import contextlib
import hashlib
import os
import shutil
from pathlib import Path

import msgspec

from backend.operate import NotDone

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = {"sqlite": "anlu.db", "postgres": "anlu.pgdump"}
KEYS = "keys"
MEDIA = "media"
COLD = "cold"
MEDIA_LIST = "list.jsonl"
UNDER_WAY = ".part"
PIECE_BYTES = 1024 * 1024


class Stored(msgspec.Struct, frozen=True):
    """A file of a snapshot: its path inside it, size and SHA-256 (hex)."""

    path: str
    bytes: int
    sha256: str


class Head(msgspec.Struct, frozen=True):
    """The end of the ledger in the snapshot."""

    epoch: str
    seq: int
    hash: str


class Photos(msgspec.Struct, frozen=True):
    """How many files of photos belong to the snapshot, and how many of them the database knew but the disk did not have."""

    files: int
    bytes: int
    missing: int = 0


class Manifest(msgspec.Struct, frozen=True):
    """A snapshot. `made_at`: Unix ms, when the database was read. `migrations`: what its schema has."""

    format: int
    made_at: int
    program: str
    dialect: str
    migrations: list[str]
    database: Stored
    head: Head | None
    keys: list[Stored]
    media: Photos
    cold: list[Stored] = []


class Photo(msgspec.Struct):
    """A file of the pool. `since`: the snapshot (Unix ms) that brought it; `until`: the first one whose database no longer had it."""

    path: str
    bytes: int
    sha256: str
    since: int
    until: int | None = None

    def of(self, made_at: int) -> bool:
        """Whether it belongs to the snapshot of that time."""
        return self.since <= made_at and (self.until is None or self.until > made_at)


def name_of(made_at: int) -> str:
    """A snapshot's folder: its time in UTC, so that names sort by age."""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(made_at / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")


def whole(folder: Path) -> list[Path]:
    """The finished snapshots in a backup folder, oldest first."""
    found = (entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.endswith(UNDER_WAY)) if folder.is_dir() else ()
    return sorted((entry for entry in found if (entry / MANIFEST).is_file()), key=lambda entry: entry.name)


def read(snapshot: Path) -> Manifest:
    """A snapshot's manifest. Raises NotDone where it cannot be read."""
    try:
        manifest = msgspec.json.decode((snapshot / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError) as error:
        raise NotDone(f"备份 {snapshot} 的清单读不出来：{error}", f"The manifest of {snapshot} cannot be read: {error}") from error
    if manifest.format > FORMAT:
        raise NotDone(
            f"备份 {snapshot} 由更新的版本（{manifest.program}）制作，请先升级安炉。",
            f"The backup {snapshot} was made by a newer version ({manifest.program}): upgrade Anlu first.",
        )
    return manifest


def photos(pool: Path) -> dict[str, Photo]:
    """What the pool holds, by path; the last line on a path counts. A line that a crash cut short is left out."""
    found: dict[str, Photo] = {}
    file = pool / MEDIA_LIST
    for line in file.read_bytes().splitlines() if file.exists() else ():
        try:
            photo = msgspec.json.decode(line, type=Photo)
        except (msgspec.DecodeError, msgspec.ValidationError):
            continue
        found[photo.path] = photo
    return found


def sha256_of(path: Path) -> str:
    """The SHA-256 (hex) of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def stored(path: Path, inside: Path) -> Stored:
    """A file as the manifest names it."""
    return Stored(path.relative_to(inside).as_posix(), path.stat().st_size, sha256_of(path))


def copy(source: Path, target: Path, mode: int = 0o600) -> str:
    """Copy a file, durably and whole or not at all; the SHA-256 (hex) of what was read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(target.name + ".new")
    digest = hashlib.sha256()
    with source.open("rb") as reading, beside.open("wb") as writing:
        # A stick may know no permissions: then its folder is what is guarded.
        with contextlib.suppress(OSError):
            os.fchmod(writing.fileno(), mode)
        while piece := reading.read(PIECE_BYTES):
            digest.update(piece)
            writing.write(piece)
        writing.flush()
        os.fsync(writing.fileno())
    beside.replace(target)
    return digest.hexdigest()


def link_or_copy(source: Path, target: Path) -> str:
    """Give a file that never changes a second name where the disk is the same one, else copy it; its SHA-256 (hex)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        return copy(source, target)
    return sha256_of(target)


def private(folder: Path) -> Path:
    """A folder for its owner only."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        folder.chmod(0o700)
    return folder


def sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: Path, content: bytes) -> None:
    """Write a file for its owner only, durably and whole or not at all."""
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        with contextlib.suppress(OSError):
            os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync(path.parent)


def remove(folder: Path) -> None:
    """Remove a snapshot: its manifest first, so that half of one is never taken for a whole."""
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder)
