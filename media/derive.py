"""What is served of a photo: `original` (JPEG, full size up to 24 megapixels), `screen` (WebP, 1600 px) and `thumb` (WebP, 320 px on the
longer side).

All three are encoded anew from decoded pixels, turned upright and in sRGB, so neither EXIF, GPS, thumbnails inside, comments nor bytes
behind the picture's end get through. The bytes as they were uploaded are kept beside them under their SHA-256 and never served: they are
the evidence that an op named (see `media`).

Runs in a child process only; see `media.child`.
"""

import io
import os
from pathlib import Path

import msgspec
from PIL import Image, ImageCms, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin

from media.check import Unfit, open_image

ORIGINAL_PIXELS_MAX = 24_000_000
"""Above it the served original is scaled down: decoded, turned and encoded it still fits the child's memory, and no screen shows more."""
SCREEN_PIXELS = 1600
THUMB_PIXELS = 320
ICC_BYTES_MAX = 1_000_000

DECODERS = (JpegImagePlugin, MpoImagePlugin, PngImagePlugin, WebPImagePlugin)
"""Loaded before the first fork; Pillow knows no others. Phones write a JPEG with a depth map as MPO: its first picture is the photo."""

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Derived(msgspec.Struct, frozen=True):
    """What was found: the media type of the bytes, and the upright picture's size in pixels as served at full size."""

    type: str
    w: int
    h: int


def derive(source: Path, into: Path) -> Derived:
    """Decode `source` and write the three variants into the folder, each synced to disk. Raises `Unfit`; MemoryError where it takes too
    much."""
    found = decoded(source, ORIGINAL_PIXELS_MAX)
    upright, media_type, icc = found.image, found.type, found.icc
    if found.turn in _UPRIGHT:
        upright = upright.transpose(_UPRIGHT[found.turn])
    # The picture as it lay would stay in memory beside the upright one.
    del found
    if isinstance(icc, bytes) and 0 < len(icc) <= ICC_BYTES_MAX:
        _to_srgb(upright, icc)
    _write(into / "original", _encoded(upright, "JPEG", quality=90, optimize=False))
    screen = _within(upright, SCREEN_PIXELS)
    _write(into / "screen", _encoded(screen, "WEBP", quality=80, method=3))
    _write(into / "thumb", _encoded(_within(screen, THUMB_PIXELS), "WEBP", quality=75, method=4))
    return Derived(type=media_type, w=upright.width, h=upright.height)


class Decoded(msgspec.Struct, frozen=True):
    """Pixels in RGB as they lie in the file, its media type, EXIF's orientation (1 to 8) and its colour profile."""

    image: Image.Image
    type: str
    turn: int
    icc: object


def decoded(source: Path, pixels_max: int) -> Decoded:
    """Every pixel of a photo, scaled down where there are more than `pixels_max`. Raises `Unfit`; MemoryError where it takes too much."""
    image, media_type = open_image(source)
    turn = _orientation(image)
    icc = image.info.get("icc_profile")
    if image.format in ("JPEG", "MPO") and image.width * image.height > pixels_max:
        image.draft("RGB", (image.width // 2, image.height // 2))
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:
        # Decoders raise whatever they like at hostile bytes: OSError, SyntaxError, struct.error, zlib.error. All mean the same to us.
        raise Unfit("media.broken") from error
    return Decoded(_flat(_within_pixels(_in_colour(image), pixels_max)), media_type, turn, icc)


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8. Unreadable EXIF means upright: a photo is not lost for its EXIF."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except MemoryError:
        raise
    except Exception:
        return 1
    return value if isinstance(value, int) else 1


def _in_colour(image: Image.Image) -> Image.Image:
    """RGB, or RGBA where something shows through."""
    if image.mode.startswith(("I", "F")):
        # 16 bits a pixel: keep the upper 8.
        wide = image if image.mode == "I" else image.convert("I")
        return wide.point(lambda v: v * (1 / 256)).convert("L").convert("RGB")
    if image.mode in ("LA", "PA", "La", "RGBa") or (image.mode not in ("RGBA",) and "transparency" in image.info):
        return image.convert("RGBA")
    return image if image.mode in ("RGB", "RGBA") else image.convert("RGB")


def _within_pixels(image: Image.Image, pixels_max: int) -> Image.Image:
    """The image with at most so many pixels."""
    share = (pixels_max / (image.width * image.height)) ** 0.5
    if share >= 1:
        return image
    return image.resize((max(1, int(image.width * share)), max(1, int(image.height * share))), Image.Resampling.BOX)


def _flat(image: Image.Image) -> Image.Image:
    """RGB: what shows through is white."""
    if image.mode == "RGB":
        return image
    ground = Image.new("RGB", image.size, "white")
    ground.paste(image, mask=image.getchannel("A"))
    return ground


def _to_srgb(image: Image.Image, icc: bytes) -> None:
    """Phones take photos in wider colours than we serve. An unusable profile is left aside: the colours are then a little dull."""
    try:
        ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB"), inPlace=True)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return


def _within(image: Image.Image, side: int) -> Image.Image:
    """The image with its longer side at most `side` pixels."""
    share = side / max(image.size)
    if share >= 1:
        return image
    size = (max(1, round(image.width * share)), max(1, round(image.height * share)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _encoded(image: Image.Image, form: str, **options: object) -> bytes:
    """Pixels and nothing else: without `info` no EXIF, comment or profile gets into the encoder."""
    image.info = {}
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def _write(path: Path, content: bytes) -> None:
    """Write a file and sync it: what the store then names is whole."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
