"""Labels, printed on paper by machine: every one is read back by a camera's decoder, and no name is cut."""

import random

import pypdfium2
import pytest
import zxingcpp
from PIL import Image, ImageEnhance, ImageFilter

from backend.domains.equipment import codes
from media.codes import qr
from media.codes.label import LABELS_MAX, SIZES, Label, pdf

LONG_ZH = "二号炼钢车间钢水接受跨东侧铸造起重机甲乙"
ORIGINS = ("http://10.0.0.5:8000", "https://anlu.example-steel.cn", "https://safety.anlu.no-2-steelworks.example-group.com.cn:8443")
CODE = "K7Q29F3M"


def label(
    origin: str = ORIGINS[1], code: str = CODE, number: str = "QC-07", zh: str = "7号铸造起重机", en: str = "No. 7 casting crane"
) -> Label:
    return Label(codes.url(origin, code), codes.typed(code), number, zh, en)


def printed(document: bytes, dpi: int, page: int = 0) -> Image.Image:
    """The label as a printer of this resolution sets it: every dot black or white."""
    grey = pypdfium2.PdfDocument(document)[page].render(scale=dpi / 72).to_pil().convert("L")
    return grey.point(lambda v: 255 if v > 127 else 0)


def text_of(document: bytes, page: int = 0) -> str:
    return "".join(pypdfium2.PdfDocument(document)[page].get_textpage().get_text_range().split())


def camera(image: Image.Image, turned: float, light: float, blur: float) -> Image.Image:
    """The label as a phone sees it: on a grey machine, turned, dimmed, not quite sharp, with noise."""
    wall = Image.new("L", (900, 900), 90)
    big = image.resize((image.width * 600 // image.width, image.height * 600 // image.width), Image.Resampling.LANCZOS)
    wall.paste(big, ((900 - big.width) // 2, (900 - big.height) // 2))
    seen = wall.rotate(turned, Image.Resampling.BICUBIC, fillcolor=90).filter(ImageFilter.GaussianBlur(blur))
    dim = ImageEnhance.Brightness(seen).enhance(light)
    noise = Image.frombytes("L", dim.size, random.Random(int(turned)).randbytes(dim.width * dim.height))
    return Image.blend(dim, noise, 0.06)


@pytest.mark.parametrize("size", sorted(SIZES))
@pytest.mark.parametrize("dpi", [203, 300])
@pytest.mark.parametrize("origin", ORIGINS)
def test_a_label_printed_at_any_resolution_is_read_back(size: str, dpi: int, origin: str) -> None:
    (found,) = zxingcpp.read_barcodes(printed(pdf([label(origin, zh=LONG_ZH)], size), dpi))
    assert found.text == codes.url(origin, CODE)
    assert codes.parse(found.text) == CODE


@pytest.mark.parametrize("dpi", [203, 300])
@pytest.mark.parametrize("light", [1.0, 0.35, 0.15])
@pytest.mark.parametrize("turned", [0, 17, 45, 90, 133, 180, 271])
def test_a_label_is_read_turned_and_dimmed(dpi: int, light: float, turned: float) -> None:
    seen = camera(printed(pdf([label()]), dpi), turned, light, 1.0)
    assert [found.text for found in zxingcpp.read_barcodes(seen)] == [codes.url(ORIGINS[1], CODE)]


@pytest.mark.parametrize("dirt", [0, 128, 255])
def test_a_label_is_read_with_a_tenth_of_its_code_under_dirt(dirt: int) -> None:
    image = printed(pdf([label()]), 300)
    image.paste(dirt, (150, 130, 250, 230))
    assert [found.text for found in zxingcpp.read_barcodes(image)] == [codes.url(ORIGINS[1], CODE)]


@pytest.mark.parametrize(
    ("zh", "en", "number"),
    [
        (LONG_ZH, "Ladle crane A of the molten steel receiving bay, east side, steel plant 2", "LG2-QZ-000117"),
        ("龘" * 20, "W" * 60, "W" * 30),
        ("㐀𠀀🏗起重机", "No. 7 “crane” – 50 t", "№7"),
        ("A", "", "1"),
    ],
)
def test_names_are_whole_on_the_label_and_inside_its_edges(zh: str, en: str, number: str) -> None:
    assert len(LONG_ZH) == 20
    document = pdf([label(zh=zh, en=en, number=number)])
    shown = text_of(document)
    for text in (zh, en, number):
        known = "".join(c for c in text.replace(" ", "") if c not in "㐀𠀀🏗")
        assert known in shown.replace("〓", "")
    assert "K7Q2-9F3M" in shown
    image = printed(document, 300)
    edge = 300 / 25.4 * 1  # 1 mm
    width, height = image.size
    for side in ((0, 0, width, edge), (0, height - edge, width, height), (width - edge, 0, width, height), (0, 0, edge, height)):
        assert image.crop(tuple(int(v) for v in side)).getextrema() == (255, 255)


def test_chinese_is_set_large_enough_to_be_read_at_arm_s_length() -> None:
    document = pdf([label(zh=LONG_ZH, en="Ladle crane of the molten steel receiving bay, east side")])
    page = pypdfium2.PdfDocument(document)[0].get_textpage()
    at = page.get_text_range().index(LONG_ZH[0])
    _left, bottom, _right, top = page.get_charbox(at)
    assert (top - bottom) / 72 * 25.4 >= 2.5  # mm


def test_the_font_travels_inside_the_file() -> None:
    document = pdf([label()])
    assert b"/FontFile2" in document
    assert b"STSong" not in document


def test_a_label_is_vector_and_has_the_size_of_its_paper() -> None:
    document = pdf([label(), label(code="00000000")])
    assert b"/Subtype /Image" not in document
    opened = pypdfium2.PdfDocument(document)
    assert len(opened) == 2
    assert [round(v / 72 * 25.4, 2) for v in opened[0].get_size()] == [60, 40]


def test_the_same_labels_are_the_same_file() -> None:
    assert pdf([label()]) == pdf([label()])


def test_none_too_many_or_an_unknown_size_are_refused() -> None:
    for wrong in ([], [label()] * (LABELS_MAX + 1)):
        with pytest.raises(ValueError):
            pdf(wrong)
    with pytest.raises(ValueError):
        pdf([label()], "1x1")


def test_the_outline_of_a_code_is_the_code() -> None:
    for text in ("A", "https://anlu.example/t/K7Q29F3M", "安炉" * 20):
        dark = qr.modules(text)
        path, side = qr.svg_path(text)
        assert side == len(dark) + 8
        assert path.startswith("M")
        loops = qr.outlines(dark)
        for y in range(len(dark)):
            for x in range(len(dark)):
                assert inside(loops, x + 0.5, y + 0.5) == dark[y][x]


def inside(loops: list[list[tuple[int, int]]], x: float, y: float) -> bool:
    """Even-odd: how many vertical edges lie to the right of the point."""
    crossings = 0
    for loop in loops:
        for (x1, y1), (x2, y2) in zip(loop, loop[1:] + loop[:1], strict=True):
            if x1 == x2 and x1 > x and min(y1, y2) < y < max(y1, y2):
                crossings += 1
    return crossings % 2 == 1
