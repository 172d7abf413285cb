"""Bundles that somebody twisted, with a good signature over the twisted bytes: clean refusals only, and the queue still goes on."""

import json
import random
import time

import pytest
from twist import twisted
from world import NOW, Phone, World

from backend.kernel.errors import Refusal, catalogue
from backend.sync.op import decode_bundle, sealed_hash


async def everything(world: World, phone: Phone) -> bytes:
    thing = phone.new({"note": "a", "place": phone.seal({"lat": 1}), "amount": 1.5})
    phone.set(thing, {"note": "b", "list": [1, {"x": None}]})
    phone.add(thing, {"text": "hi", "media": {"sha256": "ab" * 32}})
    phone.act(thing, "begin", base=5, then=thing)
    phone.new({"note": "n"}, author=phone.anonymous())
    phone.act(f"thing/{world.new_id()}", "halt")
    return phone.bundle()


async def test_twisted_bundles_are_refused_cleanly_or_taken_and_the_good_one_is_taken_after_them(world: World):
    chance = random.Random(20_262)
    world.sync._rate.take = lambda *_: None
    slowest = 0.0
    refused: set[str] = set()
    for _ in range(12):
        phone = await world.phone()
        good = await everything(world, phone)
        head = good.index(b'"ops"')
        for _ in range(50):
            bad = good[:head] + twisted(good[head:], chance) if chance.random() < 0.8 else twisted(good, chance)
            began = time.perf_counter()
            try:
                answer = await world.sync.push(bad, phone.sign(bad))
                assert all(v.state in ("ok", "refused", "parked") for v in answer.verdicts)
                assert all(v.code in catalogue() for v in answer.verdicts if v.code)
                assert len(answer.verdicts) == len(decode_bundle(bad).ops)
                phone = await world.phone()  # its queue has gone its own way
                good = await everything(world, phone)
                head = good.index(b'"ops"')
            except Refusal as refusal:
                refused.add(refusal.code)
            slowest = max(slowest, time.perf_counter() - began)
        answer = await world.sync.push(good, phone.sign(good))
        assert answer.have == 6
    assert all(400 <= catalogue()[code].status < 500 for code in refused)
    assert len(refused) >= 2
    assert slowest < 5
    assert not await world.rows("SELECT * FROM parked WHERE code = 'op.unjudged'")


async def test_values_and_tokens_that_make_no_sense_hold_up_nobody(world: World):
    phone = await world.phone()
    deep = "[" * 8_000
    odd = {sealed_hash(b"0" * 16, text): ("MDAwMDAwMDAwMDAwMDAwMA==", text) for text in (deep, "", "nope", '{"a":1,"a":2}', '"\\ud800"')}
    for digest in odd:
        phone.new({"place": {"sealed": digest}})
    odd["x"] = ("not base64", "1")
    tokens = {phone.person: [*phone.tokens[phone.person], "", "a.b.c", "é" * 100, "." * 5000], "": ["x"], "\x00": []}
    answer = await phone.push(sealed=odd, authors=tokens)
    assert {v.state for v in answer.verdicts} == {"ok"}
    reader = await world.phone()
    world.judge.readers.add(reader.person)
    pulled = await world.pull(reader)
    assert len(pulled.of("doc")) == 6
    assert json.dumps(pulled.lines)


@pytest.mark.parametrize("cursor", ["=", "AAAA", "é", "A" * 70_000, "eyJ9", "\ud800", "-_-_", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"])
async def test_cursors_that_make_no_sense_begin_again(world: World, cursor: str):
    phone = await world.phone()
    assert (await world.pull(phone, cursor)).head["reset"] is True
    assert world.now == NOW
