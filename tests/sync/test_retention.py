"""What time takes away: exact places, and how far back a phone may stand."""

import asyncio
import json

import pytest
from world import Phone, World

from backend.audit.verify import verify
from backend.flow.kind import compile_kind
from backend.operate import places
from backend.operate.keeper import Keeper
from backend.sync import trail
from backend.sync.pull import CHANGES_IN_PAGE_MAX
from backend.sync.rebuild import differences, rebuild

DAY = 86_400_000
THING = {
    "kind": "thing",
    "version": 1,
    "title": {"zh": "物", "en": "Thing"},
    "states": {"open": {"start": True, "title": {"zh": "开", "en": "Open"}}},
    "fields": {"place": {"type": "place", "personal": True}, "note": {"type": "text", "personal": True}},
    "sets": {"remarks": {"title": {"zh": "话", "en": "Remarks"}, "fields": {"where": {"type": "place", "personal": True}}}},
    "keep": {"years": 3, "places_days": 30},
}
EXACT = {"lat": 39.91234567, "lon": 116.39876543, "accuracy_m": 12, "source": "tag", "tag": "7KQ2M9XA", "phone_at": 5, "at": 6}
ROUGH = {"lat": 39.91, "lon": 116.4, "accuracy_m": 1000, "rounded": True, "source": "tag", "at": 6}


def keeper_of(world: World) -> Keeper:
    return Keeper(world.sync, Kinds(), lambda: world.now, cold=world.folder / "cold", cold_years=3)


async def rounded(world: World) -> tuple[Phone, str, dict[str, str]]:
    """A phone that may read places, its thing whose place was rounded, and what stood sealed in it."""
    phone = await world.phone()
    world.judge.readers.add(phone.person)
    sealed = phone.seal(EXACT)
    thing = phone.new({"place": sealed})
    await phone.push()
    world.now += 31 * DAY
    await places.round_old(world.sync, Kinds(), world.now)
    return phone, thing, sealed


class Kinds:
    """What a judge knows of kinds: the one."""

    def __init__(self, days: float = 30) -> None:
        self.found = [compile_kind({**THING, "keep": {"places_days": days}})]

    def kinds(self):
        return self.found


async def place(world: World, phone: Phone, thing: str, cursor: str | None = None):
    """What this phone is told of the thing's place, and the cursor."""
    pulled = await world.pull(phone, cursor)
    found = [line["body"]["fields"]["place"][0] for line in pulled.of("doc") if line["doc"] == thing]
    return (found[-1] if found else "nothing"), pulled.cursor


class TestPlaces:
    async def test_an_old_place_is_rounded_for_all_readers_and_its_exact_value_is_nowhere(self, world: World):
        phone, nobody = await world.phone(), await world.phone()
        world.judge.readers.add(phone.person)
        item = world.new_id()
        thing = phone.new({"place": phone.seal(EXACT), "note": phone.seal("stays")})
        phone.add(thing, {"where": phone.seal(EXACT)}, item_id=item)
        await phone.push()
        world.now += 31 * DAY
        young = phone.new({"place": phone.seal(EXACT)})
        phone.sign_in(phone.person)
        await phone.push(3)
        assert (await place(world, phone, thing))[0] == EXACT
        held = (await world.pull(phone)).cursor
        assert await places.round_old(world.sync, Kinds(), world.now, dry=True) == 2
        assert await places.round_old(world.sync, Kinds(), world.now) == 2
        found, _ = await place(world, phone, thing, held)
        assert found == ROUGH
        assert (await place(world, nobody, thing))[0] is None
        assert (await place(world, phone, young))[0] == EXACT
        (line,) = [line for line in (await world.pull(phone, held)).of("doc") if line["doc"] == thing]
        assert line["body"]["sets"]["remarks"][item][0]["where"] == ROUGH
        texts = [row["value"] for row in await world.rows("SELECT value FROM sealed WHERE value IS NOT NULL")]
        assert '"stays"' in texts
        assert sorted(text for text in texts if "39.9123" in text) == [json.dumps(EXACT)]
        ledger = await world.rows("SELECT params FROM ledger WHERE what = 'erasure'")
        assert all("39.9" not in row["params"] and "30" in row["params"] for row in ledger)
        assert await places.round_old(world.sync, Kinds(), world.now) == 0
        report = await verify(world.store, world.keys)
        assert (report.erased, report.rounded) == (2, 2)
        assert "2 rounded" in report.text()

    async def test_where_a_kind_keeps_places_longer_they_stay(self, world: World):
        phone = await world.phone()
        world.judge.readers.add(phone.person)
        thing = phone.new({"place": phone.seal(EXACT)})
        await phone.push()
        world.now += 100 * DAY
        assert await places.round_old(world.sync, Kinds(1_000), world.now) == 0
        assert (await place(world, phone, thing))[0] == EXACT

    async def test_a_place_that_two_documents_have_is_rounded_in_both_to_the_same(self, world: World):
        phone = await world.phone()
        world.judge.readers.add(phone.person)
        sealed = phone.seal(EXACT)
        both = [phone.new({"place": sealed}) for _ in range(2)]
        await phone.push()
        held = (await world.pull(phone)).cursor
        world.now += 31 * DAY
        await places.round_old(world.sync, Kinds(), world.now)
        lines = {line["doc"]: line["body"]["fields"]["place"][0] for line in (await world.pull(phone, held)).of("doc")}
        assert lines == dict.fromkeys(both, ROUGH)
        assert len(await world.rows("SELECT hash FROM sealed")) == 2

    async def test_what_was_refused_is_rounded_too_and_what_never_came_stays_unknown(self, world: World):
        phone = await world.phone()
        phone.new({"place": phone.seal(EXACT), "refuse": True})
        never = phone.seal({**EXACT, "lat": 1})
        phone.sealed.pop(never["sealed"])
        phone.new({"place": never})
        await phone.push()
        world.now += 31 * DAY
        assert await places.round_old(world.sync, Kinds(), world.now) == 1
        (row,) = await world.rows("SELECT value FROM sealed WHERE value IS NOT NULL")
        assert json.loads(row["value"]) == ROUGH

    async def test_a_rounded_place_can_be_erased_and_then_nothing_is_left_of_it(self, world: World):
        phone, thing, sealed = await rounded(world)
        await world.sync.erase(thing, [sealed["sealed"]], phone.person, "asked for")
        assert (await place(world, phone, thing))[0] is None
        assert await world.rows("SELECT hash FROM sealed WHERE value IS NOT NULL OR salt IS NOT NULL") == []
        assert (await verify(world.store, world.keys)).ok

    async def test_a_value_sent_again_after_it_was_rounded_stays_rounded(self, world: World):
        phone, thing, sealed = await rounded(world)
        again = await world.phone()
        again.sealed = phone.sealed
        again.new({"place": sealed})
        again.sign_in(again.person)
        await again.push()
        assert (await place(world, phone, thing))[0] == ROUGH

    @pytest.mark.parametrize("change", ["value = '{\"lat\": 9}'", "rounded = NULL", "gone"])
    async def test_a_rough_place_that_was_changed_or_taken_away_is_found(self, world: World, change: str):
        phone = await world.phone()
        phone.new({"place": phone.seal(EXACT)})
        await phone.push()
        world.now += 31 * DAY
        await places.round_old(world.sync, Kinds(), world.now)
        (old,) = await world.rows("SELECT * FROM sealed WHERE rounded IS NOT NULL")
        (new,) = await world.rows("SELECT * FROM sealed WHERE hash = $1", old["rounded"])
        which = old["hash"] if change.startswith("rounded") else new["hash"]
        async with world.store.write() as tx:
            sql = "DELETE FROM sealed" if change == "gone" else f"UPDATE sealed SET {change}"
            await tx.run(f"{sql} WHERE hash = $1", which)
        report = await verify(world.store, world.keys)
        assert [problem.what for problem in report.problems] == ["sealed" if change.startswith("value") else "rounded"]
        async with world.store.write() as tx:
            await tx.run("DELETE FROM sealed")
            for row in (old, new):
                await tx.run("INSERT INTO sealed (hash, salt, value, erased, rounded) VALUES ($1, $2, $3, $4, $5)", *row.values())

    async def test_a_backup_from_before_places_were_rounded_verifies_as_it_is(self, world: World):
        phone = await world.phone()
        phone.new({"place": phone.seal(EXACT)})
        await phone.push()
        async with world.store.write() as tx:
            await tx.run("ALTER TABLE sealed DROP COLUMN rounded")
        assert (await verify(world.store, world.keys)).ok

    async def test_a_walk_that_was_cut_goes_on_where_it_was_and_says_nothing_twice(self, world: World, monkeypatch: pytest.MonkeyPatch):
        phone = await world.phone()
        for _ in range(7):
            phone.new({"place": phone.seal(EXACT)})
        await phone.push()
        world.now += 31 * DAY
        monkeypatch.setattr(places, "DOCUMENTS_AT_ONCE_MAX", 2)
        monkeypatch.setattr(places, "ENTRIES_IN_PAGE_MAX", 3)
        plain, left = world.sync.do, [2]

        async def cut(work):
            if not left[0]:
                raise ConnectionError
            left[0] -= 1
            return await plain(work)

        monkeypatch.setattr(world.sync, "do", cut)
        with pytest.raises(ConnectionError):
            await places.round_old(world.sync, Kinds(), world.now)
        monkeypatch.setattr(world.sync, "do", plain)
        done = len(await world.rows("SELECT seq FROM ledger WHERE what = 'erasure'"))
        assert 0 < done < 7
        assert await places.round_old(world.sync, Kinds(), world.now) == 7 - done
        assert len(await world.rows("SELECT seq FROM ledger WHERE what = 'erasure'")) == 7


class TestTrails:
    async def test_a_phone_that_was_away_too_long_begins_from_a_reset_and_one_within_does_not(self, world: World):
        away, near, busy = await world.phone(), await world.phone(), await world.phone()
        held = {}
        thing = busy.new({"note": "a"})
        await busy.push()
        held[away] = (await world.pull(away)).cursor
        world.now += 2 * DAY
        busy.set(thing, {"note": "b"})
        await busy.push(2)
        world.now += 2 * DAY
        held[near] = (await world.pull(near)).cursor
        world.now += 89 * DAY
        busy.sign_in(busy.person)
        busy.set(thing, {"note": "c"})
        await busy.push(3)
        counted = await trail.prune(world.store, world.now, dry=True)
        assert await trail.prune(world.store, world.now) == counted > 0
        assert await trail.prune(world.store, world.now) == 0
        for phone, reset in ((away, True), (near, False)):
            pulled = await world.pull(phone, held[phone])
            assert pulled.head["reset"] is reset
            told = [line["body"]["fields"] if "body" in line else line["set"] for line in pulled.of("doc") + pulled.of("patch")]
            assert [fields["note"][0] for fields in told if "note" in fields][-1] == "c"

    async def test_what_the_phone_had_in_its_queue_goes_up_after_the_reset(self, world: World):
        away = await world.phone()
        thing = away.new({"note": "a"})
        await away.push()
        held = (await world.pull(away)).cursor
        away.set(thing, {"note": "while away"})
        busy = await world.phone()
        busy.new({})
        await busy.push()
        world.now += 95 * DAY
        busy.sign_in(busy.person)
        busy.new({})
        await busy.push(2)
        await trail.prune(world.store, world.now)
        answer = await away.push_new()
        assert (answer.have, answer.verdicts[-1].state) == (2, "ok")
        pulled = await world.pull(away, held)
        assert pulled.head["reset"] is True
        (line,) = [line for line in pulled.of("doc") if line["doc"] == thing]
        assert line["body"]["fields"]["note"][0] == "while away"
        assert [line["verdict"]["n"] for line in pulled.of("verdict")] == [1, 2]

    async def test_a_pull_under_way_while_its_trail_goes_ends_and_the_next_begins_anew(self, world: World):
        reader, busy = await world.phone(), await world.phone()
        thing = busy.new({})
        await busy.push()
        held = (await world.pull(reader)).cursor
        for _ in range(CHANGES_IN_PAGE_MAX + 10):
            busy.set(thing, {"note": "x"})
        for first in range(2, len(busy.queue), 500):
            await busy.push(first, first + 499)
        world.now += 95 * DAY
        busy.sign_in(busy.person)
        busy.set(thing, {"note": "last"})
        await busy.push(len(busy.queue))
        parts = world.sync.pull(reader.person, reader.number, held, ())
        page = [json.loads(line) for line in (await anext(parts)).splitlines()]
        assert page[-1]["more"] is True
        await trail.prune(world.store, world.now)
        with pytest.raises(StopAsyncIteration):
            await anext(parts)
        assert (await world.pull(reader, page[-1]["cursor"])).head["reset"] is True

    async def test_what_is_derived_again_has_the_same_floor(self, world: World):
        phone = await world.phone()
        thing = phone.new({})
        await phone.push()
        world.now += 95 * DAY
        phone.sign_in(phone.person)
        phone.set(thing, {"note": "x"})
        await phone.push(2)
        await trail.prune(world.store, world.now)
        before = await world.rows("SELECT * FROM trail ORDER BY shape, seq")
        assert await differences(world.store, world.judge) == []
        await rebuild(world.store, world.judge)
        assert await world.rows("SELECT * FROM trail ORDER BY shape, seq") == before


class TestKeeper:
    async def test_a_day_s_run_is_done_once_however_many_servers_look(self, world: World):
        phone = await world.phone()
        phone.new({"place": phone.seal(EXACT)})
        await phone.push()
        world.now += 31 * DAY
        servers = [keeper_of(world) for _ in range(4)]
        runs = [run for run in await asyncio.gather(*(server.keep_if_due() for server in servers)) if run is not None]
        assert [run.places for run in runs] == [1]
        assert [await server.keep_if_due() for server in servers] == [None] * 4
        world.now += DAY
        assert await servers[2].keep_if_due() is not None

    async def test_a_claim_that_a_crash_left_behind_ends_by_itself(self, world: World, monkeypatch: pytest.MonkeyPatch):
        async def crash(*_, **__):
            raise ConnectionError

        with monkeypatch.context() as broken:
            broken.setattr(trail, "prune", crash)
            with pytest.raises(ConnectionError):
                await keeper_of(world).keep()
        other = keeper_of(world)
        assert await other.keep() is None
        world.now += 3_600_001
        assert await other.keep() is not None

    async def test_what_is_due_is_told_before_and_is_what_goes(self, world: World):
        phone = await world.phone()
        for _ in range(3):
            phone.new({"place": phone.seal(EXACT)})
        await phone.push()
        world.now += 95 * DAY
        phone.sign_in(phone.person)
        phone.new({})
        await phone.push(4)
        async with world.store.write() as tx:
            sql = "INSERT INTO session (name, person, device, began_at, proven_at, ends_at) VALUES ($1, 'p', 1, 0, 0, $2)"
            await tx.run(sql, "old", world.now - 31 * DAY)
            await tx.run(sql, "new", world.now)
            sql = "INSERT INTO import_job (id, what, person, state, begun_at, ended_at) VALUES ($1, 'x', 'p', 'done', 0, $2)"
            await tx.run(sql, "old", world.now - 366 * DAY)
            await tx.run(sql, "new", world.now - 364 * DAY)
        keeper = keeper_of(world)
        due = await keeper.due()
        assert (due.places, due.sessions, due.imports) == (3, 1, 1)
        assert due.trails >= 3
        assert await keeper.due() == due
        kept = await keeper.keep()
        assert kept == due
        after = await keeper.due()
        assert (after.places, after.trails, after.sessions, after.imports) == (0, 0, 0, 0)
        assert [row["name"] for row in await world.rows("SELECT name FROM session")] == ["new"]

    async def test_pushes_go_on_while_it_runs(self, world: World):
        phone = await world.phone()
        for _ in range(120):
            phone.new({"place": phone.seal(EXACT)})
        await phone.push()
        world.now += 31 * DAY
        busy = await world.phone()
        run = asyncio.create_task(keeper_of(world).keep())
        states = []
        while not run.done():
            busy.new({})
            states += [verdict.state for verdict in (await busy.push_new()).verdicts]
        assert (await run).places == 120
        assert set(states) == {"ok"}
        assert len(states) > 2
