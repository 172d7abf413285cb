"""What a worker does when something went wrong on the way: each has a key to go on by, and nothing that was kept is lost by pressing it."""

from collections.abc import Callable

from playwright.sync_api import Route, expect

from tests.e2e.client import Client
from tests.e2e.harness import Phone, Plant
from tests.e2e.plants import Crane, known
from tests.e2e.test_rough_hands import plain

CAMERA = False


def report(held: Phone, area: str, note: str) -> None:
    held.today()
    held.press("report-hazard")
    held.press("snap-area")
    held.press(f"option-{area}")
    held.type("snap-note", note)


def test_a_photo_that_the_server_will_never_take_is_taken_again_or_left_out(
    new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane]
) -> None:
    held = new_phone()
    held.sign_in("worker")

    def refuse(route: Route) -> None:
        route.fulfill(status=422, content_type="application/json", body='{"code": "media.broken"}')

    held.context.route("**/api/media/uploads", refuse)
    for n, note in enumerate(("护栏缺失", "照明损坏")):
        report(held, all_cranes[0].area, note)
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
    held.press("snap-send")
    held.by("hazard-state").wait_for()
    report(held, all_cranes[0].area, "写了一半")
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
    held.press("snap-send")
    held.by("hazard-state").wait_for()
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
    held.page.wait_for_function(f"async () => (await ({DRAFTS})()).includes('sha256')")
    held.page.evaluate("() => document.querySelector('#app').__vue_app__.config.globalProperties.$router.push('/k/machine/new')")
    expect(held.by("photo")).to_have_count(1)
