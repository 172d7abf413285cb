"""Labels, printed on paper by machine: every one is read back by a camera's decoder, and no name is cut."""

import random

import pypdfium2
import pytest
import zxingcpp
from PIL import Image, ImageEnhance, ImageFilter

from backend.domains.equipment import codes
from media.codes import qr
from media.codes.label import A4, LABELS_MAX, SHEETS, SIZES, Label, pdf

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


@pytest.mark.parametrize("size", sorted(SIZES))
def test_a_long_chinese_name_is_whole_on_every_size(size: str) -> None:
    document = pdf([label(zh=LONG_ZH, en="Ladle crane A of the molten steel receiving bay, east side", number="LG2-QZ-000117")], size)
    page = pypdfium2.PdfDocument(document)[0]
    text = page.get_textpage()
    assert LONG_ZH in "".join(text.get_text_range().split())
    width, height = page.get_size()
    for n in range(text.count_chars()):
        if text.get_text_range(n, 1).strip():
            left, bottom, right, top = text.get_charbox(n)
            assert 0 <= left < right <= width, text.get_text_range(n, 1)
            assert 0 <= bottom < top <= height, text.get_text_range(n, 1)
    first = text.get_text_range().index(LONG_ZH[0])
    _left, bottom, _right, top = text.get_charbox(first)
    assert (top - bottom) / 72 * 25.4 >= 1.2  # mm: small, and still print


@pytest.mark.parametrize("size", sorted(SHEETS))
def test_every_label_of_a_sheet_is_read_back_where_its_place_is(size: str) -> None:
    sheet = SHEETS[size]
    many = [label(code=codes.make(bytes([7, 0, 0, n // 256, n % 256])), zh=LONG_ZH) for n in range(sheet.count + 1)]
    document = pdf(many, size, skip=2)
    opened = pypdfium2.PdfDocument(document)
    assert len(opened) == 2
    assert [round(v / 72 * 25.4, 1) for v in opened[0].get_size()] == list(A4)
    scale = 203 / 25.4
    seen = {}
    for number, page in enumerate(opened):
        for found in zxingcpp.read_barcodes(page.render(scale=203 / 72).to_pil().convert("L")):
            x = (found.position.top_left.x + found.position.bottom_right.x) / 2 / scale
            y = (found.position.top_left.y + found.position.bottom_right.y) / 2 / scale
            column, row = int((x - sheet.left) // sheet.pitch_x), int((y - sheet.top) // sheet.pitch_y)
            seen[found.text] = number * sheet.count + row * sheet.columns + column
    assert seen == {one.url: n for n, one in enumerate(many, 2)}


def test_a_sheet_moves_by_its_offsets() -> None:
    def corner(dx: float, dy: float) -> tuple[float, float]:
        image = printed(pdf([label()], "a4-63.5x38.1", dx=dx, dy=dy), 203)
        (found,) = zxingcpp.read_barcodes(image)
        return found.position.top_left.x * 25.4 / 203, found.position.top_left.y * 25.4 / 203

    (x, y), (moved_x, moved_y) = corner(0, 0), corner(3, -2)
    assert abs(moved_x - x - 3) < 0.3
    assert abs(moved_y - y + 2) < 0.3


def test_the_places_of_a_sheet_lie_on_the_paper() -> None:
    for sheet in SHEETS.values():
        assert sheet.left + (sheet.columns - 1) * sheet.pitch_x + sheet.label.width <= A4[0] + 0.01
        assert sheet.top + (sheet.rows - 1) * sheet.pitch_y + sheet.label.height <= A4[1] + 0.01
        assert sheet.pitch_x >= sheet.label.width
        assert sheet.pitch_y >= sheet.label.height


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
    for wrong_place in ({"dx": 21}, {"dy": -21}, {"skip": 21}, {"skip": -1}):
        with pytest.raises(ValueError):
            pdf([label()], "a4-60x40", **wrong_place)


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
