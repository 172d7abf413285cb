"""What is served of a photo: upright, small enough, and nothing of where or with what it was taken."""

import hashlib
import io

import pytest
from PIL import Image, ImageCms

from tests.media.conftest import Phone, Server, name, photo

MAKER = "SECRETPHONE 9000"


def with_exif(orientation: int = 1, width: int = 3000, height: int = 2000) -> bytes:
    """A photo with GPS, maker and a thumbnail of its own; red at the top left of the sensor, blue at the bottom right."""
    image = Image.new("RGB", (width, height), "white")
    image.paste("red", (0, 0, width // 4, height // 4))
    image.paste("blue", (width - width // 4, height - height // 4, width, height))
    exif = Image.Exif()
    exif[0x010F] = MAKER
    exif[0x0112] = orientation
    exif[0x9286] = "taken at home"
    gps = exif.get_ifd(0x8825)
    gps.update({1: "N", 2: (31.0, 14.0, 3.5), 3: "E", 4: (121.0, 28.0, 7.2)})
    out = io.BytesIO()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(out, "JPEG", quality=90, exif=exif, comment=b"SECRETCOMMENT", icc_profile=profile)
    return out.getvalue()


def served(server: Server, phone: Phone, content: bytes) -> dict[str, bytes]:
    assert phone.upload(content).status_code == 204
    name(server.folder, content)
    return {variant: phone.get(content, variant).content for variant in ("original", "screen", "thumb")}


def test_nothing_of_exif_gps_comment_or_profile_is_served_while_the_evidence_keeps_every_byte(server: Server, phone: Phone) -> None:
    content = with_exif()
    assert MAKER.encode() in content
    for variant, got in served(server, phone, content).items():
        for trace in (MAKER.encode(), b"Exif", b"EXIF", b"SECRETCOMMENT", b"taken at home", b"ICC_PROFILE", b"ICCP", b"sRGB", b"XMP "):
            assert trace not in got, f"{trace!r} is in {variant}"
        opened = Image.open(io.BytesIO(got))
        assert dict(opened.getexif()) == {}
        assert "icc_profile" not in opened.info
    sha256 = hashlib.sha256(content).hexdigest()
    assert (server.folder / "media" / sha256[:2] / sha256[2:4] / f"{sha256}.evidence").read_bytes() == content


def test_variants_have_their_sizes_and_small_photos_are_not_blown_up(server: Server, phone: Phone) -> None:
    sizes = {variant: Image.open(io.BytesIO(got)).size for variant, got in served(server, phone, with_exif()).items()}
    assert sizes == {"original": (3000, 2000), "screen": (1600, 1067), "thumb": (320, 213)}
    small = {variant: Image.open(io.BytesIO(got)).size for variant, got in served(server, phone, photo(200, 100)).items()}
    assert small == {"original": (200, 100), "screen": (200, 100), "thumb": (200, 100)}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_taken_with_the_phone_turned_is_served_upright(server: Server, phone: Phone, orientation: int) -> None:
    content = with_exif(orientation, 400, 300)
    # Where the sensor's top left corner has to stand, by EXIF 2.32 §4.6.4: rows first, then columns.
    top, left = {1: (1, 1), 2: (1, 0), 3: (0, 0), 4: (0, 1), 5: (1, 1), 6: (1, 0), 7: (0, 0), 8: (0, 1)}[orientation]
    for variant, got in served(server, phone, content).items():
        image = Image.open(io.BytesIO(got)).convert("RGB")
        assert (image.width > image.height) == (orientation < 5)
        near_x, near_y = (5 if left else image.width - 6), (5 if top else image.height - 6)
        red, _, blue = image.getpixel((near_x, near_y))
        assert red > 200 > 60 > blue, f"{variant} is not upright"
        red, _, blue = image.getpixel((image.width - 1 - near_x, image.height - 1 - near_y))
        assert blue > 200 > 60 > red, f"{variant} is not upright"


def test_transparency_becomes_white_and_sixteen_bits_keep_their_light(server: Server, phone: Phone) -> None:
    clear = Image.new("RGBA", (50, 50), (255, 0, 0, 0))
    out = io.BytesIO()
    clear.save(out, "PNG")
    got = Image.open(io.BytesIO(served(server, phone, out.getvalue())["thumb"])).convert("RGB")
    assert min(got.getpixel((25, 25))) > 250
    deep = Image.new("I;16", (50, 50), 32_768)
    out = io.BytesIO()
    deep.save(out, "PNG")
    got = Image.open(io.BytesIO(served(server, phone, out.getvalue())["thumb"])).convert("L")
    assert 120 < got.getpixel((25, 25)) < 136


def test_a_photo_of_fifty_megapixels_is_taken_and_served_at_twenty_four_at_most(server: Server, phone: Phone) -> None:
    got = served(server, phone, photo(8600, 5800, quality=60))
    width, height = Image.open(io.BytesIO(got["original"])).size
    assert 8_000_000 < width * height <= 24_000_000
    assert Image.open(io.BytesIO(got["screen"])).width == 1600
