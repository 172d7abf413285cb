"""A plant starts on Monday: its machines come in from a table, tags are printed and stuck, a round is walked, a check list is changed at the
desk, and the server is lost and brought back. One story, each part on what the part before left."""

import io
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pypdfium2
import zxingcpp
from playwright.sync_api import expect

from backend.demo import tag_code
from tests.api.desk import MACHINE, xlsx
from tests.e2e.client import Client
from tests.e2e.harness import Phone, Plant
from tests.e2e.plants import Crane, cranes
from tests.e2e.test_checks import answer_ok, go_to, item_asked, item_on_screen
from tests.e2e.test_rounds import AT_THE_CRANES, due_round, scan
from tests.operate.keeping import anlu, done

DESK = {"viewport": {"width": 1280, "height": 800}, "device_scale_factor": 1, "is_mobile": False, "has_touch": False}
MACHINES = 5_000
BAD = 37
HEALED_SECONDS_MAX = 90
LIST = "check.overhead_crane"
BELL = "overhead_crane.bell_lamp"
WHY = "罐在检修，吊走了"
CAMERA = False


def register(path: Path, bad: int) -> Path:
    """A machine register with this many rows that cannot be taken: an area that is not there, no name, or a criticality that is none."""
    rows: list[list[Any]] = [
        [f"XJ-{n:05}", f"{n}# 除尘风机", f"Dust fan {n}", "皮带输送机", "ZG", "C", None, None] for n in range(1, MACHINES + 1)
    ]
    for n in range(bad):
        rows[n * 131][(4, 1, 5)[n % 3]] = ("QQ", None, "特别重要")[n % 3]
    path.write_bytes(xlsx(MACHINE, *rows))
    return path


def imported(held: Phone, folder: Path) -> None:
    held.press("nav-me")
    held.press("open-import")
    held.press("import-machines")
    held.by("import-file").set_input_files(str(register(folder / "register.xlsx", BAD)))
    expect(held.by("count-bad")).to_have_text(str(BAD), timeout=60_000)
    assert held.page.locator("[data-cell]").count() == BAD
    held.by("import-file").set_input_files(str(register(folder / "mended.xlsx", 0)))
    expect(held.by("count-bad")).to_have_text("0", timeout=60_000)
    held.press("import-confirm")
    held.page.wait_for_selector('[data-testid="import-job"][data-state="done"]', timeout=120_000)


def printed(held: Phone, office: Client) -> list[str]:
    """Blank tags, printed on a sheet of A4, and read again from the print at 203 dpi."""
    go_to(held, "/labels?blank")
    held.by("blank-count").locator("input").fill("3")
    held.press("blank-make")
    held.by("blank-made").wait_for()
    sheet = office.http.get(str(held.by("labels").first.get_attribute("href")))
    sheet.raise_for_status()
    page = pypdfium2.PdfDocument(io.BytesIO(sheet.content))[0]
    read = [found.text for found in zxingcpp.read_barcodes(page.render(scale=203 / 72).to_pil().convert("L"))]
    assert read
    return [text.rpartition("/")[2] for text in read]


def claimed(held: Phone, code: str, number: str, machine: str) -> None:
    held.press("scan-key")
    scan(held, code)
    expect(held.by("tag-problem")).to_have_attribute("data-why", "blank")
    held.press("bind")
    held.press("bind-machine")
    held.type("choose-search", number)
    held.press(f"option-{machine}")
    held.press("bind-submit")
    expect(held.by("machine-state")).to_be_visible()
    held.today()
    held.synced()


def walked(held: Phone, office: Client) -> None:
    """Offline, four of five stops reached, one tag missed; whoever looks sees which."""
    round_id, _ = due_round(office)
    held.offline()
    held.today()
    held.page.locator(f'a[href$="/rounds/{round_id}"]').click()
    for stop in ("3", "1"):
        held.press("round-scan")
        scan(held, tag_code({"3": "LG-QZ-03", "1": "LG-QZ-01"}[stop]))
        if stop == "3":
            expect(held.by("stop-3")).to_have_attribute("data-state", "reached")
    held.by("check-item").wait_for()
    go_to(held, f"/rounds/{round_id}")
    held.press("skip-4")
    held.type("skip-reason", WHY)
    held.press("skip-submit")
    held.press("round-finish")
    held.press("finish-confirm")
    expect(held.by("round-state")).to_have_attribute("data-status", "done_with_misses")
    held.offline(False)
    held.today()
    held.synced()
    office.pull()
    assert office.of_kind("round")[round_id]["status"] == "done_with_misses"
    visits = {entry[0]["stop"]: entry[0] for entry in office.docs[f"round/{round_id}"][1]["sets"]["visits"].values()}
    assert visits["4"]["skipped"] == WHY
    assert "2" not in visits


def test_a_plant_starts_on_monday(new_phone: Callable[..., Phone], plant: Plant, tmp_path: Path) -> None:
    office = Client(plant.origin).sign_in("supervisor")
    admin = Client(plant.origin).sign_in("admin")
    desk = new_phone(**DESK)
    desk.sign_in("admin")
    imported(desk, tmp_path)
    codes = printed(desk, admin)

    held = new_phone()
    held.sign_in("admin")
    admin.pull()
    machine = next(one for one, view in admin.of_kind("machine").items() if view["number"] == "XJ-00132")
    claimed(held, codes[0], "XJ-00132", machine)
    admin.pull()
    assert [tag["code"] for tag in admin.of_kind("tag").values() if tag.get("machine") == machine] == [codes[0]]

    inspector = new_phone(geolocation=AT_THE_CRANES)
    inspector.sign_in("inspector")
    inspector.ready_offline()
    walked(inspector, office)
    safety = new_phone(**DESK)
    safety.sign_in("safety")
    desk_changes_a_list(inspector, desk, safety, plant)
    lost_and_brought_back(plant, inspector, tmp_path)


def asked_in(held: Phone, crane: Crane) -> list[str]:
    """The items that a check of this crane still asks, each answered, and the check ended."""
    go_to(held, f"/machines/{crane.id}")
    held.press("begin-check" if held.by("begin-check").is_visible() else "continue-check")
    found = []
    while item_asked(held):
        found.append(item_on_screen(held))
        answer_ok(held)
    held.press("finish-check")
    expect(held.by("check-result")).to_have_attribute("data-status", "passed")
    return found


def desk_changes_a_list(held: Phone, desk: Phone, second: Phone, plant: Plant) -> None:
    """A check is under way when the list changes; it ends under the old list, the next one asks by the new."""
    old, new = cranes(plant)[3], cranes(plant)[4]
    go_to(held, f"/machines/{old.id}")
    held.press("begin-check")
    first = item_on_screen(held)
    answer_ok(held)

    go_to(desk, f"/desk/checklists/{LIST}?view=change")
    desk.press(f"drop-{BELL}")
    desk.press("add-item")
    for field, words in {
        "item-zh": "驾驶室灭火器在位",
        "item-en": "Extinguisher in the cabin",
        "hint-zh": "看压力表",
        "hint-en": "Gauge",
    }.items():
        desk.type(field, words)
    desk.type("change-reason", "新配了灭火器")
    expect(desk.by("list-changes").locator("li")).to_have_count(2)
    desk.press("list-propose")
    expect(desk.by("list-proposal")).to_be_visible()
    expect(desk.by("list-confirm")).to_have_attribute("aria-disabled", "true")
    go_to(second, f"/desk/checklists/{LIST}?view=change")
    expect(second.by("list-changes").locator("li").first).to_have_attribute("data-how", "dropped")
    second.press("list-confirm")
    expect(second.by("list-ended").locator("li").first).to_have_attribute("data-what", "confirmed")
    expect(second.by("desk-pane")).to_contain_text("本厂第 1 版")

    own = second.page.locator('[data-testid="change-items"] [data-item*=".own_"]')
    expect(own).to_have_count(1)
    added = str(own.get_attribute("data-item"))
    go_to(held, "/")
    held.synced()
    asked = asked_in(held, new)
    assert (BELL in asked, added in asked) == (False, True)
    asked = [first, *asked_in(held, old)]
    assert (BELL in asked, added in asked) == (True, False)
    held.today()
    held.synced()
    office = Client(plant.origin).sign_in("supervisor")
    office.pull()
    versions = {check["machine"]: office.docs[f"{LIST}/{one}"][1]["version"] for one, check in office.of_kind(LIST).items()}
    assert (versions[old.id], versions[new.id]) == (1, 1_001)


def lost_and_brought_back(plant: Plant, held: Phone, folder: Path) -> None:
    """What was acknowledged since the backup is on the phones, and they bring it back."""
    done(anlu(plant, "backup", str(folder / "backup")))
    office = Client(plant.origin).sign_in("supervisor")
    area = cranes(plant)[0].area
    go_to(held, f"/hazards/new?area={area}")
    held.type("snap-note", "备份之后报的护栏缺失")
    held.press("snap-send")
    held.by("hazard-state").wait_for()
    held.today()
    held.synced()
    plant.kill()
    shutil.rmtree(plant.folder / "data")
    done(anlu(plant, "restore", str(folder / "backup")))
    plant.start()
    held.page.reload()
    held.by("scan-key").or_(held.by("pin-1")).first.wait_for()
    if held.by("pin-1").is_visible():
        held.unlock()
    again = Client(plant.origin).sign_in("supervisor")
    ends = time.monotonic() + HEALED_SECONDS_MAX
    while "备份之后报的护栏缺失" not in [one.get("note") for one in again.of_kind("hazard").values()]:
        assert time.monotonic() < ends, "the phone has not brought back what it was told is kept"
        held.page.wait_for_timeout(500)
        again.pull()
    assert office.person == again.person
    plant.stop()
    assert "未发现改动" in done(anlu(plant, "verify"))
