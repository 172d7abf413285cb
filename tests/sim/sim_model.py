"""What a plant must be after a history, said a second time: an independent model of the protocol and of the simulation's kinds.

It reads the ledger's order (who came when is the server's to decide), the ops' own bytes, and what the simulation knows of the world (the
bundles that were delivered, who was revoked when), and says what every verdict, document and phone must be. It imports nothing of
`backend.sync` or `backend.flow`: what it shares with them is the text of the protocol.
"""

import base64
import hashlib
import itertools
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import rfc8785

EPOCH_MS = 1_704_067_200_000
TICKS = 4096
AHEAD_MS = 300_000
LEEWAY_MS = 300_000
SERVER = "00000000-0000-0000-0000-000000000000"
NAMESPACE = uuid5(NAMESPACE_URL, "urn:anlu:derived")
PLANT = f"plant/{uuid5(NAMESPACE, 'plant')}"
UNPROVEN = ("author.unproven", "device.revoked")
CAPS = {"worker": {"report", "check"}, "supervisor": {"report", "check", "supervise", "decide_parked"}, "gate": set()}
"""The simulated plant's role table."""

Body = dict[str, Any]


def canonical(value: Any) -> bytes:
    """RFC 8785, with whole floats as JSON numbers have them."""
    return bytes(rfc8785.dumps(json.loads(json.dumps(value))))


def plain(value: Any) -> bytes:
    """One text for one value, many times faster than RFC 8785: for what is compared after every pull."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


@dataclass
class Delivery:
    """A bundle that reached the server: between which ends of the ledger, and whether it was one that had been acknowledged before."""

    bundle: dict[str, Any]
    ops: list[str]
    low: int
    high: int
    receipt: dict[str, Any] = field(default_factory=dict)


@dataclass
class Document:
    key: str
    seq: int
    body: Body
    author: str

    def value(self, name: str) -> Any:
        entry = self.body["fields"].get(name)
        return entry[0] if entry else None


@dataclass
class Said:
    """An op in the ledger."""

    id: str
    verb: str
    device: int
    hlc: int
    at: int
    author: Any
    doc: str
    rest: list[Any]
    queue: int = 0
    n: int = 0
    e: int = 0
    person: str = ""
    unproven: str = ""
    receipt: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        return self.author if isinstance(self.author, str) else f"sealed:{self.author['sealed']}"

    @property
    def anonymous(self) -> bool:
        return not isinstance(self.author, str)

    @property
    def clock_device(self) -> int:
        return 0 if self.anonymous else self.device


@dataclass
class Verdict:
    state: str
    code: str | None = None
    seq: int = 0


class Model:
    """Fed with the ledger's rows, in order; `problems` is what was not as it must be."""

    def __init__(self) -> None:
        self.docs: dict[str, Document] = {}
        self.e: dict[int, int] = {}
        self.verdicts: dict[str, Verdict] = {}
        self.ops: dict[str, Said] = {}
        self.parked: dict[str, tuple[int, str]] = {}
        """Op id → the place of its parking and the code."""
        self.stops: dict[str, list[tuple[int, Said]]] = {}
        self.numbers: dict[int, dict[str, int]] = {}
        """Queue → op → its number there: what a phone said before what."""
        self.taken: set[str] = set()
        self.aside: set[str] = set()
        self.queues: dict[int, int] = {}
        self.expected: Counter[tuple[str, str, str]] = Counter()
        self.server_said: Counter[tuple[str, str, str]] = Counter()
        self.problems: list[str] = []
        self.end = 0
        self._texts: dict[tuple[str, int, bool], bytes] = {}
        self.was_entitled: set[tuple[str, str]] = set()
        self.was_other: set[tuple[str, str]] = set()
        self.history: dict[str, list[str]] = {}

    # What comes in.

    def take(self, row: dict[str, Any], world: "Knowledge") -> None:
        """One row of the ledger: seq, what, at, op, queue, n, device, state, code, bytes, params."""
        before = self.end
        self.end = row["seq"]
        what = row["what"]
        if what == "op":
            self._arrive(row, world, before)
        elif what == "again":
            self._numbered(row["queue"], row["n"])
            self.numbers.setdefault(row["queue"], {})[row["op"]] = row["n"]
            if row["op"] in self.ops:
                self.ops[row["op"]].queue, self.ops[row["op"]].n = row["queue"], row["n"]
        elif what == "verdict":
            self._later(row, before)
        elif what == "lost":
            first = json.loads(row["params"])["from"]
            if first != self.queues.get(row["queue"], 0) + 1:
                self._wrong(row, f"lost from {first}, the queue stood at {self.queues.get(row['queue'], 0)}")
            self.queues[row["queue"]] = row["n"]
            self._expect("new", _notice(f"lost:{row['queue']}:{first}-{row['n']}"))

    def _arrive(self, row: dict[str, Any], world: "Knowledge", before: int) -> None:
        self._numbered(row["queue"], row["n"])
        self.numbers.setdefault(row["queue"], {})[row["op"]] = row["n"]
        data: bytes = row["bytes"]
        if hashlib.sha256(data).hexdigest() != row["op"]:
            self._wrong(row, "its id is not that of its bytes")
        if row["op"] in self.verdicts:
            self._wrong(row, "the ledger had it already")
        said = read(data)
        if said is None:
            self._compare(row, "refused", "op.malformed")
            self.verdicts[row["op"]] = Verdict("refused", "op.malformed", row["seq"])
            return
        said.id, said.queue, said.n = row["op"], row["queue"], row["n"]
        self.ops[said.id] = said
        said.at = min(said.at, row["at"])
        server = row["queue"] in world.server_devices
        if server:
            said.e, said.person = said.hlc, said.name
            self.server_said[said.verb, said.doc, said.rest[0] if said.verb == "act" else ""] += 1
            if said.id in world.external:
                self._expect(said.verb, said.doc, said.rest[0] if said.verb == "act" else "")
        else:
            delivery = world.delivery(said.id, row["seq"])
            if delivery is None:
                self._wrong(row, "no phone has sent it")
                return
            if not world.speaks_for(delivery, said.device):
                self._compare(row, "refused", "op.wrong_device")
                self.verdicts[said.id] = Verdict("refused", "op.wrong_device", row["seq"])
                del self.ops[said.id]
                return
            ahead = said.hlc // TICKS + EPOCH_MS - row["at"] > AHEAD_MS
            said.e = max(_hlc(row["at"]) if ahead else said.hlc, self.e.get(said.device, 0) + 1)
            said.person = said.author if isinstance(said.author, str) else world.opened_text(said.author["sealed"])
            said.unproven = world.unproven(said, delivery, read(data), row["seq"])
            said.receipt = next(
                (tuple(v[2:4]) if len(v) > 3 else (v[2], "") for v in delivery.receipt.get("verdicts", []) if v[0] == said.id), None
            )
        if said.e <= self.e.get(said.device, 0):
            self._wrong(row, "its clock is not above that of the op before")
        self.e[said.device] = said.e
        if row["e"] != said.e:
            self._wrong(row, f"its clock is {row['e']}, not {said.e}")
        self._settle(row, said, before, first=True, server=server)

    def _later(self, row: dict[str, Any], before: int) -> None:
        if row["op"] not in self.parked:
            self._wrong(row, "a verdict on what was not parked")
            return
        self._settle(row, self.ops[row["op"]], before, first=False)

    # Deciding.

    def _settle(self, row: dict[str, Any], said: Said, before: int, *, first: bool, server: bool = False) -> None:
        state, code, change = self._decide(said, before)
        if server and state == "parked":
            state = "refused"
        if state == "ok" and said.unproven and said.id not in self.taken:
            code = said.unproven
        self._compare(row, state, code)
        self.verdicts[said.id] = Verdict(row["state"], row["code"], row["seq"])
        unseen = self._unseen(said, before) if said.verb == "act" and not self._stop(said) else []
        if row["state"] == "parked":
            since = self.parked[said.id][0] if said.id in self.parked else row["seq"]
            if said.id not in self.parked:
                self._expect("new", f"parked/{said.id}")
            self.parked[said.id] = (since, row["code"])
            return
        if said.id in self.parked:
            del self.parked[said.id]
            case = self.docs.get(f"parked/{said.id}")
            if case is not None and case.body["status"] == "waiting":
                self._expect("act", case.key, "take")
        if state == "ok" and change is not None and row["state"] == "ok":
            self._apply(row, said, change)
        elif state == "refused" and unseen and said.rest[0] == "begin" and code in ("flow.stopped_since", "flow.wrong_state", "flow.ended"):
            self._expect("new", _notice(said.id))

    def _decide(self, said: Said, before: int) -> tuple[str, str | None, dict[str, Any] | None]:
        doc = self.docs.get(said.doc)
        stop = self._stop(said)
        taken = said.id in self.taken
        if said.id in self.aside:
            return "refused", "op.set_aside", None
        if said.unproven and not taken and not stop:
            return "parked", said.unproven, None
        if said.verb == "act" and not stop and self._behind(said):
            return "parked", "op.awaits_earlier", None
        unseen = self._unseen(said, before) if said.verb == "act" and not stop else []
        if said.receipt is not None and said.receipt[0] == "refused" and not stop:
            return "refused", said.receipt[1], None
        if said.verb == "new" and doc is not None:
            return "refused", "op.exists", None
        if said.verb != "new" and doc is None:
            return "parked", "op.awaits_document", None
        state, code, change = self._judge(said, doc, unseen)
        if state == "refused" and said.receipt is not None and said.receipt[0] == "ok" and not unseen:
            return "parked", "op.disputed", None
        return state, code, change

    def _stop(self, said: Said) -> bool:
        if not said.doc.startswith("job/") or said.doc not in self.docs:
            return False
        if said.verb == "act":
            return said.rest[0] in ("halt", "cut")
        if said.verb == "add" and said.rest[0] == "readings":
            value = said.rest[2].get("value")
            return isinstance(value, int | float) and not isinstance(value, bool) and value > 90
        return False

    def _behind(self, said: Said) -> bool:
        """Whether something that this device said earlier on this document is parked."""
        mine = sorted(
            (since, op) for op, (since, _) in self.parked.items() if self.ops[op].doc == said.doc and self.ops[op].device == said.device
        )
        earlier = [op for since, op in mine if op != said.id and (said.id not in self.parked or since < self.parked[said.id][0])]
        return bool(earlier)

    def _unseen(self, said: Said, before: int) -> list[int]:
        """The stops above the op's base that its author had not said earlier in the same queue."""
        base = said.rest[2] if said.rest[2] <= before else 0
        found = []
        for seq, stop in self.stops.get(said.doc, []):
            before_it = self.numbers.get(said.queue, {}).get(stop.id, 2**62) < said.n
            own = stop.name == said.name and stop.device == said.device and before_it
            if seq > base and not own:
                found.append(seq)
        return found

    # The kinds' rules.

    def _judge(self, said: Said, doc: Document | None, unseen: list[int]) -> tuple[str, str | None, dict[str, Any] | None]:
        kind = said.doc.partition("/")[0]
        server = said.person == SERVER
        match kind:
            case "job":
                return self._job(said, doc, unseen, server)
            case "slip":
                return self._begun(said, "filed") if server and said.verb == "new" else self._no()
            case "parked":
                return self._case(said, doc, server)
            case "notice":
                return self._notice(said) if server and said.verb == "new" else self._no()
            case "kind":
                if server and said.verb == "act" and doc is not None and said.rest[0] == "retire" and doc.body["status"] == "in_use":
                    return "ok", None, {"status": "retired"}
                return self._begun(said, "in_use") if server and said.verb == "new" else self._no()
            case "area" | "plant":
                return self._begun(said, "in_use") if server and said.verb == "new" else self._no()
            case "person" if server and said.verb == "new":
                return self._begun(said, "active")
            case "person" if server and said.verb == "act":
                assert doc is not None
                match said.rest[0], doc.body["status"]:
                    case "assign_roles", "active" | "inactive":
                        return "ok", None, {"write": {"roles": said.rest[1]["roles"]}}
                    case "deactivate", "active":
                        return "ok", None, {"status": "inactive"}
                    case "reactivate", "inactive":
                        return "ok", None, {"status": "active"}
        return self._no()

    def _no(self, code: str | None = None) -> tuple[str, str | None, None]:
        return "refused", code, None

    def _begun(self, said: Said, status: str) -> tuple[str, None, dict[str, Any]]:
        return "ok", None, {"status": status, "put": {name: value for name, value in said.rest[1].items() if value is not None}}

    def _notice(self, said: Said) -> tuple[str, None, dict[str, Any]]:
        fields = dict(said.rest[1])
        fields["level"] = {"notice.start_after_stop": "red", "notice.numbers_lost": "orange"}.get(fields["what"], "yellow")
        about = self.docs.get(fields.get("about", ""))
        if about is not None and about.key.startswith("job/"):
            fields["area"] = about.value("area")
        return "ok", None, {"status": "open", "put": fields}

    def _case(self, said: Said, doc: Document | None, server: bool) -> tuple[str, str | None, dict[str, Any] | None]:
        if said.verb == "new" and server:
            return self._begun(said, "waiting")
        if said.verb != "act" or doc is None or said.rest[0] not in ("take", "refuse"):
            return self._no()
        if doc.body["status"] != "waiting":
            return self._no("flow.ended")
        if not server and (not self.has(said.person, "decide_parked") or said.person == doc.value("author")):
            return self._no("flow.not_allowed")
        status = {"take": "taken", "refuse": "refused"}[said.rest[0]]
        return "ok", None, {"status": status, "write": {"decided_by": said.person, "reason": said.rest[1].get("reason")}}

    def _job(self, said: Said, doc: Document | None, unseen: list[int], server: bool) -> tuple[str, str | None, dict[str, Any] | None]:
        who = said.person
        if said.verb == "new":
            return self._new_job(said, who)
        assert doc is not None
        area = doc.value("area")
        if (
            said.anonymous
            and not (said.verb == "add" and said.rest[0] == "remarks")
            and not (said.verb == "act" and said.rest[0] in ("halt", "cut"))
        ):
            return self._no("flow.not_anonymous")
        if said.verb == "set":
            fields = said.rest[0]
            if any(name not in ("title", "amount", "secret", "grade") or not self._fits(doc, name) for name in fields):
                return self._no()
            if not self.has(who, "report", area):
                return self._no("flow.not_allowed")
            return ("ok", None, {"put": fields}) if self._good(fields) else self._no()
        if said.verb == "add":
            return self._item(said, doc, who, area)
        return self._step(said, doc, who, area, unseen, server)

    def _new_job(self, said: Said, who: str) -> tuple[str, str | None, dict[str, Any] | None]:
        version, fields = said.rest
        known = self.kinds("job")
        if version not in known:
            return "parked", "op.awaits_kind", None
        if known[version] != "in_use":
            return self._no("flow.kind_retired")
        given = {name: value for name, value in fields.items() if value is not None}
        if "owner" in given or given.keys() & {"begun_by", "why", "last_child"}:
            return self._no("flow.field_readonly")
        if "parent" in given and f"job/{given['parent']}" not in self.docs:
            return "parked", "op.awaits_document", None
        if not self.has(who, "report", given.get("area")):
            return self._no("flow.not_allowed")
        if (
            given.keys() - {"title", "amount", "secret", "area", "parent", *(["grade"] if version > 1 else [])}
            or "area" not in given
            or not self._good(given)
        ):
            return self._no()
        if version > 1:
            given.setdefault("grade", "b")
        owner = {} if said.anonymous else {"owner": who}
        return "ok", None, {"status": "open", "put": given | owner, "version": version}

    def _fits(self, doc: Document, name: str) -> bool:
        return name != "grade" or doc.body["version"] > 1

    def _good(self, fields: dict[str, Any]) -> bool:
        def number(value: Any) -> bool:
            return isinstance(value, int | float) and not isinstance(value, bool)

        for name, value in fields.items():
            if value is None:
                continue
            if name == "amount" and not number(value):
                return False
            if name in ("title", "grade") and not isinstance(value, str):
                return False
            if name == "secret" and not (isinstance(value, dict) and isinstance(value.get("sealed"), str)):
                return False
        return True

    def _item(self, said: Said, doc: Document, who: str, area: str) -> tuple[str, str | None, dict[str, Any] | None]:
        name, item_id, item = said.rest
        if name not in ("remarks", "readings"):
            return self._no("flow.set_unknown")
        if not self.has(who, "report" if name == "remarks" else "check", area):
            return self._no("flow.not_allowed")
        item = {part: value for part, value in item.items() if value is not None}
        wanted, sort = ("text", str) if name == "remarks" else ("value", (int, float))
        if item.keys() != {wanted} or not isinstance(item[wanted], sort) or isinstance(item[wanted], bool):
            return self._no()
        acts = []
        if name == "readings" and item["value"] > 90 and doc.body["status"] == "working":
            acts.append((said.doc, "cut"))
        return "ok", None, {"items": {name: {item_id: item}}, "acts": acts}

    def _step(
        self, said: Said, doc: Document, who: str, area: str, unseen: list[int], server: bool
    ) -> tuple[str, str | None, dict[str, Any] | None]:
        step, given, _ = said.rest
        status = doc.body["status"]
        allowed = {
            "begin": ("open", "halted"),
            "halt": ("open", "working", "halted"),
            "cut": ("open", "working", "halted"),
            "finish": ("working",),
            "one_done": ("open", "working", "halted"),
            "move": ("open", "working", "halted"),
            "drop": ("open", "halted"),
        }
        if step not in allowed:
            return self._no("flow.transition_unknown")
        if step in ("cut", "one_done") and not server:
            return self._no("flow.server_only")
        if status in ("done", "void"):
            return self._no("flow.ended")
        if status not in allowed[step]:
            return self._no("flow.wrong_state")
        if step == "begin" and unseen:
            return self._no("flow.stopped_since")
        writer = None if said.anonymous else who
        match step:
            case "begin":
                return (
                    ("ok", None, {"status": "working", "write": {"begun_by": writer}})
                    if self.has(who, "check", area)
                    else self._no("flow.not_allowed")
                )
            case "halt":
                return (
                    ("ok", None, {"status": "halted", "write": {"why": given.get("why")}})
                    if self.has(who, "report")
                    else self._no("flow.not_allowed")
                )
            case "cut":
                return "ok", None, {"status": "halted"}
            case "one_done":
                return "ok", None, {"write": {"last_child": given.get("child")}}
            case "move":
                if not self.has(who, "supervise", area):
                    return self._no("flow.not_allowed")
                return ("ok", None, {"write": {"area": given["area"]}}) if isinstance(given.get("area"), str) else self._no()
            case "drop":
                mine = doc.value("owner") == who or self.has(who, "supervise", area)
                return ("ok", None, {"status": "void"}) if mine else self._no("flow.not_allowed")
        if doc.value("begun_by") != who:
            return self._no("flow.not_allowed")
        amount = doc.value("amount")
        if amount is not None and amount >= 500:
            return "ok", None, {"status": "halted"}
        spawns = [f"slip/{uuid5(NAMESPACE, f'{said.id}:slip')}"]
        acts = [(f"job/{doc.value('parent')}", "one_done")] if doc.value("parent") is not None else []
        return "ok", None, {"status": "done", "spawns": spawns, "acts": acts}

    # Doing.

    def _apply(self, row: dict[str, Any], said: Said, change: dict[str, Any]) -> None:
        stop = said.verb == "act" and self._stop(said)
        device, e = said.clock_device, said.e
        if said.verb == "new":
            body: Body = {"version": said.rest[0], "status": change["status"], "fields": {}, "sets": {}}
            self.docs[said.doc] = Document(said.doc, row["seq"], body, said.name)
        doc = self.docs[said.doc]
        if said.verb == "act" and said.doc.startswith(("person/", "job/")):
            self._remember_entitled(said.doc)
        body = doc.body
        for name, value in change.get("put", {}).items():
            old = body["fields"].get(name)
            if old is None or (e, device) > (old[1], old[2]):
                body["fields"][name] = [value, e, device]
        for name, value in change.get("write", {}).items():
            body["fields"][name] = [value, e, device]
        for name, items in change.get("items", {}).items():
            for item_id, item in items.items():
                stamped = {**item, "by": said.author, "at": said.at}
                old = body["sets"].get(name, {}).get(item_id)
                if old is None or (e, device) < (old[1], old[2]):
                    body["sets"].setdefault(name, {})[item_id] = [stamped, e, device]
        if change.get("status"):
            body["status"] = change["status"]
        doc.seq = row["seq"]
        if said.doc.startswith("job/"):
            self.history.setdefault(said.doc, []).append(body["status"])
        if stop:
            self.stops.setdefault(said.doc, []).append((row["seq"], said))
        for key in change.get("spawns", []):
            self._expect("new", key)
        for key, step in change.get("acts", []):
            self._expect("act", key, step)
        if said.doc.startswith("parked/") and said.verb == "act" and said.doc[7:] in self.parked:
            (self.taken if said.rest[0] == "take" else self.aside).add(said.doc[7:])

    def _expect(self, verb: str, key: str, step: str = "") -> None:
        self.expected[verb, key, step] += 1

    def _numbered(self, queue: int, n: int) -> None:
        if n != self.queues.get(queue, 0) + 1:
            self.problems.append(f"queue {queue} goes from {self.queues.get(queue, 0)} to {n}")
        self.queues[queue] = n

    def _compare(self, row: dict[str, Any], state: str, code: str | None) -> None:
        if row["state"] != state or (code is not None and row["code"] != code) or (state == "ok" and row["code"] != code):
            self._wrong(row, f"its verdict is {row['state']} {row['code']}, not {state} {code}")

    def _wrong(self, row: dict[str, Any], what: str) -> None:
        said = self.ops.get(row["op"] or "")
        about = f"{said.verb} {said.doc} {said.rest!r:.120}" if said else row["what"]
        self.problems.append(f"entry {row['seq']} ({about}): {what}")

    # What people may.

    def kinds(self, name: str) -> dict[int, str]:
        """The versions of a kind that are loaded, and their status."""
        found = [doc for key, doc in self.docs.items() if key.startswith("kind/") and doc.value("name") == name]
        return {doc.value("number"): doc.body["status"] for doc in found}

    def roles(self, person: str) -> list[dict[str, Any]]:
        doc = self.docs.get(f"person/{person}")
        return (doc.value("roles") or []) if doc is not None and doc.body["status"] == "active" else []

    def has(self, person: str, cap: str, area: str | None = "*any") -> bool:
        """Whether a person has a capability in an area; anywhere, where none is named."""
        if person == SERVER:
            return True
        where = [role.get("area") for role in self.roles(person) if cap in CAPS[role["role"]]]
        return bool(where) if area == "*any" else None in where or (area is not None and area in where)

    def shapes(self, person: str) -> set[str]:
        doc = self.docs.get(f"person/{person}")
        if doc is None or doc.body["status"] != "active":
            return set()
        held = {"site", f"person:{person}"}
        for role in self.roles(person):
            held.add(f"role:{role['role']}")
            everywhere = role.get("area") is None
            held |= {f"area:{key[5:]}" for key in self.docs if key.startswith("area/") and (everywhere or key[5:] == role["area"])}
        return held

    def placement(self, doc: Document) -> set[str]:
        match doc.key.partition("/")[0]:
            case "job":
                found = {f"area:{doc.value('area')}"}
                return found | ({f"person:{doc.value('owner')}"} if doc.value("owner") else set())
            case "slip":
                return {f"area:{doc.value('area')}"}
            case "parked":
                found = {"role:supervisor", "role:safety", "role:admin"}
                return found | ({f"person:{doc.value('author')}"} if doc.value("author") else set())
            case "notice":
                return {"role:supervisor", "role:safety"} | ({f"area:{doc.value('area')}"} if doc.value("area") else set())
        return {"site"}

    def visible(self, person: str, world: "Knowledge") -> dict[str, tuple[int, set[bytes]]]:
        """What this person's phone must hold after a pull: seq and the bodies that may stand there, by key.

        Where somebody was entitled to personal values and is no longer, or the other way round, a phone that pulled before keeps what it
        got until the document changes: both are right. Whoever never was entitled must never have got them.
        """
        shapes, found = self.shapes(person), {}
        for key, doc in self.docs.items():
            if self.placement(doc) & shapes:
                bodies = {self._text(doc, person, world, False)}
                if self._entitled(person, doc) or (person, key) in self.was_entitled:
                    bodies.add(self._text(doc, person, world, True))
                if self._entitled(person, doc) and (person, key) not in self.was_other:
                    bodies = {self._text(doc, person, world, True)}
                found[key] = (doc.seq, bodies)
        return found

    def _text(self, doc: Document, person: str, world: "Knowledge", entitled: bool) -> bytes:
        place = (doc.key, doc.seq, entitled)
        if place not in self._texts:
            self._texts[place] = plain(self._opened(doc, person, world, entitled))
        return self._texts[place]

    def _entitled(self, person: str, doc: Document) -> bool:
        return doc.key.startswith("job/") and (doc.value("owner") == person or self.has(person, "supervise", doc.value("area")))

    def _remember_entitled(self, key: str) -> None:
        """Before somebody's roles change, or a job's area does: who may read what until now."""
        if key.startswith("person/"):
            pairs = [(key[7:], doc) for doc in self.docs.values() if doc.key.startswith("job/")]
        else:
            pairs = [(name[7:], self.docs[key]) for name in self.docs if name.startswith("person/")]
        for person, doc in pairs:
            (self.was_entitled if self._entitled(person, doc) else self.was_other).add((person, doc.key))

    def _opened(self, doc: Document, person: str, world: "Knowledge", entitled: bool) -> Body:
        if not doc.key.startswith("job/"):
            return doc.body
        body: Body = json.loads(json.dumps(doc.body))
        for entry in body["fields"].values():
            if isinstance(entry[0], dict) and "sealed" in entry[0]:
                text = world.sealed.get(entry[0]["sealed"]) if entitled else None
                entry[0] = None if text is None else json.loads(text)
        for items in body["sets"].values():
            for entry in items.values():
                if isinstance(entry[0]["by"], dict):
                    entry[0]["by"] = None
        return body

    # What must hold when all is quiet.

    def at_rest(self) -> list[str]:
        """What is wrong with the whole."""
        found = list(self.problems)
        for key in (self.expected - self.server_said) + (self.server_said - self.expected):
            found.append(f"the server said {self.server_said[key]} times {key}, not {self.expected[key]} times")
        for op, (_, code) in self.parked.items():
            said = self.ops[op]
            there = said.doc in self.docs
            match code:
                case "op.awaits_document":
                    parent = said.rest[1].get("parent") if said.verb == "new" else None
                    waits = f"job/{parent}" not in self.docs if said.verb == "new" else not there
                case "op.awaits_kind":
                    waits = said.rest[0] not in self.kinds("job")
                case "op.awaits_earlier":
                    waits = self._behind(said)
                case "author.unproven" | "device.revoked":
                    waits = op not in self.taken and not self._stop(said)
                case _:
                    waits = code == "op.disputed"
            if not waits:
                found.append(f"{op[:8]} ({said.verb} {said.doc}) is parked as {code} and waits for nothing")
        steps = {
            "open": {"open", "working", "halted", "void"},
            "working": {"working", "halted", "done"},
            "done": {"done"},
            "void": {"void"},
        }
        steps["halted"] = {"halted", "working", "void"}
        for key, states in self.history.items():
            for one, next_one in itertools.pairwise(states):
                if next_one not in steps[one]:
                    found.append(f"{key} went from {one} to {next_one}")
        return found


class Knowledge:
    """What the simulation saw: bundles that arrived, personal values, revocations, the server's own numbers."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self._by_op: dict[str, list[Delivery]] = {}
        self.sealed: dict[str, str] = {}
        self.revoked: list[tuple[str, str, bool, int]] = []
        """(person or device, id, revoked, the ledger's end then)."""
        self.server_devices: set[int] = set()
        self.external: set[str] = set()
        self.predecessors: dict[int, set[int]] = {}

    def deliver(self, bundle: bytes, low: int, receipt: dict[str, Any] | None = None) -> Delivery | None:
        """A bundle reaches the server, whose ledger ends at `low`."""
        try:
            envelope = json.loads(bundle)
            ops = [hashlib.sha256(part).hexdigest() for part in slices(bundle)]
        except (ValueError, KeyError):
            return None
        found = Delivery(envelope, ops, low, 2**62, receipt or {})
        self.deliveries.append(found)
        for op in ops:
            self._by_op.setdefault(op, []).append(found)
        for digest, (_, text) in envelope.get("sealed", {}).items():
            self.sealed.setdefault(digest, text)
        claims = payload(envelope["certificate"])
        self.predecessors.setdefault(claims["dev"], set()).update(claims["predecessors"])
        return found

    def delivery(self, op: str, seq: int) -> Delivery | None:
        """The bundle that brought the op into the ledger at `seq`."""
        return next((d for d in self._by_op.get(op, []) if d.low < seq <= d.high), None)

    def speaks_for(self, delivery: Delivery, device: int) -> bool:
        claims = payload(delivery.bundle["certificate"])
        return device == claims["dev"] or device in claims["predecessors"]

    def opened_text(self, digest: str) -> str:
        text = self.sealed.get(digest)
        return json.loads(text) if text is not None else ""

    def is_revoked(self, what: str, who: str, seq: int) -> bool:
        last = [revoked for w, i, revoked, end in self.revoked if (w, i) == (what, who) and end < seq]
        return bool(last) and last[-1]

    def unproven(self, said: Said, delivery: Delivery, raw: Said | None, seq: int) -> str:
        assert raw is not None
        if self.is_revoked("device", str(delivery.bundle["device"]), seq) or self.is_revoked("device", str(said.device), seq):
            return "device.revoked"
        if self.is_revoked("person", said.person, seq):
            return "author.unproven"
        for token in delivery.bundle["authors"].get(said.person, []):
            claims = payload(token)
            if (
                claims["sub"] == said.person
                and claims["dev"] == said.device
                and claims["iat"] * 1000 - LEEWAY_MS <= raw.at < claims["exp"] * 1000
            ):
                return ""
        return "author.unproven"


def read(data: bytes) -> Said | None:
    """An op's bytes; None where they are none. The simulation's own malformed ops are told from the good ones by their form alone."""
    try:
        verb, device, hlc, at, author, doc, *rest = json.loads(data)
        if len(rest) != {"new": 2, "set": 1, "add": 3, "act": 3}[verb] or device < 1:
            return None
    except (ValueError, KeyError, TypeError):
        return None
    return Said("", verb, device, hlc, at, author, doc, rest)


def slices(bundle: bytes) -> list[bytes]:
    """The bytes of each op in a bundle, as they stand there."""
    text = bundle.decode()
    start = text.index('"ops":[') + 7
    decoder, found = json.JSONDecoder(), []
    while text[start] != "]":
        _, end = decoder.raw_decode(text, start)
        found.append(text[start:end].encode())
        start = end + 1 if text[end] == "," else end
    return found


_payloads: dict[str, dict[str, Any]] = {}


def payload(token: str) -> dict[str, Any]:
    """What a token says, unchecked: whether it is believed is the server's to find out, and hostile ones are never right by chance."""
    if token not in _payloads:
        if len(_payloads) > 10_000:
            _payloads.clear()
        part = token.split(".")[1]
        _payloads[token] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return _payloads[token]


def _hlc(ms: int) -> int:
    return (ms - EPOCH_MS) * TICKS


def _notice(cause: str) -> str:
    return f"notice/{uuid5(NAMESPACE, f'{cause}:notice')}"
