"""What stands in a demo plant, read from `data/`: areas, people, machines, routes, and who is on duty when. Pure.

The small plant has 5 areas, 20 machines and 8 people with accounts. The large one holds it whole and adds to it: 40 areas on a drawn plan,
300 machines of every type that has a check list, 120 people of whom 30 are contractors', 12 routes. Nothing is drawn by lot: each comes
from its place in the files.
"""

import math
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from backend.flow.calendar import Calendar
from backend.flow.load import read_yaml
from backend.kernel.errors import Text

DATA = Path(__file__).with_name("data")
METRES_PER_DEGREE = 111_195.0
CREWS = 4
"""Day, night, two days off: four crews keep a plant running on two shifts."""
OWN = Text("滨江钢铁", "Binjiang Steel")

CALENDAR = Calendar(
    {
        "offsets": [{"since": 0, "offset_min": 480}],
        "shifts": [{"key": "day", "start_min": 480, "end_min": 1200}, {"key": "night", "start_min": 1200, "end_min": 480}],
        "handover_min": 30,
    }
)
"""The calendar that a new plant begins with, as far as a demo asks for it: China's time and two shifts of twelve hours."""


class Area(msgspec.Struct, frozen=True):
    """An area, and the one it lies in. `box`: west, north, east and south on the drawn plan, in shares of its sides; none where there is no
    plan. `works`: a whole works, drawn around its areas."""

    key: str
    code: str
    names: Text
    place: tuple[float, float, int]
    parent: str | None = None
    box: tuple[float, float, float, float] | None = None
    works: bool = False


class Machine(msgspec.Struct, frozen=True):
    """A machine; `number` is the plant's own. `often`: how many times a day it is checked on the average."""

    number: str
    names: Text
    type: str
    area: str
    criticality: str
    often: float = 0.0


class Person(msgspec.Struct, frozen=True):
    """A person. `username` is that of the account; without one, nobody signs in as them. `tries` says what can be tried. `crew`: which of
    the four they belong to."""

    number: str
    names: Text
    roles: tuple[tuple[str, str | None], ...]
    username: str = ""
    tries: Text = Text("", "")
    employer: Text = OWN
    crew: int = 0

    @property
    def key(self) -> str:
        """What the id follows from."""
        return self.username or self.number

    @property
    def contractor(self) -> bool:
        return self.employer != OWN


class Stop(msgspec.Struct, frozen=True):
    """A stop of a route: a machine by its number, or a point."""

    names: Text
    at: tuple[float, float]
    machine: str = ""
    point: str = ""
    do: str = "scan"
    check: str = ""
    questions: tuple[str, ...] = ()


class Route(msgspec.Struct, frozen=True):
    """A route. `windows`: minutes from the shift's begin, from and until, and the shift where it is not every one."""

    key: str
    code: str
    names: Text
    area: str
    role: str
    windows: tuple[tuple[int, int, str | None], ...]
    stops: tuple[Stop, ...]
    order: str = "free"
    radius_m: int = 50


class Plant(msgspec.Struct, frozen=True):
    """A whole demo plant. `duties`: role and area of each roster, and who has it in every shift; nobody where the crews take turns.
    `upkeep`: type of machine, what is done, how, and every how many days. `large`: it has a plan and a past."""

    areas: tuple[Area, ...]
    machines: tuple[Machine, ...]
    people: tuple[Person, ...]
    points: Mapping[str, str]
    routes: tuple[Route, ...]
    questions: Mapping[str, dict[str, Any]]
    duties: tuple[tuple[str, str | None, str | None], ...]
    upkeep: tuple[tuple[str, str, str, int], ...] = ()
    large: bool = False

    def within(self, area: str) -> Iterator[str]:
        """The area and those it lies in, from within outwards."""
        parents = {one.key: one.parent for one in self.areas}
        at: str | None = area
        while at is not None:
            yield at
            at = parents[at]

    def holders(self, role: str, area: str) -> list[Person]:
        """Who holds a role that covers this area."""
        around = {None, *self.within(area)}
        return [one for one in self.people if any(held == role and where in around for held, where in one.roles)]

    def on_duty(self, role: str, area: str, day: int, shift: str) -> list[Person]:
        """Of them, who works in this shift of this day."""
        return [one for one in self.holders(role, area) if one.crew == crew_of(day, shift)]

    def named(self, role: str, area: str, day: int, shift: str) -> list[Person]:
        """Whom the roster names: the crew, or where a crew has nobody of this role, one of the others in turn."""
        among = self.holders(role, area)
        turn = [among[(day * 2 + (shift == "night")) % len(among)]] if among else []
        return self.on_duty(role, area, day, shift) or turn


def crew_of(day: int, shift: str) -> int:
    """The crew that has a shift: whoever has the day has the next day's night, then two days off."""
    return (day if shift == "day" else day - 1) % CREWS


@cache
def small() -> Plant:
    """The plant that tests walk through."""
    given = read_yaml(DATA / "small.yaml")
    people = [
        Person(
            one["number"],
            _text(one["names"]),
            tuple((role, area) for role, area in one["roles"]),
            one["username"],
            _text(one["tries"]),
            _text(one["employer"]) if "employer" in one else OWN,
        )
        for one in given["people"]
    ]
    routes = [
        Route(
            one["key"],
            one["code"],
            _text(one["names"]),
            one["area"],
            one["role"],
            _windows(one["windows"]),
            tuple(
                Stop(
                    _text(stop["names"]),
                    tuple(stop["at"]),
                    stop.get("machine", ""),
                    stop.get("point", ""),
                    stop.get("do", "scan"),
                    stop.get("check", ""),
                    tuple(stop.get("questions", ())),
                )
                for stop in one["stops"]
            ),
            one.get("order", "free"),
            one.get("radius_m", 50),
        )
        for one in given["routes"]
    ]
    return Plant(
        areas=tuple(Area(one["key"], one["code"], _text(one["names"]), tuple(one["place"]), one.get("parent")) for one in given["areas"]),
        machines=tuple(
            Machine(one["number"], _text(one["names"]), one["type"], one["area"], one["criticality"]) for one in given["machines"]
        ),
        people=tuple(people),
        points=given["points"],
        routes=tuple(routes),
        questions=given["questions"],
        duties=tuple((role, area, who) for role, area, who in given["duties"]),
    )


@cache
def large() -> Plant:
    """The plant that a first look shows."""
    given = read_yaml(DATA / "large.yaml")
    base = small()
    areas = _areas(given, base)
    machines = _machines(given, base)
    people = base.people + tuple(_staff(given, base))
    works = [one.key for one in areas if one.works]
    turns = [(role, area) for role in ("inspector", "worker", "supervisor") for area in works]
    return Plant(
        areas=areas,
        machines=machines,
        people=people,
        points={**base.points, **given["points"]},
        routes=(*(_fewer(one) for one in base.routes), *_routes(given, areas, machines)),
        questions={**base.questions, **given["questions"]},
        duties=(*base.duties, *((role, area, None) for role, area in turns), ("guardian", "gas", None)),
        upkeep=tuple((kind, title, how, days) for kind, title, how, days in given["maintenance"]),
        large=True,
    )


def _areas(given: dict[str, Any], base: Plant) -> tuple[Area, ...]:
    plan = given["plan"]
    known = {one.key: one for one in base.areas}
    width, height = plan["width_m"], plan["height_m"]
    per_lon = METRES_PER_DEGREE * math.cos(math.radians(plan["lat"]))

    def area(key: str, code: str, zh: str, en: str, parent: str | None, box: tuple[float, float, float, float]) -> Area:
        west, north, east, south = box
        place = (
            round(plan["lat"] - (north + south) / 2 / METRES_PER_DEGREE, 5),
            round(plan["lon"] + (west + east) / 2 / per_lon, 5),
            max(40, round(max(east - west, south - north) / 2)),
        )
        shares = (west / width, north / height, east / width, south / height)
        old = known.get(key)
        if old is not None:
            return msgspec.structs.replace(old, parent=old.parent or parent, box=shares)
        return Area(key, code, Text(zh, en), place, parent, shares, works=parent is None)

    works = [area(key, code, zh, en, None, (west, north, east, south)) for key, code, zh, en, west, north, east, south in given["works"]]
    inside = [
        area(key, code, zh, en, parent, (x - w / 2, y - h / 2, x + w / 2, y + h / 2))
        for key, code, zh, en, parent, x, y, w, h in given["areas"]
    ]
    return (*works, *inside)


def _machines(given: dict[str, Any], base: Plant) -> tuple[Machine, ...]:
    often = given["often"]
    made = [msgspec.structs.replace(one, often=often[one.number]) for one in base.machines]
    taken = {one.number for one in made}
    for kind, area, prefix, first, count, zh, en, criticality, times in given["machines"]:
        n = first
        for _ in range(count):
            while f"{prefix}-{n:02}" in taken:
                n += 1
            number = f"{prefix}-{n:02}"
            taken.add(number)
            made.append(Machine(number, Text(zh.format(n=n), en.format(n=n)), kind, area, criticality, times))
    return tuple(made)


def _staff(given: dict[str, Any], base: Plant) -> Iterator[Person]:
    surnames = [one.split() for one in given["surnames"]]
    firsts = [one.split() for one in given["given"]]
    employers = [_text(one) for one in given["employers"]]
    taken = {one.names.zh for one in base.people}
    n = hired = 0
    for role, where, count, contractors in given["staff"]:
        for place in range(count):
            while True:
                # Steps that share no factor with the lists' lengths meet every pair before one comes again.
                (family, spelt), (first, called) = surnames[n * 7 % len(surnames)], firsts[(n * 11 + n // len(surnames)) % len(firsts)]
                n += 1
                if family + first not in taken:
                    break
            taken.add(family + first)
            outside = place >= count - contractors
            number = f"{'8' if outside else '1'}{1000 + n * 3:04}"
            yield Person(
                number,
                Text(family + first, f"{spelt} {called}"),
                ((role, where),),
                employer=employers[hired % len(employers)] if outside else OWN,
                crew=(place + n) % CREWS if count < CREWS else place % CREWS,
            )
            hired += outside


def _routes(given: dict[str, Any], areas: tuple[Area, ...], machines: tuple[Machine, ...]) -> Iterator[Route]:
    places = {one.key: one.place for one in areas}
    of = {one.number: one for one in machines}
    points = given["points"]
    for one in given["routes"]:
        stops = []
        lat, lon, radius = places[one["area"]]
        for n, said in enumerate(one["stops"]):
            point = said.removeprefix("point ") if said.startswith("point ") else ""
            machine = None if point else of[said]
            if machine is not None:
                lat, lon, radius = places[machine.area]
            # Along a line through the area, as somebody walks it.
            at = (round(lat + (n - 2) * radius * 2e-6, 5), round(lon + (n % 3 - 1) * radius * 4e-6, 5))
            asked = tuple(one.get("questions", {}).get(said, ()))
            names = Text(points[point], points[point]) if machine is None else machine.names
            stops.append(Stop(names, at, said if machine else "", point, "questions" if asked else "scan", questions=asked))
        yield Route(
            one["key"],
            one["code"],
            _text(one["names"]),
            one["area"],
            one["role"],
            _windows(one["windows"]),
            tuple(stops),
            one.get("order", "free"),
            one.get("radius_m", 50),
        )


def _fewer(route: Route) -> Route:
    """A plant of this size walks such a route once a shift, or its rounds would fill every list."""
    return msgspec.structs.replace(route, windows=((0, 300, None),)) if len(route.windows) > 1 else route


def _windows(given: list[list[Any]]) -> tuple[tuple[int, int, str | None], ...]:
    return tuple((one[0], one[1], one[2] if len(one) > 2 else None) for one in given)


def _text(given: dict[str, str]) -> Text:
    return Text(given["zh"], given["en"])
