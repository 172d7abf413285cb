"""What both languages were written down to do. pwa/tests/flow/vectors.test.ts runs the same files."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backend.flow import form, machine
from backend.flow.actor import Actor, actor
from backend.flow.calendar import Rosters
from backend.flow.cel import _FUNCTIONS, RuleFailed
from backend.flow.celtext import FUNCTIONS, CelSyntax
from backend.flow.kind import Field, FieldType, compile_kind
from backend.flow.machine import Env
from backend.sync.judge import Change, Parked, Refused
from backend.sync.op import decode

VECTORS = Path(__file__).parents[1] / "vectors"
CATALOGUE = Path(__file__).parents[2] / "backend/kernel/catalogue"
CEL = json.loads((VECTORS / "cel.json").read_text("utf-8"))
FORM = json.loads((VECTORS / "form.json").read_text("utf-8"))
CALENDAR = json.loads((VECTORS / "calendar.json").read_text("utf-8"))
MACHINE = json.loads((VECTORS / "machine.json").read_text("utf-8"))


def env_of(raw: dict[str, Any]) -> Env:
    rosters = Rosters(**raw["rosters"]) if "rosters" in raw else Rosters()
    return Env(**{**raw, "actor": msgspec.convert(raw["actor"], Actor), "rosters": rosters})


CEL_KIND = compile_kind(CEL["kind"])
CEL_ENV = env_of(CEL["env"])
CEL_VIEW = machine.view(CEL_KIND, CEL["doc"]["key"], CEL["doc"]["body"])


def same(a: Any, b: Any) -> bool:
    """Equal as JSON: Python's True == 1 is none of it."""
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def outcome_of(rule: str, env: Env = CEL_ENV) -> dict[str, Any]:
    try:
        return {"gives": machine.run(CEL_KIND, rule, "doc", env, CEL_VIEW)}
    except RuleFailed as failed:
        return {"fails": failed.code, "why": failed.why}
    except CelSyntax as wrong:
        return {"syntax": wrong.what}


@pytest.mark.parametrize("case", CEL["cases"], ids=lambda c: c["rule"][:60])
def test_a_rule_gives_what_is_written_down(case: dict[str, Any]) -> None:
    assert same({"rule": case["rule"], **outcome_of(case["rule"])}, case)


@pytest.mark.parametrize("case", CALENDAR["cases"], ids=lambda c: f"{c['at']}: {c['rule']}"[:80])
def test_the_plant_s_time_is_what_is_written_down(case: dict[str, Any]) -> None:
    env = env_of({**CEL["env"], "calendar": None, **CALENDAR["places"][case["at"]]})
    assert same({**case, **outcome_of(case["rule"], env)}, case)


def test_every_function_of_the_subset_has_a_rule_that_gives_and_one_that_fails() -> None:
    gives: set[str] = set()
    fails: set[str] = set()
    for case in CEL["cases"]:
        if "syntax" not in case:
            used = CEL_KIND.program(case["rule"], "doc").text.functions
            (gives if "gives" in case else fails).update(used)
    assert set(FUNCTIONS) <= set(_FUNCTIONS)
    assert set(_FUNCTIONS) - gives == set()
    assert set(_FUNCTIONS) - fails - {"any", "map", "may_anywhere", "check_items"} == set()


@pytest.mark.parametrize("case", FORM["values"], ids=lambda c: f"{c['field']['type']} {json.dumps(c['value'], ensure_ascii=False)[:60]}")
def test_a_field_takes_and_refuses_what_is_written_down(case: dict[str, Any]) -> None:
    found = form.wrong_value("f", msgspec.convert(case["field"], Field), case["value"])
    if case["wrong"] is None:
        assert found is None
    else:
        assert found is not None
        assert same({"field": found.field, "code": found.code, "params": found.params}, case["wrong"])


def test_every_field_type_takes_something_and_refuses_something() -> None:
    types = set(FieldType.__args__)
    taken = {case["field"]["type"] for case in FORM["values"] if case["wrong"] is None}
    refused = {case["field"]["type"] for case in FORM["values"] if case["wrong"] is not None}
    assert taken == types - {"section"}
    assert refused == types


@pytest.mark.parametrize("case", MACHINE["cases"], ids=lambda c: c["title"])
def test_an_op_does_what_is_written_down(case: dict[str, Any]) -> None:
    kind = compile_kind(MACHINE["kinds"][case["kind"]])
    op = decode(json.dumps(case["op"]).encode())
    outcome = machine.judge(kind, case["body"], op, env_of({**MACHINE["env"], **case.get("env", {})}))
    match outcome:
        case Change():
            found = {"change": {name: value for name, value in msgspec.to_builtins(outcome).items() if value}}
            for spawn in found["change"].get("spawns", []):
                del spawn["version"]
        case Refused() | Parked():
            found = {type(outcome).__name__.lower(): {"code": outcome.code, "params": outcome.params}}
    assert same(found, case["outcome"]), json.dumps(found, ensure_ascii=False)


@pytest.mark.parametrize("case", MACHINE["stops"], ids=lambda c: c["title"])
def test_an_op_stops_or_does_not_as_is_written_down(case: dict[str, Any]) -> None:
    op = decode(json.dumps(case["op"]).encode())
    assert machine.is_stop(compile_kind(MACHINE["kinds"][case["kind"]]), op) is case["stop"]


@pytest.mark.parametrize("case", MACHINE["forms"], ids=lambda c: c["title"])
def test_a_form_says_what_is_wrong_as_it_is_filled_in(case: dict[str, Any]) -> None:
    kind = compile_kind(MACHINE["kinds"][case["kind"]])
    seen = machine.view(kind, case["key"], case["body"]) if case["body"] else None
    found = machine.validate(kind, case["form"], case["values"], env_of(MACHINE["env"]), seen)
    assert same([{"field": w.field, "code": w.code, "params": w.params} for w in found], case["wrong"])


@pytest.mark.parametrize("case", MACHINE["views"], ids=lambda c: c["title"])
def test_a_document_is_seen_as_is_written_down(case: dict[str, Any]) -> None:
    kind = compile_kind(MACHINE["kinds"][case["kind"]])
    env = env_of({**MACHINE["env"], **case.get("env", {})})
    seen = machine.view(kind, case["key"], case["body"])
    assert same(seen, case["view"])
    assert same(machine.computed(kind, seen, env), case["computed"])
    assert machine.placement(kind, seen, env) == case["placement"]
    assert sorted(machine.opens(kind, seen, env)) == case["opens"]


@pytest.mark.parametrize("case", MACHINE["actors"], ids=lambda c: c["title"])
def test_a_person_may_do_what_is_written_down(case: dict[str, Any]) -> None:
    found = actor(case["person"], case["areas"], case["roles"])
    assert same(msgspec.to_builtins(found), case["actor"])
    for cap, area, may in case["may"]:
        assert found.has(cap, area) is may


def test_every_refusal_of_the_flow_has_a_vector() -> None:
    text = json.dumps([FORM, MACHINE, CEL, CALENDAR])
    codes = json.loads((CATALOGUE / "flow.json").read_text("utf-8"))
    # A retired kind is known to the ledger only: tests/flow/test_flow_judge.py.
    assert [code for code in codes if f'"{code}"' not in text] == ["flow.kind_retired"]


def test_the_other_language_runs_as_many() -> None:
    counts = {"cel": len(CEL["cases"]), "calendar": len(CALENDAR["cases"]), "form": len(FORM["values"])}
    counts |= {name: len(MACHINE[name]) for name in ("cases", "stops", "forms", "views", "actors")}
    assert counts == json.loads((VECTORS / "flow_counts.json").read_text("utf-8"))
