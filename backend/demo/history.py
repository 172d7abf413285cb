"""Thirty days of a plant that never was: who checked what, what they found, what became of it, who walked which round. Pure.

Everything follows from the plant, the kinds and the moment of seeding: two plants that are begun at the same moment have the same past, and
one that is begun later has the same as long before. People work in their crew's shifts, are in one place at a time, and a machine with a
fault stands still until somebody has cleared it. What would have happened after the moment of seeding has not happened yet: so some checks
are under way, some hazards open and some faults uncleared.
"""

import heapq
import random
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from backend.demo.ids import area_id, machine_id, person_id, point_code, route_id, tag_code
from backend.demo.plant import CALENDAR, DATA, Machine, Person, Plant, Route
from backend.demo.register import DAY_MS, HISTORY_DAYS, HOUR_MS
from backend.demo.shots import Shot
from backend.flow.calendar import MINUTE_MS, Shift
from backend.flow.cel import PROOF_DRAWS
from backend.flow.kind import CheckItem, CompiledKind
from backend.flow.load import read_yaml
from backend.kernel.ids import SERVER_AUTHOR, derived
from backend.sync.op import Act, Add, New, Op

SECOND_MS = 1_000
BAD_SHARE = 0.1
"""Of the checks that find something."""
CRITICAL_SHARE = 0.3
"""Of what they find, what stops the machine."""
REPORTS_A_DAY = 6
DUE_HOURS = {"red": 4, "orange": 24, "yellow": 72, "blue": 168}
OPEN = (
    ("steelmaking", 1.6, "left"),
    ("casting", 4.3, "left"),
    ("steelmaking", 27.5, "waits"),
    ("steelmaking", 143.0, "waits"),
    ("casting", 50.5, "judged"),
)
"""What whoever tries the demo finds in the areas of its accounts, however chance falls: where, hours ago, and how far it has come. Nobody
has assigned it, or mended it, or judged what was done."""
STANDING = ("LG-QZ-04", 19.2, "overhead_crane.rope")
"""A machine there that may not be operated, since how many hours, and why."""
SHIFT_NAMES = {"day": {"zh": "白班", "en": "Day"}, "night": {"zh": "夜班", "en": "Night"}}

NOMINAL = {
    "continuous_caster.mould_flow": (2150, 2380),
    "ladle.lining_heats": (12, 86),
    "gas_area.pressure_low": (8.4, 11.6),
    "gas_holder.pressure": (6.2, 7.8),
    "gas_holder.level": (38, 78),
    "pressure_vessel.pressure": (0.62, 0.78),
    "pressure_vessel.temp": (24, 41),
    "portable_gas_detector.o2_fresh": (20.8, 21.0),
    "portable_gas_detector.power_on": (72, 100),
    "forklift.charging": (46, 98),
    "converter.emergency_water": (84, 97),
    "converter.shell_temp": (248, 336),
    "continuous_caster.tundish_baked": (1080, 1190),
    "ladle.shell_temp": (190, 296),
    "hot_metal_rail_car.shell_temp": (160, 255),
    "overhead_crane.rope_turns": (3, 5),
    "scba.pressure": (27.5, 29.8),
    "scba.whistle": (5.2, 5.8),
    "scba.leak": (0.2, 1.1),
    "scba.trained": (41, 57),
    "scba.place": (2, 4),
}
"""What is usually read where the bounds alone do not tell."""

SCENES = {
    "brake": "wheel",
    "wheel": "wheel",
    "tyre": "wheel",
    "gauge": "gauge",
    "gauge_top": "gauge",
    "gauge_tag": "gauge",
    "gauge_water": "gauge",
    "gauge_green": "extinguisher",
    "extinguisher": "extinguisher",
    "hydrant": "extinguisher",
    "rope": "rope",
    "hook_pair": "hook",
    "small_hook": "hook",
    "no_water": "floor",
    "dry_pit": "floor",
    "no_person": "lane",
    "co_meter": "detector",
    "co_detector": "detector",
    "battery": "detector",
    "zero": "detector",
    "belt": "belt",
    "roller": "belt",
    "guard": "rail",
    "gate": "rail",
    "bridge": "rail",
    "fence": "rail",
    "track": "track",
    "crossing": "track",
    "brick": "brick",
    "cabinet": "cabinet",
    "breaker": "cabinet",
    "earth": "cable",
    "lamp": "lamp",
    "horn": "lamp",
    "bell": "lamp",
    "pipe_leak": "leak",
    "water_leak": "leak",
    "vessel_leak": "leak",
    "seal": "leak",
    "valve_tag": "plate",
}
"""What a photo of an item shows, by its pictogram; a name plate otherwise."""


class Event(msgspec.Struct, frozen=True):
    """Something said. `name`: what others call the hazard that it brings about; `of`: the one that it is about. In the op a photo stands as
    `{"shot": its place among the shots}`."""

    at: int
    op: Op
    name: str = ""
    of: str = ""


class History(msgspec.Struct, frozen=True):
    """All of it, in the order of time."""

    events: tuple[Event, ...]
    shots: tuple[Shot, ...]


def history(plant: Plant, kinds: Sequence[CompiledKind], now: int, days: int = HISTORY_DAYS) -> History:
    """The last `days` days up to `now` (Unix ms)."""
    return _Past(plant, kinds, now, days).tell()


class _Past:
    def __init__(self, plant: Plant, kinds: Sequence[CompiledKind], now: int, days: int) -> None:
        self.plant = plant
        self.now = now
        self.today = CALENDAR.day(now)
        self.first = self.today - days
        self.versions = {kind.name: kind.kind.version for kind in kinds}
        self.lists = {name: kind for kind in kinds if kind.kind.checklist is not None for name in kind.kind.checklist.equipment_types}
        self.faults: dict[str, list[list[str]]] = read_yaml(DATA / "faults.yaml")
        self.words: dict[str, Any] = read_yaml(DATA / "hazards.yaml")
        self.events: list[tuple[int, int, Event]] = []
        self.shots: list[Shot] = []
        self.busy: dict[str, int] = {}
        self.broken: dict[str, set[str]] = {}
        self.until: dict[str, int] = {}
        self.ahead: list[tuple[int, int, Callable[[int], None]]] = []
        self.deck: dict[str, list[Any]] = {}

    def tell(self) -> History:
        for day in range(self.first, self.today + 1):
            for machine in self.plant.machines:
                for at, shift in self._occasions(machine, day):
                    self._later(at, self._checker(machine, shift))
            for n in range(REPORTS_A_DAY):
                chance = self._chance("report", day, n)
                minute = int(chance.triangular(0, 1440, 620))
                self._later(CALENDAR.utc(day * DAY_MS) + minute * MINUTE_MS, self._reporter(day, n))
            for route in self.plant.routes:
                for shift in CALENDAR.shifts_of(day):
                    for n, (begins, ends, only) in enumerate(route.windows):
                        if only in (None, shift.name) and shift.begins + ends * MINUTE_MS <= self.now:
                            span = (shift.begins + begins * MINUTE_MS, shift.begins + ends * MINUTE_MS)
                            self._later(span[0] - 12 * HOUR_MS, self._walker(route, shift, n, *span))
        self._set_out()
        while self.ahead:
            at, _, happens = heapq.heappop(self.ahead)
            if at <= self.now:
                happens(at)
        told = [event for at, _, event in sorted(self.events, key=lambda one: one[:2]) if at <= self.now]
        return self._with_shots_in_use(told)

    def _set_out(self) -> None:
        """What is there for the accounts to do."""
        for n, (area, hours, fate) in enumerate(OPEN):
            self._later(self.now - int(hours * HOUR_MS), self._opener(n, area, fate))
        number, hours, item = STANDING
        machine = next(one for one in self.plant.machines if one.number == number)
        at = self.now - int(hours * HOUR_MS)
        shift = CALENDAR.shift(at)
        assert shift is not None
        note, remedy, scene = self.faults[item][0]
        self._later(at, lambda when: self._check(machine, shift, when, again=False, found=(item, note, remedy, scene)))

    def _opener(self, n: int, area: str, fate: str) -> Callable[[int], None]:
        return lambda at: self._report(self.today, REPORTS_A_DAY + n, at, area, fate)

    def _with_shots_in_use(self, told: list[Event]) -> History:
        """What has not happened yet has no photo yet either."""
        places: dict[int, int] = {}

        def renumbered(value: Any) -> Any:
            match value:
                case {"shot": int(n)}:
                    return {"shot": places.setdefault(n, len(places))}
                case dict():
                    return {name: renumbered(part) for name, part in value.items()}
                case list():
                    return [renumbered(part) for part in value]
            return value

        events = tuple(msgspec.structs.replace(event, op=with_values(event.op, renumbered)) for event in told)
        return History(events, tuple(self.shots[n] for n in places))

    # Saying.

    def _later(self, at: int, happens: Callable[[int], None]) -> None:
        heapq.heappush(self.ahead, (at, len(self.ahead) + len(self.events) * 10_000, happens)) if at <= self.now else None

    def _say(self, op: Op, name: str = "", of: str = "") -> None:
        self.events.append((op.at, len(self.events), Event(op.at, op, name, of)))

    def _new(self, at: int, who: str, doc: str, fields: dict[str, Any]) -> None:
        self._say(New(0, 0, at, who, doc, self.versions[doc.partition("/")[0]], fields))

    def _act(self, at: int, who: str, doc: str, transition: str, given: dict[str, Any] | None = None, of: str = "") -> None:
        self._say(Act(0, 0, at, who, doc, transition, given or {}, 0), of=of)

    def _shot(self, scene: str, wrong: bool, seed: str) -> dict[str, Any]:
        self.shots.append(Shot(scene, wrong, seed))
        return {"shot": len(self.shots) - 1}

    def _chance(self, *of: Any) -> random.Random:
        """What falls out for this, whatever else there is. Days are counted back from the day of seeding."""
        said = [str(one - self.today) if isinstance(one, int) and one >= self.first else str(one) for one in of]
        return random.Random("/".join(said))  # noqa: S311 - a demo's variety, not a secret

    def _draw(self, name: str, cards: Sequence[Any]) -> Any:
        """The next of a shuffled deck: nothing comes again before everything has come."""
        deck = self.deck.setdefault(name, [])
        if not deck:
            deck += cards
            random.Random(f"{name}/{len(self.events)}").shuffle(deck)  # noqa: S311 - as above
        return deck.pop()

    def _free(self, among: Sequence[Person], at: int, chance: random.Random) -> Person | None:
        free = [one for one in among if self.busy.get(one.key, 0) <= at]
        return chance.choice(free) if free else None

    def _crew(self, roles: Sequence[str], area: str, shift: Shift) -> list[Person]:
        for role in roles:
            if found := self.plant.on_duty(role, area, shift.day, shift.name):
                return found
        return [one for role in roles for one in self.plant.holders(role, area)]

    # Checks.

    def _occasions(self, machine: Machine, day: int) -> Iterator[tuple[int, Shift]]:
        """When a machine is checked on a day: some each shift, others now and then."""
        chance = self._chance("occasion", machine.number, day)
        shifts = list(CALENDAR.shifts_of(day))
        pre = self._mode(machine).startswith("pre_")
        for n, shift in enumerate(shifts):
            share = machine.often / 2 if machine.often >= 1 else machine.often * (0.6 if n == 0 else 0.4)
            if chance.random() >= share:
                continue
            # Before a shift one begins in the last minutes of the one before; patrols take their time.
            minutes = chance.randint(-24, 35) if pre and machine.often >= 0.5 else chance.randint(20 if pre else 50, 600)
            at = shift.begins + minutes * MINUTE_MS + chance.randint(0, 59) * SECOND_MS
            # The first crane waits for whoever tries the demo now.
            if machine.number == self.plant.machines[0].number and shift.ends > self.now:
                continue
            yield at, shift

    def _mode(self, machine: Machine) -> str:
        checklist = self.lists[machine.type].kind.checklist
        assert checklist is not None
        return next((mode for mode in checklist.modes if mode.startswith("pre_")), checklist.modes[0])

    def _checker(
        self, machine: Machine, shift: Shift, *, again: bool = False, found: tuple[str, str, str, str] | None = None
    ) -> Callable[[int], None]:
        return lambda at: self._check(machine, shift, at, again=again, found=found)

    def _check(self, machine: Machine, shift: Shift, at: int, *, again: bool, found: tuple[str, str, str, str] | None = None) -> None:
        """`again`: after a fault was cleared. `found`: what is found whatever chance says, and nobody has mended yet."""
        if self.broken.get(machine.number):
            return
        chance = self._chance("check", machine.number, shift.day, shift.name, again, found)
        mode = self._mode(machine)
        roles = ("worker", "inspector", "guardian") if mode.startswith("pre_") else ("inspector", "worker", "guardian")
        who = self._free(self._crew(roles, machine.area, shift), at, chance)
        if who is None:
            if at + 20 * MINUTE_MS < shift.ends:
                later = self._checker(machine, shift, again=again, found=found)
                self._later(at + 7 * MINUTE_MS, later)
            return
        kind = self.lists[machine.type]
        seed = f"check/{machine.number}/{shift.day - self.today}/{shift.name}/{'found' if found else again}"
        name, proofs = _check_id(seed, kind, 1 if chance.random() < 0.12 else 0)
        doc, person = f"{kind.name}/{name}", person_id(who.key)
        self._new(at, person, doc, {"machine": machine_id(machine.number), "mode": mode, "tag": tag_code(machine.number)})
        items = list(kind.kind.items)
        chance.shuffle(items)
        bad = found or (None if again else self._what_is_bad(kind, machine, chance))
        hurry = 0.4 if chance.random() < 0.03 else 1.0
        clock, found_at = at + chance.randint(10, 40) * SECOND_MS, 0
        number = self._draw(f"number/{bad[1] if bad else ''}", range(2, 9))
        for item in items:
            dwell = int(float(item.dwell_s or 3) * 1000 * hurry * chance.uniform(1.02, 1.7))
            clock += dwell + chance.randint(2, 9) * SECOND_MS
            answer: dict[str, Any] = {"item": item.id, "verdict": "ok", "dwell_ms": dwell}
            if bad is not None and item.id == bad[0]:
                clock += chance.randint(25, 80) * SECOND_MS
                found_at = clock
                note = bad[1].format(n=number)
                answer |= {"verdict": "bad", "note": note, "media": [self._shot(bad[3], True, seed)]}
                read = re.search(r"(\d+(?:\.\d+)?) ?(?:℃|%|MPa|ppm)", note)
                if item.type == "number" and read is not None:
                    answer["value"] = _number(float(read[1]))
            elif item.type == "number":
                answer["value"] = _reading(item, chance)
            elif item.type == "choice":
                answer["choice"] = next(one.value for one in item.options if one.ok)
            if item.id in proofs and answer["verdict"] == "ok":
                answer["media"] = [self._shot(SCENES.get(item.pictogram or "", "plate"), False, f"{seed}/{item.id}")]
            event = Add(0, 0, clock, person, doc, "answers", derived(f"demo:{seed}:{item.id}"), answer)
            self._say(event, name=seed if answer["verdict"] == "bad" else "")
        ends = clock + chance.randint(8, 40) * SECOND_MS
        self._act(ends, person, doc, "finish")
        self.busy[who.key] = ends + 4 * MINUTE_MS
        critical = bad is not None and next(item for item in items if item.id == bad[0]).critical
        if critical and bad is not None:
            self.broken.setdefault(machine.number, set()).add(bad[0])
            self.until.pop(machine.number, None)
        elif mode.startswith("pre_"):
            until = CALENDAR.working_shift(at).ends
            self.until[machine.number] = until
            self._later(until, self._expirer(machine, until))
        if bad is not None:
            self._live(
                seed,
                machine.area,
                found_at,
                "orange" if critical else "yellow",
                bad[2].format(n=number),
                bad[3],
                who,
                seed,
                machine=machine,
                item=bad[0],
                critical=critical,
                fate="waits" if found else "",
            )

    def _what_is_bad(self, kind: CompiledKind, machine: Machine, chance: random.Random) -> tuple[str, str, str, str] | None:
        """Item, note, remedy and scene; None where all is well."""
        if chance.random() >= BAD_SHARE * (0.6 if machine.often >= 1 else 1):
            return None
        critical = chance.random() < CRITICAL_SHARE
        some = [item.id for item in kind.kind.items if item.id in self.faults and bool(item.critical) == critical]
        some = some or [item.id for item in kind.kind.items if item.id in self.faults]
        if not some:
            return None
        item = self._draw(f"{kind.name}/{critical}", some)
        note, remedy, scene = self._draw(item, self.faults[item])
        return item, note, remedy, scene

    def _expirer(self, machine: Machine, until: int) -> Callable[[int], None]:
        def expire(at: int) -> None:
            if self.until.get(machine.number) == until:
                del self.until[machine.number]
                self._act(at, SERVER_AUTHOR, f"machine/{machine_id(machine.number)}", "expire")

        return expire

    # Hazards.

    def _reporter(self, day: int, n: int) -> Callable[[int], None]:
        return lambda at: self._report(day, n, at)

    def _report(self, day: int, n: int, at: int, area: str = "", fate: str = "") -> None:
        chance = self._chance("reported", day, n)
        works = {"*", *self.plant.within(area)} if area else set()
        # What is red waits for nobody, so none of it is left open for whoever tries the demo.
        fit = [one for one in self.words["found"] if not area or (one[1] != "red" and {*([one[0]] if one[0] == "*" else one[0])} & works)]
        where, grade, note, remedy, scene = self._draw(f"found/{area}", fit)
        some = [one.key for one in self.plant.areas if not one.works and (where == "*" or set(where) & set(self.plant.within(one.key)))]
        area = area or self._draw(f"areas/{where}", some)
        shift = CALENDAR.shift(at)
        assert shift is not None
        among = [
            one
            for role in ("worker", "inspector", "guardian", "supervisor")
            for one in self.plant.on_duty(role, area, shift.day, shift.name)
        ]
        who = self._free([*among, *self.plant.holders("safety", area)], at, chance)
        if who is None:
            return
        numbers = {"n": self._draw(f"number/{note}", range(2, 9)), "m": self._draw(f"height/{note}", range(3, 9))}
        column = self._draw("columns", range(2, 19))
        spot = {name: self._draw(f"{name}/{note}", self.words[name]).format(n=column, m=column + 1) for name in ("places", "ground")}
        seed = f"report/{day - self.today}/{n}"
        doc = f"hazard/{derived(f'demo:{seed}')}"
        photos = [self._shot(scene, True, seed)]
        if chance.random() < 0.15:
            photos.append(self._shot(scene, True, f"{seed}/2"))
        said = note.format(at=spot["places"], on=spot["ground"], **numbers)
        fields = {"area": area_id(area), "note": said, "grade": grade, "photos": photos}
        self._new(at, person_id(who.key), doc, fields)
        self.busy[who.key] = at + 3 * MINUTE_MS
        self._live(doc, area, at, grade, remedy.format(**numbers), scene, who, seed, fate=fate)

    def _live(
        self,
        doc: str,
        area: str,
        at: int,
        grade: str,
        remedy: str,
        scene: str,
        reporter: Person,
        seed: str,
        machine: Machine | None = None,
        item: str = "",
        critical: bool = False,
        fate: str = "",
    ) -> None:
        """What becomes of a hazard. `doc`: its key, or the name of the event that brings it about. `fate`: as in OPEN; else as it falls."""
        chance = self._chance("life", seed)
        of = "" if doc.startswith("hazard/") else doc
        key = doc if not of else "hazard/-"

        def act(when: int, who: Person, transition: str, given: dict[str, Any] | None = None) -> None:
            self._act(when, person_id(who.key), key, transition, given, of)

        masters = self.plant.holders("supervisor", area)
        officers = self.plant.holders("safety", area)
        known = [one for one in masters if one.username]
        master = chance.choice((fate and known) or masters or officers)
        # Whoever stands on the machine's word is told at once; the rest waits for the morning's walk.
        slow = 6 + chance.expovariate(1 / (150 if grade == "orange" else 420))
        wait = chance.randint(5, 25) if critical or grade == "red" else min(int(slow), 26 * 60)
        assigned = at + wait * MINUTE_MS
        if chance.random() < 0.3:
            self._comment(chance, of, key, at + chance.randint(3, max(4, wait)) * MINUTE_MS, master, seed)
        if fate == "left":
            return
        if fate:
            assigned = at + chance.randint(9, 40) * MINUTE_MS
        elif not critical and chance.random() < 0.04:
            act(assigned, master, "void", {"reason": self._draw("void", self.words["void"])})
            return
        hours = 8 if critical else DUE_HOURS[grade]
        due = (assigned + hours * HOUR_MS) // (30 * MINUTE_MS) * 30 * MINUTE_MS
        hands = [one for role in ("worker", "guardian") for one in self.plant.holders(role, area)] or masters
        hand = chance.choice([one for one in hands if one.key != master.key] or hands)
        if fate:
            hand = next((one for one in hands if one.username), hand)
        act(assigned, master, "assign", {"assignee": person_id(hand.key), "due_at": due})
        recent = at > self.now - 9 * DAY_MS
        luck = chance.random()
        if fate == "waits" or (not fate and recent and grade != "red" and luck < (0.35 if critical else 0.2)):
            # Waits for a part: the machine stands still, the day it was due goes by.
            self._comment(chance, of, key, assigned + chance.randint(2, 6) * HOUR_MS, hand, seed)
            return
        late = luck < 0.27 and not fate
        share = chance.uniform(0.1, 0.7 if critical else 0.92)
        done = due + chance.randint(2, 40) * HOUR_MS // 2 if late and not critical else assigned + int((due - assigned) * share)
        if fate:
            done = assigned + 22 * HOUR_MS
        done = _by_day(done) if not critical else done
        act(done, hand, "done", {"note": remedy, "media": self._shot(scene, False, seed)})
        if fate == "judged":
            return
        if not critical and chance.random() < 0.09:
            back = _by_day(done + chance.randint(1, 9) * HOUR_MS)
            act(back, master, "send_back", {"reason": self._draw("returned", self.words["returned"])})
            done = _by_day(back + chance.randint(2, 20) * HOUR_MS)
            act(done, hand, "done", {"note": f"{remedy}，已按退回意见补齐", "media": self._shot(scene, False, f"{seed}/again")})
        judges = [one for one in (*masters, *officers) if one.key != hand.key]
        if critical and machine is not None:
            cleared = done + chance.randint(8, 35) * MINUTE_MS
            given = {"key": item, "media": self._shot(scene, False, f"{seed}/cleared"), "note": remedy}
            self._later(cleared, self._clearer(machine, item, master, given))
            act(cleared + chance.randint(4, 15) * MINUTE_MS, master if master.key != hand.key else judges[0], "close")
            return
        closed = _by_day(done + chance.randint(3, 54) * HOUR_MS)
        act(closed, chance.choice(judges), "close")

    def _comment(self, chance: random.Random, of: str, key: str, at: int, who: Person, seed: str) -> None:
        text = self._draw("comments", self.words["comments"])
        event = Add(0, 0, at, person_id(who.key), key, "comments", derived(f"demo:{seed}:comment:{at - self.now}"), {"text": text})
        self._say(event, of=of)

    def _clearer(self, machine: Machine, item: str, master: Person, given: dict[str, Any]) -> Callable[[int], None]:
        def clear(at: int) -> None:
            self._act(at, person_id(master.key), f"machine/{machine_id(machine.number)}", "clear", given)
            self.broken[machine.number].discard(item)
            shift = CALENDAR.shift(at)
            if shift is not None and not self.broken[machine.number]:
                self._later(at + 12 * MINUTE_MS, self._checker(machine, shift, again=True))

        return clear

    # Rounds.

    def _walker(self, route: Route, shift: Shift, n: int, begins: int, ends: int) -> Callable[[int], None]:
        return lambda at: self._plan(route, shift, n, begins, ends)

    def _plan(self, route: Route, shift: Shift, n: int, begins: int, ends: int) -> None:
        if CALENDAR.day(begins) < self.first:
            return
        chance = self._chance("round", route.key, shift.day, shift.name, n)
        due = self.plant.named(route.role, route.area, shift.day, shift.name)[:2]
        doc = f"round/{derived(f'demo:round:{route.key}:{shift.day - self.today}:{shift.name}:{n}')}"
        fields = {
            "route": route_id(route.key),
            "begins_at": begins,
            "ends_at": ends,
            "shift": SHIFT_NAMES[shift.name],
            "assignees": [person_id(one.key) for one in due],
        }
        self._new(begins - 12 * HOUR_MS, SERVER_AUTHOR, doc, fields)
        if chance.random() < 0.04:
            self._miss(route, doc, due, ends, chance)
            return
        at = begins + int((ends - begins) * chance.uniform(0.02, 0.55))
        self._later(at, lambda when: self._walk(route, doc, due, when, ends, chance))

    def _walk(self, route: Route, doc: str, due: Sequence[Person], at: int, ends: int, chance: random.Random) -> None:
        who = self._free(due, at, chance)
        if who is None:
            if at + 12 * MINUTE_MS < ends - 45 * MINUTE_MS:
                self._later(at + 12 * MINUTE_MS, lambda when: self._walk(route, doc, due, when, ends, chance))
            else:
                self._miss(route, doc, due, ends, chance)
            return
        self._walked(route, doc, who, at, chance)

    def _walked(self, route: Route, doc: str, who: Person, at: int, chance: random.Random) -> None:
        person = person_id(who.key)
        self._act(at, person, doc, "begin")
        skipped = chance.randrange(len(route.stops)) if chance.random() < 0.06 else -1
        for n, stop in enumerate(route.stops):
            at += chance.randint(150, 520) * SECOND_MS
            item: dict[str, Any] = {"stop": str(n + 1)}
            if n == skipped:
                item["skipped"] = self._draw("skipped", self.words["skipped"])
            else:
                far = chance.random() < 0.02
                item |= {
                    "tag": tag_code(stop.machine) if stop.machine else point_code(stop.point),
                    "phone_at": at,
                    "distance_m": chance.randint(62, 130) if far else chance.randint(1, 17),
                    "accuracy_m": chance.randint(4, 11),
                }
                if stop.questions:
                    item["answers"], item["abnormal"] = self._asked(stop.questions, chance)
            self._say(Add(0, 0, at, person, doc, "visits", derived(f"demo:{doc}:{n}"), item))
        at += chance.randint(20, 90) * SECOND_MS
        self._act(at, person, doc, "finish")
        self.busy[who.key] = at + 3 * MINUTE_MS

    def _asked(self, questions: Sequence[str], chance: random.Random) -> tuple[dict[str, Any], list[str]]:
        answers: dict[str, Any] = {}
        abnormal = []
        for name in questions:
            asked = self.plant.questions[name]
            wrong = chance.random() < 0.03
            if asked["type"] == "yes_no":
                answers[asked["short"]] = asked["bad"] if wrong else not asked["bad"]
            else:
                share = (
                    chance.uniform(1.04, 1.15)
                    if wrong
                    else chance.uniform(0.0, 0.3)
                    if asked["unit"] == "ppm"
                    else chance.uniform(0.5, 0.86)
                )
                answers[asked["short"]] = round(asked["max"] * share)
            if wrong:
                abnormal.append(asked["short"])
        return answers, abnormal

    def _miss(self, route: Route, doc: str, due: Sequence[Person], ends: int, chance: random.Random) -> None:
        """Nobody came: the server chases, then somebody walks it after all or is let off."""
        self._act(ends, SERVER_AUTHOR, doc, "miss")
        for n in (1, 2, 3):
            self._act(ends + n * HOUR_MS, SERVER_AUTHOR, doc, "chase")
        over = ends + 3 * HOUR_MS + chance.randint(15, 240) * MINUTE_MS
        masters = self.plant.holders("supervisor", route.area)
        if chance.random() < 0.5 and masters:
            given = {"reason": self._draw("waived", self.words["waived"])}
            self._act(over, person_id(chance.choice(masters).key), doc, "waive", given)
        elif due:
            who = due[-1]
            self._later(over, lambda when: self._walked(route, doc, who, max(when, self.busy.get(who.key, 0)), chance))


def with_values(op: Op, changed: Callable[[Any], Any]) -> Op:
    """The op with the values in it changed."""
    match op:
        case New():
            return msgspec.structs.replace(op, fields=changed(op.fields))
        case Add():
            return msgspec.structs.replace(op, item=changed(op.item))
        case Act():
            return msgspec.structs.replace(op, input=changed(op.input))
    return op


def shots_in(op: Op) -> Iterator[int]:
    """The photos that an op names, by their places among the shots."""

    def inside(value: Any) -> Iterator[int]:
        match value:
            case {"shot": int(n)}:
                yield n
            case dict():
                for part in value.values():
                    yield from inside(part)
            case list():
                for part in value:
                    yield from inside(part)

    match op:
        case New():
            yield from inside(op.fields)
        case Add():
            yield from inside(op.item)
        case Act():
            yield from inside(op.input)


def _check_id(seed: str, kind: CompiledKind, proofs_max: int) -> tuple[str, set[str]]:
    """A check's id, and the items that want a proof photo by it: an id that wants few, or the demo would be photos of nothing wrong."""
    checklist = kind.kind.checklist
    assert checklist is not None
    share = checklist.random_proof_photo_ratio * PROOF_DRAWS
    best: tuple[str, set[str]] | None = None
    for n in range(40):
        name = derived(f"demo:{seed}:{n}")
        wanted = {item.id for item in kind.kind.items if int(derived(f"proof:{name}:{item.id}")[:8], 16) < share}
        if best is None or abs(len(wanted) - proofs_max) < abs(len(best[1]) - proofs_max):
            best = name, wanted
        if len(wanted) == proofs_max:
            break
    assert best is not None
    return best


def _reading(item: CheckItem, chance: random.Random) -> float:
    """A number that somebody might read there, within the bounds."""
    low, high = NOMINAL.get(item.id, (None, None))
    if low is None or high is None:
        if item.unit == "ppm":
            low, high = 0, min(6.0, item.max or 6.0)
        elif item.min is not None and item.max is not None:
            low, high = item.min + (item.max - item.min) * 0.25, item.min + (item.max - item.min) * 0.8
        elif item.max is not None:
            low, high = item.max * 0.42, item.max * 0.83
        else:
            least = item.min if item.min is not None else 1.0
            low, high = least * 1.08, least * 1.5
    value = chance.uniform(low, high)
    return (
        _number(round(value, 2 if high < 3 else 1 if high < 40 else 0)) if item.unit not in ("turn", "set", "ppm", "heat") else round(value)
    )


def _number(value: float) -> float:
    return int(value) if float(value).is_integer() else value


def _by_day(at: int) -> int:
    """Moved to the next morning where it would be in the small hours: repairs and reviews that can wait are done by daylight."""
    minute = CALENDAR.minute_of_day(at)
    return at + (7 * 60 + 20 - minute + minute % 50) * MINUTE_MS if minute < 7 * 60 else at
