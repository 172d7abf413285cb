"""The doctor finds what is wrong before anybody on the shop floor does."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from backend.kernel.clock import wall_clock
from backend.kernel.errors import Text
from backend.operate import backup, doctor
from backend.settings import Settings
from media.store import DiskStore

DAY_MS = 86_400_000


async def levels(settings: Settings, clock=wall_clock) -> dict[str, str]:
    found = await doctor.look(settings, clock)
    for one in found:
        assert one.text.zh
        assert one.text.en
    return {one.name: one.level for one in found}


async def test_a_well_kept_plant_has_nothing_bad(resting: Settings, tmp_path: Path):
    await backup.make(resting, tmp_path / "backup", program="test")
    found = await levels(msgspec.structs.replace(resting, origin="https://anlu.example.com"))
    assert [name for name, level in found.items() if level == "bad"] == []
    for name in ("address", "database", "database.wal", "schema", "ledger", "keys", "backup", "media.missing", "uploads", "disk.data"):
        assert found[name] == "ok", name


async def test_a_new_machine_is_told_what_is_not_there_yet_and_nothing_is_bad(tmp_path: Path):
    found = await levels(Settings(data=str(tmp_path / "data")))
    assert "bad" not in found.values()
    assert found["database"] == "mind"


async def test_a_damaged_database_is_bad(resting: Settings):
    file = resting.data_path / "anlu.db"
    content = bytearray(file.read_bytes())
    content[8192:24576] = os.urandom(16384)
    file.write_bytes(content)
    assert (await levels(resting))["database"] == "bad"


async def test_a_clock_that_went_back_behind_the_ledger_is_bad(resting: Settings):
    assert (await levels(resting, lambda: wall_clock() - DAY_MS))["clock.ledger"] == "bad"


async def test_keys_that_others_can_read_are_bad(resting: Settings):
    next(resting.keys_path.glob("*.key.json")).chmod(0o644)
    assert (await levels(resting))["keys"] == "bad"


async def test_an_older_database_put_in_place_is_seen_before_the_start(resting: Settings, tmp_path: Path):
    with closing(sqlite3.connect(resting.data_path / "anlu.db")) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        db.execute("DELETE FROM ledger WHERE seq > (SELECT max(seq) - 5 FROM ledger)")
        db.commit()
    assert (await levels(resting))["ledger"] == "mind"


async def test_a_disk_below_its_marks_and_an_old_backup_are_told(resting: Settings, tmp_path: Path):
    await backup.make(resting, tmp_path / "backup", program="test")
    full = msgspec.structs.replace(resting, disk_free_mb_min=10_000_000, media_free_mb_min=10_000_000)
    found = await levels(full, lambda: wall_clock() + 3 * DAY_MS)
    assert (found["disk.data"], found["disk.media"], found["backup"]) == ("bad", "bad", "mind")


async def test_a_photo_that_is_gone_from_the_disk_is_bad_and_a_file_of_no_upload_is_told(resting: Settings):
    with closing(sqlite3.connect(resting.data_path / "anlu.db")) as db:
        db.execute("INSERT INTO media VALUES (?, 'image/jpeg', 1, 1, 1, 'stored', NULL, 1)", ("a" * 64,))
        db.commit()
    assert not DiskStore(resting.media_path).path("a" * 64, "evidence").exists()
    (resting.media_path / "uploads").mkdir(parents=True, exist_ok=True)
    (resting.media_path / "uploads/0123.bytes").write_bytes(b"x")
    found = await levels(resting)
    assert (found["media.missing"], found["uploads"]) == ("bad", "mind")


async def test_a_bucket_that_does_not_answer_is_bad_and_the_backup_says_that_photos_are_not_in_it(resting: Settings, tmp_path: Path):
    away = msgspec.structs.replace(resting, s3="http://access:geheim@127.0.0.1:1/photos")
    assert (await levels(away))["media.store"] == "bad"
    said: list[Text] = []
    await backup.make(away, tmp_path / "backup", program="test", tell=said.append)
    assert any("bucket" in text.en for text in said)


@pytest.mark.parametrize(("days", "level"), [(200, "ok"), (10, "mind"), (-1, "bad")])
async def test_a_certificate_is_told_before_it_ends(resting: Settings, tmp_path: Path, days: int, level: str):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "anlu.example.com")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=400), now + timedelta(days=days, hours=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    settings = msgspec.structs.replace(resting, tls_certificate=str(tmp_path / "cert.pem"), tls_key=str(tmp_path / "cert.pem"))
    assert (await levels(settings))["certificate"] == level


async def test_a_server_that_took_nothing_old_away_for_days_is_told_until_it_has(resting: Settings):
    assert (await levels(resting))["keeper"] == "ok"
    assert (await levels(resting, lambda: wall_clock() + 4 * DAY_MS))["keeper"] == "mind"
    own = {k: v for k, v in os.environ.items() if not k.startswith("ANLU_")} | {"ANLU_DATA": resting.data}
    for arguments, said in ((["--dry-run"], "Nothing was changed."), ([], "Done:")):
        command = [sys.executable, "-m", "backend.cli", "keep", *arguments]
        answer = subprocess.run(command, env=own, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stderr
        assert said in answer.stdout
    with closing(sqlite3.connect(resting.data_path / "anlu.db")) as db, db:
        (text,) = db.execute("SELECT value FROM meta WHERE name = 'kept'").fetchone()
        db.execute("UPDATE meta SET value = $1 WHERE name = 'kept'", (json.dumps(json.loads(text) | {"at": wall_clock() - 4 * DAY_MS}),))
    assert (await levels(resting))["keeper"] == "mind"
