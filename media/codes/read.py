"""Reads QR codes in a photo: zxing-cpp first, then pyzbar as the second opinion where the machine has libzbar. Child processes only; see
`media.child`.

Phones read tags themselves; what comes here is what they could not read, so it is looked at in several sizes and with the light evened
out.
"""

from pathlib import Path
from typing import Any

import zxingcpp
from PIL import Image, ImageOps

from media.derive import decoded

try:
    from pyzbar import pyzbar
except (ImportError, OSError):
    # No libzbar on this machine: one opinion then.
    pyzbar = None

PIXELS_MAX = 24_000_000
SIDES = (1_600, 800, 3_200)
"""Longer side in pixels, in the order tried: a tag that fills the photo reads best small, one across the bay needs every pixel."""
FORMATS = zxingcpp.BarcodeFormats([zxingcpp.BarcodeFormat.QRCode])
TEXTS_MAX = 8
TEXT_CHARS_MAX = 2_048


def read(source: Path) -> list[str]:
    """The texts of the QR codes found, those that the first successful look found. Raises `Unfit`; MemoryError where it takes too much."""
    whole = decoded(source, PIXELS_MAX).image.convert("L")
    sizes = [_within(whole, side) for side in SIDES if side == SIDES[0] or max(whole.size) > side // 2]
    del whole
    for image in [*sizes, *(ImageOps.autocontrast(image, cutoff=2) for image in sizes[:2])]:
        found = zxingcpp.read_barcodes(image, formats=FORMATS, text_mode=zxingcpp.TextMode.Plain)
        if texts := _kept(barcode.text for barcode in found):
            return texts
    if pyzbar is not None:
        for image in (*sizes[:2], ImageOps.autocontrast(sizes[0], cutoff=2)):
            found = pyzbar.decode(image, symbols=[pyzbar.ZBarSymbol.QRCODE])
            if texts := _kept(symbol.data.decode("utf-8", "replace") for symbol in found):
                return texts
    return []


def _within(image: Image.Image, side: int) -> Image.Image:
    share = side / max(image.size)
    if share >= 1:
        return image
    return image.resize((max(1, round(image.width * share)), max(1, round(image.height * share))), Image.Resampling.BOX)


def _kept(texts: Any) -> list[str]:
    return [text for text in dict.fromkeys(texts) if 0 < len(text) <= TEXT_CHARS_MAX][:TEXTS_MAX]
