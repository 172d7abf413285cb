"""Who and what was revoked, kept twice: in the database, and in a file beside the keys that a restored database cannot undo.

The file is lines of JSON, only ever appended, each on disk before the revocation is answered for. The last line on a person or device
counts.
"""

import os
from pathlib import Path
from typing import Literal

import msgspec


class Line(msgspec.Struct, frozen=True):
    """A person or device was revoked, or a person let in again. `at` in Unix ms; `by` a person id."""

    what: Literal["person", "device"]
    id: str
    revoked: bool
    at: int
    by: str


class Revocations:
    """Answers from memory; writes to the file first."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._last: dict[tuple[str, str], Line] = {}
        if file.exists():
            for text in file.read_bytes().splitlines():
                # A line cut short by a crash was never answered for.
                try:
                    line = msgspec.json.decode(text, type=Line)
                except (msgspec.DecodeError, msgspec.ValidationError):
                    continue
                self._last[(line.what, line.id)] = line

    def person(self, person: str) -> bool:
        """Whether this person is revoked."""
        return self._is("person", person)

    def device(self, number: int) -> bool:
        """Whether this device is retired."""
        return self._is("device", str(number))

    def note(self, line: Line) -> None:
        """Write it down, on disk, and answer by it from now on."""
        handle = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(handle).st_size
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            os.write(handle, (b"\n" if torn else b"") + msgspec.json.encode(line) + b"\n")
            os.fsync(handle)
        finally:
            os.close(handle)
        self._last[(line.what, line.id)] = line

    def every(self) -> list[Line]:
        """The line that counts for each person and device, oldest first."""
        return sorted(self._last.values(), key=lambda line: line.at)

    def _is(self, what: str, name: str) -> bool:
        line = self._last.get((what, name))
        return line is not None and line.revoked
