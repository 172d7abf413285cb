"""What a worker does when something went wrong on the way: each has a key to go on by, and nothing that was kept is lost by pressing it."""

import io
import os
from collections.abc import Callable

from PIL import Image
from playwright.sync_api import FilePayload, Route, expect

from tests.e2e.client import Client
from tests.e2e.harness import Phone, Plant
from tests.e2e.plants import Crane, known
from tests.e2e.test_outbox import begin_report, report, send_report
from tests.e2e.test_rough_hands import plain

CAMERA = False


def until(held: Phone, asked: str, answer: bool) -> None:
    """Ask the page until it answers so: it may have to wait for something itself, which `wait_for_function` would not."""
    for _ in range(240):
        if held.page.evaluate(asked) is answer:
            return
        held.page.wait_for_timeout(250)
    raise AssertionError(f"never {answer}: {asked}")


def test_a_photo_that_the_server_will_never_take_is_taken_again_or_left_out(
    new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane]
) -> None:
    held = new_phone()
    held.sign_in("worker")

    def refuse(route: Route) -> None:
        route.fulfill(status=422, content_type="application/json", body='{"code": "media.broken"}')

    held.context.route("**/api/media/uploads", refuse)
    for n, note in enumerate(("护栏缺失", "照明损坏")):
        begin_report(held, all_cranes[0].area, note)
        held.by("photo-choose").set_input_files(files=[plain(n)])
        expect(held.by("photo")).to_have_count(1)
        held.press("snap-send")
        held.by("hazard-state").wait_for()
        held.today()
        held.page.wait_for_selector('[data-testid="sync-chip"].refused')
        held.press("sync-chip")
        failed = held.by("failed-photo")
        expect(failed).to_have_count(1)
        expect(failed).to_have_attribute("data-code", "media.broken")
        expect(failed).to_contain_text("已损坏")
        if n == 0:
            held.context.unroute("**/api/media/uploads")
            held.by("photo-again").set_input_files(files=[plain(5)])
        else:
            held.press("photo-aside")
        expect(failed).to_have_count(0)
        held.today()
        held.synced()
        held.press("open-hazards")
        held.page.get_by_text(note).first.click()
        expect(held.by("hazard-photos").get_by_test_id("photo")).to_have_count(2 - n)
        held.today()
        held.context.route("**/api/media/uploads", refuse)
    held.errors[:] = [error for error in held.errors if not error.startswith("422 ")]


def test_what_was_refused_is_mended_beside_what_was_being_typed_and_neither_is_lost(
    new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane]
) -> None:
    office = Client(plant.origin).sign_in("admin")
    office.pull()
    worker = f"person/{known(plant.origin, 'worker').person}"
    roles = office.docs[worker][1]["fields"]["roles"][0]

    def give(roles: list[dict[str, str]]) -> None:
        office.pull()
        office.act(worker, "assign_roles", {"roles": roles})
        assert [verdict["state"] for verdict in office.push()] == ["ok"]

    held = new_phone()
    held.sign_in("worker")
    held.ready_offline()
    held.offline()
    report(held, all_cranes[0].area, "平台有油")
    begin_report(held, all_cranes[0].area, "写了一半")
    give([])
    try:
        held.offline(False)
        held.today()
        held.page.wait_for_selector('[data-testid="sync-chip"].refused')
        note = held.page.locator('[data-testid="snap-note"]:is(input, textarea), [data-testid="snap-note"] :is(input, textarea)')
        held.press("sync-chip")
        held.press("mend")
        expect(note).to_have_value("平台有油")
        held.type("snap-note", "平台有油，已隔开")
        held.press("back")
        held.press("mend")
        expect(note).to_have_value("平台有油，已隔开")
    finally:
        give(roles)
    held.today()
    held.press("report-hazard")
    expect(note).to_have_value("写了一半")
    held.today()
    held.press("sync-chip")
    held.press("send-now")
    held.press("mend")
    expect(held.by("snap-send")).to_be_enabled()
    send_report(held)
    held.today()
    held.synced()
    held.press("report-hazard")
    expect(note).to_have_value("写了一半")
    office.pull()
    found = [one.get("note") for one in office.of_kind("hazard").values()]
    assert "平台有油，已隔开" in found
    assert "平台有油" not in found


DRAFTS = """
() => new Promise((resolve, reject) => {
  const opening = indexedDB.open('anlu-device');
  opening.onerror = () => reject(opening.error);
  opening.onsuccess = () => {
    const asked = opening.result.transaction('drafts').objectStore('drafts').getAll();
    asked.onsuccess = () => { opening.result.close(); resolve(JSON.stringify(asked.result)); };
  };
})
"""


def test_a_photo_that_is_still_being_kept_when_any_form_is_left_is_there_when_it_is_opened_again(
    new_phone: Callable[..., Phone], plant: Plant
) -> None:
    held = new_phone()
    held.sign_in("admin")
    held.page.evaluate(
        """() => {
          const open = window.createImageBitmap;
          window.createImageBitmap = async (...given) => { window.asked = true; while (!window.goOn) await new Promise((resolve) => setTimeout(resolve, 50)); return open(...given); };
        }"""
    )
    held.press("nav-me")
    held.press("list-machine")
    held.page.evaluate("() => document.querySelector('#app').__vue_app__.config.globalProperties.$router.push('/k/machine/new')")
    held.by("photo-choose").set_input_files(files=[plain(1)])
    expect(held.page.get_by_text("保存中")).to_be_visible()
    held.page.wait_for_function("() => window.asked")
    held.press("back")
    held.by("form-submit").wait_for(state="detached")
    held.page.evaluate("() => { window.goOn = true; }")
    until(held, f"async () => (await ({DRAFTS})()).includes('sha256')", True)
    held.page.evaluate("() => document.querySelector('#app').__vue_app__.config.globalProperties.$router.push('/k/machine/new')")
    expect(held.by("photo")).to_have_count(1)


def noise(n: int) -> FilePayload:
    """A photo that cannot be made small."""
    out = io.BytesIO()
    Image.frombytes("RGB", (1400, 1000), os.urandom(1400 * 1000 * 3)).save(out, "JPEG", quality=85)
    return {"name": f"{n}.jpg", "mimeType": "image/jpeg", "buffer": out.getvalue()}


NO_ROOM = """
() => new Promise((resolve) => {
  const opening = indexedDB.open('probe');
  opening.onerror = () => resolve(true);
  opening.onupgradeneeded = () => opening.result.createObjectStore('one');
  opening.onsuccess = () => {
    const writing = opening.result.transaction('one', 'readwrite');
    const end = (full) => { opening.result.close(); resolve(full); };
    writing.oncomplete = () => end(false);
    writing.onabort = () => end(true);
    writing.objectStore('one').put('x'.repeat(2_000_000), 1);
  };
})
"""


def test_a_phone_without_room_says_so_loses_nothing_and_goes_on_when_there_is_room(
    new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane]
) -> None:
    held = new_phone()
    held.sign_in("worker")
    held.ready_offline()
    held.offline()
    report(held, all_cranes[0].area, "先写的")
    browser = held.context.new_cdp_session(held.page)
    browser.send("Storage.overrideQuotaForOrigin", {"origin": held.origin, "quotaSize": 100_000})
    # Chromium asks for the quota anew only now and then.
    until(held, NO_ROOM, True)

    begin_report(held, all_cranes[0].area, "后写的")
    held.by("photo-choose").set_input_files(files=[noise(1)])
    expect(held.page.locator("main [role=alert]")).to_contain_text("手机存储已满")
    expect(held.page.locator("main [role=alert]")).to_contain_text("请删除手机里不用的照片或应用")
    expect(held.by("photo")).to_have_count(0)

    browser.send("Storage.overrideQuotaForOrigin", {"origin": held.origin})
    until(held, NO_ROOM, False)
    held.by("photo-choose").set_input_files(files=[noise(2)])
    expect(held.by("photo")).to_have_count(1)
    send_report(held)
    held.offline(False)
    held.today()
    held.synced(60)
    office = Client(plant.origin).sign_in("admin")
    office.pull()
    notes = [one.get("note") for one in office.of_kind("hazard").values()]
    assert (notes.count("先写的"), notes.count("后写的")) == (1, 1)


def test_a_phone_whose_data_was_cleared_under_the_open_app_says_what_is_gone_and_asks_for_a_sign_in(
    new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane]
) -> None:
    held = new_phone()
    held.sign_in("worker")
    held.ready_offline()
    held.offline()
    report(held, all_cranes[0].area, "没有发出")
    held.context.new_cdp_session(held.page).send("Storage.clearDataForOrigin", {"origin": held.origin, "storageTypes": "indexeddb"})
    lost = held.by("lost")
    expect(lost).to_contain_text("数据被清除")
    expect(lost).to_contain_text("1 条")
    # What was under way when the ground went away breaks off; nothing else may.
    held.errors.clear()
    held.page.reload()
    held.by("sign-in-username").wait_for()
    held.offline(False)
    held.sign_in("worker")
    expect(held.by("lost")).to_have_count(0)


def test_a_retired_phone_says_so_and_whom_to_ask(new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane]) -> None:
    held = new_phone()
    held.sign_in("worker")
    office = Client(plant.origin).sign_in("admin")
    person = known(plant.origin, "worker").person
    mine = [one["number"] for one in office.http.get("/api/devices").json()["devices"] if one["person"] == person]
    held.page.evaluate("() => document.querySelector('#app').__vue_app__.config.globalProperties.$router.push('/me')")
    for number in mine:
        assert office.http.post(f"/api/devices/{number}/retire").status_code == 204
    held.today()
    held.press("sync-chip")
    held.press("send-now")
    banner = held.by("banner-trouble")
    expect(banner).to_have_attribute("data-code", "auth.device_retired")
    expect(banner).to_contain_text("这部手机已被停用")
    expect(banner).to_contain_text("导出")
    held.errors[:] = [error for error in held.errors if not error.startswith(("401 ", "403 "))]
