"""A plant changes a check list: two persons, a new version, and what was begun ends under the old one."""

from typing import Any

import msgspec
import pytest
from flow_plant import CRANE, ITEMS, Plant

from backend.domains.equipment.checklists import OWN_VERSIONS, Checklists, document

LIST = "check.overhead_crane"
KEY = document(LIST)
BELL = "overhead_crane.bell_lamp"
CABIN: dict[str, Any] = {
    "id": "overhead_crane.own_cabin",
    "title": {"zh": "驾驶室灭火器在位", "en": "Extinguisher is in the cabin"},
    "type": "yes_no",
    "critical": False,
    "photo_on_fail": True,
    "hint": {"zh": "看压力表", "en": "Read the gauge"},
    "pictogram": "other",
    "dwell_s": 2,
    "law": None,
    "law_scope": "none",
    "sure": "C",
}


@pytest.fixture
async def lists(plant: Plant) -> Checklists:
    found = Checklists(plant.world.judge)
    await found.start(plant.world.sync)
    return found


def items(plant: Plant, version: int = 1) -> list[dict[str, Any]]:
    return list(msgspec.to_builtins(plant.world.judge.kind(LIST, version).kind.items))


async def ended(plant: Plant) -> list[dict[str, Any]]:
    """How the changes of the list ended, the oldest first."""
    put = (await plant.world.body(KEY))["sets"]["changes"].values()
    return [item for item, *_ in sorted(put, key=lambda entry: entry[1])]


def proposal(found: list[dict[str, Any]], base: int = 1) -> dict[str, Any]:
    text = msgspec.json.encode(found).decode()
    return {"items": text[:4_000], "items_2": text[4_000:], "of_version": base, "reason": "新装了灭火器"}


async def test_two_persons_change_a_list_and_checks_under_way_end_under_the_old_one(plant: Plant, lists: Checklists) -> None:
    under_way = await plant.begin()
    told = proposal([one for one in items(plant) if one["id"] != BELL] + [CABIN])
    assert await plant.say("inspector", "act", KEY, "propose", **told) == ("refused", "flow.not_allowed")
    await plant.ok("admin", "act", KEY, "propose", **told)
    assert await plant.say("admin", "act", KEY, "confirm") == ("refused", "flow.not_allowed")
    await lists.settle(plant.world.sync)
    assert plant.world.judge.newest(LIST) == 1
    await plant.ok("safety", "act", KEY, "confirm")
    await lists.settle(plant.world.sync)
    own = OWN_VERSIONS + 1
    assert plant.world.judge.newest(LIST) == own
    assert [one["id"] for one in items(plant, own)] == [*(one for one in ITEMS if one != BELL), CABIN["id"]]
    await lists.start(plant.world.sync)
    assert [one["what"] for one in await ended(plant)] == ["confirmed"]

    await plant.answer(under_way)
    plant.later()
    await plant.ok("inspector", "act", under_way, "finish")
    assert (await plant.world.view(under_way))["status"] == "passed"

    young = await plant.ok("inspector", "new", {"machine": CRANE, "mode": "pre_shift"}, kind=LIST, version=own)
    await plant.answer(young, items=[one for one in ITEMS if one != BELL])
    plant.later()
    assert await plant.say("inspector", "act", young, "finish") == ("refused", "check.items_missing")
    await plant.ok("inspector", "add", young, {"item": CABIN["id"], "dwell_ms": 9000, "verdict": "ok"}, "answers")
    plant.later()
    await plant.ok("inspector", "act", young, "finish")


async def test_a_phone_that_has_not_heard_of_the_new_version_still_begins_under_the_old_one(plant: Plant, lists: Checklists) -> None:
    await plant.ok("admin", "act", KEY, "propose", **proposal([*items(plant), CABIN]))
    await plant.ok("safety", "act", KEY, "confirm")
    await lists.settle(plant.world.sync)
    check = await plant.begin()
    await plant.answer(check)
    plant.later()
    await plant.ok("inspector", "act", check, "finish")
    assert (await plant.world.body(check))["version"] == 1


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ([], "没有项目"),
        ([{**CABIN, "id": "elsewhere.own"}], "elsewhere.own"),
        ([{**CABIN, "title": {"zh": "Cabin", "en": "Cabin"}}], "lacks words"),
        ([{"id": "overhead_crane.own"}], "写法不对"),
    ],
)
async def test_items_that_cannot_be_used_are_sent_back_with_the_reason(plant: Plant, lists: Checklists, wrong: Any, why: str) -> None:
    told = {"items": msgspec.json.encode(wrong).decode(), "of_version": 1, "reason": "x"}
    await plant.ok("admin", "act", KEY, "propose", **told)
    await plant.ok("safety", "act", KEY, "confirm")
    await lists.settle(plant.world.sync)
    held = await plant.world.view(KEY)
    assert (held["status"], held["number"], (await ended(plant))[-1]["what"]) == ("in_force", 0, "failed")
    assert why in (await ended(plant))[-1]["answer"]
    assert plant.world.judge.newest(LIST) == 1
    # And the next one goes through.
    await plant.ok("admin", "act", KEY, "propose", **proposal([CABIN]))
    await plant.ok("safety", "act", KEY, "confirm")
    await lists.settle(plant.world.sync)
    assert plant.world.judge.newest(LIST) == OWN_VERSIONS + 1


async def test_what_is_declined_changes_nothing(plant: Plant, lists: Checklists) -> None:
    await plant.ok("admin", "act", KEY, "propose", **proposal([CABIN]))
    await plant.ok("safety", "act", KEY, "decline", answer="先试用一台")
    await lists.settle(plant.world.sync)
    held = await plant.world.view(KEY)
    assert (held["status"], held["items"], (await ended(plant))[-1]["what"]) == ("in_force", None, "declined")
    assert plant.world.judge.newest(LIST) == 1
