"""What only a ledger entry told before, somebody hears of: lost numbers, a start after a stop it had not seen, what waits too long."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from test_real_kinds import RealPlant
from world import NOW, Phone

from backend.audit.verify import verify
from backend.flow.deadlines import Deadlines
from backend.flow.judge import FlowJudge
from backend.flow.load import file_kinds, start
from backend.kernel.ids import SERVER_AUTHOR
from backend.sync.op import New, op_id
from backend.sync.rebuild import differences

DAY_MS = 86_400_000


@pytest_asyncio.fixture
async def plant(tmp_path: Path) -> AsyncIterator[RealPlant]:
    async with RealPlant(tmp_path, judge=FlowJudge(file_kinds())) as plant:
        await start(plant.sync, plant.judge)
        await plant.people()
        yield plant
        report = await verify(plant.store, plant.keys)
        assert report.ok, report.text()
        assert await differences(plant.store, FlowJudge(file_kinds())) == []


async def notices(plant: RealPlant, phone: Phone) -> list[dict[str, Any]]:
    """The notices that a phone holds: their fields, status and key."""
    lines = [line for line in (await plant.pull(phone)).of("doc") if line["doc"].startswith("notice/")]
    return [
        {**{name: value[0] for name, value in line["body"]["fields"].items()}, "status": line["body"]["status"], "key": line["doc"]}
        for line in lines
    ]


async def machine(plant: RealPlant) -> str:
    key = f"machine/{plant.new_id()}"
    fields = {"number": "7", "names": {"zh": "行车", "en": "Crane"}, "type": "overhead_crane", "area": plant.areas[0]}
    (verdict,) = await plant.sync.say(New(0, 0, 0, SERVER_AUTHOR, key, plant.judge.newest("machine") or 1, fields))
    assert verdict.state == "ok", verdict
    return key


async def seq(plant: RealPlant, key: str) -> int:
    return (await plant.rows("SELECT seq FROM document WHERE key = $1", key))[0]["seq"]


async def test_a_supervisor_hears_once_which_numbers_a_phone_lost(plant: RealPlant):
    for note in ("a", "b", "c", "d"):
        plant.worker.new({"area": plant.areas[0], "note": note}, kind="hazard")
    await plant.worker.push(1, 1)
    for _ in range(2):
        answer = await plant.worker.push(4, lost=True)
        assert answer.have == 4
    (told,) = await notices(plant, plant.supervisor)
    assert (told["what"], told["level"], told["status"], told["at"]) == ("notice.numbers_lost", "orange", "open", NOW)
    assert told["params"] == {"phone": str(plant.worker.number), "first": 2, "last": 3}
    assert (told["device"], told["person"]) == (plant.worker.number, plant.worker.person)
    assert await notices(plant, plant.stranger) == []


async def test_an_empty_bundle_that_says_lost_is_heard_of_too(plant: RealPlant):
    plant.worker.new({"area": plant.areas[0], "note": "x"}, kind="hazard")
    await plant.worker.push()
    plant.worker.queue += [b"", b"", b""]
    answer = await plant.worker.push(5, prev="0" * 64, lost=True)
    assert answer.have == 4
    assert [told["params"]["last"] for told in await notices(plant, plant.supervisor)] == [4]


async def test_a_start_after_a_stop_it_had_not_seen_raises_one_red_notice(plant: RealPlant):
    crane = await machine(plant)
    plant.worker.act(crane, "stop_use", reason="the hook")
    await plant.worker.push()
    base = await seq(plant, crane)
    plant.now += 60_000
    plant.worker.act(crane, "stop_use", reason="and the rope")
    await plant.worker.push(2)
    plant.supervisor.act(crane, "resume", base=base)
    for _ in range(2):
        answer = await plant.supervisor.push()
        assert [(v.state, v.code) for v in answer.verdicts] == [("refused", "flow.stopped_since")]
    other = await plant.member("supervisor", plant.areas[1])
    (told,) = await notices(plant, other)
    assert (told["what"], told["level"], told["about"], told["area"]) == ("notice.start_after_stop", "red", crane, plant.areas[0])
    assert (told["person"], told["device"], told["at"]) == (plant.supervisor.person, plant.supervisor.number, plant.now)
    # Those who work there hold it as well.
    assert [one["key"] for one in await notices(plant, plant.worker)] == [told["key"]]


async def test_what_followed_the_stop_does_not_silence_the_notice(plant: RealPlant):
    crane = await machine(plant)
    base = await seq(plant, crane)
    plant.worker.act(crane, "stop_use", reason="the hook")
    await plant.worker.push()
    mender = await plant.member("safety", plant.areas[0])
    mender.act(crane, "resume", base=await seq(plant, crane))
    assert [v.state for v in (await mender.push()).verdicts] == ["ok"]
    plant.supervisor.act(crane, "resume", base=base)
    assert [v.code for v in (await plant.supervisor.push()).verdicts] == ["flow.wrong_state"]
    assert [told["level"] for told in await notices(plant, mender)] == ["red"]


async def test_a_start_that_is_refused_for_anything_else_raises_nothing(plant: RealPlant):
    crane = await machine(plant)
    plant.supervisor.act(crane, "resume", base=await seq(plant, crane))
    plant.worker.act(crane, "resume", base=0)
    assert [v.state for v in (await plant.supervisor.push()).verdicts] == ["refused"]
    plant.worker.act(crane, "stop_use", reason="the hook")
    # The stop is its own: it was said before on the same phone.
    plant.worker.act(crane, "resume", base=0)
    assert [v.state for v in (await plant.worker.push()).verdicts] == ["refused", "ok", "refused"]
    assert await notices(plant, plant.supervisor) == []


async def test_a_red_notice_is_seen_by_somebody_else_and_says_who_and_what_was_done(plant: RealPlant):
    crane = await machine(plant)
    base = await seq(plant, crane)
    plant.worker.act(crane, "stop_use", reason="the hook")
    await plant.worker.push()
    plant.supervisor.act(crane, "resume", base=base)
    await plant.supervisor.push()
    (told,) = await notices(plant, plant.supervisor)
    other = await plant.member("supervisor", plant.areas[1])
    for phone, state in ((plant.supervisor, "refused"), (plant.worker, "refused"), (other, "ok")):
        plant.now += 1_000
        phone.act(told["key"], "seen", note="The crane stands, nobody was under it.")
        assert (await phone.push_new()).verdicts[-1].state == state
    view = await plant.view(told["key"])
    assert (view["status"], view["seen_by"], view["seen_at"]) == ("seen", other.person, plant.now)
    assert view["note"] == "The crane stands, nobody was under it."


async def test_what_waits_seven_days_for_a_decision_is_told_of_once(plant: RealPlant):
    plant.worker.new({"area": plant.areas[0], "note": "x"}, kind="hazard")
    plant.worker.new({"area": plant.areas[0], "note": "y"}, kind="hazard")
    ops = [op_id(data) for data in plant.worker.queue]
    plant.now += 2 * DAY_MS
    await plant.worker.push(authors={})
    plant.now += 60_000
    plant.supervisor.sign_in(plant.supervisor.person)
    plant.supervisor.act(f"parked/{ops[1]}", "take")
    assert (await plant.supervisor.push()).verdicts[0].state == "ok"
    deadlines = Deadlines(plant.judge)
    since = plant.now - 60_000
    for days, count in ((6, 0), (7, 1), (8, 1), (20, 1)):
        plant.now = since + days * DAY_MS
        await deadlines.fill(plant.sync, plant.now)
        await deadlines.take(plant.sync, plant.now)
        assert len(await notices(plant, plant.supervisor)) == count, days
    (told,) = await notices(plant, plant.supervisor)
    assert (told["what"], told["level"], told["params"]) == ("notice.parked_long", "yellow", {"days": 7})
    assert (told["about"], told["person"], told["at"]) == (f"parked/{ops[0]}", plant.worker.person, since + 7 * DAY_MS)


async def test_a_notice_of_a_parked_step_lies_in_the_area_of_its_document(plant: RealPlant):
    crane = await machine(plant)
    plant.worker.act(crane, "hand_back")
    await plant.worker.push(authors={})
    deadlines = Deadlines(plant.judge)
    plant.now += 7 * DAY_MS
    await deadlines.fill(plant.sync, plant.now)
    await deadlines.take(plant.sync, plant.now)
    (told,) = await notices(plant, plant.worker)
    assert told["area"] == plant.areas[0]


async def test_nobody_but_the_server_begins_a_notice(plant: RealPlant):
    plant.supervisor.new({"what": "notice.numbers_lost"}, kind="notice")
    assert [v.code for v in (await plant.supervisor.push()).verdicts] == ["flow.server_only"]
