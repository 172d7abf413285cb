"""What happens to work between the finger and the server: refused and mended, and kept apart where two persons share a phone."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.client import Client
from tests.e2e.harness import PIN, Phone, Plant
from tests.e2e.plants import Crane, known

OTHER_PIN = "147036"


@pytest.fixture
def office(plant: Plant) -> Client:
    client = Client(plant.origin).sign_in("admin")
    client.pull()
    return client


def hazards(office: Client) -> dict[str, dict[str, Any]]:
    office.pull()
    return office.of_kind("hazard")


def said(client: Client) -> None:
    """Push what waits; all of it is accepted."""
    assert [verdict for verdict in client.push() if verdict["state"] != "ok"] == []


def choose_assignee(held: Phone, person: str) -> None:
    held.press("field-assignee")
    held.press(f"option-{person}")


def test_a_refused_op_is_seen_with_its_reason_and_mended(
    new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane], office: Client
) -> None:
    reporter = Client(plant.origin).sign_in("worker")
    key = reporter.new("hazard", 1, {"area": all_cranes[0].area, "note": "护栏缺失"})
    said(reporter)
    guardian, worker = known(plant.origin, "guardian").person, reporter.person

    supervisor = new_phone()
    supervisor.sign_in("supervisor")
    supervisor.ready_offline()
    supervisor.offline()
    supervisor.press("open-hazards")
    supervisor.page.locator(f'a[href$="/{key}"], a[href$="/hazards/{key.partition("/")[2]}"]').first.click()
    supervisor.press("act-assign")
    choose_assignee(supervisor, guardian)
    supervisor.press("field-due_at")
    supervisor.press("when-done")
    supervisor.press("form-submit")
    expect(supervisor.by("hazard-state")).to_have_attribute("data-status", "assigned")

    # Meanwhile the person it was given to has left the plant.
    office.act(f"person/{guardian}", "deactivate", {})
    said(office)
    try:
        supervisor.offline(False)
        supervisor.today()
        supervisor.page.wait_for_selector('[data-testid="sync-chip"].refused')
        supervisor.press("sync-chip")
        refusal = supervisor.by("refusal")
        expect(refusal).to_have_count(1)
        expect(refusal).to_have_attribute("data-code", "hazard.assignee_inactive")
        expect(refusal).to_contain_text(re.compile("责任人|离岗|在岗"))
        assert hazards(office)[key.partition("/")[2]]["status"] == "reported"

        # Mended: the form comes back as it was filled in, and only what was wrong is changed.
        supervisor.press("mend")
        expect(supervisor.by("field-due_at")).not_to_be_empty()
        choose_assignee(supervisor, worker)
        supervisor.press("form-submit")
        expect(supervisor.by("hazard-state")).to_have_attribute("data-status", "assigned")
        supervisor.today()
        supervisor.press("sync-chip")
        if supervisor.by("dismiss").is_visible():
            supervisor.press("dismiss")
        expect(supervisor.by("refusal")).to_have_count(0)
        supervisor.today()
        supervisor.synced()
    finally:
        office.pull()
        office.act(f"person/{guardian}", "reactivate", {})
        said(office)
    mended = hazards(office)[key.partition("/")[2]]
    assert (mended["status"], mended["assignee"]) == ("assigned", worker)


def lock(held: Phone) -> None:
    held.today()
    held.press("nav-me")
    held.press("lock-now")
    held.by("pin-1").or_(held.by("sign-in-other")).first.wait_for()


def unlock_as(held: Phone, person: str, pin: str) -> None:
    if not held.by(f"person-{person}").is_visible() and held.by("unlock-other").is_visible():
        held.press("unlock-other")
    held.press(f"person-{person}")
    held.unlock(pin)
    held.by("sync-chip").first.wait_for()


def begin_report(held: Phone, area: str, note: str) -> None:
    held.today()
    held.press("report-hazard")
    held.press("snap-area")
    held.press(f"option-{area}")
    held.type("snap-note", note)


def send_report(held: Phone) -> None:
    held.press("snap-send")
    held.by("hazard-state").wait_for()


def report(held: Phone, area: str, note: str) -> None:
    begin_report(held, area, note)
    send_report(held)


def test_two_persons_on_one_phone_keep_their_work_apart_and_lose_none_of_it(
    new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane], office: Client
) -> None:
    worker, inspector = known(plant.origin, "worker").person, known(plant.origin, "inspector").person
    area = all_cranes[0].area
    held = new_phone()
    held.sign_in("worker")
    lock(held)
    held.sign_in("inspector", pin=OTHER_PIN)
    held.ready_offline()
    held.offline()

    # Each opens their own space with their own PIN, without a network; the other's PIN opens nothing.
    lock(held)
    held.press(f"person-{worker}")
    held.pin(OTHER_PIN)
    expect(held.by("problem")).to_be_visible()
    held.unlock(PIN)
    report(held, area, "甲写的：平台有油")
    assert held.page.get_by_text("甲写的：平台有油").count() > 0

    # Who signs out leaves what is unsent behind, and the next one sees none of it.
    held.today()
    held.press("nav-me")
    held.press("sign-out")
    held.press("sign-out-confirm")
    unlock_as(held, inspector, OTHER_PIN)
    report(held, area, "乙写的：照明损坏")
    held.today()
    held.press("open-hazards")
    held.by("hazard-list").wait_for()
    expect(held.page.get_by_text("乙写的：照明损坏").first).to_be_visible()
    expect(held.page.get_by_text("甲写的：平台有油")).to_have_count(0)

    # With the network both go, each in its author's name.
    held.today()
    held.offline(False)
    held.synced()
    reported = {hazard["note"]: hazard["reporter"] for hazard in hazards(office).values() if "写的" in str(hazard.get("note"))}
    assert reported == {"甲写的：平台有油": worker, "乙写的：照明损坏": inspector}
