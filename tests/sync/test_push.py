"""What the server makes of bundles."""

import asyncio
import json

import pytest
from world import NOW, Phone, World, kind_document, supervisor_takes

from backend.audit.verify import verify
from backend.auth.revocations import Line
from backend.kernel.errors import Refusal, catalogue
from backend.kernel.ids import SERVER_AUTHOR
from backend.sync import hlc
from backend.sync.op import Act, New, Sealed, Set, op_id
from backend.sync.rate import Rate
from backend.sync.rebuild import differences
from backend.sync.taking import Taking


def states(answer):
    return [(verdict.state, verdict.code) for verdict in answer.verdicts]


async def test_what_a_phone_says_is_in_the_ledger_and_in_the_document(world: World):
    phone = await world.phone()
    thing = phone.new({"note": "a"})
    phone.set(thing, {"note": "b"})
    phone.add(thing, {"text": "hi"})
    phone.act(thing, "begin")
    answer = await phone.push()
    assert answer.have == 4
    assert states(answer) == [("ok", None)] * 4
    assert answer.epoch == world.sync.epoch
    assert answer.now == hlc.from_ms(world.now)
    assert (await world.view(thing))["note"] == "b"
    assert (await world.view(thing))["status"] == "working"
    kept = await world.rows("SELECT bytes FROM ledger WHERE queue = $1 ORDER BY n", phone.number)
    assert [row["bytes"] for row in kept] == phone.queue


async def test_an_added_item_says_who_added_it_and_when_whatever_it_claims_itself(world: World):
    phone = await world.phone()
    thing = phone.new({})
    phone.add(thing, {"text": "hi", "by": "somebody else", "at": 1}, item_id=(item := world.new_id()))
    await phone.push()
    assert (await world.body(thing))["sets"]["remarks"][item][0] == {"text": "hi", "by": phone.person, "at": NOW}


async def test_a_bundle_sent_again_gets_the_same_verdicts_and_doubles_nothing(world: World):
    phone = await world.phone()
    thing = phone.new({"note": "a"})
    phone.add(thing, {"text": "hi"})
    first = await phone.push()
    before = await world.rows("SELECT COUNT(*) AS n FROM ledger")
    again = await phone.push()
    assert again.verdicts == first.verdicts
    assert await world.rows("SELECT COUNT(*) AS n FROM ledger") == before


async def test_a_bundle_half_known_is_taken_from_where_the_server_stands(world: World):
    phone = await world.phone()
    thing = phone.new({"note": "a"})
    await phone.push()
    phone.set(thing, {"note": "b"})
    answer = await phone.push(1)
    assert (answer.have, states(answer)) == (2, [("ok", None)] * 2)


async def test_the_same_bytes_twice_in_one_bundle_are_one_op_that_takes_two_numbers(world: World):
    phone = await world.phone()
    thing = phone.new({"note": "a"})
    phone.queue.append(phone.queue[0])
    answer = await phone.push()
    assert answer.have == 2
    assert [v.n for v in answer.verdicts] == [1, 2]
    assert answer.verdicts[0].seq == answer.verdicts[1].seq
    assert (await world.view(thing))["note"] == "a"


async def test_a_gap_is_refused_whole_and_says_what_the_server_has(world: World):
    phone = await world.phone()
    for _ in range(3):
        phone.new({})
    await phone.push(1, 1)
    with pytest.raises(Refusal) as refusal:
        await phone.push(3)
    assert (refusal.value.code, refusal.value.params) == ("sync.gap", {"have": 1})
    assert await world.rows("SELECT n FROM ledger WHERE queue = $1", phone.number) == [{"n": 1}]


async def test_a_rolled_back_phone_is_told_that_it_forked_and_nothing_of_it_is_taken(world: World):
    phone = await world.phone()
    thing = phone.new({"note": "a"})
    phone.set(thing, {"note": "b"})
    await phone.push()
    phone.queue = phone.queue[:1]
    phone.set(thing, {"note": "c"})
    for first in (1, 2):
        with pytest.raises(Refusal, match=r"device\.forked"):
            await phone.push(first)
    phone.set(thing, {"note": "d"})
    with pytest.raises(Refusal, match=r"device\.forked"):
        await phone.push(3)  # its prev is not the op that the server has there
    assert (await world.view(thing))["note"] == "b"


async def test_a_forked_phone_registers_anew_and_its_unsent_ops_stay_good_under_their_old_ids_and_tokens(world: World):
    old = await world.phone()
    thing = old.new({"note": "a"})
    await old.push()
    old.set(thing, {"note": "b"})
    old.act(thing, "begin")
    new = await world.phone(old.person, predecessor=old)
    new.tokens[old.person] += old.tokens[old.person]
    new.queue = list(old.queue)
    answer = await new.push()
    assert answer.have == 3
    assert states(answer) == [("ok", None)] * 3
    view = await world.view(thing)
    assert (view["note"], view["status"]) == ("b", "working")
    assert (await world.body(thing))["fields"]["note"][2] == old.number
    again = await world.rows("SELECT n, op FROM ledger WHERE queue = $1 AND what = 'again'", new.number)
    assert again == [{"n": 1, "op": op_id(old.queue[0])}]


async def test_an_op_of_a_stranger_s_device_is_refused_and_the_queue_goes_on(world: World):
    phone, other = await world.phone(), await world.phone()
    other.new({"note": "a"})
    phone.queue.append(other.queue[0])
    mine = phone.new({"note": "b"})
    assert states(await phone.push()) == [("refused", "op.wrong_device"), ("ok", None)]
    assert await world.body(mine)


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b'["new"]',
        b"[1,2",
        b'["set",1,1,1,"x","thing/y",{}]',
        b'["new",1,1,1,{"a":1,"a":1},"thing/x",1,{}]',
        b'["new",9007199254740993]',
    ],
)
async def test_a_malformed_op_is_kept_as_its_bytes_and_refused_and_the_queue_goes_on(world: World, data: bytes):
    phone = await world.phone()
    phone.queue.append(data)
    thing = phone.new({"note": "a"})
    bundle = phone.bundle()
    if data == b"[1,2":
        with pytest.raises(Refusal, match=r"sync\.malformed"):  # no JSON at all: the envelope itself cannot be read
            await world.sync.push(bundle, phone.sign(bundle))
        return
    answer = await world.sync.push(bundle, phone.sign(bundle))
    assert states(answer) == [("refused", "op.malformed"), ("ok", None)]
    assert answer.verdicts[0].params["reason"]
    assert (await world.rows("SELECT bytes FROM ledger WHERE n = 1 AND queue = $1", phone.number))[0]["bytes"] == data
    assert await world.body(thing)


async def test_an_oversized_op_is_kept_and_refused(world: World):
    phone = await world.phone()
    thing = phone.new({})
    phone.set(thing, {f"f{i}": "x" * 16_000 for i in range(5)})
    assert states(await phone.push()) == [("ok", None), ("refused", "op.malformed")]


async def test_a_second_new_of_a_document_is_refused(world: World):
    phone = await world.phone()
    thing = phone.new({"note": "a"})
    phone.new({"note": "b"}, doc=thing)
    assert states(await phone.push()) == [("ok", None), ("refused", "op.exists")]
    assert (await world.view(thing))["note"] == "a"


async def test_a_set_takes_2000_items_and_refuses_the_next_at_the_door(world: World):
    phone = await world.phone()
    thing = phone.new({})
    items = [world.new_id() for _ in range(2001)]
    for item in items:
        phone.add(thing, {"i": 1}, item_id=item)
    for first in range(1, 2003, 500):
        answer = await phone.push(first, min(first + 499, 2002))
    assert states(answer)[-2:] == [("ok", None), ("refused", "op.set_full")]
    phone.add(thing, {"i": 2}, item_id=items[0])  # one that is there changes nothing and is not one more
    assert states(await phone.push(2003)) == [("ok", None)]


class TestEnvelope:
    async def refused(self, world: World, body: bytes, signature: str, **given) -> str:
        with pytest.raises(Refusal) as refusal:
            await world.sync.push(body, signature, **given)
        return refusal.value.code

    async def test_a_bundle_must_be_signed_by_the_key_in_its_certificate(self, world: World):
        phone, other = await world.phone(), await world.phone()
        phone.new({})
        data = phone.bundle()
        assert await self.refused(world, data, other.sign(data)) == "sync.signature"
        assert await self.refused(world, data + b" ", phone.sign(data)) == "sync.signature"
        assert await self.refused(world, data, "") == "sync.signature"

    async def test_a_certificate_must_be_ours_and_this_device_s(self, world: World):
        phone, other = await world.phone(), await world.phone()
        phone.new({})
        for changes in ({"certificate": "x.y.z"}, {"certificate": other.certificate}, {"device": other.number}):
            data = phone.bundle(**changes)
            assert await self.refused(world, data, phone.sign(data)) == "sync.certificate"

    @pytest.mark.parametrize(
        "data", [b"", b"{}", b"[]", b"\xff", b'{"v":1}', b'{"v":2,"device":1,"certificate":"","first":1,"prev":null,"ops":[]}']
    )
    async def test_what_is_no_bundle_is_400(self, world: World, data: bytes):
        assert await self.refused(world, data, "") == "sync.malformed"
        assert catalogue()["sync.malformed"].status == 400

    async def test_501_ops_or_a_megabyte_are_413(self, world: World):
        phone = await world.phone()
        for _ in range(501):
            phone.new({})
        data = phone.bundle()
        assert await self.refused(world, data, phone.sign(data)) == "sync.too_large"
        data = phone.bundle(upto=1) + b" " * 1_000_000
        assert await self.refused(world, data, phone.sign(data)) == "sync.too_large"

    async def test_too_many_tokens_are_400(self, world: World):
        phone = await world.phone()
        data = phone.bundle(authors={phone.person: ["x"] * 129})
        assert await self.refused(world, data, phone.sign(data)) == "sync.malformed"

    async def test_a_phone_gone_mad_is_told_to_wait(self, world: World):
        phone = await world.phone()
        world.sync._rate = Rate(3)
        for _ in range(3):
            await phone.push()
        for _ in range(2):
            with pytest.raises(Refusal) as refusal:
                await phone.push()
            assert (refusal.value.code, refusal.value.headers) == ("http.rate", {"Retry-After": "20"})
        world.now += 20_000
        assert (await phone.push()).have == 0

    async def test_a_bundle_with_no_ops_asks_for_have(self, world: World):
        phone = await world.phone()
        phone.new({})
        phone.new({})
        assert (await phone.push(1, 0)).have == 0
        await phone.push()
        answer = await phone.push(3)
        assert (answer.have, answer.verdicts) == (2, [])

    async def test_what_is_no_encrypted_bundle_of_ours_is_400(self, world: World):
        phone = await world.phone()
        assert await self.refused(world, b"a.b.c.d.e", "", jose=True) == "sync.sealed_bundle"
        assert await self.refused(world, phone.kept(phone.bundle(), "not.a.receipt"), "", jose=True) == "sync.sealed_bundle"


class TestClocks:
    async def test_a_claim_five_minutes_ahead_counts_as_the_server_s_time_and_is_marked(self, world: World):
        phone, other = await world.phone(), await world.phone()
        phone.last = hlc.from_ms(NOW + 300_001)
        thing = phone.new({"note": "a"})
        await phone.push()
        row = (await world.rows("SELECT e, mark FROM ledger WHERE queue = $1", phone.number))[0]
        assert row == {"e": hlc.from_ms(NOW), "mark": "clock_suspect"}
        world.now += 1
        other.set(thing, {"note": "later"})
        await other.push()
        assert (await world.view(thing))["note"] == "later"

    async def test_of_one_device_the_later_op_wins_even_where_its_clock_ran_back(self, world: World):
        phone = await world.phone()
        thing = phone.new({"note": "a"})
        phone.put(Set(phone.number, hlc.from_ms(NOW - 3_600_000), NOW, phone.person, thing, {"note": "b"}))
        await phone.push()
        assert (await world.view(thing))["note"] == "b"

    async def test_an_older_set_that_arrives_later_loses_and_stays_in_the_history(self, world: World):
        early, late = await world.phone(), await world.phone()
        thing = early.new({"note": "a"})
        await early.push()
        early.set(thing, {"note": "early"})
        world.now += 1000
        late.set(thing, {"note": "late"})
        await late.push()
        assert states(await early.push(2)) == [("ok", None)]
        assert (await world.view(thing))["note"] == "late"

    async def test_nobody_acts_in_the_future(self, world: World):
        phone = await world.phone()
        world.now += 3_600_000
        phone.tokens[phone.person].append(world.keys.issue_author(phone.person, phone.number, world.now))
        phone.new({})
        world.now -= 3_600_000
        phone.last = 0
        await phone.push()
        assert world.accepted[-1].at == NOW


class TestAuthors:
    async def test_an_op_whose_author_no_token_proves_is_parked(self, world: World):
        phone = await world.phone()
        phone.new({"note": "a"})
        assert states(await phone.push(authors={})) == [("parked", "author.unproven")]
        assert await world.rows("SELECT * FROM document WHERE key LIKE 'thing/%'") == []

    @pytest.mark.parametrize("why", ["ended", "not yet", "of another phone", "of another person"])
    async def test_a_token_proves_only_its_person_on_its_phone_in_its_72_hours(self, world: World, why: str):
        phone, other = await world.phone(), await world.phone()
        token = {
            "ended": lambda: world.keys.issue_author(phone.person, phone.number, NOW - 72 * 3_600_000),
            "not yet": lambda: world.keys.issue_author(phone.person, phone.number, NOW + 300_001 + 999),
            "of another phone": lambda: world.keys.issue_author(phone.person, other.number, NOW),
            "of another person": lambda: world.keys.issue_author(other.person, phone.number, NOW),
        }[why]()
        phone.new({})
        assert states(await phone.push(authors={phone.person: [token, "no.token.atall"]})) == [("parked", "author.unproven")]

    async def test_two_persons_on_one_phone_each_speak_for_themselves(self, world: World):
        phone = await world.phone()
        first = phone.person
        thing = phone.new({})
        phone.sign_in(world.new_id())
        phone.set(thing, {"note": "b"})
        assert states(await phone.push()) == [("ok", None)] * 2
        assert [a.author for a in world.accepted[-2:]] == [first, phone.person]

    async def test_what_a_revoked_person_says_is_kept_aside_whatever_time_it_claims(self, world: World):
        phone = await world.phone()
        phone.new({})
        world.revocations.note(Line("person", phone.person, True, NOW, phone.person))
        answer = await phone.push()
        assert states(answer) == [("parked", "author.unproven")]
        assert answer.verdicts[0].params == {"why": "revoked"}

    async def test_what_a_retired_device_sends_is_kept_aside_and_its_stops_count(self, world: World):
        phone = await world.phone()
        thing = phone.new({})
        phone.act(thing, "begin")
        await phone.push()
        world.revocations.note(Line("device", str(phone.number), True, NOW, phone.person))
        phone.set(thing, {"note": "x"})
        phone.act(thing, "halt")
        assert states(await phone.push(3)) == [("parked", "device.revoked"), ("ok", "device.revoked")]
        assert (await world.view(thing))["status"] == "halted"

    async def test_an_unproven_stop_without_its_document_is_judged_first_when_that_comes(self, world: World):
        phone, other = await world.phone(), await world.phone()
        key = f"thing/{world.new_id()}"
        phone.act(key, "halt")
        assert states(await phone.push(authors={})) == [("parked", "author.unproven")]
        other.new({}, doc=key)
        other.act(key, "begin")
        assert states(await other.push()) == [("ok", None), ("refused", "op.set_aside")]
        assert (await world.view(key))["status"] == "halted"
        row = (await world.rows("SELECT state, code FROM ledger WHERE what = 'verdict'"))[0]
        assert row == {"state": "ok", "code": "author.unproven"}

    async def test_an_unproven_act_that_is_no_stop_waits_for_a_person_when_its_document_has_come(self, world: World):
        phone, other = await world.phone(), await world.phone()
        key = f"thing/{world.new_id()}"
        phone.act(key, "begin")
        await phone.push(authors={})
        other.new({}, doc=key)
        await other.push()
        assert (await world.view(key))["status"] == "open"
        assert await world.rows("SELECT code, awaits FROM parked") == [{"code": "author.unproven", "awaits": None}]


class TestParking:
    async def test_an_op_without_its_document_waits_and_is_judged_when_it_comes(self, world: World):
        phone, other = await world.phone(), await world.phone()
        key = f"thing/{world.new_id()}"
        op = phone.set(key, {"note": "b"})
        answer = await phone.push()
        assert states(answer) == [("parked", "op.awaits_document")]
        world.now += 1
        other.new({"amount": 1}, doc=key)
        await other.push()
        assert await world.view(key) == {"status": "open", "amount": 1, "note": "b"}
        assert (await world.view(f"parked/{op}"))["status"] == "taken"
        assert states(await phone.push()) == [("ok", None)]
        assert await world.rows("SELECT * FROM parked") == []

    async def test_an_op_of_a_kind_version_that_is_not_loaded_waits_for_it(self, world: World):
        phone = await world.phone()
        key = phone.new({"note": "a"}, kind="novel", version=3)
        phone.set(key, {"note": "b"})
        answer = await phone.push()
        assert states(answer) == [("parked", "op.awaits_kind"), ("parked", "op.awaits_document")]
        await world.sync.say(kind_document("novel", 3))
        assert (await world.view(key))["note"] == "b"
        assert states(await phone.push()) == [("ok", None)] * 2

    async def test_later_acts_of_the_device_on_the_document_park_behind_and_stops_do_not(self, world: World):
        phone = await world.phone()
        thing = phone.new({})
        await phone.push()
        tokens, phone.tokens = phone.tokens, {}
        phone.act(thing, "begin")
        await phone.push(2)
        phone.tokens = tokens
        phone.act(thing, "finish")
        phone.act(thing, "begin")
        phone.act(thing, "halt")
        phone.set(thing, {"note": "facts go on"})
        answer = await phone.push(3)
        assert states(answer) == [("parked", "op.awaits_earlier")] * 2 + [("ok", None)] * 2
        assert await world.view(thing) == {"status": "halted", "status_by": phone.number, "note": "facts go on"}
        # The start did not know of the stop that came after it in the same queue.
        await world.sync.say(supervisor_takes(op_id(phone.queue[1])))
        verdicts = states(await phone.push())
        assert verdicts[1] == ("refused", "op.set_aside")
        assert await world.rows("SELECT * FROM parked") == []

    async def test_what_stands_behind_goes_on_in_its_order_once_the_first_is_taken(self, world: World):
        phone = await world.phone()
        thing = phone.new({})
        await phone.push()
        tokens, phone.tokens = phone.tokens, {}
        op = phone.act(thing, "begin")
        await phone.push(2)
        phone.tokens = tokens
        phone.act(thing, "finish")
        await phone.push(3)
        (verdict,) = await world.sync.say(supervisor_takes(op))
        assert verdict.state == "ok"
        assert states(await phone.push()) == [("ok", None)] * 3
        assert (await world.view(thing))["status"] == "done"
        assert (await world.view(f"parked/{op}"))["status"] == "taken"

    async def test_a_hundred_ops_behind_one_another_all_go_on(self, world: World):
        phone = await world.phone()
        thing = phone.new({})
        await phone.push()
        tokens, phone.tokens = phone.tokens, {}
        op = phone.act(thing, "begin")
        await phone.push(2)
        phone.tokens = tokens
        for _ in range(100):
            phone.act(thing, "move", area="x")
        await phone.push(3)
        await world.sync.say(supervisor_takes(op))
        assert states(await phone.push()) == [("ok", None)] * 102

    async def test_a_supervisor_sets_a_parked_op_aside(self, world: World):
        phone = await world.phone()
        op_key = phone.new({"note": "x"})
        await phone.push(authors={})
        op = op_id(phone.queue[0])
        await world.sync.say(Act(0, 0, 0, SERVER_AUTHOR, f"parked/{op}", "refuse", {}, 0))
        assert states(await phone.push()) == [("refused", "op.set_aside")]
        assert await world.body(op_key) is None
        assert (await world.view(f"parked/{op}"))["status"] == "refused"

    async def test_a_parked_op_is_a_document_that_supervisors_see(self, world: World):
        phone = await world.phone()
        key = f"thing/{world.new_id()}"
        op = phone.set(key, {"note": "b"})
        await phone.push()
        view = await world.view(f"parked/{op}")
        said = {"op": op, "device": phone.number, "author": phone.person, "about": key, "at": NOW, "since": NOW}
        assert view == {"status": "waiting", "code": "op.awaits_document"} | said

    async def test_an_op_that_our_own_code_cannot_judge_waits_and_the_queue_goes_on(self, world: World):
        phone = await world.phone()
        phone.new({"fail": True})
        thing = phone.new({})
        assert states(await phone.push()) == [("parked", "op.unjudged"), ("ok", None)]
        assert await world.body(thing)

    async def test_the_photos_that_a_parked_op_names_are_told_so_that_they_may_come(self, world: World):
        heard = []

        async def hear(tx, parked):
            heard.extend(parked)

        world.sync._parked_hooks.append(hear)
        phone = await world.phone()
        photo = {"sha256": "ab" * 32, "type": "image/jpeg", "size": 1, "w": 1, "h": 1}
        key = f"thing/{world.new_id()}"
        phone.add(key, {"media": [photo]})
        await phone.push()
        assert [(entry.key, entry.change.media) for entry in heard] == [(key, ["ab" * 32])]


class TestSafeBeatsUnsafe:
    async def test_a_start_that_did_not_know_of_another_s_stop_is_refused(self, world: World):
        phone, guard = await world.phone(), await world.phone()
        thing = phone.new({})
        seq = (await phone.push()).verdicts[0].seq
        guard.act(thing, "halt")
        await guard.push()
        phone.act(thing, "begin", base=seq)
        assert states(await phone.push(2)) == [("refused", "op.set_aside")]

    async def test_a_start_that_knew_of_the_stop_passes(self, world: World):
        phone, guard = await world.phone(), await world.phone()
        thing = phone.new({})
        await phone.push()
        guard.act(thing, "halt")
        seq = (await guard.push()).verdicts[0].seq
        phone.act(thing, "begin", base=seq)
        assert states(await phone.push(2)) == [("ok", None)]

    async def test_one_s_own_earlier_stop_on_the_same_phone_does_not_hold_one_s_start(self, world: World):
        phone = await world.phone()
        thing = phone.new({})
        phone.act(thing, "halt")
        phone.act(thing, "begin")
        assert states(await phone.push()) == [("ok", None)] * 3

    async def test_a_stop_said_on_a_clone_of_the_phone_holds_the_start(self, world: World):
        """Found by the simulation: both speak under one number, and neither knows what the other said."""
        phone = await world.phone()
        thing = phone.new({})
        await phone.push()
        clone = await world.phone(phone.person, phone)
        clone.tokens[phone.person] += phone.tokens[phone.person]
        phone.act(thing, "halt")
        await phone.push(2)
        phone.queue.pop()
        phone.act(thing, "begin")
        clone.queue.append(phone.queue.pop())  # the clone found itself forked and has a number of its own now
        assert states(await clone.push()) == [("refused", "op.set_aside")]

    async def test_one_s_own_stop_said_again_after_a_fork_does_not_hold_one_s_start(self, world: World):
        phone = await world.phone()
        thing = phone.new({})
        phone.act(thing, "halt")
        await phone.push()
        anew = await world.phone(phone.person, phone)
        anew.tokens[phone.person] += phone.tokens[phone.person]
        phone.act(thing, "begin")
        anew.queue += phone.queue[1:]
        assert states(await anew.push()) == [("ok", None)] * 2

    async def test_another_person_s_stop_on_the_same_phone_holds_the_start(self, world: World):
        phone = await world.phone()
        thing = phone.new({})
        phone.act(thing, "halt")
        phone.sign_in(world.new_id())
        phone.act(thing, "begin")
        assert states(await phone.push()) == [("ok", None)] * 2 + [("refused", "op.set_aside")]

    async def test_a_base_past_the_ledger_s_end_counts_as_none(self, world: World):
        phone, guard = await world.phone(), await world.phone()
        thing = phone.new({})
        await phone.push()
        guard.act(thing, "halt")
        await guard.push()
        phone.act(thing, "begin", base=2**50)
        assert states(await phone.push(2)) == [("refused", "op.set_aside")]

    async def test_a_stop_that_arrives_after_a_start_stops_the_work(self, world: World):
        phone, guard = await world.phone(), await world.phone()
        thing = phone.new({})
        guard.act(thing, "halt")
        phone.act(thing, "begin")
        await phone.push()
        await guard.push()
        assert (await world.view(thing))["status"] == "halted"

    async def test_what_an_act_writes_stands_in_the_ledger_s_order_not_the_clocks(self, world: World):
        ahead, behind = await world.phone(), await world.phone()
        ahead.last = hlc.from_ms(NOW + 200_000)
        thing = ahead.new({})
        ahead.act(thing, "begin")
        await ahead.push()
        behind.act(thing, "halt")
        await behind.push()
        assert (await world.view(thing))["status_by"] == behind.number


class TestWhatFollows:
    async def test_a_spawned_document_has_the_id_that_the_phone_derived_and_is_the_server_s(self, world: World):
        from backend.kernel import ids

        phone = await world.phone()
        thing = phone.new({"spawn": True})
        await phone.push()
        child = f"thing/{ids.spawned(op_id(phone.queue[0]), 'child')}"
        assert (await world.view(child))["note"] == f"child of {thing}"
        row = (await world.rows("SELECT author FROM document WHERE key = $1", child))[0]
        assert row["author"] == SERVER_AUTHOR

    async def test_what_follows_bears_its_cause_s_time_and_is_rebuilt_so_where_the_server_s_clock_was_set_back(self, world: World):
        """Found by the simulation, seed 9030."""
        from backend.kernel import ids

        phone = await world.phone()
        phone.new({"spawn": True})
        await phone.push(authors={})
        world.now -= 600_000
        await world.sync.say(supervisor_takes(op_id(phone.queue[0])))
        child = f"thing/{ids.spawned(op_id(phone.queue[0]), 'child')}"
        assert await world.rows("SELECT created_at FROM document WHERE key = $1", child) == [{"created_at": NOW}]

    async def test_an_act_on_another_document_follows_in_the_same_transaction(self, world: World):
        phone = await world.phone()
        one, two = phone.new({}), phone.new({})
        phone.act(one, "begin", then=two)
        await phone.push()
        assert (await world.view(two))["status"] == "halted"

    async def test_the_server_s_own_ops_that_cannot_be_done_are_refused_never_parked(self, world: World):
        (verdict,) = await world.sync.say(Act(0, 0, 0, SERVER_AUTHOR, f"thing/{world.new_id()}", "begin", {}, 0))
        assert (verdict.state, verdict.code) == ("refused", "op.awaits_document")

    async def test_who_follows_hears_of_each_accepted_op_in_the_transaction_and_its_mistakes_hold_up_nobody(self, world: World):
        async def broken(tx, accepted):
            await tx.run("INSERT INTO meta (name, value) VALUES ('half', 'done')")
            raise ZeroDivisionError

        world.sync._hooks.append(broken)
        phone = await world.phone()
        thing = phone.new({"note": "a"})
        assert states(await phone.push()) == [("ok", None)]
        assert (world.accepted[-1].key, world.accepted[-1].body["fields"]["note"][0]) == (thing, "a")
        assert await world.rows("SELECT * FROM meta WHERE name = 'half'") == []

    async def test_the_server_speaks_inside_another_s_transaction_and_is_silent_if_that_fails(self, world: World):
        key = f"thing/{world.new_id()}"
        with pytest.raises(ZeroDivisionError):
            async with world.store.write() as tx:
                await world.sync.say(New(0, 0, 0, SERVER_AUTHOR, key, 1, {}), tx=tx)
                raise ZeroDivisionError
        assert await world.body(key) is None
        async with world.store.write() as tx:
            await world.sync.say(New(0, 0, 0, SERVER_AUTHOR, key, 1, {}), tx=tx)
        assert await world.body(key)


class TestSealed:
    async def test_a_sealed_value_lies_in_its_own_table_and_the_ledger_has_its_hash(self, world: World):
        phone = await world.phone()
        thing = phone.new({"place": phone.seal({"lat": 39.9})})
        await phone.push()
        (row,) = await world.rows("SELECT value FROM sealed")
        assert json.loads(row["value"]) == {"lat": 39.9}
        assert "39.9" not in str((await world.rows("SELECT bytes, patch FROM ledger"))[-1])
        assert list((await world.view(thing))["place"]) == ["sealed"]

    async def test_a_value_that_does_not_fit_its_hash_or_that_no_op_names_is_not_kept(self, world: World):
        phone = await world.phone()
        named = phone.seal({"lat": 1})
        phone.seal({"nobody": "names this"})
        phone.sealed[named["sealed"]] = (phone.sealed[named["sealed"]][0], '{"lat": 2}')
        phone.new({"place": named})
        assert states(await phone.push()) == [("ok", None)]
        assert await world.rows("SELECT * FROM sealed") == []

    async def test_an_anonymous_op_is_proven_and_its_document_names_neither_author_nor_device(self, world: World):
        phone = await world.phone()
        author = phone.anonymous()
        key = f"thing/{world.new_id()}"
        phone.new({"note": "a"}, doc=key, author=Sealed(author.sealed))
        assert states(await phone.push()) == [("ok", None)]
        assert (await world.body(key))["fields"]["note"][2] == 0
        assert world.accepted[-1].author == phone.person
        for table in ("ledger", "document"):
            assert all(phone.person not in str(row) for row in await world.rows(f"SELECT author FROM {table}"))

    async def test_an_anonymous_op_whose_author_did_not_come_is_parked(self, world: World):
        phone = await world.phone()
        phone.new({}, author=phone.anonymous())
        assert states(await phone.push(sealed={})) == [("parked", "author.unproven")]

    async def test_an_erased_value_stays_erased_when_the_phone_sends_it_again(self, world: World):
        phone = await world.phone()
        sealed = phone.seal({"lat": 39.9})
        thing = phone.new({"place": sealed})
        await phone.push()
        await world.sync.erase(thing, [sealed["sealed"]], phone.person, "90 days are over")
        await phone.push()
        assert [(r["salt"], r["value"]) for r in await world.rows("SELECT salt, value FROM sealed")] == [(None, None)]


class TestHealing:
    async def test_numbers_that_a_phone_lost_are_noted_and_the_queue_goes_on(self, world: World):
        phone = await world.phone()
        for note in "abcd":
            phone.new({"note": note})
        await phone.push(1, 1)
        answer = await phone.push(3, lost=True)
        assert (answer.have, states(answer)) == (4, [("ok", None)] * 2)
        (row,) = await world.rows("SELECT n, params FROM ledger WHERE what = 'lost'")
        assert (row["n"], json.loads(row["params"])) == (2, {"from": 2})

    async def test_an_empty_bundle_may_say_that_all_below_is_lost(self, world: World):
        phone = await world.phone()
        for _ in range(5):
            phone.new({})
        answer = await phone.push(4, 3, lost=True, prev="0" * 64)
        assert answer.have == 3
        assert (await phone.push(4)).have == 5

    async def test_a_device_known_only_by_its_certificate_is_taken_in(self, world: World):
        phone = await world.phone()
        async with world.store.write() as tx:
            await tx.run("DELETE FROM device WHERE number = $1", phone.number)
        phone.new({})
        assert states(await phone.push()) == [("ok", None)]
        assert len(await world.rows("SELECT * FROM device WHERE number = $1", phone.number)) == 1

    async def test_a_kept_bundle_brings_back_what_a_restored_server_lost_with_its_verdicts(self, world: World):
        phone, guard = await world.phone(), await world.phone()
        claims = {"epoch": "another life", "device": phone.number}
        taken, refused = phone.new({"note": "a"}), phone.new({"note": "b"})
        gone, stopped = phone.new({"refuse": True}), phone.new({})
        phone.act(stopped, "begin")
        ids = [op_id(data) for data in phone.queue]
        guard.act(stopped, "halt")
        await guard.push()
        claims["verdicts"] = [
            [ids[0], 1, "ok"],
            [ids[1], 2, "refused", "op.set_full", {"set": "x", "limit": 1}],
            [ids[2], 3, "ok"],
            [ids[4], 4, "ok"],
        ]
        receipt = world.keys.issue_receipt(claims, NOW)
        answer = await world.sync.push(phone.kept(phone.bundle(), receipt), "", jose=True)
        assert states(answer) == [
            ("ok", None),
            ("refused", "op.set_full"),
            ("parked", "op.disputed"),
            ("ok", None),
            ("refused", "op.set_aside"),  # a receipt does not stand against a stop
        ]
        assert await world.body(taken)
        assert await world.body(refused) is None
        assert await world.body(gone) is None

    async def test_the_receipt_of_a_push_opens_and_names_every_op(self, world: World):
        phone = await world.phone()
        phone.new({})
        phone.new({}, doc="thing/" + world.new_id())
        phone.set(f"thing/{world.new_id()}", {"note": "a"})
        answer = await phone.push()
        claims = world.keys.verify_receipt(answer.receipt)
        assert (claims["epoch"], claims["device"]) == (answer.epoch, phone.number)
        assert [v[0] for v in claims["verdicts"]] == [op_id(data) for data in phone.queue]
        assert claims["verdicts"][2][2:4] == ["parked", "op.awaits_document"]


async def test_bundles_that_arrive_together_share_a_commit_and_a_bad_one_spoils_no_other(world: World):
    phones: list[Phone] = [await world.phone() for _ in range(12)]
    things = [phone.new({"note": str(i)}) for i, phone in enumerate(phones)]
    phones[5].queue.insert(0, phones[5].queue[0])

    async def push(i: int):
        try:
            return await phones[i].push(2 if i == 5 else 1)
        except Refusal as refusal:
            return refusal.code

    commits = 0
    done = world.sync._writer._done

    def count(batch, committed):
        nonlocal commits
        commits += 1
        done(batch, committed)

    world.sync._writer._done = count
    answers = await asyncio.gather(*(push(i) for i in range(12)))
    assert answers[5] == "sync.gap"
    assert all(states(a) == [("ok", None)] for i, a in enumerate(answers) if i != 5)
    assert commits < 12
    bodies = [await world.body(thing) for thing in things]
    assert [i for i, body in enumerate(bodies) if body is None] == [5]


async def test_work_that_fails_leaves_what_was_done_before_it_in_the_same_commit_as_it_was(world: World):
    phones = [await world.phone() for _ in range(3)]
    thing = phones[0].new({"note": "first"})
    await phones[0].push()
    gone = f"thing/{world.new_id()}"
    for phone, note in zip(phones, ("a", "b", "c"), strict=True):
        world.now += 1_000
        phone.set(thing, {"note": note})
        phone.act(thing, "move", area=f"of {note}")

    async def fails(taking: Taking) -> None:
        world.now += 1_000
        await taking.say(New(0, 0, 0, SERVER_AUTHOR, gone, 1, {"note": "spoilt"}))
        for op in (Set(0, 0, 0, SERVER_AUTHOR, thing, {"note": "spoilt"}), Act(0, 0, 0, SERVER_AUTHOR, thing, "halt", {}, 0)):
            assert (await taking.say(op)).state == "ok"
        raise Refusal("sync.gap", have=0)

    commits = []
    done = world.sync._writer._done
    world.sync._writer._done = lambda batch, committed: (commits.append(batch), done(batch, committed))
    # What is opened by threads comes as it will; what they hand over waits behind this, and is then done together.
    hold = asyncio.Event()
    first = asyncio.create_task(world.sync.do(lambda taking: hold.wait()))
    pushes = [asyncio.create_task(phone.push(2 if phone is phones[0] else 1)) for phone in phones[:2]]
    while world.sync._writer._waiting.qsize() < 2:
        await asyncio.sleep(0.001)
    failing = asyncio.create_task(world.sync.do(fails))
    last = asyncio.create_task(phones[2].push())
    while world.sync._writer._waiting.qsize() < 4:
        await asyncio.sleep(0.001)
    hold.set()
    await first
    answers = [await push for push in (*pushes, last)]
    with pytest.raises(Refusal):
        await failing
    assert len(commits) == 2
    assert [states(answer) for answer in answers] == [[("ok", None)] * 2] * 3
    view = await world.view(thing)
    assert (view["note"], view["area"], view["status"]) == ("c", "of c", "open")
    assert await world.body(gone) is None
    assert [row["shape"] for row in await world.rows("SELECT shape FROM member WHERE doc = $1", thing)] == ["area:of c"]
    report = await verify(world.store, world.keys, lambda: differences(world.store, world.judge))
    assert report.ok, report.text()


async def test_the_judge_hears_which_documents_changed_only_by_their_keys(world: World):
    phone = await world.phone()
    thing = phone.new({})
    await phone.push()
    assert thing in world.judge.observed


async def test_sequences_and_numbers_only_grow(world: World):
    phones = [await world.phone() for _ in range(4)]
    for phone in phones:
        for _ in range(20):
            phone.new({})
    await asyncio.gather(*(phone.push(first, first + 4) for phone in phones for first in (1,)))
    for first in (6, 11, 16):
        await asyncio.gather(*(phone.push(first, first + 4) for phone in phones))
    rows = await world.rows("SELECT seq, queue, n FROM ledger WHERE what = 'op' ORDER BY seq")
    for phone in phones:
        assert [row["n"] for row in rows if row["queue"] == phone.number] == list(range(1, 21))


CODES = {
    "sync.malformed", "sync.sealed_bundle", "sync.certificate", "sync.signature", "sync.too_large", "sync.gap", "device.forked",
    "device.revoked", "author.unproven", "op.malformed", "op.wrong_device", "op.exists", "op.set_full", "op.set_aside",
    "op.awaits_document", "op.awaits_kind", "op.awaits_earlier", "op.disputed", "op.unjudged",
}  # fmt: skip


def test_every_code_of_sync_is_brought_about_by_a_test_here():
    from pathlib import Path

    catalogued = set(json.loads(Path("backend/kernel/catalogue/sync.json").read_text("utf-8")))
    assert catalogued == CODES
    text = Path(__file__).read_text("utf-8").split("CODES = ")[0]
    assert all(code in text.replace("\\", "") for code in CODES)
