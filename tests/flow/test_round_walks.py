"""Rounds walked at random beside a model that knows nothing of kinds, and beside the phone's engine: planned by the calendar, begun, visited,
skipped, missed, chased, handed over, finished and waived, by people whose word comes late."""

import random
from typing import Any, ClassVar

from test_walks import AREA, COMPARED, PEOPLE, Floor, compare

from backend.flow.actor import SERVER
from backend.flow.calendar import Calendar, Rosters
from backend.flow.zones import zone_offsets
from backend.kernel.ids import SERVER_AUTHOR, derived
from backend.sync.judge import Change
from backend.sync.op import Act, Add, New

WALKS = 120
STEPS = 40
SEED = 11_000
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
BEGIN = 1_792_800_000_000
"""Two days before the clocks of Berlin are moved back."""
ROUTE = f"round.route/{derived('walk:route')}"
STOPS = [{"id": str(n), "names": {"zh": "点", "en": "Stop"}, "do": "scan", "tag": "7K3M9QPA"} for n in range(4)]
WINDOWS = [{"from_min": 30, "until_min": 240}, {"shift": "late", "from_min": 300, "until_min": 420}]
CALENDAR = {
    "id": "c",
    "status": "in_use",
    "offsets": zone_offsets("Europe/Berlin", BEGIN),
    "shifts": [
        {"key": "early", "name": {"zh": "早班", "en": "Early"}, "start_min": 360, "end_min": 840},
        {"key": "late", "name": {"zh": "中班", "en": "Late"}, "start_min": 840, "end_min": 1320},
        {"key": "night", "name": {"zh": "夜班", "en": "Night"}, "start_min": 1320, "end_min": 360},
    ],
}
DATES = [f"2026-10-{day}" for day in range(20, 32)]
ROSTER = {
    "id": "r",
    "status": "in_use",
    "role": "inspector",
    "area": None,
    "from": DATES[0],
    "until": DATES[-1],
    "duties": [{"date": date, "shift": shift, "persons": [PEOPLE[n].id]} for date in DATES for n, shift in enumerate(("early", "late"))],
}
CHECKS = [actor for actor in PEOPLE if "check" in actor.caps]


class Bay(Floor):
    """A floor whose plant has a calendar and a roster."""

    around: ClassVar[dict[str, Any]] = {"calendar": CALENDAR, "rosters": Rosters([ROSTER], {AREA: None})}


class Model:
    """What a supervisor expects of one round."""

    def __init__(self, ends: int) -> None:
        self.ends = ends
        self.status = "due"
        self.walker: str | None = None
        self.missed_at: int | None = None
        self.chased = 0
        self.seen: dict[str, bool] = {}
        """Stop → whether somebody was there."""

    @property
    def over(self) -> bool:
        return self.status in ("done", "done_with_misses", "waived")

    @property
    def unreached(self) -> list[str]:
        return [stop["id"] for stop in STOPS if not self.seen.get(stop["id"])]


def walk(seed: int) -> Bay:
    r = random.Random(seed)
    bay, calendar = Bay(r), Calendar(CALENDAR)
    fields = {"names": {"zh": "路线", "en": "Route"}, "area": AREA, "stops": STOPS, "windows": WINDOWS, "role": "inspector"}
    assert isinstance(bay.say(SERVER, New(0, 0, 0, SERVER_AUTHOR, ROUTE, 1, fields), BEGIN), Change)
    now = BEGIN + r.randrange(4 * DAY)
    planned = bay.view(ROUTE)["planned"]
    assert isinstance(bay.say(SERVER, Act(0, 0, 0, SERVER_AUTHOR, ROUTE, "plan", {}, 0), now), Change)
    window = calendar.next_window(WINDOWS, "every", planned, now)
    assert window is not None
    [key] = [one for one in bay.docs if one.startswith("round/")]
    begun = bay.view(key)
    shift = calendar.shift(window["begins_at"])
    assert shift is not None
    assert (begun["begins_at"], begun["ends_at"], begun["shift"]) == (window["begins_at"], window["ends_at"], window["shift_name"]), seed
    wanted = {"early": [PEOPLE[0].id], "late": [PEOPLE[1].id], "night": []}[shift.name]
    assert begun["assignees"] == wanted, seed
    model = Model(begun["ends_at"])
    now = max(now, begun["begins_at"] - HOUR)
    for n in range(STEPS):
        now += r.randrange(1, r.choice([MINUTE, 10 * MINUTE, 2 * HOUR]))
        actor = r.choice(PEOPLE)
        # A phone that was away says what it said then.
        at = max(begun["begins_at"] - HOUR, now - r.choice([0, 0, 0, r.randrange(6 * HOUR)]))
        check, supervises = "check" in actor.caps, "supervise" in actor.caps
        step = r.choice(["begin", "visit", "visit", "visit", "skip", "finish", "take_over", "assign", "waive", "miss", "miss", "chase"])
        message = f"seed {seed}, step {n}: {step} in {model.status}"

        def act(given: dict[str, Any] | None = None, by: Any = actor, at: int = at, step: str = step) -> bool:
            return isinstance(bay.say(by, Act(1, 0, 0, "", key, step, given or {}, 0), at), Change)

        if step == "begin":
            allowed = check and model.status in ("due", "missed") and at >= begun["begins_at"]
            assert act() is allowed, message
            if allowed:
                model.status, model.walker = "walking", actor.id
        elif step in ("visit", "skip"):
            stop = r.choice([*(one["id"] for one in STOPS), "9"])
            bare = step == "visit" and r.random() < 0.1
            given = {"stop": stop} | (
                {"skipped": "x"} if step == "skip" else {} if bare else {"tag": "7K3M9QPA", "distance_m": r.randrange(200)}
            )
            said = bay.say(actor, Add(1, 0, 0, "", key, "visits", derived(f"{seed}:{n}"), given), at)
            allowed = check and stop != "9" and not bare
            # A fact comes in any state, ends included.
            assert isinstance(said, Change) is allowed, message
            if allowed:
                model.seen[stop] = model.seen.get(stop, False) or step == "visit"
        elif step == "finish":
            allowed = model.status in ("walking", "missed") and (actor.id == model.walker or supervises) and bool(model.seen)
            assert act() is allowed, message
            if allowed:
                model.status = "done_with_misses" if model.unreached else "done"
                assert bay.view(key)["late"] is (at > model.ends), message
        elif step == "take_over":
            allowed = check and model.status in ("walking", "missed") and actor.id != model.walker
            assert act() is allowed, message
            model.walker = actor.id if allowed else model.walker
        elif step == "assign":
            allowed = supervises and not model.over
            assert act({"persons": [CHECKS[0].id]}) is allowed, message
        elif step == "waive":
            if r.random() < 0.7:
                continue
            given = {"reason": "x"} if r.random() < 0.8 else {}
            allowed = supervises and not model.over and bool(given)
            assert act(given) is allowed, message
            model.status = "waived" if allowed else model.status
        elif step == "miss":
            allowed = model.status in ("due", "walking") and model.missed_at is None and model.ends <= now
            assert act(by=SERVER, at=now) is allowed, message
            if allowed:
                model.status, model.missed_at = "missed", now
        else:
            allowed = model.status in ("walking", "missed")
            assert act(by=SERVER, at=now) is allowed, message
            model.chased += allowed
        seen = bay.view(key)
        assert (seen["status"], seen["walker"], seen["missed_at"]) == (model.status, model.walker, model.missed_at), message
        assert (seen["chased"] or 0) == model.chased, message
    assert bay.refused_follow == [], f"seed {seed}"
    return bay


def test_a_round_is_what_its_walkers_supervisors_and_the_clock_make_it_on_every_walk() -> None:
    found = [walk(seed) for seed in range(SEED, SEED + WALKS)]
    ends = [bay.view(key)["status"] for bay in found for key in bay.docs if key.startswith("round/")]
    assert {"done", "done_with_misses", "waived", "missed", "walking"} <= set(ends), "the walks come to too little to show anything"


def test_the_phone_judges_every_step_of_a_round_as_the_server_does() -> None:
    compare([walk(seed) for seed in range(SEED, SEED + COMPARED)])
