"""What a phone hears, and what it must not hear."""

import asyncio
import base64
import json
import uuid

import msgspec
import pytest
from world import Phone, World

from backend.sync import pull as pulling
from backend.sync.events import Hub
from backend.sync.op import op_id


class Held:
    """What a phone holds after pulls: applies lines as SYNC says."""

    def __init__(self) -> None:
        self.docs: dict[str, dict] = {}
        self.seqs: dict[str, int] = {}
        self.verdicts: dict[str, dict] = {}
        self.want: list[str] = []
        self.cursor: str | None = None
        self.through = 0

    def apply(self, lines: list[dict]) -> None:
        for line in lines:
            if line.get("reset"):
                self.docs, self.seqs = {}, {}
            key = line.get("doc") or line.get("patch") or line.get("gone")
            if key is not None and line["seq"] <= self.seqs.get(key, 0):
                continue
            if "doc" in line:
                self.docs[key], self.seqs[key] = line["body"], line["seq"]
            elif "patch" in line:
                if key not in self.docs:
                    self.want.append(key)
                    continue
                body = self.docs[key]
                body["fields"].update(line.get("set", {}))
                for name, items in line.get("add", {}).items():
                    body["sets"].setdefault(name, {}).update(items)
                body["status"] = line.get("status", body["status"])
                self.seqs[key] = line["seq"]
            elif "gone" in line:
                self.docs.pop(key, None)
                self.seqs.pop(key, None)
            elif "verdict" in line:
                self.verdicts[line["verdict"]["op"]] = line["verdict"]
            elif "cursor" in line:
                self.cursor, self.through = line["cursor"], line["through"]

    async def sync(self, world: World, phone: Phone) -> "Held":
        while True:
            want, self.want = self.want, []
            pulled = await world.pull(phone, self.cursor, want)
            self.apply(pulled.lines)
            assert not pulled.more
            if not self.want:
                return self

    async def agrees(self, world: World, shapes: set[str]) -> None:
        rows = await world.rows("SELECT DISTINCT d.key, d.body FROM document d JOIN member m ON m.doc = d.key")
        members = await world.rows("SELECT doc, shape FROM member")
        allowed = {m["doc"] for m in members if m["shape"] in shapes}
        assert self.docs == {row["key"]: json.loads(row["body"]) for row in rows if row["key"] in allowed}


async def test_a_first_pull_brings_every_document_of_the_shapes_once_and_no_other(world: World):
    phone = await world.phone()
    for area in ("a", "b", "c"):
        for _ in range(5):
            phone.new({"area": area})
    await phone.push()
    reader = await world.phone()
    world.judge.holds[reader.person] = {"area:a", "area:b"}
    pulled = await world.pull(reader)
    docs = [line["doc"] for line in pulled.of("doc")]
    assert len(docs) == len(set(docs)) == 10
    assert pulled.head["total"] == 10
    assert (pulled.head["epoch"], pulled.more) == (world.sync.epoch, False)
    assert pulled.through > 0


async def test_a_document_in_two_shapes_comes_once(world: World):
    async def both(docs, key, body):
        return ["area:a", "area:b"] if key.startswith("thing/") else ["site"]

    world.judge.placement = both
    phone = await world.phone()
    for _ in range(3):
        phone.new({})
    await phone.push()
    world.judge.holds[phone.person] = {"area:a", "area:b"}
    pulled = await world.pull(phone)
    assert len(pulled.of("doc")) == 3
    phone.set(pulled.of("doc")[0]["doc"], {"note": "x"})
    await phone.push(4)
    assert len((await world.pull(phone, pulled.cursor)).of("patch")) == 1


async def test_a_delta_brings_patches_with_their_clocks(world: World):
    phone = await world.phone()
    thing = phone.new({"note": "a", "long": "x" * 2000})
    await phone.push()
    pulled = await world.pull(phone)
    phone.set(thing, {"note": "b"})
    phone.add(thing, {"text": "hi"}, item_id=(item := world.new_id()))
    phone.act(thing, "begin")
    answer = await phone.push(2)
    delta = await world.pull(phone, pulled.cursor)
    first, second, third = delta.of("patch")
    clock = [json.loads(phone.queue[1])[2], phone.number]
    assert first == {"patch": thing, "seq": answer.verdicts[0].seq, "set": {"note": ["b", *clock]}}
    assert second["add"]["remarks"][item][0]["text"] == "hi"
    assert third["status"] == "working"
    assert delta.of("doc") == []
    held = Held()
    held.apply(pulled.lines)
    held.apply(delta.lines)
    await held.agrees(world, {"site"})


async def test_an_op_that_changed_nothing_still_moves_the_document_s_seq(world: World):
    early, late = await world.phone(), await world.phone()
    thing = early.new({"note": "a"})
    await early.push()
    early.set(thing, {"note": "early"})
    world.now += 1000
    late.set(thing, {"note": "late"})
    await late.push()
    pulled = await world.pull(early)
    await early.push(2)
    (patch,) = (await world.pull(early, pulled.cursor)).of("patch")
    assert set(patch) == {"patch", "seq"}


async def test_many_small_changes_come_as_the_document_they_made(world: World):
    phone = await world.phone()
    thing = phone.new({"note": "a"})
    await phone.push()
    pulled = await world.pull(phone)
    for i in range(50):
        phone.set(thing, {"note": str(i)})
    await phone.push(2)
    delta = await world.pull(phone, pulled.cursor)
    assert (len(delta.of("doc")), delta.of("patch")) == (1, [])


async def test_a_document_that_leaves_the_shapes_is_gone_and_comes_back_whole(world: World):
    phone, reader = await world.phone(), await world.phone()
    world.judge.holds[reader.person] = {"area:a"}
    thing = phone.new({"area": "a"})
    await phone.push()
    held = await Held().sync(world, reader)
    assert thing in held.docs
    phone.act(thing, "move", area="b")
    await phone.push(2)
    await held.sync(world, reader)
    assert held.docs == {}
    phone.set(thing, {"note": "behind your back"})
    phone.act(thing, "move", area="a")
    await phone.push(3)
    await held.sync(world, reader)
    await held.agrees(world, {"area:a"})
    assert thing in held.docs


async def test_a_document_that_moves_between_one_s_shapes_stays(world: World):
    phone, reader = await world.phone(), await world.phone()
    world.judge.holds[reader.person] = {"area:a", "area:b"}
    thing = phone.new({"area": "a"})
    await phone.push()
    held = await Held().sync(world, reader)
    phone.act(thing, "move", area="b")
    await phone.push(2)
    delta = await world.pull(reader, held.cursor)
    assert delta.of("gone") == []
    held.apply(delta.lines)
    await held.agrees(world, {"area:a", "area:b"})


async def test_a_shape_gained_comes_whole_and_a_shape_lost_brings_gone(world: World):
    phone, reader = await world.phone(), await world.phone()
    world.judge.holds[reader.person] = {"area:a"}
    for area in ("a", "b"):
        for _ in range(3):
            phone.new({"area": area})
    await phone.push()
    held = await Held().sync(world, reader)
    await held.agrees(world, {"area:a"})
    world.judge.holds[reader.person] = {"area:a", "area:b"}
    await held.sync(world, reader)
    await held.agrees(world, {"area:a", "area:b"})
    world.judge.holds[reader.person] = {"area:b"}
    await held.sync(world, reader)
    await held.agrees(world, {"area:b"})
    world.judge.holds[reader.person] = set()
    await held.sync(world, reader)
    assert held.docs == {}


async def test_what_left_a_shape_just_before_the_shape_was_lost_is_gone_too(world: World):
    phone, reader = await world.phone(), await world.phone()
    world.judge.holds[reader.person] = {"area:a"}
    thing = phone.new({"area": "a"})
    await phone.push()
    held = await Held().sync(world, reader)
    phone.act(thing, "move", area="b")
    await phone.push(2)
    world.judge.holds[reader.person] = {"area:c"}
    await held.sync(world, reader)
    assert held.docs == {}


async def test_a_person_who_is_not_active_gets_nothing_and_loses_what_they_held(world: World):
    phone = await world.phone()
    phone.new({})
    await phone.push()
    held = await Held().sync(world, phone)
    assert held.docs
    world.judge.holds[phone.person] = set()
    await held.sync(world, phone)
    assert held.docs == {}


class TestPages:
    @pytest.fixture(autouse=True, params=[300, pulling.PAGE_BYTES_MAX])
    def small(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(pulling, "PAGE_BYTES_MAX", request.param)
        monkeypatch.setattr(pulling, "DOCS_IN_PAGE_MAX", 7)
        monkeypatch.setattr(pulling, "CHANGES_IN_PAGE_MAX", 9)
        monkeypatch.setattr(pulling, "VERDICTS_IN_PAGE_MAX", 5)

    async def test_a_pull_that_breaks_at_any_line_goes_on_from_its_last_cursor(self, world: World):
        phone, reader = await world.phone(), await world.phone()
        world.judge.holds[reader.person] = {"area:a", "area:b"}
        keys = [phone.new({"area": "ab"[i % 2]}) for i in range(40)]
        await phone.push()
        whole = await world.pull(reader)
        assert len(whole.of("cursor")) > 5
        for cut in range(1, len(whole.lines), 3):
            held = Held()
            held.apply([line for line in whole.lines[:cut] if "cursor" in line or "reset" in line or "doc" in line])
            await held.sync(world, reader)
            assert set(held.docs) == set(keys)

    async def test_through_moves_only_when_all_has_come(self, world: World):
        phone = await world.phone()
        for _ in range(20):
            phone.new({})
        await phone.push()
        throughs = [line["through"] for line in (await world.pull(phone)).of("cursor")]
        assert throughs[0] == 0
        assert throughs[-1] > 0
        assert sorted(throughs) == throughs

    async def test_changes_while_a_first_pull_is_under_way_are_not_skipped(self, world: World):
        phone, reader = await world.phone(), await world.phone()
        keys = [phone.new({"note": "a"}) for _ in range(30)]
        await phone.push()
        held = Held()
        n = 30
        async for part in world.sync.pull(reader.person, reader.number, None, []):
            held.apply([json.loads(line) for line in part.splitlines()])
            if n < 60:
                for key in (keys[0], keys[-1]):
                    phone.set(key, {"note": str(n)})
                phone.new({"note": "new"})
                await phone.push(n + 1)
                n += 3
        await held.sync(world, reader)
        await held.agrees(world, {"site"})

    async def test_a_long_delta_over_several_shapes_comes_in_pages_without_a_hole(self, world: World):
        phone, reader = await world.phone(), await world.phone()
        world.judge.holds[reader.person] = {"area:a", "area:b", "area:c"}
        keys = [phone.new({"area": "abc"[i % 3]}) for i in range(12)]
        await phone.push()
        held = await Held().sync(world, reader)
        for i in range(60):
            phone.set(keys[i % 12], {"note": str(i)})
            if i % 7 == 0:
                phone.act(keys[(i * 5) % 12], "move", area="abcd"[i % 4])
        await phone.push(13)
        await held.sync(world, reader)
        await held.agrees(world, {"area:a", "area:b", "area:c"})

    async def test_a_delta_that_breaks_at_any_line_goes_on_from_its_last_cursor(self, world: World):
        phone, reader = await world.phone(), await world.phone()
        world.judge.holds[reader.person] = {"area:a", "area:b"}
        keys = [phone.new({"area": "abc"[i % 3]}) for i in range(12)]
        await phone.push()
        before = await world.pull(reader)
        for i in range(40):
            phone.set(keys[i * 5 % 12], {"note": "x" * (i % 9 * 10)})
            if i % 6 == 0:
                phone.act(keys[(i * 5) % 12], "move", area="abcd"[i % 4])
        await phone.push(13)
        whole = await world.pull(reader, before.cursor)
        assert len(whole.of("cursor")) > 3
        for cut in range(1, len(whole.lines), 3):
            held = Held()
            held.apply(before.lines)
            held.apply(whole.lines[:cut])
            await held.sync(world, reader)
            await held.agrees(world, {"area:a", "area:b"})

    async def test_verdicts_come_in_pages_too(self, world: World):
        phone = await world.phone()
        for _ in range(23):
            phone.new({})
        await phone.push()
        held = await Held().sync(world, phone)
        assert len(held.verdicts) == 23


async def test_a_line_that_breaks_after_every_page_brings_everything_in_time_and_no_page_is_long(world: World):
    phone, reader = await world.phone(), await world.phone()
    keys = [phone.new({"note": "x" * (50 + i % 3 * 8_000)}) for i in range(60)]
    await phone.push()
    held = Held()

    async def page(want: list[str]) -> bool:
        async for part in world.sync.pull(reader.person, reader.number, held.cursor, want):
            assert len(part) < pulling.PAGE_BYTES_MAX + 20_000
            lines = [json.loads(line) for line in part.splitlines()]
            held.apply(lines)
            return lines[-1]["more"]
        raise AssertionError

    pages = 1
    while await page([]):
        pages += 1
    assert pages >= 3
    await held.agrees(world, {"site"})
    # Changes, documents that were asked for, and both at once.
    for key in keys:
        phone.set(key, {"note": "y" * 9_000})
    await phone.push(61)
    missing = set(keys)
    for key in keys:
        del held.docs[key], held.seqs[key]
    more = True
    while more or missing:
        more = await page(sorted(missing))
        assert not missing or missing - held.docs.keys() < missing
        missing -= held.docs.keys()
    held.want.clear()
    await held.sync(world, reader)
    await held.agrees(world, {"site"})


class TestWant:
    async def test_a_document_asked_for_comes_whole_if_one_may_hold_it_else_gone(self, world: World):
        phone, reader = await world.phone(), await world.phone()
        world.judge.holds[reader.person] = {"area:a"}
        mine, theirs = phone.new({"area": "a"}), phone.new({"area": "b"})
        await phone.push()
        cursor = (await world.pull(reader)).cursor
        pulled = await world.pull(reader, cursor, [mine, theirs, "thing/none", 'a"b'])
        assert [line["doc"] for line in pulled.of("doc")] == [mine]
        assert [line["gone"] for line in pulled.of("gone")] == [theirs, "thing/none", 'a"b']


class TestVerdicts:
    async def test_a_person_hears_of_their_own_ops_in_this_phone_s_queue_on_every_change(self, world: World):
        phone, other = await world.phone(), await world.phone()
        first = phone.person
        key = f"thing/{world.new_id()}"
        mine = phone.set(key, {"note": "a"})
        await phone.push()
        phone.sign_in(world.new_id())
        phone.new({})
        theirs = op_id(phone.queue[1])
        await phone.push(2)
        pulled = await world.pull(phone, person=first)
        assert [line["verdict"]["op"] for line in pulled.of("verdict")] == [mine]
        assert pulled.of("verdict")[0]["verdict"]["code"] == "op.awaits_document"
        assert [line["verdict"]["op"] for line in (await world.pull(phone)).of("verdict")] == [theirs]
        other.new({}, doc=key)
        await other.push()
        later = await world.pull(phone, pulled.cursor, person=first)
        assert [(line["verdict"]["op"], line["verdict"]["state"], line["verdict"]["n"]) for line in later.of("verdict")] == [
            (mine, "ok", 1)
        ]

    async def test_after_registering_anew_verdicts_follow_the_op_to_its_new_number(self, world: World):
        old, other = await world.phone(), await world.phone()
        key = f"thing/{world.new_id()}"
        old.new({})
        op = old.set(key, {"note": "a"})
        await old.push()
        new = await world.phone(old.person, predecessor=old)
        new.queue = [old.queue[1]]
        await new.push()
        cursor = (await world.pull(new)).cursor
        other.new({}, doc=key)
        await other.push()
        (line,) = (await world.pull(new, cursor)).of("verdict")
        assert (line["verdict"]["op"], line["verdict"]["n"], line["verdict"]["state"]) == (op, 1, "ok")

    async def test_the_author_of_an_anonymous_op_hears_its_verdict_and_nobody_else_does(self, world: World):
        phone = await world.phone()
        phone.new({}, author=phone.anonymous())
        await phone.push()
        assert len((await world.pull(phone)).of("verdict")) == 1
        assert (await world.pull(phone, person=world.new_id())).of("verdict") == []


class TestSealed:
    async def test_the_entitled_read_a_personal_value_and_others_null(self, world: World):
        phone, boss = await world.phone(), await world.phone()
        world.judge.readers.add(boss.person)
        thing = phone.new({"place": phone.seal({"lat": 39.9}), "note": "a"})
        phone.add(thing, {"where": phone.seal("here"), "text": "hi"}, item_id=(item := world.new_id()))
        await phone.push()
        pulls = {p.person: await world.pull(p) for p in (phone, boss)}
        for person, place, where in ((phone.person, None, None), (boss.person, {"lat": 39.9}, "here")):
            (line,) = [line for line in pulls[person].of("doc") if line["doc"] == thing]
            assert line["body"]["fields"]["place"][0] == place
            assert line["body"]["sets"]["remarks"][item][0]["where"] == where
            assert line["body"]["fields"]["note"][0] == "a"
        phone.set(thing, {"place": phone.seal({"lat": 40.1})})
        await phone.push(3)
        for person, place in ((phone, None), (boss, {"lat": 40.1})):
            delta = await world.pull(person, pulls[person.person].cursor)
            lines = [line.get("set") or line["body"]["fields"] for line in delta.of("patch") + delta.of("doc")]
            assert lines[0]["place"][0] == place

    async def test_after_erasure_the_entitled_get_the_document_again_without_the_value(self, world: World):
        phone = await world.phone()
        world.judge.readers.add(phone.person)
        sealed = phone.seal({"lat": 39.9})
        thing = phone.new({"place": sealed})
        await phone.push()
        pulled = await world.pull(phone)
        await world.sync.erase(thing, [sealed["sealed"]], phone.person, "asked for")
        (line,) = (await world.pull(phone, pulled.cursor)).of("doc")
        assert line["body"]["fields"]["place"][0] is None
        assert line["seq"] > next(x["seq"] for x in pulled.of("doc") if x["doc"] == thing)

    async def test_an_anonymous_document_shows_neither_author_nor_device(self, world: World):
        phone, reader = await world.phone(), await world.phone()
        author = phone.anonymous()
        thing = phone.new({"note": "a"}, author=author)
        await phone.push()
        text = b"".join((await world.pull(reader)).parts).decode()
        assert thing in text
        assert str(phone.number) not in text
        assert phone.person not in text
        assert author.sealed not in text


class TestCursors:
    async def test_without_a_cursor_or_with_one_not_ours_all_begins_again(self, world: World):
        phone, other = await world.phone(), await world.phone()
        phone.new({})
        await phone.push()
        good = (await world.pull(phone)).cursor
        assert (await world.pull(phone, good)).head["reset"] is False
        for cursor in (None, "", "x", good[:-4] + "AAAA", "é", (await world.pull(other)).cursor):
            assert (await world.pull(phone, cursor)).head["reset"] is True

    async def test_a_phone_that_stands_before_what_trails_still_tell_begins_again(self, world: World):
        phone = await world.phone()
        phone.new({})
        await phone.push()
        cursor = (await world.pull(phone)).cursor
        async with world.store.write() as tx:
            await tx.run("INSERT INTO meta (name, value) VALUES ('trail_floor', '1000')")
        pulled = await world.pull(phone, cursor)
        assert pulled.head["reset"] is True
        assert len(pulled.of("doc")) == 2

    async def test_when_what_one_may_read_has_changed_all_comes_again_as_it_may_be_read_now(self, world: World):
        phone, reader = await world.phone(), await world.phone()
        thing = phone.new({"place": phone.seal({"lat": 39.9})})
        await phone.push()
        cursor = (await world.pull(reader)).cursor
        for allowed, place in ((True, {"lat": 39.9}), (False, None)):
            (world.judge.readers.add if allowed else world.judge.readers.discard)(reader.person)
            pulled = await world.pull(reader, cursor)
            assert pulled.head["reset"] is True
            (line,) = [line for line in pulled.of("doc") if line["doc"] == thing]
            assert line["body"]["fields"]["place"][0] == place
            cursor = pulled.cursor
            again = await world.pull(reader, cursor)
            assert (again.head["reset"], again.of("doc")) == (False, [])

    async def test_a_cursor_of_the_version_before_goes_on_without_a_reset(self, world: World):
        phone = await world.phone()
        phone.new({})
        await phone.push()
        puller = world.sync._puller
        held = puller._read((await world.pull(phone)).cursor, phone.person, phone.number)
        content = msgspec.json.encode({"shapes": held.shapes, "verdicts": held.verdicts, "through": held.through})
        tag = puller._tag(content, phone.person, phone.number, pulling.PLAIN)
        pulled = await world.pull(phone, base64.urlsafe_b64encode(tag + content).decode())
        assert (pulled.head["reset"], pulled.of("doc")) == (False, [])

    async def test_a_first_pull_of_many_small_areas_is_few_pages_and_each_document_comes_once(self, world: World):
        phone, reader = await world.phone(), await world.phone()
        areas = [world.new_id() for _ in range(250)]
        world.judge.holds[reader.person] = {"site", *(f"area:{area}" for area in areas)}
        things = [phone.new({"area": area}) for area in areas]
        await phone.push()
        pulled = await world.pull(reader)
        came = [line["doc"] for line in pulled.of("doc") if line["doc"].startswith("thing/")]
        assert sorted(came) == sorted(things)
        assert len(pulled.of("cursor")) == 3
        assert (await world.pull(reader, pulled.cursor)).of("doc") == []

    async def test_a_person_of_two_thousand_areas_has_a_cursor_that_is_still_taken(self, world: World):
        phone = await world.phone()
        puller = world.sync._puller
        held = pulling.Cursor({f"area:{uuid.uuid4()}": 3_456_789_012_345_678 for _ in range(2_000)}, 1, 1)
        text = puller._write(held, phone.person, phone.number)
        assert len(text) <= pulling.CURSOR_CHARS_MAX
        assert puller._read(text, phone.person, phone.number) == held


class TestEvents:
    async def test_a_poke_at_the_start_then_on_changes_in_one_s_shapes_and_on_verdicts_and_nothing_else(self, world: World):
        phone, reader = await world.phone(), await world.phone()
        world.judge.holds[reader.person] = {"area:a"}
        listener = world.sync.hub.join(reader.person, reader.number, await world.sync.shapes(reader.person))

        async def stands() -> bool:
            return True

        stream = world.sync.hub.stream(listener, stands)
        assert await anext(stream) == b"event: poke\ndata: {}\n\n"
        phone.new({"area": "b"})
        await phone.push()
        waiting = asyncio.create_task(anext(stream))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        phone.new({"area": "a"})
        seq = (await phone.push(2)).verdicts[0].seq
        assert await asyncio.wait_for(waiting, 5) == f'event: poke\ndata: {{"seq":{seq}}}\n\n'.encode()
        key = f"thing/{world.new_id()}"
        reader.set(key, {"note": "a"})
        await reader.push()
        waiting = asyncio.create_task(anext(stream))
        await asyncio.sleep(0.05)
        phone.new({"area": "z"}, doc=key)
        await phone.push(3)
        assert b"poke" in await asyncio.wait_for(waiting, 5)
        await stream.aclose()
        assert len(world.sync.hub) == 0

    async def test_an_alert_comes_at_once_with_its_headline(self):
        hub = Hub()
        listener = hub.join("p", 1, ["area:a"])

        async def stands() -> bool:
            return True

        stream = hub.stream(listener, stands)
        await anext(stream)
        hub.alert({"area:a"}, {"seq": 7})
        assert await anext(stream) == b'event: alert\ndata: {"seq":7}\n\n'
        await stream.aclose()

    async def test_a_comment_comes_while_nothing_happens_and_an_ended_session_is_cut_off(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("backend.sync.events.COMMENT_SECONDS", 0.01)
        monkeypatch.setattr("backend.sync.events.CHECKED_SECONDS", 0.03)
        hub = Hub()
        asked = []

        async def stands() -> bool:
            asked.append(1)
            return len(asked) < 2

        parts = [part async for part in hub.stream(hub.join("p", 1, []), stands)]
        assert parts[0].startswith(b"event: poke")
        assert set(parts[1:]) == {b": \n\n"}

    async def test_when_the_server_stops_the_streams_end(self):
        hub = Hub()

        async def stands() -> bool:
            return True

        async def listen() -> int:
            return len([part async for part in hub.stream(hub.join("p", 1, []), stands)])

        task = asyncio.create_task(listen())
        await asyncio.sleep(0.02)
        hub.stop()
        assert await asyncio.wait_for(task, 5) == 1

    async def test_a_pull_tells_the_hub_which_shapes_its_person_holds_now(self, world: World):
        reader = await world.phone()
        listener = world.sync.hub.join(reader.person, reader.number, ["old"])
        await world.pull(reader)
        assert listener.shapes == {"site"}


async def test_phones_that_sync_in_any_order_end_with_the_same_documents(world: World):
    import random

    chance = random.Random(7)
    phones = [await world.phone() for _ in range(4)]
    shapes = [{"area:a"}, {"area:a", "area:b"}, {"area:c", "site"}, {"area:a", "area:b", "area:c"}]
    held = [Held() for _ in phones]
    for phone, mine in zip(phones, shapes, strict=True):
        world.judge.holds[phone.person] = mine
    keys: list[str] = []
    for _ in range(300):
        i = chance.randrange(4)
        phone = phones[i]
        match chance.randrange(7):
            case 0:
                keys.append(phone.new({"area": chance.choice("abc")}))
            case 1 if keys:
                phone.set(chance.choice(keys), {chance.choice(["note", "amount"]): chance.random()})
            case 2 if keys:
                phone.add(chance.choice(keys), {"text": "x"})
            case 3 if keys:
                phone.act(chance.choice(keys), chance.choice(["begin", "halt", "finish"]), base=chance.randrange(1000))
            case 4 if keys:
                phone.act(chance.choice(keys), "move", area=chance.choice("abcd"))
            case 5:
                await phone.push_new()
            case 6:
                await held[i].sync(world, phone)
        world.now += chance.randrange(3)
    for phone in phones:
        await phone.push_new()
    for phone, mine, holds in zip(phones, shapes, held, strict=True):
        await holds.sync(world, phone)
        await holds.agrees(world, mine)
    assert await world.rows("SELECT * FROM parked") == []
