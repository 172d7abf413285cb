"""Who is on duty comes in from a table: by area, role, day and shift, twice as once, and counts at once."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import openpyxl
import pytest

from backend.demo import area_id, person_id
from backend.flow.calendar import Calendar
from backend.flow.judge import CALENDAR_KEY
from backend.kernel.ids import SERVER_AUTHOR
from backend.sync.shapes import TxDocs
from tests.api.conftest import Plant
from tests.api.desk import Desk, text, xlsx

HEAD = ["日期", "班次", "区域编号", "角色", "当班人工号"]
DAY, NIGHT = "2027-03-01", "2027-03-31"


@pytest.fixture(params=["sqlite", "postgres"])
def store_kind(request: pytest.FixtureRequest) -> str:
    """Here on both databases; see conftest.py."""
    kind: str = request.param
    return kind


@pytest.fixture
async def admin(plant: Plant) -> Desk:
    return Desk(await plant.phone().sign_in("admin"))


async def on_duty(plant: Plant, role: str, area: str | None, date: str, hour: int) -> Sequence[str]:
    """Whom rules see on duty at an hour of a day."""
    judge = plant.app.state["judge"]
    async with plant.app.state["store"].read() as tx:
        docs = TxDocs(tx)
        env = await judge.env(docs, SERVER_AUTHOR, 0)
        calendar = Calendar(await judge.view(docs, CALENDAR_KEY))
    at = datetime.fromisoformat(f"{date}T{hour:02}:00:00+08:00").astimezone(UTC).timestamp() * 1000
    found: Sequence[str] = env.rosters.on_duty(calendar, role, area, at)
    return found


async def entries(plant: Plant) -> int:
    async with plant.app.state["store"].read() as tx:
        row = await tx.one("SELECT COUNT(*) AS n FROM ledger WHERE doc LIKE 'roster/%'")
    return int(row["n"])


async def test_rows_say_who_is_on_duty_and_the_same_file_again_changes_nothing(plant: Plant, admin: Desk) -> None:
    rows: list[list[Any]] = [
        [DAY, "白班", "LG", "点检员", "10318；10231"],
        [DAY, "night", "lg", "inspector", 10231],
        [NIGHT, "夜班", None, "安全员", "10012"],
    ]
    job = await admin.take_in("roster", xlsx(HEAD, *rows))
    assert (job["state"], job["created"], job["changed"]) == ("done", 3, 0)
    assert await on_duty(plant, "inspector", area_id("steelmaking"), DAY, 10) == [person_id("inspector"), person_id("worker")]
    # Where an area has none, that of what it lies in counts; the night belongs to the day it begins on.
    assert await on_duty(plant, "inspector", area_id("casting"), "2027-03-02", 3) == [person_id("worker")]
    assert await on_duty(plant, "safety", area_id("gas"), NIGHT, 22) == [person_id("safety")]
    assert await on_duty(plant, "inspector", area_id("steelmaking"), "2027-03-02", 10) == []
    before = await entries(plant)
    # Other spellings, another order of persons: the same lines.
    rows[0] = ["2027/3/1", "Day", "ＬＧ", "Inspector", "10231, 10318"]
    report = await admin.check("roster", xlsx(HEAD, *rows))
    assert (report["created"], report["changed"], report["unchanged"], report["bad"]) == (0, 0, 3, 0)
    await admin.take_in("roster", xlsx(HEAD, *rows))
    assert await entries(plant) == before


async def test_a_changed_row_counts_from_then_on_and_the_rest_of_the_day_stays(plant: Plant, admin: Desk) -> None:
    await admin.take_in("roster", text(HEAD, [DAY, "白班", "LG", "点检员", "10318"], [DAY, "夜班", "LG", "点检员", "10231"]))
    changed = text(HEAD, [DAY, "白班", "LG", "点检员", "10231"])
    report = await admin.check("roster", changed)
    assert [(c["column"], c["before"], c["after"]) for c in report["changes"]] == [("persons", "10318", "10231")]
    await admin.take_in("roster", changed)
    assert await on_duty(plant, "inspector", area_id("steelmaking"), DAY, 10) == [person_id("worker")]
    assert await on_duty(plant, "inspector", area_id("steelmaking"), DAY, 22) == [person_id("worker")]
    assert (await admin.check("roster", changed))["unchanged"] == 1


async def test_a_line_goes_where_the_roster_that_counts_is_so_that_it_counts_too(plant: Plant, admin: Desk) -> None:
    # The demo's own rosters hold these days: the import changes what they say.
    exported = (await admin.file("roster", "export.csv")).decode("utf-8-sig")
    first = next(line for line in exported.splitlines() if "点检员" in line and ",LG," in line and "白班" in line)
    date = first.split(",")[0]
    assert await on_duty(plant, "inspector", area_id("steelmaking"), date, 10) == [person_id("inspector")]
    await admin.take_in("roster", text(HEAD, [date, "白班", "LG", "点检员", "10077"]))
    assert await on_duty(plant, "inspector", area_id("steelmaking"), date, 10) == [person_id("supervisor")]


async def test_what_goes_out_comes_in_again_and_changes_nothing(plant: Plant, admin: Desk) -> None:
    for name in ("export.xlsx", "export.csv"):
        for lang in ("zh", "en"):
            content = await admin.file("roster", name, lang=lang)
            report = await admin.check("roster", content)
            assert (report["created"], report["changed"], report["bad"]) == (0, 0, 0), report["errors"][:3]
            assert report["unchanged"] > 100


async def test_a_row_that_cannot_be_is_an_error_at_its_cell(admin: Desk) -> None:
    rows = [
        ["30 Feb", "白班", "LG", "点检员", "10318"],
        [DAY, "中班", "LG", "点检员", "10318"],
        [DAY, "白班", "QQ", "点检员", "10318"],
        [DAY, "白班", "LG", "厂长", "10318"],
        [DAY, "白班", "LG", "点检员", "10318；99999"],
        [DAY, "夜班", "LG", "点检员", None],
        [DAY, "夜班", "GL", "点检员", "10318"],
        [DAY, "夜班", "gl", "inspector", "10231"],
        [DAY, "夜班", "MQ", "监护人", "；".join(str(n) for n in range(51))],
    ]
    assert await admin.errors("roster", xlsx(HEAD, *rows)) == {
        "A2": "import.not_a_date",
        "B3": "import.not_a_choice",
        "C4": "import.ref_unknown",
        "D5": "import.not_a_choice",
        "E6": "import.ref_unknown",
        "E7": "import.required",
        "A9": "import.twice",
        "E10": "import.too_many_refs",
    }


async def test_a_second_row_for_one_cell_of_the_roster_is_named_without_codes(admin: Desk) -> None:
    row = [DAY, "白班", "LG", "点检员", "10318"]
    report = await admin.check("roster", xlsx(HEAD, row, row))
    assert [one["params"] for one in report["errors"]] == [{"text": f"{DAY} LG", "row": 2}]


async def test_the_template_has_examples_and_lists_the_shifts_and_people(admin: Desk, tmp_path) -> None:
    file = tmp_path / "roster.xlsx"
    file.write_bytes(await admin.file("roster", "template.xlsx"))
    book = openpyxl.load_workbook(file)
    assert next(cell.value for cell in book["示例 Examples"][2]) == "2026-12-01"
    listed = {cell.value for row in book["选项 Choices"].iter_rows() for cell in row}
    assert {"白班", "夜班", "LG", "10318", "点检员"} <= listed


async def test_a_supervisor_brings_the_roster_of_the_own_area_and_no_other_s(plant: Plant) -> None:
    supervisor = Desk(await plant.phone().sign_in("supervisor"))
    rows: list[list[Any]] = [[DAY, "白班", area, "点检员", "10318"] for area in ("LG", "MQ", None)]
    assert await supervisor.errors("roster", xlsx(HEAD, *rows)) == {"C3": "import.not_yours", "C4": "import.not_yours"}
    await supervisor.take_in("roster", xlsx(HEAD, rows[0]))
    assert await on_duty(plant, "inspector", area_id("steelmaking"), DAY, 10) == [person_id("inspector")]
    exported = (await supervisor.file("roster", "export.csv")).decode("utf-8-sig").splitlines()[1:]
    assert {line.split(",")[2] for line in exported} == {"LG"}


async def test_a_row_without_people_empties_its_cell(plant: Plant, admin: Desk) -> None:
    await admin.take_in("roster", text(HEAD, [DAY, "白班", "LG", "点检员", "10318"], [DAY, "夜班", "LG", "点检员", "10318"]))
    cleared = text(HEAD, [DAY, "白班", "LG", "点检员", "-"])
    report = await admin.check("roster", cleared)
    assert [(c["column"], c["before"], c["after"]) for c in report["changes"]] == [("persons", "10318", "")]
    await admin.take_in("roster", cleared)
    assert await on_duty(plant, "inspector", area_id("steelmaking"), DAY, 10) == []
    assert await on_duty(plant, "inspector", area_id("steelmaking"), DAY, 22) == [person_id("inspector")]
    before = await entries(plant)
    await admin.take_in("roster", cleared)
    assert await entries(plant) == before
    # An emptied cell goes out as no row at all, so that what goes out can come in again.
    assert f"{DAY},白班,LG" not in (await admin.file("roster", "export.csv")).decode("utf-8-sig")


async def test_who_supervises_nobody_brings_no_roster(plant: Plant) -> None:
    inspector = Desk(await plant.phone().sign_in("inspector"))
    assert await inspector.code("roster", text(HEAD, [DAY, "白班", "LG", "点检员", "10318"])) == "auth.forbidden"
