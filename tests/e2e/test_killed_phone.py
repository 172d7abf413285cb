"""A phone whose process is killed at each write of its outbox, and started again on its storage, has lost nothing and repeats nothing."""

import itertools
from pathlib import Path
from types import TracebackType
from typing import Any

from playwright.sync_api import Error, Playwright

from tests.e2e.client import Client
from tests.e2e.harness import Phone, Plant, kill_browser, phone_on
from tests.e2e.plants import Crane
from tests.e2e.test_checks import answer_ok, checks_of, type_code

POINTS_MIN = 6
"""Fewer writes than this cannot keep an op or a verdict: the page would not be watched any more."""

# Once armed, every write of a transaction that holds the queue counts twice, before and after, and so does its end. At the chosen one the
# page stands still, and the test kills the process.
STANDS_STILL = """
(() => {
  let count = 0;
  const here = (where) => {
    if (window.armedAt === undefined || ++count !== window.armedAt) return;
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


class KilledPhone:
    """A phone on its storage, without a network to begin with. `killed` tells where it was, once it is."""

    def __init__(self, playwright: Playwright, profile: Path, plant: Plant) -> None:
        self.held = phone_on(playwright, profile, plant.origin)
        self.profile = profile
        self.killed: str | None = None
        self.held.context.add_init_script(STANDS_STILL)
        self.held.context.set_offline(True)
        self.held.page.on("console", lambda said: self._heard(said.text))
        self.held.open()
        self.held.by("scan-key").or_(self.held.by("pin-1")).first.wait_for()
        if self.held.by("pin-1").is_visible():
            self.held.unlock()
        self.held.by("scan-key").wait_for()

    def _heard(self, text: str) -> None:
        if text.startswith("killed here"):
            self.killed = text
            kill_browser(self.profile)

    def arm(self, at: int) -> None:
        self.held.page.evaluate("at => { window.armedAt = at; }", at)

    def queue(self) -> list[dict[str, Any]]:
        return list(self.held.page.evaluate(QUEUE))

    def __enter__(self) -> "KilledPhone":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        self.held.close()
        # What was under way when the process went is torn off.
        return isinstance(error, Error | AssertionError) and self.killed is not None


class Said:
    """The ops that the queue has held, and how many more the screen has confirmed since."""

    def __init__(self) -> None:
        self.ops: set[str] = set()
        self.confirmed = 0
        self.at: str | None = None

    def hold(self, phone: KilledPhone) -> None:
        """What the queue holds now: without a gap, with all it ever held, and with all that was confirmed."""
        queue = phone.queue()
        assert sorted(row["n"] for row in queue) == list(range(1, len(queue) + 1)), f"{self.at} leaves a gap in the queue"
        now = {row["op"] for row in queue}
        assert self.ops <= now, f"{self.at} lost an op"
        assert len(now - self.ops) >= self.confirmed, f"{self.at} lost what the screen had confirmed"
        self.ops, self.confirmed = now, 0


def to_the_check(held: Phone, crane: Crane) -> None:
    type_code(held, crane)
    held.press("begin-check" if held.by("begin-check").is_visible() else "continue-check")
    held.by("check-item").or_(held.by("finish-check")).first.wait_for()


def one_answer(held: Phone) -> None:
    if held.by("finish-check").is_visible():
        held.press("finish-check")
        held.by("check-result").wait_for()
    else:
        answer_ok(held)


def test_killed_at_each_write_of_its_outbox_a_phone_loses_nothing_and_says_nothing_twice(
    playwright: Playwright, plant: Plant, all_cranes: list[Crane], tmp_path: Path
) -> None:
    crane = all_cranes[0]
    profile = tmp_path / "phone"
    first = phone_on(playwright, profile, plant.origin)
    first.sign_in("worker")
    first.ready_offline()
    first.close()
    said = Said()

    # Killed while something is said.
    for at in itertools.count(1):
        with KilledPhone(playwright, profile, plant) as phone:
            said.hold(phone)
            to_the_check(phone.held, crane)
            said.hold(phone)
            phone.arm(at)
            one_answer(phone.held)
            said.confirmed += 1
        said.at = phone.killed
        if not phone.killed:
            break
    assert at > POINTS_MIN

    # Killed while it is sent and answered: each time there is something more to send.
    for at in itertools.count(1):
        with KilledPhone(playwright, profile, plant) as phone:
            # What the last one left behind goes first, so that this time is about one op and its verdict.
            phone.held.context.set_offline(False)
            phone.held.synced()
            phone.held.context.set_offline(True)
            to_the_check(phone.held, crane)
            one_answer(phone.held)
            said.hold(phone)
            phone.held.today()
            phone.arm(at)
            phone.held.context.set_offline(False)
            phone.held.synced()
        said.at = phone.killed
        if not phone.killed:
            break
    assert at > POINTS_MIN

    with KilledPhone(playwright, profile, plant) as phone:
        phone.held.context.set_offline(False)
        phone.held.synced()
        said.hold(phone)
        assert {row["state"] for row in phone.queue()} == {"accepted"}
    known = said.ops
    # On the server each is once: an op began each check, gave each answer, and ended each check that has ended.
    office = Client(plant.origin).sign_in("admin")
    checks = checks_of(office, crane)
    answers = [office.docs[f"check.overhead_crane/{one}"][1]["sets"].get("answers", {}) for one in checks]
    ended = [one for one, check in checks.items() if check["status"] != "begun"]
    assert len(checks) + sum(map(len, answers)) + len(ended) == len(known)
