"""One table says who may do what: `permissions.csv`. It is compared with the routes and kinds of the running app, each tried as each role.

A route or a step that the table lacks fails, and so does a row that nothing stands behind. Columns are the demo plant's people, each tried
where their role is held; `nobody` has no session and no proof; `own` is a worker whom the document names wherever it names a person.
"""

import csv
import os
import re
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from litestar.routes import HTTPRoute

from backend.demo import MACHINES, PEOPLE, area_id, machine_id, person_id, route_id
from backend.flow.kind import CheckItem, CompiledKind, Field
from backend.kernel.ids import SERVER_AUTHOR, uuid7
from backend.sync.op import Act, Add, New, Op, Set

TABLE = Path(__file__).with_name("permissions.csv")
ROLES = [person.username for person in PEOPLE]
COLUMNS = ["nobody", *ROLES, "own"]
DENIED = {"flow.not_allowed", "flow.server_only", "flow.field_readonly", "author.unproven"}
STOP = {"id": "x", "names": {"zh": "点", "en": "Stop"}, "do": "scan", "tag": "7K3M9QPA"}
LAST = ["POST /api/auth/sign-out"]
"""Routes that end the session they are tried in."""
FILLED = {"person": "0190a0de-0000-7000-8000-000000000001", "number": "1"}


def table() -> dict[tuple[str, str], dict[str, str]]:
    """(what, step) → column → `yes` or `-`."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = {(row["what"], row["step"]): {name: row[name] for name in COLUMNS} for row in csv.DictReader(file)}
    assert all(set(row.values()) <= {"yes", "-"} for row in rows.values())
    return rows


def compare(found: dict[tuple[str, str], dict[str, str]], kind_of_row: str) -> None:
    """What was found against the table, row by row. With WRITE_PERMISSIONS=1 it is written anew, for a reviewer to read as a change."""
    if os.environ.get("WRITE_PERMISSIONS"):
        rows = ({k: v for k, v in table().items() if (k[0] == "route") != (kind_of_row == "route")} if TABLE.exists() else {}) | found
        with TABLE.open("w", encoding="utf-8", newline="") as file:
            out = csv.writer(file, lineterminator="\n")
            out.writerow(["what", "step", *COLUMNS])
            for what, step in sorted(rows, key=lambda k: (k[0] != "route", k)):
                out.writerow([what, step, *(rows[what, step][name] for name in COLUMNS)])
    stands = {k: v for k, v in table().items() if (k[0] == "route") == (kind_of_row == "route")}
    missing, gone = found.keys() - stands.keys(), stands.keys() - found.keys()
    assert not missing, f"the table has no row for {sorted(missing)}"
    assert not gone, f"the table has rows that nothing stands behind: {sorted(gone)}"
    differ = {k: {c: (stands[k][c], v) for c, v in row.items() if stands[k][c] != v} for k, row in found.items() if row != stands[k]}
    assert not differ, f"(table, app): {differ}"


# Routes.


def routes(app) -> list[tuple[str, str, Any]]:
    """Method, address and handler of every route; what Litestar answers to OPTIONS by itself serves nobody."""
    found = []
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                found += [
                    (method, route.path, handler)
                    for method in sorted(handler.http_methods)
                    if handler.opt.get("who") or method != "OPTIONS"
                ]
    return found


async def test_every_route_names_whom_it_serves(plant):
    found = routes(plant.app)
    assert len(found) > 25
    assert [path for _, path, handler in found if not handler.opt.get("who")] == []


async def test_every_route_serves_whom_the_table_says_and_nobody_else(plant):
    found: dict[tuple[str, str], dict[str, str]] = {}
    for column in COLUMNS:
        phone = plant.phone()
        if column != "nobody":
            await phone.sign_in("worker" if column == "own" else column)
        for method, path, _ in sorted(routes(plant.app), key=lambda r: f"{r[0]} {r[1]}" in LAST):
            at = re.sub(r"\{(\w+):\w+\}", lambda m: FILLED.get(m[1], "0" * 64), path)
            if path == "/api/sync/events" and column != "nobody":
                # An open stream never ends: who gets as far as the stream is seen from its guard alone.
                status = 200 if (await phone.get("/api/auth/me")).status_code == 200 else 403
            else:
                status = (await phone.client.request(method, at, headers=phone.headers if column != "nobody" else {}, json={})).status_code
            allowed = status not in (401, 403) or path == "/api/sync/push"
            found.setdefault(("route", f"{method} {path}"), {})[column] = "yes" if allowed else "-"
    compare(found, "route")


async def test_a_route_that_names_nobody_is_shut(plant):
    from litestar import get

    @get("/api/forgotten")
    async def forgotten() -> str:
        return "secret"

    plant.app.register(forgotten)
    admin = await plant.phone().sign_in("admin")
    answer = await admin.get("/api/forgotten")
    assert (answer.status_code, answer.json()["code"]) == (403, "auth.forbidden")


# Kinds.


class Maker:
    """Makes documents of any kind in any state by the server's own device, and what a person could say to them."""

    def __init__(self, plant: Any) -> None:
        self.plant = plant
        self.sync = plant.app.state["sync"]
        self.judge = plant.app.state["judge"]
        self.now = plant.clock()
        self.person = ""

    def id(self) -> str:
        return uuid7(self.now, os.urandom(10))

    def value(self, name: str, field: Field) -> Any:
        """A value that may stand in a field."""
        if field.personal:
            return {"sealed": "0" * 64}
        match field.type:
            case "text":
                return "7K3M9QPA" if name == "code" else "x" * max(1, int(field.min or 0))
            case "scan":
                return "7K3M9QPA"
            case "label":
                return {"zh": "字", "en": "text"}
            case "number":
                return field.min if field.min is not None else 1
            case "yes_no":
                return True
            case "choice":
                return next(iter(field.of))
            case "choices":
                return [next(iter(field.of))]
            case "time":
                return self.now + 3_600_000
            case "duration":
                return 60_000
            case "date":
                return "2030-01-01"
            case "ref":
                ids = {
                    "area": area_id("steelmaking"),
                    "person": self.person,
                    "machine": machine_id(MACHINES[0].number),
                    "round.route": route_id("cranes"),
                }
                return f"machine/{ids['machine']}" if field.of == "*" else ids.get(str(field.of), self.id())
            case "refs":
                return [self.person] if field.of == "person" else [self.id()]
            case "place":
                return {"lat": 31.4, "lon": 121.4, "accuracy_m": 5, "source": "gps", "phone_at": self.now, "at": self.now}
            case "media" | "signature":
                return {"sha256": "0" * 64, "type": "image/jpeg", "size": 1, "w": 1, "h": 1}
            case "table":
                return [{column: self.value(column, spec) for column, spec in field.columns.items() if spec.required}]
            case "list":
                return [self.value(name, field.item)] if field.item else []
            case "map":
                return {"x": self.value(name, field.item)} if field.item else {}
        raise AssertionError(f"no sample of a {field.type}")

    def values(self, fields: dict[str, Field], *, all_: bool = False) -> dict[str, Any]:
        return {name: self.value(name, field) for name, field in fields.items() if (field.required or all_) and field.type != "section"}

    def fields(self, kind: CompiledKind, *, server: bool) -> dict[str, Any]:
        """What begins a document: what is required, and for the server every person that it can name."""
        spec = kind.kind
        given = {
            n: f for n, f in spec.fields.items() if f.required or (server and f.type == "ref" and f.of in ("person", "area", "machine"))
        }
        if not server:
            given = {n: f for n, f in given.items() if n not in spec.new.set}
        found = self.values(given, all_=True)
        if spec.kind == "plant":
            found["roles"] = {"worker": ["report"]}
        if spec.kind == "maintenance":
            found["every_days"] = 30
        if spec.kind == "round.route":
            found["stops"] = [STOP]
        if spec.kind == "round" and server:
            # It has begun, and it is over: every step can be tried.
            found |= {"stops": [STOP], "begins_at": self.now - 7_200_000, "ends_at": self.now - 3_600_000, "assignees": [self.person]}
        return found

    def input(self, kind: CompiledKind, transition: str, doc: dict[str, Any] | None = None) -> dict[str, Any]:
        given = self.values(kind.kind.transitions[transition].input)
        if kind.kind.kind == "plant" and transition == "change_roles":
            given["roles"] = {"worker": ["report"]}
        if kind.kind.kind == "maintenance" and transition == "change":
            given["every_days"] = 7
        return given

    def path(self, kind: CompiledKind, states: list[str] | str) -> list[str]:
        """Transitions from the start to one of these states, the shortest way."""
        wanted = {name for name, state in kind.kind.states.items() if not state.end} if states == "*" else set(states)
        queue: deque[tuple[str, list[str]]] = deque([(kind.start, [])])
        seen = {kind.start}
        while queue:
            state, way = queue.popleft()
            if state in wanted:
                return way
            # A step that leads to one state first: where another leads depends on the document.
            for name, step in sorted(kind.kind.transitions.items(), key=lambda one: isinstance(one[1].to, dict)):
                if step.source == "*" or state in step.source:
                    for to in [step.to] if isinstance(step.to, str) else list(step.to or {}):
                        if to not in seen:
                            seen.add(to)
                            queue.append((to, [*way, name]))
        raise AssertionError(f"{kind.name}: nothing leads to {states}")

    async def document(self, kind: CompiledKind, way: list[str]) -> tuple[str, int]:
        """A new document, taken along these transitions, and its seq."""
        name = "0" * 56 + os.urandom(4).hex() if kind.name == "parked" else self.id()
        key = f"{kind.name}/{name}"
        said: list[Op] = [New(0, 0, 0, SERVER_AUTHOR, key, kind.kind.version, self.fields(kind, server=True))]
        if "finish" in way and kind.kind.checklist is not None:
            # A critical item that does not apply, so that somebody has to confirm it.
            said += [Add(0, 0, 0, SERVER_AUTHOR, key, "answers", self.id(), answer(item)) for item in kind.kind.items]
        said += [Act(0, 0, 0, SERVER_AUTHOR, key, step, self.input(kind, step), 0) for step in way]
        verdicts = await self.sync.say(*said)
        assert {v.state for v in verdicts} == {"ok"}, (key, way, verdicts)
        return key, verdicts[-1].seq


def answer(item: CheckItem) -> dict[str, Any]:
    if item.critical and item.na_allowed:
        return {"item": item.id, "verdict": "na", "note": "none here"}
    return {"item": item.id, "verdict": "ok", "value": item.min if item.min is not None else item.max}


async def steps(maker: Maker, kind: CompiledKind) -> list[tuple[str, Op]]:
    """Everything that can be said of a kind, each about a document of its own that is ready for it."""
    spec = kind.kind
    found: list[tuple[str, Op]] = [("new", New(0, 0, 0, "", f"{spec.kind}/{maker.id()}", spec.version, maker.fields(kind, server=False)))]
    for name, field in spec.fields.items():
        if field.type != "section":
            found.append((f"set {name}", Set(0, 0, 0, "", (await maker.document(kind, []))[0], {name: maker.value(name, field)})))
    for name, items in spec.sets.items():
        found.append((f"add {name}", Add(0, 0, 0, "", (await maker.document(kind, []))[0], name, maker.id(), maker.values(items.fields))))
    for name, step in spec.transitions.items():
        # The phone has seen the stops on the way: this is about who, not about stops.
        key, base = await maker.document(kind, [] if step.stop else maker.path(kind, step.source))
        found.append((name, Act(0, 0, 0, "", key, name, maker.input(kind, name), base)))
    return found


async def test_every_step_of_every_kind_is_for_whom_the_table_says_and_nobody_else(plant):
    maker = Maker(plant)
    kinds = plant.app.state["judge"].kinds()
    assert {"area", "person", "machine", "tag", "hazard", "parked", "limit", "plant", "kind"} <= {kind.name for kind in kinds}
    # The check lists differ by what they ask and in nothing that is asked here: one stands for all.
    lists = [kind for kind in kinds if kind.kind.checklist is not None]
    assert len(lists) == 16
    for kind in lists:
        for part in ("new", "edit", "sets", "transitions", "placement", "opens"):
            assert getattr(kind.kind, part) == getattr(lists[0].kind, part), (kind.name, part)
    kinds = [kind for kind in kinds if kind.kind.checklist is None or kind.name == "check.overhead_crane"]
    found: dict[tuple[str, str], dict[str, str]] = {}
    for column in COLUMNS:
        # A stranger to the document, unless the column says otherwise.
        maker.person = person_id("worker") if column == "own" else await stranger(maker)
        phone = await plant.phone().sign_in("worker" if column in ("own", "nobody") else column)
        said = [(kind.name, step, op) for kind in kinds for step, op in await steps(maker, kind)]
        author = maker.id() if column == "nobody" else ""
        ops = [type(op)(**{f: getattr(op, f) for f in op.__struct_fields__} | {"author": author}) for _, _, op in said]
        for (kind, step, _), verdict in zip(said, await phone.push(*ops), strict=True):
            if column != "nobody":
                assert verdict["state"] != "parked", (kind, step, verdict)
            allowed = verdict["state"] == "ok" or verdict.get("code") not in DENIED
            found.setdefault((kind, step), {})[column] = "yes" if allowed else "-"
    compare(found, "kind")


async def stranger(maker: Maker) -> str:
    """A person without any role."""
    person = maker.id()
    fields = {"names": {"zh": "某人", "en": "Somebody"}}
    version = maker.judge.newest("person")
    assert [v.state for v in await maker.sync.say(New(0, 0, 0, SERVER_AUTHOR, f"person/{person}", version, fields))] == ["ok"]
    return person


@pytest.mark.parametrize("what", ["route", "machine", "hazard", "person"])
def test_the_table_says_something_of_everything(what):
    assert [row for row in table() if row[0] == what]
