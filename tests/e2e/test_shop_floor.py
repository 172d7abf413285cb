"""On the shop floor: the press at the start of a shift, a scanner on a belt, a photo from the gallery, and somebody who is not at home
here."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Playwright, expect

from tests.e2e.camera import rasterised, seen
from tests.e2e.harness import Phone, Plant, launch, phone
from tests.e2e.plants import Crane, label_of
from tests.e2e.test_screens import look

WECHAT = (
    "Mozilla/5.0 (Linux; Android 13; V2203A) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/116.0.0.0 Mobile Safari/537.36 "
    "MicroMessenger/8.0.44.2502 Weixin"
)


def scanned(held: Phone, text: str, gap_ms: int = 5) -> None:
    """Keys as a scanner sends them, Enter at the end: from inside the page, so that the machine's load makes no pauses."""
    held.page.evaluate(
        """async ([text, gap]) => {
          for (const key of [...text, 'Enter']) {
            const where = document.activeElement ?? document.body;
            where.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true, cancelable: true }));
            if (gap > 5) await new Promise(resolve => setTimeout(resolve, gap));
          }
        }""",
        [text, gap_ms],
    )


def test_one_press_tries_the_siren_for_this_shift_without_a_network_and_is_remembered(
    new_phone: Callable[..., Phone], plant: Plant
) -> None:
    held = new_phone()
    held.sign_in("inspector")
    held.ready_offline()
    held.offline()
    expect(held.by("siren")).to_have_attribute("data-state", "none")
    held.press("siren")
    expect(held.by("siren-sound")).to_have_attribute("data-ok", "true")
    expect(held.by("siren-locked")).to_contain_text("锁")
    held.press("siren-done")
    expect(held.by("siren")).to_have_attribute("data-state", "on")
    expect(held.by("siren")).to_have_text("警报已试")
    # The page anew: tested still, but it sounds only after a touch, and says so. Any touch will do.
    held.page.reload(wait_until="domcontentloaded")
    held.by("siren").or_(held.by("pin-1")).first.wait_for()
    expect(held.by("siren")).to_have_attribute("data-state", "asleep")
    held.page.get_by_role("heading", name="今天").click()
    expect(held.by("siren")).to_have_attribute("data-state", "on")
    held.offline(False)


SCREEN = """
window.held = [];
navigator.wakeLock.request = async () => {
  const lock = new EventTarget();
  lock.released = false;
  lock.release = async () => { lock.released = true; };
  window.held.push(lock);
  return lock;
};
window.buzzed = [];
navigator.vibrate = (pattern) => { window.buzzed.push(pattern); return true; };
"""
"""The screen's hold and the motor, as a phone has them: a browser without a screen gives neither."""


def test_the_press_buzzes_and_holds_the_screen_which_is_taken_again_wherever_the_page_is_seen_again(
    new_phone: Callable[..., Phone], plant: Plant
) -> None:
    held = new_phone()
    held.page.add_init_script(SCREEN)
    held.sign_in("inspector")
    held.press("siren")
    for name in ("sound", "vibration", "awake"):
        expect(held.by(f"siren-{name}")).to_have_attribute("data-ok", "true")
    assert held.page.evaluate("() => [window.buzzed.length, window.held.length]") == [1, 1]
    held.press("siren-done")
    held.press("nav-me")
    held.by("list-machine").wait_for()
    # Another app was in front: the system let go of the screen.
    held.page.evaluate(
        "() => { for (const lock of window.held) lock.released = true; document.dispatchEvent(new Event('visibilitychange')); }"
    )
    held.page.wait_for_function("() => window.held.length === 2 && !window.held[1].released")
    # Whoever locks the space lets it rest.
    held.press("lock-now")
    held.by("pin-1").wait_for()
    held.page.wait_for_function("() => window.held.every(lock => lock.released)")


def test_what_was_tried_counts_for_whoever_pressed_and_for_nobody_else(new_phone: Callable[..., Phone], plant: Plant) -> None:
    held = new_phone()
    held.sign_in("inspector")
    held.press("siren")
    held.press("siren-done")
    held.page.goto(plant.origin + "/me")
    held.press("sign-out")
    held.by("sign-out-confirm").or_(held.by("sign-in-username")).first.wait_for()
    if held.by("sign-out-confirm").is_visible():
        held.press("sign-out-confirm")
    held.open("/sign-in?other=1")
    held.sign_in("guardian")
    expect(held.by("siren")).to_have_attribute("data-state", "none")
    # What was on its way when the first session ended was refused, as it must be.
    held.errors[:] = [error for error in held.errors if not error.startswith("401 ")]


def test_a_scanner_that_types_opens_the_machine_from_any_screen(
    new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane]
) -> None:
    held = new_phone()
    held.sign_in("inspector")
    scanned(held, f"{plant.origin}/t/{all_cranes[0].code}")
    held.by("machine-state").wait_for()
    held.today()
    # A key of the screen has the focus: the scan's Enter must not press it.
    held.by("siren").focus()
    scanned(held, all_cranes[1].code)
    held.by("machine-state").wait_for()
    expect(held.by("siren-found")).to_have_count(0)


def test_a_person_who_types_is_left_alone(new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane]) -> None:
    held = new_phone()
    held.sign_in("inspector")
    scanned(held, all_cranes[0].code, gap_ms=90)
    held.page.wait_for_timeout(300)
    assert held.page.url == plant.origin + "/"
    held.press("report-hazard")
    box = held.page.locator('[data-testid="snap-note"] textarea')
    box.focus()
    held.page.keyboard.type(f"{all_cranes[0].code}\n", delay=0)
    held.page.wait_for_timeout(300)
    assert held.page.url.endswith("/hazards/new")
    assert box.input_value().startswith(all_cranes[0].code)


@pytest.fixture
def blind(playwright: Playwright, plant: Plant) -> Iterator[Phone]:
    """A phone whose camera does not open, somebody signed in."""
    browser = launch(playwright)
    with phone(browser, plant.origin) as held:
        held.sign_in("inspector")
        yield held
        assert held.errors == []
    browser.close()


def gallery(label: Image.Image, folder: Path, *, light: float = 0.9, blur: float = 0.8) -> Path:
    """A photo of 12 megapixels that lies on its side, as phones keep them, the tag small in it."""
    small = seen(label, turned=12, light=light, blur=blur)
    whole = Image.new("RGB", (4032, 3024), (60, 62, 60))
    whole.paste(small, (1500, 1300))
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    whole.transpose(Image.Transpose.ROTATE_90).save(out, "JPEG", quality=85, exif=exif)
    file = folder / "gallery.jpg"
    file.write_bytes(out.getvalue())
    return file


def test_a_large_turned_photo_from_the_gallery_is_read_on_the_phone_without_a_network(blind: Phone, plant: Plant, tmp_path: Path) -> None:
    held = blind
    held.ready_offline()
    held.offline()
    held.press("scan-key")
    held.by("scan-photo").set_input_files(gallery(rasterised(label_of(plant)[1]), tmp_path))
    held.by("machine-state").wait_for()
    held.offline(False)


def test_what_the_phone_cannot_read_the_server_reads(blind: Phone, plant: Plant, tmp_path: Path) -> None:
    held = blind
    # This browser opens no pictures, as an old one does with what a new camera writes.
    held.page.add_init_script("window.createImageBitmap = () => Promise.reject(new Error('no decoder'));")
    held.page.reload(wait_until="domcontentloaded")
    held.by("scan-key").wait_for()
    held.press("scan-key")
    with held.page.expect_response("**/api/equipment/read-tag") as answer:
        held.by("scan-photo").set_input_files(gallery(rasterised(label_of(plant)[1]), tmp_path))
    assert answer.value.status == 200
    held.by("machine-state").wait_for()


@pytest.mark.parametrize("agent", [WECHAT, None], ids=["wechat", "browser"])
def test_a_passer_by_is_led_into_anlu_and_may_say_what_they_saw(
    new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane], agent: str | None
) -> None:
    held = new_phone(**({"user_agent": agent} if agent else {}))
    held.open(f"/t/{all_cranes[2].code}")
    expect(held.by("passer-lead")).to_have_attribute("data-host", "wechat" if agent else "browser")
    expect(held.page.locator("h1")).not_to_have_text("安炉标牌")
    held.type("passer-text", "护栏松了，一推就晃")
    # A call comes in, the window is gone; what was typed is not.
    held.page.reload(wait_until="domcontentloaded")
    expect(held.page.locator('[data-testid="passer-text"] textarea')).to_have_value("护栏松了，一推就晃")
    held.press("passer-send")
    held.by("passer-sent").wait_for()
    if agent is None:
        held.press("passer-sign-in")
        held.by("sign-in-username").wait_for()


def test_those_who_answer_for_the_area_see_what_a_passer_by_said(
    new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane]
) -> None:
    stranger = new_phone()
    stranger.open(f"/t/{all_cranes[2].code}")
    stranger.type("passer-text", "滑轮有怪声，停不下来")
    stranger.type("passer-contact", "小王 13900000000")
    stranger.press("passer-send")
    stranger.by("passer-sent").wait_for()
    held = new_phone()
    held.sign_in("supervisor")
    held.press("open-hazards")
    held.page.get_by_text("滑轮有怪声，停不下来").first.click()
    held.by("hazard-state").wait_for()
    expect(held.page.locator("dl.facts")).to_contain_text("路人")
    expect(held.page.locator("dl.facts")).to_contain_text("13900000000")


@pytest.mark.parametrize("size", [(360, 800), (412, 915)], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_screens_of_the_shop_floor_are_clean(
    new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane], size: tuple[int, int], language: str
) -> None:
    held = new_phone(viewport={"width": size[0], "height": size[1]}, user_agent=WECHAT)
    held.open("/sign-in")
    held.page.evaluate("language => localStorage.setItem('anlu.lang', language)", language)
    held.open(f"/t/{all_cranes[3].code}")
    held.by("passer-text").wait_for()
    said = look(held, language, "a passer-by")
    held.press("passer-send")
    said += look(held, language, "a passer-by with too few words")
    held.open("/sign-in")
    held.sign_in("inspector")
    said += look(held, language, "Today before the press")
    held.press("siren")
    held.by("siren-found").wait_for()
    said += look(held, language, "what the press found")
    held.press("siren-done")
    said += look(held, language, "Today after the press")
    assert said == []
