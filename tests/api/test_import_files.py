"""Files of every make: encodings, hostile ones, what goes out and comes back."""

import csv
import io
import zipfile
from datetime import date

import openpyxl
import pytest

from backend.domains.integrations import reader
from backend.domains.integrations.columns import folded, headings, tables
from backend.kernel.errors import Refusal
from backend.kernel.ids import SERVER_AUTHOR
from backend.sync.op import Set
from tests.api.conftest import Plant
from tests.api.desk import MACHINE, Desk, documents, text, xlsx

ROW = ["N-1", "一号钢水罐车", "Ladle car 1", "forklift", "LG", "B", 31.4, 121.4]


@pytest.fixture
def store_kind() -> str:
    """What files hold does not depend on the database; `test_imports` runs on both."""
    return "sqlite"


@pytest.fixture
async def admin(plant: Plant) -> Desk:
    return Desk(await plant.phone().sign_in("admin"))


def code(content: bytes) -> str:
    with pytest.raises(Refusal) as refused:
        reader.read(content)
    return refused.value.code


def rezipped(content: bytes, **parts: bytes) -> bytes:
    """The workbook with parts put in place of its own; names with `/` and `.` as `__` and `_`."""
    named = {name.replace("__", "/").replace("_xml", ".xml"): data for name, data in parts.items()}
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in {*old.namelist(), *named}:
            new.writestr(name, named[name] if name in named else old.read(name))
    return out.getvalue()


# Encodings and what people do to tables.


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_is_read_in_the_encodings_that_excel_writes(encoding: str, delimiter: str) -> None:
    book = reader.read(text(MACHINE, ROW, encoding=encoding, delimiter=delimiter))
    assert book.sheets[0].rows == [(1, MACHINE), (2, [str(value) for value in ROW])]
    assert book.form == encoding.removesuffix("-sig")


def test_a_rare_character_of_gb18030_is_read() -> None:
    assert reader.read(text(["姓名"], ["㐂𠮷"], encoding="gb18030")).sheets[0].rows[1][1] == ["㐂𠮷"]


def test_bytes_that_are_no_text_are_refused() -> None:
    assert code(b"\xff\x81\xff\xff,\xff") == "import.encoding"
    assert code(b"a,b\0c") == "import.unreadable"
    assert code(b'a,"b') == "import.unreadable"
    assert code(b"") == "import.empty"


async def test_headings_are_found_below_a_title_in_either_language_and_in_any_order(admin: Desk) -> None:
    rows = [["滨江钢铁设备台账", None], [], ["Area code", "名 称*", "设备编号 / Number", "TYPE"], ["LG", "一号", 1001, "叉车"]]
    report = await admin.check("machines", xlsx(*rows))
    assert (report["created"], report["bad"]) == (1, 0)
    assert await admin.code("machines", xlsx(["名称", "类型"], ["一", "叉车"])) == "import.no_table"
    assert await admin.code("machines", xlsx(["设备编号", "名称"], ["1", "一"])) == "import.heading_missing"
    assert (
        await admin.code("machines", xlsx(["设备编号", "名称", "类型", "区域", "Number"], ["1", "一", "a", "LG", "2"]))
        == "import.heading_twice"
    )
    assert await admin.code("machines", xlsx(MACHINE)) == "import.empty"


def test_every_heading_says_one_column_only() -> None:
    for table in tables().values():
        taken = headings(table)
        for name, column in table.columns.items():
            for words in (column.title.zh, column.title.en, *column.also):
                assert taken[folded(words)] == name, (table.name, words)


def test_a_cell_merged_downwards_stands_in_each_of_its_rows() -> None:
    book = openpyxl.Workbook()
    for row in (["区域", "编号"], ["LG", 1], [None, 2], [None, 3], ["ZG", 4]):
        book.active.append(row)
    book.active.merge_cells("A2:A4")
    out = io.BytesIO()
    book.save(out)
    assert [values for _, values in reader.read(out.getvalue()).sheets[0].rows[1:]] == [["LG", 1], ["LG", 2], ["LG", 3], ["ZG", 4]]


def test_dates_and_numbers_are_read_as_such_and_formulas_as_what_excel_computed() -> None:
    content = xlsx(["a", "b", "c"], [date(2026, 3, 1), 12.0, "=1+1"])
    assert reader.read(content).sheets[0].rows[1][1] == [date(2026, 3, 1), 12]
    sheet = zipfile.ZipFile(io.BytesIO(content)).read("xl/worksheets/sheet1.xml")
    computed = sheet.replace(b"<f>1+1</f><v></v>", b"<f>1+1</f><v>2</v>").replace(b"<f>1+1</f><v />", b"<f>1+1</f><v>2</v>")
    assert computed != sheet
    assert reader.read(rezipped(content, xl__worksheets__sheet1_xml=computed)).sheets[0].rows[1][1][2] == 2


async def test_a_formula_that_fails_is_an_error_at_its_cell(admin: Desk) -> None:
    assert await admin.errors("machines", xlsx(MACHINE, ["#REF!", *ROW[1:]])) == {"A2": "import.cell_error"}


# Hostile files.


def test_a_zip_bomb_is_not_unpacked() -> None:
    bomb = rezipped(xlsx(["a"]), xl__worksheets__sheet1_xml=b"<c/>" * (reader.UNZIPPED_BYTES_MAX // 4 + 1))
    assert len(bomb) < 1_000_000
    assert code(bomb) == "import.too_large_inside"


def test_more_cells_than_we_take_are_refused_before_they_are_parsed() -> None:
    cells = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData><row>' + b"<c/>" * 700_000
    assert code(rezipped(xlsx(["a"]), xl__worksheets__sheet1_xml=cells)) == "import.too_many_cells"


def test_entities_and_other_encodings_of_xml_are_refused() -> None:
    plain = xlsx(["a"])
    sheet = zipfile.ZipFile(io.BytesIO(plain)).read("xl/worksheets/sheet1.xml").decode()
    laughs = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>' + sheet
    assert code(rezipped(plain, xl__worksheets__sheet1_xml=laughs.encode())) == "import.unreadable"
    assert code(rezipped(plain, xl__worksheets__sheet1_xml=laughs.encode("utf-16"))) == "import.unreadable"
    assert (
        code(rezipped(plain, xl__worksheets__sheet1_xml=b'<?xml version="1.0" encoding="cp037"?>' + sheet.encode("cp037")))
        == "import.unreadable"
    )


def test_far_rows_and_columns_cost_nothing() -> None:
    far = (
        b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
        b'<row r="1"><c r="A1"><v>1</v></c><c r="XFD1"><v>2</v></c></row><row r="1048576"><c r="A1048576"><v>3</v></c></row>'
        b"</sheetData></worksheet>"
    )
    assert code(rezipped(xlsx(["a"]), xl__worksheets__sheet1_xml=far)) == "import.too_many_rows"
    near = far.replace(b"1048576", b"7")
    assert reader.read(rezipped(xlsx(["a"]), xl__worksheets__sheet1_xml=near)).sheets[0].rows == [(1, [1]), (7, [3])]


@pytest.mark.parametrize(
    "content",
    [b"PK\x03\x04 not a zip", b"PK\x05\x06" + bytes(18), xlsx(["a"])[:-40], xlsx(["a"])[:200], b"PK" + bytes(1000)],
)
def test_broken_workbooks_are_refused_in_one_way(content: bytes) -> None:
    assert code(content) == "import.unreadable"


def test_old_and_locked_workbooks_say_what_to_do() -> None:
    assert code(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)) == "import.old_format"


def test_more_rows_or_bytes_than_we_take_are_refused() -> None:
    assert code(text(["a"], *([n] for n in range(reader.ROWS_MAX + 1)))) == "import.too_many_rows"
    assert code(xlsx(["a"], *([n] for n in range(reader.ROWS_MAX + 1)))) == "import.too_many_rows"
    assert code(b"a" * (reader.BYTES_MAX + 1)) == "import.too_large"
    assert len(reader.read(text(["a"], *([n] for n in range(reader.ROWS_MAX)))).sheets[0].rows) == reader.ROWS_MAX + 1


async def test_a_body_above_the_limit_is_cut_off_at_the_door(admin: Desk) -> None:
    assert (await admin.post("machines/check", b"a" * (reader.BYTES_MAX + 1))).status_code == 413


def test_marks_that_no_screen_shows_are_taken_out_of_texts() -> None:
    assert reader.read(text(["设备\u200b编号", "a\u202eb\x07 c\n d"])).sheets[0].rows[0][1] == ["设备编号", "ab c d"]


@pytest.mark.parametrize("content", [b"\x00", b"{}", b"\r\n\r\n", b",,,,\n,,,", b"<html>", "设备编号".encode() * 1000])
async def test_what_is_no_table_is_refused_with_a_code(admin: Desk, content: bytes) -> None:
    assert (await admin.code("machines", content)).startswith("import.")


# What goes out.


@pytest.mark.parametrize("name", ["export.xlsx", "export.csv"])
@pytest.mark.parametrize("table", [name for name, table in tables().items() if not table.lines])
@pytest.mark.parametrize("lang", ["zh", "en"])
async def test_an_export_changes_nothing_when_it_is_imported(plant: Plant, admin: Desk, table: str, name: str, lang: str) -> None:
    kind = tables()[table].kind
    first = next(iter((await documents(plant, kind)).values()))
    hostile = {"zh": "=cmd|'/c calc'!A1", "en": '\'=1  + 1，"x"\n-2'}
    await plant.app.state["sync"].say(Set(0, 0, 0, SERVER_AUTHOR, f"{kind}/{first['id']}", {"names": hostile}))
    content = await admin.file(table, name, lang=lang)
    report = await admin.check(table, content)
    assert (report["created"], report["changed"], report["bad"], report["errors"]) == (0, 0, 0, [])
    assert report["rows"] == report["unchanged"] == len(await documents(plant, kind))


async def test_no_text_that_goes_out_is_a_formula(plant: Plant, admin: Desk) -> None:
    names = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "＝1+1", "'=1", "-12.5", "普通"]
    rows = [[f"X-{n}", name, "", "forklift", "LG"] for n, name in enumerate(names)]
    assert (await admin.take_in("machines", text(MACHINE[:5], *rows)))["created"] == len(names)
    sheet = openpyxl.load_workbook(io.BytesIO(await admin.file("machines", "export.xlsx"))).active
    assert {cell.data_type for row in sheet.iter_rows() for cell in row} <= {"s", "n"}
    content = (await admin.file("machines", "export.csv")).decode("utf-8-sig")
    cells = [cell for row in csv.reader(io.StringIO(content)) for cell in row]
    assert {cell for cell in cells if cell and cell[0] in "=+-@＝\t\r"} == {"-12.5"}
    assert "'=1+1" in cells


@pytest.mark.parametrize("table", list(tables()))
async def test_a_template_has_headings_in_both_languages_lists_and_examples_that_are_good(admin: Desk, table: str) -> None:
    content = await admin.file(table, "template.xlsx")
    book = openpyxl.load_workbook(io.BytesIO(content))
    sheet = book.worksheets[0]
    columns = tables()[table].columns
    for cell, column in zip(sheet[1], columns.values(), strict=True):
        assert column.title.zh in cell.value
        assert column.title.en in cell.value
    if table == "machines":
        lists = [rule for rule in sheet.data_validations.dataValidation if rule.type == "list"]
        assert len(lists) == 3
        assert "桥式起重机" in {cell.value for cell in book["选项 Choices"]["A"]} | {cell.value for cell in book["选项 Choices"]["B"]}
    assert await admin.code(table, content) == "import.empty"
    examples = [[cell.value for cell in row] for row in book["示例 Examples"].iter_rows()]
    errors = await admin.errors(table, xlsx(*examples))
    assert errors == {}
