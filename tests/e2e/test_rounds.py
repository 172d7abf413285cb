"""A round walked where there is no network, one stop of it missed: the phone's own word at once, the plant's when the network returns."""

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import expect

from backend.demo import area_id, person_id, point_code, route_id, tag_code
from tests.e2e.client import Client
from tests.e2e.harness import Phone, Plant

AT_THE_CRANES = {"latitude": 31.40518, "longitude": 121.43880, "accuracy": 12}
FAR_AWAY = {"latitude": 31.41, "longitude": 121.45, "accuracy": 15}
CRANES = route_id("cranes")
WHY = "罐在检修，吊走了"
CAMERA = False


def scan(held: Phone, code: str) -> None:
    """A tag read by hand, from the camera's screen."""
    held.press("type-code")
    held.type("typed-code", code)
    held.press("typed-code-go")


def due_round(client: Client) -> tuple[str, dict[str, Any]]:
    """The cranes' round of this shift."""
    client.pull()
    found = {one: r for one, r in client.of_kind("round").items() if r["route"] == CRANES and r["status"] == "due"}
    return min(found.items(), key=lambda item: item[1]["begins_at"])


def test_a_round_walked_without_a_network_with_one_stop_missed_is_the_supervisor_s_to_see(
    new_phone: Callable[..., Phone], plant: Plant
) -> None:
    office = Client(plant.origin).sign_in("supervisor")
    round_id, planned = due_round(office)
    assert planned["assignees"] == [person_id("inspector")]
    assert planned["area"] == area_id("steelmaking")
    inspector = new_phone(geolocation=AT_THE_CRANES, timezone_id="America/New_York")
    inspector.sign_in("inspector")
    inspector.ready_offline()

    # The plant's own time stands on the screen, whatever zone the phone is set to.
    expect(inspector.page.locator("header")).to_contain_text(re.compile("08:00–20:00|20:00–08:00"))

    inspector.offline()
    inspector.page.locator(f'a[href$="/rounds/{round_id}"]').click()
    expect(inspector.by("round-count")).to_have_text(re.compile(r"^0"))
    inspector.press("round-scan")
    scan(inspector, tag_code("LG-QZ-03"))
    expect(inspector.by("stop-3")).to_have_attribute("data-state", "reached")

    # A tag of the round that is scanned from anywhere counts; too far away is flagged, and never refused.
    inspector.context.set_geolocation(FAR_AWAY)
    inspector.today()
    inspector.page.wait_for_timeout(15_500)  # a place asked for lately serves for 15 s
    inspector.press("scan-key")
    scan(inspector, point_code("gate"))
    expect(inspector.by("stop-5")).to_have_attribute("data-state", "flagged")
    expect(inspector.by("stop-5")).to_contain_text(re.compile(r"1\d{3} 米"))

    # The app is closed and opened again: nothing is gone.
    inspector.page.reload()
    expect(inspector.by("round-count")).to_have_text(re.compile(r"^2"))

    # Questions, with answers that are not normal.
    inspector.press("round-scan")
    scan(inspector, tag_code("LG-QZ-02"))
    inspector.by("question-oil").get_by_role("button", name="是", exact=True).click()
    inspector.page.locator('[data-testid="question-temp"] input').fill("82")
    inspector.press("questions-submit")
    expect(inspector.by("stop-2")).to_contain_text("2 项异常")

    # One stop cannot be reached.
    inspector.press("skip-4")
    inspector.type("skip-reason", WHY)
    inspector.press("skip-submit")
    expect(inspector.by("stop-4")).to_have_attribute("data-state", "skipped")

    # The check list of the last stop is begun and linked.
    inspector.press("round-scan")
    scan(inspector, tag_code("LG-QZ-01"))
    inspector.by("check-item").wait_for()
    inspector.page.evaluate(
        "path => document.querySelector('#app').__vue_app__.config.globalProperties.$router.push(path)", f"/rounds/{round_id}"
    )
    expect(inspector.by("round-count")).to_have_text(re.compile(r"^4"))
    inspector.press("round-finish")
    inspector.press("finish-confirm")
    expect(inspector.by("round-state")).to_have_attribute("data-status", "done_with_misses")
    expect(inspector.by("pending").first).to_be_visible()

    office.pull()
    assert office.of_kind("round")[round_id]["status"] == "due"

    # The network returns. Nobody presses anything.
    inspector.offline(False)
    inspector.synced()
    office.pull()
    walked = office.of_kind("round")[round_id]
    assert walked["status"] == "done_with_misses"
    assert walked["walker"] == person_id("inspector")
    visits = {entry[0]["stop"]: entry[0] for entry in office.docs[f"round/{round_id}"][1]["sets"]["visits"].values()}
    assert set(visits) == {"1", "2", "3", "4", "5"}
    assert visits["4"]["skipped"] == WHY
    assert visits["3"]["distance_m"] < 50 < 1000 < visits["5"]["distance_m"]
    assert visits["2"]["abnormal"] == ["oil", "temp"]
    assert visits["1"]["check"].partition("/")[2] in office.of_kind("check.overhead_crane")
    # Both clocks are kept; where the walker stood is for those only who may read it.
    assert all(abs(visit["phone_at"] - visit["at"]) < 60_000 for visit in visits.values())
    assert visits["3"].get("place") is None

    supervisor = new_phone()
    supervisor.sign_in("supervisor")
    supervisor.press("open-rounds")
    supervisor.press("tab-missed")
    supervisor.page.locator(f'a[href$="/rounds/{round_id}"]').click()
    expect(supervisor.by("stop-4")).to_contain_text(WHY)
    expect(supervisor.by("stop-5")).to_have_attribute("data-state", "flagged")
