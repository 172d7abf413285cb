"""Taking ops into the ledger: one after another, each judged against what stands then, all of a bundle inside one savepoint.

A `Batch` is a write transaction that several bundles share; a `Taking` is one bundle's part of it. Both read ahead in few statements and
work in memory. What a bundle adds is written at its end; documents and places, which the next bundle may change again, once at the end of
the batch. A `Taking` that fails leaves the database at its savepoint, what it had read forgotten, and what earlier bundles of the batch
had changed as they left it.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from backend.auth.devices import SEEN
from backend.kernel import ids
from backend.store import FAILURES, Tx
from backend.sync import hlc, ledger, merge
from backend.sync.follow import tell
from backend.sync.judge import Body, Change, Document, Judge, Lost, NotStarted, Outcome, Parked, Refused, StopFacts
from backend.sync.ledger import Entry
from backend.sync.op import ITEMS_IN_SET_MAX, Act, Add, Malformed, New, Op, Sealed, Set, decode, encode, op_id, sealed_hash

DEPTH_MAX = 8
"""How many ops may follow from one another."""

STOPPING = (Act, Add)
"""What may stop something."""
NO_STOPS = StopFacts()

log = logging.getLogger("anlu.sync")
_json = msgspec.json.Encoder()


class Verdict(msgspec.Struct, omit_defaults=True):
    """What became of an op: `state` is ok, refused or parked; `seq` that of the entry which says so; `n` its number in the queue that
    asks."""

    op: str
    n: int
    seq: int
    state: str
    code: str | None = None
    params: dict[str, Any] | None = None


class Accepted(msgspec.Struct):
    """An accepted op, for those who follow the ledger: `key` and `body` are the document's, as its bundle leaves it; `at` its time in Unix
    ms, at most the arrival."""

    seq: int
    op: Op
    op_id: str
    author: str
    at: int
    key: str
    change: Change
    body: Body
    proven: bool = True
    """Nobody doubts that its author said it."""


Hook = Callable[[Tx, list[Accepted]], Awaitable[None]]
"""Called inside the transaction with what its bundles brought."""


class Said(msgspec.Struct):
    """An op on its way to a verdict. `op` is None where the bytes are no op, and `why` says why not."""

    id: str
    data: bytes
    queue: int
    n: int
    op: Op | None = None
    why: str = ""
    e: int = 0
    arrived: int = 0
    person: str = ""
    unproven: str = ""
    """The code under which it waits for a supervisor; empty where its author is proven."""
    why_unproven: str = ""
    unseen: list[int] = []
    """The stops that its author had not seen, by seq."""
    foreign: bool = False
    """The op names a device that its bundle does not speak for."""
    marks: list[str] = []
    receipt: tuple[str, str, dict[str, Any]] | None = None
    """State, code and params that this server gave it before it was restored."""

    @property
    def at(self) -> int:
        """When it happened, at most its arrival: nobody acts in the future."""
        return min(self.op.at, self.arrived) if self.op is not None else self.arrived

    @property
    def clock_device(self) -> int:
        """The device in the clocks it writes. An anonymous op's is 0, so that a document does not tell whose phone it was."""
        assert self.op is not None
        return 0 if isinstance(self.op.author, Sealed) else self.op.device


class Place(msgspec.Struct):
    """A device as a queue (`have` numbers, `last` op) and as a speaker (`e` of its last op)."""

    device: int
    have: int = 0
    last: str | None = None
    e: int = 0


class Rules(msgspec.Struct):
    """What a batch judges by: the judge, the server's own device, who follows what is accepted, and who hears of what is parked."""

    judge: Judge
    device: int
    hooks: Sequence[Hook] = ()
    parked_hooks: Sequence[Hook] = ()


class Batch:
    """One write transaction. `changed` shapes and `told` queues are for the event hub after the commit. `due`: documents, and `moved`:
    devices, that bundles which are through have changed and `close` writes: until then they are to be read here, not in the database."""

    def __init__(self, tx: Tx, rules: Rules, now: int) -> None:
        self.tx = tx
        self.rules = rules
        self.now = now
        self.seq = 0
        self.hash = b""
        self.docs: dict[str, Document | None] = {}
        self.shapes: dict[str, frozenset[str]] = {}
        self.places: dict[int, Place] = {}
        self.due: set[str] = set()
        self.moved: set[int] = set()
        self.accepted: list[Accepted] = []
        self.parked: list[Accepted] = []
        self.changed: set[str] = set()
        self.observed: set[str] = set()
        self.told: set[int] = set()
        self.wrote = False
        self.any_parked = False
        self.newest: dict[str, int | None] = {}

    async def begin(self) -> None:
        """Take the ledger's end. Nobody else writes until the commit, so sequences are in commit order."""
        last, parked = await self.tx.each([(ledger.HEAD,), ("SELECT 1 FROM parked LIMIT 1",)])
        self.seq, self.hash = ledger.end(last)
        self.any_parked = bool(parked)

    async def run(self, work: Callable[["Taking"], Awaitable[Any]]) -> Any:
        """Do one bundle's work in a savepoint. What it raises undoes it and nothing else."""
        taking = Taking(self)
        before = (self.seq, self.hash, self.any_parked)
        try:
            async with self.tx.savepoint():
                result = await work(taking)
                await taking.flush()
        except BaseException:
            self.seq, self.hash, self.any_parked = before
            for key in taking.read:
                if key not in self.due:
                    self.docs.pop(key, None)
                self.shapes.pop(key, None)
            self.docs |= taking.docs_before
            self.places |= taking.places_before
            self.newest.clear()
            self.observed |= taking.touched
            raise
        self.due |= taking.touched
        self.moved |= taking.placed
        self.observed |= taking.touched
        self.accepted += taking.accepted
        self.parked += taking.parked
        return result

    async def close(self) -> None:
        """The last before the commit: what stands now is written, and who follows the ledger and other workers hear of it."""
        await self.tx.bulk(
            [
                (
                    "INSERT INTO document (key, seq, body, author, created_at) VALUES ($1, $2, $3, $4, $5)"
                    " ON CONFLICT (key) DO UPDATE SET seq = excluded.seq, body = excluded.body",
                    [_row(self.docs[key]) for key in sorted(self.due)],
                ),
                (
                    "INSERT INTO place (device, have, last, e) VALUES ($1, $2, $3, $4)"
                    " ON CONFLICT (device) DO UPDATE SET have = excluded.have, last = excluded.last, e = excluded.e",
                    [msgspec.structs.astuple(self.places[device]) for device in self.moved],
                ),
            ]
        )
        await self._tell(self.rules.hooks, self.accepted)
        await self._tell(self.rules.parked_hooks, self.parked)
        if self.wrote:
            await tell(self.tx, self.seq)

    async def _tell(self, hooks: Sequence[Hook], ops: list[Accepted]) -> None:
        for hook in hooks if ops else ():
            try:
                async with self.tx.savepoint():
                    await hook(self.tx, ops)
            except FAILURES:
                raise
            except Exception:
                # What follows the ledger can be derived again; the phones' ops must not wait for it.
                log.exception("what follows ops failed")


class Taking:
    """One bundle's part of a batch, and the `Docs` that the judge reads."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.tx = batch.tx
        self.began = batch.tx.began
        self.judge = batch.rules.judge
        self.read: set[str] = set()
        self.placed: set[int] = set()
        self.touched: set[str] = set()
        self.docs_before: dict[str, Document | None] = {}
        self.places_before: dict[int, Place] = {}
        self.latest: dict[str, Verdict] = {}
        self.accepted: list[Accepted] = []
        self.parked: list[Accepted] = []
        self._entries: list[Entry] = []
        self._arrived: dict[str, Entry] = {}
        self._trail: list[tuple[str, int, str, int]] = []
        self._came: dict[tuple[str, str], bool] = {}
        self._stops: dict[str, list[tuple[int, str, int, int, int]]] = {}
        self._new_stops: list[tuple[str, int, str, int, int, int]] = []
        self._sealed: dict[str, tuple[bytes, str]] = {}
        self._marks: dict[str, list[str]] = {}
        self._numbers: dict[str, tuple[int, int]] = {}
        self._freed: deque[str] = deque()
        self._heard: list[tuple[int, int]] = []

    # Reading: what the judge calls, and what reads ahead for it.

    async def get(self, key: str) -> Document | None:
        if key not in self.batch.docs:
            await self._load([key])
        return self.batch.docs[key]

    async def get_many(self, keys: Sequence[str]) -> dict[str, Document]:
        await self._load(keys)
        found = {key: self.batch.docs[key] for key in keys}
        return {key: doc for key, doc in found.items() if doc is not None}

    async def all(self, kind: str) -> list[Document]:
        rows = await self.tx.all("SELECT * FROM document WHERE key >= $1 AND key < $2", f"{kind}/", f"{kind}0")
        keys = {row["key"] for row in rows}
        for row in rows:
            if row["key"] not in self.batch.docs:
                self._hold(row)
        # What this batch has begun is not in the table yet.
        keys |= {key for part in (self.touched, self.batch.due) for key in part if key.startswith(f"{kind}/")}
        held = (self.batch.docs[key] for key in sorted(keys))
        return [doc for doc in held if doc is not None]

    async def read_ahead(self, devices: Collection[int], ops: Sequence[Op], *more: tuple[Any, ...]) -> list[list[Any]]:
        """Fetch in one go where these devices stand, and what judging these ops will ask for one by one; the rows of `more` queries."""
        batch, tx = self.batch, self.tx
        keys = {op.doc for op in ops}
        speaking = {op.author: op for op in ops if isinstance(op.author, str)}
        known = [*keys, *(key for op in speaking.values() for key in self.judge.uses(op, None))]
        unread = [key for key in dict.fromkeys(known) if key not in batch.docs]
        unplaced = [device for device in devices if device not in batch.places]
        strange = [key for key in keys if key not in batch.shapes]
        self.read.update(known)
        stands, rows, members, *found = await tx.each(
            [
                (f"SELECT * FROM place WHERE {tx.among('device', 1)}", tx.listed(unplaced)),
                (f"SELECT * FROM document WHERE {tx.among('key', 1)}", tx.listed(unread)),
                (f"SELECT doc, shape FROM member WHERE {tx.among('doc', 1)}", tx.listed(strange)),
                *more,
            ]
        )
        self._stand(devices, unplaced, stands)
        self._hold_all(unread, rows)
        self._shape(strange, members)
        used: set[str] = set()
        for op in ops:
            used.update(self.judge.uses(op, batch.docs[op.doc]))
        await self._load(used)
        await self._load_stops({op.doc for op in ops if isinstance(op, Act)})
        return found

    async def places(self, devices: Collection[int]) -> None:
        """Fetch where these devices stand."""
        missing = [device for device in devices if device not in self.batch.places]
        if missing or not self.placed.issuperset(devices):
            rows = await self.tx.all(f"SELECT * FROM place WHERE {self.tx.among('device', 1)}", self.tx.listed(missing))
            self._stand(devices, missing, rows)

    def _stand(self, devices: Collection[int], missing: Iterable[int], rows: Iterable[Any]) -> None:
        for device in missing:
            self.batch.places[device] = Place(device)
        for row in rows:
            self.batch.places[row["device"]] = Place(*row)
        for device in devices:
            if device not in self.placed:
                self.placed.add(device)
                self.places_before[device] = msgspec.structs.replace(self.batch.places[device])

    def place(self, device: int) -> Place:
        """Where a device stands; `places` has fetched it."""
        return self.batch.places[device]

    async def _load(self, keys: Iterable[str]) -> None:
        missing = [key for key in keys if key not in self.batch.docs]
        self.read.update(keys)
        if not missing:
            return
        rows = await self.tx.all(f"SELECT * FROM document WHERE {self.tx.among('key', 1)}", self.tx.listed(missing))
        self._hold_all(missing, rows)

    def _hold_all(self, missing: Iterable[str], rows: Iterable[Any]) -> None:
        for key in missing:
            self.batch.docs[key] = None
        for row in rows:
            self._hold(row)

    def _hold(self, row: Any) -> None:
        key, seq, body, author, created_at = row
        self.read.add(key)
        self.batch.docs[key] = Document(key, seq, msgspec.json.decode(body), author, created_at)

    async def _load_shapes(self, keys: Iterable[str]) -> None:
        missing = [key for key in keys if key not in self.batch.shapes]
        if missing:
            rows = await self.tx.all(f"SELECT doc, shape FROM member WHERE {self.tx.among('doc', 1)}", self.tx.listed(missing))
            self._shape(missing, rows)

    def _shape(self, missing: Iterable[str], rows: Iterable[Any]) -> None:
        found: dict[str, set[str]] = {key: set() for key in missing}
        for doc, shape in rows:
            found[doc].add(shape)
        self.batch.shapes.update({key: frozenset(shapes) for key, shapes in found.items()})
        self.read.update(found)

    async def _load_stops(self, keys: Iterable[str]) -> None:
        missing = [key for key in keys if key not in self._stops]
        if not missing:
            return
        rows = await self.tx.all(
            f"SELECT doc, seq, author, device, queue, n FROM stop WHERE {self.tx.among('doc', 1)} ORDER BY seq", self.tx.listed(missing)
        )
        for key in missing:
            self._stops[key] = []
        for doc, *stop in rows:
            self._stops[doc].append(tuple(stop))

    # Taking.

    def hear(self, device: int, now: int) -> None:
        """A device that is registered was heard of."""
        self._heard.append((device, now))

    async def take(self, said: Said) -> None:
        """Give an op that arrives the next number of its queue, its clock and its verdict. `places` of queue and device are fetched."""
        queue = self.place(said.queue)
        queue.have, queue.last = said.n, said.id
        if said.op is None:
            await self._settle("op", said, Refused("op.malformed", {"reason": said.why}))
            return
        if said.foreign:
            await self._settle("op", said, Refused("op.wrong_device", {"device": said.op.device}))
            return
        speaker = self.place(said.op.device)
        said.e, suspect = hlc.effective(said.op.hlc, speaker.e, said.arrived)
        speaker.e = said.e
        if suspect:
            said.marks = [*said.marks, "clock_suspect"]
        if said.unproven:
            said.marks = [*said.marks, f"unproven:{said.unproven}:{said.why_unproven}"]
        outcome, awaits = await self._decide(said)
        await self._settle("op", said, outcome, awaits)
        if self._freed:
            await self._release()

    async def again(self, queue: int, n: int, op: str, at: int) -> None:
        """An op that the ledger has takes this number too."""
        place = self.place(queue)
        place.have, place.last = n, op
        stands = self.latest.get(op)
        assert stands is not None
        self._numbers[op] = (queue, n)
        self.batch.told.add(queue)
        arrived = self._arrived.get(op) or await self._arrival(op)
        self._append(
            Entry(
                seq=self._next(),
                what="again",
                at=at,
                op=op,
                queue=queue,
                n=n,
                author=arrived.author,
                state=stands.state,
                code=stands.code,
                params=None if stands.params is None else _text(stands.params),
            )
        )

    async def lose(self, lost: Lost) -> None:
        """Numbers up to this one are no longer on the phone. A supervisor hears of it."""
        place = self.place(lost.device)
        params = _text({"from": lost.first})
        self._append(Entry(seq=self._next(), what="lost", at=lost.at, queue=lost.device, n=lost.last, params=params))
        place.have, place.last = lost.last, None
        log.warning("a phone lost part of its queue", extra={"device": lost.device, "upto": lost.last})
        await self._notify(f"lost:{lost.device}:{lost.first}-{lost.last}", lost, 0)
        await self._release()

    async def say(self, op: Op) -> Verdict:
        """Write an op by the server's own device: number, clock and bytes are given here. Returns its verdict."""
        verdict = await self._say(op, 0, None)
        await self._release()
        return verdict

    async def _say(self, op: Op, depth: int, at: int | None) -> Verdict:
        device = self.batch.rules.device
        await self.places([device])
        own = self.place(device)
        now = self.batch.now
        made = msgspec.structs.replace(op, device=device, hlc=hlc.make(own.e, now), at=at or op.at or now)
        data = encode(made)
        person = made.author if isinstance(made.author, str) else ""
        said = Said(op_id(data), data, device, own.have + 1, made, e=made.hlc, arrived=max(now, made.at), person=person)
        own.have, own.last, own.e = said.n, said.id, said.e
        outcome, awaits = await self._decide(said)
        if isinstance(outcome, Parked):
            # The server has nobody to wait for: what cannot be done now is refused, and the entry says so.
            outcome = Refused(outcome.code, outcome.params)
        await self._settle("op", said, outcome, awaits, depth)
        return self.latest[said.id]

    async def erase(self, doc: str, hashes: Sequence[str], who: str, why: str) -> None:
        """Salt and text of these values go, and of what they were rounded to; the ledger says by whom and why, and the document goes out
        again without them."""
        rough = await self.tx.all(
            f"SELECT rounded FROM sealed WHERE {self.tx.among('hash', 1)} AND rounded IS NOT NULL", self.tx.listed(hashes)
        )
        every = list(dict.fromkeys([*hashes, *(row["rounded"] for row in rough)]))
        await self._take_out(doc, every, {}, who, why)

    async def round(
        self, doc: str, hashes: Sequence[str], rough: Callable[[str], str], salt: Callable[[], bytes], who: str, why: str
    ) -> int:
        """Salt and exact text of these values go, and for whom the kind opens them a rough text stands in their place: `rough` makes it of
        the exact one. It is sealed under a salt of its own, so the ledger tells no place. Of one that was rounded for another document the
        rough text is the same. How many there were: what was erased, or never came, stays as it is."""
        rows = await self.tx.all(f"SELECT hash, value, rounded FROM sealed WHERE {self.tx.among('hash', 1)}", self.tx.listed(hashes))
        rounded: dict[str, str] = {}
        for row in rows:
            if row["rounded"] is not None:
                rounded[row["hash"]] = row["rounded"]
            elif row["value"] is not None:
                own, text = salt(), rough(row["value"])
                rounded[row["hash"]] = digest = sealed_hash(own, text)
                self._sealed[digest] = own, text
        if rounded:
            await self._take_out(doc, sorted(rounded), rounded, who, why)
        return len(rounded)

    async def _take_out(self, doc: str, hashes: Sequence[str], rounded: dict[str, str], who: str, why: str) -> None:
        params = {"hashes": list(hashes), **({"rounded": rounded} if rounded else {}), "why": why}
        entry = Entry(seq=self._next(), what="erasure", at=self.batch.now, author=who, doc=doc, params=_text(params))
        self._append(entry)
        await self.tx.many(
            "INSERT INTO sealed (hash, erased, rounded) VALUES ($1, $2, $3)"
            " ON CONFLICT (hash) DO UPDATE SET salt = NULL, value = NULL, erased = excluded.erased, rounded = excluded.rounded",
            [(digest, entry.seq, rounded.get(digest)) for digest in hashes],
        )
        if await self.get(doc) is not None:
            self._touch(doc).seq = entry.seq
            await self._load_shapes([doc])
            for shape in self.batch.shapes[doc]:
                self._trail.append((shape, entry.seq, doc, 1))
            self.batch.changed |= self.batch.shapes[doc]

    def keep_sealed(self, values: dict[str, tuple[bytes, str]]) -> None:
        """Personal values that came with the bundle, checked against their hashes."""
        self._sealed.update(values)

    async def opened(self, digest: str) -> str | None:
        """The text of a sealed value; None where it never came or is erased."""
        if digest in self._sealed:
            return self._sealed[digest][1]
        row = await self.tx.one("SELECT value FROM sealed WHERE hash = $1", digest)
        return None if row is None else row["value"]

    async def _decide(self, said: Said) -> tuple[Outcome, str | None]:
        """The outcome for an op as things stand, and what it awaits if it parks."""
        op = said.op
        assert op is not None
        said.unseen = []
        doc = self.batch.docs[op.doc] if op.doc in self.batch.docs else await self.get(op.doc)
        stop = isinstance(op, STOPPING) and doc is not None and self.judge.is_stop(op, doc)
        if said.unproven and not stop:
            why = {"why": said.why_unproven} if said.why_unproven else {}
            return Parked(said.unproven, why), op.doc if doc is None and isinstance(op, Act | Add) else None
        if isinstance(op, Act) and not stop:
            behind = await self._parked_before(said)
            if behind is not None:
                return Parked("op.awaits_earlier", {"op": behind}), behind
            said.unseen = await self._unseen(said, op)
        if said.receipt is not None and said.receipt[0] == "refused" and not stop:
            return Refused(said.receipt[1], said.receipt[2]), None
        if isinstance(op, New):
            if doc is not None:
                return Refused("op.exists", {"doc": op.doc}), None
        elif doc is None:
            return Parked("op.awaits_document", {"doc": op.doc}), op.doc
        elif isinstance(op, Add):
            held = doc.body["sets"].get(op.set, {})
            if len(held) >= ITEMS_IN_SET_MAX and op.item_id not in held:
                return Refused("op.set_full", {"set": op.set, "limit": ITEMS_IN_SET_MAX}), None
        facts = StopFacts(said.unseen) if said.unseen else NO_STOPS
        try:
            outcome = await self.judge.judge(op, said.id, doc, self, at=said.at, author=said.person, stops=facts)
        except FAILURES:
            raise
        except Exception:
            # One op that our own code cannot judge must not keep a phone's queue from the server.
            log.exception("an op could not be judged", extra={"op": said.id, "doc": op.doc})
            return Parked("op.unjudged"), None
        if isinstance(outcome, Refused) and said.receipt is not None and said.receipt[0] == "ok" and not facts.unseen:
            return Parked("op.disputed", {"code": outcome.code}), None
        if isinstance(outcome, Parked):
            return outcome, _awaited(op, outcome)
        return outcome, None

    async def _settle(self, what: str, said: Said, outcome: Outcome, awaits: str | None = None, depth: int = 0) -> None:
        """Write the verdict, do what it says, and let follow what follows."""
        op = said.op
        batch = self.batch
        batch.seq += 1
        data = said.data if what == "op" else None
        if op is None:
            entry = Entry(batch.seq, what, batch.now, said.id, said.queue, said.n, said.queue, data=data)
        else:
            entry = Entry(batch.seq, what, batch.now, said.id, said.queue, said.n, op.device, _author(op), op.doc, said.e, data=data)
        verdict = Verdict(said.id, said.n, entry.seq, "ok")
        match outcome:
            case Change():
                assert op is not None
                stop = isinstance(op, Act) and self.judge.is_stop(op, self.batch.docs[op.doc])
                if said.unproven:
                    # A stop counts whoever said it; the code says that nobody proved who.
                    verdict.code, verdict.params = said.unproven, {}
                entry.patch = self._apply(said, op, outcome, entry.seq)
                if stop:
                    place = (entry.seq, entry.author or "", op.device, said.queue, said.n)
                    await self._load_stops([op.doc])
                    self._stops[op.doc].append(place)
                    self._new_stops.append((op.doc, *place))
                body = batch.docs[op.doc].body  # type: ignore[union-attr]
                self.accepted.append(Accepted(entry.seq, op, said.id, said.person, said.at, op.doc, outcome, body, not said.unproven))
            case Refused(code, params):
                verdict.state, verdict.code, verdict.params = "refused", code, params
            case Parked(code, params):
                verdict.state, verdict.code, verdict.params = "parked", code, params
                assert op is not None
                named = Change(media=list(_media(op)))
                self.parked.append(Accepted(entry.seq, op, said.id, said.person, said.at, op.doc, named, {}, not said.unproven))
        entry.state, entry.code = verdict.state, verdict.code
        entry.params = _text(verdict.params) if verdict.params else None
        if said.marks:
            entry.mark = " ".join(said.marks)
            self._marks[said.id] = said.marks
        self._append(entry)
        self.latest[said.id] = verdict
        if what == "verdict":
            batch.told.add(said.queue)
        if isinstance(outcome, Parked):
            assert op is not None
            await self._park(said, op, outcome, awaits, entry, depth)
            return
        if isinstance(outcome, Change) and op is not None:
            await self._move(op, entry.seq)
            # A fact by itself brings nothing about.
            if not isinstance(op, Set) or outcome.spawns or outcome.acts:
                await self._follow(said, op, outcome, depth)
        elif isinstance(outcome, Refused) and isinstance(op, Act) and said.unseen:
            await self._notify(said.id, NotStarted(op, outcome.code, said.at), depth)

    def _apply(self, said: Said, op: Op, change: Change, seq: int) -> bytes:
        """Change the document as the op says; the patch that says what has changed."""
        e, device = said.e, said.clock_device
        items = {name: {i: merge.stamp(item, op.author, said.at) for i, item in put.items()} for name, put in change.items.items()}
        if op.doc.startswith("kind/"):
            self.batch.newest.clear()
        if isinstance(op, New):
            self.touched.add(op.doc)
            body = merge.begin(op.version, change.status or "")
            merge.put_fields(body, change.fields, e, device)
            merge.put_items(body, items, e, device)
            self.batch.docs[op.doc] = Document(op.doc, seq, body, _author(op), said.at)
            return _json.encode(body)
        doc = self._touch(op.doc)
        body = doc.body
        patch: dict[str, Any] = {}
        # Facts merge by their clocks; what a decision writes stands in the ledger's order.
        write = merge.write_fields if isinstance(op, Act) else merge.put_fields
        if change.fields:
            fields = write(body, change.fields, e, device)
            if fields:
                patch["set"] = fields
        if items:
            added = merge.put_items(body, items, e, device)
            if added:
                patch["add"] = added
        if change.status is not None and change.status != body["status"]:
            body["status"] = patch["status"] = change.status
        doc.seq = seq
        return _json.encode(patch)

    def _touch(self, key: str) -> Document:
        """A document that is going to change. Where an earlier bundle of the batch changed it, it is another one from here on: that bundle
        stands if this one fails."""
        doc = self.batch.docs[key]
        assert doc is not None
        if key not in self.touched:
            self.touched.add(key)
            if key in self.batch.due:
                self.docs_before[key] = doc
                doc = self.batch.docs[key] = Document(key, doc.seq, merge.copy(doc.body), doc.author, doc.created_at)
        return doc

    async def _move(self, op: Op, seq: int) -> None:
        """Note the change in every shape that holds the document, and where it came or left."""
        key = op.doc
        doc = self.batch.docs[key]
        assert doc is not None
        if key not in self.batch.shapes:
            await self._load_shapes([key])
        before = after = self.batch.shapes[key]
        if isinstance(op, New | Act):
            # What placement reads is fixed at creation or written by acts, so facts move nothing.
            after = frozenset(await self.judge.placement(self, key, doc.body))
            self.batch.shapes[key] = after
        for shape in after:
            came = shape not in before
            self._trail.append((shape, seq, key, 1 if came else 0))
            if came:
                self._came[shape, key] = True
        for shape in before - after:
            self._trail.append((shape, seq, key, 2))
            self._came[shape, key] = False
        changed = self.batch.changed
        if not changed >= before:
            changed |= before
        if after is not before:
            changed |= after

    async def _follow(self, said: Said, op: Op, change: Change, depth: int) -> None:
        """What an accepted op brings about: documents and acts by the server, a parked op decided, others that waited for this one."""
        for spawn in change.spawns:
            made = New(0, 0, 0, ids.SERVER_AUTHOR, f"{spawn.kind}/{ids.spawned(said.id, spawn.name)}", spawn.version, spawn.fields)
            await self._say_after(made, said, depth)
        for act in change.acts:
            target = await self.get(act.doc)
            made_act = Act(0, 0, 0, ids.SERVER_AUTHOR, act.doc, act.transition, act.input, target.seq if target else 0)
            await self._say_after(made_act, said, depth)
        if isinstance(op, Act) and op.doc.startswith("parked/") and op.transition in ("take", "refuse"):
            await self._decided(op.doc.removeprefix("parked/"), op.transition)
        if isinstance(op, New):
            self._freed.append(op.doc)

    async def _notify(self, cause: str, event: Lost | NotStarted, depth: int) -> None:
        """Somebody is to hear of this, once: the documents that tell it take their ids from the cause."""
        try:
            spawns = await self.judge.notices(self, event)
        except FAILURES:
            raise
        except Exception:
            # The ledger has what happened; the phone's queue must not wait for our mistake.
            log.exception("nobody could be told", extra={"cause": cause})
            return
        for spawn in spawns:
            key = f"{spawn.kind}/{ids.spawned(cause, spawn.name)}"
            if depth < DEPTH_MAX and await self.get(key) is None:
                await self._say(New(0, 0, 0, ids.SERVER_AUTHOR, key, spawn.version, spawn.fields), depth + 1, event.at)

    async def _say_after(self, op: Op, cause: Said, depth: int) -> None:
        if depth >= DEPTH_MAX:
            log.error("ops follow from one another without end", extra={"op": cause.id, "doc": op.doc})
            return
        await self._say(op, depth + 1, cause.at)

    # Parking.

    async def _parked_before(self, said: Said) -> str | None:
        """The last op of the same device on the same document that is parked and was said before this one."""
        if not self.batch.any_parked:
            return None
        assert said.op is not None
        rows = await self.tx.all("SELECT op FROM parked WHERE doc = $1 AND device = $2 ORDER BY seq", said.op.doc, said.op.device)
        before: str | None = None
        for row in rows:
            if row["op"] == said.id:
                break
            before = row["op"]
        return before

    async def _park(self, said: Said, op: Op, outcome: Parked, awaits: str | None, entry: Entry, depth: int) -> None:
        known = await self.tx.one("SELECT 1 FROM parked WHERE op = $1", said.id)
        if known is not None:
            await self.tx.run("UPDATE parked SET code = $2, awaits = $3 WHERE op = $1", said.id, outcome.code, awaits)
            return
        self.batch.any_parked = True
        await self.tx.run(
            "INSERT INTO parked (op, seq, device, doc, code, awaits) VALUES ($1, $2, $3, $4, $5, $6)",
            said.id,
            entry.seq,
            op.device,
            op.doc,
            outcome.code,
            awaits,
        )
        version = await self.newest("parked")
        if version is not None:
            author = op.author if isinstance(op.author, str) else None
            fields = {"op": said.id, "device": said.queue, "author": author, "code": outcome.code, "about": op.doc, "at": said.at}
            fields["since"] = self.batch.now
            await self._say_after(New(0, 0, 0, ids.SERVER_AUTHOR, f"parked/{said.id}", version, fields), said, depth)

    async def newest(self, kind: str) -> int | None:
        """The newest version of a kind that is loaded."""
        if kind not in self.batch.newest:
            fields = [doc.body["fields"] for doc in await self.all("kind")]
            versions = [f["number"][0] for f in fields if f.get("name", [None])[0] == kind and "number" in f]
            self.batch.newest[kind] = int(max(versions)) if versions else None
        return self.batch.newest[kind]

    async def _release(self) -> None:
        """Judge again what waited for a document or an op that is settled now, in the order it came."""
        while self._freed:
            awaited = self._freed.popleft()
            if self.batch.any_parked:
                for row in await self.tx.all("SELECT op FROM parked WHERE awaits = $1 ORDER BY seq", awaited):
                    await self._again(row["op"], [])

    async def _decided(self, op: str, transition: str) -> None:
        """A supervisor has decided on a parked op."""
        if await self.tx.one("SELECT 1 FROM parked WHERE op = $1", op) is None:
            return
        if transition == "take":
            await self._again(op, ["taken"])
        else:
            await self._resolve(op, await self._recall(op), Refused("op.set_aside"), None)

    async def _again(self, op: str, marks: list[str]) -> None:
        """Judge a parked op again. One that still waits for the same is left as it is, without a new verdict."""
        said = await self._recall(op)
        said.marks = [*said.marks, *(mark for mark in marks if mark not in said.marks)]
        if "taken" in said.marks:
            said.unproven = ""
        outcome, awaits = await self._decide(said)
        if isinstance(outcome, Parked) and not marks:
            row = await self.tx.one("SELECT code, awaits FROM parked WHERE op = $1", op)
            if row is not None and row["code"] == outcome.code and (row["awaits"] == awaits or said.unproven):
                await self.tx.run("UPDATE parked SET awaits = $2 WHERE op = $1", op, awaits)
                return
        await self._resolve(op, said, outcome, awaits)

    async def _resolve(self, op: str, said: Said, outcome: Outcome, awaits: str | None) -> None:
        if not isinstance(outcome, Parked):
            await self.tx.run("DELETE FROM parked WHERE op = $1", op)
        await self._settle("verdict", said, outcome, awaits)
        if isinstance(outcome, Parked):
            return
        case = await self.get(f"parked/{op}")
        if case is not None and case.body["status"] == "waiting":
            await self._say_after(Act(0, 0, 0, ids.SERVER_AUTHOR, case.key, "take", {}, case.seq), said, 0)
        self._freed.append(op)

    async def _recall(self, op: str) -> Said:
        """A parked op as it arrived, with what was said of it since."""
        entry = self._arrived.get(op) or await self._arrival(op)
        assert entry.data is not None
        marks = self._marks.get(op)
        if marks is None:
            last = await self.tx.one("SELECT mark FROM ledger WHERE op = $1 AND what IN ('op', 'verdict') ORDER BY seq DESC LIMIT 1", op)
            marks = ((last and last["mark"]) or "").split()
        queue, n = self._numbers.get(op) or ((entry.queue or 0, entry.n or 0) if op in self._arrived else await ledger.number(self.tx, op))
        said = Said(op, entry.data, queue, n, decode(entry.data), e=entry.e or 0, arrived=entry.at, marks=marks)
        assert said.op is not None
        if isinstance(said.op.author, Sealed):
            text = await self.opened(said.op.author.sealed)
            said.person = "" if text is None else str(msgspec.json.decode(text))
        else:
            said.person = said.op.author
        for mark in said.marks:
            if mark.startswith("unproven:"):
                _, said.unproven, said.why_unproven = mark.split(":")
        return said

    async def _arrival(self, op: str) -> Entry:
        row = await ledger.arrival(self.tx, op)
        assert row is not None
        return Entry(*(row["bytes" if name == "data" else name] for name in Entry.__struct_fields__))

    async def _unseen(self, said: Said, op: Act) -> list[int]:
        """The stops above the op's base that its author had not said before it on the same phone."""
        await self._load_stops([op.doc])
        base = op.base if op.base <= self.batch.seq else 0
        author = _author(op)
        unseen = []
        for seq, who, device, queue, n in self._stops[op.doc]:
            if seq <= base:
                continue
            own = who == author and device == op.device
            if not own or not (n < said.n if queue == said.queue else await self._said_again_before(seq, said)):
                unseen.append(seq)
        return unseen

    async def _said_again_before(self, stop: int, said: Said) -> bool:
        """Whether a stop that was taken in another queue stands before this op in its own too, where the phone that forked said it again.
        A clone of the phone said its stops under the same number, and this one knows nothing of them."""
        row = await self.tx.one("SELECT op FROM ledger WHERE seq = $1", stop)
        if row is None:
            return False
        queue, n = self._numbers.get(row["op"]) or await ledger.number(self.tx, row["op"])
        return queue == said.queue and n < said.n

    # Writing.

    def _next(self) -> int:
        self.batch.seq += 1
        return self.batch.seq

    def _append(self, entry: Entry) -> None:
        self._entries.append(entry)
        if entry.what == "op":
            assert entry.op is not None
            self._arrived[entry.op] = entry

    async def flush(self) -> None:
        """Write what the bundle adds, all of it in one go."""
        batch = self.batch
        batch.wrote = batch.wrote or bool(self._entries)
        batch.hash, rows = ledger.rows(batch.hash, self._entries)
        came = [pair for pair, is_in in self._came.items() if is_in]
        left = [pair for pair, is_in in self._came.items() if not is_in]
        sealed = [(digest, salt, text) for digest, (salt, text) in self._sealed.items()]
        await self.tx.bulk(
            [
                (ledger.INSERT, rows),
                ("INSERT INTO trail (shape, seq, doc, what) VALUES ($1, $2, $3, $4)", self._trail),
                ("INSERT INTO member (shape, doc) VALUES ($1, $2) ON CONFLICT DO NOTHING", came),
                ("DELETE FROM member WHERE shape = $1 AND doc = $2", left),
                ("INSERT INTO stop (doc, seq, author, device, queue, n) VALUES ($1, $2, $3, $4, $5, $6)", self._new_stops),
                ("INSERT INTO sealed (hash, salt, value) VALUES ($1, $2, $3) ON CONFLICT (hash) DO NOTHING", sealed),
                (SEEN, self._heard),
            ]
        )


def _media(value: Any) -> Iterator[str]:
    """The photos that an op names, wherever in it."""
    match value:
        case {"sha256": str(digest)} if len(digest) == 64:
            yield digest
        case New() | Set():
            yield from _media(value.fields)
        case Add():
            yield from _media(value.item)
        case Act():
            yield from _media(value.input)
        case dict():
            for part in value.values():
                yield from _media(part)
        case list():
            for part in value:
                yield from _media(part)


def read_op(data: bytes, queue: int, n: int, arrived: int) -> Said:
    """An op's bytes as they arrived, read if they can be."""
    try:
        return Said(op_id(data), data, queue, n, decode(data), arrived=arrived)
    except Malformed as malformed:
        return Said(op_id(data), data, queue, n, why=malformed.reason, arrived=arrived)


def _awaited(op: Op, outcome: Parked) -> str | None:
    match outcome:
        case Parked("op.awaits_kind", {"kind": str(kind), "version": int() | float() as version}):
            return f"kind/{ids.kind_document(kind, int(version))}"
        case Parked("op.awaits_document", params):
            return str(params.get("doc", op.doc))
    return None


def _author(op: Op) -> str:
    return f"sealed:{op.author.sealed}" if isinstance(op.author, Sealed) else op.author


def _text(value: Any) -> str:
    return _json.encode(value).decode()


def _row(doc: Document | None) -> tuple[str, int, bytes, str, int]:
    assert doc is not None
    return doc.key, doc.seq, _json.encode(doc.body), doc.author, doc.created_at


__all__ = ["Accepted", "Batch", "Hook", "Place", "Rules", "Said", "Set", "Taking", "Verdict", "read_op", "sealed_hash"]
