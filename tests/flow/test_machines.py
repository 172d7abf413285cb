"""A machine's life: its tag, its locks, its hours, its maintenance, its end."""

from typing import Any

from flow_plant import AREA, CRANE, CRANE_KEY, OTHER_AREA, PHOTO, Plant, person

from backend.domains.equipment.codes import document_id
from backend.flow.deadlines import Deadlines
from backend.kernel.ids import SERVER_AUTHOR
from backend.sync.op import New

DAY_MINUTES = 24 * 60


async def tag(plant: Plant, code: str) -> str:
    key = f"tag/{document_id(code)}"
    (verdict,) = await plant.world.sync.say(New(0, 0, 0, SERVER_AUTHOR, key, 1, {"code": code}))
    assert verdict.state == "ok"
    return key


def id_of(key: str) -> str:
    return key.partition("/")[2]


async def test_a_blank_tag_is_claimed_by_whoever_manages_equipment_and_by_nobody_else(plant: Plant) -> None:
    blank = await tag(plant, "K7Q29F3M")
    assert await plant.say("inspector", "act", blank, "claim", machine=CRANE) == ("refused", "flow.not_allowed")
    await plant.ok("admin", "act", blank, "claim", machine=CRANE)
    seen = await plant.world.view(blank)
    assert (seen["status"], seen["machine"], seen["area"]) == ("bound", CRANE, AREA)
    assert (await plant.crane())["tag"] == id_of(blank)
    assert await plant.say("admin", "act", blank, "claim", machine=CRANE) == ("refused", "flow.wrong_state")


async def test_a_machine_s_new_tag_makes_its_old_one_void(plant: Plant) -> None:
    old, new = await tag(plant, "00000001"), await tag(plant, "00000002")
    await plant.ok("admin", "act", old, "claim", machine=CRANE)
    await plant.ok("admin", "act", new, "claim", machine=CRANE)
    assert ((await plant.world.view(old))["status"], (await plant.world.view(new))["status"]) == ("void", "bound")
    assert (await plant.crane())["tag"] == id_of(new)


async def test_a_tag_declared_void_is_no_longer_the_machine_s(plant: Plant) -> None:
    one = await tag(plant, "00000003")
    await plant.ok("admin", "act", one, "claim", machine=CRANE)
    await plant.ok("admin", "act", one, "void")
    assert (await plant.crane())["tag"] is None


async def test_a_code_is_given_out_once(plant: Plant) -> None:
    await tag(plant, "00000004")
    (verdict,) = await plant.world.sync.say(New(0, 0, 0, SERVER_AUTHOR, f"tag/{document_id('00000004')}", 1, {"code": "00000004"}))
    assert verdict.code == "op.exists"


async def test_a_tag_goes_where_its_machine_goes_and_ends_with_it(plant: Plant) -> None:
    one = await tag(plant, "00000005")
    await plant.ok("admin", "act", one, "claim", machine=CRANE)
    await plant.ok("admin", "act", CRANE_KEY, "move", area=OTHER_AREA)
    assert (await plant.world.view(one))["area"] == OTHER_AREA
    assert await plant.say("inspector", "act", CRANE_KEY, "scrap") == ("refused", "flow.not_allowed")
    await plant.ok("admin", "act", CRANE_KEY, "scrap")
    assert ((await plant.crane())["status"], (await plant.world.view(one))["status"]) == ("scrapped", "void")
    other = await tag(plant, "00000006")
    assert await plant.say("admin", "act", other, "claim", machine=CRANE) == ("refused", "tag.machine_scrapped")


async def seq(plant: Plant) -> int:
    return int((await plant.world.rows("SELECT seq FROM document WHERE key = $1", CRANE_KEY))[0]["seq"])


async def test_a_machine_is_free_when_the_last_lock_is_off_and_even_then_it_is_stopped(plant: Plant) -> None:
    await plant.check()
    await plant.ok("worker", "act", CRANE_KEY, "lock_out", reason="rope change")
    await plant.ok("inspector", "act", CRANE_KEY, "lock_out", reason="limit switch")
    crane = await plant.crane()
    assert (crane["status"], crane["authority_until"], len(crane["locks"])) == ("locked", None, 2)
    assert (await plant.check())["authority"] == "stopped"
    assert await plant.say("supervisor", "act", CRANE_KEY, "resume", await seq(plant)) == ("refused", "flow.wrong_state")
    assert await plant.say("stranger", "act", CRANE_KEY, "unlock") == ("refused", "flow.not_allowed")
    assert await plant.say("worker", "act", CRANE_KEY, "unlock", by=person("inspector"), reason="x") == (
        "refused",
        "machine.lock_of_another",
    )
    await plant.ok("worker", "act", CRANE_KEY, "unlock")
    assert (await plant.crane())["status"] == "locked"
    assert await plant.say("admin", "act", CRANE_KEY, "scrap") == ("refused", "flow.wrong_state")
    await plant.ok("supervisor", "act", CRANE_KEY, "unlock", by=person("inspector"), reason="he has gone home, asked by phone")
    crane = await plant.crane()
    assert (crane["status"], crane["locks"]) == ("stopped", [])
    await plant.ok("supervisor", "act", CRANE_KEY, "resume", await seq(plant))
    assert (await plant.crane())["status"] == "running"


async def test_stopping_a_locked_machine_leaves_its_locks_on(plant: Plant) -> None:
    await plant.ok("worker", "act", CRANE_KEY, "lock_out", reason="rope change")
    await plant.ok("manager", "act", CRANE_KEY, "stop_use", reason="smoke")
    assert ((await plant.crane())["status"], len((await plant.crane())["locks"])) == ("locked", 1)


async def test_somebody_s_lock_goes_on_once(plant: Plant) -> None:
    for reason in ("one", "two"):
        await plant.ok("worker", "act", CRANE_KEY, "lock_out", reason=reason)
    assert [lock["why"] for lock in (await plant.crane())["locks"]] == ["two"]


async def test_papers_are_added_by_whoever_manages_equipment(plant: Plant) -> None:
    paper = {"title": "Inspection report", "number": "TS-2026-1", "media": [PHOTO]}
    assert await plant.say("inspector", "add", CRANE_KEY, paper, "papers") == ("refused", "flow.not_allowed")
    await plant.ok("admin", "add", CRANE_KEY, paper, "papers")


async def test_running_hours_never_go_back(plant: Plant) -> None:
    await plant.ok("inspector", "act", CRANE_KEY, "record_hours", hours=100)
    assert await plant.say("inspector", "act", CRANE_KEY, "record_hours", hours=99) == ("refused", "machine.hours_go_back")
    await plant.ok("inspector", "act", CRANE_KEY, "record_hours", hours=140)
    assert (await plant.crane())["hours"] == 140


async def planned(plant: Plant, **fields: Any) -> str:
    return await plant.ok("admin", "new", {"machine": CRANE, "title": "Grease the rope", **fields}, kind="maintenance")


async def test_maintenance_falls_due_on_its_day_and_the_next_follows_from_when_it_was_done(plant: Plant) -> None:
    plan = await planned(plant, every_days=30)
    assert (await plant.world.view(plan))["next_at"] == plant.world.now + 30 * DAY_MINUTES * 60_000
    deadlines = Deadlines(plant.world.judge)
    await deadlines.fill(plant.world.sync, plant.world.now)
    plant.later(29 * DAY_MINUTES)
    await deadlines.take(plant.world.sync, plant.world.now)
    assert (await plant.world.view(plan))["status"] == "waiting"
    plant.later(1 * DAY_MINUTES)
    await deadlines.take(plant.world.sync, plant.world.now)
    seen = await plant.world.view(plan)
    assert (seen["status"], seen["due_since"]) == ("due", plant.world.now)
    plant.later(3 * DAY_MINUTES)
    await plant.ok("inspector", "act", plan, "done", note="greased", media=[PHOTO])
    seen = await plant.world.view(plan)
    assert (seen["status"], seen["due_since"], seen["last_by"]) == ("waiting", None, person("inspector"))
    assert seen["next_at"] == plant.world.now + 30 * DAY_MINUTES * 60_000
    (job,) = (await plant.world.body(plan))["sets"]["jobs"].values()
    assert (job[0]["note"], job[0]["media"]) == ("greased", [PHOTO])


async def test_maintenance_by_running_hours_falls_due_at_the_reading_that_reaches_them(plant: Plant) -> None:
    await plant.ok("inspector", "act", CRANE_KEY, "record_hours", hours=1000)
    plan = await planned(plant, every_hours=250)
    assert ((await plant.world.view(plan))["next_hours"], (await plant.world.view(plan)).get("next_at")) == (1250, None)
    await plant.ok("inspector", "act", plan, "read_hours", hours=1249)
    assert (await plant.world.view(plan))["status"] == "waiting"
    await plant.ok("inspector", "act", plan, "read_hours", hours=1250)
    assert (await plant.world.view(plan))["status"] == "due"
    await plant.ok("inspector", "act", plan, "done", note="greased", hours=1260)
    assert ((await plant.world.view(plan))["status"], (await plant.world.view(plan))["next_hours"]) == ("waiting", 1510)


async def test_a_plan_needs_an_interval_and_is_made_by_whoever_manages_equipment(plant: Plant) -> None:
    fields = {"machine": CRANE, "title": "Grease"}
    assert await plant.say("admin", "new", fields, kind="maintenance") == ("refused", "maintenance.interval_needed")
    assert await plant.say("inspector", "new", {**fields, "every_days": 1}, kind="maintenance") == ("refused", "flow.not_allowed")
    plan = await planned(plant, every_days=30)
    assert await plant.say("stranger", "act", plan, "done", note="x") == ("refused", "flow.not_allowed")
    await plant.ok("admin", "act", plan, "change", every_days=7)
    assert (await plant.world.view(plan))["next_at"] == plant.world.now + 7 * DAY_MINUTES * 60_000


async def test_a_scrapped_machine_is_maintained_no_more(plant: Plant) -> None:
    plan = await planned(plant, every_days=1)
    deadlines = Deadlines(plant.world.judge)
    await deadlines.fill(plant.world.sync, plant.world.now)
    await plant.ok("admin", "act", CRANE_KEY, "scrap")
    plant.later(2 * DAY_MINUTES)
    await deadlines.take(plant.world.sync, plant.world.now)
    assert (await plant.world.view(plan))["status"] == "waiting"
