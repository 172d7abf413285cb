"""The desk, at a screen of 1280 × 800: whoever manages the plant makes a person, moves an area on the plan, has a limit changed by two, looks
at a check list, fills the roster and reads who said what. Every screen of it is clean in both languages and themes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Locator, expect

from backend.flow.load import plant_limits
from backend.kernel.ids import derived
from tests.e2e.client import Client
from tests.e2e.harness import Phone, Plant
from tests.e2e.test_screens import findings, go

DESK = {"viewport": {"width": 1280, "height": 800}, "device_scale_factor": 1, "is_mobile": False, "has_touch": False}
LIMIT = next(name for name, fields in plant_limits().items() if fields.get("value") is None)
"""One that the plant has not set yet."""
LIMIT_ID = derived(f"limit:{LIMIT}")


@pytest.fixture
def drawing(tmp_path: Path) -> Path:
    """A plan of the plant, drawn here; each test has one of its own."""
    image = Image.new("RGB", (1600, 900), "#eef1ee")
    draw = ImageDraw.Draw(image)
    for x, y, wide, high in ((80, 80, 520, 260), (680, 80, 420, 200), (80, 420, 380, 380), (560, 360, 540, 420), (1160, 80, 360, 700)):
        draw.rectangle([x, y, x + wide, y + high], fill="#d7ded9", outline="#5d6a66", width=5)
    draw.text((20, 20), tmp_path.name, fill="#12171a")
    image.save(tmp_path / "plan.png")
    return tmp_path / "plan.png"


def at(held: Phone, path: str, name: str) -> None:
    """On to a screen of the desk, and wait until it stands."""
    go(held, path)
    held.by(name).first.wait_for()


def seen(plant: Plant, kind: str) -> dict[str, dict[str, Any]]:
    """What the server has of a kind, as the administrator may pull it: values, and the items of each set as they came."""
    client = Client(plant.origin).sign_in("admin")
    client.pull()
    found = {}
    for key, (_, body) in client.docs.items():
        if key.startswith(f"{kind}/"):
            sets = {name: [item for item, *_ in sorted(items.values(), key=lambda one: one[1])] for name, items in body["sets"].items()}
            found[key.partition("/")[2]] = {name: value for name, (value, *_) in body["fields"].items()} | sets
    return found


def upload_plan(held: Phone, drawing: Path, name: str) -> None:
    at(held, "/desk/areas", "screen-areas")
    held.press("plan-new")
    names = held.by("f-title").locator("input")
    names.nth(0).fill(f"{name}图")
    names.nth(1).fill(name)
    held.by("photo-choose").set_input_files(str(drawing))
    held.by("photo").wait_for()
    held.press("form-submit")
    held.by("f-title").wait_for(state="detached")


def put(held: Phone, code: str, x: float, y: float) -> Locator:
    """An area of the row below onto the plan."""
    held.press(f"place-{code}")
    box = held.by("plan").bounding_box()
    assert box
    held.page.mouse.click(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
    marker = held.by(f"marker-{code}")
    marker.wait_for()
    return marker


def test_the_administrator_works_at_the_desk(new_phone: Callable[..., Phone], plant: Plant, drawing: Path) -> None:
    held = new_phone(**DESK)
    held.sign_in("admin")
    held.press("nav-me")
    held.press("open-desk")
    held.by("screen-people").wait_for()

    # A person is made, stands in the table at once, and is found among the others.
    held.press("desk-new")
    names = held.by("f-names").locator("input")
    names.nth(0).fill("吴天车")
    names.nth(1).fill("Wu Tianche")
    held.by("f-number").locator("input").fill("20777")
    held.press("form-submit")
    expect(held.by("facts")).to_contain_text("20777")
    held.type("desk-search", "20777")
    expect(held.by("desk-row")).to_have_count(1)
    held.press("desk-reset")
    held.by("filter-role").select_option("safety")
    expect(held.by("desk-row")).to_have_count(1)
    held.by("filter-role").select_option("")
    held.synced()

    # Their history: begun, by whom, on which phone, by both clocks.
    held.type("desk-search", "20777")
    expect(held.by("desk-row")).to_have_count(1)
    held.press("desk-row")
    held.press("pane-history")
    line = held.by("history-line")
    expect(line).to_have_count(1)
    expect(line).to_contain_text("孙丽")
    expect(line).to_contain_text("吴天车")
    for clock in ("claimed", "arrived"):
        expect(line.get_by_test_id(clock)).to_contain_text("20")

    # An area is put on the plan, dragged, and moved by the arrow keys; the server has where it stands.
    upload_plan(held, drawing, "Riverside works")
    expect(held.by("plan")).to_have_attribute("data-here", "yes")
    marker = put(held, "LG", 0.25, 0.25)
    box, plan = marker.bounding_box(), held.by("plan").bounding_box()
    assert box
    assert plan
    held.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    held.page.mouse.down()
    held.page.mouse.move(plan["x"] + plan["width"] * 0.5, plan["y"] + plan["height"] * 0.4, steps=6)
    held.page.mouse.move(plan["x"] + plan["width"] * 0.6, plan["y"] + plan["height"] * 0.5, steps=6)
    held.page.mouse.up()
    marker.click()
    expect(held.by("area-spot")).to_contain_text("60%")
    marker.focus()
    for _ in range(5):
        held.page.keyboard.press("ArrowLeft")
    expect(held.by("area-spot")).to_contain_text("55%")
    held.synced()
    spots = next(iter(seen(plant, "plan").values()))["spots"]
    assert (spots[-1]["x"], spots[-1]["y"]) == (pytest.approx(0.55, abs=0.01), pytest.approx(0.5, abs=0.01))
    assert len(spots) == 3, "put, dragged and moved by keys: three things said"

    # A check list is looked at as on a phone; nothing of it is kept.
    before = len(seen(plant, "check.overhead_crane"))
    at(held, "/desk/checklists/check.overhead_crane", "preview")
    first = held.by("preview-item").get_attribute("data-item")
    held.press("preview-ok")
    held.press("preview-bad")
    expect(held.by("preview-at")).to_contain_text("3")
    held.press("preview-back")
    held.press("preview-back")
    expect(held.by("preview-item")).to_have_attribute("data-item", str(first))
    held.press("list-items")
    expect(held.by("items").locator("li")).to_have_count(18)
    assert len(seen(plant, "check.overhead_crane")) == before

    # The roster of a week to come: one cell is filled, the next week's gaps are filled from it.
    at(held, "/desk/roster", "roster-grid")
    for _ in range(12):
        held.press("week-after")
    held.by("roster-area").select_option(index=1)
    cell = held.page.locator('[data-testid^="cell-inspector-day-"]').first
    name = str(cell.get_attribute("data-testid"))
    cell.click()
    for option in held.page.locator('dialog [data-testid^="option-"]').all()[:2]:
        option.click()
    held.press("choose-done")
    expect(held.by(name)).to_have_attribute("data-count", "2")
    # One of them is taken out, then everybody; then both are on duty again.
    for keys, count in ((("option", "choose-done"), "1"), (("choose-none",), "0"), (("option", "option", "choose-done"), "2")):
        held.press(name)
        for n, key in enumerate(keys):
            if key == "option":
                held.page.locator('dialog [data-testid^="option-"]').nth(n).click()
            else:
                held.press(key)
        expect(held.by(name)).to_have_attribute("data-count", count)
    held.press("week-after")
    expect(held.by(name)).to_have_count(0)
    held.press("copy-week")
    expect(held.page.locator('[data-testid^="cell-inspector-day-"]').first).to_have_attribute("data-count", "2")
    held.synced()
    date = name.removeprefix("cell-inspector-day-")
    lines = [
        line
        for roster in seen(plant, "roster").values()
        for line in roster.get("duties", [])
        if line["date"] == date and line["shift"] == "day"
    ]
    assert [len(line["persons"]) for line in lines] == [2, 1, 0, 2]

    # The ledger's reader: the plan as any other document.
    at(held, "/desk/ledger/plan", "desk-row")
    held.press("desk-row")
    expect(held.by("history-line")).to_have_count(4)
    assert [one.get_attribute("data-verb") for one in held.by("history-line").all()] == ["add", "add", "add", "new"]


def test_a_limit_is_changed_by_two_persons_and_never_by_one(new_phone: Callable[..., Phone], plant: Plant) -> None:
    admin, safety = new_phone(**DESK), new_phone(**DESK)
    admin.sign_in("admin")
    safety.sign_in("safety")
    for held in (admin, safety):
        at(held, f"/desk/limits/{LIMIT_ID}", "limit")
    expect(admin.by("limit-affects").locator("li")).not_to_have_count(0)
    admin.press("act-propose")
    admin.by("f-value").locator("input").fill("80")
    admin.by("f-reason").locator("input, textarea").fill("measured in October")
    admin.press("form-submit")
    # Whoever proposed it is told that somebody else decides, and has no key for it.
    admin.by("own-proposal").wait_for()
    assert admin.by("act-confirm").count() == 0
    admin.press("act-more")
    expect(admin.page.locator("dialog").get_by_test_id("act-confirm")).to_have_attribute("aria-disabled", "true")
    admin.press("sheet-close")
    admin.synced()
    # The other one sees it come, and confirms.
    safety.by("limit-proposal").wait_for()
    expect(safety.by("limit-proposal")).to_contain_text("measured in October")
    safety.press("act-confirm")
    safety.page.locator("dialog").get_by_test_id("act-confirm").click()
    expect(safety.by("limit-value")).to_contain_text("80")
    safety.synced()
    # The first one reads what became of it, and who did it.
    expect(admin.by("limit-value")).to_contain_text("80")
    kept = admin.by("limit-changes").locator('[data-what="confirmed"]')
    expect(kept).to_contain_text("measured in October")
    expect(kept).to_contain_text("陈静")
    admin.press("pane-history")
    expect(admin.page.locator('[data-testid="history-line"][data-name="confirm"]')).to_contain_text("陈静")
    expect(admin.page.locator('[data-testid="history-line"][data-name="propose"]')).to_contain_text("孙丽")
    assert seen(plant, "limit")[LIMIT_ID]["value"] == 80


SCREENS = {
    "/desk/people": "desk-row",
    "/desk/people/new": "form-submit",
    "/desk/machines": "desk-row",
    "/desk/tags": "desk-row",
    "/desk/areas?view=list": "desk-row",
    "/desk/areas": "screen-areas",
    "/desk/limits": "desk-row",
    f"/desk/limits/{LIMIT_ID}": "limit",
    f"/desk/limits/{LIMIT_ID}/history": "history-line",
    "/desk/checklists/check.overhead_crane": "preview",
    "/desk/checklists/check.overhead_crane?view=items": "items",
    "/desk/roster": "roster-grid",
    "/desk/devices": "desk-row",
    "/desk/ledger": "screen-ledger",
    "/desk/import": "import-template",
}
LOOKS = {"zh": "dark", "en": "light"}
"""What a theme changes (contrast) and what a language changes (length) do not touch each other: each is seen once with the other."""


def test_every_screen_of_the_desk_is_in_order(new_phone: Callable[..., Phone], plant: Plant, drawing: Path) -> None:
    held = new_phone(**DESK)
    held.sign_in("admin")
    upload_plan(held, drawing, "Works")
    typed = "".join(str(person.get("employer", "")) for person in seen(plant, "person").values())
    typed += "".join(str(machine.get("number", "")) for machine in seen(plant, "machine").values())
    typed += "".join(str(hazard.get("note", "")) for hazard in seen(plant, "hazard").values())
    said: list[str] = []
    for language, theme in LOOKS.items():
        if language == "en":
            held.press("desk-lang")
            held.page.wait_for_function("() => document.documentElement.lang === 'en'")
        held.page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
        for path, name in SCREENS.items():
            at(held, path, name)
            if path.endswith(("/people", "/machines", "/tags", "/areas?view=list")):
                held.press("desk-row")
                held.by("facts").wait_for()
            found = findings(held, language)
            said += [f"{path} ({language}): {one}" for one in found if one.rpartition(": ")[2] not in typed or "Chinese" not in one]
    assert said == []


SMALL = {"tablet": (768, 1024), "phone": (390, 844)}


def test_on_a_small_screen_the_desk_shows_one_thing_at_a_time(new_phone: Callable[..., Phone], plant: Plant, drawing: Path) -> None:
    held = new_phone(**DESK)
    held.sign_in("admin")
    upload_plan(held, drawing, "Works")
    said: list[str] = []
    for name, (width, height) in SMALL.items():
        held.page.set_viewport_size({"width": width, "height": height})
        for path, shows in SCREENS.items():
            at(held, path, shows)
            said += [f"{path} ({name}): {one}" for one in findings(held, "zh")]
        # What was chosen stands in the list's place, at the top; closed, the list is there again.
        at(held, "/desk/limits", "desk-row")
        held.press("desk-row")
        expect(held.by("limit-value")).to_be_in_viewport()
        expect(held.by("desk-table")).to_be_hidden()
        held.press("pane-close")
        expect(held.by("desk-row").first).to_be_in_viewport()
        expect(held.by("desk-limits")).to_be_in_viewport()
    assert said == []


def test_the_desk_is_not_for_a_worker(new_phone: Callable[..., Phone]) -> None:
    held = new_phone(**DESK)
    held.sign_in("worker")
    held.press("nav-me")
    held.by("list-machine").wait_for()
    assert held.by("open-desk").count() == 0
    go(held, "/desk")
    held.by("desk-leave").wait_for()
    assert held.by("screen-people").count() == 0
