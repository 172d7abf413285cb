"""The administrator brings a table at a desk: sees each bad cell, confirms, watches it come in; the phone shows what was imported."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.api.desk import MACHINE, xlsx
from tests.e2e.harness import Phone
from tests.e2e.test_screens import findings, go

DESK = {"viewport": {"width": 1280, "height": 800}, "device_scale_factor": 1, "is_mobile": False, "has_touch": False}
HAND = {"viewport": {"width": 360, "height": 800}}


def table(path: Path, name: str, count: int, *, bad: bool) -> Path:
    rows = [[f"{name}-{n:04}", f"{n}# 除尘风机", f"Dust fan {n}", "皮带输送机", "ZG", "C", None, None] for n in range(1, count + 1)]
    if bad:
        rows[4][4], rows[9][1], rows[14][5] = "QQ", None, "特别重要"
    rows.append(["ZG-PD-03", "3# 皮带输送机（北）", "Belt conveyor 3", "皮带输送机", "ZG", "A", None, None])
    path.write_bytes(xlsx([*MACHINE, "备注"], *rows))
    return path


def choose(held: Phone, file: Path) -> None:
    held.by("import-file").set_input_files(str(file))
    held.by("count-bad").wait_for()


def looked_at(held: Phone) -> None:
    """Light and dark. What the file says is in its own language, so Chinese among English is no finding here."""
    for theme in ("light", "dark"):
        held.page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
        held.page.wait_for_timeout(250)
        assert findings(held, "zh") == []


@pytest.mark.parametrize("size", [DESK, HAND], ids=["desk", "phone"])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_table_is_checked_corrected_and_taken_in(
    new_phone: Callable[..., Phone], tmp_path: Path, size: dict[str, Any], language: str
) -> None:
    held = new_phone(**size)
    held.sign_in("admin")
    held.press("nav-me")
    held.press(f"lang-{language}")
    held.press("open-import")
    held.press("import-machines")
    with held.page.expect_download() as download:
        held.press("import-template")
    assert download.value.suggested_filename == "anlu-machines-template.xlsx"
    name = f"{language}{size['viewport']['width']}"
    choose(held, table(tmp_path / "bad.xlsx", name, 40, bad=True))
    assert [one.get_attribute("data-cell") for one in held.page.locator("[data-cell]").all()] == ["E6", "B11", "F16"]
    choose(held, table(tmp_path / "good.xlsx", name, 40, bad=False))
    assert held.by("count-bad").inner_text() == "0"
    held.press("import-confirm")
    held.page.wait_for_selector('[data-testid="import-job"][data-state="done"]')
    held.press("import-again")
    choose(held, tmp_path / "good.xlsx")
    assert held.by("count-created").inner_text() == "0"
    assert not held.by("import-confirm").is_visible()


def test_the_screen_is_in_order_at_a_desk_and_on_a_phone(new_phone: Callable[..., Phone], tmp_path: Path) -> None:
    held = new_phone(**DESK)
    held.sign_in("admin")
    file = table(tmp_path / "register.xlsx", "look", 40, bad=True)
    for language in ("zh", "en"):
        held.page.evaluate("path => document.querySelector('#app').__vue_app__.config.globalProperties.$router.push(path)", "/me")
        held.press(f"lang-{language}")
        held.press("open-import")
        held.press("import-machines")
        for width, height in ((1280, 800), (360, 800), (412, 915)):
            held.page.set_viewport_size({"width": width, "height": height})
            choose(held, file)
            looked_at(held)
        held.page.set_viewport_size({"width": 1280, "height": 800})


def test_who_may_import_nothing_has_no_way_there(new_phone: Callable[..., Phone]) -> None:
    held = new_phone()
    held.sign_in("worker")
    held.press("nav-me")
    held.by("list-machine").wait_for()
    assert held.by("open-import").count() == 0


def test_what_was_taken_in_gets_its_tags_at_once_and_is_printed_with_names(new_phone: Callable[..., Phone], tmp_path: Path) -> None:
    held = new_phone(**DESK)
    held.sign_in("admin")
    held.press("nav-me")
    held.press("open-import")
    held.press("import-machines")
    choose(held, table(tmp_path / "tags.xlsx", "tags", 3, bad=False))
    held.press("import-confirm")
    held.page.wait_for_selector('[data-testid="import-job"][data-state="done"]')
    go(held, "/labels")
    held.press("labels-give")
    held.by("labels-give").wait_for(state="detached")
    with held.page.expect_download() as download:
        held.press("labels")
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF")
