"""Files that people bring: an Excel workbook (.xlsx) or a CSV, read into rows of plain values, whatever is in them.

A workbook is a zip of XML that anybody may have made: it is looked through before a parser sees it, and nothing in it is run. A formula is
the value that Excel last computed for it. What stands in a cell merged downwards stands in each of its rows. A CSV is UTF-8 or GB18030
(what Excel writes in China), with commas, semicolons or tabs.
"""

import csv
import io
import re
import warnings
import zipfile
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any

import msgspec
import openpyxl
from openpyxl.utils import range_boundaries

from backend.kernel.errors import Refusal

BYTES_MAX = 8_000_000
UNZIPPED_BYTES_MAX = 64_000_000
PARTS_MAX = 500
SHEETS_MAX = 10
ROWS_MAX = 10_000
"""Rows of one import, without the heading."""
ROW_NUMBER_MAX = 100_000
"""How far down a sheet is looked at: formats without content reach to its end."""
COLUMNS_MAX = 60
CELLS_MAX = 600_000
CELL_CHARS_MAX = 2_000
MERGES_MAX = 20_000
PIECE_BYTES = 1 << 20
TAG_BYTES_MAX = 200

Value = str | int | float | bool | date | time | None
"""What a cell holds. A `datetime` at midnight is a `date`."""


class Sheet(msgspec.Struct):
    """Rows of a sheet that hold anything, each with its number as Excel shows it."""

    name: str
    rows: list[tuple[int, list[Value]]]


class Book(msgspec.Struct):
    """What was read. `form`: `xlsx`, or the encoding of a CSV."""

    form: str
    sheets: list[Sheet]


def read(content: bytes) -> Book:
    """Read a file. Raises Refusal `import.…` where it cannot be read or is too large."""
    if not content:
        raise Refusal("import.empty")
    if len(content) > BYTES_MAX:
        raise Refusal("import.too_large", limit_mb=BYTES_MAX // 1_000_000)
    if content.startswith(b"\xd0\xcf\x11\xe0"):
        raise Refusal("import.old_format")
    if content.startswith(b"PK"):
        return Book("xlsx", _workbook(content))
    return _csv(content)


# Workbooks.


def _workbook(content: bytes) -> list[Sheet]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _look_through(archive)
            with warnings.catch_warnings():
                # What it warns of (styles, validations it does not know) is nothing that we read.
                warnings.simplefilter("ignore")
                book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
                try:
                    seen = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"][:SHEETS_MAX]
                    return [Sheet(sheet.title, _rows(sheet, _merged(archive, sheet._worksheet_path))) for sheet in seen]
                finally:
                    book.close()
    except Refusal:
        raise
    except Exception:
        # A parser fails on a broken file in as many ways as it has lines; to who brought it all of them say the same.
        raise Refusal("import.unreadable") from None


def _look_through(archive: zipfile.ZipFile) -> None:
    """Refuse what would take more memory or time than a table is worth, before it is parsed: sizes as the archive names them (reading stops
    there), XML that declares entities or another encoding, more cells than we take."""
    parts = archive.infolist()
    if len(parts) > PARTS_MAX or sum(part.file_size for part in parts) > UNZIPPED_BYTES_MAX:
        raise Refusal("import.too_large_inside", limit_mb=UNZIPPED_BYTES_MAX // 1_000_000)
    if any(part.flag_bits & 1 for part in parts):
        raise Refusal("import.old_format")
    for part in parts:
        if not part.filename.lower().endswith((".xml", ".rels")):
            continue
        cells = 0
        for first, piece in _pieces(archive, part.filename):
            declared = _ENCODING.search(piece[:TAG_BYTES_MAX]) if first else None
            if _DOCTYPE.search(piece) or b"\0" in piece or (declared and declared[1].lower() not in (b"utf-8", b"us-ascii")):
                raise Refusal("import.unreadable")
            cells += len(_CELL.findall(piece))
            if cells > CELLS_MAX:
                raise Refusal("import.too_many_cells", limit=CELLS_MAX)


def _pieces(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[bool, bytes]]:
    """A part in pieces, each cut where a tag begins."""
    rest, first = b"", True
    with archive.open(name) as file:
        while piece := file.read(PIECE_BYTES):
            piece = rest + piece
            cut = piece.rfind(b"<", max(1, len(piece) - TAG_BYTES_MAX))
            piece, rest = (piece[:cut], piece[cut:]) if cut > 0 else (piece, b"")
            yield first, piece
            first = False
    yield first, rest


def _merged(archive: zipfile.ZipFile, path: str) -> dict[tuple[int, int], int]:
    """Ranges merged downwards: (row, column) of the first cell → the last row."""
    found: dict[tuple[int, int], int] = {}
    for _, piece in _pieces(archive, path):
        for match in _MERGE.finditer(piece):
            left, top, _, bottom = range_boundaries(match[1].decode("ascii"))
            if bottom > top:
                found[top, left] = min(bottom, ROW_NUMBER_MAX)
            if len(found) > MERGES_MAX:
                raise Refusal("import.too_many_cells", limit=CELLS_MAX)
    return found


def _rows(sheet: Any, merged: dict[tuple[int, int], int]) -> list[tuple[int, list[Value]]]:
    # The size that a sheet says it has is often wrong, so it is not asked.
    sheet.reset_dimensions()
    found: list[tuple[int, list[Value]]] = []
    filling: dict[int, tuple[int, Value]] = {}
    for number, cells in enumerate(sheet.iter_rows(max_col=COLUMNS_MAX, values_only=True), 1):
        values = _trimmed([_value(cell) for cell in cells])
        empty = not values
        for column, (last, value) in list(filling.items()):
            if number > last:
                del filling[column]
            elif not empty:
                values += [None] * (column - len(values))
                values[column - 1] = value if values[column - 1] is None else values[column - 1]
        if merged:
            for column, value in enumerate(values, 1):
                if (number, column) in merged:
                    filling[column] = (merged[number, column], value)
        if not empty:
            found.append((number, values))
        if len(found) > ROWS_MAX + 1 or number > ROW_NUMBER_MAX:
            raise Refusal("import.too_many_rows", limit=ROWS_MAX)
    return found


def _trimmed(values: list[Value]) -> list[Value]:
    """Without the empty cells at the end."""
    while values and values[-1] is None:
        values.pop()
    return values


def _value(cell: Any) -> Value:
    match cell:
        case str():
            return _text(cell)
        case datetime():
            return cell.date() if cell.time() == time() else cell.replace(microsecond=0)
        case None | bool() | int() | float() | date() | time():
            return cell
    return _text(str(cell))


def _text(text: str) -> str | None:
    """A cell's text on one line, without what no screen shows."""
    plain = " ".join(_UNSEEN.sub("", text[: CELL_CHARS_MAX + 1]).split())
    return plain or None


# CSV.


def _csv(content: bytes) -> Book:
    form, text = _decoded(content)
    found: list[tuple[int, list[Value]]] = []
    try:
        # Numbered by row as Excel shows the file, not by line: a quoted text may have several.
        for number, cells in enumerate(csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text), strict=True), 1):
            values = _trimmed([_text(unguarded(cell)) for cell in cells[:COLUMNS_MAX]])
            if values:
                found.append((number, values))
            if len(found) > ROWS_MAX + 1:
                raise Refusal("import.too_many_rows", limit=ROWS_MAX)
    except csv.Error:
        raise Refusal("import.unreadable") from None
    return Book(form, [Sheet("", found)])


def _decoded(content: bytes) -> tuple[str, str]:
    for mark, form in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if content.startswith(mark):
            forms = [form]
            break
    else:
        # Chinese in GB18030 is hardly ever valid UTF-8, and not the other way round.
        forms = ["utf-8", "gb18030"]
    for form in forms:
        try:
            text = content.decode(form)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            raise Refusal("import.unreadable")
        return form.removesuffix("-sig"), text
    raise Refusal("import.encoding")


def _delimiter(text: str) -> str:
    first = next((line for line in text.splitlines() if line.strip()), "")
    return max(",;\t", key=first.count)


# A spreadsheet runs a text that begins like a formula. What we write is guarded by an apostrophe; what we read has it taken off.


def guarded(text: str) -> str:
    """A text for a CSV that no spreadsheet takes for a formula."""
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def unguarded(text: str) -> str:
    """The text without its guard."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


_DOCTYPE = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_ENCODING = re.compile(rb"""<\?xml[^>]*encoding\s*=\s*["']([^"']*)""")
_CELL = re.compile(rb"<(?:\w+:)?(?:c|si)[\s/>]")
_MERGE = re.compile(rb"""<(?:\w+:)?mergeCell\s[^>]*?ref\s*=\s*["']([A-Z]{1,3}[0-9]{1,7}:[A-Z]{1,3}[0-9]{1,7})["']""")
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\ufffe\uffff]")
_FORMULA = re.compile(r"'*[=+\-@\t\r＝＋－＠]")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
