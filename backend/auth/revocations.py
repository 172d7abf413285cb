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
    """Answers from memory; writes to the file first. Several workers on one machine share the file: what another has written is read before
    the next answer."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._last: dict[tuple[str, str], Line] = {}
        self._read = 0
        self._catch_up()

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
        self._catch_up()

    def every(self) -> list[Line]:
        """The line that counts for each person and device, oldest first."""
        self._catch_up()
        return sorted(self._last.values(), key=lambda line: line.at)

    def _is(self, what: str, name: str) -> bool:
        self._catch_up()
        line = self._last.get((what, name))
        return line is not None and line.revoked

    def _catch_up(self) -> None:
        """Read what was appended since; from the beginning where the file is another one than it was."""
        try:
            size = self._file.stat().st_size
        except FileNotFoundError:
            return
        if size == self._read:
            return
        with self._file.open("rb") as file:
            file.seek(self._read if size > self._read else 0)
            added = file.read()
        # A line cut short by a crash was never answered for, and one that another worker is writing now is read when it is whole.
        whole = added[: added.rfind(b"\n") + 1]
        for text in whole.splitlines():
            try:
                line = msgspec.json.decode(text, type=Line)
            except (msgspec.DecodeError, msgspec.ValidationError):
                continue
            self._last[(line.what, line.id)] = line
        self._read = (self._read if size > self._read else 0) + len(whole)
