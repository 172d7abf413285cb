"""Somebody scans a tag in a foreign browser, is not signed in, and has something to say."""

import json
import time

from backend.demo import area_id, machine_id, person_id, tag_code
from backend.domains.hazards import service
from backend.kernel.ids import derived
from backend.sync.op import New
from backend.sync.shapes import TxDocs, members

WHERE = "/api/hazards/from-tag"
CRANE = "LG-QZ-02"


async def hazards(plant) -> list:
    async with plant.app.state["store"].read() as tx:
        return [doc for doc in await TxDocs(tx).all("hazard") if doc.body["fields"].get("passer_by")]


def said(text: str = "吊钩下面有人站着", code: str = "", **more: str) -> dict:
    return {"code": code or tag_code(CRANE), "text": text, **more}


async def test_a_passer_by_s_words_become_a_hazard_on_the_tag_s_machine_and_say_where_they_came_from(plant):
    answer = await plant.browser().post(WHERE, json=said(contact="王师傅 13800000000"))
    assert answer.status_code == 201, answer.text
    assert answer.json()["number"] == CRANE
    (doc,) = await hazards(plant)
    fields = {name: entry[0] for name, entry in doc.body["fields"].items()}
    assert (fields["machine"], fields["note"], fields["passer_by"], doc.body["status"]) == (
        machine_id(CRANE), "吊钩下面有人站着", True, "reported",
    )  # fmt: skip
    assert fields["area"]
    assert "reporter" not in fields
    # How to reach them is personal: the ledger holds only what it hashes to, and those who open the hazard may read it.
    assert set(fields["contact"]) == {"sealed"}
    async with plant.app.state["store"].read() as tx:
        row = await tx.one("SELECT value FROM sealed WHERE hash = $1", fields["contact"]["sealed"])
    assert json.loads(row["value"]) == "王师傅 13800000000"


async def test_those_of_the_area_hold_a_passer_by_s_hazard_and_a_supervisor_opens_the_contact(plant):
    await plant.browser().post(WHERE, json=said("地面有油，人会滑倒", contact="1380"))
    (doc,) = await hazards(plant)
    judge = plant.app.state["judge"]
    async with plant.app.state["store"].read() as tx:
        docs = TxDocs(tx)
        for who, opens in (("supervisor", True), ("worker", False)):
            assert await members(tx, [doc.key], await judge.shapes(docs, person_id(who))) == {doc.key}
            assert ("contact" in await judge.opens(docs, person_id(who), doc.key, doc.body)) is opens


async def test_the_same_words_sent_again_are_one_hazard(plant):
    for _ in range(3):
        assert (await plant.browser().post(WHERE, json=said("护栏缺了一段"))).status_code == 201
    assert (await plant.browser().post(WHERE, json=said("  护栏缺了一段\n"))).status_code == 201
    assert len(await hazards(plant)) == 1


async def test_nothing_of_the_machine_is_told_but_its_name_and_number(plant):
    found = (await plant.browser().get(f"{WHERE}/{tag_code(CRANE)}")).json()
    assert set(found) == {"number", "names"}
    assert found["number"] == CRANE
    assert set((await plant.browser().post(WHERE, json=said("灯坏了两盏"))).json()) == {"number", "names"}


async def test_an_unknown_code_gets_one_answer_after_the_same_time_whatever_is_wrong_with_it(plant):
    browser = plant.browser()
    answers = []
    for code in ("ZZZZZZZZ", "no code at all", "U" * 8):
        began = time.monotonic()
        answers.append(await browser.post(WHERE, json=said(code=code)))
        assert time.monotonic() - began >= service.ANSWER_MS_MIN / 1000
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].json()["code"] == "hazard.tag_unknown"
    assert (await browser.get(f"{WHERE}/ZZZZZZZZ")).text == answers[0].text
    began = time.monotonic()
    assert (await browser.get(f"{WHERE}/{tag_code(CRANE)}")).status_code == 200
    assert time.monotonic() - began >= service.ANSWER_MS_MIN / 1000
    assert await hazards(plant) == []


async def test_a_tag_takes_so_many_reports_and_then_says_how_long_to_wait(plant):
    browser = plant.browser()
    for n in range(service.REPORTS_PER_TAG_MAX):
        assert (await browser.post(WHERE, json=said(f"第 {n} 处漏水"))).status_code == 201
    answer = await browser.post(WHERE, json=said("还有一处漏水"))
    assert (answer.status_code, answer.json()["code"]) == (429, "hazard.passer_by_too_many")
    seconds = answer.json()["params"]["seconds"]
    assert 0 < seconds <= service.REPORTS_TAG_MINUTES * 60
    assert answer.headers["retry-after"] == str(seconds)
    plant.clock.pass_(seconds=seconds)
    assert (await browser.post(WHERE, json=said("还有一处漏水"))).status_code == 201


async def test_an_address_has_a_limit_over_all_tags_known_or_not(plant, monkeypatch):
    monkeypatch.setattr(service, "ANSWER_MS_MIN", 0)
    browser = plant.browser()
    codes = [f"ZZZZZ{n:03d}" for n in range(service.REPORTS_PER_ADDRESS_MAX)]
    answers = [(await browser.post(WHERE, json=said(code=code))).status_code for code in codes]
    assert set(answers) == {404}
    assert (await browser.post(WHERE, json=said())).json()["code"] == "hazard.passer_by_too_many"


async def test_one_ipv6_subscriber_is_one_address():
    assert service._subscriber("2001:db8::1") == service._subscriber("2001:db8::ffff")
    assert service._subscriber("2001:db8:0:1::1") != service._subscriber("2001:db8::1")
    assert service._subscriber("::ffff:10.0.0.1") == service._subscriber("10.0.0.1")


async def test_too_few_words_and_nonsense_are_refused(plant):
    browser = plant.browser()
    assert (await browser.post(WHERE, json=said("漏"))).json()["code"] == "hazard.text_needed"
    assert (await browser.post(WHERE, json=said("漏" * (service.TEXT_CHARS_MAX + 1)))).json()["code"] == "hazard.text_needed"
    assert (await browser.post(WHERE, json=said(machine="x"))).status_code == 400
    assert (await browser.post(WHERE, json=said(contact="1" * 201))).status_code == 400
    assert (await browser.post(WHERE, content=b"\xff" * 20_000)).status_code in (400, 413)


async def test_whoever_signed_in_cannot_hide_as_a_passer_by(plant):
    worker = await plant.phone().sign_in("worker")
    fields = {"area": area_id("steelmaking"), "note": "x", "passer_by": True}
    (verdict,) = await worker.push(New(0, 0, 0, "", f"hazard/{derived('hiding')}", plant.app.state["judge"].newest("hazard"), fields))
    assert verdict["state"] == "refused", verdict
    assert verdict["code"] == "hazard.passer_by_signed_in"
