"""Ops' bytes that are old lie outside the database, in files that never change.

    <first seq>-<last seq>-<hash>.gz        gzip of a MessagePack array of [seq, bytes]

The entry stays in the ledger. Its `op` is the SHA-256 of the bytes and stands in the chain under the signed heads, so a file needs no
signature of its own: what was changed, taken away or put in another's place does not fit the entry that names it.
"""

import gzip
import hashlib
import logging
import os
import re
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

SUFFIX = ".gz"
FILES_OPEN_MAX = 4
_NAME = re.compile(r"([0-9]{1,19})-([0-9]{1,19})-[0-9a-f]{16}\.gz")

log = logging.getLogger("anlu.cold")


class Cold:
    """Reads the files of these folders; of one that is damaged or gone nothing. New files are seen at once."""

    def __init__(self, *folders: Path) -> None:
        self._folders = folders
        self._listed: dict[Path, tuple[int, list[tuple[int, int, Path]]]] = {}
        self._open: OrderedDict[Path, dict[int, bytes]] = OrderedDict()

    def bytes_of(self, row: Any) -> bytes | None:
        """An op's bytes, whether its row (of `seq` and `bytes` at least) still has them or a file does."""
        data: bytes | None = row["bytes"]
        return data if data is not None else self.get(row["seq"])

    def get(self, seq: int) -> bytes | None:
        """The bytes of the op that arrived with this entry."""
        for folder in self._folders:
            for first, last, path in self._files(folder):
                if first <= seq <= last:
                    found = self._read(path).get(seq)
                    if found is not None:
                        return found
        return None

    def _files(self, folder: Path) -> list[tuple[int, int, Path]]:
        try:
            changed = folder.stat().st_mtime_ns
        except FileNotFoundError:
            return []
        held = self._listed.get(folder)
        if held is None or held[0] != changed:
            found = [(int(name[1]), int(name[2]), path) for path in folder.iterdir() if (name := _NAME.fullmatch(path.name))]
            held = self._listed[folder] = changed, sorted(found)
        return held[1]

    def _read(self, path: Path) -> dict[int, bytes]:
        if path not in self._open:
            try:
                self._open[path] = _decode(path.read_bytes())
            except (OSError, EOFError, zlib.error, ValueError):
                log.exception("a file of old ops cannot be read", extra={"file": path.name})
                self._open[path] = {}
            while len(self._open) > FILES_OPEN_MAX:
                self._open.popitem(last=False)
        self._open.move_to_end(path)
        return self._open[path]


def write(folder: Path, ops: Sequence[tuple[int, bytes]]) -> Path:
    """Write these ops, by seq, durably and whole or not at all, and read them back. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = gzip.compress(msgspec.msgpack.encode(ops), mtime=0)
    path = folder / f"{ops[0][0]}-{ops[-1][0]}-{hashlib.sha256(content).hexdigest()[:16]}{SUFFIX}"
    beside = path.with_suffix(".new")
    with beside.open("wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if _decode(beside.read_bytes()) != dict(ops):
        raise OSError(f"{beside} does not hold what was written")
    beside.replace(path)
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return path


def files(folder: Path) -> list[Path]:
    """Every file of old ops in a folder."""
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name)) if folder.is_dir() else []


def _decode(content: bytes) -> dict[int, bytes]:
    return dict(msgspec.msgpack.decode(gzip.decompress(content), type=list[tuple[int, bytes]]))
