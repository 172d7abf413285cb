"""The judge over the ledger: who may what, what is placed where, what is dropped from memory when."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from flow_plant import AREA, CRANE, CRANE_KEY, OTHER_AREA, PHOTO, Plant, person

from backend.flow import load
from backend.flow.deadlines import Deadlines
from backend.flow.judge import PLANT_KEY, FlowJudge
from backend.flow.kind import compile_kind, pack_source, unpack_source
from backend.kernel.ids import SERVER_AUTHOR, derived, kind_document
from backend.sync.op import Act, New, Sealed
from backend.sync.shapes import TxDocs


async def shapes(plant: Plant, name: str) -> set[str]:
    return set(await plant.world.sync.shapes(person(name)))


async def test_people_hold_what_their_roles_and_areas_say(plant: Plant) -> None:
    me = f"person:{person('inspector')}"
    assert await shapes(plant, "inspector") == {"site", me, "role:inspector", f"area:{AREA}"}
    assert await shapes(plant, "safety") == {"site", f"person:{person('safety')}", "role:safety", f"area:{AREA}", f"area:{OTHER_AREA}"}
    assert await plant.world.sync.shapes(derived("nobody")) == []
    assert await plant.world.sync.shapes(SERVER_AUTHOR) == []


async def test_a_role_that_is_given_or_taken_counts_from_the_next_op_on(plant: Plant) -> None:
    begin = ("new", {"machine": CRANE})
    assert (await plant.say("stranger", *begin, kind="check.overhead_crane"))[0] == "refused"
    await plant.ok("admin", "act", f"person/{person('stranger')}", "assign_roles", roles=[{"role": "inspector", "area": AREA}])
    assert (await plant.say("stranger", *begin, kind="check.overhead_crane"))[0] == "ok"
    assert f"area:{AREA}" in await shapes(plant, "stranger")
    await plant.ok("admin", "act", f"person/{person('stranger')}", "deactivate")
    assert await plant.say("stranger", *begin, kind="check.overhead_crane") == ("refused", "flow.not_allowed")
    assert await shapes(plant, "stranger") == set()


async def test_an_area_that_moves_takes_rights_with_it(plant: Plant) -> None:
    assert (await plant.say("stranger", "new", {"machine": CRANE}, kind="check.overhead_crane"))[0] == "refused"
    await plant.ok("admin", "act", f"area/{AREA}", "move", parent=OTHER_AREA)
    assert (await plant.say("stranger", "new", {"machine": CRANE}, kind="check.overhead_crane"))[0] == "ok"
    assert await plant.say("admin", "act", f"area/{AREA}", "move", parent=AREA) == ("refused", "area.own_parent")


async def test_a_first_pull_brings_forms_people_and_areas_before_what_lies_in_areas(plant: Plant) -> None:
    await plant.check()
    pulled = await plant.world.pull(await plant.phone("safety"))
    kinds = [line["doc"].partition("/")[0] for line in pulled.lines if "doc" in line]
    last = max(n for n, kind in enumerate(kinds) if kind in ("kind", "person", "area", "limit", "calendar"))
    assert last < min(n for n, kind in enumerate(kinds) if kind in ("machine", "check.overhead_crane"))


async def test_what_an_older_snapshot_reads_is_not_kept_for_others(plant: Plant) -> None:
    judge = plant.world.sync.judge
    async with plant.world.store.read() as before:
        # The snapshot is taken with the first read.
        assert await before.one("SELECT key FROM document LIMIT 1") is not None
        await plant.ok("admin", "act", f"area/{AREA}", "move", parent=OTHER_AREA)
        judge.observe([f"area/{AREA}"])
        old = await judge.actor(TxDocs(before), person("stranger"))
        assert not old.has("check", AREA)
    assert f"area:{AREA}" in await shapes(plant, "stranger")
    assert (await plant.say("stranger", "new", {"machine": CRANE}, kind="check.overhead_crane"))[0] == "ok"


async def test_what_roles_may_do_is_the_plant_s_to_change(plant: Plant) -> None:
    table = load.role_table()
    assert await plant.say("safety", "act", PLANT_KEY, "change_roles", roles=table) == ("refused", "flow.not_allowed")
    await plant.ok("admin", "act", PLANT_KEY, "change_roles", roles={**table, "inspector": ["report"]})
    assert await plant.say("inspector", "new", {"machine": CRANE}, kind="check.overhead_crane") == ("refused", "flow.not_allowed")


async def test_nobody_makes_himself_a_person_a_kind_or_a_plant(plant: Plant) -> None:
    label = {"zh": "名", "en": "Name"}
    assert await plant.say("supervisor", "new", {"names": label, "roles": [{"role": "admin"}]}, kind="person") == (
        "refused",
        "flow.not_allowed",
    )
    assert await plant.say("admin", "new", {"name": "x", "number": 1, "title": label, "source": "{}"}, kind="kind") == (
        "refused",
        "flow.server_only",
    )
    assert await plant.say("admin", "new", {"name": label}, kind="plant") == ("refused", "flow.server_only")
    assert await plant.say("supervisor", "act", f"person/{person('supervisor')}", "assign_roles", roles=[{"role": "admin"}]) == (
        "refused",
        "flow.not_allowed",
    )
    assert await plant.say("inspector", "set", CRANE_KEY, {"number": "x"}) == ("refused", "flow.not_allowed")
    assert await plant.say("admin", "set", CRANE_KEY, {"authority_until": 1}) == ("refused", "flow.field_readonly")


async def test_an_unknown_kind_or_version_is_waited_for(plant: Plant) -> None:
    assert await plant.say("inspector", "new", {"x": 1}, kind="balloon") == ("parked", "op.awaits_kind")
    assert await plant.say("inspector", "new", {"area": AREA}, kind="hazard", version=9) == ("parked", "op.awaits_kind")


async def test_a_new_version_of_a_kind_leaves_what_was_begun_under_the_old_one(plant: Plant) -> None:
    old = await plant.ok("worker", "new", {"area": AREA}, kind="hazard")
    content = load.read_kind(load.BACKEND / "domains/hazards/kinds/hazard.yaml")
    assert content is not None
    content["version"] = 2
    del content["transitions"]["withdraw"]
    newer = compile_kind(content).kind
    fields = {"name": "hazard", "number": 2, "title": msgspec.to_builtins(newer.title), **pack_source(newer)}
    await plant.world.sync.say(New(0, 0, 0, SERVER_AUTHOR, f"kind/{kind_document('hazard', 2)}", 1, fields))
    assert plant.world.judge.newest("hazard") == 2
    young = await plant.ok("worker", "new", {"area": AREA}, kind="hazard", version=2)
    assert await plant.say("worker", "act", young, "withdraw", reason="x") == ("refused", "flow.transition_unknown")
    await plant.ok("worker", "act", old, "withdraw", reason="x")
    # What a check brings about from now on is of the new version.
    await plant.check(("overhead_crane.bell_lamp",))
    last = (await plant.documents("hazard"))[-1]
    assert (await plant.world.body(last))["version"] == 2


async def test_a_version_that_takes_over_earlier_ones_holds_for_their_documents_at_once(plant: Plant) -> None:
    old = await plant.ok("worker", "new", {"area": AREA}, kind="hazard")
    content = load.read_kind(load.BACKEND / "domains/hazards/kinds/hazard.yaml")
    assert content is not None
    content |= {"version": 2, "takes_over": [1]}
    del content["transitions"]["withdraw"]
    newer = compile_kind(content).kind
    fields = {"name": "hazard", "number": 2, "title": msgspec.to_builtins(newer.title), **pack_source(newer)}
    await plant.world.sync.say(New(0, 0, 0, SERVER_AUTHOR, f"kind/{kind_document('hazard', 2)}", 1, fields))
    assert await plant.say("worker", "act", old, "withdraw", reason="x") == ("refused", "flow.transition_unknown")
    # After a restart too, and for a phone that has not heard of it and begins one of the old version.
    again = FlowJudge(load.file_kinds())
    async with plant.world.store.read() as tx:
        await again.warm(TxDocs(tx))
    taken = again.kind("hazard", 1)
    assert taken is not None
    assert (taken.kind.version, again.newest("hazard")) == (2, 2)
    young = await plant.ok("worker", "new", {"area": AREA}, kind="hazard", version=1)
    assert await plant.say("worker", "act", young, "withdraw", reason="x") == ("refused", "flow.transition_unknown")


async def test_a_limit_begun_under_the_first_version_needs_two_persons_and_keeps_what_became_of_it(plant: Plant) -> None:
    key = f"limit/{derived('an old limit')}"
    given = {"name": "an.old.limit", "title": {"zh": "旧", "en": "Old"}, "value": 5, "sure": "C"}
    await plant.world.sync.say(New(0, 0, 0, SERVER_AUTHOR, key, 1, given))
    await plant.ok("safety", "act", key, "propose", value=6, reason="measured")
    assert await plant.say("safety", "act", key, "confirm") == ("refused", "flow.not_allowed")
    await plant.ok("admin", "act", key, "confirm")
    body = await plant.world.body(key)
    assert (body["version"], body["fields"]["value"][0], body["fields"]["proposed"][0]) == (1, 6, None)
    changes = [item for item, *_ in body["sets"]["changes"].values()]
    assert [(one["what"], one["before"], one["after"], one["reason"]) for one in changes] == [("confirmed", 5, 6, "measured")]


async def test_a_roster_s_cell_is_emptied_by_a_line_that_names_nobody(plant: Plant) -> None:
    def line(*who: str) -> dict[str, Any]:
        return {"date": "2026-10-08", "shift": "day", "persons": [person(one) for one in who]}

    # Begun under the first version too, in which every line had to name somebody.
    for version in (1, 2):
        given = {"area": AREA, "role": "inspector", "from": "2026-10-01", "until": "2026-10-31"}
        key = await plant.ok("supervisor", "new", given, kind="roster", version=version)
        await plant.ok("supervisor", "add", key, line("inspector", "worker"), "duties")
        await plant.ok("supervisor", "add", key, line("worker"), "duties")
        assert await plant.say("worker", "add", key, line(), "duties") == ("refused", "flow.not_allowed")
        await plant.ok("supervisor", "add", key, line(), "duties")
        lines = sorted((await plant.world.body(key))["sets"]["duties"].values(), key=lambda line: line[1])
        assert [item["persons"] for item, *_ in lines] == [[person("inspector"), person("worker")], [person("worker")], []]


async def test_nothing_is_begun_under_a_retired_kind_and_what_was_begun_goes_on(plant: Plant) -> None:
    old = await plant.ok("worker", "new", {"area": AREA}, kind="hazard")
    await plant.ok("admin", "act", f"kind/{kind_document('hazard', 1)}", "retire")
    assert await plant.say("worker", "new", {"area": AREA}, kind="hazard") == ("refused", "flow.kind_retired")
    await plant.ok("worker", "act", old, "withdraw", reason="x")


async def test_a_judge_that_starts_anew_knows_every_version_of_the_ledger(plant: Plant) -> None:
    await test_a_new_version_of_a_kind_leaves_what_was_begun_under_the_old_one(plant)
    fresh = FlowJudge(load.file_kinds())
    async with plant.world.store.read() as tx:
        await fresh.warm(TxDocs(tx))
    assert fresh.newest("hazard") == 2
    assert "withdraw" not in fresh.kind("hazard", 2).kind.transitions


async def test_what_a_failed_transaction_changed_is_forgotten(plant: Plant) -> None:
    with pytest.raises(RuntimeError):
        async with plant.world.store.write() as tx:
            (verdict,) = await plant.world.sync.say(Act(0, 0, 0, SERVER_AUTHOR, f"area/{AREA}", "move", {"parent": OTHER_AREA}, 0), tx=tx)
            assert verdict.state == "ok"
            raise RuntimeError
    plant.world.judge.observe([f"area/{AREA}"])
    assert (await plant.say("stranger", "new", {"machine": CRANE}, kind="check.overhead_crane"))[0] == "refused"


async def test_starting_again_says_nothing_twice_and_a_changed_file_needs_a_new_version(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await plant.world.rows("SELECT count(*) AS n FROM ledger")
    versions = await load.start(plant.world.sync, plant.world.judge)
    assert versions["check.overhead_crane"] == 1
    assert await plant.world.rows("SELECT count(*) AS n FROM ledger") == before
    content = load.read_kind(load.BACKEND / "domains/hazards/kinds/hazard.yaml")
    assert content is not None
    content["title"]["en"] = "Danger"
    monkeypatch.setattr(load, "file_kinds", lambda: (compile_kind(content),))
    with pytest.raises(load.KindChanged) as stopped:
        await load.start(plant.world.sync, plant.world.judge)
    for sentence, what_to_do in ((stopped.value.text.zh, "version 加 1"), (stopped.value.text.en, "Raise the version in each file by one")):
        assert "backend/domains/hazards/kinds/hazard.yaml (version: 1)" in sentence
        assert what_to_do in sentence


async def test_a_kind_s_text_comes_back_from_its_document_as_it_was(plant: Plant) -> None:
    for kind in load.file_kinds():
        body = await plant.world.body(f"kind/{kind_document(kind.name, kind.kind.version)}")
        assert compile_kind(unpack_source(body)).kind == kind.kind


async def test_two_persons_change_a_limit(plant: Plant) -> None:
    limit = f"limit/{derived('limit:check.distance_m')}"
    assert await plant.say("manager", "act", limit, "propose", value=80, reason="wide hall") == ("refused", "flow.not_allowed")
    assert await plant.say("supervisor", "act", limit, "propose", value=80, reason="wide hall") == ("refused", "flow.not_allowed")
    assert await plant.say("admin", "act", limit, "propose", value=50, reason="as it is") == ("refused", "limit.same_value")
    await plant.ok("admin", "act", limit, "propose", value=80, reason="wide hall")
    assert await plant.say("admin", "act", limit, "confirm") == ("refused", "flow.not_allowed")
    assert (await plant.world.view(limit))["value"] == 50
    await plant.ok("safety", "act", limit, "confirm")
    seen = await plant.world.view(limit)
    assert (seen["value"], seen["status"], seen["proposed"]) == (80, "in_force", None)
    async with plant.world.store.read() as tx:
        assert (await plant.world.judge.env(TxDocs(tx), SERVER_AUTHOR, 0)).limits["check.distance_m"] == 80


async def items(plant: Plant, key: str, of: str) -> list[dict[str, Any]]:
    """What stands in a set of a document, the oldest first."""
    put = (await plant.world.body(key))["sets"][of].values()
    return [item for item, *_ in sorted(put, key=lambda entry: entry[1])]


async def test_a_limit_keeps_what_was_proposed_and_how_it_ended(plant: Plant) -> None:
    limit = f"limit/{derived('limit:check.distance_m')}"
    await plant.ok("safety", "act", limit, "propose", value=80, reason="wide hall")
    await plant.ok("admin", "act", limit, "decline", answer="too far to see")
    plant.later()
    await plant.ok("safety", "act", limit, "propose", value=60, reason="wide hall")
    await plant.ok("safety", "act", limit, "decline", answer="measured again")
    plant.later()
    await plant.ok("safety", "act", limit, "propose", value=55, reason="measured")
    await plant.ok("admin", "act", limit, "confirm")
    changes = [(c["what"], c["before"], c["after"], c["proposed_by"], c["by"]) for c in await items(plant, limit, "changes")]
    safety, admin = person("safety"), person("admin")
    assert changes == [
        ("declined", 50, 80, safety, admin),
        ("withdrawn", 50, 60, safety, safety),
        ("confirmed", 50, 55, safety, admin),
    ]


async def test_the_last_place_given_for_an_area_on_a_plan_counts_and_only_who_manages_the_plant_gives_it(plant: Plant) -> None:
    picture = {**PHOTO, "w": 1600, "h": 900}
    plan = await plant.ok("admin", "new", {"title": {"zh": "厂区", "en": "Plant"}, "picture": picture}, kind="plan")
    for x in (0.25, 0.5):
        plant.later()
        await plant.ok("admin", "add", plan, {"area": AREA, "x": x, "y": 0.5}, "spots")
    assert [spot["x"] for spot in await items(plant, plan, "spots")] == [0.25, 0.5]
    assert await plant.say("admin", "add", plan, {"area": AREA, "x": 1.5, "y": 0.5}, "spots") == ("refused", "flow.field_max")
    assert await plant.say("safety", "add", plan, {"area": AREA, "x": 0.1, "y": 0.1}, "spots") == ("refused", "flow.not_allowed")


async def test_a_parked_op_is_decided_by_somebody_else(plant: Plant) -> None:
    unknown = "00000000-0000-7000-8000-000000000001"
    phone = await plant.phone("supervisor")
    phone.new({"machine": unknown}, kind="check.overhead_crane")
    op = (await phone.push_new()).verdicts[-1].op
    assert await plant.say("inspector", "act", f"parked/{op}", "refuse", reason="x") == ("refused", "flow.not_allowed")
    assert await plant.say("supervisor", "act", f"parked/{op}", "refuse", reason="x") == ("refused", "flow.not_allowed")
    await plant.ok("second", "act", f"parked/{op}", "refuse", reason="no such machine")
    seen = await plant.world.view(f"parked/{op}")
    assert (seen["status"], seen["decided_by"], seen["code"]) == ("refused", person("second"), "op.awaits_document")


async def test_a_hazard_is_closed_by_somebody_else_than_who_mended_it(plant: Plant) -> None:
    hazard = await plant.ok("worker", "new", {"area": AREA, "note": "oil", "photos": [PHOTO]}, kind="hazard")
    due = plant.world.now + 86_400_000
    assert await plant.say("worker", "act", hazard, "assign", assignee=person("supervisor"), due_at=due) == ("refused", "flow.not_allowed")
    assert await plant.say("supervisor", "act", hazard, "assign", assignee=person("supervisor"), due_at=1) == (
        "refused",
        "hazard.due_in_past",
    )
    await plant.ok("supervisor", "act", hazard, "assign", assignee=person("supervisor"), due_at=due)
    assert await plant.say("worker", "act", hazard, "done", note="wiped", media=PHOTO) == ("refused", "flow.not_allowed")
    await plant.ok("supervisor", "act", hazard, "done", note="wiped", media=PHOTO)
    assert await plant.say("supervisor", "act", hazard, "close") == ("refused", "flow.not_allowed")
    await plant.ok("second", "act", hazard, "send_back", reason="still wet")
    await plant.ok("supervisor", "act", hazard, "done", note="dry", media=PHOTO)
    await plant.ok("second", "act", hazard, "close")
    seen = await plant.world.view(hazard)
    assert (seen["status"], seen["closed_by"], seen["returned"]) == ("closed", person("second"), 1)
    assert len((await plant.world.body(hazard))["sets"]["evidence"]) == 2
    assert await plant.say("second", "act", hazard, "send_back", reason="x") == ("refused", "flow.ended")
    assert await plant.say("worker", "add", hazard, {"text": "thanks"}, "comments") == ("ok", None)


async def test_a_hazard_goes_to_nobody_who_left(plant: Plant) -> None:
    hazard = await plant.ok("worker", "new", {"area": AREA}, kind="hazard")
    await plant.ok("admin", "act", f"person/{person('second')}", "deactivate")
    due = plant.world.now + 1000
    assert await plant.say("supervisor", "act", hazard, "assign", assignee=person("second"), due_at=due) == (
        "refused",
        "hazard.assignee_inactive",
    )


async def test_an_anonymous_report_names_nobody_anywhere(plant: Plant) -> None:
    phone = await plant.phone("worker")
    hazard = phone.new({"area": AREA, "note": "x"}, kind="hazard", author=phone.anonymous())
    assert (await phone.push_new()).verdicts[-1].state == "ok"
    assert person("worker") not in str(await plant.world.body(hazard))
    assert "reporter" not in await plant.world.view(hazard)
    lines = await plant.world.pull(await plant.phone("supervisor"))
    assert any(line["doc"] == hazard for line in lines.of("doc"))
    phone.new({"machine": CRANE}, kind="check.overhead_crane", author=phone.anonymous())
    assert (await phone.push_new()).verdicts[-1].code == "flow.not_anonymous"
    assert isinstance(phone.anonymous(), Sealed)


async def test_a_tag_is_bound_to_a_machine_by_who_manages_it(plant: Plant) -> None:
    assert await plant.say("admin", "new", {"code": "ABCDEFGI"}, kind="tag") == ("refused", "flow.field_check")
    tag = await plant.ok("admin", "new", {"code": "ABCDEFGH"}, kind="tag")
    assert await plant.say("supervisor", "act", tag, "claim", machine=CRANE) == ("refused", "flow.not_allowed")
    await plant.ok("admin", "act", tag, "claim", machine=CRANE)
    seen = await plant.world.view(tag)
    assert (seen["status"], seen["machine"], seen["area"]) == ("bound", CRANE, AREA)


async def test_authority_ends_by_itself_when_the_shift_does(plant: Plant) -> None:
    deadlines = Deadlines(plant.world.judge)
    plant.world.sync._hooks.append(deadlines.on_accepted)
    await plant.check()
    until = (await plant.crane())["authority_until"]
    assert await plant.world.rows("SELECT doc, step, at FROM deadline") == [{"doc": CRANE_KEY, "step": "expire", "at": until}]
    assert await deadlines.take(plant.world.sync, until - 1) == 0
    plant.world.now = until
    assert await deadlines.take(plant.world.sync, until) == 1
    assert (await plant.crane())["authority_until"] is None
    assert await plant.world.rows("SELECT * FROM deadline") == []
    await deadlines.fill(plant.world.sync, until)
    assert await plant.world.rows("SELECT * FROM deadline") == []


async def test_a_deadline_that_no_longer_holds_does_nothing(plant: Plant) -> None:
    deadlines = Deadlines(plant.world.judge)
    await plant.check()
    await deadlines.fill(plant.world.sync, plant.world.now)
    until = (await plant.crane())["authority_until"]
    # The hook is not here: the table still says the moment when the machine has been handed back.
    await plant.ok("inspector", "act", CRANE_KEY, "hand_back")
    plant.world.now = until
    assert await deadlines.take(plant.world.sync, until) == 1
    assert await deadlines.take(plant.world.sync, until) == 0
    assert (await plant.crane())["status"] == "running"


async def test_another_check_list_is_data_only(plant: Plant, tmp_path: Path) -> None:
    base = load.BACKEND / "domains/equipment/kinds/check.base.yaml"
    (tmp_path / base.name).write_text(base.read_text("utf-8"), "utf-8")
    crane = load.read_yaml(base.with_name("check.overhead_crane.yaml"))
    tundish = {
        **{name: crane[name] for name in ("extends", "version", "sources")},
        "kind": "check.tundish",
        "title": {"zh": "中间罐检查", "en": "Tundish check"},
        "checklist": {**crane["checklist"], "id": "tundish", "modes": ["pre_use"]},
        "items": [{**crane["items"][0], "id": "tundish.lining"}],
    }
    (tmp_path / "check.tundish.yaml").write_text(yaml.safe_dump(tundish, allow_unicode=True), "utf-8")
    content = load.read_kind(tmp_path / "check.tundish.yaml")
    kind = compile_kind(content).kind
    assert "extends" not in content
    assert kind.transitions["finish"].needs
    fields = {"name": kind.kind, "number": 1, "title": msgspec.to_builtins(kind.title), **pack_source(kind)}
    await plant.world.sync.say(New(0, 0, 0, SERVER_AUTHOR, f"kind/{kind_document(kind.kind, 1)}", 1, fields))
    check = await plant.ok("worker", "new", {"machine": CRANE, "mode": "pre_use"}, kind="check.tundish")
    await plant.ok("worker", "add", check, {"item": "tundish.lining", "verdict": "ok"}, "answers")
    await plant.ok("worker", "act", check, "finish")
    assert (await plant.world.view(check))["authority"] == "given"
