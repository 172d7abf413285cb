"""The two languages against each other: the same rules, values and people, made up at random, judged by both. A seed makes a failure come again."""

import json
import random
from typing import Any

import msgspec
from flow_twins import env_json, kind_task, on_the_phone, same
from test_flow_vectors import CEL, FORM, env_of

from backend.flow import form, machine
from backend.flow.actor import Actor, actor
from backend.flow.cel import RuleFailed
from backend.flow.celtext import FUNCTIONS, METHODS, CelSyntax, read
from backend.flow.kind import CompiledKind, Field, compile_kind
from backend.flow.machine import Env

SEED = 20_261
RULES = 4_000
GARBLED = 4_000
VALUES = 3_000
PEOPLE = 300

KIND: CompiledKind = compile_kind(CEL["kind"])
ENV: Env = env_of(CEL["env"])
KEY, BODY = CEL["doc"]["key"], CEL["doc"]["body"]
FIELDS = [*KIND.kind.fields, "answers", "status", "key", "twice", "four", "ring"]


def some_rule(r: random.Random, deep: int = 0, bound: tuple[str, ...] = ()) -> str:
    """A rule that is mostly well made, of values that mostly do not fit."""

    def inner(*more: str) -> str:
        return some_rule(r, deep + 1, (*bound, *more))

    if deep > 3 or r.random() < 0.2:
        return some_leaf(r, bound)
    match r.randrange(14):
        case 0 | 1:
            return f"{inner()} {r.choice(['+', '-', '*', '/', '%'])} {inner()}"
        case 2 | 3:
            return f"({inner()} {r.choice(['==', '!=', '<', '<=', '>', '>='])} {inner()})"
        case 4:
            return f"({inner()} {r.choice(['&&', '||'])} {inner()})"
        case 5:
            return f"({inner()} ? {inner()} : {inner()})"
        case 6:
            return f"{r.choice(['!', '-'])}({inner()})"
        case 7 | 8:
            name = f"v{deep}"
            return f"{inner()}.{r.choice(['exists', 'all', 'filter', 'map'])}({name}, {inner(name)})"
        case 9:
            return f"({inner()} in {inner()})"
        case 10:
            return f"{inner()}[{inner()}]"
        case 11:
            return f"{inner()}.{r.choice(['a', 'b', 'id', 'lat', 'item', 'length', 'toString'])}"
        case 12:
            name = r.choice([name for name in FUNCTIONS if name != "matches"])
            fewest, most, _ = FUNCTIONS[name]
            given = [inner() for _ in range(r.randint(fewest, most))]
            if name in METHODS and r.random() < 0.5:
                return f"{given[0]}.{name}({', '.join(given[1:])})"
            return f"{name}({', '.join(given)})"
        case _:
            return r.choice([f"[{inner()}, {inner()}]", "{" + f'"a": {inner()}, "b": {inner()}' + "}", f"has({inner()}.b)", f"({inner()})"])


def some_leaf(r: random.Random, bound: tuple[str, ...]) -> str:
    if bound and r.random() < 0.4:
        return r.choice(bound)
    return r.choice(
        [
            f"doc.{r.choice(FIELDS)}",
            f"doc.{r.choice(FIELDS)}",
            f"doc.{r.choice(FIELDS)}",
            str(r.choice([0, 1, 2, 3, 0.5, 1e6 + 0.25, 4503599627370496])),
            r.choice(['"a"', '"crane"', "'天车'", '""', '"～"', '"😀"', '"item"', '"l.a"', '"ratio"']),
            r.choice(["true", "false", "null", "[]", "now"]),
            r.choice(["uses.machine", "uses.gone", "uses.machine.area", "actor.id", "actor.roles", "plant.shifts", "checklist.modes"]),
            r.choice(['actor.has("check", doc.text)', 'actor.has("guard")', 'actor.has("check", "area1")']),
        ]
    )


def answer(rule: str) -> dict[str, Any]:
    try:
        return {"gives": machine.run(KIND, rule, "doc", ENV, machine.view(KIND, KEY, BODY))}
    except RuleFailed as failed:
        return {"fails": failed.code, "why": failed.why}
    except CelSyntax as wrong:
        return {"syntax": wrong.what}


def test_rules_made_up_at_random_give_the_same_or_fail_the_same() -> None:
    r = random.Random(SEED)
    rules = [some_rule(r) for _ in range(RULES)]
    tasks = [{"do": "run", "kind": KIND.name, "rule": rule, "env": env_json(ENV), "key": KEY, "body": BODY} for rule in rules]
    found = on_the_phone([kind_task(KIND), *tasks])[1:]
    wanted = [answer(rule) for rule in rules]
    pairs = list(zip(rules, wanted, found, strict=True))
    # Which of two failures is named may differ: one engine judges a call's arguments from the left, the other from the right.
    apart = [pair for pair in pairs if not same(pair[1], pair[2]) and not ("fails" in pair[1] and "fails" in pair[2])]
    assert apart == []
    assert sum(not same(here, there) for _, here, there in pairs) < RULES / 200
    given = sum("gives" in one for one in wanted)
    failed = sum("fails" in one for one in wanted)
    assert given > RULES / 6, "the rules made up give too seldom to show anything"
    assert failed > RULES / 30


PIECES = [
    *"()[]{}.,?:!<>=+-*/%&|'\"\\ 0123",
    "doc.",
    "now",
    "true",
    "null",
    "has",
    "in",
    "&&",
    "==",
    "exists",
    "(x, ",
    "if",
    "１",
    "é",
    "\n",
    "1.5",
    "__",
]


def test_garbled_rules_are_read_or_refused_alike() -> None:
    r = random.Random(SEED + 1)
    scope = {root: None if names is None else sorted(names) for root, names in KIND.scope("doc").items()}
    rules = []
    for _ in range(GARBLED):
        text = some_rule(r) if r.random() < 0.7 else r.choice(CEL["cases"])["rule"]
        for _ in range(r.randrange(1, 4)):
            at = r.randrange(len(text) + 1)
            text = text[:at] + r.choice([r.choice(PIECES), ""]) + text[at + r.choice([0, 0, 1, 3]) :]
        rules.append(text)
    wanted: list[Any] = []
    for rule in rules:
        try:
            text = read(rule, KIND.scope("doc"))
            wanted.append({"text": text.text, "type": text.type, "functions": text.functions, "caps": text.caps})
        except CelSyntax as wrong:
            wanted.append({"syntax": wrong.what})
    found = on_the_phone([{"do": "read", "rule": rule, "scope": scope} for rule in rules])
    apart = [(rule, here, there) for rule, here, there in zip(rules, wanted, found, strict=True) if not same(here, there)]
    assert apart == []
    assert sum("text" in one for one in wanted) > GARBLED / 20


def some_value(r: random.Random, near: Any) -> Any:
    """A value somewhere near one that is known."""
    match r.randrange(8):
        case 0:
            return r.choice([None, True, 0, -1, 1.5, 2**53, "", "x", [], {}, "２", "\n"])
        case 1 if isinstance(near, dict) and near:
            return {name: value for name, value in near.items() if name != r.choice(list(near))}
        case 2 if isinstance(near, dict) and near:
            name = r.choice(list(near))
            return {**near, name: some_value(r, near[name])}
        case 3 if isinstance(near, list) and near:
            return [*near, some_value(r, near[0])]
        case 4 if isinstance(near, str) and near:
            at = r.randrange(len(near))
            return near[:at] + r.choice(["", "0", "a", "A", "-", "/", "😀"]) + near[at + 1 :]
        case 5 if isinstance(near, int | float) and not isinstance(near, bool):
            return r.choice([near + 1, near - 1, -near, near / 3, near * 10])
    return near


def test_values_made_up_at_random_are_taken_and_refused_alike() -> None:
    r = random.Random(SEED + 2)
    cases = [(case["field"], some_value(r, case["value"])) for case in (r.choice(FORM["values"]) for _ in range(VALUES))]
    found = on_the_phone([{"do": "value", "field": field, "value": value} for field, value in cases])
    apart = []
    for (field, value), there in zip(cases, found, strict=True):
        wrong = form.wrong_value("f", msgspec.convert(field, Field), value)
        here = None if wrong is None else {"field": wrong.field, "code": wrong.code, "params": wrong.params}
        if not same(here, there):
            apart.append((field, value, here, there))
    assert apart == []


def test_people_made_up_at_random_may_do_the_same() -> None:
    r = random.Random(SEED + 3)
    names = "abcdefg"
    cases = []
    for _ in range(PEOPLE):
        areas = [{"id": area, "parent": r.choice([None, *names])} for area in r.sample(names, r.randrange(8))]
        roles = {role: r.sample(["check", "report", "guard"], r.randrange(4)) for role in ("x", "y", "z")}
        held = [{"role": r.choice("xyzw"), "area": r.choice([None, *names, *names])} for _ in range(r.randrange(4))]
        cases.append(
            {"person": {"id": "p", "status": r.choice(["active", "active", "inactive"]), "roles": held}, "areas": areas, "roles": roles}
        )
    found = on_the_phone([{"do": "actor", **case} for case in cases])
    for case, there in zip(cases, found, strict=True):
        assert msgspec.convert(there, Actor) == actor(case["person"], case["areas"], case["roles"]), json.dumps(case)
