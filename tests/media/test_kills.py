"""kill -9 of the server at each write, sync, link, truncation, removal and database statement of an upload, and the power cut with it: what
was written and not synced is gone. Nothing is lost and nothing doubled."""

import hashlib
import json
import os
import shutil
import sqlite3
from pathlib import Path

import httpx
import psutil

from tests.media.conftest import Server, Start, name, photo

NEVER = 10**9
PIECES = 2


def carry(server: Server, start: Start, content: bytes, at: str | None = None) -> tuple[Server, str, int]:
    """A phone that does what tus says: create, ask, send on; after a lost answer it asks again. Gives the last server, the address, and
    how often it died."""
    deaths = 0
    phone = server.phone()
    step = -(-len(content) // PIECES)
    while True:
        try:
            if at is None:
                made = phone.create(content)
                if made.status_code == 409 and made.json()["code"] == "media.already_here":
                    return server, "", deaths
                assert made.status_code == 201, made.text
                at = made.headers["location"]
            told = phone.offset(at)
            assert told.status_code == 200, told.headers.get("anlu-code")
            have = int(told.headers["upload-offset"])
            if have == len(content):
                return server, at, deaths
            sent = phone.patch(at, have, content[have : have + step])
            assert sent.status_code == 204, sent.text
        except httpx.TransportError:
            server.kill()
            cut_power(server.folder)
            deaths += 1
            assert deaths == 1, "a server without a killer died"
            server = start(server.folder)
            phone = server.phone()


def everything(folder: Path, content: bytes) -> dict[str, object]:
    """What lies on the disk and in the database about this photo."""
    sha256 = hashlib.sha256(content).hexdigest()
    with sqlite3.connect(folder / "anlu.db") as database:
        media = database.execute("SELECT sha256, size, state FROM media").fetchall()
        uploads = database.execute("SELECT state, have, length FROM upload WHERE state != 'open'").fetchall()
    database.close()
    place = folder / "media" / sha256[:2] / sha256[2:4]
    return {
        "media": media,
        "uploads": uploads,
        "evidence": (place / f"{sha256}.evidence").read_bytes() == content,
        "parts": sorted(file.name.partition(".")[2] for file in place.iterdir()),
        "places": len(list((folder / "media").glob("??/??/*"))),
    }


def test_a_kill_at_any_step_of_an_upload_loses_and_doubles_nothing(start: Start, tmp_path: Path) -> None:
    content = photo(400, 300)
    dry = fresh(tmp_path, "dry", content, start)
    server = start(dry, kill=NEVER)
    server, _, deaths = carry(server, start, content)
    assert deaths == 0
    steps = int((dry / "count").read_text())
    assert steps > 40
    expected = everything(dry, content)
    assert expected["evidence"] is True
    assert expected["parts"] == ["evidence", "original", "screen", "thumb"]
    server.kill()
    died = 0
    for step in range(1, steps + 1):
        folder = fresh(tmp_path, f"at{step}", content, start)
        server, _at, deaths = carry(start(folder, kill=step, when="before"), start, content)
        died += deaths
        assert everything(folder, content) == expected, f"killed before step {step} of {steps}"
        assert server.phone().get(content, "screen").status_code == 200
        assert list((folder / "media" / "uploads").iterdir()) == [], f"killed before step {step} of {steps}: something stays"
        server.kill()
    assert died == steps


def test_a_write_that_a_kill_tore_in_half_is_written_again(start: Start, tmp_path: Path) -> None:
    content = photo(400, 300, seed=3)
    torn = 0
    dry = fresh(tmp_path, "dry", content, start)
    carry(start(dry, kill=NEVER), start, content)[0].kill()
    writes = [n for n, what in enumerate(json.loads((dry / "steps").read_text()), 1) if what == "pwrite"]
    for step in writes:
        folder = fresh(tmp_path, f"half{step}", content, start)
        server, _, deaths = carry(start(folder, kill=step, when="half"), start, content)
        torn += deaths
        assert everything(folder, content)["evidence"] is True
        server.kill()
    assert torn == len(writes) >= PIECES


def test_what_a_kill_cut_off_after_the_last_byte_is_finished_at_the_next_start_without_the_phone(start: Start, tmp_path: Path) -> None:
    content = photo(400, 300, seed=4)
    folder = fresh(tmp_path, "whole", content, start)
    server = start(folder)
    at = server.phone().create(content).headers["location"]
    server.phone().patch(at, 0, content[:-1])
    server.kill()
    server = start(folder, kill=step_of_the_first_link(start, tmp_path, content), when="before")
    try:
        server.phone().patch(at, len(content) - 1, content[-1:])
    except httpx.TransportError:
        server.kill()
    assert not list((folder / "media").glob("??/??/*.evidence"))
    server = start(folder)
    phone = server.phone()
    for _ in range(200):
        if phone.get(content, "thumb").status_code == 200:
            break
    assert everything(folder, content)["evidence"] is True


def test_a_killed_server_leaves_no_child_process_behind(start: Start, tmp_path: Path) -> None:
    server = start()
    phone = server.phone()
    assert phone.upload(photo(seed=5)).status_code == 204
    children = psutil.Process(server.pid).children(recursive=True)
    assert children
    server.kill()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


def cut_power(folder: Path) -> None:
    """Take from each upload on its way what was written and not synced."""
    for file in (folder / "media" / "uploads").glob("*.bytes"):
        note = folder / f"{file.name}.synced"
        os.truncate(file, min(file.stat().st_size, int(note.read_text()) if note.exists() else 0))


def fresh(tmp_path: Path, label: str, content: bytes, start: Start) -> Path:
    """A folder whose database stands and where a document already names the photo."""
    folder = tmp_path / label
    folder.mkdir()
    template = tmp_path / "template"
    if not template.exists():
        template.mkdir()
        server = start(template)
        server.kill()
        name(template, content)
    shutil.copytree(template, folder, dirs_exist_ok=True)
    (folder / "count").unlink(missing_ok=True)
    name(folder, content)
    return folder


def step_of_the_first_link(start: Start, tmp_path: Path, content: bytes) -> int:
    """Which counted step of a PATCH with the last byte is the first one that puts a finished part into its place."""
    folder = fresh(tmp_path, "probe", content, start)
    server = start(folder)
    at = server.phone().create(content).headers["location"]
    server.phone().patch(at, 0, content[:-1])
    server.kill()
    server = start(folder, kill=NEVER)
    server.phone().patch(at, len(content) - 1, content[-1:])
    server.kill()
    return json.loads((folder / "steps").read_text()).index("link") + 1
