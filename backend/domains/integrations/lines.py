"""Rows that are lines in documents: a roster's, of which each says who is on duty in one area, for one role, in one shift of one day.

What counts is what `backend.flow.calendar.Rosters` reads: of several rosters for a day the one that sorts last, in it the last line for the
shift. A row that changes such a line is added there. A row where no roster reaches is added to a new one, which holds its month.
"""

import calendar
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

from backend.domains.integrations.columns import Table
from backend.domains.integrations.plan import Held, Step, spelling_of
from backend.flow.machine import View
from backend.sync.op import Add, New, Op


class Sheet(msgspec.Struct):
    """A document that holds lines, as far as these are about it."""

    id: str
    role: str
    area: str | None
    first: str
    last: str

    def reaches(self, line: Mapping[str, Any]) -> bool:
        return (self.role, self.area) == (line["role"], line.get("area")) and self.first <= line["date"] <= self.last


def sheets(views: Iterable[View]) -> list[Sheet]:
    """The rosters in use, in the order in which they come to count."""
    living = [view for view in views if view["status"] == "in_use"]
    return [Sheet(v["id"], v["role"], v.get("area"), v["from"], v["until"]) for v in sorted(living, key=lambda v: str(v["id"]))]


def held(table: Table, views: Sequence[View], areas: Mapping[str, str]) -> dict[str, list[Held]]:
    """The lines that count, by their spelling. `areas`: id → code."""
    found: dict[str, list[Held]] = {}
    for view in sorted(views, key=lambda v: str(v["id"])):
        if view["status"] != "in_use" or (view.get("area") and view["area"] not in areas):
            continue
        for line in view.get(table.lines) or []:
            if view["from"] <= line["date"] <= view["until"]:
                fields = {"role": view["role"], "area": view.get("area"), **{name: line.get(name) for name in ("date", "shift", "persons")}}
                spelling = spelling_of(table, {**fields, "area": areas.get(view.get("area") or "")})
                if fields["persons"]:
                    found[spelling] = [Held(line["id"], 0, fields)]
                else:
                    found.pop(spelling, None)  # emptied: as if nothing had ever been said of it
    return found


def ops(
    table: Table, steps: Sequence[Step], known: Sequence[Sheet], version: int, author: str, new_id: Callable[[], str]
) -> Iterator[tuple[Step, Op]]:
    """What is said of each row. `version`: the newest of the kind."""
    all_known = list(known)
    for step in steps:
        line = step.fields
        sheet = next((one for one in reversed(all_known) if one.reaches(line)), None)
        if sheet is None:
            day = date.fromisoformat(line["date"])
            last = day.replace(day=calendar.monthrange(day.year, day.month)[1])
            sheet = Sheet(new_id(), line["role"], line.get("area"), day.replace(day=1).isoformat(), last.isoformat())
            all_known.append(sheet)
            fields = {"role": sheet.role, "from": sheet.first, "until": sheet.last} | ({"area": sheet.area} if sheet.area else {})
            yield step, New(0, 0, 0, author, f"{table.kind}/{sheet.id}", version, fields)
        item: dict[str, Any] = {name: line[name] for name in ("date", "shift", "persons") if name in line}
        yield step, Add(0, 0, 0, author, f"{table.kind}/{sheet.id}", table.lines, new_id(), item)
