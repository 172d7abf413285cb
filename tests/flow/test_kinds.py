"""The product's kinds, and the linter that every kind passes before it is taken into use."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from backend.flow import lint, load
from backend.flow.kind import compile_kind

CRANE_ITEMS = [
    "inspection_mark", "driver_card", "hoist_brake", "upper_limit", "travel_limit", "overload_limiter", "rope", "rope_turns",
    "lamellar_hook", "hook_ndt", "emergency_stop", "bell_lamp", "gate_interlock", "cab_heat", "path_clear", "both_trunnions",
    "clearance", "small_hook",
]  # fmt: skip
KINDS = {kind.name: kind for kind in load.file_kinds()}


def test_every_kind_of_the_product_is_sound() -> None:
    assert [str(problem) for problem in lint.check()] == []


def test_the_kinds_are_all_there() -> None:
    wanted = {"kind", "plant", "limit", "parked", "area", "person", "machine", "tag", "check.overhead_crane", "hazard"}
    assert wanted <= set(KINDS)


def test_the_crane_s_list_has_its_eighteen_items() -> None:
    kind = KINDS["check.overhead_crane"].kind
    assert [item.id for item in kind.items] == [f"overhead_crane.{name}" for name in CRANE_ITEMS]
    assert [item.id.partition(".")[2] for item in kind.items if not item.critical] == ["bell_lamp", "cab_heat"]
    assert {item.id.partition(".")[2]: (item.min, item.max, item.unit) for item in kind.items if item.type == "number"} == {
        "rope_turns": (2, None, "turn"),
        "clearance": (1.5, None, "m"),
    }
    assert sum(item.photo_on_fail for item in kind.items) == 12
    assert sum(item.dwell_s for item in kind.items) == 127
    laws = {item.id.partition(".")[2]: (item.law.id, item.law.clause, item.sure) for item in kind.items if item.law}
    assert len(laws) == 15
    assert laws["inspection_mark"] == ("SPECIAL_EQUIPMENT_LAW", "art. 40", "A")
    assert laws["rope"] == ("AQSIQ_ORDER_92", "art. 20(5)(6)", "C")
    assert laws["small_hook"] == ("PUBLIC_CHECKLIST", "molten-metal handling", "B")


def test_every_role_of_a_person_is_in_the_table_and_every_capability_is_known() -> None:
    roles = KINDS["person"].kind.fields["roles"].columns["role"].of
    assert isinstance(roles, dict)
    assert set(roles) == set(load.role_table())
    assert {cap for caps in load.role_table().values() for cap in caps} <= load.capabilities()
    for name, title in load.read_yaml(load.BACKEND / "domains/people/roles.yaml")["roles"].items():
        assert roles[name].zh == title["title"]["zh"]


def test_every_capability_that_is_held_opens_something() -> None:
    asked = set()
    for kind in KINDS.values():
        for _, text, where in lint.rules(kind.kind):
            asked.update(kind.program(text, where).text.caps)
    # guard waits for permits.
    assert load.capabilities() - asked == {"guard"}


def test_a_kind_file_says_no_and_means_no(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: no\nb: [yes, on, true, false]\nc: 2026-01-01\nd: 1_0\n", "utf-8")
    assert load.read_yaml(path) == {"a": "no", "b": ["yes", "on", True, False], "c": "2026-01-01", "d": 10}


def test_a_base_that_leads_nowhere_or_round_is_refused(tmp_path: Path) -> None:
    for name, base in (("a", "b"), ("b", "a"), ("c", "nothing")):
        (tmp_path / f"{name}.yaml").write_text(f"extends: {base}\nkind: {name}\n", "utf-8")
    for name in "abc":
        with pytest.raises(ValueError, match="extends"):
            load.read_kind(tmp_path / f"{name}.yaml")
    assert [problem.what for problem in lint.check([tmp_path / "c.yaml"])] == ["c.yaml: extends nothing"]


def test_the_command_says_what_is_wrong_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lint.main([]) == 0
    assert "sound" in capsys.readouterr().out
    broken = load.read_yaml(load.BACKEND / "domains/people/kinds/area.yaml") | {"placement": ["doc.nope"]}
    (tmp_path / "area.yaml").write_text(yaml.safe_dump(broken, allow_unicode=True), "utf-8")
    assert lint.main([str(tmp_path / "area.yaml")]) == 1
    assert "area: placement.0: does not compile: name: doc.nope" in capsys.readouterr().out


CRANE = "check.overhead_crane"
Spoil = Callable[[dict[str, Any]], Any]
SPOILS: dict[str, tuple[str, Spoil, str]] = {
    "a state that is never reached": (
        "hazard",
        lambda k: k["states"].update(lost={"title": {"zh": "失", "en": "Lost"}, "end": True}),
        "never reached",
    ),
    "a state that is never left": ("hazard", lambda k: [k["transitions"].pop(t) for t in ("close", "send_back")], "no way leads"),
    "two starts": ("hazard", lambda k: k["states"]["done"].update(start=True), "is the start"),
    "no end": ("hazard", lambda k: [s.pop("end", None) for s in k["states"].values()], "none is an end"),
    "an end that is left": ("hazard", lambda k: k["transitions"]["assign"]["from"].append("closed"), "which is an end"),
    "a state that is not there": ("hazard", lambda k: k["transitions"]["assign"].update(to="gone"), "no such state"),
    "a choice of states that may fail": (CRANE, lambda k: k["transitions"]["finish"]["to"].update(passed="doc.bad == []"), "is not 'true'"),
    "a rule that names nothing": ("hazard", lambda k: k["transitions"]["assign"].update(who="doc.nobody == actor.id"), "does not compile"),
    "a rule that is no rule": ("hazard", lambda k: k["computed"]["overdue"].update(rule="1 +"), "does not compile"),
    "a who that is a number": ("hazard", lambda k: k["transitions"]["assign"].update(who="1 + 1"), "gives no truth"),
    "a capability nobody can have": (
        "hazard",
        lambda k: k["transitions"]["assign"].update(who='actor.has("fly", doc.area)'),
        "capability fly",
    ),
    "a who that is missing": ("hazard", lambda k: k["transitions"]["assign"].pop("who"), "nobody may"),
    "a placement that is missing": ("hazard", lambda k: k.pop("placement"), "nobody would hold it"),
    "a placement that anybody may edit": ("hazard", lambda k: k["fields"]["area"].pop("only_by"), "is not only_by"),
    "a right that rests on what may be edited": ("hazard", lambda k: k["edit"][0]["fields"].append("area"), "may be edited"),
    "a right that rests on what is computed": ("hazard", lambda k: k["transitions"]["void"].update(who="doc.overdue"), "which is computed"),
    "a right that rests on what is sealed": ("hazard", lambda k: k["transitions"]["void"].update(who="doc.place != null"), "is sealed"),
    "a fact judged by a state": ("hazard", lambda k: k["sets"]["comments"].update(who='doc.status == "done"'), "which changes"),
    "a fact judged by what a step writes": (
        "hazard",
        lambda k: k["sets"]["comments"].update(who="actor.id == doc.assignee"),
        "which changes",
    ),
    "a fact judged by another document": (
        "hazard",
        lambda k: k["sets"]["comments"].update(who="uses.assignee != null"),
        "another document",
    ),
    "an edit of what a step writes": ("hazard", lambda k: k["edit"][0]["fields"].append("due_at"), "only"),
    "an edit of nothing": ("hazard", lambda k: k["edit"][0]["fields"].append("colour"), "no such field"),
    "a step that writes what is not its own": ("hazard", lambda k: k["transitions"]["void"]["set"].update(due_at="now"), "void writes it"),
    "a step that writes nothing it owns": ("hazard", lambda k: k["fields"]["reason"]["only_by"].append("close"), "does not write it"),
    "a step that writes an unknown field": ("hazard", lambda k: k["transitions"]["void"]["set"].update(colour="now"), "no such field"),
    "only_by without a step": ("hazard", lambda k: k["fields"]["reason"]["only_by"].append("fly"), "names no transition"),
    "an approval of one's own": (
        "hazard",
        lambda k: k["transitions"]["close"].update(who='actor.has("supervise", doc.area)'),
        "whom it must not be",
    ),
    "an approval that is not called one": ("limit", lambda k: k["transitions"]["confirm"].pop("approval"), "named as an approval"),
    "a stop in some states only": ("machine", lambda k: k["transitions"]["stop_use"].update({"from": ["running"]}), "every state"),
    "a stop that not everybody may": (
        "machine",
        lambda k: k["transitions"]["stop_use"].update(who='actor.has("check")'),
        "anybody may stop",
    ),
    "a way out of a stop that is no start": ("machine", lambda k: k["transitions"]["resume"].pop("start"), "say start"),
    "a start that nothing can stop": ("hazard", lambda k: k["transitions"]["assign"].update(start=True), "nothing can stop"),
    "a stop that starts": ("machine", lambda k: k["transitions"]["stop_use"].update(start=True), "a stop and a start"),
    "an item that stops by what the document says": (
        CRANE,
        lambda k: k["sets"]["answers"].update(stop_when='doc.mode == "patrol"'),
        "reads more than the item",
    ),
    "an item that stops only for some": (CRANE, lambda k: k["sets"]["answers"].update(stop_when='item.by == "x"'), "whoever said it"),
    "an item that stops by a number": (CRANE, lambda k: k["sets"]["answers"].update(stop_when="1 + 1"), "gives no truth"),
    "an item that stops and that only the server adds": (
        CRANE,
        lambda k: k["sets"]["answers"].update(server=True),
        "nobody but the server adds to it",
    ),
    "a refusal without words": (
        "hazard",
        lambda k: k["transitions"]["assign"]["needs"][0].update({"else": "hazard.nope"}),
        "not in the catalogue",
    ),
    "a refusal whose words lack a value": (CRANE, lambda k: k["transitions"]["finish"]["needs"][0].pop("params"), "wants count"),
    "a spawned document of no kind": (CRANE, lambda k: k["sets"]["answers"]["spawn"][0].update(kind="ghost"), "no such kind"),
    "a spawned document with a field too many": (CRANE, lambda k: k["sets"]["answers"]["spawn"][0]["fields"].update(x="1"), "no field x"),
    "a spawned document with a field too few": (CRANE, lambda k: k["sets"]["answers"]["spawn"][0]["fields"].pop("area"), "wants area"),
    "a step elsewhere that is not there": (CRANE, lambda k: k["sets"]["answers"]["acts"][0].update(transition="fly"), "no transition fly"),
    "a step elsewhere without its input": (CRANE, lambda k: k["sets"]["answers"]["acts"][0]["input"].pop("at"), "wants at"),
    "a step elsewhere with an input too many": (CRANE, lambda k: k["sets"]["answers"]["acts"][0]["input"].update(x="1"), "takes no x"),
    "a message without words": ("hazard", lambda k: k["transitions"]["assign"]["tell"][0].update(what="hello"), "no such text"),
    "uses that point nowhere": ("hazard", lambda k: k["uses"].update(x="doc.note"), "points nowhere"),
    "a used field that is no part of the card": (
        CRANE,
        lambda k: k["computed"]["bad"].update(rule="uses.machine.photo"),
        "lets nobody read photo",
    ),
    "a computed field that rests on itself": (CRANE, lambda k: k["computed"]["bad"].update(rule="doc.bad_critical"), "rests on itself"),
    "a deadline without its step": ("machine", lambda k: k["deadlines"][0].update(do="fly"), "no such transition"),
    "a deadline in the wrong state": ("machine", lambda k: k["deadlines"][0].update({"while": "stopped"}), "is not taken in"),
    "a title that is missing": ("hazard", lambda k: k["fields"]["note"].pop("title"), "is missing"),
    "a title in one language": ("hazard", lambda k: k["fields"]["note"].update(title={"zh": "Note", "en": "Note"}), "is not Chinese"),
    "a choice in one language": ("hazard", lambda k: k["fields"]["grade"]["of"].update(red={"zh": "重大", "en": "重大"}), "is not English"),
    "a choice without choices": ("hazard", lambda k: k["fields"]["grade"].pop("of"), "has no choices"),
    "a ref to no kind": ("hazard", lambda k: k["fields"]["machine"].update(of="ghost"), "points to no kind"),
    "a table without columns": ("person", lambda k: k["fields"]["roles"].pop("columns"), "has no columns"),
    "a default that is refused": ("machine", lambda k: k["fields"]["criticality"].update(default="Z"), "its default is refused"),
    "a personal field that opens to nobody": ("hazard", lambda k: k.pop("opens"), "opens to nobody"),
    "a name that is none": ("hazard", lambda k: k["fields"].update({"Note": k["fields"]["note"]}), "is no name"),
    "a field that every document has": ("hazard", lambda k: k["fields"].update(status=k["fields"]["note"]), "has that already"),
    "a name for two things": ("hazard", lambda k: k["computed"].update(note=k["computed"]["overdue"]), "stands for two things"),
    "a check item of another list": (CRANE, lambda k: k["items"][0].update(id="ladle.x"), "is not the list's"),
    "a check item twice": (CRANE, lambda k: k["items"].append(k["items"][0]), "its id stands twice"),
    "a check item whose law is not there": (CRANE, lambda k: k["items"][0]["law"].update(id="NOPE"), "source that is not there"),
    "a number without a unit": (CRANE, lambda k: next(i for i in k["items"] if i["type"] == "number").pop("unit"), "has a unit"),
    "an occasion that is none": (CRANE, lambda k: k["checklist"]["modes"].append("at_night"), "no such occasion"),
    "a fact that writes a field": ("hazard", lambda k: k["sets"]["comments"].update(set={"note": "now"}), "writes no field"),
}


@pytest.mark.parametrize("title", SPOILS)
def test_the_linter_finds(title: str) -> None:
    name, spoil, what = SPOILS[title]
    path = next(path for path in load.kind_files() if path.stem == name)
    content = load.read_kind(path)
    spoiled = copy.deepcopy(content)
    assert spoiled is not None
    spoil(spoiled)
    kind = compile_kind(spoiled)
    found = [str(problem) for problem in lint.check_kind(kind, KINDS | {name: kind})]
    assert any(what in problem for problem in found), found
