"""Rounds on the running server: planned by the roster, missed when their window is over, chased, and walked by phones that were away."""

import pytest

from backend.demo import area_id, person_id, point_code, route_id
from backend.flow import machine
from backend.flow.deadlines import Deadlines
from backend.flow.judge import CALENDAR_KEY
from backend.kernel.ids import derived, uuid7
from backend.sync.op import Act, Add, New
from backend.sync.shapes import TxDocs

CRANES = route_id("cranes")
STOPS = ["1", "2", "3", "4", "5"]


class Walked:
    """The plant, and what its rounds have come to."""

    def __init__(self, plant) -> None:
        self.plant = plant
        self.deadlines = Deadlines(plant.app.state["judge"])

    async def rounds(self, route: str = CRANES) -> dict[str, dict]:
        async with self.plant.app.state["store"].read() as tx:
            docs = await TxDocs(tx).all("round")
        found = {doc.key: {"status": doc.body["status"], "sets": doc.body["sets"]} | _values(doc.body) for doc in docs}
        return {key: round_ for key, round_ in found.items() if round_["route"] == route}

    async def pass_time(self) -> None:
        """What is due happens now, until nothing is."""
        sync, now = self.plant.app.state["sync"], self.plant.clock()
        while await self.deadlines.take(sync, now):
            pass

    async def due(self) -> tuple[str, dict]:
        await self.pass_time()
        now = self.plant.clock()
        found = [(key, r) for key, r in (await self.rounds()).items() if r["status"] == "due" and r["begins_at"] <= now < r["ends_at"]]
        assert len(found) == 1, found
        return found[0]


def _values(body: dict) -> dict:
    return {name: entry[0] for name, entry in body["fields"].items()}


@pytest.fixture
def walked(plant) -> Walked:
    return Walked(plant)


def visit(key: str, stop: str, n: int, **more) -> Add:
    item = {"stop": stop, "tag": "7K3M9QPA", **more}
    return Add(0, 0, 0, "", key, "visits", derived(f"{key}:{stop}:{n}"), item)


def begin(key: str) -> Act:
    return Act(0, 0, 0, "", key, "begin", {}, 0)


def finish(key: str) -> Act:
    return Act(0, 0, 0, "", key, "finish", {}, 0)


async def states(phone, *ops) -> list[tuple[str, str | None]]:
    return [(verdict["state"], verdict.get("code")) for verdict in await phone.push(*ops)]


async def test_each_window_of_a_route_is_planned_once_for_whoever_the_roster_names(walked: Walked) -> None:
    key, round_ = await walked.due()
    assert round_["assignees"] == [person_id("inspector")]
    assert round_["area"] == area_id("steelmaking")
    assert [stop["id"] for stop in round_["stops"]] == STOPS
    await walked.pass_time()
    begins = [r["begins_at"] for r in (await walked.rounds()).values()]
    assert len(begins) == len(set(begins))
    # It stands ahead of its time, so that phones hold it before they lose the network.
    assert max(begins) > walked.plant.clock()
    assert key in await walked.rounds()


async def test_a_round_nobody_walks_is_missed_at_its_window_s_end_and_chased_three_times(walked: Walked) -> None:
    key, _ = await walked.due()
    supervisor, inspector = await walked.plant.phone().sign_in("supervisor"), await walked.plant.phone().sign_in("inspector")
    walked.plant.clock.pass_(hours=12)
    await walked.pass_time()
    missed = (await walked.rounds())[key]
    assert missed["status"] == "missed"
    for _ in range(6):
        walked.plant.clock.pass_(hours=1, minutes=1)
        await walked.pass_time()
    chased = (await walked.rounds())[key]
    assert (chased["status"], chased["chased"]) == ("missed", 3)
    waive = Act(0, 0, 0, "", key, "waive", {"reason": "检修停机"}, 0)
    assert await states(inspector, waive) == [("refused", "flow.not_allowed")]
    assert await states(supervisor, waive) == [("ok", None)]
    assert (await walked.rounds())[key]["status"] == "waived"


async def test_what_was_walked_in_time_without_a_network_is_done_though_the_server_had_called_it_missed(walked: Walked) -> None:
    key, round_ = await walked.due()
    inspector = await walked.plant.phone().sign_in("inspector")
    walked.plant.clock.pass_(hours=12)
    await walked.pass_time()
    assert (await walked.rounds())[key]["status"] == "missed"
    # The phone says what it said then, with its own time; a fact is taken in any state.
    said = [begin(key), *(visit(key, stop, 0, distance_m=9, phone_at=1) for stop in STOPS), finish(key)]
    assert await states(inspector, *said) == [("ok", None)] * len(said)
    done = (await walked.rounds())[key]
    assert (done["status"], done["late"], done["walker"]) == ("done", False, person_id("inspector"))
    assert done["finished_at"] < round_["ends_at"] < done["missed_at"]
    assert await states(inspector, visit(key, "1", 1)) == [("ok", None)]


async def test_a_stop_that_was_skipped_or_not_walked_is_a_miss(walked: Walked) -> None:
    key, _ = await walked.due()
    inspector = await walked.plant.phone().sign_in("inspector")
    assert await states(inspector, begin(key), finish(key)) == [("ok", None), ("refused", "round.nothing_visited")]
    item = {"stop": "5", "skipped": "门锁着"}
    skip = Add(0, 0, 0, "", key, "visits", derived("skip"), item)
    assert await states(inspector, visit(key, "1", 0, distance_m=4_000), skip, finish(key)) == [("ok", None)] * 3
    ended = (await walked.rounds())[key]
    assert ended["status"] == "done_with_misses"
    async with walked.plant.app.state["store"].read() as tx:
        docs, judge = TxDocs(tx), walked.plant.app.state["judge"]
        kind = judge.kind("round", 1)
        doc = await docs.get(key)
        seen = machine.view(kind, key, doc.body)
        found = machine.computed(kind, seen, await judge.env(docs, person_id("safety"), walked.plant.clock(), kind))
    assert [stop["id"] for stop in found["missed"]] == ["2", "3", "4", "5"]
    assert [stop["id"] for stop in found["open"]] == ["2", "3", "4"]
    assert [one["stop"] for one in found["flagged"]] == ["1"]


async def test_a_visit_is_to_a_stop_of_the_round_and_by_a_tag_or_with_a_reason(walked: Walked) -> None:
    key, _ = await walked.due()
    inspector = await walked.plant.phone().sign_in("inspector")
    nothing = Add(0, 0, 0, "", key, "visits", derived("nothing"), {"stop": "1"})
    assert await states(inspector, visit(key, "9", 0), nothing) == [("refused", "round.no_such_stop"), ("refused", "round.scan_or_reason")]
    gate = await walked.plant.phone().sign_in("gate")
    assert await states(gate, visit(key, "1", 0)) == [("refused", "flow.not_allowed")]


async def test_an_inspector_begins_a_round_by_themselves(walked: Walked) -> None:
    inspector = await walked.plant.phone().sign_in("inspector")
    key = f"round/{uuid7(walked.plant.clock(), bytes(10))}"
    assert await states(inspector, New(0, 0, 0, "", key, 1, {"route": CRANES}), begin(key)) == [("ok", None)] * 2
    begun = (await walked.rounds())[key]
    assert (begun["status"], begun["assignees"]) == ("walking", [person_id("inspector")])
    assert begun["ends_at"] - begun["begins_at"] == 120 * 60_000
    assert begun["stops"][4]["tag"] == point_code("gate")


async def test_a_round_is_not_begun_before_its_window(walked: Walked) -> None:
    await walked.pass_time()
    ahead = {key: r for key, r in (await walked.rounds()).items() if r["begins_at"] > walked.plant.clock()}
    inspector = await walked.plant.phone().sign_in("inspector")
    assert await states(inspector, begin(next(iter(ahead)))) == [("refused", "round.too_early")]


async def test_the_zone_is_changed_by_the_office_and_its_offsets_are_the_server_s(walked: Walked) -> None:
    async def calendar() -> dict:
        async with walked.plant.app.state["store"].read() as tx:
            return _values((await TxDocs(tx).get(CALENDAR_KEY)).body)

    assert [span["offset_min"] for span in (await calendar())["offsets"]] == [480]
    admin = await walked.plant.phone().sign_in("admin")
    answer = await admin.post("/api/calendar/zone", {"zone": "Europe/Berlin"})
    assert answer.status_code == 204, answer.text
    moved = await calendar()
    assert moved["zone"] == "Europe/Berlin"
    assert {span["offset_min"] for span in moved["offsets"]} == {60, 120}
    nowhere = await admin.post("/api/calendar/zone", {"zone": "Mars/Base"})
    assert (nowhere.status_code, nowhere.json()["code"]) == (422, "calendar.no_zone")
    # No phone writes offsets of its own.
    given = {"zone": "UTC", "offsets": [{"since": 0, "offset_min": 0}]}
    assert await states(admin, Act(0, 0, 0, "", CALENDAR_KEY, "set_zone", given, 0)) == [("refused", "flow.server_only")]
    # The rounds to come are planned anew by the plant's new hours.
    async with walked.plant.app.state["store"].read() as tx:
        rows = await tx.all("SELECT at FROM deadline WHERE doc = $1", f"round.route/{CRANES}")
    assert len(rows) == 1


async def test_where_a_walker_stood_is_read_by_whoever_may(walked: Walked) -> None:
    key, _ = await walked.due()
    judge = walked.plant.app.state["judge"]
    inspector = await walked.plant.phone().sign_in("inspector")
    assert await states(inspector, begin(key)) == [("ok", None)]
    async with walked.plant.app.state["store"].read() as tx:
        docs = TxDocs(tx)
        doc = await docs.get(key)
        opened = {who: await judge.opens(docs, person_id(who), key, doc.body) for who in ("inspector", "safety", "supervisor", "worker")}
    assert opened == {"inspector": {"visits.place"}, "safety": {"visits.place"}, "supervisor": set(), "worker": set()}
    assert judge.kind("round", 1).personal == ["visits.place"]
