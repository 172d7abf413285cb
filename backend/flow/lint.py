"""What must hold of every kind before it is taken into use: `anlu kinds check`, and `python -m backend.flow.lint`.

A kind that passes loads, has no dead end, no rule that names what is not there, no refusal without words, no right that rests on what
anybody may edit.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import yaml

from backend.flow import form, load
from backend.flow.celtext import CelSyntax, Text
from backend.flow.kind import ALWAYS, CompiledKind, Does, Field, FollowAct, Kind, Label, Rule, Transition, compile_kind, pack_source, rules
from backend.kernel.errors import catalogue

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
KIND_NAME = re.compile(r"[a-z][a-z0-9_.]{0,63}\Z")
HAN = re.compile(r"[\u3400-\u9fff]")
SEGREGATED = re.compile(r"\(actor__id != doc__\w+\)|\(doc__\w+ != actor__id\)")
APPROVALS = re.compile(r"approve|confirm|countersign|review|sign_off")
TO_MACHINE = re.compile(r'"([a-z][a-z0-9_.]*)/" \+ ')


class Problem(msgspec.Struct, frozen=True, order=True):
    """What is wrong, and where: the kind (or file) and the path in it."""

    kind: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.what}" if self.where else f"{self.kind}: {self.what}"


def check(paths: Sequence[Path] | None = None) -> list[Problem]:
    """Everything that is wrong with these kind files, or with all of the product's."""
    found: list[Problem] = []
    kinds: dict[str, CompiledKind] = {}
    for path in load.kind_files() if paths is None else paths:
        try:
            content = load.read_kind(path)
            if content is None:
                continue
            kind = compile_kind(content)
            pack_source(kind.kind)
        except (msgspec.ValidationError, ValueError, AttributeError, TypeError, yaml.YAMLError) as wrong:
            found.append(Problem(path.name, "", str(wrong)))
            continue
        if kind.name in kinds:
            found.append(Problem(kind.name, "kind", "stands in two files"))
        if path.stem != kind.name:
            found.append(Problem(kind.name, "kind", f"stands in {path.name}"))
        kinds[kind.name] = kind
    known = dict(kinds) if paths is None else {kind.name: kind for kind in load.file_kinds()} | kinds
    for kind in kinds.values():
        found += check_kind(kind, known)
    return sorted(found)


def check_kind(kind: CompiledKind, known: Mapping[str, CompiledKind]) -> list[Problem]:
    """Everything that is wrong with one kind. `known`: the kinds that it may speak of."""
    return [Problem(kind.name, where, what) for where, what in _Linter(kind, known).all()]


Found = Iterator[tuple[str, str]]


class _Linter:
    def __init__(self, compiled: CompiledKind, known: Mapping[str, CompiledKind]) -> None:
        self.compiled = compiled
        self.kind: Kind = compiled.kind
        self.known = known
        self.texts: dict[str, Text] = {}
        self.edited = {name for edit in self.kind.edit for name in edit.fields}
        self.written: dict[str, set[str]] = {}
        for name in self.kind.new.set:
            self.written.setdefault(name, set()).add("new")
        for transition, spec in self.kind.transitions.items():
            for name in spec.set:
                self.written.setdefault(name, set()).add(transition)

    def all(self) -> Found:
        yield from self.names()
        yield from self.words()
        yield from self.forms()
        yield from self.states()
        yield from self.compiles()
        yield from self.rights()
        yield from self.fixed()
        yield from self.approvals()
        yield from self.stops()
        yield from self.refusals()
        yield from self.follows()
        yield from self.used()
        yield from self.deadlines()
        yield from self.circles()
        yield from self.checklist()

    def names(self) -> Found:
        kind = self.kind
        if not KIND_NAME.match(kind.kind) or kind.version < 1:
            yield "kind", "is no name, or its version is below 1"
        for earlier in kind.takes_over:
            if not 0 < earlier < kind.version:
                yield "takes_over", f"{earlier} is no earlier version"
            elif kind.items:
                yield "takes_over", "a check ends under the list that it was begun with"
        for place, found in self._places():
            for name in found:
                if not NAME.match(name) or "__" in name:
                    yield f"{place}.{name}", "is no name"
        for name in kind.fields:
            if name in ALWAYS:
                yield f"fields.{name}", "every document has that already"
        both = [*kind.fields, *kind.sets, *kind.computed]
        for name in sorted({name for name in both if both.count(name) > 1}):
            yield name, "stands for two things"

    def _places(self) -> Iterator[tuple[str, Iterable[str]]]:
        kind = self.kind
        yield "fields", kind.fields
        yield "sets", kind.sets
        yield "computed", kind.computed
        yield "uses", kind.uses
        yield "states", kind.states
        yield "transitions", kind.transitions
        for name, spec in kind.sets.items():
            yield f"sets.{name}.fields", spec.fields
        for name, transition in kind.transitions.items():
            yield f"transitions.{name}.input", transition.input

    def words(self) -> Found:
        kind = self.kind
        wanted: dict[str, Label | None] = {"title": kind.title}
        wanted |= {f"states.{name}.title": state.title for name, state in kind.states.items()}
        wanted |= {f"transitions.{name}.title": transition.title for name, transition in kind.transitions.items()}
        wanted |= {f"sets.{name}.title": spec.title for name, spec in kind.sets.items()}
        wanted |= {f"computed.{name}.title": computed.title for name, computed in kind.computed.items()}
        for path, field in self._fields():
            wanted[f"{path}.title"] = field.title
            if isinstance(field.of, dict):
                wanted |= {f"{path}.of.{name}": title for name, title in field.of.items()}
        wanted |= {f"texts.{name}": label for name, label in kind.texts.items()}
        for where, label in wanted.items():
            if label is None:
                yield where, "is missing"
        asked = [field.help for _, field in self._fields()] + [kind.help] + [t.help for t in kind.transitions.values()]
        for where, label in [*wanted.items(), *(("help", text) for text in asked)]:
            if label is not None and (not HAN.search(label.zh) and not re.fullmatch(r"[A-Z0-9]{1,6}", label.zh)):
                yield where, f"is not Chinese: {label.zh}"
            if label is not None and (not label.en or HAN.search(label.en)):
                yield where, f"is not English: {label.en}"

    def _fields(self) -> Iterator[tuple[str, Field]]:
        kind = self.kind
        for name, field in kind.fields.items():
            yield from _and_inner(f"fields.{name}", field)
        for set_name, spec in kind.sets.items():
            for name, field in spec.fields.items():
                yield from _and_inner(f"sets.{set_name}.fields.{name}", field)
        for transition, step in kind.transitions.items():
            for name, field in step.input.items():
                yield from _and_inner(f"transitions.{transition}.input.{name}", field)

    def forms(self) -> Found:
        for path, field in self._fields():
            if field.type in ("choice", "choices") and not (isinstance(field.of, dict) and field.of):
                yield path, "has no choices"
            if field.type in ("ref", "refs") and not (isinstance(field.of, str) and (field.of == "*" or field.of in self.known)):
                yield path, f"points to no kind: {field.of}"
            if field.type == "table" and not field.columns:
                yield path, "has no columns"
            if field.default is not None and (wrong := form.wrong_value("default", field, field.default)):
                yield path, f"its default is refused: {wrong.code}"
            if field.law and field.law.id not in self.kind.sources:
                yield path, f"names a source that is not there: {field.law.id}"
            if field.min is not None and field.max is not None and field.min > field.max:
                yield path, "its least is above its most"
            for writer in field.only_by:
                if writer != "new" and writer not in self.kind.transitions:
                    yield path, f"only_by names no transition: {writer}"

    def states(self) -> Found:
        kind = self.kind
        starts = [name for name, state in kind.states.items() if state.start]
        if len(starts) != 1 or kind.states[starts[0]].end:
            yield "states", "one state, and no end, is the start"
            return
        steps: dict[str, set[str]] = {name: set() for name in kind.states}
        for name, transition in kind.transitions.items():
            open_states = [state for state, spec in kind.states.items() if not spec.end]
            sources = open_states if transition.source == "*" or transition.stop else transition.source
            targets = list(transition.to) if isinstance(transition.to, dict) else [transition.to] if transition.to else []
            for state in [*sources, *targets]:
                if state not in kind.states:
                    yield f"transitions.{name}", f"no such state: {state}"
            for source in sources:
                if source in kind.states and kind.states[source].end:
                    yield f"transitions.{name}.from", f"leaves {source}, which is an end"
                steps.setdefault(source, set()).update(targets)
            if isinstance(transition.to, dict) and list(transition.to.values())[-1:] != ["true"]:
                yield f"transitions.{name}.to", "the last state's rule is not 'true'"
        reached = _reach(starts, steps)
        for state in kind.states:
            if state not in reached:
                yield f"states.{state}", "is never reached"
        ends = {state for state, spec in kind.states.items() if spec.end}
        if not ends:
            yield "states", "none is an end"
        for state, spec in kind.states.items():
            if not spec.end and ends and not _reach([state], steps) & ends:
                yield f"states.{state}", "no way leads from it to an end"

    def compiles(self) -> Found:
        caps = load.capabilities()
        for path, text, where in rules(self.kind):
            try:
                program = self.compiled.program(text, where)
            except CelSyntax as wrong:
                yield path, f"does not compile: {wrong}"
                continue
            except ValueError as wrong:
                yield path, f"the engine refuses it: {wrong}"
                continue
            self.texts[path] = program.text
            for cap in program.text.caps:
                if cap not in caps:
                    yield path, f"no role can have the capability {cap}"
            last = path.rpartition(".")[2]
            wants_bool = (last in ("who", "rule", "when", "stop_when", "show", "opens") or ".to." in path) and ".tell." not in path
            if wants_bool and not path.startswith("computed.") and program.text.type not in ("bool", "dyn"):
                yield path, f"gives no truth but {program.text.type}"

    def rights(self) -> Found:
        kind = self.kind
        if not kind.placement:
            yield "placement", "is missing: nobody would hold it"
        for where, does in self._does():
            if does.who is None and not does.server:
                yield where, "has no who and is not the server's: nobody may"
        for path, field in self._fields():
            if field.personal and not (field.opens or kind.opens):
                yield path, "is personal and opens to nobody"
            if field.personal and path.count(".") > (3 if path.startswith("sets.") else 1):
                yield path, "only a document's own fields, and those of its sets' items, may be personal"
        personal = set(self.compiled.personal)
        for path, text in self.texts.items():
            if not path.startswith(("computed", "opens")) and (read := {ref.name for ref in text.refs if ref.root == "doc"} & personal):
                yield path, f"reads what is sealed: {', '.join(sorted(read))}"
            if path.startswith("sets."):
                of = path.split(".")[1]
                if read := {ref.name for ref in text.refs if ref.root == "item" and f"{of}.{ref.name}" in personal}:
                    yield path, f"reads what is sealed: {', '.join(sorted(read))}"

    def _does(self) -> Iterator[tuple[str, Does]]:
        yield "new", self.kind.new
        yield from ((f"sets.{name}", spec) for name, spec in self.kind.sets.items())
        yield from ((f"transitions.{name}", spec) for name, spec in self.kind.transitions.items())

    def fixed(self) -> Found:
        """What permission and placement read is not edited; what a transition writes is its own; facts are judged by what never changes."""
        kind = self.kind
        for n, edit in enumerate(kind.edit):
            for name in edit.fields:
                if name not in kind.fields:
                    yield f"edit.{n}", f"no such field: {name}"
                elif kind.fields[name].only_by:
                    yield f"edit.{n}", f"{name} is written by {', '.join(kind.fields[name].only_by)} only"
        for name, writers in self.written.items():
            if name not in kind.fields:
                yield f"{sorted(writers)[0]}.set", f"no such field: {name}"
                continue
            for writer in sorted(writers - set(kind.fields[name].only_by)):
                yield f"fields.{name}.only_by", f"{writer} writes it"
        for name, field in kind.fields.items():
            for writer in field.only_by:
                if writer != "new" and name not in kind.transitions.get(writer, EMPTY).set:
                    yield f"fields.{name}.only_by", f"{writer} does not write it"
        for path, text in self.texts.items():
            last = path.rpartition(".")[2]
            read = {ref.name for ref in text.refs if ref.root == "doc"}
            if last in ("who", "opens") or path.startswith("placement."):
                for name in sorted(read & self.edited):
                    yield path, f"rests on {name}, which may be edited"
                for name in sorted(read & set(kind.computed)):
                    yield path, f"rests on {name}, which is computed"
                for name in sorted(read & set(kind.fields)):
                    if not kind.fields[name].only_by:
                        yield path, f"rests on {name}, which is not only_by"
            fact = path.startswith("edit.") or (path.startswith("sets.") and (last == "who" or ".needs." in path))
            if fact:
                moving = read & ({*self.edited, *kind.computed, *kind.sets, "status"} | {n for n, w in self.written.items() if w - {"new"}})
                for name in sorted(moving):
                    yield path, f"judges a fact by {name}, which changes"
                if any(ref.root == "uses" for ref in text.refs):
                    yield path, "judges a fact by another document"
            if path.startswith("placement.") and any(ref.root in ("uses", "now", "actor") for ref in text.refs):
                yield path, "may read the document only"

    def approvals(self) -> Found:
        for name, transition in self.kind.transitions.items():
            if APPROVALS.search(name) and not transition.approval:
                yield f"transitions.{name}", "is named as an approval: say approval: true"
            text = self.texts.get(f"transitions.{name}.who")
            if transition.approval and (text is None or not SEGREGATED.search(text.text)):
                yield f"transitions.{name}.who", "an approval must name whom it must not be (actor.id != doc.…)"

    def stops(self) -> Found:
        kind = self.kind
        stopped = set()
        for name, transition in kind.transitions.items():
            if not transition.stop:
                continue
            if transition.source != "*":
                yield f"transitions.{name}.from", "a stop is accepted in every state that is no end"
            if not transition.server and transition.who != "true":
                yield f"transitions.{name}.who", "anybody may stop"
            if transition.starts:
                yield f"transitions.{name}", "is a stop and a start"
            if transition.to:
                stopped |= {transition.to} if isinstance(transition.to, str) else set(transition.to)
        for name, transition in kind.transitions.items():
            targets = [transition.to] if isinstance(transition.to, str) else list(transition.to or ())
            leaves = stopped & set(transition.source if transition.source != "*" else kind.states)
            onward = [state for state in targets if state not in stopped and state in kind.states and not kind.states[state].end]
            if leaves and onward and not transition.stop and not transition.starts:
                yield f"transitions.{name}", "leaves a stop: say start: true"
            if transition.starts and not any(t.stop for t in kind.transitions.values()):
                yield f"transitions.{name}", "starts what nothing can stop"

        for name, spec in kind.sets.items():
            text = self.texts.get(f"sets.{name}.stop_when")
            if text is not None and any(ref.root != "item" for ref in text.refs):
                yield f"sets.{name}.stop_when", "reads more than the item"
            if text is not None and {"id", "by", "at"} & {ref.name for ref in text.refs if ref.root == "item"}:
                yield f"sets.{name}.stop_when", "asks who or when: a stop counts whoever said it"
            if spec.stop_when and spec.server:
                yield f"sets.{name}.stop_when", "nobody but the server adds to it"

    def refusals(self) -> Found:
        known = catalogue()
        for where, rule in self._rules():
            entry = known.get(rule.otherwise)
            if entry is None:
                yield where, f"{rule.otherwise} is not in the catalogue"
                continue
            given = {*rule.params, *(["field"] if ".check." in where else [])}
            for name in sorted(set(entry.params) - given):
                yield where, f"{rule.otherwise} wants {name}"
            if not (HAN.search(entry.zh) and entry.en and entry.what_to_do.zh and entry.what_to_do.en):
                yield where, f"{rule.otherwise} lacks words"

    def _rules(self) -> Iterator[tuple[str, Rule]]:
        for path, does in self._does():
            for n, rule in enumerate(does.needs):
                yield f"{path}.needs.{n}", rule
        for path, field in self._fields():
            for n, rule in enumerate(field.check):
                yield f"{path}.check.{n}", rule

    def follows(self) -> Found:
        for path, does in self._does():
            names = [spawn.name for spawn in does.spawn]
            for spawn in does.spawn:
                target = self.known.get(spawn.kind)
                where = f"{path}.spawn.{spawn.name}"
                if names.count(spawn.name) > 1:
                    yield where, "its name stands for two documents"
                if target is None:
                    yield where, f"no such kind: {spawn.kind}"
                    continue
                for name in sorted(set(spawn.fields) - set(target.kind.fields)):
                    yield where, f"{spawn.kind} has no field {name}"
                for name, field in target.kind.fields.items():
                    if field.required and field.default is None and name not in spawn.fields and name not in target.kind.new.set:
                        yield where, f"{spawn.kind} wants {name}"
            for act in does.acts:
                yield from self._act(f"{path}.acts.{act.name}", act)
            for n, tell in enumerate(does.tell):
                if tell.what not in self.kind.texts:
                    yield f"{path}.tell.{n}", f"no such text: {tell.what}"
            if isinstance(does, Transition):
                for set_name, parts in does.add.items():
                    fields = self.kind.sets[set_name].fields if set_name in self.kind.sets else {}
                    for name in sorted(set(parts) - set(fields)):
                        yield f"{path}.add.{set_name}", f"no such entry: {name}"
            elif does.set and path.startswith("sets."):
                yield f"{path}.set", "a fact writes no field"

    def _act(self, where: str, act: FollowAct) -> Found:
        named = TO_MACHINE.match(act.doc)
        if named is None:
            return
        target = self.known.get(named.group(1))
        transition = target.kind.transitions.get(act.transition) if target else None
        if transition is None:
            yield where, f"{named.group(1)} has no transition {act.transition}"
            return
        for name in sorted(set(act.input) - set(transition.input)):
            yield where, f"{act.transition} takes no {name}"
        for name, field in transition.input.items():
            if field.required and field.default is None and name not in act.input:
                yield where, f"{act.transition} wants {name}"

    def used(self) -> Found:
        points: dict[str, str] = {}
        for name, use in self.kind.uses.items():
            path = use.at.split(".")
            field = self._pointed(path)
            if path[0] == "uses" and len(path) in (3, 4) and path[1] in points:
                points[name] = path[3] if len(path) == 4 else "*"
            elif field is None or field.type != "ref" or not isinstance(field.of, str):
                yield f"uses.{name}", f"points nowhere: {use.at}"
            else:
                points[name] = field.of
        for path_of, text in self.texts.items():
            for ref in text.refs:
                if ref.root == "uses" and ref.name in points and (target := self.known.get(points[ref.name])):
                    for name in ref.fields:
                        if name not in _card(target):
                            yield path_of, f"{points[ref.name]} lets nobody read {name}"

    def _pointed(self, path: list[str]) -> Field | None:
        match path:
            case ["doc", name]:
                return self.kind.fields.get(name)
            case ["input", name]:
                return next((t.input[name] for t in self.kind.transitions.values() if name in t.input), None)
            case ["item", name]:
                return next((s.fields[name] for s in self.kind.sets.values() if name in s.fields), None)
        return None

    def deadlines(self) -> Found:
        for n, deadline in enumerate(self.kind.deadlines):
            transition = self.kind.transitions.get(deadline.do)
            if transition is None:
                yield f"deadlines.{n}", f"no such transition: {deadline.do}"
            for state in deadline.during:
                if state not in self.kind.states:
                    yield f"deadlines.{n}", f"no such state: {state}"
                elif transition is not None and transition.source != "*" and state not in transition.source:
                    yield f"deadlines.{n}", f"{deadline.do} is not taken in {state}"
            if transition is not None:
                for name in sorted(set(deadline.input) - set(transition.input)):
                    yield f"deadlines.{n}", f"{deadline.do} takes no {name}"

    def circles(self) -> Found:
        reads = {
            name: {ref.name for ref in self.texts[f"computed.{name}"].refs if ref.root == "doc"} & set(self.kind.computed)
            for name in self.kind.computed
            if f"computed.{name}" in self.texts
        }
        for name, read in reads.items():
            if name in _reach(sorted(read), reads):
                yield f"computed.{name}", "rests on itself"

    def checklist(self) -> Found:
        kind = self.kind
        ids = [item.id for item in kind.items]
        if bool(kind.items) != bool(kind.checklist):
            yield "items", "a check list has items and says what it is for"
        for item in kind.items:
            where = f"items.{item.id}"
            if ids.count(item.id) > 1 or (kind.checklist and not item.id.startswith(f"{kind.checklist.id}.")):
                yield where, "its id stands twice, or is not the list's"
            if (item.law is None) != (item.law_scope == "none"):
                yield where, "its law and the law's scope disagree"
            if item.law and item.law.id not in kind.sources:
                yield where, f"names a source that is not there: {item.law.id}"
            if item.type == "number" and not item.unit:
                yield where, "a number has a unit"
            if {option.ok for option in item.options} != ({True, False} if item.type == "choice" else set()):
                yield where, "a choice, and nothing else, has options that are normal and options that are not"
            if item.conditions and item.type != "number":
                yield where, "only a number's bounds depend on a condition"
            for label in (item.title, item.hint, *(o.title for o in item.options), *(c.title for c in item.conditions)):
                if not HAN.search(label.zh) or not label.en or HAN.search(label.en):
                    yield where, "lacks words"
        modes = kind.fields["mode"].of if "mode" in kind.fields else None
        for name, label in kind.checklist.equipment_types.items() if kind.checklist else ():
            if not HAN.search(label.zh) or not label.en or HAN.search(label.en):
                yield f"checklist.equipment_types.{name}", "lacks words"
        if kind.checklist and "mode" in kind.fields and kind.fields["mode"].default not in kind.checklist.modes:
            yield "fields.mode.default", "is none of the list's occasions"
        for mode in kind.checklist.modes if kind.checklist else ():
            if not isinstance(modes, dict) or mode not in modes:
                yield "checklist.modes", f"no such occasion: {mode}"


EMPTY = Transition()


def _card(kind: CompiledKind) -> set[str]:
    fields = kind.kind.card or [name for name, field in kind.kind.fields.items() if not field.personal]
    return {*ALWAYS, *fields}


def _and_inner(path: str, field: Field) -> Iterator[tuple[str, Field]]:
    yield path, field
    for name, column in field.columns.items():
        yield from _and_inner(f"{path}.columns.{name}", column)


def _reach(starts: Iterable[str], steps: Mapping[str, Iterable[str]]) -> set[str]:
    reached = set()
    waiting = list(starts)
    while waiting:
        one = waiting.pop()
        if one not in reached:
            reached.add(one)
            waiting += steps.get(one, ())
    return reached


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the product's kinds, or the files named; one line a problem; 1 where there is any."""
    paths = [Path(name) for name in (sys.argv[1:] if arguments is None else arguments)]
    found = check(paths or None)
    for problem in found:
        print(problem)
    if not found:
        count = len(paths or load.file_kinds())
        print(f"{count} 种表单均无问题。 {count} kinds are sound.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
