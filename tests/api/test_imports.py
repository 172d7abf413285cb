"""Tables come in whole or not at all, twice as once, and only where who brings them may."""

import time

import pytest

from backend.demo import area_id, machine_id
from backend.flow.judge import PLANT_KEY
from backend.kernel.ids import SERVER_AUTHOR
from backend.sync.judge import Refused
from backend.sync.op import Act, New
from backend.sync.shapes import TxDocs
from tests.api.conftest import Plant
from tests.api.desk import MACHINE, Desk, documents, text, xlsx


@pytest.fixture(params=["sqlite", "postgres"])
def store_kind(request: pytest.FixtureRequest) -> str:
    """Here on both databases; see conftest.py."""
    kind: str = request.param
    return kind


@pytest.fixture
async def admin(plant: Plant) -> Desk:
    return Desk(await plant.phone().sign_in("admin"))


AREAS = ["LG", "LZ", "GL", "MQ", "ZG"]


def machines(count: int, bad: int = 0) -> tuple[list[list], dict[str, str]]:
    """Rows of machines, and for the bad ones among them cell → code."""
    rows = [
        [f"SB-{n:05}", f"{n}# 皮带输送机", f"Belt conveyor {n}", "皮带输送机", AREAS[n % 5], "ABC"[n % 3], 31.4 + n / 1e5, 121.4]
        for n in range(1, count + 1)
    ]
    wrong = [
        ("A", None, "import.required"),
        ("B", None, "import.required"),
        ("E", "XX", "import.ref_unknown"),
        ("F", "D", "import.not_a_choice"),
        ("G", "三十一", "import.not_a_number"),
        ("G", 131.4, "import.above"),
        ("A", "SB-00001", "import.twice"),
        ("H", None, "import.together"),
    ]
    expected = {}
    for n in range(bad):
        column, value, code = wrong[n % len(wrong)]
        place = 100 + n * 13
        rows[place]["ABCDEFGH".index(column)] = value
        expected[f"{'G' if code == 'import.together' else column}{place + 2}"] = code
    return rows, expected


async def test_5000_machines_with_37_bad_rows_show_each_bad_cell_and_the_good_rows_come_in_when_asked(plant: Plant, admin: Desk) -> None:
    rows, expected = machines(5_000, bad=37)
    content = xlsx(MACHINE, *rows)
    before = await documents(plant, "machine")
    began = time.perf_counter()
    report = await admin.check("machines", content)
    checked_s = time.perf_counter() - began
    assert {error["cell"]: error["code"] for error in report["errors"]} == expected
    assert all(error["message"]["zh"] and error["message"]["en"] for error in report["errors"])
    assert (report["rows"], report["created"], report["bad"], report["errors_more"]) == (5_000, 4_963, 37, 0)

    refused = await admin.post("machines/imports", content, plan=report["plan"])
    assert (refused.status_code, refused.json()["code"], refused.json()["params"]) == (409, "import.has_errors", {"count": 37})
    assert await documents(plant, "machine") == before

    began = time.perf_counter()
    job = await admin.begin("machines", content, report["plan"], skip_bad=True)
    seen = set()
    while job["state"] == "running":
        job = (await admin.phone.get(f"/api/integrations/imports/{job['id']}")).json()
        seen.add(job["done"])
    print(f"5,000 machines: checked in {checked_s:.1f} s, taken in in {time.perf_counter() - began:.1f} s, {len(seen)} steps of progress")
    assert (job["state"], job["created"], job["skipped"], job["done"]) == ("done", 4_963, 37, 4_963)
    assert len(seen) > 10
    after = await documents(plant, "machine")
    assert len(after) == len(before) + 4_963
    one = after["SB-00002"]
    assert (one["names"], one["type"], one["criticality"]) == ({"zh": "2# 皮带输送机", "en": "Belt conveyor 2"}, "belt_conveyor", "C")
    assert (one["area"], one["place"], one["status"]) == (area_id("cast_house"), {"lat": 31.40002, "lon": 121.4}, "running")
    again = await admin.check("machines", content)
    assert (again["created"], again["changed"], again["unchanged"], again["bad"]) == (0, 0, 4_963, 37)


async def test_what_was_imported_says_who_imported_it_by_the_server_s_own_device(plant: Plant, admin: Desk) -> None:
    await admin.take_in("machines", xlsx(MACHINE, ["N-1", "新机", "New", "forklift", "LG", "", "", ""]))
    machine = (await documents(plant, "machine"))["N-1"]
    async with plant.app.state["store"].read() as tx:
        row = await tx.one("SELECT author, device FROM ledger WHERE doc = $1 AND what = 'op'", f"machine/{machine['id']}")
    assert (row["author"], row["device"]) == (admin.phone.person, plant.app.state["sync"].device)


async def test_a_second_import_of_a_file_changes_nothing_and_an_edited_one_changes_what_was_edited(plant: Plant, admin: Desk) -> None:
    first = xlsx(
        MACHINE, ["N-1", "新机", "New", "叉车", "LG", "C", 31.4, 121.4], ["N-2", "二号", "", "水泵", "LG", "A（关键）", None, None]
    )
    job = await admin.take_in("machines", first)
    assert (job["created"], job["changed"], job["unchanged"]) == (2, 0, 0)
    async with plant.app.state["store"].read() as tx:
        entries = (await tx.one("SELECT COUNT(*) AS n FROM ledger WHERE doc LIKE 'machine/%'"))["n"]
    job = await admin.take_in("machines", first)
    assert (job["created"], job["changed"], job["unchanged"]) == (0, 0, 2)
    async with plant.app.state["store"].read() as tx:
        assert (await tx.one("SELECT COUNT(*) AS n FROM ledger WHERE doc LIKE 'machine/%'"))["n"] == entries
    # Other spelling of the key, another area, a name taken out, an empty cell.
    second = xlsx(MACHINE, ["ｎ-1", "新机", "-", "forklift", "ZG", None, 31.5, 121.4])
    report = await admin.check("machines", second)
    assert [(c["column"], c["before"], c["after"]) for c in report["changes"]] == [
        ("name_en", "New", ""),
        ("area", "LG", "ZG"),
        ("lat", "31.4", "31.5"),
    ]
    await admin.take_in("machines", second)
    machine = (await documents(plant, "machine"))["N-1"]
    assert machine["names"] == {"zh": "新机", "en": ""}
    assert (machine["area"], machine["criticality"], machine["place"]) == (area_id("rolling"), "C", {"lat": 31.5, "lon": 121.4})


@pytest.mark.parametrize(("called", "type_"), [("天车", "overhead_crane"), ("Ladle crane", "casting_crane"), ("龙门吊", "gantry_crane")])
async def test_a_type_may_be_called_what_the_shop_floor_calls_it(plant: Plant, admin: Desk, called: str, type_: str) -> None:
    await admin.take_in("machines", xlsx(MACHINE, ["N-1", "一号", "", called, "LG", "", "", ""]))
    assert (await documents(plant, "machine"))["N-1"]["type"] == type_


async def test_a_type_that_has_no_check_list_is_taken_and_told(admin: Desk) -> None:
    report = await admin.check("machines", xlsx([*MACHINE, "备注"], ["N-1", "一号", "", "水泵", "LG", "", "", "", "x"]))
    assert (report["unknown"], report["ignored"], report["bad"]) == ({"水泵": 1}, ["备注"], 0)


async def test_what_never_changes_has_ended_or_is_there_twice_is_an_error_at_its_cell(plant: Plant, admin: Desk) -> None:
    say = plant.app.state["sync"].say
    version = plant.app.state["judge"].newest("machine")
    fields = {"number": "TWIN", "names": {"zh": "双", "en": ""}, "type": "forklift", "area": area_id("rolling")}
    for n in (1, 2):
        await say(New(0, 0, 0, SERVER_AUTHOR, f"machine/0190a0de-0000-7000-8000-00000000000{n}", version, fields))
    await say(Act(0, 0, 0, SERVER_AUTHOR, f"machine/{machine_id('ZG-CC-05')}", "scrap", {}, 0))
    rows = [["TWIN", "双", "", "forklift", "ZG"], ["ZG-CC-05", "五", "", "forklift", "ZG"], ["LG-ZL-01", "转炉", "", "forklift", "LG"]]
    assert await admin.errors("machines", xlsx(MACHINE[:5], *rows)) == {
        "A2": "import.ambiguous",
        "A3": "import.ended",
        "D4": "import.fixed",
    }


async def test_an_op_that_the_kinds_refuse_takes_everything_back(plant: Plant, admin: Desk) -> None:
    before = await documents(plant, "machine")
    content = xlsx(MACHINE[:5], *([f"N-{n}", "新", "", "forklift", "LG"] for n in range(120)))
    plan = (await admin.check("machines", content))["plan"]
    # Between the check and the import the importer loses the right, and gets it back too late.
    judge = plant.app.state["judge"]
    asked, real = [], judge.judge

    async def judged(op, *rest, **named):
        # The plant's own deadlines are judged meanwhile, too.
        asked.extend([op] if op.doc.startswith("machine/") and op.verb == "new" else [])
        if len(asked) == 110:
            return Refused("flow.not_allowed", {"what": "new"})
        return await real(op, *rest, **named)

    judge.judge = judged
    job = await admin.finish((await admin.begin("machines", content, plan))["id"])
    judge.judge = real
    assert (job["state"], job["error"]["code"], job["error"]["params"]["cell"]) == ("failed", "import.refused", "A111")
    assert await documents(plant, "machine") == before
    assert (await admin.take_in("machines", content))["created"] == 120


async def test_a_plant_that_changed_since_the_check_is_not_touched(plant: Plant, admin: Desk) -> None:
    content = xlsx(MACHINE[:5], ["N-1", "新", "", "forklift", "LG"])
    plan = (await admin.check("machines", content))["plan"]
    await admin.take_in("machines", xlsx(MACHINE[:5], ["N-1", "新的", "", "forklift", "LG"]))
    answer = await admin.post("machines/imports", content, plan=plan)
    assert (answer.status_code, answer.json()["code"]) == (409, "import.changed")


async def test_areas_come_in_children_before_parents_and_never_in_a_circle(plant: Plant, admin: Desk) -> None:
    head = ["编号", "名称", "上级区域编号", "纬度", "经度", "半径（米）"]
    rows = [["C", "丙", "B", 31, 121, 50], ["B", "乙", "A", "", "", ""], ["A", "甲", "LG", "", "", ""], ["D", "丁", "LZ", 31, "", ""]]
    assert await admin.errors("areas", xlsx(head, *rows)) == {"D5": "import.together"}
    assert (await admin.take_in("areas", xlsx(head, *rows), skip_bad=True))["created"] == 3
    areas = await documents(plant, "area")
    assert [areas[name]["parent"] for name in "CBA"] == [areas["B"]["id"], areas["A"]["id"], areas["LG"]["id"]]
    assert areas["C"]["place"] == {"lat": 31, "lon": 121, "radius_m": 50}
    circle = xlsx(head[:3], ["X", "一", "Y"], ["Y", "二", "X"], ["LG", "炼钢跨", "C"], ["Z", "三", "Y"])
    assert await admin.errors("areas", circle) == {
        "C2": "import.circle",
        "C3": "import.circle",
        "C4": "import.circle",
        "C5": "import.ref_unknown",
    }


async def test_what_refers_to_a_bad_row_is_bad_too(admin: Desk) -> None:
    head = ["Code", "Chinese name", "Part of", "Latitude"]
    rows = [["A", "甲", "B", ""], ["B", "乙", "C", ""], ["C", "丙", "", "north"]]
    assert await admin.errors("areas", xlsx(head, *rows)) == {
        "C2": "import.ref_unknown",
        "C3": "import.ref_unknown",
        "D4": "import.not_a_number",
    }


async def test_people_come_with_roles_and_accounts_and_can_sign_in(plant: Plant, admin: Desk) -> None:
    head = ["工号", "姓名", "English name", "单位", "角色", "用户名", "初始密码"]
    rows = [
        ["30001", "孙丽", "Sun Li", "滨江钢铁", "点检员@LG；Guardian＠MQ", "Sun.Li", "first-pass-1"],
        [30002, "周涛", "", "", "班组长", None, None],
    ]
    job = await admin.take_in("people", xlsx(head, *rows))
    assert (job["state"], job["created"], job["accounts"]) == ("done", 2, 1)
    people = await documents(plant, "person")
    assert people["30001"]["roles"] == [
        {"role": "inspector", "area": area_id("steelmaking")},
        {"role": "guardian", "area": area_id("gas")},
    ]
    assert people["30002"]["roles"] == [{"role": "supervisor", "area": None}]
    assert (await plant.phone().try_sign_in("sun.li", "first-pass-1")).status_code == 200
    again = await admin.check("people", xlsx(head, *rows))
    assert (again["unchanged"], again["accounts"], again["bad"]) == (2, 0, 0)
    # A table gives no second password and no other name.
    assert (await admin.check("people", xlsx(head, [*rows[0][:6], "another-pass"])))["unchanged"] == 1
    assert await admin.errors("people", xlsx(head, [*rows[0][:5], "sunli", "another-pass"])) == {"F2": "import.account_other"}
    rows[0][4] = "点检员@LG"
    await admin.take_in("people", xlsx(head, *rows))
    assert len((await documents(plant, "person"))["30001"]["roles"]) == 1


async def test_accounts_that_cannot_be_are_errors_at_their_cells(admin: Desk) -> None:
    head = ["工号", "姓名", "角色", "用户名", "初始密码"]
    rows = [
        ["4", "丁", "工人", "worker", "long-enough"],
        ["5", "戊", "工人", "a b", "long-enough"],
        ["6", "己", "工人", "ji", "short"],
        ["7", "庚", "厂长", "geng", None],
        ["8", "辛", "工人@QQ", None, "long-enough"],
        ["9", "壬", "工人", "ren", "long-enough"],
        ["10", "癸", "工人", "REN", "long-enough"],
    ]
    assert await admin.errors("people", xlsx(head, *rows)) == {
        "D2": "auth.username_taken",
        "D3": "auth.username",
        "E4": "auth.password_weak",
        "C5": "import.not_a_choice",
        "C6": "import.ref_unknown",
        "D8": "auth.username_taken",
    }


async def test_no_password_is_kept_in_the_database(plant: Plant, admin: Desk) -> None:
    rows = [["工号", "姓名", "用户名", "初始密码"], ["30009", "密", "mimi", "never-kept-anywhere"]]
    assert (await admin.take_in("people", xlsx(*rows)))["accounts"] == 1
    assert b"mimi" in await plant.stored()
    assert b"never-kept-anywhere" not in await plant.stored()


async def test_one_who_manages_an_area_imports_and_exports_there_and_nowhere_else(plant: Plant, admin: Desk) -> None:
    say = plant.app.state["sync"].say
    async with plant.app.state["store"].read() as tx:
        doc = await TxDocs(tx).get(PLANT_KEY)
        table = doc.body["fields"]["roles"][0]
    # In this plant supervisors keep the register of their area.
    table = {**table, "supervisor": [*table["supervisor"], "manage_equipment", "manage_people"]}
    verdict = await say(Act(0, 0, 0, SERVER_AUTHOR, PLANT_KEY, "change_roles", {"roles": table}, 0))
    assert verdict[0].state == "ok", verdict
    keeper = Desk(await plant.phone().sign_in("supervisor"))
    rows = [
        ["N-1", "新", "", "forklift", "LG"],
        ["N-2", "新", "", "forklift", "LZ"],  # lies in LG
        ["N-3", "新", "", "forklift", "ZG"],
        ["ZG-ZJ-01", "轧机", "", "rolling_mill", "ZG"],
        ["LG-QZ-01", "起重机", "", "overhead_crane", "ZG"],
    ]
    content = xlsx(MACHINE[:5], *rows)
    assert await keeper.errors("machines", content) == {f"E{row}": "import.not_yours" for row in (4, 5, 6)}
    assert (await keeper.take_in("machines", content, skip_bad=True))["created"] == 2
    exported = (await keeper.file("machines", "export.csv")).decode("utf-8-sig")
    assert "LG-QZ-01" in exported
    assert "ZG-ZJ-01" not in exported
    assert await keeper.code("people", xlsx(["工号", "姓名"], ["1", "甲"])) == "import.whole_plant"
    refused = await keeper.post("areas/check", content)
    assert (refused.status_code, refused.json()["code"]) == (403, "auth.forbidden")


async def test_an_import_is_seen_by_who_began_it_and_by_nobody_else(plant: Plant, admin: Desk) -> None:
    job = await admin.take_in("machines", text(MACHINE[:5], ["N-1", "新", "", "forklift", "LG"]))
    worker = await plant.phone().sign_in("worker")
    answer = await worker.get(f"/api/integrations/imports/{job['id']}")
    assert (answer.status_code, answer.json()["code"]) == (404, "import.no_job")
