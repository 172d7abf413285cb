"""A server and phones as the sync tests hold them: real store, keys, tokens and signatures; a small judge of its own kinds.

`thing` is a document with free fields `note`, `place`, `amount` (`set` by anybody), sets `remarks`, acts `begin` (a start), `halt` (a
stop), `finish`, `move`. The judge also knows `kind` and `parked`, and refuses, parks or fails when a field tells it to.
"""

import base64
import gzip
import itertools
import json
import secrets
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwe
from joserfc.jwk import ECKey

from backend.auth import devices
from backend.auth.revocations import Revocations
from backend.auth.tokens import Keys
from backend.kernel.ids import SERVER_AUTHOR, uuid7
from backend.store import migrate, open_store
from backend.sync import hlc
from backend.sync.judge import Body, Change, Docs, Document, FollowAct, Lost, NotStarted, Outcome, Parked, Refused, Spawn, StopFacts
from backend.sync.op import Act, Add, Author, New, Op, Sealed, Set, encode, encode_bundle, op_id, sealed_hash
from backend.sync.server import PushAnswer, Sync

NOW = 1_760_000_000_000
KNOWN_KINDS = {("thing", 1), ("kind", 1), ("parked", 1)}


class SmallJudge:
    """Default deny over three kinds, with a status machine for `thing`: open, working, halted, done."""

    def __init__(self) -> None:
        self.holds: dict[str, set[str]] = {}
        self.readers: set[str] = set()
        self.observed: list[str] = []
        self.told: list[Lost | NotStarted] = []

    async def judge(self, op: Op, op_id: str, doc: Document | None, docs: Docs, *, at: int, author: str, stops: StopFacts) -> Outcome:
        kind = op.doc.partition("/")[0]
        match op:
            case New():
                if (kind, op.version) not in KNOWN_KINDS:
                    loaded = [
                        d
                        for d in await docs.all("kind")
                        if d.body["fields"]["name"][0] == kind and d.body["fields"]["number"][0] == op.version
                    ]
                    if not loaded:
                        return Parked("op.awaits_kind", {"kind": kind, "version": op.version})
                if op.fields.get("fail"):
                    raise ZeroDivisionError("a mistake of ours")
                if op.fields.get("refuse"):
                    return Refused("op.exists", {"doc": op.doc})
                spawns = [Spawn("child", "thing", {"note": f"child of {op.doc}"})] if op.fields.get("spawn") else []
                status = {"parked": "waiting", "kind": "used"}.get(kind, "open")
                return Change(status=status, fields=dict(op.fields), spawns=spawns)
            case Set():
                return Change(fields=dict(op.fields)) if "status_by" not in op.fields else Refused("op.set_aside")
            case Add():
                return Change(items={op.set: {op.item_id: op.item}})
            case Act():
                assert doc is not None
                return self._act(op, doc, stops)

    def _act(self, op: Act, doc: Document, stops: StopFacts) -> Outcome:
        status = doc.body["status"]
        acts = [FollowAct("other", op.input["then"], "halt", {})] if "then" in op.input else []
        match doc.kind, op.transition:
            case "parked", "take" | "refuse" if status == "waiting":
                return Change(status="taken" if op.transition == "take" else "refused")
            case "thing", "begin" if stops.unseen:
                return Refused("op.set_aside", {"stops": list(stops.unseen)})
            case "thing", "begin" if status in ("open", "halted"):
                return Change(status="working", fields={"status_by": op.device}, acts=acts)
            case "thing", "halt" if status != "done":
                return Change(status="halted", fields={"status_by": op.device})
            case "thing", "finish" if status == "working":
                return Change(status="done")
            case "thing", "move":
                return Change(fields={"area": op.input["area"]})
        return Refused("op.set_aside", {"from": status})

    def uses(self, op: Op, doc: Document | None) -> list[str]:
        return [op.input["then"]] if isinstance(op, Act) and "then" in op.input else []

    async def placement(self, docs: Docs, key: str, body: Body) -> list[str]:
        if key.startswith("parked/"):
            return ["role:supervisor"]
        area = body["fields"].get("area", ["site"])[0]
        return ["site"] if area == "site" else [f"area:{area}"]

    async def shapes(self, docs: Docs, person: str) -> list[str]:
        return sorted(self.holds.get(person, {"site"}))

    async def opens(self, docs: Docs, person: str, key: str, body: Body) -> set[str]:
        return {"place", "author", "remarks.where"} if person in self.readers else set()

    async def reads(self, docs: Docs, person: str) -> dict[str, str]:
        return {"read": str(person in self.readers)}

    def is_stop(self, op: Op, doc: Document | None) -> bool:
        return isinstance(op, Act) and op.transition == "halt"

    async def notices(self, docs: Docs, event: Lost | NotStarted) -> list[Spawn]:
        self.told.append(event)
        return []

    def observe(self, keys: Sequence[str]) -> None:
        self.observed += keys


class World:
    """A server on a folder, with a clock that a test moves. Its database is the one at `url`, else a file in the folder."""

    def __init__(self, folder: Path, judge: Any = None, url: str = "") -> None:
        self.folder = folder
        self.url = url or f"sqlite:///{folder / 'anlu.db'}"
        self.now = NOW
        self.judge = judge or SmallJudge()
        self.random = itertools.count(1)
        self.accepted: list[Any] = []

    async def __aenter__(self) -> "World":
        self.store = open_store(self.url)
        await migrate(self.store)
        self.keys = Keys(self.folder / "keys", self.now)
        self.revocations = Revocations(self.folder / "keys" / "revocations.jsonl")
        self.sync = Sync(self.store, self.judge, self.keys, self.revocations, clock=lambda: self.now, on_accepted=[self._follow])
        await self.sync.start()
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.sync.stop()
        await self.store.close()

    async def _follow(self, tx: Any, accepted: list[Any]) -> None:
        self.accepted += accepted

    def new_id(self) -> str:
        return uuid7(self.now, next(self.random).to_bytes(10, "big"))

    async def phone(self, person: str | None = None, predecessor: "Phone | None" = None) -> "Phone":
        phone = Phone(self, person or self.new_id())
        async with self.store.write() as tx:
            before = predecessor.number if predecessor else None
            phone.number = await devices.register(tx, phone.spki, before, phone.person, now=self.now)
            phone.predecessors = await devices.predecessors(tx, phone.number)
        phone.certificate = self.keys.issue_certificate(phone.number, phone.spki, phone.predecessors, self.now)
        phone.sign_in(phone.person)
        return phone

    async def rows(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        async with self.store.read() as tx:
            return [dict(row) for row in await tx.all(sql, *params)]

    async def body(self, key: str) -> Any:
        rows = await self.rows("SELECT body FROM document WHERE key = $1", key)
        return json.loads(rows[0]["body"]) if rows else None

    async def view(self, key: str) -> dict[str, Any]:
        body = await self.body(key)
        return {"status": body["status"], **{name: entry[0] for name, entry in body["fields"].items()}}

    async def pull(self, phone: "Phone", cursor: str | None = None, want: Sequence[str] = (), person: str | None = None) -> "Pulled":
        parts = [part async for part in self.sync.pull(person or phone.person, phone.number, cursor, want)]
        return Pulled([json.loads(line) for part in parts for line in part.splitlines()], parts)


class Pulled:
    """The lines of a pull."""

    def __init__(self, lines: list[dict[str, Any]], parts: list[bytes]) -> None:
        self.lines = lines
        self.parts = parts
        self.head = lines[0]
        self.cursor = lines[-1]["cursor"]
        self.through = lines[-1]["through"]
        self.more = lines[-1]["more"]

    def of(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if name in line]


class Phone:
    """A phone's queue: makes ops, signs bundles, remembers what it said."""

    def __init__(self, world: World, person: str) -> None:
        self.world = world
        self.person = person
        self.key = ec.generate_private_key(ec.SECP256R1())
        spki = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.spki = base64.b64encode(spki).decode()
        self.number = 0
        self.predecessors: tuple[int, ...] = ()
        self.certificate = ""
        self.tokens: dict[str, list[str]] = {}
        self.queue: list[bytes] = []
        self.sealed: dict[str, tuple[str, str]] = {}
        self.last = 0

    def sign_in(self, person: str) -> None:
        self.person = person
        self.tokens.setdefault(person, []).append(self.world.keys.issue_author(person, self.number, self.world.now))

    def _head(self) -> tuple[int, int, int]:
        self.last = hlc.make(self.last, self.world.now)
        return self.number, self.last, self.world.now

    def put(self, op: Op) -> str:
        data = encode(op)
        self.queue.append(data)
        return op_id(data)

    def new(
        self, fields: dict[str, Any], doc: str | None = None, kind: str = "thing", version: int = 1, author: Author | None = None
    ) -> str:
        key = doc or f"{kind}/{self.world.new_id()}"
        self.put(New(*self._head(), author or self.person, key, version, fields))
        return key

    def set(self, doc: str, fields: dict[str, Any]) -> str:
        return self.put(Set(*self._head(), self.person, doc, fields))

    def add(self, doc: str, item: dict[str, Any], name: str = "remarks", item_id: str | None = None) -> str:
        return self.put(Add(*self._head(), self.person, doc, name, item_id or self.world.new_id(), item))

    def act(self, doc: str, transition: str, base: int = 0, **given: Any) -> str:
        return self.put(Act(*self._head(), self.person, doc, transition, given, base))

    def seal(self, value: Any) -> dict[str, str]:
        salt, text = secrets.token_bytes(16), json.dumps(value)
        digest = sealed_hash(salt, text)
        self.sealed[digest] = (base64.b64encode(salt).decode(), text)
        return {"sealed": digest}

    def anonymous(self) -> Sealed:
        return Sealed(self.seal(self.person)["sealed"])

    def bundle(self, first: int = 1, upto: int | None = None, **changes: Any) -> bytes:
        ops = self.queue[first - 1 : upto]
        prev = op_id(self.queue[first - 2]) if first > 1 else None
        given = {
            "device": self.number,
            "certificate": self.certificate,
            "first": first,
            "prev": prev,
            "sealed": self.sealed,
            "authors": self.tokens,
        }
        return encode_bundle(ops, **(given | changes))

    def sign(self, data: bytes) -> str:
        r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(hashes.SHA256())))
        return base64.b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode()

    async def push(self, first: int = 1, upto: int | None = None, **changes: Any) -> PushAnswer:
        data = self.bundle(first, upto, **changes)
        return await self.world.sync.push(data, self.sign(data))

    async def push_new(self, **changes: Any) -> PushAnswer:
        """What the server lacks."""
        rows = await self.world.rows("SELECT have FROM place WHERE device = $1", self.number)
        return await self.push((rows[0]["have"] if rows else 0) + 1, **changes)

    def kept(self, data: bytes, receipt: str) -> bytes:
        """A bundle as the phone keeps it after it was acknowledged."""
        key = next(k for k in self.world.keys.jwks()["keys"] if k["use"] == "enc")
        plain = f"{self.sign(data)}\n{receipt}\n".encode() + data
        header = {"alg": "ECDH-ES", "enc": "A256GCM", "kid": key["kid"]}
        return jwe.encrypt_compact(header, plain, ECKey.import_key(key), algorithms=["ECDH-ES", "A256GCM"]).encode()


def supervisor_takes(op: str, doc_seq: int = 0) -> Act:
    """What a supervisor says on a parked op, as the server's own device would write it in a test."""
    return Act(0, 0, 0, SERVER_AUTHOR, f"parked/{op}", "take", {}, doc_seq)


def kind_document(name: str, version: int = 1) -> New:
    """A kind that is loaded."""
    from backend.kernel import ids

    return New(0, 0, 0, SERVER_AUTHOR, f"kind/{ids.kind_document(name, version)}", 1, {"name": name, "number": version})


def unpack(body: bytes, encoding: str) -> bytes:
    """A body before its Content-Encoding."""
    return gzip.decompress(body) if encoding == "gzip" else zlib.decompress(body) if encoding else body


_ = msgspec
