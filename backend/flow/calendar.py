"""The plant's time: which local day and shift a moment falls into, what sort of day that is, and who is on duty. Pure.
Twin of pwa/src/flow/calendar.ts.

A zone's rules differ between engines and years, so nothing here asks a time-zone library: the calendar document carries the offsets from
UTC span by span (backend/flow/zones.py makes them from tzdata), and both languages add and subtract. Where a plant has no calendar yet,
its own document's offset and shifts stand in; then nothing is known of holidays, and what is not known is never a no.

Times are Unix ms. A day is counted from 1970-01-01 in the plant; a date is `YYYY-MM-DD`; minutes are of the local day.
"""

import contextlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import msgspec

DAY_MS = 86_400_000
MINUTE_MS = 60_000
TIME_MS_MAX = 7_258_118_400_000
"""2200-01-01: what lies beyond is no moment of a plant."""
EPOCH_DAY = date(1970, 1, 1).toordinal()
DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
REST_DAYS = ("sat", "sun")
"""Until a calendar says otherwise."""
NIGHT_MIN = (1_320, 360)
"""22:00 to 06:00, until a calendar says otherwise."""
WINDOW_DAYS_AHEAD_MAX = 32
WINDOW_MIN_MAX = 44_640
"""A span begins and ends at most this long after its shift's begin: 31 days."""


class Unknown(Exception):
    """The calendar gives no answer. `why` is a word for whoever mends the rule."""

    def __init__(self, why: str, code: str = "flow.rule_failed", **params: Any) -> None:
        super().__init__(code, why)
        self.why = why
        self.code = code
        self.params = params


class Shift(NamedTuple):
    """One shift of one day: `day` is the one it begins on, `until` the moment after its last."""

    name: str
    names: Any
    day: int
    begins: int
    ends: int


class Calendar:
    """A calendar document's view, or the plant's where there is none. Reads each part once, when it is first asked for."""

    def __init__(self, view: Mapping[str, Any] | None, plant: Mapping[str, Any] | None = None) -> None:
        self._view = view
        self._of = view if view is not None else plant or {}
        self._offsets: list[tuple[int, int]] | None = None
        self._shifts: list[tuple[str, Any, int, int]] | None = None
        self._days: dict[int, str] | None = None

    def offset(self, ms: float) -> int:
        """Milliseconds east of UTC at a moment."""
        if self._offsets is None:
            self._offsets = self._read_offsets()
        found = self._offsets[0][1]
        for since, offset in self._offsets:
            if since > ms:
                break
            found = offset
        return found

    def utc(self, local: int) -> int:
        """The moment at which clocks of the plant show this. In an hour that is skipped or comes twice, one of the two."""
        return local - self.offset(local - self.offset(local))

    def day(self, ms: float) -> int:
        """The plant's day of a moment."""
        return math.floor((ms + self.offset(ms)) / DAY_MS)

    def day_start(self, ms: float) -> int:
        """The moment at which a moment's day began."""
        return self.utc(self.day(_moment(ms)) * DAY_MS)

    def minute_of_day(self, ms: float) -> int:
        """The minute that clocks of the plant show."""
        local = _moment(ms) + self.offset(ms)
        return math.floor((local - math.floor(local / DAY_MS) * DAY_MS) / MINUTE_MS)

    def shift(self, ms: float) -> Shift | None:
        """The shift that a moment falls into; None between shifts."""
        moment = _moment(ms)
        today = self.day(moment)
        for name, names, start, end in self.shifts():
            for day in (today, today - 1):
                found = self._on(day, name, names, start, end)
                if found.begins <= moment < found.ends:
                    return found
        return None

    def working_shift(self, ms: float) -> Shift:
        """The shift that a check counts for: the last `handover_min` of a shift belong to the next one. Raises Unknown."""
        found = self.shift(_moment(ms) + _whole(self._of.get("handover_min") or 0) * MINUTE_MS)
        if found is None:
            raise Unknown("shift")
        return found

    def shifts_of(self, day: int) -> Iterator[Shift]:
        """The shifts that begin on a day."""
        for name, names, start, end in self.shifts():
            yield self._on(day, name, names, start, end)

    def shifts(self) -> list[tuple[str, Any, int, int]]:
        """Each shift's name, names, and the minutes of the day it begins and ends at. Without a calendar a shift is called by its place."""
        if self._shifts is None:
            found = self._of.get("shifts") or []
            self._shifts = [
                (one.get("key") or str(n), one.get("name"), _whole(one["start_min"]), _whole(one["end_min"])) for n, one in enumerate(found)
            ]
        return self._shifts

    def is_night(self, ms: float) -> bool:
        """Whether a moment lies in the hours that the plant calls night."""
        begins, ends = self._of.get("night_from_min"), self._of.get("night_until_min")
        begins, ends = NIGHT_MIN if begins is None or ends is None else (_whole(begins), _whole(ends))
        minute = self.minute_of_day(_moment(ms))
        return begins <= minute < ends if begins < ends else minute >= begins or minute < ends

    def is_rest_day(self, ms: float) -> bool:
        """Whether a moment's day is none to work on: a holiday, a day of rest by order, or a weekday of rest that no order makes a working
        day. Raises Unknown where the calendar has not been filled in that far."""
        day = self.day(_moment(ms))
        if self._view is not None:
            self._known(day)
        return self.rests(day)

    def is_holiday(self, ms: float) -> bool:
        """Whether a moment's day is a public holiday. Raises Unknown."""
        day = self.day(_moment(ms))
        if self._view is None:
            raise Unknown("calendar", "flow.no_calendar")
        self._known(day)
        return self._sorts().get(day) == "holiday"

    def rests(self, day: int) -> bool:
        """The same of a day as far as is known: for planning, which must go on."""
        sort = self._sorts().get(day)
        if sort is not None:
            return sort != "work"
        rest = self._of.get("rest_days")
        return WEEKDAYS[(day + 3) % 7] in (REST_DAYS if rest is None else rest)

    def next_window(self, windows: Sequence[Mapping[str, Any]], days: Any, after: float | None, now: float) -> dict[str, Any] | None:
        """Of the spans that `windows` gives in each shift (minutes from its begin; `shift` none: in all), the first that begins after
        `after` and is not over at `now`; None where there is none within a month. `days`: every, working or rest."""
        moment = _moment(now)
        today = self.day(moment)
        for day in range(today - 1, today + WINDOW_DAYS_AHEAD_MAX):
            if days in ("working", "rest") and self.rests(day) is not (days == "rest"):
                continue
            found: list[tuple[int, int, int, Shift]] = []
            for shift in self.shifts_of(day):
                for window in windows:
                    begins = shift.begins + _whole(window.get("from_min") or 0) * MINUTE_MS
                    ends = shift.begins + _whole(window.get("until_min") or 0) * MINUTE_MS
                    if window.get("shift") in (None, shift.name) and begins < ends and ends > moment and (after is None or begins > after):
                        found.append((begins, ends, len(found), shift))
            if found:
                begins, ends, _, shift = min(found)
                return {"begins_at": begins, "ends_at": ends, "shift": shift.name, "shift_name": shift.names, "date": written(shift.day)}
        return None

    def _on(self, day: int, name: str, names: Any, start: int, end: int) -> Shift:
        ends = end if end > start else end + 1_440
        return Shift(name, names, day, self.utc(day * DAY_MS + start * MINUTE_MS), self.utc(day * DAY_MS + ends * MINUTE_MS))

    def _read_offsets(self) -> list[tuple[int, int]]:
        if self._view is None:
            fixed = self._of.get("zone_offset_min")
            if fixed is None:
                raise Unknown("plant")
            return [(0, _whole(fixed) * MINUTE_MS)]
        found = [(_whole(one["since"]), _whole(one["offset_min"]) * MINUTE_MS) for one in self._view.get("offsets") or []]
        if not found:
            raise Unknown("plant")
        return found

    def _known(self, day: int) -> None:
        begins, ends = self._of.get("days_from"), self._of.get("days_until")
        if begins is None or ends is None or not day_of(begins) <= day <= day_of(ends):
            raise Unknown("calendar", "flow.calendar_ends", date=written(day))

    def _sorts(self) -> dict[int, str]:
        if self._days is None:
            self._days = {}
            for one in self._of.get("days") or []:
                first = day_of(one["from"])
                last = day_of(one.get("until") or one["from"])
                self._days |= dict.fromkeys(range(first, min(last, first + 400) + 1), one["sort"])
        return self._days


class Rosters(msgspec.Struct):
    """Who is on duty: the views of every roster in use, and each area's parent. Sorted once, when it is first asked."""

    views: Sequence[Mapping[str, Any]] = ()
    parents: Mapping[str, str | None] = {}
    _found: dict[tuple[str, str | None], dict[tuple[str, str], list[str]]] | None = None

    def on_duty(self, calendar: Calendar, role: str, area: str | None, ms: float) -> list[str]:
        """The persons whom the nearest roster names for this shift: the area's own, else that of what it lies in, else the plant's. Empty
        where no shift runs or nobody is named."""
        shift = calendar.shift(ms)
        if shift is None:
            return []
        place = (written(shift.day), shift.name)
        found = self._sorted()
        at, steps = area, 0
        while True:
            persons = found.get((role, at), {}).get(place)
            if persons:
                return persons
            if at is None or steps > len(self.parents):
                return []
            at, steps = self.parents.get(at), steps + 1

    def _sorted(self) -> dict[tuple[str, str | None], dict[tuple[str, str], list[str]]]:
        if self._found is None:
            found: dict[tuple[str, str | None], dict[tuple[str, str], list[str]]] = {}
            # Of two rosters for the same days the one that was begun last counts; of two lines in one, the last.
            for view in sorted(self.views, key=lambda v: str(v["id"])):
                if view.get("status") == "in_use":
                    lines = found.setdefault((view["role"], view.get("area")), {})
                    lines |= {
                        (one["date"], one["shift"]): list(one.get("persons") or [])
                        for one in view.get("duties") or []
                        if view["from"] <= one["date"] <= view["until"]
                    }
            self._found = found
        return self._found


def written(day: int) -> str:
    """A day as a date."""
    return date.fromordinal(EPOCH_DAY + day).isoformat()


def day_of(text: str) -> int:
    """A date's day. Raises Unknown."""
    if DATE.match(text):
        with contextlib.suppress(ValueError):
            return date.fromisoformat(text).toordinal() - EPOCH_DAY
    raise Unknown("type")


def _moment(ms: float) -> int:
    if not 0 <= ms <= TIME_MS_MAX:
        raise Unknown("time")
    return math.floor(ms)


def _whole(value: float) -> int:
    return math.floor(value)
