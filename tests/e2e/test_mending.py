"""What a worker does when something went wrong on the way: each has a key to go on by, and nothing that was kept is lost by pressing it."""

from collections.abc import Callable

from playwright.sync_api import Route, expect

from tests.e2e.harness import Phone, Plant
from tests.e2e.plants import Crane
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
