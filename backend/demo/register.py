"""What the server's own device says to begin a demo plant: areas, people, machines with bound tags, rosters, routes."""

from typing import Any

import msgspec

from backend.auth.permissions import Role
from backend.demo.ids import area_id, machine_id, person_id, point_code, route_id, tag_code
from backend.demo.plant import CALENDAR, OWN, Plant, Route, Stop
from backend.domains.equipment import codes
from backend.flow.calendar import written
from backend.flow.judge import PLANT_KEY
from backend.kernel.errors import Text
from backend.kernel.ids import SERVER_AUTHOR, derived
from backend.sync.op import Act, Add, New, Op, Set

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
HISTORY_DAYS = 30
ROSTER_DAYS_BEFORE = 2
ROSTER_DAYS_AHEAD = 30
CREWS_DAYS_AHEAD = 14
UPKEEP_MACHINES_MAX = 6


class Book:
    """Collects what the server's own device says. `at`: when, Unix ms; 0: now."""

    def __init__(self, versions: dict[str, int], at: int = 0) -> None:
        self.said: list[Op] = []
        self._versions = versions
        self._at = at

    def new(self, kind: str, name: str, fields: dict[str, Any]) -> None:
        self.said.append(New(0, 0, self._at, SERVER_AUTHOR, f"{kind}/{name}", self._versions[kind], fields))

    def add(self, doc: str, to: str, name: str, item: dict[str, Any]) -> None:
        self.said.append(Add(0, 0, self._at, SERVER_AUTHOR, doc, to, name, item))

    def act(self, doc: str, transition: str, given: dict[str, Any]) -> None:
        self.said.append(Act(0, 0, self._at, SERVER_AUTHOR, doc, transition, given, 0))


def ops(plant: Plant, versions: dict[str, int], now: int) -> list[Op]:
    """Everything that stands before anything happens. `versions`: the newest of each kind; `now`: Unix ms."""
    # A plant with a past stood there before it.
    book = Book(versions, (CALENDAR.day(now) - HISTORY_DAYS - 1) * DAY_MS if plant.large else 0)
    book.said.append(Set(0, 0, 0, SERVER_AUTHOR, PLANT_KEY, {"name": both(OWN)}))
    for area in plant.areas:
        lat, lon, radius_m = area.place
        fields: dict[str, Any] = {"code": area.code, "names": both(area.names), "place": {"lat": lat, "lon": lon, "radius_m": radius_m}}
        if area.parent is not None:
            fields["parent"] = area_id(area.parent)
        book.new("area", area_id(area.key), fields)
    for person in plant.people:
        roles = [msgspec.to_builtins(Role(role, area_id(area) if area else None)) for role, area in person.roles]
        fields = {"names": both(person.names), "number": person.number, "employer": person.employer.zh, "roles": roles}
        book.new("person", person_id(person.key), fields)
    for machine in plant.machines:
        fields = {
            "number": machine.number,
            "names": both(machine.names),
            "type": machine.type,
            "area": area_id(machine.area),
            "criticality": machine.criticality,
        }
        book.new("machine", machine_id(machine.number), fields)
        tag = codes.document_id(tag_code(machine.number))
        book.new("tag", tag, {"code": tag_code(machine.number)})
        book.act(f"tag/{tag}", "claim", {"machine": machine_id(machine.number)})
    for point in plant.points:
        book.new("tag", codes.document_id(point_code(point)), {"code": point_code(point)})
    _rosters(book, plant, now)
    for route in plant.routes:
        book.new("round.route", route_id(route.key), _route(plant, route))
    _upkeep(book, plant, now)
    if not plant.large:
        missed = {
            "route": route_id("cranes"),
            "begins_at": now - 13 * HOUR_MS,
            "ends_at": now - 75 * 60_000,
            "assignees": [person_id("inspector")],
        }
        book.new("round", derived("demo:round:missed"), missed)
    return book.said


def _upkeep(book: Book, plant: Plant, now: int) -> None:
    """Maintenance plans; some have just fallen due, most will in the days to come."""
    for kind, title, how, days in plant.upkeep:
        machines = [one for one in plant.machines if one.type == kind and one.criticality != "C"]
        for n, machine in enumerate(machines[:UPKEEP_MACHINES_MAX]):
            next_at = (CALENDAR.day(now) + (n * 7 + len(title)) % days - 1) * DAY_MS
            fields = {"machine": machine_id(machine.number), "title": title, "how": how, "every_days": days, "next_at": next_at}
            book.new("maintenance", derived(f"demo:maintenance:{machine.number}"), fields)


def _rosters(book: Book, plant: Plant, now: int) -> None:
    today = CALENDAR.day(now)
    for role, area, who in plant.duties:
        # Whoever tries the demo is on duty whenever that is; crews have taken turns all along.
        days = range(today - (ROSTER_DAYS_BEFORE if who else HISTORY_DAYS), today + (ROSTER_DAYS_AHEAD if who else CREWS_DAYS_AHEAD))
        name = derived(f"demo:roster:{role}:{area}")
        fields = {"role": role, "from": written(days[0]), "until": written(days[-1])} | ({"area": area_id(area)} if area else {})
        book.new("roster", name, fields)
        for day in days:
            for shift in ("day", "night"):
                persons = [who] if who else [one.key for one in plant.named(role, area or "", day, shift)]
                if persons:
                    line = {"date": written(day), "shift": shift, "persons": [person_id(one) for one in persons]}
                    book.add(f"roster/{name}", "duties", derived(f"{name}:{line['date']}:{shift}"), line)


def _route(plant: Plant, route: Route) -> dict[str, Any]:
    windows = [{"from_min": begins, "until_min": ends} | ({"shift": shift} if shift else {}) for begins, ends, shift in route.windows]
    fields: dict[str, Any] = {
        "names": both(route.names),
        "code": route.code,
        "area": area_id(route.area),
        "role": route.role,
        "windows": windows,
        "stops": [_stop(plant, n, stop) for n, stop in enumerate(route.stops, 1)],
    }
    if route.order != "free":
        fields |= {"order": route.order, "radius_m": route.radius_m}
    return fields


def _stop(plant: Plant, n: int, stop: Stop) -> dict[str, Any]:
    said: dict[str, Any] = {"id": str(n), "names": both(stop.names), "do": stop.do, "place": {"lat": stop.at[0], "lon": stop.at[1]}}
    if stop.machine:
        said["machine"] = machine_id(stop.machine)
    else:
        said["tag"] = point_code(stop.point)
    if stop.check:
        said["check"] = stop.check
    if stop.questions:
        asked = ((name, plant.questions[name]) for name in stop.questions)
        said["questions"] = [{"id": one["short"], **{k: v for k, v in one.items() if k != "short"}} for _, one in asked]
    return said


def both(text: Text) -> dict[str, str]:
    """A label's value."""
    return {"zh": text.zh, "en": text.en}
