"""A document's history as its reader sees it: both clocks, who, which phone, what changed, and nothing of what was said without a name."""

import os

import pytest

from backend.demo import MACHINES, area_id, machine_id
from backend.kernel.ids import derived, uuid7
from backend.sync.op import Act, Add, New, Sealed, Set, sealed_hash

MACHINE = f"machine/{machine_id(MACHINES[0].number)}"
LIMIT = f"limit/{derived('limit:check.distance_m')}"


@pytest.fixture(params=["sqlite", "postgres"])
def store_kind(request):
    return request.param


async def lines(phone, doc, **params):
    answer = await phone.get("/api/ledger/history", params={"doc": doc, **params})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_history_says_who_said_what_on_which_phone_and_when_by_both_clocks(plant):
    admin, safety = await plant.phone().sign_in("admin"), await plant.phone().sign_in("safety")
    assert [v["state"] for v in await admin.push(Act(0, 0, 0, "", LIMIT, "propose", {"value": 80, "reason": "wide hall"}, 0))] == ["ok"]
    assert [v["state"] for v in await safety.push(Act(0, 0, 0, "", LIMIT, "confirm", {}, 0))] == ["ok"]
    found = await lines(admin, LIMIT)
    confirmed, proposed, begun = found["lines"]
    assert not found["more"]
    assert (proposed["verb"], proposed["name"], proposed["author"], proposed["device"]) == ("act", "propose", admin.person, admin.number)
    assert proposed["device_label"] == "测试手机"
    assert (proposed["fields"]["proposed"], proposed["status"]) == (80, "proposed")
    assert confirmed["fields"]["value"] == 80
    assert [(item["what"], item["before"], item["after"], item["by"]) for item in confirmed["items"]["changes"]] == [
        ("confirmed", 50, 80, safety.person)
    ]
    assert begun["verb"] == "new"
    assert begun["fields"]["value"] == 50
    for line in found["lines"]:
        assert abs(line["claimed"] - line["arrived"]) < 60_000
        assert abs(line["ordered"] - line["arrived"]) < 60_000


async def test_what_was_refused_stands_there_with_its_reason_and_changed_nothing(plant):
    admin = await plant.phone().sign_in("admin")
    verdicts = await admin.push(Act(0, 0, 0, "", LIMIT, "propose", {"value": 50, "reason": "none"}, 0))
    assert (verdicts[0]["state"], verdicts[0]["code"]) == ("refused", "limit.same_value")
    newest = (await lines(admin, LIMIT))["lines"][0]
    assert (newest["state"], newest["code"], newest["fields"]) == ("refused", "limit.same_value", {})
    assert newest["said"] == {"value": 50, "reason": "none"}


async def test_a_phone_s_clock_that_is_ahead_is_seen_beside_the_one_that_counts(plant):
    admin = await plant.phone().sign_in("admin")
    ahead = int(plant.clock() + 3_600_000)
    admin.hlc = (ahead - 1_704_067_200_000) * 4096
    await admin.push(Set(0, 0, 0, "", MACHINE, {"criticality": "B"}))
    newest = (await lines(admin, MACHINE))["lines"][0]
    assert "clock_suspect" in newest["marks"]
    assert newest["ordered"] < ahead - 3_000_000


async def test_of_what_was_said_without_a_name_neither_person_nor_phone_is_shown(plant):
    worker, safety = await plant.phone().sign_in("worker"), await plant.phone().sign_in("safety")
    hazard = f"hazard/{uuid7(plant.clock(), os.urandom(10))}"
    salt, text = b"0" * 16, f'"{worker.person}"'
    author = Sealed(sealed_hash(salt, text))
    fields = {"area": area_id("steelmaking"), "note": "oil on the stairs", "grade": "yellow"}
    new = New(0, 0, 0, author, hazard, plant.app.state["judge"].newest("hazard"), fields)
    assert [v["state"] for v in await worker.push(new, sealed={author.sealed: (salt, text)})] == ["ok"]
    found = (await lines(safety, hazard))["lines"]
    assert found
    for line in found:
        assert (line["author"], line["device"], line["number"], line["device_label"], line["anonymous"]) == (None, None, None, "", True)
    assert worker.person not in str(found)
    assert str(worker.number) not in str(found)


async def test_a_long_history_comes_in_parts_and_in_order(plant):
    admin = await plant.phone().sign_in("admin")
    plan = f"plan/{uuid7(plant.clock(), os.urandom(10))}"
    picture = {"sha256": "0" * 64, "type": "image/png", "size": 1, "w": 1600, "h": 900}
    said = [New(0, 0, 0, "", plan, 1, {"title": {"zh": "厂区", "en": "Plant"}, "picture": picture})]
    said += [
        Add(0, 0, 0, "", plan, "spots", uuid7(plant.clock(), os.urandom(10)), {"area": area_id("gas"), "x": n / 100, "y": 0.5})
        for n in range(60)
    ]
    assert {v["state"] for v in await admin.push(*said)} == {"ok"}
    first = await lines(admin, plan)
    assert len(first["lines"]) == 50
    assert first["more"]
    rest = await lines(admin, plan, before=first["lines"][-1]["seq"])
    assert len(rest["lines"]) == 11
    assert not rest["more"]
    seqs = [line["seq"] for line in first["lines"] + rest["lines"]]
    assert seqs == sorted(seqs, reverse=True)
    assert rest["lines"][-1]["fields"]["picture"] == picture


async def test_nobody_reads_the_history_of_what_they_may_not_hold(plant):
    admin, worker = await plant.phone().sign_in("admin"), await plant.phone().sign_in("worker")
    assert (await worker.get("/api/ledger/history", params={"doc": MACHINE})).status_code == 403
    for doc in (f"machine/{uuid7(plant.clock(), os.urandom(10))}", "nothing", "x" * 5_000):
        answer = await admin.get("/api/ledger/history", params={"doc": doc})
        assert (answer.status_code, answer.json()["code"]) == (404, "ledger.no_document")
    assert (await admin.get("/api/ledger/history")).status_code == 400
