"""Sync under the kinds of the product: what is parked is decided by a supervisor's phone, and all is derived again with the real placement."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from world import NOW, Phone, World

from backend.audit.verify import verify
from backend.flow.judge import FlowJudge
from backend.flow.load import file_kinds, start
from backend.kernel.ids import SERVER_AUTHOR
from backend.operate.places import DAY_MS as DAY
from backend.operate.places import round_old
from backend.sync.op import Act, New, op_id
from backend.sync.rebuild import differences


class RealPlant(World):
    """Two areas, a worker and a supervisor of the first, a worker of the second."""

    async def people(self) -> None:
        self.areas = [self.new_id(), self.new_id()]
        for i, area in enumerate(self.areas):
            names = {"zh": f"区域{i}", "en": f"Area {i}"}
            await self.said("area", area, {"code": f"A{i}", "names": names})
        self.worker = await self.member("worker", self.areas[0])
        self.supervisor = await self.member("supervisor", self.areas[0])
        self.stranger = await self.member("worker", self.areas[1])

    async def member(self, role: str, area: str) -> Phone:
        phone = await self.phone()
        await self.said("person", phone.person, {"names": {"zh": role, "en": role}, "roles": [{"role": role, "area": area}]})
        return phone

    async def said(self, kind: str, key: str, fields: dict) -> None:
        (verdict,) = await self.sync.say(New(0, 0, 0, SERVER_AUTHOR, f"{kind}/{key}", 1, fields))
        assert verdict.state == "ok", verdict


@pytest_asyncio.fixture
async def plant(tmp_path: Path) -> AsyncIterator[RealPlant]:
    async with RealPlant(tmp_path, judge=FlowJudge(file_kinds())) as plant:
        await start(plant.sync, plant.judge)
        await plant.people()
        yield plant
        report = await verify(plant.store, plant.keys)
        assert report.ok, report.text()
        assert await differences(plant.store, FlowJudge(file_kinds())) == []


async def test_what_nobody_proved_waits_where_the_supervisor_sees_it_and_counts_once_taken(plant: RealPlant):
    hazard = plant.worker.new({"area": plant.areas[0], "note": "oil on the stairs"}, kind="hazard")
    op = op_id(plant.worker.queue[0])
    answer = await plant.worker.push(authors={})
    assert (answer.verdicts[0].state, answer.verdicts[0].code) == ("parked", "author.unproven")
    seen = await plant.pull(plant.supervisor)
    (case,) = [line for line in seen.of("doc") if line["doc"] == f"parked/{op}"]
    assert case["body"]["status"] == "waiting"
    assert hazard not in [line["doc"] for line in seen.of("doc")]
    plant.now += 60_000
    plant.supervisor.act(case["doc"], "take", base=case["seq"])
    answer = await plant.supervisor.push()
    assert answer.verdicts[0].state == "ok", answer.verdicts
    assert (await plant.view(hazard))["status"] == "reported"
    view = await plant.view(case["doc"])
    assert (view["status"], view["decided_by"]) == ("taken", plant.supervisor.person)
    (verdict,) = (await plant.pull(plant.worker)).of("verdict")[-1:]
    assert (verdict["verdict"]["op"], verdict["verdict"]["state"]) == (op, "ok")


async def test_a_worker_cannot_take_what_is_parked(plant: RealPlant):
    plant.worker.new({"area": plant.areas[0], "note": "x"}, kind="hazard")
    await plant.worker.push(authors={})
    plant.stranger.act(f"parked/{op_id(plant.worker.queue[0])}", "take")
    answer = await plant.stranger.push()
    assert answer.verdicts[0].state == "refused"


async def test_a_phone_holds_its_areas_and_nothing_of_others(plant: RealPlant):
    mine = plant.worker.new({"area": plant.areas[0], "note": "x"}, kind="hazard")
    theirs = plant.stranger.new({"area": plant.areas[1], "note": "y"}, kind="hazard")
    await plant.worker.push()
    await plant.stranger.push()
    held = {line["doc"] for line in (await plant.pull(plant.worker)).of("doc")}
    assert mine in held
    assert theirs not in held


async def test_a_place_is_for_those_the_kind_names_and_a_nameless_report_names_nobody(plant: RealPlant):
    place = {"lat": 39.9, "lon": 116.4, "accuracy_m": 8, "source": "gps", "phone_at": NOW, "at": NOW}
    hazard = plant.worker.new({"area": plant.areas[0], "note": "x", "place": plant.worker.seal(place)}, kind="hazard")
    nameless = plant.worker.new({"area": plant.areas[0], "note": "z"}, kind="hazard", author=plant.worker.anonymous())
    answer = await plant.worker.push()
    assert [v.state for v in answer.verdicts] == ["ok", "ok"], answer.verdicts
    other = await plant.member("worker", plant.areas[0])
    for phone, seen in ((plant.supervisor, place), (plant.worker, place), (other, None)):
        pulled = await plant.pull(phone)
        (line,) = [line for line in pulled.of("doc") if line["doc"] == hazard]
        assert line["body"]["fields"]["place"][0] == seen
        (line,) = [line for part in pulled.parts for line in part.splitlines() if nameless.encode() in line and b'"doc"' in line]
        assert plant.worker.person.encode() not in line
        assert str(plant.worker.number).encode() not in line


async def test_a_person_without_a_role_any_more_loses_what_they_held(plant: RealPlant):
    mine = plant.worker.new({"area": plant.areas[0], "note": "x"}, kind="hazard")
    await plant.worker.push()
    colleague = await plant.member("inspector", plant.areas[0])
    for phone in (plant.supervisor, colleague):
        pulled = await plant.pull(phone)
        assert mine in {line["doc"] for line in pulled.of("doc")}
        (verdict,) = await plant.sync.say(Act(0, 0, 0, SERVER_AUTHOR, f"person/{phone.person}", "assign_roles", {"roles": []}, 0))
        assert verdict.state == "ok", verdict
        pulled = await plant.pull(phone, pulled.cursor)
        # Who read personal values begins again; who did not is told what is gone.
        assert pulled.head["reset"] is (phone is plant.supervisor)
        assert (mine in {line["gone"] for line in pulled.of("gone")}) is (phone is colleague)
        assert mine not in {line["doc"] for line in pulled.of("doc")}


async def test_who_becomes_a_supervisor_reads_the_places_that_were_shut_and_who_is_none_any_more_reads_them_no_longer(plant: RealPlant):
    exact = {"lat": 39.9, "lon": 116.4, "accuracy_m": 8, "source": "gps", "phone_at": plant.now, "at": plant.now}
    hazard = plant.worker.new({"area": plant.areas[0], "note": "oil", "place": plant.worker.seal(exact)}, kind="hazard")
    await plant.worker.push()
    other = await plant.member("worker", plant.areas[0])
    cursor, place = None, "not read"
    person = f"person/{other.person}"
    for role, reads in (("worker", None), ("supervisor", exact), ("inspector", None), ("guardian", None)):
        roles = {"roles": [{"role": role, "area": plant.areas[0]}]}
        (verdict,) = await plant.sync.say(Act(0, 0, 0, SERVER_AUTHOR, person, "assign_roles", roles, 0))
        pulled = await plant.pull(other, cursor)
        place = next((line["body"]["fields"]["place"][0] for line in pulled.of("doc") if line["doc"] == hazard), place)
        assert place == reads, (role, verdict)
        # Roles that read the same bring no reset.
        assert pulled.head["reset"] is (role != "guardian")
        cursor = pulled.cursor


async def test_where_a_hazard_was_is_rounded_after_90_days_and_not_before(plant: RealPlant):
    exact = {"lat": 39.912345, "lon": 116.398765, "accuracy_m": 8, "source": "gps", "phone_at": plant.now, "at": plant.now}
    fields = {"area": plant.areas[0], "note": "oil", "place": plant.worker.seal(exact)}
    hazard = plant.worker.new(fields, kind="hazard")
    assert (await plant.worker.push()).verdicts[0].state == "ok"
    assert await round_old(plant.sync, plant.judge, plant.now + 89 * DAY) == 0
    seen = await plant.pull(plant.supervisor)
    plant.now += 91 * DAY
    assert await round_old(plant.sync, plant.judge, plant.now) == 1
    (line,) = [line for line in (await plant.pull(plant.supervisor, seen.cursor)).of("doc") if line["doc"] == hazard]
    assert line["body"]["fields"]["place"][0] == {
        "lat": 39.91,
        "lon": 116.4,
        "accuracy_m": 1000,
        "rounded": True,
        "source": "gps",
        "at": NOW,
    }
