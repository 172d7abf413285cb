"""Labels as vector PDF: a QR with the tag's short address, the machine's number and names, and the code that is typed when the QR is too
dirty.

One page a label, cut to the label's size, so that a label printer takes the file as it is; or many on a sheet of A4, for office printers.
Nothing is clipped: each text is set in the largest size at which it fits its box in whole lines. The Chinese font travels with us
(`fonts/`) and its used glyphs are embedded in the PDF, so a label looks the same on every machine.
"""

import io
import lzma
import re
from functools import cache
from importlib.resources import files

import msgspec
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import FILL_EVEN_ODD, Canvas

from media.codes import qr

FONT = "AnluLabel"
NOT_IN_FONT = "〓"
"""The mark Chinese printers set for a character that is not in the case."""
LINE_EM = 1.22
LABELS_MAX = 500


class Label(msgspec.Struct, frozen=True):
    """What one label says. `typed` is the code as a hand types it, `XXXX-XXXX`; `url` is what the QR holds."""

    url: str
    typed: str
    number: str
    zh: str
    en: str


class Size(msgspec.Struct, frozen=True):
    """A label's format; lengths in mm. `qr` is the code's side with its quiet zone, which may reach into the margin. `foot`: the line that
    says what the label is for; the smallest has no room for it."""

    width: float
    height: float
    margin: float
    qr: float
    number_pt: float
    name_pt: float
    other_pt: float
    typed_pt: float
    foot: bool = True


def size_of(width: float, height: float) -> Size:
    """The format of a label of this size in mm, 17 to 60 high: the 60×40 one, scaled to its height."""
    k = height / 40
    small = height < 26
    return Size(
        width=width,
        height=height,
        margin=1.2 if small else 2 * k,
        qr=height * (0.86 if small else 0.8),
        number_pt=15 * k,
        name_pt=11 * k,
        other_pt=7 * k,
        typed_pt=14 * k,
        foot=not small,
    )


SIZES = {"60x40": size_of(60, 40), "45x30": size_of(45, 30), "30x20": size_of(30, 20)}


class Sheet(msgspec.Struct, frozen=True):
    """Labels on a page of A4; lengths in mm, `left` and `top` to the first label's corner, the pitches from label to label. `cut`: the
    paper is whole and shows where to cut; else it is die-cut."""

    label: Size
    columns: int
    rows: int
    left: float
    top: float
    pitch_x: float
    pitch_y: float
    cut: bool = False

    @property
    def count(self) -> int:
        return self.columns * self.rows


def _whole(size: Size, columns: int, rows: int) -> Sheet:
    left, top = (A4[0] - columns * size.width) / 2, (A4[1] - rows * size.height) / 2
    return Sheet(size, columns, rows, left, top, size.width, size.height, cut=True)


A4 = (210.0, 297.0)
SHEETS = {
    "a4-60x40": _whole(SIZES["60x40"], 3, 7),
    "a4-45x30": _whole(SIZES["45x30"], 4, 9),
    "a4-30x20": _whole(SIZES["30x20"], 6, 14),
    "a4-70x37": Sheet(size_of(70, 37), 3, 8, 0, 0.5, 70, 37),
    "a4-63.5x38.1": Sheet(size_of(63.5, 38.1), 3, 7, 7.25, 15.15, 66.04, 38.1),
    "a4-45.7x25.4": Sheet(size_of(45.7, 25.4), 4, 10, 9.75, 21.5, 48.3, 25.4),
    "a4-38.1x21.2": Sheet(size_of(38.1, 21.2), 5, 13, 4.67, 10.7, 40.64, 21.2),
}
"""Sheets that shops sell (the last four, by their label's size), and whole adhesive paper to be cut."""
OFFSET_MM_MAX = 20.0


def pdf(labels: list[Label], size: str = "60x40", *, dx: float = 0, dy: float = 0, skip: int = 0) -> bytes:
    """A PDF with a page for each label, or with sheets of them.

    `size`: of SIZES or SHEETS. On sheets `dx` and `dy` move everything right and down by so many mm, for printers that are off, and `skip`
    leaves the first places of the first sheet empty: they are used up. Raises ValueError for an unknown size, for none or for more than 500
    labels, for an offset over 20 mm, for a `skip` of a whole sheet.
    """
    if size not in SIZES.keys() | SHEETS.keys() or not 1 <= len(labels) <= LABELS_MAX:
        raise ValueError("labels: unknown size, none, or too many")
    sheet = SHEETS.get(size)
    if max(abs(dx), abs(dy)) > OFFSET_MM_MAX or not 0 <= skip < (sheet.count if sheet else 1):
        raise ValueError("labels: offset or skip")
    _load_font()
    out = io.BytesIO()
    form = SIZES.get(size)
    paper = (form.width, form.height) if form else A4
    canvas = Canvas(out, pagesize=(paper[0] * mm, paper[1] * mm), invariant=True, pageCompression=True)
    canvas.setTitle("Anlu 安炉")
    if sheet is not None:
        _sheets(canvas, sheet, labels, dx, dy, skip)
    elif form is not None:
        for label in labels:
            _page(canvas, form, label)
            canvas.showPage()
    canvas.save()
    return out.getvalue()


def _sheets(canvas: Canvas, sheet: Sheet, labels: list[Label], dx: float, dy: float, skip: int) -> None:
    for n, label in enumerate(labels, skip):
        place = n % sheet.count
        if place == 0 and n > skip:
            canvas.showPage()
        row, column = divmod(place, sheet.columns)
        x = sheet.left + dx + column * sheet.pitch_x
        y = A4[1] - sheet.top - dy - row * sheet.pitch_y - sheet.label.height
        canvas.saveState()
        canvas.translate(x * mm, y * mm)
        if sheet.cut:
            canvas.setLineWidth(0.25)
            canvas.setStrokeGray(0.6)
            canvas.rect(0, 0, sheet.label.width * mm, sheet.label.height * mm)
        _page(canvas, sheet.label, label)
        canvas.restoreState()
    canvas.showPage()


def _page(canvas: Canvas, form: Size, label: Label) -> None:
    """QR at the left with the typed code under it; number and names at the right, the other line at the foot."""
    side, edge = form.qr * mm, form.margin * mm
    top = form.height * mm - edge
    # The quiet zone is white paper: the code's dark part is aligned with the margins, not the zone.
    _code(canvas, label.url, 0, form.height * mm - side, side)
    below = form.height * mm - side - edge / 2
    _set(canvas, label.typed, edge, edge / 2, side - 2 * edge, below, form.typed_pt, lines_max=1, middle=True)
    left = side
    width = form.width * mm - edge - left
    number_height = form.number_pt * LINE_EM if label.number else 0.0
    _set(canvas, label.number, left, top - number_height, width, number_height, form.number_pt, lines_max=1)
    foot = 2 * form.other_pt * LINE_EM if form.foot else 0.0
    room = top - number_height - edge - foot
    kept_for_en = 0.38 * room if label.en else 0.0
    used = _set(canvas, label.zh, left, edge + foot + kept_for_en, width, room - kept_for_en, form.name_pt)
    _set(canvas, label.en, left, edge + foot, width, room - used, form.other_pt + 1)
    if form.foot:
        _set(canvas, "安炉 扫码检查\nAnlu: scan to check", left, edge - 1, width, foot, form.other_pt, lines_max=2, bottom=True)


def _code(canvas: Canvas, text: str, x: float, y: float, side: float) -> None:
    """Draw a QR with its quiet zone into the square whose lower left corner is (x, y)."""
    dark = qr.modules(text)
    unit = side / (len(dark) + 2 * qr.QUIET_MODULES)
    path = canvas.beginPath()
    for loop in qr.outlines(dark):
        corners = [(x + (cx + qr.QUIET_MODULES) * unit, y + side - (cy + qr.QUIET_MODULES) * unit) for cx, cy in loop]
        path.moveTo(*corners[0])
        for corner in corners[1:]:
            path.lineTo(*corner)
        path.close()
    canvas.drawPath(path, stroke=0, fill=1, fillMode=FILL_EVEN_ODD)


def _set(
    canvas: Canvas,
    text: str,
    x: float,
    y: float,
    width: float,
    height: float,
    points: float,
    *,
    lines_max: int | None = None,
    middle: bool = False,
    bottom: bool = False,
) -> float:
    """Set text into a box at the largest size up to `points` at which all of it fits. Returns the height it took, in points."""
    shown = _printable(text)
    if not shown or height <= 0:
        return 0.0
    size = points
    while True:
        lines = [line for part in shown.split("\n") for line in _wrap(part, size, width)]
        fits = len(lines) * size * LINE_EM <= height + 0.01 and (lines_max is None or len(lines) <= lines_max)
        if fits or size < 1:
            break
        size *= 0.96
    first = y + (len(lines) - 1) * size * LINE_EM if bottom else y + height - size * LINE_EM
    if middle:
        first = y + (height - size * LINE_EM) / 2
    canvas.setFont(FONT, size)
    for n, line in enumerate(lines):
        line_width = pdfmetrics.stringWidth(line, FONT, size)
        canvas.drawString(x + (width - line_width) / 2 if middle else x, first - n * size * LINE_EM + size * 0.28, line)
    return len(lines) * size * LINE_EM


def _wrap(text: str, size: float, width: float) -> list[str]:
    """Break between Chinese characters and between words; a word that alone is too wide is broken anywhere. Never loses a character but
    the space at a break."""
    pieces = re.findall(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]|[^\s\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]+|\s+", text)
    lines, line = [], ""
    for piece in pieces:
        if pdfmetrics.stringWidth((line + piece).rstrip(), FONT, size) <= width:
            line += piece
            continue
        if line.strip():
            lines.append(line.rstrip())
        line = "" if piece.isspace() else piece
        while len(line) > 1 and pdfmetrics.stringWidth(line, FONT, size) > width:
            keep = next(n for n in range(len(line) - 1, 0, -1) if n == 1 or pdfmetrics.stringWidth(line[:n], FONT, size) <= width)
            lines.append(line[:keep])
            line = line[keep:]
    return [*lines, line.rstrip()] if line.strip() else lines


def _printable(text: str) -> str:
    """The text with what the font has not got replaced by a mark that shows something is missing."""
    glyphs = pdfmetrics.getFont(FONT).face.charToGlyph
    return "".join(c if c == "\n" or ord(c) in glyphs else NOT_IN_FONT for c in text.replace("\t", " ")).strip()


@cache
def _load_font() -> None:
    """Unpack and register the label font: once, about 0.4 s."""
    packed = files("media.codes").joinpath("fonts", "NotoSansSC-SemiBold.ttf.xz").read_bytes()
    pdfmetrics.registerFont(TTFont(FONT, io.BytesIO(lzma.decompress(packed))))
