"""Gloves, haste and a full phone: what is pressed twice is meant once, what was being kept stays, what is not sent is not called sent."""

import io
import re
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import FilePayload, expect

from tests.e2e.harness import HAND_MS, Phone, Plant
from tests.e2e.plants import Crane
from tests.e2e.test_checks import answer_ok, go_to, item_asked, picture_file, rest_is_normal

BOUNCE_MS = 130


def bounce(held: Phone, name: str) -> None:
    """A thumb that touches twice where it meant to touch once."""
    box = held.by(name).first.bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    held.page.mouse.click(x, y)
    held.page.wait_for_timeout(BOUNCE_MS)
    held.page.mouse.click(x, y)
    held.page.wait_for_timeout(700)


def begin(held: Phone, crane: Crane) -> None:
    held.sign_in("inspector")
    held.ready_offline()
    go_to(held, f"/t/{crane.code}")
    held.page.locator("[data-testid=begin-check], [data-testid=continue-check]").first.click()
    held.by("check-item").wait_for()


def place(held: Phone) -> int:
    return int(held.by("check-nth").locator("b").inner_text())


def plain(n: int) -> FilePayload:
    out = io.BytesIO()
    Image.new("RGB", (60, 40), (20 * n, 40, 80)).save(out, "PNG")
    return {"name": f"{n}.png", "mimeType": "image/png", "buffer": out.getvalue()}


def to_plain_item(held: Phone) -> None:
    """The next item that is answered by one press."""
    while held.by("wants-proof").count() or held.by("number-value").count():
        answer_ok(held)
        assert item_asked(held)


def test_a_thumb_that_bounces_answers_one_item_and_does_not_press_away_the_result(
    new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane]
) -> None:
    held = new_phone()
    begin(held, all_cranes[5])
    for _ in range(2):
        to_plain_item(held)
        before = place(held)
        held.page.locator('[data-testid="answer-ok"]:enabled').wait_for()
        bounce(held, "answer-ok")
        assert place(held) == before + 1

    while item_asked(held):
        answer_ok(held)
    held.page.wait_for_timeout(HAND_MS)
    bounce(held, "finish-check")
    expect(held.by("check-result")).to_be_visible()


def test_a_photo_that_is_still_being_kept_holds_its_sheet_and_outlives_a_step_back(
    new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane], tmp_path: Path
) -> None:
    held = new_phone()
    begin(held, all_cranes[6])
    held.page.evaluate(
        """() => {
          const open = window.createImageBitmap;
          window.createImageBitmap = async (...given) => { await new Promise((resolve) => setTimeout(resolve, 2500)); return open(...given); };
        }"""
    )
    held.press("answer-bad")
    held.by("photo-choose").set_input_files(picture_file(tmp_path))
    held.press("sheet-close")
    expect(held.by("bad-submit")).to_be_visible()
    held.page.go_back()
    held.page.wait_for_url(re.compile(r"/machines/"))
    held.page.wait_for_timeout(4_000)
    held.page.locator("[data-testid=continue-check]").first.click()
    held.press("answer-bad")
    expect(held.page.locator("dialog").get_by_test_id("photo")).to_have_count(1)

    # More than there is room for: said, not dropped in silence.
    held.page.reload()
    held.press("answer-bad")
    held.by("photo-choose").set_input_files(files=[plain(n) for n in range(10)])
    expect(held.page.locator("dialog [role=alert]")).to_contain_text("最多 9 张")
    expect(held.page.locator("dialog").get_by_test_id("photo")).to_have_count(9)


def test_a_file_that_is_no_photo_is_refused_in_words_at_once(new_phone: Callable[..., Phone], plant: Plant) -> None:
    held = new_phone()
    held.sign_in("inspector")
    held.press("report-hazard")
    empty: FilePayload = {"name": "空.jpg", "mimeType": "image/jpeg", "buffer": b""}
    held.by("photo-choose").set_input_files(files=[empty])
    expect(held.page.locator("main [role=alert]")).to_contain_text(re.compile("无法读取.*重新拍"))


def test_while_photos_wait_nothing_says_that_all_is_sent(
    new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane], tmp_path: Path
) -> None:
    held = new_phone()
    begin(held, all_cranes[7])
    held.context.route("**/api/media/uploads**", lambda route: route.abort())
    held.press("answer-bad")
    held.by("photo-choose").set_input_files(picture_file(tmp_path))
    expect(held.page.locator("dialog").get_by_test_id("photo")).to_have_count(1)
    held.press("bad-submit")
    rest_is_normal(held)
    held.today()
    expect(held.by("chip-photos")).to_be_visible()
    held.press("sync-chip")
    expect(held.by("outbox-empty")).to_have_count(0)
    expect(held.by("upload")).to_have_count(1)
    held.context.unroute("**/api/media/uploads**")
    held.today()
    held.synced()


def test_a_full_phone_opens_the_machine_that_was_scanned_and_says_that_words_are_not_kept(
    new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane]
) -> None:
    held = new_phone()
    held.sign_in("worker")
    held.ready_offline()
    # As a browser says it; when a quota is reached is the browser's own secret.
    held.page.evaluate(
        """() => {
          const put = IDBObjectStore.prototype.put;
          IDBObjectStore.prototype.put = function (...given) {
            if (this.name === "drafts") throw new DOMException("full", "QuotaExceededError");
            return put.apply(this, given);
          };
        }"""
    )
    go_to(held, f"/t/{all_cranes[1].code}")
    expect(held.by("machine-state")).to_be_visible()
    held.press("report-hazard")
    held.type("snap-note", "手机满了也要说")
    expect(held.by("toast")).to_contain_text("手机存储已满")
