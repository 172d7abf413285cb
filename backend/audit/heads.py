"""The ledger's signed heads: after every commit its last seq and hash go into a file beside the keys, signed by the server.

The file is not the database's, so whoever cuts the ledger short, or writes its end anew with matching hashes, is found by it. It is
written after the commit, never before: it may be behind, not ahead. Lines are appended; past a size the file begins again with the last
one.
"""

import os
from pathlib import Path
from typing import Any, Protocol

import msgspec

FILE_BYTES_MAX = 1_000_000
NAME = "ledger.heads"
YEARS_100_SECONDS = 3_155_760_000


class Signer(Protocol):
    """The server's keys, as far as heads need them: a folder of their own, and statements that only we can sign."""

    folder: Path

    def issue(self, typ: str, claims: dict[str, Any], now: int, seconds: int) -> str: ...

    def verify(self, typ: str, text: str) -> dict[str, Any]:
        """The claims. Raises ValueError where the statement is not ours."""
        ...


class Head(msgspec.Struct, frozen=True):
    """The end of a ledger: its epoch, the last seq, and that entry's hash in hex."""

    epoch: str
    seq: int
    hash: str


def write(keys: Signer, head: Head, now: int) -> None:
    """Sign and append a head. `now` in Unix ms."""
    line = keys.issue("head", msgspec.structs.asdict(head), now, YEARS_100_SECONDS).encode() + b"\n"
    file = keys.folder / NAME
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        size = os.fstat(handle).st_size
        if size > FILE_BYTES_MAX:
            beside = file.with_suffix(".new")
            beside.write_bytes(line)
            beside.replace(file)
            return
        # A line that a crash cut short ends here, so that this one stands alone.
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        os.write(handle, b"\n" + line if torn else line)
    finally:
        os.close(handle)


def every(keys: Signer) -> list[Head]:
    """All heads in the file whose signature is ours, oldest first. Lines that are torn or not ours are left out."""
    file = keys.folder / NAME
    found = []
    for line in file.read_bytes().splitlines() if file.exists() else ():
        try:
            claims = keys.verify("head", line.decode("ascii"))
            found.append(Head(str(claims["epoch"]), int(claims["seq"]), str(claims["hash"])))
        except (KeyError, ValueError):
            continue
    return found


def last(keys: Signer) -> Head | None:
    """The newest head in the file."""
    file = keys.folder / NAME
    for line in reversed(file.read_bytes().splitlines() if file.exists() else []):
        try:
            claims = keys.verify("head", line.decode("ascii"))
            return Head(str(claims["epoch"]), int(claims["seq"]), str(claims["hash"]))
        except (KeyError, ValueError):
            continue
    return None
