"""What a kind file says. Twin of pwa/src/flow/kind.ts; the wire form is the same, as JSON, with `extends` resolved."""

import contextlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

import msgspec

from backend.flow.cel import Program
from backend.flow.celtext import CelSyntax, Scope
from backend.sync.judge import Body

Cel = str
"""A rule's text in the subset of `celtext`."""


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A text for people, in both languages."""

    zh: str
    en: str


class Law(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where something comes from. `id` stands in the kind's `sources`; `sure`: A clause read, B secondary, C the plant must verify."""

    id: str
    clause: str = ""
    sure: Literal["A", "B", "C"] | None = None


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A law, standard or other text that numbers come from, and how it was read."""

    zh: str
    en: str
    read: str = ""


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"otherwise": "else"}):
    """What must hold, and the code of the catalogue that says it does not. `params` are CEL."""

    rule: Cel
    otherwise: str
    params: dict[str, Cel] = {}


FieldType = Literal[
    "text", "number", "yes_no", "choice", "choices", "time", "date", "duration", "ref", "refs",
    "place", "media", "signature", "scan", "label", "table", "section", "list", "map",
]  # fmt: skip


class Field(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One field of a form, of a set's items, or of a transition's input.

    `of`: of a ref the kind it points to (`*`: any, then the value is `kind/id`); of a choice its ids with their titles, in order.
    `min` and `max`: of a number its bounds, of a text its characters, of choices, refs, tables and lists how many, of a time or
    duration ms. `only_by`: the transitions (or `new`) that alone may write it. `columns`: of a table. `item`: of a list or map.
    `fields`: of a section, which fields stand under it.
    """

    type: FieldType
    title: Label | None = None
    help: Label | None = None
    picture: str | None = None
    required: bool = False
    show: Cel | None = None
    check: list[Rule] = []
    default: Any = None
    of: str | dict[str, Label] | None = None
    unit: str | None = None
    min: float | None = None
    max: float | None = None
    step: float | None = None
    limits: list[dict[str, Any]] = []
    personal: bool = False
    opens: Cel | None = None
    only_by: list[str] = []
    columns: dict[str, "Field"] = {}
    item: "Field | None" = None
    fields: list[str] = []
    law: Law | None = None


class Spawn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A document that comes about: its id follows from the op and `name`."""

    name: str
    kind: str
    fields: dict[str, Cel]
    when: Cel | None = None


class FollowAct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A transition of another document, by the server's own device. `doc` gives `kind/id`."""

    name: str
    doc: Cel
    transition: str
    input: dict[str, Cel] = {}
    when: Cel | None = None


class Tell(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who hears of it: `who` gives a person's id, a shape, a list of these, or null."""

    who: Cel
    what: str
    params: dict[str, Cel] = {}
    when: Cel | None = None


class Does(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """What `new`, an added item and a transition have in common. `server`: only the server's own device.

    `anonymous`: its author may be sealed; then `who` and `needs` know him, and what is written does not (`actor.id` is null there).
    """

    who: Cel | None = None
    server: bool = False
    anonymous: bool = False
    needs: list[Rule] = []
    set: dict[str, Cel] = {}
    spawn: list[Spawn] = []
    acts: list[FollowAct] = []
    tell: list[Tell] = []


class New(Does, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """How a document begins."""


class SetSpec(Does, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A grow-only set of items. Its `set` writes nothing: items are facts. `stop_when`, over the item: it stops something, so that it
    counts at once whoever said it."""

    fields: dict[str, Field]
    title: Label | None = None
    help: Label | None = None
    stop_when: Cel | None = None


class Edit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who may `set` which fields."""

    fields: list[str]
    who: Cel


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A state of the flow. `end`: nothing changes any more by transitions. `level` gives its colour on screen."""

    title: Label
    start: bool = False
    end: bool = False
    level: Literal["normal", "blue", "yellow", "orange", "red", "quiet"] | None = None


_RENAMED = {"source": "from", "starts": "start"}


class Transition(Does, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, rename=_RENAMED):
    """A step of the flow.

    `from`: the states it may be taken in (`*`: any that is no end). `to`: the state it leads to, or the first whose rule holds; none: it
    stays. `stop`: accepted in any state that is no end, whatever came before. `start`: undone by a stop its author had not seen.
    `offline`: `no`, `claim` (shown as claimed until the server agrees), `grant` (decided on the phone under a signed grant).
    `add` puts items into sets of the document. `approval`: somebody confirms another's work; `who` must name whom it must not be.
    """

    source: list[str] | Literal["*"] = "*"
    to: str | dict[str, Cel] | None = None
    title: Label | None = None
    help: Label | None = None
    input: dict[str, Field] = {}
    add: dict[str, dict[str, Cel]] = {}
    stop: bool = False
    starts: bool = False
    approval: bool = False
    offline: Literal["no", "claim", "grant"] = "claim"
    tone: Literal["primary", "plain", "danger"] = "plain"


class Deadline(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"during": "while"}):
    """While the document is in these states, at this moment (Unix ms, null: none), the server takes this transition."""

    during: list[str]
    at: Cel
    do: str
    input: dict[str, Cel] = {}


class Computed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A value that follows from the others."""

    rule: Cel
    title: Label | None = None
    type: FieldType | None = None
    unit: str | None = None


class Use(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Another document that the rules read, by a path such as `doc.machine`. `required`: the op waits until that document is there."""

    at: str
    required: bool = False


ROLES = "roles"
PLACES_DAYS = 90
"""After how long a personal place is rounded where its kind names no other time: a law that asks for more stands in the kind."""


class Keep(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`years`: how long a document is kept after its last change. `places_days`: for how long its personal places are exact, counted from
    when the server got them."""

    years: float | None = None
    places_days: float = PLACES_DAYS


class CheckOption(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a choice may be; `ok`: it is normal."""

    value: str
    title: Label
    ok: bool


class CheckCondition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A case in which a number has other bounds. What is not named is open."""

    id: str
    title: Label
    min: float | None = None
    max: float | None = None


class CheckItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of a check list. `yes` is normal; a number is bad outside [min, max], or outside those of the condition that was named;
    `dwell_s` is the shortest plausible time, which is flagged and not refused.

    `law_scope`: direct (the clause asks for this thing), general (it gives the general duty), none (good practice).
    `plant_sets_limit`: the figure is a placeholder, or there is none, until the plant's own stands in a limit (see `bound_key`).
    `limit_sure` rates the figure where `sure` rates the requirement. `na_allowed`: it may be answered "not applicable".
    """

    id: str
    title: Label
    type: Literal["yes_no", "number", "choice"]
    critical: bool
    photo_on_fail: bool
    hint: Label
    pictogram: str
    dwell_s: float
    law: Law | None
    law_scope: Literal["direct", "general", "none"]
    sure: Literal["A", "B", "C"]
    unit: str | None = None
    min: float | None = None
    max: float | None = None
    options: list[CheckOption] = []
    conditions: list[CheckCondition] = []
    plant_sets_limit: bool = False
    limit_sure: Literal["A", "B", "C"] | None = None
    na_allowed: bool = True


def bound_key(item: str, bound: str, condition: str | None = None) -> str:
    """The name of the limit that stands over a check item's bound (`min` or `max`), where there is such a limit."""
    return ".".join(["check", item, *([condition] if condition else []), bound])


class Checklist(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a check list is for: types of equipment, occasions, who walks it; and what guards it against ticking at the desk."""

    id: str
    equipment_types: dict[str, Label]
    modes: list[str]
    interval: Label
    by_role: list[str]
    shuffle: bool = False
    random_proof_photo_ratio: float = 0
    min_total_dwell_ratio: float = 0
    sure: Literal["A", "B", "C"] = "C"


class Kind(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A kind file. `card`: the fields that other kinds may read of its documents (none named: all that are not personal). `takes_over`:
    earlier versions whose documents follow this one's rules from the moment it is in use (decision 9); what they hold must fit it."""

    kind: str
    version: int
    title: Label
    states: dict[str, State]
    takes_over: list[int] = []
    help: Label | None = None
    icon: str | None = None
    law: Law | None = None
    sources: dict[str, Source] = {}
    fields: dict[str, Field] = {}
    sets: dict[str, SetSpec] = {}
    computed: dict[str, Computed] = {}
    uses: dict[str, Use] = {}
    card: list[str] = []
    placement: list[Cel] = []
    opens: Cel | None = None
    new: New = New()
    edit: list[Edit] = []
    transitions: dict[str, Transition] = {}
    deadlines: list[Deadline] = []
    keep: Keep | None = None
    texts: dict[str, Label] = {}
    """What `tell` says, by its `what`."""
    checklist: Checklist | None = None
    items: list[CheckItem] = []


ALWAYS = ("id", "key", "kind", "version", "status")
"""What every view has besides its fields."""
ACTOR = ("id", "roles", "server")


class CompiledKind:
    """A kind that is ready to run. Each rule is compiled once, when it is first needed."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._programs: dict[tuple[str, str], Program | CelSyntax] = {}
        self._scopes: dict[str, Scope] = {}
        self._within: tuple[Mapping[str, float], dict[str, dict[str, Any]]] | None = None

    @property
    def name(self) -> str:
        return self.kind.kind

    @cached_property
    def start(self) -> str:
        """The state that a document begins in."""
        return next(name for name, state in self.kind.states.items() if state.start)

    @cached_property
    def items(self) -> dict[str, dict[str, Any]]:
        """The check list by id, as its file has it."""
        return {item.id: msgspec.to_builtins(item) for item in self.kind.items}

    def items_within(self, limits: Mapping[str, float]) -> dict[str, dict[str, Any]]:
        """The check list by id, as rules see it: the plant's limits stand over the file's bounds."""
        if not self.items:
            return self.items
        held = self._within
        if held is None or held[0] is not limits:
            # Limits change seldom and are asked for with every rule: the answer is kept as long as they are the same.
            held = self._within = (limits, {name: _within(item, limits) for name, item in self.items.items()})
        return held[1]

    @cached_property
    def checklist(self) -> dict[str, Any]:
        """What the check list is for, as rules see it."""
        return msgspec.to_builtins(self.kind.checklist) if self.kind.checklist is not None else {}

    @cached_property
    def editors(self) -> dict[str, list[Cel]]:
        """The rules of which one must hold for whoever edits a field; fields that nobody may edit are not in it."""
        found: dict[str, list[Cel]] = {}
        for edit in self.kind.edit:
            for name in dict.fromkeys(edit.fields):
                found.setdefault(name, []).append(edit.who)
        return found

    @cached_property
    def asks_rosters(self) -> bool:
        """Whether some rule asks who is on duty."""
        return any("on_duty" in text for _, text, _ in rules(self.kind))

    @cached_property
    def uses_of_documents(self) -> bool:
        """Whether some `uses` points from the document itself, so that it stands for an op that brings no input."""
        return any(use.at.partition(".")[0] == "doc" for use in self.kind.uses.values())

    @cached_property
    def asks_calendar(self) -> bool:
        """Whether some deadline hangs on the calendar."""
        return any(name in deadline.at for deadline in self.kind.deadlines for name in ("next_window", "shift_", "day_start"))

    @cached_property
    def personal(self) -> list[str]:
        """Names of the fields that hold personal values; `set.entry` for those of a set's items."""
        of_sets = [f"{name}.{entry}" for name, spec in self.kind.sets.items() for entry, field in spec.fields.items() if field.personal]
        return [*(name for name, field in self.kind.fields.items() if field.personal), *of_sets]

    @cached_property
    def opened_by(self) -> frozenset[str]:
        """The capabilities that decide who reads the `personal` ones; `roles` where a rule asks for roles themselves."""
        fields = [*self.kind.fields.values(), *(field for spec in self.kind.sets.values() for field in spec.fields.values())]
        found: set[str] = set()
        for text in {field.opens or self.kind.opens for field in fields if field.personal} - {None}:
            with contextlib.suppress(CelSyntax):
                read = self.program(str(text), "doc").text
                found |= {*read.caps, *(ROLES for ref in read.refs if (ref.root, ref.name) == ("actor", ROLES))}
        return frozenset(found)

    @cached_property
    def places(self) -> frozenset[str]:
        """Those of the `personal` ones that say where somebody was."""
        own = dict(self.kind.fields)
        own |= {f"{name}.{entry}": field for name, spec in self.kind.sets.items() for entry, field in spec.fields.items()}
        return frozenset(name for name in self.personal if own[name].type == "place")

    @cached_property
    def places_days(self) -> float:
        """For how long these are exact."""
        return self.kind.keep.places_days if self.kind.keep is not None else PLACES_DAYS

    def program(self, text: Cel, where: str) -> Program:
        """The rule, compiled. `where`: `doc`, `new`, `set:<name>`, `act:<name>`, and ` value` after it for a `check`. Raises CelSyntax."""
        found = self._programs.get((text, where))
        if found is None:
            try:
                found = Program(text, self.scope(where))
            except CelSyntax as wrong:
                found = wrong
            self._programs[text, where] = found
        if isinstance(found, CelSyntax):
            raise found
        return found

    def scope(self, where: str) -> Scope:
        """The names that a rule may use."""
        found = self._scopes.get(where)
        if found is None:
            kind = self.kind
            scope: dict[str, Any] = {
                "doc": {*ALWAYS, *kind.fields, *kind.sets, *kind.computed},
                "actor": ACTOR,
                "now": None,
                "uses": set(kind.uses),
                "plant": None,
            }
            if kind.checklist is not None:
                scope["checklist"] = Checklist.__struct_fields__
            place, _, extra = where.partition(" ")
            match place.partition(":"):
                case "act", _, name:
                    scope["input"] = set(kind.transitions[name].input)
                case "set", _, name:
                    scope["item"] = {"id", "by", "at", *kind.sets[name].fields}
            if extra == "value":
                scope["value"] = None
            found = self._scopes[where] = scope
        return found


def _within(item: dict[str, Any], limits: Mapping[str, float]) -> dict[str, Any]:
    def bounds(of: dict[str, Any], condition: str | None) -> dict[str, Any]:
        return {bound: limits.get(bound_key(item["id"], bound, condition), of[bound]) for bound in ("min", "max")}

    if item["type"] != "number":
        return item
    return {**item, **bounds(item, None), "conditions": [{**one, **bounds(one, one["id"])} for one in item["conditions"]]}


def rules(kind: Kind) -> Iterator[tuple[str, Cel, str]]:
    """Every rule of a kind: its path in the file, its text, and where it runs."""

    def of_fields(path: str, fields: dict[str, Field], where: str) -> Iterator[tuple[str, Cel, str]]:
        for name, field in fields.items():
            if field.show:
                yield f"{path}.{name}.show", field.show, where
            for n, rule in enumerate(field.check):
                yield from of_rule(f"{path}.{name}.check.{n}", rule, f"{where} value")
            if field.opens:
                yield f"{path}.{name}.opens", field.opens, "doc"
            yield from of_fields(f"{path}.{name}.columns", field.columns, where)

    def of_rule(path: str, rule: Rule, where: str) -> Iterator[tuple[str, Cel, str]]:
        yield f"{path}.rule", rule.rule, where
        for name, text in rule.params.items():
            yield f"{path}.params.{name}", text, where

    def of_does(path: str, does: Does, where: str) -> Iterator[tuple[str, Cel, str]]:
        if does.who:
            yield f"{path}.who", does.who, where
        for n, rule in enumerate(does.needs):
            yield from of_rule(f"{path}.needs.{n}", rule, where)
        for name, text in does.set.items():
            yield f"{path}.set.{name}", text, where
        for spawn in does.spawn:
            for name, text in (spawn.fields | ({"when": spawn.when} if spawn.when else {})).items():
                yield f"{path}.spawn.{spawn.name}.{name}", text, where
        for act in does.acts:
            for name, text in (act.input | {"doc": act.doc} | ({"when": act.when} if act.when else {})).items():
                yield f"{path}.acts.{act.name}.{name}", text, where
        for n, tell in enumerate(does.tell):
            for name, text in (tell.params | {"who": tell.who} | ({"when": tell.when} if tell.when else {})).items():
                yield f"{path}.tell.{n}.{name}", text, where

    yield from of_fields("fields", kind.fields, "doc")
    for name, computed in kind.computed.items():
        yield f"computed.{name}", computed.rule, "doc"
    for n, text in enumerate(kind.placement):
        yield f"placement.{n}", text, "doc"
    if kind.opens:
        yield "opens", kind.opens, "doc"
    yield from of_does("new", kind.new, "new")
    for n, edit in enumerate(kind.edit):
        yield f"edit.{n}.who", edit.who, "doc"
    for name, spec in kind.sets.items():
        yield from of_fields(f"sets.{name}.fields", spec.fields, f"set:{name}")
        yield from of_does(f"sets.{name}", spec, f"set:{name}")
        if spec.stop_when:
            yield f"sets.{name}.stop_when", spec.stop_when, f"set:{name}"
    for name, transition in kind.transitions.items():
        where = f"act:{name}"
        yield from of_fields(f"transitions.{name}.input", transition.input, where)
        yield from of_does(f"transitions.{name}", transition, where)
        for state, text in transition.to.items() if isinstance(transition.to, dict) else ():
            yield f"transitions.{name}.to.{state}", text, where
        for set_name, item in transition.add.items():
            for field, text in item.items():
                yield f"transitions.{name}.add.{set_name}.{field}", text, where
    for n, deadline in enumerate(kind.deadlines):
        yield f"deadlines.{n}.at", deadline.at, "doc"
        for field, text in deadline.input.items():
            yield f"deadlines.{n}.input.{field}", text, "doc"


def normal(raw: dict[str, Any]) -> dict[str, Any]:
    """The long form of what a kind file may say in short: one `edit`, a bare rule as `computed` or `check`, a path as `uses`, one state
    as `while`."""
    found = dict(raw)
    if isinstance(found.get("edit"), dict):
        found["edit"] = [found["edit"]]
    found["computed"] = {k: {"rule": v} if isinstance(v, str) else v for k, v in found.get("computed", {}).items()}
    found["uses"] = {k: {"at": v} if isinstance(v, str) else v for k, v in found.get("uses", {}).items()}
    found["deadlines"] = [
        {**deadline, "while": [deadline["while"]]} if isinstance(deadline.get("while"), str) else deadline
        for deadline in found.get("deadlines", [])
    ]
    for fields in [
        found.get("fields", {}),
        *(s.get("fields", {}) for s in found.get("sets", {}).values()),
        *(t.get("input", {}) for t in found.get("transitions", {}).values()),
    ]:
        for name, field in fields.items():
            if isinstance(field.get("check"), str):
                fields[name] = {**field, "check": [{"rule": field["check"], "else": "flow.field_check", "params": {}}]}
    return {k: v for k, v in found.items() if v not in ({}, [])}


def parse_kind(source: Any) -> Kind:
    """A kind from its file's or its document's content. Raises msgspec.ValidationError, which names the place."""
    return msgspec.convert(normal(source), Kind)


def compile_kind(source: Any) -> CompiledKind:
    """A kind ready to run, from its content. Raises msgspec.ValidationError."""
    return CompiledKind(parse_kind(source))


CHUNK_BYTES_MAX = 14_000
"""A value of an op holds 16 KB; a kind's text is longer and stands in `source`, `source_2`, …"""
CHUNKS_MAX = 8


def pack_source(kind: Kind) -> dict[str, str]:
    """The fields of a `kind` document that hold the kind's JSON text. Raises ValueError where it is too long for one op."""
    # In the file's own order: forms ask in it.
    text = msgspec.json.encode(kind).decode()
    chunks: list[str] = []
    rest = text
    while rest:
        size = len(rest)
        while len(msgspec.json.encode(rest[:size])) > CHUNK_BYTES_MAX:
            size = size * CHUNK_BYTES_MAX // len(msgspec.json.encode(rest[:size]))
        chunks.append(rest[:size])
        rest = rest[size:]
    if len(chunks) > CHUNKS_MAX:
        raise ValueError(f"{kind.kind} is too long")
    return {"source" if n == 0 else f"source_{n + 1}": chunk for n, chunk in enumerate(chunks)}


def unpack_source(body: Body) -> Any:
    """The content of a kind from its document's body. Raises msgspec.DecodeError."""
    fields = body["fields"]
    names = ["source", *(f"source_{n}" for n in range(2, CHUNKS_MAX + 1))]
    return msgspec.json.decode("".join(fields[name][0] for name in names if name in fields and fields[name][0]))
