"""A phone whose process is killed at each write of its outbox, and started again on its storage, has lost nothing and repeats nothing."""

import itertools
from pathlib import Path

from playwright.sync_api import Error, Playwright

from tests.e2e.client import Client
from tests.e2e.harness import Phone, Plant, kill_browser, phone_on
from tests.e2e.plants import Crane
from tests.e2e.test_checks import answer_ok, checks_of, type_code

POINTS_MAX = 400

# Every write of a transaction that holds the queue counts twice, before and after, and so does its end. At the chosen one the page stands
# still, and the test kills the process.
STANDS_STILL_AT = """
(() => {
  let count = 0;
  const here = (where) => {
    count += 1;
    if (count !== %d) return;
    console.log('killed here: ' + where);
    for (const until = Date.now() + 60000; Date.now() < until; );
  };
  const ours = (transaction) => transaction.db.name === 'anlu-device' && transaction.objectStoreNames.contains('ops');
  for (const name of ['add', 'put', 'delete']) {
    const plain = IDBObjectStore.prototype[name];
    IDBObjectStore.prototype[name] = function (...given) {
      const counted = ours(this.transaction);
      if (counted) here('before ' + name + ' in ' + this.name);
      const request = plain.apply(this, given);
      if (counted) request.addEventListener('success', () => here('after ' + name + ' in ' + this.name));
      return request;
    };
  }
  const plain = IDBDatabase.prototype.transaction;
  IDBDatabase.prototype.transaction = function (...given) {
    const transaction = plain.apply(this, given);
    if (transaction.mode === 'readwrite' && ours(transaction)) transaction.addEventListener('complete', () => here('complete'));
    return transaction;
  };
})();
"""

QUEUE = """
() => new Promise((resolve, reject) => {
  const opening = indexedDB.open('anlu-device');
  opening.onerror = () => reject(opening.error);
  opening.onsuccess = () => {
    const asked = opening.result.transaction('ops').objectStore('ops').getAll();
    asked.onsuccess = () => { opening.result.close(); resolve(asked.result.map(({ op, n, state }) => ({ op, n, state }))); };
  };
})
"""


def open_again(playwright: Playwright, profile: Path, plant: Plant, *, offline: bool, at: int = 0) -> tuple[Phone, list[str]]:
    """The phone on its storage; `at`: it is killed there, and what it said then stands in the list."""
    held = phone_on(playwright, profile, plant.origin)
    held.context.set_offline(offline)
    killed: list[str] = []

    def heard(text: str) -> None:
        if text.startswith("killed here"):
            killed.append(text)
            kill_browser(profile)

    held.page.on("console", lambda said: heard(said.text))
    if at:
        held.context.add_init_script(STANDS_STILL_AT % at)
    try:
        held.open()
        held.by("scan-key").or_(held.by("pin-1")).first.wait_for()
        if held.by("pin-1").is_visible():
            held.unlock()
        held.by("scan-key").wait_for()
    except Error:
        if not killed:
            raise
    return held, killed


def test_killed_at_each_write_of_its_outbox_a_phone_loses_nothing_and_says_nothing_twice(
    playwright: Playwright, plant: Plant, all_cranes: list[Crane], tmp_path: Path
) -> None:
    crane = all_cranes[1]
    profile = tmp_path / "phone"
    first = phone_on(playwright, profile, plant.origin)
    first.sign_in("worker")
    first.ready_offline()
    first.close()
    office = Client(plant.origin).sign_in("admin")
    known: set[str] = set()

    # While something is said, without a network.
    for at in itertools.count(1):
        assert at < POINTS_MAX
        held, killed = open_again(playwright, profile, plant, offline=True, at=at)
        confirmed = 0
        try:
            type_code(held, crane)
            held.press("begin-check") if held.by("begin-check").is_visible() else held.press("continue-check")
            held.by("check-item").wait_for()
            answer_ok(held)
            confirmed += 1
        except Error:
            if not killed:
                raise
        held.close()
        held, _ = open_again(playwright, profile, plant, offline=True)
        queue = held.page.evaluate(QUEUE)
        held.close()
        assert sorted(row["n"] for row in queue) == list(range(1, len(queue) + 1)), f"{killed} leaves a gap in the queue"
        now = {row["op"] for row in queue}
        assert known <= now, f"{killed} lost an op"
        assert len(now - known) >= confirmed, f"{killed} lost what the screen had confirmed"
        known = now
        if not killed:
            break

    # While it is sent and answered.
    for at in itertools.count(1):
        assert at < POINTS_MAX
        held, killed = open_again(playwright, profile, plant, offline=False, at=at)
        try:
            held.synced()
        except Error:
            if not killed:
                raise
        held.close()
        if not killed:
            break
    held, _ = open_again(playwright, profile, plant, offline=False)
    held.synced()
    queue = held.page.evaluate(QUEUE)
    held.close()
    assert {row["op"] for row in queue} == known
    assert {row["state"] for row in queue} == {"accepted"}

    checks = checks_of(office, crane)
    answers = [office.docs[f"check.overhead_crane/{one}"][1]["sets"].get("answers", {}) for one in checks]
    # One op began each check, one gave each answer: together they are the queue, each once.
    assert len(checks) + sum(map(len, answers)) == len(known)
