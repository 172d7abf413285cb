"""Labels as vector PDF: a QR with the tag's short address, the machine's number and names, and the code that is typed when the QR is too
dirty.

One page a label, cut to the label's size, so that a label printer takes the file as it is. Nothing is clipped: each text is set in the
largest size at which it fits its box in whole lines. The Chinese font travels with us (`fonts/`) and its used glyphs are embedded in the
PDF, so a label looks the same on every machine.
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
    """A label's format; lengths in mm. `qr` is the code's side with its quiet zone, which may reach into the margin."""

    width: float
    height: float
    margin: float
    qr: float
    number_pt: float
    name_pt: float
    other_pt: float
    typed_pt: float


SIZES = {"60x40": Size(width=60, height=40, margin=2, qr=32, number_pt=15, name_pt=11, other_pt=7, typed_pt=14)}


def pdf(labels: list[Label], size: str = "60x40") -> bytes:
    """A PDF with a page for each label. Raises ValueError for an unknown size, for none or for more than 500 labels."""
    if size not in SIZES or not 1 <= len(labels) <= LABELS_MAX:
        raise ValueError("labels: unknown size, none, or too many")
    _load_font()
    form = SIZES[size]
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(form.width * mm, form.height * mm), invariant=True, pageCompression=True)
    canvas.setTitle("Anlu 安炉")
    for label in labels:
        _page(canvas, form, label)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


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
    number_height = form.number_pt * LINE_EM
    _set(canvas, label.number, left, top - number_height, width, number_height, form.number_pt, lines_max=1)
    foot = 2 * form.other_pt * LINE_EM
    room = top - number_height - edge - foot
    kept_for_en = 0.38 * room if label.en else 0.0
    used = _set(canvas, label.zh, left, edge + foot + kept_for_en, width, room - kept_for_en, form.name_pt)
    _set(canvas, label.en, left, edge + foot, width, room - used, form.other_pt + 1)
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
