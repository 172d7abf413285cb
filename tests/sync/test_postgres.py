"""PostgreSQL: several servers on one database, nothing skipped, nothing doubled when it goes away."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import pytest_asyncio
from test_pull import Held
from test_store import tables
from world import Phone, World, kind_document

from backend.audit.verify import verify
from backend.kernel.errors import Refusal
from backend.store import DatabaseAway, DatabaseError, PostgresStore, SqliteStore, TryAgain, migrate, open_store
from backend.store.migrate import FOLDER, Schema
from backend.store.postgres import PostgresTx
from backend.sync.op import op_id
from backend.sync.rebuild import differences, rebuild


@pytest.fixture
def store_kind() -> str:
    return "postgres"


@pytest_asyncio.fixture
async def store(database: str) -> AsyncIterator[PostgresStore]:
    store = PostgresStore(f"{database}&pool_size=3", busy_ms=200)
    async with store.write() as tx:
        await Schema(tx).run("CREATE TABLE fruit (name TEXT PRIMARY KEY, weight BIGINT NOT NULL)")
    yield store
    await store.close()


async def cut(world_or_store: Any) -> None:
    """End every connection but our own to this database, as a restart does."""
    store = getattr(world_or_store, "store", world_or_store)
    connection = await asyncpg.connect(store.address)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()


async def sound(world: World) -> None:
    report = await verify(world.store, world.keys)
    assert report.ok, report.text()
    assert await differences(world.store, world.judge) == []


# Sequences in commit order.


@asynccontextmanager
async def servers(folder: Path, url: str, count: int) -> AsyncIterator[list[World]]:
    """Several servers on one database, with the same keys."""
    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(World(folder, url=url)) for _ in range(count)]
        for i, world in enumerate(held):
            world.random = itertools.count((i + 1) * 1_000_000)
        yield held


async def test_while_one_transaction_is_open_and_others_commit_a_pull_in_between_skips_nothing(tmp_path: Path, database: str):
    async with servers(tmp_path, database, 3) as (slow, fast, reader):
        phone, other, watching = await slow.phone(), await fast.phone(), await reader.phone()
        held = await Held().sync(reader, watching)
        phone.new({"note": "before"})
        await phone.push()
        written, go_on = asyncio.Event(), asyncio.Event()

        async def write_slowly() -> None:
            async with slow.store.write() as tx:
                await slow.sync.say(kind_document("slow"), tx=tx)
                written.set()
                await go_on.wait()

        task = asyncio.create_task(write_slowly())
        await written.wait()
        # It has its sequences, and has not committed. Others come now.
        for n in range(3):
            other.new({"note": f"fast {n}"})
        pushing = asyncio.create_task(other.push())
        in_between = []
        for _ in range(5):
            await asyncio.sleep(0.05)
            await held.sync(reader, watching)
            in_between.append(len(held.docs))
        go_on.set()
        await task
        await pushing
        await held.sync(reader, watching)
        rows = await reader.rows("SELECT key, seq FROM document")
        assert held.seqs == {row["key"]: row["seq"] for row in rows}
        assert in_between == [1] * 5, "nothing is seen of what is not committed, nor of what would come after it"
        await sound(reader)


async def test_three_servers_write_at_once_and_a_phone_that_pulls_all_the_while_misses_nothing(tmp_path: Path, database: str):
    async with servers(tmp_path, database, 3) as worlds:
        phones = [await world.phone() for world in worlds for _ in range(2)]
        reader = worlds[0]
        watching = await reader.phone()
        held, over = Held(), asyncio.Event()

        async def write(phone: Phone, rounds: int = 12) -> None:
            docs: list[str] = []
            for n in range(rounds):
                docs.append(phone.new({"note": str(n)}))
                phone.set(docs[n // 2], {"amount": n})
                phone.add(docs[0], {"text": str(n)})
                await phone.push_new()

        async def watch() -> int:
            pulls = 0
            while not over.is_set():
                before = held.through
                await held.sync(reader, watching)
                assert held.through >= before
                pulls += 1
            return pulls

        watcher = asyncio.create_task(watch())
        await asyncio.gather(*map(write, phones))
        over.set()
        assert await watcher > 3
        await held.sync(reader, watching)
        rows = await reader.rows("SELECT key, seq FROM document")
        assert held.seqs == {row["key"]: row["seq"] for row in rows}
        for key in held.docs:
            assert held.docs[key] == await reader.body(key)
        seqs = [row["seq"] for row in await reader.rows("SELECT seq FROM ledger ORDER BY seq")]
        assert seqs == list(range(1, len(seqs) + 1))
        await sound(reader)


async def test_without_the_lock_the_second_writer_fails_instead_of_being_skipped(tmp_path: Path, database: str):
    async with servers(tmp_path, database, 2) as (one, two):
        phones = [await one.phone(), await two.phone()]
        for world in (one, two):
            world.store._begin_write = "BEGIN; SET LOCAL lock_timeout = 1000"
        for phone in phones:
            phone.new({})
        answers = await asyncio.gather(*(phone.push() for phone in phones), return_exceptions=True)
        for phone, answer in zip(phones, answers, strict=True):
            if isinstance(answer, BaseException):
                assert isinstance(answer, DatabaseError | Refusal)
                await phone.push()
        await sound(one)


# Several workers.


async def until(condition: Any, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_listener_at_one_server_is_poked_by_what_another_takes(tmp_path: Path, database: str):
    async with servers(tmp_path, database, 2) as (one, two):
        phone, reader = await one.phone(), await two.phone()
        listening = two.sync.hub.join(reader.person, reader.number, ["site"])
        await asyncio.sleep(0.2)
        phone.new({"note": "hear"})
        answer = await phone.push()
        await until(listening.woken.is_set)
        assert listening.seq == answer.verdicts[-1].seq
        # After its line was cut it listens again, and hears what it missed.
        listening.woken.clear()
        await cut(two)
        phone.new({"note": "and hear"})
        with contextlib.suppress(Refusal):
            await phone.push_new()
        await phone.push_new()
        await until(listening.woken.is_set)
        assert listening.seq > answer.verdicts[-1].seq


async def test_a_notice_at_the_last_moment_keeps_no_server_from_stopping(tmp_path: Path, database: str):
    async with servers(tmp_path, database, 1) as (one,):
        follower = one.sync.follower
        await asyncio.sleep(0.3)
        follower._woken.set()
        async with asyncio.timeout(5):
            await follower.stop()


async def test_a_server_forgets_what_another_has_changed_before_it_judges(tmp_path: Path, database: str):
    async with servers(tmp_path, database, 2) as (one, two):
        await two.sync.follower.stop()  # no notice arrives
        phone, other = await one.phone(), await two.phone()
        thing = phone.new({"note": "a"})
        await phone.push()
        two.judge.observed.clear()
        two.now += 1_000
        other.set(thing, {"note": "b"})
        await other.push()
        assert thing in two.judge.observed
        assert (await one.body(thing))["fields"]["note"][0] == "b"
        await sound(one)


async def test_servers_that_start_at_once_are_one_plant_and_its_next_start_is_no_restore(tmp_path: Path, database: str):
    async with World(tmp_path, url=database) as first:
        epoch = first.sync.epoch
    for _ in range(3):
        worlds = [World(tmp_path, url=database) for _ in range(4)]
        await asyncio.gather(*(world.__aenter__() for world in worlds))
        assert {world.sync.epoch for world in worlds} == {epoch}
        assert len(await worlds[0].rows("SELECT seq FROM ledger WHERE what = 'epoch'")) == 1
        for world in worlds:
            await world.__aexit__()


async def test_many_that_start_at_once_migrate_once(database: str):
    stores = [open_store(database) for _ in range(4)]
    ran = await asyncio.gather(*(migrate(store) for store in stores))
    assert sorted(len(names) for names in ran)[:3] == [0, 0, 0]
    assert max(ran, key=len)[0] == "0001_ledger"
    for one in stores:
        await one.close()


# When it goes away.


class Cutter:
    """Cuts the writer's connection at its nth statement: before it is sent, or after it is done and before its answer is heard."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = 0
        self.after = False
        self.count = 0
        original = PostgresTx._call

        async def call(tx: PostgresTx, work: Any, *args: Any, **kwargs: Any) -> Any:
            if not tx.writes:
                return await original(tx, work, *args, **kwargs)
            self.count += 1
            now = self.count == self.at
            if now and not self.after:
                await self.cut(tx)
            result = await original(tx, work, *args, **kwargs)
            if now and self.after:
                await self.cut(tx)
                raise DatabaseAway("the answer was lost")
            return result

        monkeypatch.setattr(PostgresTx, "_call", call)

    @staticmethod
    async def cut(tx: PostgresTx) -> None:
        pid = tx.connection.get_server_pid()
        other = await asyncpg.connect(tx.store.address)
        await other.execute("SELECT pg_terminate_backend($1, 5000)", pid)
        await other.close()


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
async def test_a_connection_cut_at_any_statement_of_a_push_loses_nothing_and_doubles_nothing(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch, after: bool
):
    async with World(tmp_path, url=database) as world:
        await world.sync.say(kind_document("parked"))
        cutter = Cutter(monkeypatch)
        for nth in itertools.count(1):
            phone, other = await world.phone(), await world.phone()
            thing = phone.new({"note": "a", "place": phone.seal({"lat": 1.5})})
            phone.set(thing, {"note": "b"})
            phone.new({"spawn": True})
            phone.act(f"thing/{world.new_id()}", "begin")
            other.act(thing, "halt")
            cutter.count, cutter.at, cutter.after = 0, nth, after
            answer: Any = None
            with contextlib.suppress(DatabaseAway):
                answer = await phone.push()
            statements, cutter.at = cutter.count, 0
            if answer is None:
                answer = await phone.push()
            await other.push()
            assert [v.state for v in answer.verdicts] == ["ok", "ok", "ok", "parked"], nth
            if statements < nth:
                break
        assert nth > 15
        rows = await world.rows("SELECT op, COUNT(*) AS n FROM ledger WHERE what = 'op' GROUP BY op HAVING COUNT(*) > 1")
        assert rows == []
        await sound(world)


async def test_a_database_that_restarts_is_there_again_for_the_next_push_pull_and_piccolo(tmp_path: Path, database: str):
    async with World(tmp_path, url=database) as world:
        phone = await world.phone()
        phone.new({})
        await phone.push()
        await asyncio.gather(*(world.pull(phone) for _ in range(4)))
        await cut(world)
        phone.new({})
        assert [v.state for v in (await phone.push_new()).verdicts] == ["ok"]
        assert len((await world.pull(phone)).of("doc")) == 2


async def test_a_server_that_cannot_be_reached_says_come_again(tmp_path: Path):
    store = open_store(f"postgres://nobody@/none?host={tmp_path}")
    for scope in (store.read, store.write):
        with pytest.raises(Refusal) as refusal:
            async with scope():
                pass
        assert (refusal.value.code, refusal.value.headers) == ("http.unavailable", {"Retry-After": "1"})
    await store.close()


async def test_work_that_met_a_deadlock_is_done_again_and_once(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch):
    async with World(tmp_path, url=database) as world:
        phone = await world.phone()
        phone.last = 2**50  # a clock far ahead: the op is marked, and marked once
        phone.new({"note": "once"})
        original, met = PostgresTx.many, []

        async def many(tx: PostgresTx, sql: str, rows: Any) -> None:
            if "INSERT INTO document" in sql and len(met) < 2:
                met.append(1)
                raise TryAgain("40P01")
            await original(tx, sql, rows)

        monkeypatch.setattr(PostgresTx, "many", many)
        assert [v.state for v in (await phone.push()).verdicts] == ["ok"]
        rows = await world.rows("SELECT op, mark FROM ledger WHERE what = 'op' AND queue = $1", phone.number)
        assert rows == [{"op": op_id(phone.queue[0]), "mark": "clock_suspect"}]
        assert len(met) == 2
        await sound(world)


async def test_a_real_deadlock_and_a_real_conflict_are_told_as_such(store: PostgresStore):
    connection = await store.connect()
    async with store.write() as tx:
        await tx.run("INSERT INTO fruit VALUES ('fig', 1)")
    with pytest.raises(TryAgain):
        async with store.write() as tx:
            await tx.run("SET LOCAL lock_timeout = 0")
            await tx.run("SET LOCAL deadlock_timeout = '20ms'")
            await connection.execute("BEGIN; INSERT INTO fruit VALUES ('kaki', 1)")
            await tx.run("UPDATE fruit SET weight = 2 WHERE name = 'fig'")
            other = asyncio.create_task(connection.execute("UPDATE fruit SET weight = 3 WHERE name = 'fig'"))
            await asyncio.sleep(0.2)
            await tx.run("INSERT INTO fruit VALUES ('kaki', 2)")
    await other
    await connection.close()


# What else differs.


async def test_a_write_answers_only_when_its_commit_is_on_disk_whatever_the_database_is_set_to(database: str):
    connection = await asyncpg.connect(database)
    name = await connection.fetchval("SELECT current_database()")
    for asked, due in (("off", "on"), ("remote_apply", "remote_apply")):
        await connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = {asked}')
        store = open_store(database)
        async with store.write() as tx:
            assert (await tx.one("SHOW synchronous_commit"))[0] == due
        await store.close()
    await connection.close()


async def test_many_rows_are_one_statement_and_one_that_is_no_insert_still_runs(store: PostgresStore):
    async with store.write() as tx:
        sql = "INSERT INTO fruit (name, weight) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET weight = excluded.weight"
        await tx.many(sql, ((f"f{i}", i) for i in range(12_000)))
        await tx.many(sql, [("f1", 5), ("f2", 6)])
        assert "unnest($1::text[], $2::int8[]) ON CONFLICT" in store._forms[sql]
        await tx.many("DELETE FROM fruit WHERE name = $1 AND weight = $2", [("f1", 5), ("f2", 5)])
        row = await tx.one("SELECT COUNT(*) AS n, CAST(SUM(weight) AS BIGINT) AS w FROM fruit")
        assert tuple(row) == (11_999, sum(range(12_000)) + 4 + 4 - 5)


async def test_behind_a_pooler_no_statement_is_kept(database: str):
    store = PostgresStore(f"{database}&statement_cache_size=0")
    async with store.write() as tx:
        await Schema(tx).run("CREATE TABLE fruit (name TEXT PRIMARY KEY, weight BIGINT NOT NULL)")
        await tx.many("INSERT INTO fruit (name, weight) VALUES ($1, $2)", [("fig", 1), ("kaki", 2)])
    async with store.read() as tx:
        assert len(await tx.all("SELECT * FROM fruit WHERE weight > $1", 0)) == 2
        assert await tx.all("SELECT name FROM pg_prepared_statements") == []
        locks = await tx.all("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'")
        assert locks == []
    await store.close()


@pytest.mark.parametrize("wrong", ["pool_size=1", "pool_size=x", "statement_cache_size=-1"])
def test_an_option_out_of_its_range_is_told_at_once(wrong: str):
    with pytest.raises(ValueError, match=wrong.partition("=")[0]):
        open_store(f"postgres://x/y?{wrong}")


async def test_a_text_with_the_one_character_that_it_cannot_hold_is_malformed_and_no_fault_of_ours(store: PostgresStore):
    with pytest.raises(Refusal) as refusal:
        async with store.write() as tx:
            await tx.run("INSERT INTO fruit VALUES ($1, 1)", "a\0b")
    assert refusal.value.code == "http.malformed"


async def test_the_ledger_never_changes_and_a_change_past_that_is_found(tmp_path: Path, database: str):
    async with World(tmp_path, url=database) as world:
        phone = await world.phone()
        for n in range(5):
            phone.new({"note": str(n)})
        await phone.push()
        for statement in ("UPDATE ledger SET at = at + 1 WHERE seq = 3", "DELETE FROM ledger WHERE seq = 3", "TRUNCATE ledger"):
            with pytest.raises(DatabaseError, match="never changes"):
                async with world.store.write() as tx:
                    await tx.run(statement)
        await sound(world)
        raw = await asyncpg.connect(world.store.address)
        await raw.execute("ALTER TABLE ledger DISABLE TRIGGER USER")
        for change in (
            "UPDATE ledger SET at = at + 1 WHERE seq = 3",
            "UPDATE ledger SET patch = patch || '\\x20' WHERE seq = 4",
            "DELETE FROM ledger WHERE seq = 3",
            "DELETE FROM ledger WHERE seq >= 5",
            "UPDATE ledger SET seq = 1000 WHERE seq = 5",
        ):
            await raw.execute(f"CREATE TABLE kept AS SELECT * FROM ledger; {change}")
            assert not (await verify(world.store, world.keys)).ok, change
            await raw.execute("DELETE FROM ledger; INSERT INTO ledger SELECT * FROM kept; DROP TABLE kept")
        await raw.close()
        await sound(world)


async def test_what_is_derived_is_rebuilt(tmp_path: Path, database: str):
    async with World(tmp_path, url=database) as world:
        phone = await world.phone()
        thing = phone.new({"note": "a"})
        phone.act(thing, "move", area="b")
        phone.act(f"thing/{world.new_id()}", "begin")
        await phone.push()
        async with world.store.write() as tx:
            await tx.run("UPDATE document SET seq = seq + 1")
            await tx.run("DELETE FROM trail")
        assert await differences(world.store, world.judge)
        await rebuild(world.store, world.judge)
        await sound(world)


# Schemas.


async def columns(store: Any) -> dict[str, list[str]]:
    """Names of the columns of every table."""
    async with store.read() as tx:
        found = {}
        for table in await tables(tx):
            query = f"SELECT name FROM pragma_table_info('{table}')"
            if tx.dialect == "postgres":
                query = f"SELECT column_name AS name FROM information_schema.columns WHERE table_name = '{table}'"
            found[table] = sorted(row["name"] for row in await tx.all(query))
        return found


async def test_both_databases_have_the_same_tables_and_columns(tmp_path: Path, database: str):
    stores = [SqliteStore(tmp_path / "x.db"), open_store(database)]
    for one in stores:
        await migrate(one)
    assert await columns(stores[0]) == await columns(stores[1])
    for one in stores:
        await one.close()


async def test_every_text_is_ordered_by_its_bytes_and_every_number_is_a_long_one(database: str):
    store = open_store(database)
    await migrate(store)
    async with store.read() as tx:
        rows = await tx.all(
            "SELECT table_name, column_name, data_type, collation_name FROM information_schema.columns WHERE table_schema = 'public'"
        )
    assert {row["data_type"] for row in rows} <= {"text", "bytea", "bigint", "integer"}
    assert [tuple(row) for row in rows if row["data_type"] == "text" and row["collation_name"] != "C"] == []
    assert [row["column_name"] for row in rows if row["data_type"] == "integer" and row["column_name"] != "what"] == []
    await store.close()


STAGES = range(1, len(list(FOLDER.glob("0*.py"))))
"""How many of the migrations an older release had: each of them."""


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize("stage", STAGES)
async def test_a_database_of_every_older_release_comes_up_to_date(tmp_path: Path, databases: Any, kind: str, stage: int):
    older = tmp_path / "older"
    older.mkdir()
    for file in sorted(FOLDER.glob("0*.py"))[:stage]:
        (older / file.name).write_text(file.read_text())
    urls = [f"sqlite:///{tmp_path / name}" for name in "ab"] if kind == "sqlite" else [databases.new(), databases.new()]
    stores = [open_store(url) for url in urls]
    await migrate(stores[0], folder=older)
    async with stores[0].write() as tx:
        await tx.run("INSERT INTO meta (name, value) VALUES ('kept', 'yes')")
    await migrate(stores[0])
    await migrate(stores[1])
    assert await columns(stores[0]) == await columns(stores[1])
    async with stores[0].read() as tx:
        assert (await tx.one("SELECT value FROM meta WHERE name = 'kept'"))["value"] == "yes"
    for one, url in zip(stores, urls, strict=True):
        await one.close()
        if kind == "postgres":
            databases.drop(url)
