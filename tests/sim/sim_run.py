"""Runs a schedule: phones and server do what it says, and whatever is not as promised comes out as a list of sentences."""

import asyncio
import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from sim_model import SERVER
from sim_phones import Cut, HttpError, Line, Phone, Private
from sim_schedule import Schedule, fault_plan
from sim_world import AREA_IDS, PERSON_IDS, World, make_template, roles_of

from backend.kernel.ids import uuid7
from backend.sync.op import Act

QUIET_ROUNDS_MAX = 8
ROUND_MS = 2_000
DAY_MS = 86_400_000
NO_ENTRY = ("auth.expired", "auth.other_session", "auth.not_active", "auth.revoked", "auth.device_retired", "device.forked")


class Base:
    """Where plants of one kind of database begin: a template, copied for each history."""

    def __init__(self, folder: Path, store: str, databases: Any = None) -> None:
        self.folder, self.store, self.databases = folder, store, databases
        self.url = ""

    async def prepare(self) -> None:
        self.folder.mkdir(parents=True)
        self.url = f"sqlite:///{self.folder / 'anlu.db'}" if self.store == "sqlite" else self.databases.new()
        await make_template(self.folder, self.url)

    def forget(self) -> None:
        if self.databases is not None:
            self.databases.drop(self.url)

    def copy(self, folder: Path) -> World:
        folder.mkdir(parents=True)
        shutil.copytree(self.folder / "keys", folder / "keys")
        if self.store == "sqlite":
            shutil.copyfile(self.folder / "anlu.db", folder / "anlu.db")
            return World(folder, f"sqlite:///{folder / 'anlu.db'}")
        return World(folder, self.databases.new(like=self.url), self.databases)


class Run:
    """One history."""

    def __init__(self, world: World, schedule: Schedule, make_phone: Callable[..., Any]) -> None:
        self.world, self.schedule = world, schedule
        self.problems: list[str] = []
        self.phones: list[Any] = []
        self._make_phone = make_phone

    async def go(self) -> list[str]:
        """What was wrong; nothing, where all held."""
        await self.world.start()
        for n, sort in enumerate(self.schedule["phones"]):
            persons = [PERSON_IDS[2 * n], PERSON_IDS[2 * n + 1]]
            self.phones.append(self._make_phone(sort, Line(self.world.answer), lambda: self.world.now, Random(f"phone {n}"), persons))
        for n, phone in enumerate(self.phones):
            await phone.sign_in(phone.persons[n % 2])
            await phone.sync()
        for n, step in enumerate(self.schedule["steps"]):
            what, which, seed = step
            self.world.now += 1_000
            phone = self.phones[which % len(self.phones)]
            await getattr(self, f"do_{what}")(phone, Random(seed))
            await self._awake()
            if self.problems:
                self.problems = [f"after step {n} {step}: {problem}" for problem in self.problems[:5]]
                return self.problems
        await self._quiet()
        return self.problems

    # What is said.

    async def do_say(self, phone: Any, random: Random) -> None:
        for _ in range(random.choice([1, 1, 2, 4])):
            await self._say(phone, random)

    async def _say(self, phone: Any, random: Random) -> None:
        docs = [key for key in await phone.docs() if key.startswith("job/")]
        if self.world.made and random.random() < 0.12:
            docs = [random.choice(self.world.made)]  # heard of, perhaps not held
        what = random.choices(["new", "set", "add", "act"], [3, 3, 3, 6] if docs else [1, 0, 0, 0])[0]
        anonymous = random.random() < 0.08
        if what == "new":
            key = f"job/{uuid7(self.world.now, random.randbytes(10))}"
            if self.world.made and random.random() < 0.04:
                key = random.choice(self.world.made)
            versions = self.world.model.kinds("job")
            version = random.choice([1, 1, 1, 2]) if random.random() < 0.2 else max(v for v in versions)
            fields = self._fields(random)
            fields["area"] = random.choice(AREA_IDS)
            if self.world.made and random.random() < 0.3:
                fields["parent"] = random.choice(self.world.made)[4:]
            if random.random() < 0.05:
                fields["owner"] = random.choice(PERSON_IDS)
            if await phone.say("new", key, version, fields, anonymous=anonymous):
                self.world.made.append(key)
            return
        key = random.choice(docs)
        if what == "set":
            fields = self._fields(random) or {"title": None}
            await phone.say("set", key, fields, anonymous=anonymous and random.random() < 0.3)
        elif what == "add":
            name = random.choice(["remarks", "readings"])
            item = {"text": f"t{random.randrange(9)}"} if name == "remarks" else {"value": random.choice([1, 42.5, 90, 91, 120, "hot"])}
            item_id = uuid7(self.world.now, random.randbytes(10)) if random.random() < 0.9 else uuid7(0, bytes([random.randrange(3)] * 10))
            await phone.say("add", key, name, item_id, item, anonymous=anonymous)
        else:
            step = random.choices(["begin", "halt", "finish", "move", "drop", "cut"], [6, 4, 5, 2, 0.7, 0.3])[0]
            given = {"halt": {"why": "smoke"} if random.random() < 0.5 else {}, "move": {"area": random.choice(AREA_IDS)}}.get(step, {})
            base = await phone.base(key) if random.random() < 0.95 else random.choice([0, 2**50])
            await phone.say("act", key, step, given, base, anonymous=anonymous)

    def _fields(self, random: Random) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        if random.random() < 0.7:
            fields["title"] = random.choice([f"title {random.randrange(99)}", "钢水", None, "é\u2028"])
        if random.random() < 0.5:
            fields["amount"] = random.choice(
                [random.randrange(900), 0.5, None, "many"] if random.random() < 0.3 else [random.randrange(900)]
            )
        if random.random() < 0.2:
            fields["secret"] = Private(f"secret {random.randrange(9)}") if random.random() < 0.9 else "in clear"
        return {name: value for name, value in fields.items() if value is not None or random.random() < 0.5}

    async def do_race(self, phone: Any, random: Random) -> None:
        """One stops what another starts, both without a network, and come back at once."""
        other = random.choice(self.phones)
        jobs = [key for key in self.world.made if key in self.world.model.docs]
        if not jobs or other is phone:
            return
        if phone.person and random.random() < 0.4:
            # The same person at two phones: what one said on this is not known on that.
            await other.sign_out()
            await self._sign_in(other, phone.person)
        key = random.choice(jobs)
        await phone.say("act", key, "halt", {}, await phone.base(key))
        for step in ("begin", "finish"):
            await other.say("act", key, step, {}, await other.base(key))
        await self._together([phone, other], random, {})

    async def do_malformed(self, phone: Any, random: Random) -> None:
        await phone.say_bytes(random.choice([b"[]", b'["set"]', b'{"a":1}', b"null", b'["act",1,2,3,4,5]', b'["new",-1,0,0,"x","y",1,{}]']))

    async def do_stranger(self, phone: Any, random: Random) -> None:
        """An op that names another phone."""
        others = [other for other in self.phones if isinstance(other, Phone) and other is not phone and other.disk.current]
        if others and isinstance(phone, Phone) and phone.disk.person:
            other = random.choice(others)
            key = f"job/{uuid7(self.world.now, random.randbytes(10))}"
            op = ["new", other.disk.current, 1, self.world.now, phone.disk.person, key, 1, {"area": AREA_IDS[0]}]
            await phone.say_bytes(json.dumps(op, separators=(",", ":")).encode())

    # How it travels.

    async def do_sync(self, phone: Any, random: Random) -> None:
        await self._contact(phone, phone.sync, random)

    async def do_push(self, phone: Any, random: Random) -> None:
        await self._contact(phone, phone.push, random)

    async def do_pull(self, phone: Any, random: Random) -> None:
        if phone.person:
            await self._contact(phone, phone.pull, random)

    async def do_together(self, phone: Any, random: Random) -> None:
        await self._together(random.sample(self.phones, min(len(self.phones), random.randint(2, 4))), random, None)

    async def _together(self, phones: list[Any], random: Random, plan: dict[int, str] | None) -> None:
        for phone in phones:
            phone.line.expect(fault_plan(random) if plan is None else plan)

        async def one(phone: Any) -> None:
            with suppress(Cut, HttpError):
                await phone.sync()

        await asyncio.gather(*map(one, phones))
        for phone in phones:
            phone.line.expect({})

    async def _contact(self, phone: Any, work: Any, random: Random | None) -> str:
        """A phone speaks with the server; then it must hold what its person may hold. Returns the code of what stood in the way."""
        phone.line.expect(fault_plan(random) if random is not None and random.random() < 0.5 else {})
        phone.complete = False
        try:
            await work()
        except Cut:
            return "cut"
        except HttpError as error:
            if error.status >= 500 and error.status not in (503, 507):
                self.problems.append(f"the server answered {error.status} {error.code}")
            return error.code
        finally:
            phone.line.expect({})
            await self._awake()
            await self.world.learn()
            self.problems += self.world.model.problems
        if phone.complete:
            await self._holds(phone)
        return ""

    async def _holds(self, phone: Any) -> None:
        due = self.world.model.visible(phone.person, self.world.known)
        held = await phone.held()
        for key in sorted(held.keys() | due.keys()):
            if key not in due:
                self.problems.append(f"a phone holds {key}, which its person may not hold")
            elif key not in held:
                self.problems.append(f"a phone lacks {key} after a whole pull")
            elif held[key][0] != due[key][0] or held[key][1] not in due[key][1]:
                self.problems.append(f"a phone holds of {key}\n  {held[key]}\nand not\n  {due[key]}")

    async def do_carry(self, phone: Any, random: Random) -> None:
        """Somebody brings a bundle that was on its way long ago."""
        if self.world.pushes:
            headers, body = random.choice(self.world.pushes)
            await self.world.answer("/api/sync/push", headers, "", body)

    # What happens to phones and people.

    async def do_time(self, phone: Any, random: Random) -> None:
        self.world.now += random.choice([1, 10_000, 60_000, 3_600_000, 20 * 3_600_000])

    async def do_server_clock(self, phone: Any, random: Random) -> None:
        self.world.now += random.choice([-600_000, -5_000, 600_000])

    async def do_clock(self, phone: Any, random: Random) -> None:
        phone.skew = random.choice([0, DAY_MS, -DAY_MS, 600_000, -600_000, 4 * 60_000, -1_500])

    async def do_switch(self, phone: Any, random: Random) -> None:
        others = phone.persons if random.random() < 0.7 else PERSON_IDS[: 2 * len(self.schedule["phones"])]
        other = random.choice([person for person in others if person != phone.person])
        await phone.sign_out()
        await self._sign_in(phone, other)

    async def _sign_in(self, phone: Any, person: str) -> str:
        return await self._contact(phone, lambda: phone.sign_in(person), None)

    async def do_keep(self, phone: Any, random: Random) -> None:
        await phone.keep_snapshot()

    async def do_roll_back(self, phone: Any, random: Random) -> None:
        await phone.roll_back()

    async def do_clone(self, phone: Any, random: Random) -> None:
        if len(self.phones) < 10:
            self.phones.append(await phone.clone())

    async def do_reopen(self, phone: Any, random: Random) -> None:
        await phone.reopen(random)

    async def do_evict(self, phone: Any, random: Random) -> None:
        person = phone.person or phone.persons[0]
        await phone.evict()
        await self._sign_in(phone, person)

    async def do_clear_cache(self, phone: Any, random: Random) -> None:
        await phone.clear_cache()

    async def do_lose(self, phone: Any, random: Random) -> None:
        await phone.lose()

    async def do_revoke(self, phone: Any, random: Random) -> None:
        await self.world.revoke("person", random.choice(phone.persons), True)

    async def do_let_in(self, phone: Any, random: Random) -> None:
        for person in phone.persons:
            if self.world.known.is_revoked("person", person, 2**62):
                await self.world.revoke("person", person, False)

    async def do_retire(self, phone: Any, random: Random) -> None:
        number = await phone.number()
        if number and await self.world.rows("SELECT number FROM device WHERE number = $1", number):
            await self.world.revoke("device", str(number), True)

    async def do_roles(self, phone: Any, random: Random) -> None:
        person = random.choice(phone.persons)
        roles = random.choice([roles_of(random.randrange(16)), [{"role": "gate", "area": random.choice(AREA_IDS)}], []])
        await self.world.say(Act(0, 0, 0, SERVER, f"person/{person}", "assign_roles", {"roles": roles}, 0))

    async def do_leave(self, phone: Any, random: Random) -> None:
        person = random.choice(phone.persons)
        await self.world.say(Act(0, 0, 0, SERVER, f"person/{person}", random.choice(["deactivate", "reactivate"]), {}, 0))

    async def do_decide(self, phone: Any, random: Random) -> None:
        """Whoever holds parked cases decides on some, entitled or not."""
        waiting = [
            key
            for key in await phone.docs()
            if key.startswith("parked/") and (doc := self.world.model.docs.get(key)) and doc.body["status"] == "waiting"
        ]
        for key in random.sample(waiting, min(len(waiting), 2)):
            await phone.say("act", key, random.choice(["take", "take", "refuse"]), {"reason": "seen"}, await phone.base(key))

    # What happens to the server.

    async def do_crash(self, phone: Any, random: Random) -> None:
        await self._under("crash", random)

    async def do_full(self, phone: Any, random: Random) -> None:
        await self._under("full", random)

    async def _under(self, what: str, random: Random) -> None:
        self.world.server.store.fault.arm(what, random.randint(1, 40))
        await self._together(random.sample(self.phones, min(len(self.phones), random.randint(1, 3))), random, {})
        self.world.server.store.fault.what = ""
        await self._awake()

    async def _awake(self) -> None:
        if self.world.server.store.fault.dead:
            await self.world.restart()
        await self.world.learn()
        self.problems += self.world.model.problems

    async def do_restart(self, phone: Any, random: Random) -> None:
        await self.world.restart()

    async def do_back_up(self, phone: Any, random: Random) -> None:
        await self.world.back_up()

    async def do_restore(self, phone: Any, random: Random) -> None:
        self.world.now += 60_000
        await self.world.restore()

    async def do_new_version(self, phone: Any, random: Random) -> None:
        await self.world.load_job_2()

    async def do_retire_version(self, phone: Any, random: Random) -> None:
        await self.world.retire_job_1()

    # The end.

    async def _quiet(self) -> None:
        """The network is good, and everybody who may comes back until nothing moves any more. Then everything must be as promised."""
        for phone in self.phones:
            phone.skew = 0
        for _ in range(QUIET_ROUNDS_MAX):
            before = await self.world.end()
            self.world.now += ROUND_MS
            codes = [await self._come_back(phone) for phone in self.phones]
            if self.problems:
                return
            if await self.world.end() == before and not any(codes):
                break
        else:
            self.problems.append(f"it does not come to rest: {codes}")
        self.problems += await self.world.check()
        await self._nothing_lost()
        await self._again()

    async def _come_back(self, phone: Any) -> str:
        """One more sync; somebody who may signs in where nobody is. Returns what still stands in the way and may yet go."""
        code = await self._contact(phone, phone.sync, None)
        if phone.person and code not in NO_ENTRY:
            return code
        for person in sorted(phone.persons, key=lambda one: one != phone.person):
            if not self.world.known.is_revoked("person", person, 2**62):
                await phone.sign_out()
                if not await self._sign_in(phone, person):
                    return await self._contact(phone, phone.sync, None)
        # Nobody may use it any more: what it holds still goes up, but for a queue that forked, which nobody can register anew.
        await phone.sign_out()
        code = await self._contact(phone, phone.ask_and_push, None)
        return "" if code in NO_ENTRY or await phone.stuck() else code

    async def _nothing_lost(self) -> None:
        rows = await self.world.rows("SELECT op, COUNT(*) AS n FROM ledger WHERE what = 'op' GROUP BY op")
        ledger = {row["op"]: row["n"] for row in rows}
        self.problems += [f"{op} is in the ledger {n} times" for op, n in ledger.items() if n != 1]
        queues = {id(phone): {op for op, _, _ in await phone.queue()} for phone in self.phones}
        for phone in self.phones:
            stuck = await phone.stuck()
            for op, state, acknowledged in await phone.queue():
                if state == "lost":
                    continue
                if not acknowledged and not stuck:
                    self.problems.append(f"{op} is still in its phone's queue")
                elif acknowledged and op not in ledger:
                    self.problems.append(f"{op} was acknowledged to its phone ({state}) and is not in the ledger")
            if stuck:
                continue
            states = {state for _, state, _ in await phone.queue()}
            if not states & {"parked", "queued"} and phone.person and (foretold := await phone.pending()):
                self.problems.append(f"a phone still foretells {foretold} though all was answered")
            for op, state in await phone.told():
                if sum(op in held for held in queues.values()) > 1:
                    continue  # a cloned phone says the same: later verdicts go to whichever numbered it last
                stands = self.world.model.verdicts.get(op)
                if stands is not None and stands.state != {"accepted": "ok"}.get(state, state):
                    self.problems.append(f"a phone shows {op} as {state}, and it is {stands.state}")

    async def _again(self) -> None:
        """Everything that was taken comes once more: nothing may change."""
        if self.problems:
            return
        before = (
            await self.world.rows("SELECT COUNT(*) AS n FROM ledger"),
            await self.world.rows("SELECT key, seq FROM document ORDER BY key"),
        )
        for headers, body in self.world.taken[-40:]:
            await self.world.answer("/api/sync/push", headers, "", body)
        after = (
            await self.world.rows("SELECT COUNT(*) AS n FROM ledger"),
            await self.world.rows("SELECT key, seq FROM document ORDER BY key"),
        )
        if before != after:
            self.problems.append("what was sent again changed something")


async def run(base: Base, schedule: Schedule, make_phone: Callable[..., Any]) -> tuple[list[str], Run]:
    """Run one schedule on a plant of its own."""
    folder = Path(tempfile.mkdtemp(prefix="anlu-sim-", dir=scratch()))
    world = base.copy(folder / "plant")
    one = Run(world, schedule, make_phone)
    try:
        await one.go()
    finally:
        with suppress(Exception):
            await world.stop()
        if base.databases is not None:
            base.databases.drop(world.url)
            if world.backup is not None:
                base.databases.drop(world.backup)
        shutil.rmtree(folder, ignore_errors=True)
    return one.problems, one


def scratch() -> str | None:
    """Memory, where there is some to write to: a simulated crash asks nothing of a disk."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
