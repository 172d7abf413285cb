"""Tables as files: the template that a plant fills in, and what stands as a file that changes nothing when it is imported again."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from openpyxl import Workbook
from openpyxl.styles import Alignment, Font, PatternFill
from openpyxl.utils import get_column_letter, quote_sheetname
from openpyxl.worksheet.datavalidation import DataValidation

from backend.domains.integrations.columns import Column, Table, heading
from backend.domains.integrations.plan import World, choices_of, show, title
from backend.domains.integrations.reader import ROWS_MAX, guarded
from backend.flow.kind import CompiledKind

EXAMPLES, CHOICES, HELP = "示例 Examples", "选项 Choices", "说明 Help"
WIDTH = 18
HEAD = PatternFill("solid", fgColor="E3EDF7")
MUST = PatternFill("solid", fgColor="FFF3C7")
NEEDED = Font(bold=True)
TEXT = "@"


def template(table: Table, kind: CompiledKind, world: World) -> bytes:
    """An empty table with headings in both languages and lists to choose from, filled-in examples, the choices, and what each column is
    for. The empty sheet comes first, and only that one is read."""
    book = Workbook()
    _headed(book.active, table, list(table.columns), f"{table.title.zh} {table.title.en}")
    lists = _choices(book.create_sheet(CHOICES), table, kind, world)
    _rules(book.active, table, lists)
    examples = book.create_sheet(EXAMPLES, 1)
    _headed(examples, table, list(table.columns), EXAMPLES)
    for row in range(max(len(column.examples) for column in table.columns.values())):
        for place, column in enumerate(table.columns.values(), 1):
            if row < len(column.examples) and column.examples[row] != "":
                _put(examples.cell(row + 2, place), column.examples[row], column)
    _help(book.create_sheet(HELP, 2), table)
    return _saved(book)


def rows(table: Table, kind: CompiledKind, world: World) -> Iterable[list[str | int | float | None]]:
    """What stands and can be imported again, in the order of keys: living documents with a key, where the reader may manage them."""
    names = shown_columns(table)
    for _, held in sorted(world.held.items()):
        for one in held:
            if one.ended or not (world.may(one.fields.get(table.area)) if table.area else world.may(None)):
                continue
            cells: list[str | int | float | None] = []
            for name in names:
                field, entry = table.field(name)
                column = table.columns[name]
                value = one.fields.get(field)
                value = (value or {}).get(entry) if entry else value
                if column.type == "username":
                    cells.append(world.accounts.get(one.id))
                elif column.type == "number":
                    cells.append(value)
                else:
                    cells.append(show(table, kind, world, name, value) or None)
            yield cells


def shown_columns(table: Table) -> list[str]:
    """What an export has: everything but passwords."""
    return [name for name, column in table.columns.items() if column.type != "password"]


def workbook(table: Table, found: Iterable[Sequence[Any]]) -> bytes:
    """Rows as a workbook. Texts are written as texts, whatever they begin with."""
    book = Workbook(write_only=False)
    names = shown_columns(table)
    _headed(book.active, table, names, f"{table.title.zh} {table.title.en}")
    for number, cells in enumerate(found, 2):
        for place, (name, value) in enumerate(zip(names, cells, strict=True), 1):
            if value is not None:
                _put(book.active.cell(number, place), value, table.columns[name])
    return _saved(book)


def text(table: Table, found: Iterable[Sequence[Any]]) -> bytes:
    """Rows as CSV: UTF-8 with the mark by which Excel knows it, and no text that a spreadsheet would run."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    names = shown_columns(table)
    writer.writerow([f"{table.columns[name].title.zh}/{table.columns[name].title.en}" for name in names])
    for cells in found:
        writer.writerow(["" if value is None else guarded(value) if isinstance(value, str) else repr(value) for value in cells])
    return out.getvalue().encode("utf-8-sig")


def _headed(sheet: Any, table: Table, names: list[str], name: str) -> None:
    sheet.title = name
    sheet.freeze_panes = "A2"
    sheet.row_dimensions[1].height = 34
    for place, column_name in enumerate(names, 1):
        column = table.columns[column_name]
        cell = sheet.cell(1, place, heading(column))
        cell.font = NEEDED
        cell.fill = MUST if column.required else HEAD
        cell.alignment = Alignment(wrap_text=True, vertical="center")
        letter = get_column_letter(place)
        sheet.column_dimensions[letter].width = WIDTH * 2 if column.type in ("roles", "refs") or column_name.startswith("name") else WIDTH
        if column.type != "number":
            # Excel would make a number of 0012 and a date of 1-2.
            sheet.column_dimensions[letter].number_format = TEXT


def _put(cell: Any, value: Any, column: Column) -> None:
    if isinstance(value, str):
        cell.value = value
        cell.data_type = "s"
        cell.quotePrefix = True
    else:
        cell.value = value
    if column.type != "number":
        cell.number_format = TEXT


def _choices(sheet: Any, table: Table, kind: CompiledKind, world: World) -> dict[str, str]:
    """Write the lists to choose from, one below each column's name; column → the cells of its list."""
    found: dict[str, str] = {}
    place = 0
    for name, column in table.columns.items():
        words = [*_offered(table, kind, world, name)]
        if not words:
            continue
        place += 1
        sheet.cell(1, place, heading(column)).font = NEEDED
        letter = get_column_letter(place)
        sheet.column_dimensions[letter].width = WIDTH * 2
        for number, (word, _) in enumerate(words, 2):
            _put(sheet.cell(number, place), word, column)
        found[name] = f"{quote_sheetname(CHOICES)}!${letter}$2:${letter}${len(words) + 1}"
        if any(other for _, other in words):
            place += 1
            sheet.column_dimensions[get_column_letter(place)].width = WIDTH * 2
            for number, (_, other) in enumerate(words, 2):
                _put(sheet.cell(number, place), other, column)
    return found


def _offered(table: Table, kind: CompiledKind, world: World, name: str) -> Iterable[tuple[str, str]]:
    """What can be chosen in a column, and what stands beside it to know it by."""
    column, lang = table.columns[name], world.lang
    field = kind.kind.fields.get(table.field(name)[0])
    if column.type == "choice":
        yield from ((title(one, lang), "") for one in choices_of(table, kind, world, name).values())
    elif column.type == "known":
        yield from ((title(one, lang), title(one, "en" if lang == "zh" else "zh")) for one in world.known[column.source].values())
    elif column.type == "roles" and field is not None and isinstance(field.columns["role"].of, dict):
        yield from ((title(one, lang), title(one, "en" if lang == "zh" else "zh")) for one in field.columns["role"].of.values())
    elif column.type in ("ref", "refs"):
        for _, held in sorted(world.refs[column.of].items()):
            for one in held:
                if not one.ended:
                    names = one.fields.get("names") or {}
                    yield world.keys[column.of][one.id], " ".join(filter(None, (names.get("zh"), names.get("en"))))


def _rules(sheet: Any, table: Table, lists: dict[str, str]) -> None:
    """What Excel offers and refuses while somebody types."""
    for place, (name, column) in enumerate(table.columns.items(), 1):
        cells = f"{get_column_letter(place)}2:{get_column_letter(place)}{ROWS_MAX + 1}"
        rule = None
        if name in lists and column.type not in ("roles", "refs"):
            rule = DataValidation(type="list", formula1=f"={lists[name]}", allow_blank=not column.required)
            # Another area may come in the same file, another type without a check list: these are offered, not demanded.
            rule.showErrorMessage = column.type == "choice"
        elif column.type == "number" and column.min is not None and column.max is not None:
            rule = DataValidation(type="decimal", operator="between", formula1=str(column.min), formula2=str(column.max))
            rule.showErrorMessage = True
        else:
            rule = DataValidation()
        rule.promptTitle = f"{column.title.zh} {column.title.en}"[:32]
        rule.prompt = f"{column.help.zh}\n{column.help.en}"[:255]
        rule.showInputMessage = True
        rule.errorTitle = rule.promptTitle
        rule.error = rule.prompt
        rule.add(cells)
        sheet.add_data_validation(rule)


def _help(sheet: Any, table: Table) -> None:
    lines = [
        ("只读第一张表；示例、选项和说明不会导入。", "Only the first sheet is read; examples, choices and help are not."),
        (
            "带 * 的列必须填。空着的单元格不改动已有内容；只填一个“-”表示清空。",
            "Columns with * must be filled. An empty cell leaves what stands; a lone “-” empties it.",
        ),
        (
            f"一次最多 {ROWS_MAX} 行。同一个文件导入两次，第二次什么也不改。",
            f"At most {ROWS_MAX} rows. Imported twice, a file changes nothing the second time.",
        ),
    ]
    for width, letter in ((24, "A"), (70, "B"), (70, "C")):
        sheet.column_dimensions[letter].width = width
    for number, (zh, en) in enumerate(lines, 1):
        sheet.cell(number, 2, zh)
        sheet.cell(number, 3, en)
    for number, column in enumerate(table.columns.values(), len(lines) + 2):
        sheet.cell(number, 1, heading(column)).font = NEEDED
        sheet.cell(number, 2, column.help.zh)
        sheet.cell(number, 3, column.help.en)
    for row in sheet.iter_rows():
        for cell in row:
            cell.alignment = Alignment(wrap_text=True, vertical="top")


def _saved(book: Workbook) -> bytes:
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()
