"""When the last whole backup was made: noted in the data folder, for `anlu doctor` and the metrics."""

from pathlib import Path

import msgspec

from backend.operate.snapshot import write

NAME = "last-backup.json"


class Noted(msgspec.Struct, frozen=True):
    """The last whole backup: Unix ms, and where it lies."""

    made_at: int
    folder: str


def note(data: Path, noted: Noted) -> None:
    """Write it down."""
    write(data / NAME, msgspec.json.encode(noted))


def read(data: Path) -> Noted | None:
    """What was noted; None where there was no backup."""
    try:
        return msgspec.json.decode((data / NAME).read_bytes(), type=Noted)
    except (OSError, msgspec.DecodeError, msgspec.ValidationError):
        return None
