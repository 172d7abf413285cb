"""Many sign in at once. `python -m bench sign_in` states the figure for 300; other work runs beside the tests, so the bound here is wider."""

import concurrent.futures
import time

import httpx
import pytest

from backend.demo import PASSWORD
from tests.e2e.client import Client
from tests.e2e.harness import Plant

NAMES = ("worker", "inspector", "guardian", "supervisor", "safety", "gate", "manager", "admin")
PHONES_EACH = 4
SECONDS_MAX = 30


@pytest.mark.timeout(120)
def test_who_comes_together_at_a_shift_change_is_let_in_and_the_server_answers_others_meanwhile(tmp_path):
    plant = Plant(tmp_path, ANLU_PASSWORD_MS="250").start()
    try:
        began = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(len(NAMES) * PHONES_EACH) as pool:
            coming = [pool.submit(Client(plant.origin).sign_in, name, PASSWORD) for name in NAMES for _ in range(PHONES_EACH)]
            health = []
            while not all(one.done() for one in coming):
                asked = time.perf_counter()
                assert httpx.get(f"{plant.origin}/api/health", timeout=SECONDS_MAX).status_code == 200
                health.append(time.perf_counter() - asked)
                time.sleep(0.2)
            devices = {one.result().device for one in coming}
        assert len(devices) == len(coming)
        assert time.perf_counter() - began <= SECONDS_MAX
        # Passwords are compared two at a time, in threads: nobody else waits for them.
        assert sorted(health)[len(health) // 2] <= 1
    finally:
        plant.stop()
