"""The drill: a plant is backed up, works on for an hour, is lost, and is restored; its phones come back and heal it.

    python -m tests.operate.drill --phones 40 --ops 50 [--keys-lost] [--seed 7]

Phones are real devices with keys, signatures and receipts over HTTP. Within the hour: everybody says things, new phones register, one
person is revoked, a machine that was taken back into use is stopped again, and one phone has no network and sends only after the restore.
Then the database (and, with `--keys-lost`, the keys) is deleted, the backup brought back, and the phones come in an order drawn by chance.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from backend.demo import area_id
from tests.e2e.harness import Plant
from tests.operate.keeping import Keeper, anlu, done

ACCOUNTS = ("worker", "inspector", "supervisor", "safety")
REVOKED = "guardian"
PHONES_AT_ONCE = 8
REGISTERED_SHARE = 0.2


class Drill(msgspec.Struct, kw_only=True):
    """What came of it. Times in seconds."""

    phones: int
    registered: int
    ops: int
    brought_back: int
    lost_ops: list[str] = []
    lost_documents: list[str] = []
    waiting: int = 0
    refused: int = 0
    restore_seconds: float = 0
    healing_seconds: float = 0
    machine: str = ""
    revoked: str = ""
    problems: list[str] = []

    @property
    def ok(self) -> bool:
        return not self.problems and not self.lost_ops and not self.lost_documents

    def text(self) -> str:
        """For whoever ran it."""
        lines = [
            f"{self.phones} phones, {self.registered} of them registered since the backup; {self.ops} ops, {self.brought_back} brought back",
            f"restored in {self.restore_seconds:.1f} s, healed in {self.healing_seconds:.1f} s",
            f"lost: {len(self.lost_ops)} ops, {len(self.lost_documents)} documents; {self.waiting} ops of the revoked wait for a supervisor,"
            f" {self.refused} starts refused behind a stop",
            f"the machine that was stopped is {self.machine}; the person that was revoked: {self.revoked}",
            *(f"✗ {problem}" for problem in self.problems),
        ]
        return "\n".join(lines)


def drill(plant: Plant, folder: Path, *, phones: int, ops: int, keys_lost: bool, seed: int, tell: Callable[[str], None]) -> Drill:
    """Run it on a plant that serves. `folder`: where the backup goes; `ops`: how many each phone says in the hour."""
    chance = random.Random(seed)
    admin = phone_of(plant, "admin")
    early = [phone_of(plant, ACCOUNTS[n % len(ACCOUNTS)]) for n in range(max(4, phones - round(phones * REGISTERED_SHARE)))]
    revoked = phone_of(plant, REVOKED)
    worker, supervisor, offline = early[0], early[2], early[1]
    for phone in (*early, revoked):
        say(phone, "before the backup")
    machine = shared_machine(worker, supervisor)
    worker.act(machine, "stop_use", {"reason": "a noise"})
    send(worker)
    supervisor.pull()
    tell("backing up")
    done(anlu(plant, "backup", str(folder)))

    tell("the hour")
    # Taken back into use, and stopped again by somebody who does not know that: the second stop must stand.
    supervisor.act(machine, "resume", {})
    send(supervisor)
    with ThreadPoolExecutor(PHONES_AT_ONCE) as pool:
        late = list(pool.map(lambda n: phone_of(plant, ACCOUNTS[n % len(ACCOUNTS)]), range(max(1, phones - len(early)))))
        list(pool.map(lambda phone: [say(phone, f"in the hour {n}") for n in range(ops)], [*early[3:], *late, worker, supervisor, revoked]))
    worker.pull()
    worker.act(machine, "stop_use", {"reason": "the noise again"})
    send(worker)
    for n in range(ops):
        note(offline, f"without a network {n}")
    answer = admin.http.post(f"/api/people/{revoked.person}/revoke")
    assert answer.status_code == 204, answer.text
    everybody = [*early, *late, revoked]
    said = {one: phone for phone in everybody for one in phone.ids()}

    tell("the server is lost")
    plant.kill()
    shutil.rmtree(plant.folder / "data")
    if keys_lost:
        shutil.rmtree(plant.settings["ANLU_KEYS"])
    began = time.monotonic()
    restored = done(anlu(plant, "restore", str(folder), *([] if keys_lost else ["--replace"])))
    plant.start()
    restore_seconds = time.monotonic() - began

    tell("the phones come back")
    chance.shuffle(everybody)
    began = time.monotonic()
    with ThreadPoolExecutor(PHONES_AT_ONCE) as pool:
        brought = sum(pool.map(heal, everybody))
    took = time.monotonic() - began

    found = Drill(phones=len(everybody), registered=len(late), ops=len(said), brought_back=brought)
    found.restore_seconds, found.healing_seconds = restore_seconds, took
    watching = phone_of(plant, "safety")
    states = {one: phone.verdicts.get(one, {}).get("state") for one, phone in said.items()}
    found.lost_ops = [one for one, state in states.items() if state is None]
    for one, state in states.items():
        phone = said[one]
        if state == "parked":
            found.waiting += 1
            if phone is not revoked:
                found.problems.append(f"an op of somebody who was not revoked waits: {phone.verdicts[one]}")
        elif state == "refused":
            found.refused += 1
            if phone is not supervisor or phone.verdicts[one]["code"] != "flow.stopped_since":
                found.problems.append(f"an op is refused: {phone.verdicts[one]}")
    found.lost_documents = [
        key for phone in everybody for one, key in phone.keys.items() if states[one] == "ok" and key not in watching.docs
    ]
    found.machine = watching.docs[machine][1]["status"]
    if found.machine != "stopped":
        found.problems.append("a start was revived behind the stop")
    again = revoked.http.post("/api/sync/pull", json={"cursor": None, "want": []}).status_code
    if keys_lost:
        found.revoked = "counts again, as the restore said"
        if "revoked since the backup count again" not in restored:
            found.problems.append("the restore did not say that revocations were lost")
    else:
        found.revoked = "stays revoked"
        if again != 401 or not signs_in_not(plant, REVOKED):
            found.problems.append("who was revoked is let in again")
    for phone in everybody:
        if phone.have() != len(phone.said):
            found.problems.append(f"device {phone.device}: {phone.have()} of {len(phone.said)}")
    plant.stop()
    verified = anlu(plant, "verify")
    if verified.returncode != 0:
        found.problems.append(verified.stdout)
    return found


class DrillPhone(Keeper):
    """`keys`: the document that each op of it began, by op id."""

    keys: dict[str, str]


def phone_of(plant: Plant, username: str) -> DrillPhone:
    phone = DrillPhone(plant.origin)
    phone.sign_in(username)
    phone.keys = {}
    phone.pull()
    return phone


def signs_in_not(plant: Plant, username: str) -> bool:
    """Whether this account is refused."""
    try:
        Keeper(plant.origin).sign_in(username)
    except Exception as error:
        return "401" in str(error) or "403" in str(error)
    return False


def note(phone: DrillPhone, text: str) -> None:
    """Say a hazard, and keep it in the queue."""
    version = max(int(kind["number"]) for kind in phone.of_kind("kind").values() if kind["name"] == "hazard")
    key = phone.new("hazard", version, {"area": area_id("steelmaking"), "note": text})
    phone.keys[phone.ids()[-1]] = key


def say(phone: DrillPhone, text: str) -> None:
    note(phone, text)
    send(phone)


def send(phone: DrillPhone) -> None:
    states = [verdict["state"] for verdict in phone.push()]
    assert set(states) == {"ok"}, phone.verdicts


def shared_machine(one: Keeper, other: Keeper) -> str:
    """A machine in use that both hold."""
    return min(
        key for key, (_, body) in one.docs.items() if key.startswith("machine/") and body["status"] == "running" and key in other.docs
    )


def heal(phone: DrillPhone) -> int:
    """What a phone does that finds another epoch: ask, bring back, then send what waits. How many ops it brought back."""
    before = phone.have()
    # What the backup has is not said again; of all else only the restored server's word counts.
    phone.verdicts = {one: phone.verdicts[one] for one in phone.ids()[:before]}
    phone.heal()
    lacked = phone.sent - before
    phone.push()
    return lacked


def main() -> int:
    parser = argparse.ArgumentParser(prog="just drill", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phones", type=int, default=40)
    parser.add_argument("--ops", type=int, default=50, help="that each phone says within the hour")
    parser.add_argument("--keys-lost", action="store_true", help="the keys' folder is lost with the database")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="anlu-drill-") as name:
        folder = Path(name)
        plant = Plant(folder / "plant", ANLU_KEYS=str(folder / "keys")).start()
        try:
            found = drill(
                plant, folder / "backup", phones=asked.phones, ops=asked.ops, keys_lost=asked.keys_lost, seed=asked.seed, tell=print
            )
        finally:
            plant.stop()
    print(found.text())
    return 0 if found.ok else 1


if __name__ == "__main__":
    sys.exit(main())
