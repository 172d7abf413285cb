"""May these values stand in these fields? Pure. Twin of pwa/src/flow/form.ts.

Values are JSON. A field that a kind marks personal may hold `{"sealed": hex}` instead: whoever judges does not see what is under it.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any

import msgspec

from backend.flow.kind import Field

TEXT_CHARS_MAX = 2_000
CHOICES_MAX = 100
ROWS_MAX = 200
TIME_MAX = 253_402_300_799_999
"""The last millisecond of the year 9999."""
NUMBER_MAX = 2**53 - 1
DEPTH_MAX = 12

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_KEY = re.compile(r"(?:[a-z][a-z0-9_.]{0,63}/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|parked/[0-9a-f]{64})\Z")
_HASH = re.compile(r"[0-9a-f]{64}\Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_PLACE = {"lat", "lon", "accuracy_m", "source", "phone_at", "at"}
_NAMES_MEDIA = frozenset({"media", "signature", "list", "table"})
_MEDIA_TYPE = re.compile(r"(?:image|audio|video)/[a-z0-9.+-]{1,40}\Z")


class Wrong(msgspec.Struct, frozen=True):
    """A value that may not stand. `field` is the path in the form, such as `points.2.value`."""

    field: str
    code: str
    params: dict[str, Any]


Check = Callable[[str, Field, Any], Wrong | None]
"""Judges the rules in a field's `check` over its value: given by whoever can run rules."""


Shown = Callable[[str, Field], bool]
"""Whether a field is asked for at all."""


def validate(fields: Mapping[str, Field], values: Mapping[str, Any], *, whole: bool, shown: Shown, check: Check) -> list[Wrong]:
    """What is wrong with these values. `whole`: all of a form, so what is required must be there; else only what is given is judged.

    What is not shown is not required. Order: names that are not in the form, then the form's.
    """
    return list(_wrongs(fields, values, whole, shown, check))


def _wrongs(fields: Mapping[str, Field], values: Mapping[str, Any], whole: bool, shown: Shown, check: Check) -> Iterator[Wrong]:
    for name in sorted(values):
        if name not in fields:
            yield _wrong(name, "flow.field_unknown")
    for name in fields if whole else _named(fields, values):
        field, value = fields[name], values.get(name)
        if value is None or (field.required and _is_empty(value)):
            if field.required and (whole or name in values) and shown(name, field):
                yield _wrong(name, "flow.field_required")
            continue
        found = wrong_value(name, field, value)
        if found is None and field.check and not is_sealed(value):
            found = check(name, field, value)
        if found:
            yield found


def is_plain(field: Field, value: Any) -> bool:
    """Whether this value may stand by itself: nothing but its type is to be looked at, and that is right."""
    if value is None or field.required or field.personal or field.check or is_sealed(value):
        return False
    return _TYPES[field.type]("", field, value) is None


def wrong_value(name: str, field: Field, value: Any) -> Wrong | None:
    """What is wrong with one value that is not null, its rules aside."""
    if is_sealed(value):
        return None if field.personal else _wrong(name, "flow.field_type", type=field.type)
    return _TYPES[field.type](name, field, value)


def is_sealed(value: Any) -> bool:
    """Whether this stands for a personal value."""
    return isinstance(value, dict) and value.keys() == {"sealed"} and _is_hash(value["sealed"])


def media_of(fields: Mapping[str, Field], values: Mapping[str, Any]) -> list[str]:
    """The sha256 of every photo, voice or signature that these values name, in order, each once."""
    found: dict[str, None] = {}
    for name in _named(fields, values):
        if fields[name].type in _NAMES_MEDIA:
            _look(found, fields[name], values[name])
    return list(found)


def _look(found: dict[str, None], field: Field, value: Any) -> None:
    if field.type in ("media", "signature") and isinstance(value, dict) and isinstance(value.get("sha256"), str):
        found[value["sha256"]] = None
    elif field.type == "list" and field.item and isinstance(value, list):
        for entry in value:
            _look(found, field.item, entry)
    elif field.type == "table" and isinstance(value, list):
        for row in value:
            for name, column in field.columns.items():
                _look(found, column, row.get(name))


def _named(fields: Mapping[str, Field], values: Mapping[str, Any]) -> list[str]:
    """The form's fields that are given, in the form's order."""
    if len(values) == 1:
        return [name for name in values if name in fields]
    return [name for name in fields if name in values]


def _is_empty(value: Any) -> bool:
    """Nothing was filled in: blanks only, or no entry."""
    return value == [] or (isinstance(value, str) and not value.strip(" \t\r\n\u3000"))


def _wrong(name: str, code: str, **params: Any) -> Wrong:
    return Wrong(name, code, {"field": name, **params})


def _type(name: str, field: Field, _: Any = None) -> Wrong:
    return _wrong(name, "flow.field_type", type=field.type)


def _bounds(name: str, field: Field, amount: float) -> Wrong | None:
    if field.min is not None and amount < field.min:
        return _wrong(name, "flow.field_min", min=_whole(field.min), unit=field.unit or "")
    if field.max is not None and amount > field.max:
        return _wrong(name, "flow.field_max", max=_whole(field.max), unit=field.unit or "")
    return None


def _count(name: str, field: Field, count: int, most: int) -> Wrong | None:
    if field.min is not None and count < field.min:
        return _wrong(name, "flow.field_few", min=_whole(field.min))
    most = most if field.max is None else int(field.max)
    if count > most:
        return _wrong(name, "flow.field_many", max=most)
    return None


def _whole(number: float) -> float:
    return int(number) if number == int(number) else number


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and abs(value) <= NUMBER_MAX


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and _HASH.match(value) is not None


def _is_time(value: Any) -> bool:
    return _is_number(value) and value == int(value) and 0 <= value <= TIME_MAX


def _is_text(value: Any, most: int = TEXT_CHARS_MAX) -> bool:
    return isinstance(value, str) and len(value) <= most


def _text(name: str, field: Field, value: Any) -> Wrong | None:
    if not isinstance(value, str):
        return _type(name, field)
    return _count(name, field, len(value), TEXT_CHARS_MAX)


def _number(name: str, field: Field, value: Any) -> Wrong | None:
    if not _is_number(value):
        return _type(name, field)
    if wrong := _bounds(name, field, value):
        return wrong
    if field.step is not None:
        steps = (value - (field.min or 0)) / field.step
        # 0.3 is not three times 0.1 in binary: a millionth of a step is none.
        if abs(steps - math.floor(steps + 0.5)) > 1e-6:
            return _wrong(name, "flow.field_step", step=_whole(field.step))
    return None


def _yes_no(name: str, field: Field, value: Any) -> Wrong | None:
    return None if isinstance(value, bool) else _type(name, field)


def _choice(name: str, field: Field, value: Any) -> Wrong | None:
    if not isinstance(value, str):
        return _type(name, field)
    return None if isinstance(field.of, dict) and value in field.of else _wrong(name, "flow.field_choice")


def _choices(name: str, field: Field, value: Any) -> Wrong | None:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value) or len(set(value)) < len(value):
        return _type(name, field)
    if not isinstance(field.of, dict) or not all(v in field.of for v in value):
        return _wrong(name, "flow.field_choice")
    return _count(name, field, len(value), CHOICES_MAX)


def _time(name: str, field: Field, value: Any) -> Wrong | None:
    return _bounds(name, field, value) if _is_time(value) else _type(name, field)


def _date(name: str, field: Field, value: Any) -> Wrong | None:
    if isinstance(value, str) and _DATE.match(value):
        try:
            date.fromisoformat(value)
            return None
        except ValueError:
            pass
    return _type(name, field)


def _refers(field: Field, value: Any) -> bool:
    return isinstance(value, str) and (_KEY if field.of == "*" else _UUID).match(value) is not None


def _ref(name: str, field: Field, value: Any) -> Wrong | None:
    return None if _refers(field, value) else _type(name, field)


def _refs(name: str, field: Field, value: Any) -> Wrong | None:
    if not isinstance(value, list) or not all(_refers(field, v) for v in value) or len(set(value)) < len(value):
        return _type(name, field)
    return _count(name, field, len(value), CHOICES_MAX)


def _place(name: str, field: Field, value: Any) -> Wrong | None:
    good = (
        isinstance(value, dict)
        and _PLACE <= value.keys() <= {*_PLACE, "tag"}
        and _is_number(value["lat"])
        and abs(value["lat"]) <= 90
        and _is_number(value["lon"])
        and abs(value["lon"]) <= 180
        and _is_number(value["accuracy_m"])
        and value["accuracy_m"] >= 0
        and value["source"] in ("gps", "tag")
        and _is_text(value.get("tag", ""), 32)
        and _is_time(value["phone_at"])
        and _is_time(value["at"])
    )
    return None if good else _type(name, field)


def _media(name: str, field: Field, value: Any) -> Wrong | None:
    good = (
        isinstance(value, dict)
        and {"sha256", "type", "size"} <= value.keys() <= {"sha256", "type", "size", "w", "h"}
        and _is_hash(value["sha256"])
        and isinstance(value["type"], str)
        and _MEDIA_TYPE.match(value["type"]) is not None
        and all(_is_number(n) and n == int(n) and n > 0 for n in (value.get(name, 1) for name in ("size", "w", "h")))
    )
    return None if good else _type(name, field)


def _scan(name: str, field: Field, value: Any) -> Wrong | None:
    return None if _is_text(value, 64) and value else _type(name, field)


def _label(name: str, field: Field, value: Any) -> Wrong | None:
    good = isinstance(value, dict) and value.keys() == {"zh", "en"} and all(_is_text(text, 200) for text in value.values())
    return None if good and any(value.values()) else _type(name, field)


def _table(name: str, field: Field, value: Any) -> Wrong | None:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        return _type(name, field)
    if wrong := _count(name, field, len(value), ROWS_MAX):
        return wrong
    for n, row in enumerate(value):
        for unknown in sorted(row.keys() - field.columns.keys()):
            return _wrong(f"{name}.{n}.{unknown}", "flow.field_unknown")
        for column, spec in field.columns.items():
            path = f"{name}.{n}.{column}"
            cell = row.get(column)
            if cell is None:
                if spec.required:
                    return _wrong(path, "flow.field_required")
            elif wrong := wrong_value(path, spec, cell):
                return wrong
    return None


def _list(name: str, field: Field, value: Any) -> Wrong | None:
    if not isinstance(value, list):
        return _type(name, field)
    if wrong := _count(name, field, len(value), ROWS_MAX):
        return wrong
    for n, entry in enumerate(value):
        if field.item is None:
            if not _is_json(entry):
                return _type(name, field)
        elif entry is None:
            return _wrong(f"{name}.{n}", "flow.field_required")
        elif wrong := wrong_value(f"{name}.{n}", field.item, entry):
            return wrong
    return None


def _map(name: str, field: Field, value: Any) -> Wrong | None:
    if not isinstance(value, dict):
        return _type(name, field)
    if wrong := _count(name, field, len(value), ROWS_MAX):
        return wrong
    for key in sorted(value):
        if field.item is None:
            if not _is_json(value[key]):
                return _type(name, field)
        elif value[key] is None:
            return _wrong(f"{name}.{key}", "flow.field_required")
        elif wrong := wrong_value(f"{name}.{key}", field.item, value[key]):
            return wrong
    return None


def _is_json(value: Any, depth: int = 0) -> bool:
    if depth > DEPTH_MAX:
        return False
    match value:
        case None | bool() | str():
            return True
        case int() | float():
            return _is_number(value)
        case list():
            return all(_is_json(v, depth + 1) for v in value)
        case dict():
            return all(_is_json(v, depth + 1) for v in value.values())
    return False


_TYPES: dict[str, Callable[[str, Field, Any], Wrong | None]] = {
    "text": _text,
    "number": _number,
    "yes_no": _yes_no,
    "choice": _choice,
    "choices": _choices,
    "time": _time,
    "duration": _time,
    "date": _date,
    "ref": _ref,
    "refs": _refs,
    "place": _place,
    "media": _media,
    "signature": _media,
    "scan": _scan,
    "label": _label,
    "table": _table,
    "list": _list,
    "map": _map,
    "section": _type,
}
