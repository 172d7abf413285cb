"""Four processes on one port and one PostgreSQL: one is killed and all are renewed while phones push, and nothing is lost or doubled."""

import contextlib
import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.e2e.client import Client
from tests.e2e.harness import Plant
from tests.operate.keeping import anlu, done

WORKERS = 4
PHONES = 4
BUNDLES = 6
OPS = 10
SECONDS_MAX = 60


@pytest.fixture
def store_kind() -> str:
    return "postgres"


@pytest.fixture
def plant(tmp_path: Path, database: str):
    started = Plant(tmp_path, ANLU_DATABASE=database).start()
    started.stop()
    started.settings["ANLU_WORKERS"] = str(WORKERS)
    yield started.start()
    started.stop()


class Worker(Client):
    """A phone whose every request may reach another process, and that sends again what had no answer."""

    def __init__(self, origin: str) -> None:
        super().__init__(origin)
        self.http = httpx.Client(base_url=origin, timeout=60, limits=httpx.Limits(max_keepalive_connections=0))

    def send(self, data: bytes, signature: str) -> list[dict[str, object]]:
        ends = time.monotonic() + SECONDS_MAX
        while True:
            try:
                return super().send(data, signature)
            except httpx.TransportError:
                assert time.monotonic() < ends
                time.sleep(0.1)


def processes(plant: Plant) -> set[int]:
    """Those that serve: the children that hold the port."""
    assert plant.process
    found = set()
    for child in psutil.Process(plant.process.pid).children():
        with contextlib.suppress(psutil.Error):  # one that has ended
            if any("spawn_main" in word for word in child.cmdline()):
                found.add(child.pid)
    return found


def until(true) -> None:
    ends = time.monotonic() + SECONDS_MAX
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.1)


def write(phone: Worker, area: str, pause: float = 0.0) -> None:
    for _ in range(BUNDLES):
        for n in range(OPS):
            phone.new("hazard", 1, {"area": area, "note": str(n)})
        assert {verdict["state"] for verdict in phone.push()} == {"ok"}
        time.sleep(pause)


def counted(plant: Plant) -> int:
    text = httpx.get(f"{plant.origin}/metrics").raise_for_status().text
    found = re.search(r'^anlu_ops_accepted_total\{verb="new"\} ([\d.e+]+)$', text, re.MULTILINE)
    return int(float(found[1])) if found else 0


def test_a_worker_that_dies_and_workers_that_are_renewed_cost_no_phone_an_op(plant: Plant) -> None:
    until(lambda: len(processes(plant)) == WORKERS)
    phones = [Worker(plant.origin).sign_in("inspector") for _ in range(PHONES)]
    phones[0].pull()
    area = next(iter(phones[0].of_kind("area")))
    listening, heard = threading.Event(), threading.Event()

    def listen() -> None:
        with phones[0].http.stream("GET", "/api/sync/events", timeout=SECONDS_MAX) as stream:
            for line in stream.iter_lines():
                listening.set()
                if line.startswith("data:") and "seq" in line:
                    heard.set()
                    return

    threading.Thread(target=listen, daemon=True).start()
    with ThreadPoolExecutor(PHONES) as pool:
        assert listening.wait(SECONDS_MAX)
        before = counted(plant)
        first = [pool.submit(write, phone, area) for phone in phones]
        for one in first:
            one.result()
        # Whichever process took it, each listener hears of it, and each counts for all.
        assert heard.wait(SECONDS_MAX)
        assert counted(plant) - before >= PHONES * BUNDLES * OPS

        old = processes(plant)
        second = [pool.submit(write, phone, area, 0.05) for phone in phones]
        time.sleep(0.3)
        os.kill(min(old), signal.SIGKILL)
        for one in second:
            one.result()
        until(lambda: len(processes(plant)) == WORKERS and min(old) not in processes(plant))

        # Renewed one after the other, while the others go on answering.
        old = processes(plant)
        assert plant.process
        plant.process.send_signal(signal.SIGHUP)
        ends = time.monotonic() + 3 * SECONDS_MAX
        while not old.isdisjoint(processes(plant)):
            assert time.monotonic() < ends
            for one in [pool.submit(write, phone, area, 0.05) for phone in phones]:
                one.result()

    # Every op is there once, by its own phone.
    for phone in phones:
        assert phone.sent == len(phone.said)
        assert phone.verdicts.keys() == {verdict["op"] for verdict in phone.verdicts.values()}
        assert len(phone.verdicts) == len(phone.said)
    reader = Worker(plant.origin).sign_in("inspector")
    reader.pull()
    assert len(reader.of_kind("hazard")) == sum(len(phone.said) for phone in phones)
    began = time.monotonic()
    plant.process.terminate()
    assert plant.process.wait(SECONDS_MAX) == 0
    assert time.monotonic() - began < 15
    assert "nothing in the ledger was changed" in done(anlu(plant, "verify"))
