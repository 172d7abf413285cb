"""The command as an operator runs it: a process of its own, on a port of its own."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pypdfium2
import pytest

from backend.demo import MACHINES, PEOPLE
from backend.kernel.ids import kind_document

ROOT = Path(__file__).parents[2]


def command(*words: str, data: Path, **settings: str) -> subprocess.Popen[str]:
    own = {k: v for k, v in os.environ.items() if not k.startswith("ANLU_")}
    own |= {
        "ANLU_DATA": str(data),
        "ANLU_PORT": "0",
        "ANLU_PASSWORD_MS": "20",
        "ANLU_DEMO_SIZE": "small",
        "PYTHONUNBUFFERED": "1",
    } | settings
    return subprocess.Popen(
        [sys.executable, "-m", "backend.cli", *words], cwd=ROOT, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@contextmanager
def serving(*words: str, data: Path, **settings: str) -> Iterator[tuple[str, list[str], subprocess.Popen[str]]]:
    """The address, what was printed until it answered, and the process."""
    process = command(*words, data=data, **settings)
    try:
        said: list[str] = []
        assert process.stdout
        while not any("http://" in line for line in said[1:]):
            line = process.stdout.readline()
            if not line:
                raise AssertionError("".join(said) + (process.stderr.read() if process.stderr else ""))
            said.append(line)
        found = re.search(r"http://127\.0\.0\.1:\d+", "".join(said))
        assert found
        ends = time.monotonic() + 30
        while True:
            try:
                httpx.get(f"{found[0]}/api/health", timeout=5).raise_for_status()
                break
            except httpx.HTTPError:
                assert time.monotonic() < ends
                time.sleep(0.05)
        yield found[0], said, process
    finally:
        process.kill()
        process.communicate()


def test_the_demo_starts_lets_its_people_in_and_ends_when_asked(tmp_path):
    with serving("demo", data=tmp_path / "demo") as (origin, said, process):
        for person in PEOPLE:
            assert any(line.split()[:1] == [person.username] for line in said), person.username
        answer = httpx.post(f"{origin}/api/auth/sign-in", json={"username": "admin", "password": "anlu-demo", "device": {}})
        assert answer.json()["code"] == "auth.proof", "the password was right"
        assert "server" not in answer.headers
        labels = pypdfium2.PdfDocument((tmp_path / "demo" / "labels.pdf").read_bytes())
        assert len(labels) == len(MACHINES) == 20
        labels.close()
        process.send_signal(signal.SIGTERM)
        # uvicorn closes all it holds, then ends by the signal it was asked with.
        assert process.wait(15) in (0, -signal.SIGTERM)
        assert process.stderr
        for line in process.stderr.read().splitlines():
            assert json.loads(line)["level"] in ("info", "warning"), line


def test_a_demo_plant_goes_on_at_the_next_start_and_is_no_other_plants(tmp_path):
    with serving("demo", data=tmp_path) as (origin, _, _):
        epoch = httpx.get(f"{origin}/api/health").json()["epoch"]
    with serving("demo", data=tmp_path) as (origin, _, _):
        assert httpx.get(f"{origin}/api/health").json()["epoch"] == epoch
    with serving("serve", data=tmp_path) as (origin, said, _):
        assert "anlu-demo" not in "".join(said)
    checked = command("verify", data=tmp_path)
    out, _ = checked.communicate(timeout=60)
    assert checked.returncode == 0, out


def test_a_demo_plant_on_postgresql_goes_on_at_the_next_start_after_it_was_killed_too(tmp_path, databases):
    url = databases.new()
    with serving("demo", data=tmp_path, ANLU_DATABASE=url) as (origin, _, process):
        health = httpx.get(f"{origin}/api/health").json()
        assert health["database"] == "ok"
        process.kill()
        process.wait(15)
    assert not (tmp_path / "anlu.db").exists()
    with serving("serve", data=tmp_path, ANLU_DATABASE=url) as (origin, said, _):
        assert httpx.get(f"{origin}/api/health").json()["epoch"] == health["epoch"]
        assert "anlu-demo" not in "".join(said)
    checked = command("verify", data=tmp_path, ANLU_DATABASE=url)
    out, err = checked.communicate(timeout=60)
    assert checked.returncode == 0, out + err
    databases.drop(url)


def test_a_plant_prints_a_set_up_code_until_somebody_is_there_and_refuses_the_demo_afterwards(tmp_path):
    with serving("serve", data=tmp_path) as (origin, said, _):
        code = re.search(r"[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}", "".join(said))
        assert code
        body = {"code": code[0], "name": {"zh": "孙丽", "en": "Sun Li"}, "username": "sunli", "password": "long enough"}
        assert httpx.post(f"{origin}/api/auth/setup", json=body).status_code == 201
    with serving("serve", data=tmp_path) as (_, said, _):
        assert not re.search(r"[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}", "".join(said))
    refused = command("demo", data=tmp_path)
    _, err = refused.communicate(timeout=60)
    assert refused.returncode == 1
    assert "已有工厂数据" in err
    assert "Traceback" not in err


def test_create_admin_gives_a_code_that_a_running_server_takes(tmp_path):
    with serving("serve", data=tmp_path) as (origin, _, _):
        made = command("create-admin", data=tmp_path)
        out, _ = made.communicate(timeout=60)
        code = re.search(r"[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}", out)
        assert code
        body = {"code": code[0], "name": {"zh": "孙丽", "en": "Sun Li"}, "username": "sunli", "password": "long enough"}
        assert httpx.post(f"{origin}/api/auth/setup", json=body).status_code == 201


def test_a_taken_port_is_a_sentence(tmp_path):
    with serving("serve", data=tmp_path / "one") as (origin, _, _):
        second = command("serve", data=tmp_path / "two", ANLU_PORT=origin.rpartition(":")[2])
        _, err = second.communicate(timeout=60)
        assert second.returncode == 1
        assert "ANLU_PORT" in err
        assert "Traceback" not in err


@pytest.mark.parametrize("asked", ["serve", "demo"])
def test_a_database_that_cannot_be_used_is_a_sentence(tmp_path, asked):
    (tmp_path / "anlu.db").write_bytes(b"no database " * 20)
    for settings in ({}, {"ANLU_DATABASE": "postgres://somebody:wrong@127.0.0.1:1/anlu"}):
        process = command(asked, data=tmp_path, **settings)
        said, complained = process.communicate(timeout=60)
        assert (process.returncode, said) == (1, "")
        assert "数据库用不了" in complained
        assert "ANLU_DATABASE" in complained
        assert not re.search("Traceback|somebody|wrong", complained)


@pytest.mark.parametrize("name", ["ANLU_DATA", "ANLU_MEDIA", "ANLU_KEYS"])
def test_a_folder_that_cannot_be_used_is_a_sentence(tmp_path, name):
    (tmp_path / "file").touch()
    process = command("serve", data=tmp_path / "data", **{name: str(tmp_path / "file" / "below")})
    said, complained = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, "")
    assert f"请检查 {name}" in complained
    assert f"Check {name}" in complained
    assert "Traceback" not in complained


def test_a_bucket_that_cannot_be_used_is_a_sentence_without_its_secret(tmp_path):
    process = command("serve", data=tmp_path, ANLU_S3="http://access:geheim@127.0.0.1:1/photos")
    said, complained = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, "")
    assert "请检查 ANLU_S3" in complained
    assert "127.0.0.1/photos" in complained
    assert not re.search("Traceback|geheim", complained)


def test_the_files_of_the_plant_are_not_for_others_on_the_machine(tmp_path):
    data = tmp_path / "data"
    with serving("serve", data=data):
        keys = data / "keys"
        assert {oct(file.stat().st_mode & 0o077) for file in [data, keys, *keys.iterdir()]} == {"0o0"}


@pytest.mark.parametrize("words", [("settings",), ("rotate-keys",), ("kinds", "check")])
def test_the_other_commands_run(tmp_path, words):
    ran = command(*words, data=tmp_path)
    out, err = ran.communicate(timeout=60)
    assert ran.returncode == 0, err
    assert out


def test_a_kind_file_changed_without_a_new_version_is_named_in_a_sentence_and_nothing_is_served(tmp_path):
    with serving("serve", data=tmp_path / "plant"):
        pass
    (database,) = (tmp_path / "plant").glob("*.db")
    with sqlite3.connect(database) as stored:
        key = f"kind/{kind_document('hazard', 1)}"
        (body,) = stored.execute("SELECT body FROM document WHERE key = ?", (key,)).fetchone()
        stored.execute("UPDATE document SET body = ? WHERE key = ?", (bytes(body).replace("隐患".encode(), "险情".encode()), key))
    process = command("serve", data=tmp_path / "plant")
    said, complained = process.communicate(timeout=60)
    assert (process.returncode, said) == (1, "")
    assert "backend/domains/hazards/kinds/hazard.yaml (version: 1)" in complained
    assert "请把每个文件里的 version 加 1" in complained
    assert "Raise the version in each file by one" in complained
    assert "Traceback" not in complained
    assert "{" not in complained
