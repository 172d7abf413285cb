"""Old ops' bytes lie in files, and everything that reads the ledger finds them there."""

import sqlite3
from pathlib import Path

import pytest
from world import World

from backend.audit import cold
from backend.audit.cold import Cold
from backend.audit.verify import verify
from backend.operate import cooling
from backend.operate.cooling import YEAR_MS, cool
from backend.store import FAILURES
from backend.sync import history
from backend.sync.rebuild import differences, rebuild


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the fixture that looks through the ledger at the end looks, too."""
    return tmp_path / "cold"


async def old_ops(world: World, count: int = 5) -> tuple[str, int]:
    """A thing with a past, four years ago; how many ops the ledger has in all."""
    phone = await world.phone()
    thing = phone.new({"note": "first"})
    for n in range(count - 1):
        phone.set(thing, {"note": f"n{n}"})
    await phone.push()
    world.now += 4 * YEAR_MS
    young = await world.phone()
    young.new({"note": "of today"})
    await young.push()
    (row,) = await world.rows("SELECT COUNT(*) AS n FROM ledger WHERE what = 'op'")
    return thing, row["n"]


async def hot(world: World) -> int:
    (row,) = await world.rows("SELECT COUNT(*) AS n FROM ledger WHERE bytes IS NOT NULL")
    return row["n"]


async def test_old_ops_leave_the_database_and_verify_rebuild_and_history_still_have_them(world: World, folder: Path):
    thing, every = await old_ops(world)
    reader = (await world.phone()).person
    async with world.store.read() as tx:
        before = await history.read(tx, world.judge, reader, thing, 0, Cold())
    documents = await world.rows("SELECT key, seq, body FROM document ORDER BY key")
    due = await cool(world.store, folder, 3, world.now, dry=True)
    assert await hot(world) == every
    assert await cool(world.store, folder, 3, world.now) == due == every - 1
    assert await hot(world) == 1
    assert await cool(world.store, folder, 3, world.now) == 0
    files = Cold(folder)
    assert (await verify(world.store, world.keys, lambda: differences(world.store, world.judge, files), files)).ok
    async with world.store.read() as tx:
        after = await history.read(tx, world.judge, reader, thing, 0, files)
    assert after == before
    assert after.lines[-1].verb == "new"
    await rebuild(world.store, world.judge, files)
    assert await world.rows("SELECT key, seq FROM document ORDER BY key") == [{"key": d["key"], "seq": d["seq"]} for d in documents]


async def test_nothing_goes_before_its_time_or_where_it_is_switched_off(world: World, folder: Path):
    _, every = await old_ops(world)
    assert await cool(world.store, folder, 5, world.now) == 0
    assert await cool(world.store, folder, 0, world.now) == 0
    assert await hot(world) == every


async def test_an_old_op_that_is_sent_again_is_the_same_op(world: World, folder: Path):
    phone = await world.phone()
    thing = phone.new({"note": "a"})
    first = await phone.push()
    world.now += 4 * YEAR_MS
    other = await world.phone()
    other.new({})
    await other.push()
    await cool(world.store, folder, 3, world.now)
    again = await phone.push()
    assert [verdict.seq for verdict in again.verdicts] == [verdict.seq for verdict in first.verdicts]
    phone.sign_in(phone.person)
    phone.set(thing, {"note": "b"})
    assert (await phone.push(2)).verdicts[0].state == "ok"


async def test_what_waits_for_a_decision_and_what_holds_a_sealed_value_stays(world: World, folder: Path):
    phone = await world.phone()
    phone.set(f"thing/{world.new_id()}", {"note": "waits for its document"})
    phone.new({"place": phone.seal({"lat": 1})})
    phone.new({"note": "goes"})
    await phone.push()
    world.now += 4 * YEAR_MS
    phone.sign_in(phone.person)
    phone.new({})
    await phone.push(4)
    await cool(world.store, folder, 3, world.now)
    rows = await world.rows("SELECT n FROM ledger WHERE queue = $1 AND what = 'op' AND bytes IS NOT NULL ORDER BY n", phone.number)
    assert [row["n"] for row in rows] == [1, 2, 4]


@pytest.mark.parametrize("damage", ["gone", "cut", "swapped"])
async def test_a_cold_file_that_is_gone_damaged_or_another_s_is_found(
    world: World, folder: Path, damage: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cooling, "OPS_IN_FILE_MAX", 3)
    await old_ops(world, 8)
    await cool(world.store, folder, 3, world.now)
    kept = {path: path.read_bytes() for path in cold.files(folder)}
    one = min(kept)
    assert len(kept) == 3
    match damage:
        case "gone":
            one.unlink()
        case "cut":
            one.write_bytes(kept[one][:-9])
        case "swapped":
            seqs = [row["seq"] for row in await world.rows("SELECT seq FROM ledger WHERE what = 'op' ORDER BY seq LIMIT 6")]
            taken = [Cold(folder).get(seq) or b"" for seq in seqs]
            one.unlink()
            cold.write(folder, list(zip(seqs[:3], taken[3:], strict=True)))
    report = await verify(world.store, world.keys, cold=Cold(folder))
    assert [problem.what for problem in report.problems] == ["bytes"] * 3
    for path in cold.files(folder):
        path.unlink()
    assert not (await verify(world.store, world.keys, cold=Cold(folder))).ok
    with pytest.raises(LookupError):
        await differences(world.store, world.judge, Cold(folder))
    for path, content in kept.items():
        path.write_bytes(content)


async def test_a_kill_between_the_file_and_the_database_loses_nothing(world: World, folder: Path, monkeypatch: pytest.MonkeyPatch):
    _, every = await old_ops(world)
    monkeypatch.setattr(cooling, "ROWS_AT_ONCE_MAX", 2)
    plain, left = world.store.write, [2]

    def cut():
        if not left[0]:
            raise ConnectionError
        left[0] -= 1
        return plain()

    monkeypatch.setattr(world.store, "write", cut)
    with pytest.raises(ConnectionError):
        await cool(world.store, folder, 3, world.now)
    monkeypatch.setattr(world.store, "write", plain)
    assert 1 < await hot(world) < every
    assert (await verify(world.store, world.keys, cold=Cold(folder))).ok
    await cool(world.store, folder, 3, world.now)
    assert await hot(world) == 1
    assert (await verify(world.store, world.keys, cold=Cold(folder))).ok


async def test_an_entry_may_lose_its_bytes_and_nothing_else_of_it_changes(world: World, folder: Path):
    await old_ops(world)
    await cool(world.store, folder, 3, world.now)
    for change in ("at = at + 1", "bytes = patch", "op = NULL", "patch = NULL, bytes = NULL", "hash = patch, bytes = NULL"):
        with pytest.raises((*FAILURES, sqlite3.Error), match="never changes"):
            async with world.store.write() as tx:
                await tx.run(f"UPDATE ledger SET {change} WHERE what = 'op'")
    with pytest.raises((*FAILURES, sqlite3.Error), match="never changes"):
        async with world.store.write() as tx:
            await tx.run("DELETE FROM ledger")
