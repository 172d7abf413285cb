"""Phones written from the protocol's page alone: what they keep is one `Disk`, which can be copied, put back and lost like a real one's."""

import asyncio
import base64
import copy
import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwe
from joserfc.jwk import ECKey
from sim_model import AHEAD_MS, EPOCH_MS, TICKS, payload, plain

OPS_MAX = 500
UNKNOWN = "0" * 64

Wire = Callable[[str, dict[str, str], str, bytes], Awaitable[tuple[int, dict[str, str], bytes, str]]]
"""path, headers, cookie, body → status, headers, body, cookie."""


class Cut(Exception):
    """No answer came, or half of one."""


class Line:
    """The phone's way to the server. `plan` says what happens to which request from now: drop (never arrives), torn (half of it arrives), lose (the answer does not
    come), cut (half of the answer comes), twice (arrives twice)."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.plan: dict[int, str] = {}
        self._count = 0
        self.online = True

    def expect(self, plan: dict[int, str]) -> None:
        self.plan, self._count = plan, 0

    async def ask(self, path: str, headers: dict[str, str], cookie: str, body: bytes) -> tuple[int, dict[str, str], bytes, str]:
        if not self.online:
            raise Cut
        what = self.plan.get(self._count, "")
        self._count += 1
        if what == "drop":
            raise Cut
        try:
            if what == "torn":
                await self.wire(path, headers, cookie, body[: len(body) // 2])
                raise Cut
            if what == "twice":
                first, again = await asyncio.gather(self.wire(path, headers, cookie, body), self.wire(path, headers, cookie, body))
                answer = first if first[0] == 200 else again
            else:
                answer = await self.wire(path, headers, cookie, body)
        except Exception as error:
            if type(error).__name__ == "Crash":
                raise Cut from None
            raise
        if what == "lose":
            raise Cut
        if what == "cut":
            status, head, content, cookie = answer
            return status, head, content[: len(content) // 2], cookie
        return answer


class Private(str):
    """A personal value, which a phone seals before it says it."""


class HttpError(Exception):
    """The server answered, and not with a yes."""

    def __init__(self, status: int, code: str, params: dict[str, Any]) -> None:
        super().__init__(f"{status} {code}")
        self.status, self.code, self.params = status, code, params


@dataclass
class Row:
    """An op in a queue."""

    op: str
    maker: int
    queue: int
    n: int
    data: bytes | None
    author: str
    at: int
    doc: str
    sealed: dict[str, tuple[str, str]]
    state: str = "queued"
    seq: int = -1


@dataclass
class Device:
    key: str
    certificate: str
    n: int = 0
    acked: int = 0


@dataclass
class Space:
    """What one person holds on this phone."""

    cursor: str | None = None
    through: int = 0
    docs: dict[str, tuple[int, int, dict[str, Any]]] = field(default_factory=dict)
    want: list[str] = field(default_factory=list)
    round: int = 0
    sweeping: bool = False


@dataclass
class Disk:
    """All that a phone would have after its battery was out."""

    devices: dict[int, Device] = field(default_factory=dict)
    current: int = 0
    ops: dict[str, Row] = field(default_factory=dict)
    tokens: list[tuple[str, str]] = field(default_factory=list)
    kept: list[tuple[int, int, int, bytes]] = field(default_factory=list)
    """(device, first, last, JWE)."""
    spaces: dict[str, Space] = field(default_factory=dict)
    person: str = ""
    cookie: str = ""
    last: int = 0
    last_at: int = 0
    offset: int = 0
    epoch: str = ""
    enc: dict[str, Any] = field(default_factory=dict)
    forked: int | None = None
    resend: bool = False


_keys: dict[str, ec.EllipticCurvePrivateKey] = {}
"""Private keys by their public half: a copied disk holds the same ones."""


class Phone:
    """A phone in somebody's hand. `truth()` is the time as it is; `skew` is how wrong its clock goes."""

    def __init__(self, line: Line, truth: Callable[[], int], random: Random, persons: list[str]) -> None:
        self.line, self.truth, self.random, self.persons = line, truth, random, persons
        self.disk = Disk()
        self.skew = 0
        self.snapshot: Disk | None = None
        self.bundle_max = OPS_MAX
        self._texts: dict[str, tuple[Any, bytes]] = {}
        self.complete = False
        """Whether the last pull came to its end."""

    def wall(self) -> int:
        return self.truth() + self.skew

    # Who.

    async def sign_in(self, person: str) -> None:
        """Raises Cut, HttpError."""
        disk = self.disk
        asked = {"username": person, "password": "", "device": await self._who()}
        try:
            said = await self._json("/api/auth/sign-in", asked, signing_in=True)
        except HttpError as error:
            if error.code != "auth.proof" or not disk.current:
                raise
            # A server restored from before this phone's registration learns of it from the certificate that its queue carries.
            await self._question(disk.current)
            asked["device"] = await self._who()
            said = await self._json("/api/auth/sign-in", asked, signing_in=True)
        self._signed_in(said)
        disk.person = person
        disk.spaces.setdefault(person, Space())

    async def sign_out(self) -> None:
        self.disk.person = self.disk.cookie = ""

    async def _who(self) -> dict[str, Any]:
        disk = self.disk
        if disk.current and disk.forked is None:
            return await self._proof(disk.current)
        key = ec.generate_private_key(ec.SECP256R1())
        spki = base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
        _keys[spki] = key
        found: dict[str, Any] = {"label": "sim", "public_key": spki}
        if disk.forked is not None:
            found["predecessor"] = await self._proof(disk.forked)
        self._next_key = spki
        return found

    async def _proof(self, number: int) -> dict[str, Any]:
        nonce = (await self._json("/api/auth/nonce", None))["nonce"]
        return {"number": number, "nonce": nonce, "proof": _sign(self.disk.devices[number].key, f"anlu-device:{number}:{nonce}".encode())}

    def _signed_in(self, said: dict[str, Any]) -> None:
        disk, number = self.disk, said["device"]
        known = disk.devices.get(number)
        if known is not None:
            known.certificate = said["certificate"]
        else:
            waiting = (
                [row for row in disk.ops.values() if row.queue == disk.forked and row.state == "queued"] if disk.forked is not None else []
            )
            waiting.sort(key=lambda row: row.n)
            disk.devices[number] = Device(self._next_key, said["certificate"], len(waiting))
            for n, row in enumerate(waiting, 1):
                row.queue, row.n = number, n
            if disk.forked is not None:
                disk.devices[disk.forked].n = disk.devices[disk.forked].acked
            disk.forked = None
        disk.current = number
        disk.tokens.append((said["person"]["id"], said["author_token"]))
        disk.enc = next(key for key in said["keys"]["keys"] if key["use"] == "enc")
        self._hear(said)

    def _hear(self, said: dict[str, Any]) -> None:
        disk = self.disk
        now = said["now"] // TICKS + EPOCH_MS
        disk.offset = now - self.wall()
        ahead = said["now"] + AHEAD_MS * TICKS
        disk.last = said["now"] if disk.last > ahead else max(disk.last, said["now"])
        if disk.last_at > now + AHEAD_MS:
            disk.last_at = now
        if disk.epoch != said["epoch"]:
            disk.resend = disk.resend or bool(disk.epoch)
            disk.epoch = said["epoch"]

    # What is said.

    async def say(self, verb: str, doc: str, *rest: Any, anonymous: bool = False) -> str | None:
        """Put an op into the queue; its id, or None where nobody can speak here now."""
        disk = self.disk
        if not disk.person or not disk.current:
            return None
        sealed: dict[str, tuple[str, str]] = {}
        rest = tuple(_sealed(part, sealed) for part in rest)
        author: Any = seal(disk.person, sealed) if anonymous else disk.person
        now = self.wall() + disk.offset
        disk.last = max((now - EPOCH_MS) * TICKS, disk.last + 1)
        disk.last_at = max(now, disk.last_at, EPOCH_MS)
        op = [verb, disk.current, disk.last, disk.last_at, author, doc, *rest]
        return self._queue(json.dumps(op, ensure_ascii=False, separators=(",", ":")).encode(), doc, sealed)

    async def say_bytes(self, data: bytes) -> str | None:
        """Something that is no op, as only a broken app would write it."""
        return self._queue(data, "", {}) if self.disk.person and self.disk.current else None

    def _queue(self, data: bytes, doc: str, sealed: dict[str, tuple[str, str]]) -> str:
        disk = self.disk
        op = hashlib.sha256(data).hexdigest()
        device = disk.devices[disk.current]
        device.n += 1
        disk.ops[op] = Row(op, disk.current, disk.current, device.n, data, disk.person, disk.last_at, doc, sealed)
        return op

    # Push.

    async def sync(self) -> None:
        """Push, then pull. Raises Cut, HttpError."""
        await self.push()
        if self.disk.person:
            await self.pull()

    async def push(self) -> None:
        disk = self.disk
        if not disk.current:
            return
        if disk.forked is not None:
            await self._register_anew()
        if disk.resend:
            await self._resend()
        await self._drain(disk.current, disk.devices[disk.current].acked)
        if disk.resend:
            await self._resend()

    async def ask_and_push(self) -> None:
        """Nobody can sign in here any more: ask where the queue stands, so that a restored server gets what it forgot."""
        if self.disk.current and self.disk.forked is None:
            await self._question(self.disk.current)
        await self.push()

    async def _register_anew(self) -> None:
        self._signed_in(await self._json("/api/auth/refresh", {"device": await self._who()}))

    async def _resend(self) -> None:
        disk = self.disk
        for row in disk.ops.values():
            row.seq = -1  # of the server's lost life: what it says now stands, also where it is an older word
        for number in list(disk.devices):
            await self._drain(number)
        disk.resend = False

    async def _question(self, number: int) -> int:
        """How much of this queue the server has."""
        device = self.disk.devices[number]
        first = device.n + 1
        try:
            answer = await self._post(self._bundle(number, first, [], self._before(number, first)), number)
        except HttpError as error:
            if error.code == "sync.gap":
                return int(error.params["have"])
            if error.code == "device.forked":
                self.disk.forked = number
            raise
        self._take(answer)
        return int(answer["have"])

    async def _drain(self, number: int, have: int | None = None) -> None:
        """Send what a queue has above `have`; without it, above what the server says it has."""
        try:
            if have is None:
                # Not past what was answered: the server may have more, and its verdicts on that never came.
                have = min(await self._question(number), self.disk.devices[number].acked)
            await self._send_above(number, have)
        except HttpError as error:
            if error.code != "device.forked":
                raise
            self.disk.forked = number
            await self._register_anew()
            await self._drain(self.disk.current, self.disk.devices[self.disk.current].acked)

    async def _send_above(self, number: int, have: int) -> None:
        disk, limit, asked = self.disk, self.bundle_max, -1
        for _ in range(1_000):
            device = disk.devices[number]
            if have >= device.n:
                return
            rows = sorted((row for row in disk.ops.values() if row.queue == number and row.n > have), key=lambda row: row.n)
            run = []
            for row in rows[:limit]:
                if row.n != have + 1 + len(run) or row.data is None:
                    break
                run.append(row)
            kept = [k for k in disk.kept if k[0] == number and k[1] <= have + 1 and k[2] > have]
            if not run and not kept and asked != have:
                # Numbers are given up only to a server that has just said where it stands: a restored one may lack what is still kept here.
                asked = have = min(await self._question(number), self._hole_ends(number, have, rows) - 1)
                continue
            try:
                if run:
                    data = self._bundle(number, run[0].n, run, self._before(number, run[0].n))
                    answer, last = await self._post(data, number), run[-1].n
                    self._keep(number, run[0].n, last, data, answer["receipt"])
                elif kept:
                    answer, last = await self._push(kept[-1][3], {"Content-Type": "application/jose"}), kept[-1][2]
                else:
                    first = self._hole_ends(number, have, rows)
                    answer, last = (
                        await self._post(self._bundle(number, first, [], self._before(number, first), lost=True), number),
                        first - 1,
                    )
            except HttpError as error:
                if error.code == "sync.gap" and error.params["have"] != have:
                    have = int(error.params["have"])
                    continue
                raise
            self._take(answer)
            device.acked = max(device.acked, last)
            if answer["have"] > device.n:
                disk.forked = number
            have = last  # whatever more the server has, its verdicts are still to come

    def _hole_ends(self, number: int, have: int, rows: list[Row]) -> int:
        """The first number above `have` that can still be sent."""
        kept = [first for device, first, _, _ in self.disk.kept if device == number and first > have + 1]
        return min([*kept, *(row.n for row in rows if row.data is not None), self.disk.devices[number].n + 1])

    def _bundle(self, number: int, first: int, rows: list[Row], prev: str | None, *, lost: bool = False) -> bytes:
        disk = self.disk
        authors: dict[str, list[str]] = {}
        for row in rows:
            for person, token in disk.tokens:
                claims = payload(token)
                if person == row.author and claims["dev"] == row.maker and token not in authors.get(person, []):
                    authors.setdefault(person, []).append(token)
        authors = {person: tokens[-30:] for person, tokens in authors.items()}
        sealed = {digest: list(pair) for row in rows for digest, pair in row.sealed.items()}
        head = {
            "v": 1,
            "device": number,
            "certificate": disk.devices[number].certificate,
            "first": first,
            "prev": prev,
            "sealed": sealed,
            "authors": authors,
        }
        if lost:
            head["lost"] = True
        text = json.dumps(head, ensure_ascii=False, separators=(",", ":"))[:-1]
        return f'{text},"ops":['.encode() + b",".join(row.data or b"" for row in rows) + b"]}"

    def _before(self, number: int, first: int) -> str | None:
        if first == 1:
            return None
        return next((row.op for row in self.disk.ops.values() if row.queue == number and row.n == first - 1), UNKNOWN)

    async def _post(self, bundle: bytes, number: int) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Anlu-Signature": _sign(self.disk.devices[number].key, bundle)}
        return await self._push(bundle, headers)

    async def _push(self, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
        return await self._request("/api/sync/push", headers, body)

    def _keep(self, number: int, first: int, last: int, bundle: bytes, receipt: str) -> None:
        disk = self.disk
        plain = f"{_sign(disk.devices[number].key, bundle)}\n{receipt}\n".encode() + bundle
        header = {"alg": "ECDH-ES", "enc": "A256GCM", "kid": disk.enc["kid"]}
        sealed = jwe.encrypt_compact(header, plain, ECKey.import_key(disk.enc), algorithms=["ECDH-ES", "A256GCM"]).encode()
        disk.kept = [k for k in disk.kept if (k[0], k[1]) != (number, first) or k[2] > last]
        disk.kept.append((number, first, last, sealed))

    def _take(self, answer: dict[str, Any]) -> None:
        for verdict in answer["verdicts"]:
            self._judged(verdict)
        self._hear(answer)

    def _judged(self, verdict: dict[str, Any]) -> None:
        row = self.disk.ops.get(verdict["op"])
        if row is None or row.seq > verdict["seq"]:
            return
        row.state, row.seq = verdict["state"], verdict["seq"]

    # Pull.

    async def pull(self) -> None:
        """Raises Cut, HttpError."""
        disk, self.complete = self.disk, False
        for _ in range(1_000):
            space = disk.spaces[disk.person]
            asked = space.want[:100]
            status, _, body, _ = await self._ask("/api/sync/pull", {}, json.dumps({"cursor": space.cursor, "want": asked}).encode())
            if status != 200:
                raise _error(status, body)
            end = self._pages(body, asked)
            if end == "restored":
                await self.push()
            elif end == "cut":
                raise Cut
            elif end == "done" and not space.want:
                self.complete = True
                return

    def _pages(self, body: bytes, asked: list[str]) -> str:
        disk, end = self.disk, "cut"
        page: list[dict[str, Any]] = []
        for line in body.split(b"\n"):
            if not line:
                continue
            try:
                said = json.loads(line)
            except ValueError:
                return "cut"
            space = disk.spaces[disk.person]
            if "epoch" in said:
                if said["epoch"] != disk.epoch:
                    disk.epoch, disk.resend = said["epoch"], True
                    return "restored"
                if said["reset"]:
                    space.round, space.sweeping, space.want = space.round + 1, True, []
            elif "cursor" in said:
                if not said["more"]:
                    space.want = [key for key in space.want if key not in asked]
                self._apply(space, page, said)
                page, end = [], "more" if said["more"] else "done"
            else:
                page.append(said)
        return end

    def _apply(self, space: Space, page: list[dict[str, Any]], end: dict[str, Any]) -> None:
        for line in page:
            if "verdict" in line:
                self._judged(line["verdict"])
                continue
            key = line.get("doc") or line.get("patch") or line.get("gone")
            held = space.docs.get(key)
            if held is not None and space.sweeping and held[1] != space.round:
                held = None
            if "gone" in line:
                space.docs.pop(key, None)
                space.want = [k for k in space.want if k != key]
            elif "doc" in line:
                space.want = [k for k in space.want if k != key]
                if held is None or held[0] < line["seq"]:
                    space.docs[key] = (line["seq"], space.round, line["body"])
            elif held is None:
                space.want = [*[k for k in space.want if k != key], key]
            elif held[0] < line["seq"]:
                body = copy.deepcopy(held[2])
                body["fields"].update(line.get("set", {}))
                for name, items in line.get("add", {}).items():
                    body["sets"].setdefault(name, {}).update(items)
                body["status"] = line.get("status", body["status"])
                space.docs[key] = (line["seq"], space.round, body)
        space.cursor, space.through = end["cursor"], end["through"]
        if not end["more"] and space.sweeping:
            space.docs = {key: held for key, held in space.docs.items() if held[1] == space.round}
            space.sweeping = False

    # What can be seen from outside.

    async def held(self) -> dict[str, tuple[int, bytes]]:
        """The signed-in person's documents: seq and body by key."""
        space = self.disk.spaces.get(self.disk.person, Space())
        found = {}
        for key, (seq, _, body) in space.docs.items():
            known = self._texts.get(key)
            if known is None or known[0] is not body:
                known = self._texts[key] = (body, plain(body))
            found[key] = (seq, known[1])
        return found

    async def queue(self) -> list[tuple[str, str, bool]]:
        """Op, state and whether it is acknowledged, of everything that this phone still knows."""
        return [(row.op, row.state, row.state != "queued") for row in self.disk.ops.values()]

    async def docs(self) -> list[str]:
        space = self.disk.spaces.get(self.disk.person, Space())
        own = [row.doc for row in self.disk.ops.values() if row.state == "queued" and row.doc]
        return sorted({*space.docs, *own})

    async def base(self, key: str) -> int:
        held = self.disk.spaces.get(self.disk.person, Space()).docs.get(key)
        return held[0] if held is not None else 0

    async def told(self) -> list[tuple[str, str]]:
        """What this phone shows of the ops whose verdicts a pull tells it."""
        disk = self.disk
        return [
            (row.op, row.state)
            for row in disk.ops.values()
            if row.queue == disk.current and row.author == disk.person and row.state != "lost"
        ]

    async def pending(self) -> list[str]:
        """Foretelling is the app's own affair."""
        return []

    async def stuck(self) -> bool:
        """Whether its queue forked and nobody is there to register it anew."""
        return self.disk.forked is not None

    async def number(self) -> int:
        return self.disk.current

    @property
    def person(self) -> str:
        return self.disk.person

    # What happens to phones.

    async def reopen(self, random: Random) -> None:
        """The app is killed and started again: all it has is on its disk."""
        self.disk = copy.deepcopy(self.disk)

    async def keep_snapshot(self) -> None:
        self.snapshot = copy.deepcopy(self.disk)

    async def roll_back(self) -> None:
        """The phone as it was when its snapshot was made: a backup of it was put back."""
        if self.snapshot is not None:
            self.disk = copy.deepcopy(self.snapshot)

    async def clone(self) -> "Phone":
        other = Phone(self.line, self.truth, self.random, self.persons)
        other.disk = copy.deepcopy(self.disk)
        other.skew = self.skew
        return other

    async def evict(self) -> None:
        """The browser cleared everything."""
        self.disk = Disk()

    async def clear_cache(self) -> None:
        """Five wrong PINs: what was read goes, what was said stays."""
        if self.disk.person:
            self.disk.spaces[self.disk.person] = Space()

    async def lose(self) -> None:
        """Some of what is unsent cannot be read any more."""
        queued = [row for row in self.disk.ops.values() if row.state == "queued"]
        for row in queued[: self.random.randint(1, 3)]:
            row.data = None
            row.state = "lost"

    # The wire.

    async def _json(self, path: str, body: Any, *, signing_in: bool = False) -> dict[str, Any]:
        return await self._request(path, {}, b"" if body is None else json.dumps(body).encode(), signing_in=signing_in)

    async def _request(self, path: str, headers: dict[str, str], body: bytes, *, signing_in: bool = False) -> dict[str, Any]:
        status, _, content, cookie = await self._ask(path, headers, body)
        if status != 200:
            raise _error(status, content)
        try:
            found: dict[str, Any] = json.loads(content)
        except ValueError:
            raise Cut from None
        if signing_in or cookie:
            self.disk.cookie = cookie
        return found

    async def _ask(self, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes, str]:
        named = {"Anlu-Person": self.disk.person, "Anlu-Device": str(self.disk.current)} if self.disk.person else {}
        return await self.line.ask(path, {**named, **headers}, self.disk.cookie, body)


def seal(value: Any, into: dict[str, tuple[str, str]]) -> dict[str, str]:
    """A personal value out of an op's sight: its hash stays, salt and text go into `into`."""
    salt, text = secrets.token_bytes(16), json.dumps(value, ensure_ascii=False)
    digest = hashlib.sha256(salt + text.encode()).hexdigest()
    into[digest] = (base64.b64encode(salt).decode(), text)
    return {"sealed": digest}


def _sealed(part: Any, into: dict[str, tuple[str, str]]) -> Any:
    if not isinstance(part, dict):
        return part
    return {name: seal(str(value), into) if isinstance(value, Private) else value for name, value in part.items()}


def _sign(spki: str, data: bytes) -> str:
    r, s = decode_dss_signature(_keys[spki].sign(data, ec.ECDSA(hashes.SHA256())))
    return base64.b64encode(r.to_bytes(32, "big") + s.to_bytes(32, "big")).decode()


def _error(status: int, content: bytes) -> HttpError:
    try:
        said = json.loads(content)
        return HttpError(status, said["code"], said["params"])
    except (ValueError, KeyError):
        return HttpError(status, "http.internal", {})
