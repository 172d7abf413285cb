"""What an op does to a document. Pure: the op, the document, and what surrounds them come in; a change, a refusal or a wait comes out.
Twin of pwa/src/flow/machine.ts.

- `new`: the given fields and their defaults, over them what `new.set` says. Then `who`, the form and `needs`, which see the whole.
- `set`: each field stands in an `edit` whose `who` holds. Reads the author and what was fixed at creation; no state.
- `add`: `who`, the set's form, `needs`. Facts may come in any state: what follows from them follows.
- `act`: `from`, a stop's precedence, `who`, the input's form, `needs` see the document before; then `to` and `set`;
  `spawn`, `acts` and `tell` see it after.

Default deny: no rule, no right. The server's own device is not asked `who`, and where it begins a document, what it gives stands
over `new.set`. A rule that gives no answer is a refusal.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from backend.flow import form
from backend.flow.actor import Actor, nobody
from backend.flow.calendar import Calendar, Rosters
from backend.flow.cel import RuleFailed, Surroundings
from backend.flow.celtext import CelSyntax
from backend.flow.kind import CompiledKind, Does, Field, Rule, Transition
from backend.kernel import ids
from backend.sync.judge import Body, Change, FollowAct, Outcome, Parked, Refused, Spawn, Tell
from backend.sync.op import Act, Add, New, Op, Sealed, Set

View = dict[str, Any]
"""A document as rules and screens see it: `id`, `key`, `kind`, `version`, `status`, every field of its kind (absent: None), each set
as a list of items with their `id`, in the order of their clocks."""


class Env(msgspec.Struct, kw_only=True):
    """What surrounds an op. `now` is the op's time, Unix ms. `uses`: the views of what the kind's `uses` point to. `plant`: its view.

    `calendar`: its view, where one stands. `rosters`: who is on duty, needed where the kind asks. `unseen_stops`: a stop stands that the
    op's author had not seen. `op_id` names what the op brings about.
    """

    actor: Actor
    now: int
    op_id: str = ""
    uses: Mapping[str, View | None] = {}
    plant: Mapping[str, Any] | None = None
    calendar: Mapping[str, Any] | None = None
    rosters: Rosters = msgspec.field(default_factory=Rosters)
    limits: Mapping[str, float] = {}
    unseen_stops: bool = False
    unnamed: bool = False
    """What is written must not say who: set here, for an anonymous op."""
    computed: dict[tuple[int, str], tuple[Any, Any]] = msgspec.field(default_factory=dict)
    """Computed fields that were needed already, by view: a judgement asks for the same ones again and again."""
    seen: View | None = None
    """The document's view as it is, where somebody has built it already."""
    time: Calendar | None = None
    """`calendar` (or `plant`) ready to ask: set here."""
    around: tuple[CompiledKind, Surroundings] | None = None
    """What functions of this kind's rules ask: set here, and the same for every rule of a judgement."""


def judge(kind: CompiledKind, body: Body | None, op: Op, env: Env) -> Outcome:
    """Decide on one op. Never raises for what an op or a kind says."""
    try:
        if isinstance(op.author, Sealed):
            _anonymous(kind, op)
        if isinstance(op, New):
            return _new(kind, body, op, env)
        if body is None:
            return Parked("op.awaits_document", {"doc": op.doc})
        match op:
            case Set():
                return _set(kind, body, op, env)
            case Add():
                return _add(kind, body, op, env)
            case Act():
                return _act(kind, body, op, env)
    except _Stop as stop:
        return stop.outcome
    except RuleFailed as failed:
        return Refused(failed.code, failed.params)
    except CelSyntax:
        return Refused("flow.rule_failed")


def _anonymous(kind: CompiledKind, op: Op) -> None:
    """Only what the kind says may be said by a sealed author, and every stop."""
    match op:
        case New():
            spec: Does | None = kind.kind.new
        case Add():
            spec = kind.kind.sets.get(op.set)
        case Act():
            spec = kind.kind.transitions.get(op.transition)
        case _:
            spec = None
    if spec is None or not (spec.anonymous or (isinstance(spec, Transition) and spec.stop)):
        raise _refuse("flow.not_anonymous")


def is_stop(kind: CompiledKind, op: Op) -> bool:
    """Whether this stops something: a transition marked `stop`, or an item of a set whose `stop_when` holds. Those are taken at once,
    whoever said them. An item of which its rule gives no answer is none: it is judged like others and refused where it is wrong."""
    if isinstance(op, Act):
        transition = kind.kind.transitions.get(op.transition)
        return transition is not None and transition.stop
    spec = kind.kind.sets.get(op.set) if isinstance(op, Add) else None
    if spec is None or spec.stop_when is None or not isinstance(op, Add):
        return False
    item = {**dict.fromkeys(spec.fields), **op.item, "id": op.item_id}
    try:
        return _holds(kind, spec.stop_when, f"set:{op.set}", Env(actor=nobody(""), now=0), {}, item=item)
    except (RuleFailed, CelSyntax):
        return False


def _writing(env: Env, op: Op) -> Env:
    return msgspec.structs.replace(env, unnamed=True, computed={}) if isinstance(op.author, Sealed) else env


class _Stop(Exception):
    """Ends a judgement."""

    def __init__(self, outcome: Refused | Parked) -> None:
        self.outcome = outcome


def _refuse(code: str, **params: Any) -> _Stop:
    return _Stop(Refused(code, params))


def _new(kind: CompiledKind, body: Body | None, op: New, env: Env) -> Outcome:
    if body is not None:
        return Refused("op.exists", {"doc": op.doc})
    spec = kind.kind.new
    _may_at_all(spec, env, "new")
    given = {name: value for name, value in op.fields.items() if value is not None}
    for name in given:
        field = kind.kind.fields.get(name)
        if not env.actor.server and (name in spec.set or (field and field.only_by and "new" not in field.only_by)):
            raise _refuse("flow.field_readonly", field=name)
    defaults = {name: field.default for name, field in kind.kind.fields.items() if field.default is not None and name not in given}
    fields = defaults | given
    seen = _begun(kind, op, fields)
    _wait_for_uses(kind, env, seen)
    writing = _writing(env, op)
    for name, text in spec.set.items():
        if not (env.actor.server and name in given):
            fields[name] = run(kind, text, "new", writing, seen)
    fields = {name: value for name, value in fields.items() if value is not None}
    seen = _begun(kind, op, fields)
    _who(kind, spec, "new", env, seen, "new")
    _form(kind, kind.kind.fields, fields, True, "doc", env, seen)
    _sealed(kind.kind.fields, fields)
    _needs(kind, spec.needs, "new", env, seen)
    change = Change(status=kind.start, fields=fields, media=form.media_of(kind.kind.fields, fields))
    return _follow(kind, spec, "new", writing, seen, change)


def _begun(kind: CompiledKind, op: New, fields: dict[str, Any]) -> View:
    entries = {name: [value, 0, 0] for name, value in fields.items()}
    return view(kind, op.doc, {"version": op.version, "status": kind.start, "fields": entries, "sets": {}})


def _set(kind: CompiledKind, body: Body, op: Set, env: Env) -> Outcome:
    fields = kind.kind.fields
    for name in sorted(op.fields):
        if name not in fields:
            raise _refuse("flow.field_unknown", field=name)
        rules = kind.editors.get(name)
        if rules is None:
            raise _refuse("flow.field_readonly", field=name)
        if not env.actor.server and not _may_edit(kind, rules, env, op.doc, body):
            raise _refuse("flow.not_allowed", what=name)
    for name, value in op.fields.items():
        if not form.is_plain(fields[name], value):
            _form(kind, fields, op.fields, False, "doc", env, Glance(kind, op.doc, body, op.fields))
            _sealed(fields, op.fields)
            break
    return Change(fields=dict(op.fields), media=form.media_of(fields, op.fields))


def _may_edit(kind: CompiledKind, rules: list[str], env: Env, key: str, body: Body) -> bool:
    """Whether one of these rules lets the actor edit the document. It is asked with every edit, and mostly of the same fields."""
    fields = body["fields"]
    for rule in rules:
        program = kind.program(rule, "doc")
        held = None
        if program.reads is not None and program.reads <= kind.kind.fields.keys():
            held = program.kept(env.actor, fields)
        if held is None:
            held = _holds(kind, rule, "doc", env, Glance(kind, key, body))
        if held is True:
            return True
    return False


def _add(kind: CompiledKind, body: Body, op: Add, env: Env) -> Outcome:
    spec = kind.kind.sets.get(op.set)
    if spec is None:
        raise _refuse("flow.set_unknown", set=op.set)
    _may_at_all(spec, env, op.set)
    where = f"set:{op.set}"
    seen = env.seen or view(kind, op.doc, body)
    item = {name: value for name, value in op.item.items() if value is not None}
    said = {**dict.fromkeys(spec.fields), **item, "id": op.item_id, "by": env.actor.id, "at": env.now}
    _wait_for_uses(kind, env, seen, item)
    _who(kind, spec, where, env, seen, op.set, item=said)
    _form(kind, spec.fields, item, True, where, env, seen, item=said)
    _sealed(spec.fields, item)
    _needs(kind, spec.needs, where, env, seen, item=said)
    change = Change(items={op.set: {op.item_id: item}}, media=form.media_of(spec.fields, item))
    writing = _writing(env, op)
    return _follow(kind, spec, where, writing, seen, change, item={**said, "by": _by(writing)})


def _act(kind: CompiledKind, body: Body, op: Act, env: Env) -> Outcome:
    name = op.transition
    spec = kind.kind.transitions.get(name)
    if spec is None:
        raise _refuse("flow.transition_unknown", transition=name)
    _may_at_all(spec, env, name)
    where = f"act:{name}"
    before = env.seen or view(kind, op.doc, body)
    status = body["status"]
    state = kind.kind.states.get(status)
    if state is None or state.end:
        raise _refuse("flow.ended", transition=name, status=status)
    if not spec.stop and spec.source != "*" and status not in spec.source:
        raise _refuse("flow.wrong_state", transition=name, status=status)
    if spec.starts and env.unseen_stops:
        raise _refuse("flow.stopped_since", transition=name)
    given = {n: v for n, v in op.input.items() if v is not None}
    given |= {n: field.default for n, field in spec.input.items() if field.default is not None and n not in given}
    asked = dict.fromkeys(spec.input) | given
    _wait_for_uses(kind, env, before, asked)
    _who(kind, spec, where, env, before, name, input=asked)
    _form(kind, spec.input, given, True, where, env, before, input=asked)
    _needs(kind, spec.needs, where, env, before, input=asked)
    to = _target(kind, spec.to, where, env, before, asked)
    writing = _writing(env, op)
    written = {field: run(kind, text, where, writing, before, input=asked) for field, text in spec.set.items()}
    for field, value in written.items():
        spec_of = kind.kind.fields.get(field)
        if spec_of is None or (value is not None and form.wrong_value(field, spec_of, value)):
            raise _refuse("flow.rule_failed")
    items: dict[str, dict[str, Any]] = {}
    for set_name, parts in spec.add.items():
        item = {part: run(kind, text, where, writing, before, input=asked) for part, text in parts.items()}
        items[set_name] = {ids.spawned(env.op_id, set_name): {part: value for part, value in item.items() if value is not None}}
    media = form.media_of(spec.input, given)
    after = {**before, **written, "status": to or status}
    for set_name, put in items.items():
        blank = dict.fromkeys(kind.kind.sets[set_name].fields)
        stamp = {"by": _by(writing), "at": env.now}
        after[set_name] = [*after[set_name], *({**blank, **item, **stamp, "id": item_id} for item_id, item in put.items())]
    change = Change(status=to if to != status else None, fields=written, items=items, media=media)
    return _follow(kind, spec, where, writing, after, change, input=asked)


def _by(env: Env) -> str | None:
    return None if env.unnamed else env.actor.id


def _target(kind: CompiledKind, to: str | dict[str, str] | None, where: str, env: Env, seen: View, given: dict[str, Any]) -> str | None:
    if not isinstance(to, dict):
        return to
    for state, text in to.items():
        if _holds(kind, text, where, env, seen, input=given):
            return state
    raise _refuse("flow.rule_failed")


def _may_at_all(spec: Does, env: Env, what: str) -> None:
    if spec.server and not env.actor.server:
        raise _refuse("flow.server_only", what=what)


def _wait_for_uses(kind: CompiledKind, env: Env, seen: View, given: Mapping[str, Any] | None = None) -> None:
    for name, use in kind.kind.uses.items():
        if use.required and env.uses.get(name) is None:
            key = use_key(kind, name, seen, env.uses, given)
            if key is not None:
                raise _Stop(Parked("op.awaits_document", {"doc": key}))


def _sealed(fields: Mapping[str, Field], values: Mapping[str, Any]) -> None:
    """What is personal comes sealed, or it would stand in the ledger in clear for good."""
    for name in sorted(values) if len(values) > 1 else values:
        field = fields.get(name)
        if field is not None and field.personal and values[name] is not None and not form.is_sealed(values[name]):
            raise _refuse("flow.field_unsealed", field=name)


def _form(
    kind: CompiledKind, fields: Mapping[str, Field], values: Mapping[str, Any], whole: bool, where: str, env: Env, seen: View, **more: Any
) -> None:
    wrongs = wrongs_in(kind, fields, values, whole, where, env, seen, **more)
    if wrongs:
        raise _refuse(wrongs[0].code, **wrongs[0].params)


def wrongs_in(
    kind: CompiledKind, fields: Mapping[str, Field], values: Mapping[str, Any], whole: bool, where: str, env: Env, seen: View, **more: Any
) -> list[form.Wrong]:
    """What is wrong with these values; their rules run at `where`. A rule that fails is wrong too."""

    def shown(_: str, field: Field) -> bool:
        return field.show is None or _holds(kind, field.show, where, env, seen, **more)

    def check(name: str, field: Field, value: Any) -> form.Wrong | None:
        for rule in field.check:
            try:
                if not _holds(kind, rule.rule, f"{where} value", env, seen, value=value, **more):
                    params = _params(kind, rule, f"{where} value", env, seen, value=value, **more)
                    return form.Wrong(name, rule.otherwise, {"field": name, **params})
            except RuleFailed as failed:
                return form.Wrong(name, failed.code, {"field": name, **failed.params})
        return None

    return form.validate(fields, values, whole=whole, shown=shown, check=check)


def _who(kind: CompiledKind, spec: Does, where: str, env: Env, seen: View, what: str, **more: Any) -> None:
    if env.actor.server:
        return
    if spec.who is None or not _holds(kind, spec.who, where, env, seen, **more):
        raise _refuse("flow.not_allowed", what=what)


def _needs(kind: CompiledKind, needs: list[Rule], where: str, env: Env, seen: View, **more: Any) -> None:
    for rule in needs:
        if not _holds(kind, rule.rule, where, env, seen, **more):
            raise _refuse(rule.otherwise, **_params(kind, rule, where, env, seen, **more))


def _params(kind: CompiledKind, rule: Rule, where: str, env: Env, seen: View, **more: Any) -> dict[str, Any]:
    return {name: run(kind, text, where, env, seen, **more) for name, text in rule.params.items()}


def _follow(kind: CompiledKind, spec: Does, where: str, env: Env, seen: View, change: Change, **more: Any) -> Change:
    """What the op brings about elsewhere."""
    for spawn in spec.spawn:
        if _when(kind, spawn.when, where, env, seen, **more):
            fields = {name: run(kind, text, where, env, seen, **more) for name, text in spawn.fields.items()}
            change.spawns.append(Spawn(spawn.name, spawn.kind, {name: value for name, value in fields.items() if value is not None}))
    for act in spec.acts:
        if _when(kind, act.when, where, env, seen, **more):
            doc = run(kind, act.doc, where, env, seen, **more)
            given = {name: run(kind, text, where, env, seen, **more) for name, text in act.input.items()}
            if not isinstance(doc, str):
                raise _refuse("flow.rule_failed")
            given = {name: value for name, value in given.items() if value is not None}
            change.acts.append(FollowAct(act.name, doc, act.transition, given))
    for tell in spec.tell:
        if _when(kind, tell.when, where, env, seen, **more):
            who = run(kind, tell.who, where, env, seen, **more)
            params = {name: run(kind, text, where, env, seen, **more) for name, text in tell.params.items()}
            for one in who if isinstance(who, list) else [who]:
                if isinstance(one, str):
                    change.tells.append(Tell(one, tell.what, params))
    return change


def _when(kind: CompiledKind, text: str | None, where: str, env: Env, seen: View, **more: Any) -> bool:
    return text is None or _holds(kind, text, where, env, seen, **more)


def _holds(kind: CompiledKind, text: str, where: str, env: Env, seen: View, **more: Any) -> bool:
    value = run(kind, text, where, env, seen, **more)
    if not isinstance(value, bool):
        raise RuleFailed(why="type")
    return value


def run(kind: CompiledKind, text: str, where: str, env: Env, seen: Mapping[str, Any], *, _inside: tuple[str, ...] = (), **more: Any) -> Any:
    """A rule's value over a document's view. Raises RuleFailed, CelSyntax."""

    def get(root: str, name: str) -> Any:
        match root:
            case "doc":
                if name in kind.kind.computed:
                    if name in _inside:
                        raise RuleFailed(why="circle")
                    held = env.computed.get((id(seen), name))
                    if held is None:
                        value = run(kind, kind.kind.computed[name].rule, "doc", env, seen, _inside=(*_inside, name))
                        # The view is kept with it, so that no other can come to stand at its address.
                        held = env.computed[id(seen), name] = (seen, value)
                    return held[1]
                return seen[name]
            case "actor":
                return _by(env) if name == "id" else getattr(env.actor, name)
            case "input" | "item":
                return more[root].get(name)
            case "uses":
                return env.uses.get(name)
            case "plant":
                return (env.plant or {}).get(name)
            case "checklist":
                return kind.checklist.get(name)
            case "now":
                return env.now
        return more["value"]

    return kind.program(text, where).run(get, _surroundings(kind, env))


def _surroundings(kind: CompiledKind, env: Env) -> Surroundings:
    if env.around is not None and env.around[0] is kind:
        return env.around[1]
    if env.time is None:
        env.time = Calendar(env.calendar, env.plant)
    around = Surroundings(
        actor=env.actor,
        limits=env.limits,
        items=kind.items_within(env.limits),
        op_id=env.op_id,
        calendar=env.time,
        rosters=env.rosters,
    )
    env.around = (kind, around)
    return around


# --- what is seen of a document


def view(kind: CompiledKind, key: str, body: Body) -> View:
    """A document as rules and screens see it, its computed fields aside."""
    name, _, doc_id = key.partition("/")
    seen: View = {"id": doc_id, "key": key, "kind": name, "version": body["version"], "status": body["status"]}
    fields = body["fields"]
    for field in kind.kind.fields:
        entry = fields.get(field)
        seen[field] = entry[0] if entry else None
    for set_name, spec in kind.kind.sets.items():
        entries = body["sets"].get(set_name)
        blank = dict.fromkeys(spec.fields)
        ordered = sorted(entries.items(), key=lambda i: (i[1][1], i[1][2], i[0])) if entries else ()
        seen[set_name] = [{**blank, "by": None, "at": None, **entry[0], "id": item_id} for item_id, entry in ordered]
    return seen


class Glance(View):
    """A view that looks up a name when it is first asked for, by `[]` alone; `over` stands over the document's fields."""

    def __init__(self, kind: CompiledKind, key: str, body: Body, over: Mapping[str, Any] | None = None) -> None:
        super().__init__(over or {})
        self._of = kind, key, body

    def __missing__(self, name: str) -> Any:
        kind, key, body = self._of
        if name in kind.kind.fields:
            entry = body["fields"].get(name)
            found = entry[0] if entry else None
        else:
            found = view(kind, key, body)[name]
        self[name] = found
        return found


def computed(kind: CompiledKind, seen: View, env: Env) -> dict[str, Any]:
    """The computed fields of a view; None where a rule gives no answer."""
    found: dict[str, Any] = {}
    for name, spec in kind.kind.computed.items():
        try:
            found[name] = run(kind, spec.rule, "doc", env, seen, _inside=(name,))
        except (RuleFailed, CelSyntax):
            found[name] = None
    return found


def validate(kind: CompiledKind, form_of: str, values: Mapping[str, Any], env: Env, seen: View | None = None) -> list[form.Wrong]:
    """What is wrong with a form as it is filled in: `new`, `set:<name>` or `act:<name>`. `seen`: the document, where there is one."""
    sort, _, name = form_of.partition(":")
    known = {n: v for n, v in values.items() if v is not None}
    if sort == "new":
        fields = {n: f for n, f in kind.kind.fields.items() if n not in kind.kind.new.set and not (f.only_by and "new" not in f.only_by)}
        blank = view(kind, f"{kind.name}/", {"version": kind.kind.version, "status": kind.start, "fields": {}, "sets": {}})
        return wrongs_in(kind, fields, known, True, "doc", env, {**blank, **known})
    if seen is None:
        raise ValueError("a document's form needs the document")
    if sort == "set":
        fields = kind.kind.sets[name].fields
        item = {**dict.fromkeys(fields), **known, "id": "", "by": env.actor.id, "at": env.now}
        return wrongs_in(kind, fields, known, True, form_of, env, seen, item=item)
    fields = kind.kind.transitions[name].input
    return wrongs_in(kind, fields, known, True, form_of, env, seen, input=dict.fromkeys(fields) | known)


def use_key(
    kind: CompiledKind, name: str, seen: View, uses: Mapping[str, View | None], given: Mapping[str, Any] | None = None
) -> str | None:
    """The key of the document that a `uses` points to, by what is known so far; None where nothing is pointed to.

    Paths: `doc.<field>`, `input.<name>`, `item.<name>`, `uses.<earlier>.<field>`. The kind is the ref field's `of`.
    """
    path = kind.kind.uses[name].at.split(".")
    if path[0] == "uses":
        value, of = (uses.get(path[1]) or {}).get(path[2]), path[3] if len(path) > 3 else "*"
    elif path[0] == "doc":
        value, of = seen.get(path[1]), _of(kind.kind.fields.get(path[1]))
    else:
        value, of = (given or {}).get(path[1]), _of(_asked(kind, path[0], path[1]))
    if not isinstance(value, str):
        return None
    return value if "/" in value else f"{of}/{value}"


def _of(field: Field | None) -> str:
    return field.of if field and isinstance(field.of, str) else "*"


def _asked(kind: CompiledKind, root: str, name: str) -> Field | None:
    forms = [t.input for t in kind.kind.transitions.values()] if root == "input" else [s.fields for s in kind.kind.sets.values()]
    return next((fields[name] for fields in forms if name in fields), None)


def card(kind: CompiledKind, seen: View) -> View:
    """What other kinds' rules may read of a document: the kind's `card`, or all that is not personal."""
    names = kind.kind.card or [name for name, field in kind.kind.fields.items() if not field.personal]
    return {name: seen[name] for name in ("id", "key", "kind", "version", "status", *names)}


def placement(kind: CompiledKind, seen: View, env: Env) -> list[str]:
    """The shapes that hold the document. A rule that gives no answer places it nowhere."""
    found: dict[str, None] = {}
    for text in kind.kind.placement:
        try:
            value = run(kind, text, "doc", env, seen)
        except (RuleFailed, CelSyntax):
            continue
        for shape in value if isinstance(value, list) else [value]:
            if isinstance(shape, str):
                found[shape] = None
    return list(found)


def opens(kind: CompiledKind, seen: View, env: Env) -> set[str]:
    """Names of the personal fields that the actor may read."""
    found = set()
    for name in kind.personal:
        of, _, entry = name.partition(".")
        field = kind.kind.sets[of].fields[entry] if entry else kind.kind.fields[name]
        rule = field.opens or kind.kind.opens
        try:
            if rule and _holds(kind, rule, "doc", env, seen):
                found.add(name)
        except (RuleFailed, CelSyntax):
            continue
    return found
