"""What is asked of who draws the photos, and what comes back."""

from typing import Any

import msgspec


class Shot(msgspec.Struct, frozen=True):
    """A photo to be drawn: what it shows, whether with what is wrong, and what varies it."""

    scene: str
    wrong: bool
    seed: str


class Fact(msgspec.Struct, frozen=True):
    """A photo that has been drawn: its place among the shots, and what an op says of it."""

    n: int
    sha256: str
    size: int
    w: int
    h: int

    def value(self) -> dict[str, Any]:
        return {"sha256": self.sha256, "type": "image/jpeg", "size": self.size, "w": self.w, "h": self.h}
