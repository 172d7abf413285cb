"""The store: kept connections, one writer, snapshots, and nothing left behind."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
import pytest_asyncio
from piccolo.columns import BigInt, Text
from piccolo.table import Table

from backend.kernel.errors import Refusal
from backend.store import DatabaseError, PostgresStore, SqliteStore, migrate, open_store
from backend.store.engine import ENGINE
from backend.store.migrate import Schema


class Fruit(Table, db=ENGINE, tablename="fruit"):
    """For Piccolo over our connections."""

    name = Text(primary_key=True)
    weight = BigInt()


FRUIT = "CREATE TABLE fruit (name TEXT PRIMARY KEY, weight BIGINT NOT NULL)"


@pytest_asyncio.fixture
async def store(store_kind: str, database: str, tmp_path: Path):
    small = f"{database}&pool_size=3" if store_kind == "postgres" else ""
    store = PostgresStore(small, busy_ms=200) if small else SqliteStore(tmp_path / "test.db", readers=2, busy_ms=200)
    async with store.write() as tx:
        await Schema(tx).run(FRUIT)
    yield store
    await store.close()


@pytest_asyncio.fixture
async def sqlite(tmp_path: Path):
    store = SqliteStore(tmp_path / "test.db", readers=2, busy_ms=200)
    async with store.write() as tx:
        await tx.run(FRUIT)
    yield store
    await store.close()


@asynccontextmanager
async def another_writer(store, tmp_path: Path):
    """Another process that writes, for as long as this lasts."""
    if store.dialect == "postgres":
        other = PostgresStore(store.address)
        async with other.write():
            yield
        await other.close()
        return
    with closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("COMMIT")


async def names(store) -> list[str]:
    async with store.read() as tx:
        return [row["name"] for row in await tx.all("SELECT name FROM fruit ORDER BY name")]


async def test_what_is_written_is_read_by_name_and_by_position(store):
    async with store.write() as tx:
        assert await tx.run("INSERT INTO fruit VALUES ($2, $1)", 3, "fig") == 1
        await tx.many("INSERT INTO fruit VALUES ($1, $2)", [("kaki", 5), ("lime", 7)])
    async with store.read() as tx:
        row = await tx.one("SELECT name, weight FROM fruit WHERE weight > $1 AND weight < $1 + $2 ORDER BY name", 3, 4)
        assert (row["name"], row[1], tuple(row)) == ("kaki", 5, ("kaki", 5))
        assert await tx.one("SELECT 1 FROM fruit WHERE name = $1", "none") is None
        found = await tx.all(
            f"SELECT name FROM fruit WHERE {tx.among('name', 1)} AND {tx.among('weight', 2)}", tx.listed(["fig", "lime"]), tx.listed([7])
        )
        assert [row["name"] for row in found] == ["lime"]


async def test_a_write_that_raises_leaves_nothing_and_what_should_follow_it_does_not(store):
    called = []
    with pytest.raises(ZeroDivisionError):
        async with store.write() as tx:
            tx.after(lambda: called.append(1))
            await tx.run("INSERT INTO fruit VALUES ('fig', 1)")
            raise ZeroDivisionError
    assert (await names(store), called) == ([], [])
    async with store.write() as tx:
        tx.after(lambda: called.append(2))
        assert called == []
    assert called == [2]


async def test_a_savepoint_undoes_what_is_in_it_and_only_that(store):
    called = []
    async with store.write() as tx:
        await tx.run("INSERT INTO fruit VALUES ('fig', 1)")
        with pytest.raises(ZeroDivisionError):
            async with tx.savepoint():
                tx.after(lambda: called.append("inner"))
                await tx.run("INSERT INTO fruit VALUES ('kaki', 1)")
                raise ZeroDivisionError
        async with tx.savepoint(), tx.savepoint():
            await tx.run("INSERT INTO fruit VALUES ('lime', 1)")
        tx.after(lambda: called.append("outer"))
    assert (await names(store), called) == (["fig", "lime"], ["outer"])


async def test_a_reader_sees_one_moment_and_cannot_write(store):
    async with store.read() as tx:
        assert await tx.all("SELECT * FROM fruit") == []
        async with store.write() as other:
            await other.run("INSERT INTO fruit VALUES ('fig', 1)")
        assert await tx.all("SELECT * FROM fruit") == []
        with pytest.raises((sqlite3.OperationalError, DatabaseError)):
            await tx.run("INSERT INTO fruit VALUES ('kaki', 1)")
    assert await names(store) == ["fig"]


async def test_writers_wait_for_their_turn(store):
    async def one(i: int) -> None:
        async with store.write() as tx:
            row = await tx.one("SELECT COUNT(*) AS n FROM fruit")
            await asyncio.sleep(0)
            await tx.run("INSERT INTO fruit VALUES ($1, $2)", f"f{i}", row["n"])

    await asyncio.gather(*(one(i) for i in range(20)))
    async with store.read() as tx:
        assert sorted(row["weight"] for row in await tx.all("SELECT weight FROM fruit")) == list(range(20))


async def test_more_readers_than_connections_take_turns(store):
    assert await asyncio.wait_for(asyncio.gather(*(names(store) for _ in range(20))), 10) == [[]] * 20


async def test_a_write_inside_a_write_says_so_at_once(store):
    async with store.write():
        with pytest.raises(RuntimeError):
            async with store.write():
                pass
    async with store.write() as tx:
        assert await tx.one("SELECT 1")


async def test_a_transaction_that_has_ended_is_of_no_use(store):
    async with store.write() as tx:
        pass
    with pytest.raises(RuntimeError):
        await tx.run("INSERT INTO fruit VALUES ('fig', 1)")


async def test_it_is_wal_full_with_foreign_keys(sqlite):
    async with sqlite.write() as tx:
        found = [(await tx.one(f"PRAGMA {name}"))[0] for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")]
    assert found == ["wal", 2, 1, 200]


async def test_a_busy_database_is_told_as_such_again_and_again_and_leaks_no_thread(store, tmp_path: Path):
    before = threading.active_count()
    async with another_writer(store, tmp_path):
        for _ in range(4):
            with pytest.raises(Refusal) as refusal:
                async with store.write() as tx:
                    await tx.run("INSERT INTO fruit VALUES ('fig', 1)")
            assert (refusal.value.code, refusal.value.headers["Retry-After"]) == ("http.unavailable", "1")
    async with store.write() as tx:
        await tx.run("INSERT INTO fruit VALUES ('fig', 1)")
    assert threading.active_count() <= before
    assert await names(store) == ["fig"]


async def test_a_cancelled_write_is_undone_and_the_next_goes_on(store, tmp_path: Path):
    async def write(started: asyncio.Event) -> None:
        async with store.write() as tx:
            await tx.run("INSERT INTO fruit VALUES ('fig', 1)")
            started.set()
            await tx.one("WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 300000) SELECT MAX(i) FROM c")
            await asyncio.sleep(60)

    for wait in (True, False):
        started = asyncio.Event()
        task = asyncio.create_task(write(started))
        if wait:
            await started.wait()
        else:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await names(store) == []
    async with another_writer(store, tmp_path):  # while it is busy, too
        task = asyncio.create_task(write(asyncio.Event()))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises((asyncio.CancelledError, Refusal)):
            await task
    async with store.write() as tx:
        await tx.run("INSERT INTO fruit VALUES ('kaki', 1)")
    assert await names(store) == ["kaki"]


async def test_it_keeps_as_many_threads_as_connections_and_none_after_closing(tmp_path: Path):
    before = {t for t in threading.enumerate() if t.name.startswith("anlu-")}
    store = SqliteStore(tmp_path / "x.db", readers=2)
    for _ in range(3):
        async with store.write() as tx:
            await tx.run("CREATE TABLE IF NOT EXISTS fruit (name TEXT)")
        await asyncio.gather(*(names(store) for _ in range(5)))
    assert len({t for t in threading.enumerate() if t.name.startswith("anlu-")} - before) == 3
    await store.close()
    await store.close()
    assert {t for t in threading.enumerate() if t.name.startswith("anlu-")} == before
    with pytest.raises(RuntimeError):
        async with store.read():
            pass


@pytest.mark.parametrize("end", ["pass", "await store.close()", "raise SystemExit(3)", "busy"])
def test_the_process_ends_whatever_became_of_its_store(tmp_path: Path, end: str):
    script = f"""
import asyncio, sqlite3, sys
from backend.store import SqliteStore
async def main():
    store = SqliteStore({str(tmp_path / "x.db")!r}, busy_ms=300)
    async with store.write() as tx:
        await tx.run("CREATE TABLE fruit (name TEXT)")
    async with store.read() as tx:
        await tx.all("SELECT * FROM fruit")
    if {end!r} == "busy":
        other = sqlite3.connect({str(tmp_path / "x.db")!r}, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        async with store.write():
            pass
    {end if end != "busy" else "pass"}
asyncio.run(main())
"""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], timeout=30, cwd=Path(__file__).parents[2], capture_output=True)
    assert time.monotonic() - began < 20
    assert done.returncode == {"raise SystemExit(3)": 3, "busy": 1}.get(end, 0), done.stderr.decode()


class TestPiccolo:
    async def test_its_tables_run_over_the_same_connections(self, store):
        threads = threading.active_count()
        await Fruit.insert(Fruit(name="fig", weight=1), Fruit(name="kaki", weight=2))
        assert await Fruit.select(Fruit.name).where(Fruit.weight > 1) == [{"name": "kaki"}]
        await Fruit.update({Fruit.weight: 9}).where(Fruit.name == "fig")
        fig = await Fruit.objects().get(Fruit.name == "fig")
        assert fig.weight == 9
        assert await Fruit.count() == 2
        await Fruit.delete().where(Fruit.name == "fig")
        assert threading.active_count() <= threads + 1

    async def test_inside_a_write_they_are_part_of_it(self, store):
        with pytest.raises(ZeroDivisionError):
            async with store.write():
                await Fruit.insert(Fruit(name="fig", weight=1))
                assert await Fruit.exists().where(Fruit.name == "fig")
                raise ZeroDivisionError
        assert await Fruit.count() == 0

    async def test_its_transactions_and_batches_raise_what_goes_wrong(self, store):
        async with Fruit._meta.db.transaction():
            await Fruit.insert(Fruit(name="fig", weight=1))
            with pytest.raises(ZeroDivisionError):
                async with Fruit._meta.db.transaction():
                    await Fruit.insert(Fruit(name="kaki", weight=1))
                    raise ZeroDivisionError
        assert await names(store) == ["fig"]
        with pytest.raises((sqlite3.IntegrityError, DatabaseError)):
            await Fruit.insert(Fruit(name="fig", weight=1))
        with pytest.raises(ZeroDivisionError):
            async with await Fruit.select().batch(batch_size=1) as batch:
                async for rows in batch:
                    assert rows == [{"name": "fig", "weight": 1}]
                    raise ZeroDivisionError


async def tables(tx) -> list[str]:
    """Names of all tables."""
    query = "SELECT name FROM sqlite_schema WHERE type = 'table'"
    if tx.dialect == "postgres":
        query = "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
    return sorted(row["name"] for row in await tx.all(query))


async def test_the_tables_that_piccolo_knows_are_those_that_the_migrations_make(tmp_path: Path):
    from backend.store import tables

    store = open_store(f"sqlite:///{tmp_path / 'x.db'}")
    await migrate(store)
    known = [table for table in vars(tables).values() if isinstance(table, type) and issubclass(table, Table) and table is not Table]
    assert len(known) == 6
    async with store.read() as tx:
        for table in known:
            made = {
                row["name"]: (bool(row["notnull"]), bool(row["pk"])) for row in await tx.all(f"PRAGMA table_info({table._meta.tablename})")
            }
            said = {column._meta.name: (not column._meta.null, column._meta.primary_key) for column in table._meta.columns}
            assert made.keys() == said.keys(), table
            for name, (always, key) in said.items():
                assert (made[name][0] or key, made[name][1]) == (always or key, key), (table, name)
    await store.close()


class TestMigrations:
    async def test_each_runs_once_in_its_order_and_is_recorded(self, database: str, tmp_path: Path):
        folder = tmp_path / "migrations"
        folder.mkdir()
        (folder / "0001_one.py").write_text("async def up(tx):\n    await tx.run('CREATE TABLE one (a TEXT)')\n")
        store = open_store(database)
        assert await migrate(store, folder=folder, clock=lambda: 7) == ["0001_one"]
        assert await migrate(store, folder=folder) == []
        (folder / "0002_two.py").write_text("async def up(tx):\n    await tx.run('ALTER TABLE one ADD b TEXT')\n")
        assert await migrate(store, folder=folder) == ["0002_two"]
        async with store.read() as tx:
            assert [tuple(row) for row in await tx.all("SELECT name, ran_at FROM migration WHERE name = '0001_one'")] == [("0001_one", 7)]
        await store.close()

    async def test_one_that_fails_leaves_the_schema_as_it_was(self, database: str, tmp_path: Path):
        folder = tmp_path / "migrations"
        folder.mkdir()
        (folder / "0001_one.py").write_text(
            "async def up(tx):\n    await tx.run('CREATE TABLE one (a TEXT)')\n    raise ZeroDivisionError\n"
        )
        store = open_store(database)
        with pytest.raises(ZeroDivisionError):
            await migrate(store, folder=folder)
        async with store.read() as tx:
            assert await tables(tx) == []
        await store.close()

    async def test_two_with_one_number_are_a_mistake(self, tmp_path: Path):
        for name in ("0001_a.py", "0001_b.py"):
            (tmp_path / name).write_text("")
        store = open_store(f"sqlite:///{tmp_path / 'x.db'}")
        with pytest.raises(ValueError, match="same number"):
            await migrate(store, folder=tmp_path)
        await store.close()

    async def test_ours_make_every_table_once_and_again_nothing(self, database: str):
        store = open_store(database)
        assert (await migrate(store))[0] == "0001_ledger"
        assert await migrate(store) == []
        await store.close()


def test_only_urls_of_a_store_we_have_open_one():
    for url in ("postgres://", "mysql://x/y", "sqlite://", "sqlite:///", "x"):
        with pytest.raises(ValueError, match="database URL"):
            open_store(url)
