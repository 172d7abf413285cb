"""The server of a simulation: the product's sync, store, keys, sessions and rules in this process, on a folder and a clock of its own.

What lies around is ours: an HTTP desk of a few lines instead of sockets, and a store that fails when it is told to. A password is not
asked for: signing in begins a session and goes on as a refresh does.
"""

import json
import shutil
import sqlite3
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from sim_model import CAPS, PLANT, SERVER, Knowledge, Model, canonical, plain

from backend.audit.verify import verify
from backend.auth import devices, sessions
from backend.auth.passwords import Cost, Passwords
from backend.auth.revocations import Line, Revocations
from backend.auth.service import Auth, Refresh
from backend.auth.sessions import Principal
from backend.auth.tokens import Keys
from backend.domains.people import queries as people
from backend.flow.judge import FlowJudge
from backend.flow.kind import CompiledKind, compile_kind, pack_source
from backend.flow.load import kind_files, read_kind, read_yaml
from backend.kernel.errors import Refusal, catalogue
from backend.kernel.ids import kind_document, uuid7
from backend.store import DatabaseError, migrate, open_store
from backend.sync.hlc import from_ms
from backend.sync.op import Act, New
from backend.sync.rebuild import differences
from backend.sync.server import Sync
from backend.sync.shapes import TxDocs

NOW = 1_780_000_000_000
HERE = Path(__file__).parent
OF_THE_PRODUCT = ("kind", "plant", "parked", "notice", "area", "person")
SESSION_MS = 30 * 86_400_000
AREAS = 3
PEOPLE = 16


def simulated_kinds() -> list[CompiledKind]:
    """The kinds that a simulated plant has: the product's own where sync leans on them, and two that the model knows."""
    found = [compile_kind(read_kind(path) or {}) for path in kind_files() if path.stem in OF_THE_PRODUCT]
    return found + [compile_kind(read_yaml(HERE / "kinds" / f"{name}.yaml")) for name in ("job", "slip")]


KINDS = simulated_kinds()


def next_job() -> CompiledKind:
    """The second version of `job`: one field more."""
    content = read_yaml(HERE / "kinds" / "job.yaml")
    content["version"] = 2
    content["fields"]["grade"] = {"type": "text", "max": 10, "default": "b", "title": {"zh": "等级", "en": "Grade"}}
    content["edit"][0]["fields"].append("grade")
    return compile_kind(content)


JOB_2 = next_job()


class Crash(Exception):
    """The server's power goes."""


class Fault:
    """At the nth statement of the writer: `full` fails it, `crash` fails it and everything after it."""

    def __init__(self) -> None:
        self.left = 0
        self.what = ""
        self.dead = False

    def arm(self, what: str, after: int) -> None:
        self.what, self.left = what, after

    def hit(self) -> None:
        if self.dead:
            raise DatabaseError("the power is gone")
        if self.what:
            self.left -= 1
            if self.left <= 0:
                self.dead = self.what == "crash"
                if self.what == "crash":
                    self.what = ""
                    raise DatabaseError("the power is gone")
                raise sqlite3.OperationalError("database or disk is full")


class FaultyTx:
    """A write transaction whose statements may fail."""

    def __init__(self, tx: Any, fault: Fault) -> None:
        self._tx = tx
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    async def run(self, sql: str, *params: Any) -> int:
        self._fault.hit()
        count: int = await self._tx.run(sql, *params)
        return count

    async def many(self, sql: str, rows: Any) -> None:
        self._fault.hit()
        await self._tx.many(sql, rows)


class FaultyStore:
    """The real store, with statements that fail on demand: before them, before the commit, and after it before anybody heard."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.fault = Fault()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Any]:
        self.fault.hit()
        async with self._store.write() as tx:
            yield FaultyTx(tx, self.fault)
            self.fault.hit()
        if self.fault.what == "crash" or self.fault.dead:
            self.fault.hit()


class Persons:
    """Persons' documents, for sign-in."""

    def __init__(self, judge: FlowJudge) -> None:
        self._judge = judge

    async def standing(self, tx: Any, person: str) -> Any:
        return await people.standing(TxDocs(tx), self._judge, person)

    async def make_administrator(self, tx: Any, names: Any) -> str:
        raise Refusal("auth.setup_code")  # a simulated plant has its people from the start


class Server:
    """One run of the server over a folder and a database."""

    def __init__(self, folder: Path, url: str, clock: Callable[[], int]) -> None:
        self.folder, self.url, self.clock = folder, url, clock

    async def start(self) -> None:
        self.store = FaultyStore(open_store(self.url))
        self.keys = Keys(self.folder / "keys", self.clock())
        self.revocations = Revocations(self.folder / "keys" / "revocations.jsonl")
        self.judge = FlowJudge(KINDS)
        self.sync = Sync(self.store, self.judge, self.keys, self.revocations, clock=self.clock)
        await self.sync.start()
        async with self.store.read() as tx:
            await self.judge.warm(TxDocs(tx))
        self.auth = Auth(
            self.store,
            self.keys,
            self.revocations,
            PASSWORDS,
            Persons(self.judge),
            clock=self.clock,
            epoch=lambda: self.sync.epoch,
            hlc=from_ms,
            https=False,
            worker_session_hours=12,
            admin_session_hours=12,
        )

    async def stop(self) -> None:
        await self.sync.stop()
        await self.store.close()


async def make_template(folder: Path, url: str) -> None:
    """A plant with its kinds, areas and people, as every history begins."""
    (folder / "keys").mkdir(parents=True, exist_ok=True)
    store = open_store(url)
    await migrate(store)
    await store.close()
    server = Server(folder, url, lambda: NOW)
    await server.start()
    said = [_kind(kind) for kind in sorted(KINDS, key=lambda kind: kind.name != "kind")]
    plant = {**read_yaml(HERE.parents[1] / "backend/flow/plant.yaml"), "roles": {role: sorted(caps) for role, caps in CAPS.items()}}
    said.append(New(0, 0, 0, SERVER, PLANT, 1, plant))
    for n, area in enumerate(AREA_IDS):
        said.append(New(0, 0, 0, SERVER, f"area/{area}", 1, {"code": f"A{n}", "names": {"zh": f"区{n}", "en": f"Area {n}"}}))
    for n, person in enumerate(PERSON_IDS):
        fields = {"names": {"zh": f"人{n}", "en": f"Person {n}"}, "roles": roles_of(n)}
        said.append(New(0, 0, 0, SERVER, f"person/{person}", 1, fields))
    for op in said:
        for verdict in await server.sync.say(op):
            assert verdict.state == "ok", (op, verdict)
    await server.stop()


def _kind(kind: CompiledKind) -> New:
    title = msgspec.to_builtins(kind.kind.title)
    key = f"kind/{kind_document(kind.name, kind.kind.version)}"
    return New(0, 0, 0, SERVER, key, 1, {"name": kind.name, "number": kind.kind.version, "title": title, **pack_source(kind.kind)})


AREA_IDS = [uuid7(NOW, f"area{n}".ljust(10).encode()) for n in range(AREAS)]
PERSON_IDS = [uuid7(NOW, f"person{n:02}".ljust(10).encode()) for n in range(PEOPLE)]


def roles_of(n: int) -> list[dict[str, Any]]:
    """Every fourth is a supervisor, of one area or of the whole plant; one in eight has two roles."""
    role = "supervisor" if n % 4 == 0 else "worker"
    found = [{"role": role, "area": None if n % 8 == 0 else AREA_IDS[n % AREAS]}]
    return [*found, {"role": "worker", "area": AREA_IDS[(n + 1) % AREAS]}] if n % 8 == 3 else found


class World:
    """A plant under simulation: the server as it runs now, its clock, its backup, and what the model must know."""

    def __init__(self, folder: Path, url: str, databases: Any = None) -> None:
        self.folder, self.url, self.databases = folder, url, databases
        self.now = NOW + 60_000
        self.known = Knowledge()
        self.model = Model()
        self.backup: str | Path | None = None
        self.restored = 0
        self.pushes: list[tuple[dict[str, str], bytes]] = []
        """Every push as it arrived, for whoever sends it again."""
        self.taken: list[tuple[dict[str, str], bytes]] = []
        """Those that were answered with a yes since the database was last restored."""
        self.made: list[str] = []

    async def start(self) -> None:
        self.server = Server(self.folder, self.url, lambda: self.now)
        await self.server.start()
        self.known.server_devices.add(self.server.sync.device)
        if not self.known.external:
            rows = await self.rows("SELECT op FROM ledger WHERE what = 'op'")
            self.known.external |= {row["op"] for row in rows}
        end = await self.end()
        for delivery in self.known.deliveries:
            delivery.high = min(delivery.high, end)  # whoever was cut off by the end of the last run brought nothing after it
        await self.learn()

    async def stop(self) -> None:
        await self.server.stop()

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def rows(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        async with self.server.store.read() as tx:
            return [dict(row) for row in await tx.all(sql, *params)]

    async def end(self) -> int:
        rows = await self.rows("SELECT MAX(seq) AS seq FROM ledger")
        return rows[0]["seq"] or 0

    async def learn(self) -> None:
        """Let the model read what the ledger has now."""
        query = "SELECT seq, what, at, op, queue, n, device, e, state, code, params, bytes FROM ledger WHERE seq > $1 ORDER BY seq"
        for row in await self.rows(query, self.model.end):
            self.model.take(row, self.known)

    # What is done to the server.

    async def back_up(self) -> None:
        await self.stop()
        if self.databases is not None:
            if self.backup is not None:
                self.databases.drop(self.backup)
            self.backup = self.databases.new(like=self.url)
        else:
            path = Path(self.url.removeprefix("sqlite:///"))
            self.backup = path.with_suffix(".backup")
            shutil.copyfile(path, self.backup)
        await self.start()

    async def restore(self) -> None:
        """The database as it was; the keys, the heads and the revocations beside them stay."""
        if self.backup is None:
            return
        await self.stop()
        if self.databases is not None:
            lost, self.url = self.url, self.databases.new(like=self.backup)
            self.databases.drop(lost)
        else:
            path = Path(self.url.removeprefix("sqlite:///"))
            for beside in path.parent.glob(f"{path.name}-*"):
                beside.unlink()
            shutil.copyfile(self.backup, path)
        self.model = Model()
        self.taken.clear()
        self.restored += 1
        await self.start()

    async def say(self, *ops: Any) -> None:
        """The administrator's desk."""
        verdicts = await self.server.sync.say(*ops)
        self.known.external |= {verdict.op for verdict in verdicts}

    async def load_job_2(self) -> None:
        if 2 not in self.model.kinds("job"):
            await self.say(_kind(JOB_2))

    async def retire_job_1(self) -> None:
        await self.load_job_2()
        await self.say(Act(0, 0, 0, SERVER, f"kind/{kind_document('job', 1)}", "retire", {}, 0))

    async def revoke(self, what: str, who: str, revoked: bool) -> None:
        self.server.revocations.note(Line(what, who, revoked, self.now, SERVER))
        self.known.revoked.append((what, who, revoked, await self.end()))
        if what == "person":
            async with self.server.store.write() as tx:
                await sessions.end_of_person(tx, who, self.now)
        elif revoked:
            async with self.server.store.write() as tx:
                await devices.retire(tx, int(who), SERVER, self.now)

    # The desk: what HTTP would bring.

    async def answer(self, path: str, headers: dict[str, str], cookie: str, body: bytes) -> tuple[int, dict[str, str], bytes, str]:
        """Status, headers, body and cookie of the answer. Raises Crash where the server died before it could say anything."""
        try:
            status, content, cookie = await self._answer(path, {name.lower(): value for name, value in headers.items()}, cookie, body)
        except (ValueError, zlib.error, msgspec.MsgspecError):
            # What the framework refuses before our own code sees it: half a body.
            status, content = 400, b'{"code": "http.malformed", "params": {}}'
        except Refusal as refusal:
            status, content = catalogue()[refusal.code].status, msgspec.json.encode({"code": refusal.code, "params": refusal.params})
        except (sqlite3.Error, DatabaseError):
            if self.server.store.fault.dead:
                raise Crash from None
            status, content = 507, b'{"code": "http.internal", "params": {}}'
        if self.server.store.fault.dead:
            raise Crash
        return status, {"content-type": "application/json"}, content, cookie

    async def _answer(self, path: str, headers: dict[str, str], cookie: str, body: bytes) -> tuple[int, bytes, str]:
        sync, auth = self.server.sync, self.server.auth
        match path:
            case "/api/sync/push":
                self.pushes.append((headers, body))
                answer = await self._push(headers, body)
                self.taken.append((headers, body))
                return 200, answer, cookie
            case "/api/sync/pull":
                person = await self._principal(headers, cookie)
                asked = json.loads(body)
                parts = [part async for part in sync.pull(person.person, person.device, asked["cursor"], asked["want"])]
                return 200, b"".join(parts), cookie
            case "/api/auth/nonce":
                return 200, msgspec.json.encode({"nonce": auth.nonces.make(self.now)}), cookie
            case "/api/auth/keys":
                return 200, msgspec.json.encode(self.server.keys.jwks(self.now)), cookie
            case "/api/auth/sign-in":
                asked = json.loads(body)
                return await self._sign_in(asked["username"], asked["device"])
            case "/api/auth/refresh":
                principal = await self._principal(headers, cookie, named=False)
                refresh = msgspec.json.decode(body, type=Refresh)
                return 200, msgspec.json.encode(await auth.refresh(principal, refresh)), cookie
            case "/api/auth/sign-out":
                principal = await self._principal(headers, cookie, named=False)
                await auth.sign_out(principal)
                return 204, b"", ""
            case "/api/devices/report":
                await self._principal(headers, cookie)
                return 204, b"", cookie
        return 404, b'{"code": "http.not_found", "params": {}}', cookie

    async def _push(self, headers: dict[str, str], body: bytes) -> bytes:
        if headers.get("content-encoding") == "gzip":
            body = zlib.decompress(body, 31)
        jose = headers.get("content-type", "") == "application/jose"
        bundle, receipt = body, None
        if jose:
            _, token, bundle = self.server.keys.open_jose(body.decode()).split(b"\n", 2)
            receipt = self.server.keys.verify_receipt(token.decode())
            if receipt.get("device") != json.loads(bundle).get("device"):
                receipt = None
        found = self.known.deliver(bundle, await self.end(), receipt)
        try:
            answer = await self.server.sync.push(body, headers.get("anlu-signature", ""), jose=jose)
        finally:
            if found is not None and not self.server.store.fault.dead:
                found.high = await self.end()
        return msgspec.json.encode(answer)

    async def _principal(self, headers: dict[str, str], cookie: str, *, named: bool = True) -> Principal:
        async with self.server.store.read() as tx:
            found = await sessions.find(tx, cookie, self.now) if cookie else None
        revocations = self.server.revocations
        if found is None or revocations.person(found.person) or revocations.device(found.device):
            raise Refusal("auth.expired")
        if named and (headers.get("anlu-person"), headers.get("anlu-device")) != (found.person, str(found.device)):
            raise Refusal("auth.other_session")
        return found

    async def _sign_in(self, person: str, device: dict[str, Any]) -> tuple[int, bytes, str]:
        """As at the desk once the password was right: a session of nobody's phone yet, which the refresh then moves to this one."""
        if self.server.revocations.person(person):
            raise Refusal("auth.revoked")
        async with self.server.store.write() as tx:
            cookie = await sessions.begin(tx, person, 0, self.now, self.now + SESSION_MS)
        principal = Principal(person, 0, sessions.name_of(cookie), self.now, self.now)
        try:
            answer = await self.server.auth.refresh(principal, msgspec.convert({"device": device}, Refresh))
        except Refusal:
            async with self.server.store.write() as tx:
                await sessions.end(tx, principal.session, self.now)
            raise
        return 200, msgspec.json.encode(answer), cookie

    # What must hold.

    async def check(self) -> list[str]:
        """Whether the ledger verifies, is rebuilt to what is live, and is what the model says."""
        await self.learn()
        found = self.model.at_rest()
        report = await verify(self.server.store, self.server.keys)
        if not report.ok:
            found.append(report.text())
        found += await differences(self.server.store, FlowJudge(KINDS))
        live = {row["key"]: row for row in await self.rows("SELECT key, seq, body, author FROM document")}
        for key in sorted(live.keys() | self.model.docs.keys()):
            found += self._document(key, live.get(key))
        members: dict[str, set[str]] = {}
        for row in await self.rows("SELECT shape, doc FROM member"):
            members.setdefault(row["doc"], set()).add(row["shape"])
        for key, doc in self.model.docs.items():
            if members.get(key, set()) != self.model.placement(doc):
                found.append(f"{key} is in {sorted(members.get(key, set()))}, not in {sorted(self.model.placement(doc))}")
        return found

    def _document(self, key: str, row: dict[str, Any] | None) -> list[str]:
        doc = self.model.docs.get(key)
        if row is None or doc is None:
            return [f"{key} is {'live' if row else 'not live'} and {'in' if doc else 'not in'} the model"]
        if (row["seq"], row["author"]) != (doc.seq, doc.author):
            return [f"{key} has seq {row['seq']} by {row['author']}, not {doc.seq} by {doc.author}"]
        live = json.loads(row["body"])
        if plain(live) != plain(doc.body):
            return [f"{key} is\n  {canonical(live).decode()}\nnot\n  {canonical(doc.body).decode()}"]
        return []


PASSWORDS = Passwords(Cost())
