"""Files that want to hurt, made by code: each is a name, its bytes, and the codes it may end with (`ok`: taken, because what is served of
it is harmless)."""

import io
import random
import struct
import zlib
from collections.abc import Iterator

from PIL import Image, PngImagePlugin

from tests.media.conftest import photo

PAYLOAD = b"<script>alert(document.cookie)</script><?php system($_GET[0]); ?>"
"""What must never come out again."""

Hostile = tuple[str, bytes, set[str]]

NOT = {"media.not_an_image"}
BROKEN = {"media.broken"}
PIXELS = {"media.too_many_pixels"}
OK = {"ok"}


def all_of_them() -> list[Hostile]:
    """Every hostile file. The same at every call."""
    return [*disguised(), *truncated(), *bombs(), *polyglots(), *metadata(), *odd_but_true(), *swapped(), *animated(), *mutated()]


def disguised() -> Iterator[Hostile]:
    """Other kinds of files that call themselves a photo."""
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><image href="http://evil.example/x"/></svg>'
    for name, content in {
        "one byte": b"\xff",
        "two bytes of a JPEG": b"\xff\xd8",
        "SVG": svg,
        "SVG after an XML header": b'<?xml version="1.0"?>' + svg,
        "SVG with entities that multiply": b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><svg>&b;</svg>',
        "SVG behind a byte order mark": b"\xef\xbb\xbf" + svg,
        "HTML": b"<!doctype html>" + PAYLOAD,
        "JavaScript": b"alert(1)//",
        "PHP": b"<?php system('id');",
        "GIF": still("GIF"),
        "GIF that is JavaScript": b"GIF89a/*" + bytes(8) + b"*/=1;alert(1)",
        "BMP": still("BMP"),
        "BMP that claims 2 gigapixels": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 46340, 46340, 1, 24, 0, 0, 0, 0, 0, 0),
        "TIFF": still("TIFF"),
        "ICO": still("ICO"),
        "PPM": still("PPM"),
        "TGA": still("TGA"),
        "JPEG 2000": b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(100),
        "AVIF": b"\x00\x00\x00\x1cftypavif" + bytes(100),
        "HEIC": b"\x00\x00\x00\x18ftypheic" + bytes(100),
        "MP4": b"\x00\x00\x00\x18ftypmp42" + bytes(100),
        "PDF": b"%PDF-1.7\n1 0 obj<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj",
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\n(/etc/passwd)(r)file",
        "PSD": b"8BPS\x00\x01" + bytes(100),
        "ZIP": b"PK\x03\x04" + bytes(100),
        "gzip": zlib.compress(bytes(10000), wbits=31),
        "ELF": b"\x7fELF\x02\x01\x01" + bytes(100),
        "Windows program": b"MZ" + bytes(100),
        "shell script": b"#!/bin/sh\nrm -rf /\n",
        "Python pickle": b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94.",
        "only zeros": bytes(5000),
        "random bytes": random.Random(1).randbytes(5000),
        "RIFF that is a WAV": b"RIFF" + struct.pack("<I", 100) + b"WAVEfmt " + bytes(100),
        "RIFF WEBP with an unknown chunk": b"RIFF" + struct.pack("<I", 100) + b"WEBPEVIL" + bytes(100),
        "PNG signature without a header": b"\x89PNG\r\n\x1a\n" + b"\0\0\0\0EVIL" + bytes(100),
    }.items():
        yield name, content, NOT


def truncated() -> Iterator[Hostile]:
    """Photos whose end is missing."""
    for form in ("JPEG", "PNG", "WEBP"):
        whole = photo(form=form)
        for share in (0.01, 0.1, 0.5, 0.9, 0.999):
            yield f"{form} with {share:.1%} of its bytes", whole[: max(17, int(len(whole) * share))], BROKEN
    yield "progressive JPEG cut in half", photo(progressive=True)[:9000], BROKEN
    yield "JPEG of nothing but its start", b"\xff\xd8\xff\xe0" + bytes(20), BROKEN
    yield "PNG without picture data", png(10, 10, []), BROKEN


def bombs() -> Iterator[Hostile]:
    """Small files that want to be large."""
    for width, height in ((65_535, 65_535), (50_000, 50_000), (2**31 - 1, 1), (1, 2**31 - 1), (20_000, 2_600), (7_100, 7_100)):
        yield f"PNG that claims {width} x {height}", png(width, height, [zlib.compress(bytes(1000))]), PIXELS
    yield "PNG of no width", png(0, 10, [zlib.compress(b"")]), BROKEN
    yield "PNG of negative size", png(2**32 - 1, 2**32 - 1, [zlib.compress(b"")]), PIXELS | BROKEN
    yield "PNG of 49 million black pixels", black_png(7_000, 7_000), OK
    yield "PNG of 49 million black pixels that it has not got", png(7_000, 7_000, [zlib.compress(bytes(1000))], colour=0), BROKEN
    yield "PNG of 100 million black pixels", black_png(10_000, 10_000), PIXELS
    yield "PNG of 30 million pixels with transparency", png(6_000, 5_000, [zlib.compress(bytes(1000))], colour=6), PIXELS
    yield "PNG with picture data a thousand times too long", png(10, 10, [zlib.compress(bytes(100_000_000))]), OK | BROKEN
    for size in (65_535, 40_000):
        yield f"JPEG that claims {size} x {size}", resized_jpeg(size, size), PIXELS
    yield "JPEG that claims 7,000 x 7,000 and has less", resized_jpeg(7_000, 7_000), OK | BROKEN
    yield "JPEG of no height", resized_jpeg(640, 0), BROKEN
    yield "JPEG of 49 million pixels in 4,000 scans", many_scans(), {"media.too_heavy", "media.broken"}
    yield "WebP that claims 16 million x 16 million", webp_canvas(2**24, 2**24), PIXELS | BROKEN
    yield "WebP that claims 16,000 x 16,000", webp_canvas(16_000, 16_000), PIXELS | BROKEN
    yield "lossless WebP of 26 million pixels", still("WEBP", 6_500, 4_000, lossless=True), PIXELS
    yield "WebP of 24 million black pixels", still("WEBP", 6_000, 4_000, method=0), OK
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "A" * 60_000_000, zip=True)
    yield "PNG with 60 MB of compressed text", still("PNG", pnginfo=text), OK | BROKEN
    yield "PNG with a colour profile that unpacks to 100 MB", chunked("iCCP", b"x\0\0" + zlib.compress(bytes(100_000_000))), OK | BROKEN
    yield "PNG with 50,000 empty chunks", chunked("tEXt", b"a\0", 50_000), OK | BROKEN


def polyglots() -> Iterator[Hostile]:
    """True photos that are something else besides. They are taken; the something else must be gone from what is served."""
    for form in ("JPEG", "PNG", "WEBP"):
        whole = photo(form=form)
        yield f"{form} with HTML behind its end", whole + PAYLOAD, OK
        yield f"{form} with a ZIP behind its end", whole + b"PK\x03\x04" + PAYLOAD + bytes(1000), OK
        yield f"{form} with a megabyte of rubbish behind its end", whole + random.Random(2).randbytes(1_000_000), OK
    yield "JPEG with HTML in its comment", photo(comment=PAYLOAD), OK
    yield "JPEG with a program in an APP segment", with_segment(photo(), 0xEF, PAYLOAD * 100), OK
    yield "PNG with HTML in its text", chunked("tEXt", b"Comment\0" + PAYLOAD), OK
    yield "PNG with HTML in a private chunk", chunked("eVIl", PAYLOAD), OK
    yield "WebP with HTML in its XMP", photo(form="WEBP", xmp=PAYLOAD), OK
    yield "WebP with HTML in its EXIF", photo(form="WEBP", exif=b"Exif\0\0" + PAYLOAD), OK | BROKEN


def metadata() -> Iterator[Hostile]:
    """EXIF and profiles made to confuse."""
    endless = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 1) + struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<I", 8)
    huge = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 1) + struct.pack("<HHII", 0x0112, 3, 0xFFFFFFFF, 8)
    many = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 0xFFFF) + struct.pack("<HHII", 0x0112, 3, 1, 6) * 5000
    for name, exif in {
        "EXIF that points at itself": endless,
        "EXIF of four billion values": huge,
        "EXIF with 65,535 entries": many,
        "EXIF of nothing": b"Exif\0\0",
        "EXIF of rubbish": b"Exif\0\0" + random.Random(3).randbytes(3000),
        "EXIF with a thumbnail of 60 KB": b"Exif\0\0II*\0\x08\0\0\0\0\0" + bytes(60_000),
    }.items():
        yield name, with_segment(photo(), 0xE1, exif[:65_000]), OK
    for value in (0, 9, 99, 65_535):
        yield f"EXIF orientation {value}", photo(exif=orientation(value)), OK
    yield "8 MB of EXIF segments", with_segment(photo(), 0xE1, b"Exif\0\0" + bytes(65_000), 120), OK
    yield "60,000 empty segments", with_segment(photo(), 0xEC, b"", 60_000), OK | BROKEN
    yield "colour profile of rubbish", photo(icc_profile=random.Random(4).randbytes(4000)), OK
    yield "colour profile that says it is 4 GB", photo(icc_profile=struct.pack(">I", 2**32 - 1) + bytes(3000)), OK
    yield "PNG with EXIF that points at itself", photo(form="PNG", exif=endless[6:]), OK | BROKEN


def odd_but_true() -> Iterator[Hostile]:
    """Rare kinds of true photos: taken, in full."""
    base = Image.open(io.BytesIO(photo(64, 48, form="PNG")))
    for mode in ("1", "L", "LA", "P", "RGBA", "I;16"):
        yield f"PNG of mode {mode}", saved(base.convert("L").convert(mode) if mode == "I;16" else base.convert(mode), "PNG"), OK
    for mode in ("L", "CMYK", "YCbCr"):
        yield f"JPEG of mode {mode}", saved(base.convert(mode), "JPEG"), OK
    yield "PNG palette with a transparent colour", saved(base.convert("P"), "PNG", transparency=0), OK
    yield "JPEG of one pixel", photo(1, 1), OK
    yield "JPEG one pixel high", photo(16_000, 1), OK
    yield "WebP with transparency", saved(base.convert("RGBA"), "WEBP"), OK
    yield "progressive JPEG", photo(progressive=True), OK
    out = io.BytesIO()
    base.convert("RGB").save(out, "MPO", save_all=True, append_images=[base.convert("RGB")])
    yield "JPEG with a second picture inside, as phones write", out.getvalue(), OK


def swapped() -> Iterator[Hostile]:
    """The beginning of one kind and the body of another."""
    jpeg, png_, webp = photo(), photo(form="PNG"), photo(form="WEBP")
    yield "PNG under a JPEG's first bytes", b"\xff\xd8\xff" + png_[3:], BROKEN
    yield "JPEG under a PNG's first bytes", png_[:16] + jpeg[16:], BROKEN
    yield "JPEG under a WebP's first bytes", webp[:16] + jpeg[16:], BROKEN
    yield "WebP under a JPEG's first bytes", b"\xff\xd8\xff" + webp[3:], BROKEN
    yield "GIF under a JPEG's first bytes", b"\xff\xd8\xff" + still("GIF")[3:], BROKEN
    yield "PNG whose checksums are wrong", png_[:29] + b"\0\0\0\0" + png_[33:], BROKEN
    yield "WebP that says it is longer than it is", webp[:4] + struct.pack("<I", 2**31) + webp[8:], BROKEN
    yield "PNG with its chunks in the wrong order", png_[:8] + png_[-12:] + png_[8:-12], NOT


def animated() -> Iterator[Hostile]:
    """Moving pictures in the formats of photos."""
    frames = [Image.new("RGB", (40, 30), colour) for colour in ("red", "green", "blue")]
    for form in ("PNG", "WEBP"):
        out = io.BytesIO()
        frames[0].save(out, form, save_all=True, append_images=frames[1:], duration=100)
        yield f"animated {form}", out.getvalue(), {"media.animated"}
    claims = chunked("acTL", struct.pack(">II", 2**31 - 1, 0))
    yield "PNG that claims two billion frames", claims, {"media.animated", "media.broken", "ok"}


def mutated() -> Iterator[Hostile]:
    """True photos with some bytes changed: whatever comes of it, it is an answer."""
    any_end = OK | BROKEN | NOT | PIXELS | {"media.animated", "media.too_heavy"}
    for form in ("JPEG", "PNG", "WEBP"):
        whole = photo(200, 150, form=form)
        for seed in range(20):
            dice = random.Random(f"{form}{seed}")
            changed = bytearray(whole)
            for _ in range(dice.choice((1, 3, 20, 200))):
                changed[dice.randrange(len(changed) if seed % 2 else min(400, len(changed)))] = dice.randrange(256)
            yield f"{form} with changed bytes, seed {seed}", bytes(changed), any_end


def still(form: str, width: int = 20, height: int = 20, **options: object) -> bytes:
    return saved(Image.new("RGB", (width, height)), form, **options)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def chunk(kind: str, content: bytes) -> bytes:
    body = kind.encode() + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))


def png(width: int, height: int, data: list[bytes], colour: int = 2) -> bytes:
    header = chunk("IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk("IDAT", part) for part in data) + chunk("IEND", b"")


def black_png(width: int, height: int) -> bytes:
    packer = zlib.compressobj(9)
    rows = bytes((width + 1) * 100)
    parts = [packer.compress(rows) for _ in range(height // 100)]
    return png(width, height, [b"".join(parts) + packer.flush()], colour=0)


def chunked(kind: str, content: bytes, times: int = 1) -> bytes:
    whole = photo(64, 48, form="PNG")
    return whole[:33] + chunk(kind, content) * times + whole[33:]


def with_segment(jpeg: bytes, marker: int, content: bytes, times: int = 1) -> bytes:
    segment = bytes((0xFF, marker)) + struct.pack(">H", len(content) + 2) + content
    return jpeg[:2] + segment * times + jpeg[2:]


def resized_jpeg(width: int, height: int) -> bytes:
    jpeg = photo()
    at = jpeg.index(b"\xff\xc0")
    return jpeg[: at + 5] + struct.pack(">HH", height, width) + jpeg[at + 9 :]


def many_scans() -> bytes:
    """A progressive JPEG of one colour whose last scan is repeated: a few hundred kilobytes that cost minutes."""
    jpeg = still("JPEG", 7_000, 7_000, progressive=True)
    at = jpeg.rindex(b"\xff\xda")
    last = jpeg[at:-2]
    return jpeg[:-2] + last * min(4_000, (8_000_000 - len(jpeg)) // len(last)) + b"\xff\xd9"


def webp_canvas(width: int, height: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + size + photo(64, 48, form="WEBP")[12:]
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def orientation(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()
