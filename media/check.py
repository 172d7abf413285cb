"""Is this a photo we take? Magic bytes first, then the header's claims, then every pixel decoded: the last two run in a child process
(`media.child`).

Nothing here trusts a name, a declared type or a claim in a header for longer than it takes to check it.
"""

import struct
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

BYTES_MAX = 8 * 1024 * 1024
PIXELS_MAX = 50_000_000
HEAVY_PIXELS_MAX = 25_000_000
"""For WebP (libwebp keeps two canvases beside the picture), transparency and 16 bits a pixel: more of these does not fit the child's
memory. Cameras write none."""
_LIGHT_MODES = ("RGB", "L", "CMYK", "P", "1")
SIDE_PIXELS_MAX = 16_383
"""The longest side: what WebP can hold, and longer than any phone's panorama."""

TYPES = ("image/jpeg", "image/png", "image/webp")
HEAD_BYTES = 16

_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}


class Unfit(Exception):
    """The bytes are not a photo we take. `code` is one of the catalogue's `media.*`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def sniff(head: bytes) -> str | None:
    """The media type that the first 16 bytes say, or None. A server process may call this: it looks at nothing else."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n") and head[12:16] == b"IHDR":
        return "image/png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP" and head[12:16] in (b"VP8 ", b"VP8L", b"VP8X"):
        return "image/webp"
    return None


def open_image(path: Path) -> "tuple[Image.Image, str]":
    """The image, its header checked and no pixel decoded yet, and its type. Raises `Unfit`. For child processes only:
    this is where Pillow is loaded, which the server never does."""
    from PIL import Image, ImageFile

    Image.MAX_IMAGE_PIXELS = None  # ours is checked below, as a refusal and not as a warning
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    with path.open("rb") as file:
        media_type = sniff(file.read(HEAD_BYTES))
    if media_type is None:
        raise Unfit("media.not_an_image")
    try:
        image = Image.open(path, formats=(_FORMATS[media_type],))
    except (OSError, SyntaxError, ValueError, struct.error, KeyError, IndexError, TypeError, EOFError, OverflowError) as error:
        raise Unfit("media.broken") from error
    width, height = image.size
    if width < 1 or height < 1:
        raise Unfit("media.broken")
    light = media_type != "image/webp" and image.mode in _LIGHT_MODES and "transparency" not in image.info
    pixels_max = PIXELS_MAX if light else HEAVY_PIXELS_MAX
    if width * height > pixels_max or max(width, height) > SIDE_PIXELS_MAX:
        raise Unfit("media.too_many_pixels")
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise Unfit("media.animated")
    return image, media_type
