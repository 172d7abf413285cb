"""The kinds' judgement over the documents of the ledger: what `backend.sync` asks. See backend/sync/judge.py.

Kinds, the area tree, limits and what a person may do are kept in memory and dropped when `observe` says that they changed. What an open
transaction has changed is not kept at all until `observe` tells how it ended.
"""

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from backend.flow import machine
from backend.flow.actor import SERVER, Actor, actor, nobody
from backend.flow.calendar import Calendar, Rosters
from backend.flow.kind import ROLES, CompiledKind, compile_kind, unpack_source
from backend.flow.machine import Env, View
from backend.flow.notices import KIND as NOTICE
from backend.flow.notices import notice
from backend.kernel.ids import CALENDAR, PLANT, SERVER_AUTHOR, kind_document
from backend.sync.judge import Body, Change, Docs, Document, Lost, NotStarted, Outcome, Parked, Refused, Spawn, StopFacts
from backend.sync.op import Act, Add, New, Op, Set

PLANT_KEY = f"plant/{PLANT}"
CALENDAR_KEY = f"calendar/{CALENDAR}"
SHARED = ("area", "limit", "kind", "roster")
"""Kinds whose documents are read as a whole and kept."""
AROUND = frozenset({*SHARED, "plant", "calendar", "person"})
"""Kinds whose documents make an `Env`."""
NO_ROSTERS = Rosters()
DIGEST_CHARS = 8
VIEWS_KEPT_MAX = 1_000
"""More than a bundle has documents, and little beside them."""


class FlowJudge:
    """A `backend.sync.judge.Judge`. `kinds`: those of the files, so that there is something to judge the first `kind` document by."""

    def __init__(self, kinds: Iterable[CompiledKind]) -> None:
        self._kinds: dict[tuple[str, int], CompiledKind] = {}
        self._taken_over: dict[tuple[str, int], CompiledKind] = {}
        for kind in kinds:
            self._keep(kind)
        self._retired: set[tuple[str, int]] | None = None
        self._opens_by: tuple[int, set[str]] | None = None
        self._areas: list[View] | None = None
        self._limits: dict[str, float] | None = None
        self._rosters: Rosters | None = None
        self._singles: dict[str, tuple[int, View]] = {}
        self._actors: dict[str, tuple[Any, Actor]] = {}
        self._changed: set[str] = set()
        self._dropped: dict[str, int] = {}
        self._views: dict[str, tuple[Document, int, View]] = {}
        self._envs: dict[tuple[str, CompiledKind], Env] = {}
        self._envs_of: Docs | None = None

    # What sync asks.

    async def judge(self, op: Op, op_id: str, doc: Document | None, docs: Docs, *, at: int, author: str, stops: StopFacts) -> Outcome:
        """Decide on one op. `at`: its time, Unix ms."""
        name = op.doc.partition("/")[0]
        version = op.version if isinstance(op, New) else doc.body["version"] if doc is not None else 0
        if doc is None and not isinstance(op, New):
            return Parked("op.awaits_document", {"doc": op.doc})
        kind = self.kind(name, version) or await self._kind(docs, name, version)
        if kind is None:
            return Parked("op.awaits_kind", {"kind": name, "version": version})
        if isinstance(op, New) and author != SERVER_AUTHOR and (name, version) in await self._retired_kinds(docs):
            return Refused("flow.kind_retired", {"kind": name, "version": version})
        held = self._envs.get((author, kind)) if self._envs_of is docs else None
        env = _around(held or await self._env_of(docs, author, at, kind), at, op_id, bool(stops.unseen))
        if kind.kind.uses:
            env.uses = await self._uses(docs, kind, op, doc, env)
        # A `set` reads a name or two, and the document is another one after it: those are looked up as they are needed.
        env.seen = self._view_at(kind, doc) if doc is not None and not isinstance(op, Set) else None
        outcome = machine.judge(kind, doc.body if doc is not None else None, op, env)
        if isinstance(outcome, Change):
            for spawn in outcome.spawns:
                spawn.version = self.newest(spawn.kind) or 1
            if name in AROUND:
                self._drop(op.doc)
                if name != "person":
                    self._changed.add(op.doc)
                if name == "kind" and isinstance(op, New):
                    self._learn(outcome.fields)
        return outcome

    def uses(self, op: Op, doc: Document | None) -> list[str]:
        """Keys of what judging this op will read, as far as the op and its document tell."""
        keys = [PLANT_KEY, CALENDAR_KEY]
        if isinstance(op.author, str):
            keys.append(f"person/{op.author}")
        name = op.doc.partition("/")[0]
        version = op.version if isinstance(op, New) else doc.body["version"] if doc is not None else 0
        kind = self.kind(name, version)
        if kind is not None and kind.kind.uses and (kind.uses_of_documents or not isinstance(op, Set)):
            seen, given = self._seen(kind, op, doc)
            keys += [key for use in kind.kind.uses if (key := machine.use_key(kind, use, seen, {}, given)) is not None]
        return keys

    async def placement(self, docs: Docs, key: str, body: Body) -> list[str]:
        """The shapes that hold this document now."""
        kind = await self._kind(docs, key.partition("/")[0], body["version"])
        if kind is None:
            return []
        return machine.placement(kind, machine.view(kind, key, body), Env(actor=SERVER, now=0))

    async def shapes(self, docs: Docs, person: str) -> list[str]:
        """The shapes that this person may hold now; none for one who is not active."""
        who = await self._actor(docs, person)
        view = await self._view(docs, f"person/{person}")
        if who.server or view is None or view["status"] != "active":
            return []
        areas = [area["id"] for area in await self._area_views(docs)] if "*" in who.areas else who.areas
        return ["site", f"person:{person}", *(f"role:{role}" for role in who.roles), *(f"area:{area}" for area in areas)]

    async def opens(self, docs: Docs, person: str, key: str, body: Body) -> set[str]:
        """Names of the personal fields (`set.entry` in items) whose values this person may read."""
        kind = await self._kind(docs, key.partition("/")[0], body["version"])
        if kind is None or not kind.personal:
            return set()
        return machine.opens(kind, machine.view(kind, key, body), Env(actor=await self._actor(docs, person), now=0))

    async def reads(self, docs: Docs, person: str) -> dict[str, str]:
        """For each capability that some kind's `opens` asks, a digest of where this person holds it; `roles` where one asks those."""
        who = await self._actor(docs, person)
        caps = self._opening()
        return {cap: _digest(who.roles if cap == ROLES else who.caps.get(cap, [])) for cap in sorted(caps)}

    def is_stop(self, op: Op, doc: Document | None) -> bool:
        """Whether this is a transition marked `stop`, or an item that stops."""
        if not isinstance(op, Act | Add) or doc is None:
            return False
        kind = self.kind(doc.kind, doc.body["version"])
        return kind is not None and machine.is_stop(kind, op)

    async def notices(self, docs: Docs, event: Lost | NotStarted) -> list[Spawn]:
        """What tells a supervisor of this."""
        kind = None
        if isinstance(event, NotStarted) and (doc := await docs.get(event.op.doc)) is not None:
            kind = await self._kind(docs, doc.kind, doc.body["version"])
        told, version = notice(event, kind), self.newest(NOTICE)
        if told is None or version is None:
            return []
        told.version = version
        return [told]

    def observe(self, keys: Sequence[str]) -> None:
        """These documents have changed, or a change of theirs was undone."""
        for key in keys:
            self._drop(key)
            self._changed.discard(key)
        self._envs_of = None
        self._envs.clear()

    # What others ask.

    async def warm(self, docs: Docs) -> None:
        """Learn every kind version that the ledger holds; once, before the first op is judged."""
        for doc in await docs.all("kind"):
            self._learn({name: entry[0] for name, entry in doc.body["fields"].items()})

    def newest(self, name: str) -> int | None:
        """The newest version of a kind that is known."""
        return max((version for known, version in self._kinds if known == name), default=None)

    def kind(self, name: str, version: int) -> CompiledKind | None:
        """The kind whose rules hold for documents of this version, where it is known."""
        return self._taken_over.get((name, version)) or self._kinds.get((name, version))

    def kinds(self) -> list[CompiledKind]:
        """Every kind version that is known."""
        return list(self._kinds.values())

    async def actor(self, docs: Docs, person: str) -> Actor:
        """What this person may do now."""
        return await self._actor(docs, person)

    async def view(self, docs: Docs, key: str) -> View | None:
        """A document as rules see it."""
        return await self._view(docs, key)

    async def env(self, docs: Docs, person: str, now: int, kind: CompiledKind | None = None) -> Env:
        """What surrounds this person now. `kind`: whose rules will ask; without it, the rosters are there in any case."""
        return Env(
            actor=await self._actor(docs, person),
            now=now,
            plant=await self._single(docs, PLANT_KEY),
            calendar=await self._single(docs, CALENDAR_KEY),
            limits=await self._limits_now(docs),
            rosters=await self._rosters_now(docs) if kind is None or kind.asks_rosters else NO_ROSTERS,
        )

    # How it is found.

    def _opening(self) -> set[str]:
        if self._opens_by is None or self._opens_by[0] != len(self._kinds):
            self._opens_by = len(self._kinds), {cap for kind in self._kinds.values() for cap in kind.opened_by}
        return self._opens_by[1]

    async def _env_of(self, docs: Docs, person: str, now: int, kind: CompiledKind) -> Env:
        """As `env`; kept for the other ops of the bundle whose documents these are, until one of those that it is made of changes."""
        if self._envs_of is not docs:
            self._envs.clear()
            self._envs_of = docs
        found = await self.env(docs, person, now, kind)
        found.time = Calendar(found.calendar, found.plant)
        if self._envs_of is docs:
            self._envs[person, kind] = found
        return found

    def _learn(self, fields: Mapping[str, Any]) -> None:
        try:
            kind = compile_kind(unpack_source({"fields": {name: [value, 0, 0] for name, value in fields.items()}}))
        except (msgspec.DecodeError, msgspec.ValidationError):
            return
        if (kind.name, kind.kind.version) not in self._kinds:
            self._keep(kind)

    def _keep(self, kind: CompiledKind) -> None:
        self._kinds[kind.name, kind.kind.version] = kind
        for earlier in kind.kind.takes_over:
            held = self._taken_over.get((kind.name, earlier))
            if held is None or held.kind.version < kind.kind.version:
                self._taken_over[kind.name, earlier] = kind

    async def _kind(self, docs: Docs, name: str, version: int) -> CompiledKind | None:
        if self.kind(name, version) is None:
            doc = await docs.get(f"kind/{kind_document(name, version)}")
            if doc is not None:
                self._learn({field: entry[0] for field, entry in doc.body["fields"].items()})
        return self.kind(name, version)

    async def _retired_kinds(self, docs: Docs) -> set[tuple[str, int]]:
        if self._retired is not None:
            return self._retired
        found = set()
        for doc in await docs.all("kind"):
            fields = doc.body["fields"]
            if doc.body["status"] != "in_use" and "name" in fields and "number" in fields:
                found.add((fields["name"][0], int(fields["number"][0])))
        if self._may_keep("kind", docs):
            self._retired = found
        return found

    async def _area_views(self, docs: Docs) -> list[View]:
        if self._areas is not None:
            return self._areas
        found = [view for doc in await docs.all("area") if (view := await self._view_of(docs, doc)) is not None]
        if self._may_keep("area", docs):
            self._areas = found
        return found

    async def _limits_now(self, docs: Docs) -> dict[str, float]:
        if self._limits is not None:
            return self._limits
        found = {}
        for doc in await docs.all("limit"):
            fields = doc.body["fields"]
            if doc.body["status"] != "retired" and "name" in fields and "value" in fields:
                found[fields["name"][0]] = fields["value"][0]
        if self._may_keep("limit", docs):
            self._limits = found
        return found

    async def _rosters_now(self, docs: Docs) -> Rosters:
        if self._rosters is not None:
            return self._rosters
        views = [view for doc in await docs.all("roster") if (view := await self._view_of(docs, doc)) is not None]
        found = Rosters(views, {area["id"]: area["parent"] for area in await self._area_views(docs)})
        if self._may_keep("roster", docs) and self._may_keep("area", docs):
            self._rosters = found
        return found

    async def _single(self, docs: Docs, key: str) -> View | None:
        """The view of a document of which there is one; read anew when it has changed."""
        doc = await docs.get(key)
        if doc is None:
            return None
        held = self._singles.get(key)
        if held is not None and held[0] == doc.seq:
            return held[1]
        view = await self._view_of(docs, doc)
        # Within a transaction a document's seq may be given again after it was undone.
        if view is not None and not self._open(doc.kind):
            self._singles[key] = (doc.seq, view)
        return view

    async def _actor(self, docs: Docs, person: str) -> Actor:
        if person == SERVER_AUTHOR:
            return SERVER
        doc = await docs.get(f"person/{person}") if person else None
        if doc is None:
            return nobody(person)
        plant = await docs.get(PLANT_KEY)
        stamp = (doc.seq, plant.seq if plant is not None else 0)
        held = self._actors.get(person)
        if held is not None and held[0] == stamp and self._areas is not None:
            return held[1]
        seen = await self._view_of(docs, doc)
        table = await self._single(docs, PLANT_KEY)
        found = (
            actor(seen, await self._area_views(docs), table["roles"] if table is not None else None) if seen is not None else nobody(person)
        )
        if self._may_keep("area", docs):
            self._actors[person] = (stamp, found)
        return found

    async def _uses(self, docs: Docs, kind: CompiledKind, op: Op, doc: Document | None, env: Env) -> dict[str, View | None]:
        found: dict[str, View | None] = {}
        if not kind.kind.uses or (isinstance(op, Set) and not kind.uses_of_documents):
            return found
        seen, given = self._seen(kind, op, doc)
        for name in kind.kind.uses:
            key = machine.use_key(kind, name, seen, found, given)
            used = await docs.get(key) if key is not None else None
            of = await self._kind(docs, used.kind, used.body["version"]) if used is not None else None
            found[name] = machine.card(of, self._view_at(of, used)) if of is not None and used is not None else None
        return found

    async def _view(self, docs: Docs, key: str) -> View | None:
        doc = await docs.get(key)
        return None if doc is None else await self._view_of(docs, doc)

    async def _view_of(self, docs: Docs, doc: Document) -> View | None:
        kind = await self._kind(docs, doc.kind, doc.body["version"])
        return None if kind is None else machine.view(kind, doc.key, doc.body)

    def _seen(self, kind: CompiledKind, op: Op, doc: Document | None) -> tuple[View, Mapping[str, Any]]:
        """The document that `uses` paths read, and the item or input."""
        if isinstance(op, New):
            fields = {name: [value, 0, 0] for name, value in op.fields.items()}
            return machine.view(kind, op.doc, {"version": op.version, "status": kind.start, "fields": fields, "sets": {}}), {}
        if doc is None:
            return {}, {}
        given = op.item if isinstance(op, Add) else op.input if isinstance(op, Act) else {}
        return self._view_at(kind, doc), given

    def _view_at(self, kind: CompiledKind, doc: Document) -> View:
        """The view of a document as it is, built once for each seq of it: judging one op asks for it several times. To be read only.

        A document is known by itself and not by its key: after a rollback another one may have the same key and seq."""
        held = self._views.get(doc.key)
        if held is not None and held[0] is doc and held[1] == doc.seq:
            return held[2]
        if len(self._views) >= VIEWS_KEPT_MAX:
            self._views.clear()
        seen = machine.view(kind, doc.key, doc.body)
        self._views[doc.key] = doc, doc.seq, seen
        return seen

    def _open(self, kind: str) -> bool:
        """Whether a transaction that is not over has changed a document of this kind."""
        return any(key.startswith(f"{kind}/") for key in self._changed)

    def _may_keep(self, kind: str, docs: Docs) -> bool:
        """Whether what these docs say of a kind may be kept for others: nobody is changing it, and nobody has since these began to be read.
        Else a reader of an older snapshot would give everybody its areas, limits and rosters."""
        return not self._open(kind) and docs.began > self._dropped.get(kind, 0)

    def _drop(self, key: str) -> None:
        kind = key.partition("/")[0]
        if kind in AROUND:
            self._envs.clear()
        if kind in SHARED:
            self._dropped[kind] = time.monotonic_ns()
        match kind:
            case "kind":
                self._retired = None
            case "area":
                self._areas = None
                self._rosters = None
                self._actors.clear()
            case "roster":
                self._rosters = None
            case "plant" | "calendar":
                self._singles.clear()
            case "limit":
                self._limits = None


def _digest(words: list[str]) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:DIGEST_CHARS]


def _around(held: Env, now: int, op_id: str, unseen_stops: bool) -> Env:
    """The same surroundings for another op."""
    return Env(
        actor=held.actor,
        now=now,
        op_id=op_id,
        plant=held.plant,
        calendar=held.calendar,
        rosters=held.rosters,
        limits=held.limits,
        unseen_stops=unseen_stops,
        time=held.time,
    )
