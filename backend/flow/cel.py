"""Runs rules: the only module that touches the CEL engine. Twin of pwa/src/flow/cel.ts.

A rule is read by `celtext`, compiled once, and run over plain values. Everything that goes wrong is a `RuleFailed` with a code of the
catalogue: an unknown name, a wrong type, a division by zero, a result that is no finite number, a limit that is not there.
"""

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import cel as engine
import msgspec

from backend.flow.actor import Actor
from backend.flow.calendar import WINDOW_MIN_MAX, Calendar, Rosters, Unknown, written
from backend.flow.celtext import BARE, Scope, Text, check_pattern, read
from backend.kernel import ids

NUMBER_MAX = 2**53 - 1
MATCHED_CHARS_MAX = 1_000
EARTH_RADIUS_M = 6_371_008.8
DAY_MS = 86_400_000
PROOF_DRAWS = 2**32
ANSWERS_KEPT_MAX = 2_000
"""Of one rule."""
_TEXTS = frozenset({str, type(None)})


class RuleFailed(Exception):
    """A rule gave no answer. `why` is a word for whoever mends the rule."""

    def __init__(self, code: str = "flow.rule_failed", why: str = "", **params: Any) -> None:
        super().__init__(code, why)
        self.code = code
        self.why = why
        self.params = params


class Surroundings(msgspec.Struct):
    """What functions ask besides their arguments."""

    actor: Actor
    limits: Mapping[str, float]
    items: Mapping[str, Mapping[str, Any]]
    op_id: str
    calendar: Calendar
    rosters: Rosters


class Program:
    """A compiled rule."""

    def __init__(self, source: str, scope: Scope) -> None:
        """Raises CelSyntax."""
        self.text: Text = read(source, scope)
        self._program = engine.compile(self.text.text)
        self._functions = {f"_{name}": _FUNCTIONS[name] for name in self.text.functions}
        self._keeps = _SURROUNDED.isdisjoint(self.text.functions)
        self._kept: dict[tuple[Any, ...], tuple[Actor, Any]] = {}
        refs = self.text.refs
        plain = self._keeps and all(ref.root == "doc" or (ref.root, ref.name) == ("actor", "id") for ref in refs)
        self.reads = frozenset(ref.name for ref in refs if ref.root == "doc") if plain else None
        """What it reads of the document, where it reads nothing else but who acts; else None."""
        self._names = [ref.name if ref.root == "doc" else None for ref in refs]

    def run(self, get: Callable[[str, str], Any], around: Surroundings) -> Any:
        """The rule's value, plain. `get(root, name)` gives what it reads. Raises RuleFailed."""
        refs = self.text.refs
        values = [get(ref.root, "" if ref.root in BARE else ref.name) for ref in refs]
        if not self._keeps or not _are_texts(values):
            return self._execute(values, around)
        # The same texts and the same actor give the same answer: who may edit a document is asked again with every edit of it. The actor is
        # known by itself and kept, so that no other can come to stand at its address.
        key = (id(around.actor), *values)
        kept = self._kept.get(key)
        if kept is not None:
            return kept[1]
        value = self._execute(values, around)
        if value is None or isinstance(value, bool | str):
            if len(self._kept) >= ANSWERS_KEPT_MAX:
                self._kept.clear()
            self._kept[key] = around.actor, value
        return value

    def kept(self, actor: Actor, fields: Mapping[str, Any]) -> Any:
        """What was answered to this actor over a document with the same fields, if the rule `reads` nothing else; None where that is not
        known."""
        values = [actor.id if name is None else fields[name][0] if name in fields else None for name in self._names]
        if not _are_texts(values):
            return None
        kept = self._kept.get((id(actor), *values))
        return None if kept is None else kept[1]

    def _execute(self, values: list[Any], around: Surroundings) -> Any:
        bound: dict[str, Any] = dict(self._functions)
        for ref, value in zip(self.text.refs, values, strict=True):
            if ref.root in BARE:
                bound[ref.root] = doubles(value)
                continue
            if ref.fields and isinstance(value, dict):
                value = {name: value[name] for name in ref.fields if name in value}
            bound[f"{ref.root}__{ref.name}"] = doubles(value)
        running = _Running(around)
        _RUNNING.append(running)
        try:
            value = self._program.execute(bound)
        except Exception:
            raise running.failed or RuleFailed(why="type") from None
        finally:
            _RUNNING.pop()
        if running.failed:
            raise running.failed
        return plain(value)


def _are_texts(values: list[Any]) -> bool:
    """Or nothing."""
    return _TEXTS.issuperset(map(type, values))


class _Running:
    def __init__(self, around: Surroundings) -> None:
        self.around = around
        self.failed: RuleFailed | None = None


_RUNNING: list[_Running] = []
"""The engine calls functions with their arguments only. Rules run on one thread and never wait."""


def doubles(value: Any) -> Any:
    """What the engine is given of a value: every number a double."""
    match value:
        case bool() | str() | None | float():
            return value
        case int():
            return float(value)
        case list() | tuple():
            return [doubles(v) for v in value]
        case dict():
            return {k: doubles(v) for k, v in value.items()}
    raise RuleFailed(why="type")


def plain(value: Any) -> Any:
    """A result as JSON has it: whole numbers whole, names in order, nothing that is not finite."""
    match value:
        case bool() | str() | None:
            return value
        case float() | int():
            if not math.isfinite(value):
                raise RuleFailed(why="number")
            return int(value) if value == int(value) and abs(value) <= NUMBER_MAX else value
        case list():
            return [plain(v) for v in value]
        case dict():
            return {k: plain(value[k]) for k in sorted(value)}
    raise RuleFailed(why="type")


# --- functions: each checks its arguments; the twin gives the same answers and the same words


def _num(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RuleFailed(why="type")
    return float(value)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise RuleFailed(why="number")
    return value


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise RuleFailed(why="type")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise RuleFailed(why="type")
    return value


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise RuleFailed(why="type")
    return value


def _add(a: Any, b: Any) -> Any:
    match a, b:
        case (str(), str()) | (list(), list()):
            return a + b
    return _finite(_num(a) + _num(b))


def _sub(a: Any, b: Any) -> float:
    return _finite(_num(a) - _num(b))


def _mul(a: Any, b: Any) -> float:
    return _finite(_num(a) * _num(b))


def _div(a: Any, b: Any) -> float:
    if _num(b) == 0:
        _num(a)
        raise RuleFailed(why="division")
    return _finite(_num(a) / _num(b))


def _mod(a: Any, b: Any) -> float:
    if _num(b) == 0:
        _num(a)
        raise RuleFailed(why="division")
    return math.fmod(_num(a), _num(b))


def _neg(a: Any) -> float:
    return -_num(a)


def _order(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def ordered(a: Any, b: Any) -> bool:
        if isinstance(a, str) and isinstance(b, str):
            return compare(a, b)
        return compare(_num(a), _num(b))

    return ordered


def _in(a: Any, b: Any) -> bool:
    """Whether it is among a list's entries, or the names of a map's."""
    if isinstance(b, dict):
        return _str(a) in b
    return any(_same(a, x) for x in _list(b))


def _same(a: Any, b: Any) -> bool:
    """Equality of JSON values: a truth is no number (Python has True == 1)."""
    match a, b:
        case (list(), list()):
            return len(a) == len(b) and all(map(_same, a, b))
        case (dict(), dict()):
            return a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    return type(a) is type(b) and bool(a == b)


def _at(a: Any, index: Any) -> Any:
    if isinstance(a, list):
        number = _num(index)
        if not number.is_integer() or not 0 <= number < len(a):
            raise RuleFailed(why="index")
        return a[int(number)]
    if isinstance(a, dict):
        if _str(index) not in a:
            raise RuleFailed(why="index")
        return a[index]
    raise RuleFailed(why="type")


def _has(a: Any, name: str) -> bool:
    if a is None:
        return False
    if not isinstance(a, dict):
        raise RuleFailed(why="type")
    return a.get(name) is not None


def _size(a: Any) -> float:
    if not isinstance(a, (str, list, dict)):
        raise RuleFailed(why="type")
    return float(len(a))


@lru_cache(maxsize=1024)
def _pattern(pattern: str) -> re.Pattern[str]:
    written = check_pattern(pattern)
    return re.compile(re.sub(r"\\.|\[[^\]]*\]|\$", lambda m: r"\Z" if m.group() == "$" else m.group(), written), re.ASCII)


def _matches(a: Any, pattern: str) -> bool:
    if len(_str(a)) > MATCHED_CHARS_MAX:
        raise RuleFailed(why="long")
    return _pattern(pattern).search(a) is not None


def _starts(a: Any, b: Any) -> bool:
    return _str(a).startswith(_str(b))


def _ends(a: Any, b: Any) -> bool:
    return _str(a).endswith(_str(b))


def _contains(a: Any, b: Any) -> bool:
    return _str(b) in _str(a)


def _floor(a: Any) -> float:
    return float(math.floor(_num(a)))


def _ceil(a: Any) -> float:
    return float(math.ceil(_num(a)))


def _round(a: Any) -> float:
    return float(math.floor(_finite(_num(a) + 0.5)))


def _times(factor: float) -> Callable[[Any], float]:
    return lambda a: _finite(_num(a) * factor)


def _around() -> Surroundings:
    return _RUNNING[-1].around


def _told(ask: Callable[..., Any]) -> Callable[..., Any]:
    """Asks the calendar, whose ignorance is a rule's failure."""

    def asked(*arguments: Any) -> Any:
        try:
            return doubles(ask(_around().calendar, *arguments))
        except Unknown as unknown:
            raise RuleFailed(unknown.code, unknown.why, **unknown.params) from None

    return asked


def _shift_of(calendar: Calendar, ms: Any) -> dict[str, Any] | None:
    """The shift that a moment falls into; null between shifts."""
    found = calendar.shift(_num(ms))
    if found is None:
        return None
    return {"shift": found.name, "name": found.names, "date": written(found.day), "begins_at": found.begins, "ends_at": found.ends}


def _next_window(calendar: Calendar, windows: Any, days: Any, after: Any, now: Any) -> dict[str, Any] | None:
    spans = _list([] if windows is None else windows)
    for span in spans:
        if not isinstance(span, dict):
            raise RuleFailed(why="type")
        for edge in ("from_min", "until_min"):
            if span.get(edge) is not None and not 0 <= _num(span[edge]) <= WINDOW_MIN_MAX:
                raise RuleFailed(why="window")
    return calendar.next_window(spans, days, None if after is None else _num(after), _num(now))


def _on_duty(calendar: Calendar, role: Any, area: Any, ms: Any) -> list[str]:
    """The ids of the persons whom the nearest roster names."""
    return _around().rosters.on_duty(calendar, _str(role), None if area is None else _str(area), _num(ms))


def _limit(key: Any) -> float:
    found = _around().limits.get(_str(key))
    if found is None:
        raise RuleFailed("flow.limit_unknown", limit=key)
    return _num(found)


def _distance_m(a: Any, b: Any) -> float | None:
    """Great-circle distance in metres, to the decimetre; null where either place is unknown or sealed."""
    if not (isinstance(a, dict) and isinstance(b, dict) and a.get("lat") is not None and b.get("lat") is not None):
        for place in (a, b):
            if place is not None and not isinstance(place, dict):
                raise RuleFailed(why="type")
        return None
    lat1, lon1, lat2, lon2 = (_num(x) * math.pi / 180 for x in (a["lat"], a.get("lon"), b["lat"], b.get("lon")))
    h = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return math.floor(2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, h))) * 10 + 0.5) / 10


def _latest(items: Any, field: Any) -> list[Any]:
    """Of the items that name the same thing in `field`, the last; ordered by that name."""
    found: dict[str, Any] = {}
    for item in _list(items):
        if not isinstance(item, dict) or _str(field) not in item:
            raise RuleFailed(why="type")
        found[_str(item[field])] = item
    return [found[name] for name in sorted(found)]


def _sum(items: Any, field: Any) -> float:
    """The sum of a number that items may have."""
    total = 0.0
    for item in _list(items):
        if not isinstance(item, dict):
            raise RuleFailed(why="type")
        value = item.get(_str(field))
        total += 0 if value is None else _num(value)
    return _finite(total)


def _check_item(name: Any) -> Any:
    """The datum of a check list's item. What the item does not say is null."""
    found = _around().items.get(_str(name))
    if found is None:
        raise RuleFailed("flow.item_unknown", item=name)
    return doubles(found)


def _item(name: Any, entry: str) -> Any:
    """One entry of a check list's item."""
    found = _around().items.get(_str(name))
    if found is None:
        raise RuleFailed("flow.item_unknown", item=name)
    if entry not in found:
        raise RuleFailed(why="type")
    return doubles(found[entry])


def _check_items() -> Any:
    """The check list's items, in its order."""
    return [doubles(item) for item in _around().items.values()]


def _open_items(answers: Any) -> list[str]:
    """Ids of the check list's items that no answer names, in the list's order."""
    answered = {item.get("item") for item in _list(answers) if isinstance(item, dict)}
    return [name for name in _around().items if name not in answered]


def _proof_items(check: Any, ratio: Any) -> list[str]:
    """Ids of the items of this check that want a photo though they are normal: each with the chance `ratio`. Which ones follows from the
    check's id: nobody knows before it begins, and phone and server agree."""
    share = _num(ratio) * PROOF_DRAWS
    return [name for name in _around().items if int(ids.derived(f"proof:{_str(check)}:{name}")[:8], 16) < share]


def _spawned(name: Any) -> str:
    """The id of the document that this op brings about under `name`."""
    return ids.spawned(_around().op_id, _str(name))


def _may(cap: str, area: Any) -> bool:
    return _around().actor.has(cap, None if area is None else _str(area))


def _may_anywhere(cap: str) -> bool:
    return _around().actor.anywhere(cap)


def _caught(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keeps the first failure and goes on with null: the rule has failed whatever follows, and the engine would reword what is raised."""

    def called(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except RuleFailed as failure:
            running = _RUNNING[-1]
            running.failed = running.failed or failure
            return None

    return called


_PLAIN: dict[str, Callable[..., Any]] = {
    "add": _add,
    "sub": _sub,
    "mul": _mul,
    "div": _div,
    "mod": _mod,
    "neg": _neg,
    "lt": _order(lambda a, b: a < b),
    "le": _order(lambda a, b: a <= b),
    "gt": _order(lambda a, b: a > b),
    "ge": _order(lambda a, b: a >= b),
    "in": _in,
    "at": _at,
    "has": _has,
    "any": lambda a: a,
    "bool": _bool,
    "list": _list,
    "map": lambda parts: dict(zip(parts[::2], parts[1::2], strict=True)),
    "may": _may,
    "may_anywhere": _may_anywhere,
    "size": _size,
    "matches": _matches,
    "startsWith": _starts,
    "endsWith": _ends,
    "contains": _contains,
    "min": lambda a, b: min(_num(a), _num(b)),
    "max": lambda a, b: max(_num(a), _num(b)),
    "abs": lambda a: abs(_num(a)),
    "floor": _floor,
    "ceil": _ceil,
    "round": _round,
    "seconds": _times(1_000),
    "minutes": _times(60_000),
    "hours": _times(3_600_000),
    "days": _times(DAY_MS),
    "day_start": _told(lambda calendar, ms: calendar.day_start(_num(ms))),
    "minute_of_day": _told(lambda calendar, ms: calendar.minute_of_day(_num(ms))),
    "shift_start": _told(lambda calendar, ms: calendar.working_shift(_num(ms)).begins),
    "shift_end": _told(lambda calendar, ms: calendar.working_shift(_num(ms)).ends),
    "shift_of": _told(_shift_of),
    "is_night": _told(lambda calendar, ms: calendar.is_night(_num(ms))),
    "is_rest_day": _told(lambda calendar, ms: calendar.is_rest_day(_num(ms))),
    "is_holiday": _told(lambda calendar, ms: calendar.is_holiday(_num(ms))),
    "next_window": _told(_next_window),
    "on_duty": _told(_on_duty),
    "limit": _limit,
    "distance_m": _distance_m,
    "latest": _latest,
    "sum": _sum,
    "check_item": _check_item,
    "item": _item,
    "check_items": _check_items,
    "open_items": _open_items,
    "proof_items": _proof_items,
    "spawned": _spawned,
}
_SURROUNDED = {
    *("day_start", "minute_of_day", "shift_start", "shift_end", "shift_of", "is_night", "is_rest_day", "is_holiday"),
    *("next_window", "on_duty", "limit", "check_item", "item", "check_items", "open_items", "proof_items", "spawned"),
}
"""Functions that ask more than their arguments and the actor."""
_FUNCTIONS = {name: _caught(function) for name, function in _PLAIN.items()}
