"""Everything that is derived, derived again from the ledger alone: its patches are put on each other in its order; nothing is judged again.

`differences` compares that with what is live; `rebuild` replaces what is live by it.
"""

import time
from typing import Any

import msgspec

from backend.audit.cold import Cold
from backend.kernel import ids
from backend.store import Store, Tx
from backend.sync import ledger, merge, trail
from backend.sync.judge import Document, Judge
from backend.sync.op import Act, Add, Malformed, New, Op, decode

PAGE_ROWS = 5_000
UNPROVEN = ("author.unproven", "device.revoked")
TABLES = {
    "document": "SELECT key, seq, body, author, created_at FROM document",
    "member": "SELECT shape, doc FROM member",
    "trail": "SELECT shape, seq, doc, what FROM trail",
    "place": "SELECT device, have, last, e FROM place WHERE have > 0 OR e > 0",
    "parked": "SELECT op, seq, device, doc, code, awaits FROM parked",
    "stop": "SELECT doc, seq, author, device, queue, n FROM stop",
}


class Derived:
    """The derived tables in memory, and the `Docs` that placement reads."""

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}
        self.shapes: dict[str, frozenset[str]] = {}
        self.trail: list[tuple[str, int, str, int]] = []
        self.places: dict[int, list[Any]] = {}
        self.parked: dict[str, list[Any]] = {}
        self.stops: list[tuple[str, int, str, int, int, int]] = []
        self._arrived: dict[str, tuple[Any, Op | None]] = {}
        self._servers: set[int] = set()
        """The server's own devices, one for each epoch."""

    @property
    def began(self) -> int:
        """What is in memory is as new as can be."""
        return time.monotonic_ns()

    async def get(self, key: str) -> Document | None:
        return self.documents.get(key)

    async def get_many(self, keys: Any) -> dict[str, Document]:
        return {key: self.documents[key] for key in keys if key in self.documents}

    async def all(self, kind: str) -> list[Document]:
        return [doc for key, doc in sorted(self.documents.items()) if key.startswith(f"{kind}/")]

    async def take(self, row: Any, judge: Judge, data: bytes | None) -> None:
        """Do what an entry says; `data` are the bytes of its op."""
        match row["what"]:
            case "op":
                if data is None:
                    raise LookupError(f"the op of entry {row['seq']} is neither in the ledger nor in a cold file")
                op = _read(data)
                self._stand(row, op)
                await self._settle(row, row, op, judge)
            case "verdict":
                arrived, op = self._arrived[row["op"]]
                await self._settle(row, arrived, op, judge)
            case "again":
                place = self.places.setdefault(row["queue"], [row["queue"], 0, None, 0])
                place[1:3] = row["n"], row["op"]
            case "lost":
                place = self.places.setdefault(row["queue"], [row["queue"], 0, None, 0])
                place[1:3] = row["n"], None
            case "epoch":
                self._servers.add(msgspec.json.decode(row["params"])["device"])
            case "erasure":
                doc = self.documents.get(row["doc"])
                if doc is not None:
                    doc.seq = row["seq"]
                    self.trail += [(shape, row["seq"], doc.key, 1) for shape in self.shapes[doc.key]]

    def rows(self, floor: int) -> dict[str, list[tuple[Any, ...]]]:
        """The tables' rows; bodies in RFC 8785 form, trails from above the floor up to which they were cut."""
        documents = [(d.key, d.seq, merge.canonical(d.body), d.author, d.created_at) for d in self.documents.values()]
        return {
            "document": documents,
            "member": [(shape, key) for key, shapes in self.shapes.items() for shape in shapes],
            "trail": [row for row in self.trail if row[1] > floor],
            "place": [tuple(place) for place in self.places.values()],
            "parked": [tuple(parked) for parked in self.parked.values()],
            "stop": list(self.stops),
        }

    def _stand(self, row: Any, op: Op | None) -> None:
        place = self.places.setdefault(row["queue"], [row["queue"], 0, None, 0])
        place[1:3] = row["n"], row["op"]
        if op is not None and row["e"]:
            speaker = self.places.setdefault(op.device, [op.device, 0, None, 0])
            speaker[3] = row["e"]
        if row["state"] == "parked":
            self._arrived[row["op"]] = row, op

    async def _settle(self, row: Any, arrived: Any, op: Op | None, judge: Judge) -> None:
        if row["state"] == "parked":
            assert op is not None
            since = self.parked[row["op"]][1] if row["op"] in self.parked else row["seq"]
            self.parked[row["op"]] = [row["op"], since, op.device, op.doc, row["code"], self._awaited(row, op)]
            return
        self.parked.pop(row["op"], None)
        if row["state"] != "ok" or op is None:
            return
        patch = msgspec.json.decode(row["patch"])
        before = self.documents.get(op.doc)
        if isinstance(op, Act) and judge.is_stop(op, before):
            self.stops.append((op.doc, row["seq"], row["author"], op.device, row["queue"], row["n"]))
        if isinstance(op, New):
            # What the server says bears its cause's time, also where the server's clock was set back since.
            at = op.at if arrived["queue"] in self._servers else min(op.at, arrived["at"])
            self.documents[op.doc] = Document(op.doc, row["seq"], patch, row["author"], at)
            # Those whose author is unproven were looked at again when their document came; they wait for a person only now.
            for parked in self.parked.values():
                if parked[5] == op.doc and parked[4] in UNPROVEN:
                    parked[5] = None
        else:
            assert before is not None
            merge.put_patch(before.body, patch)
            before.seq = row["seq"]
        judge.observe([op.doc])
        await self._move(op, row["seq"], judge)

    async def _move(self, op: Op, seq: int, judge: Judge) -> None:
        before = after = self.shapes.get(op.doc, frozenset())
        if isinstance(op, New | Act):
            after = self.shapes[op.doc] = frozenset(await judge.placement(self, op.doc, self.documents[op.doc].body))
        self.trail += [(shape, seq, op.doc, 0 if shape in before else 1) for shape in after]
        self.trail += [(shape, seq, op.doc, 2) for shape in before - after]

    def _awaited(self, row: Any, op: Op) -> str | None:
        params = {} if row["params"] is None else msgspec.json.decode(row["params"])
        match row["code"]:
            case "op.awaits_document":
                return str(params.get("doc", op.doc))
            case "op.awaits_kind":
                return f"kind/{ids.kind_document(params['kind'], int(params['version']))}"
            case "op.awaits_earlier":
                return str(params["op"])
            case code if code in UNPROVEN and isinstance(op, Act | Add) and op.doc not in self.documents:
                return op.doc
        return None


async def derive(tx: Tx, judge: Judge, cold: Cold | None = None) -> Derived:
    """Read the whole ledger. Raises LookupError where an op's bytes are nowhere."""
    cold = cold or Cold()
    derived = Derived()
    last = 0
    while rows := await tx.all(f"SELECT {ledger.ALL} FROM ledger WHERE seq > $1 ORDER BY seq LIMIT {PAGE_ROWS}", last):
        for row in rows:
            await derived.take(row, judge, cold.bytes_of(row) if row["what"] == "op" else None)
        last = rows[-1]["seq"]
    return derived


async def differences(store: Store, judge: Judge, cold: Cold | None = None) -> list[str]:
    """Where what is live is not what the ledger gives: a line each. None when all is well."""
    found: list[str] = []
    async with store.read() as tx:
        floor = await trail.floor(tx)
        derived = (await derive(tx, judge, cold)).rows(floor)
        for table, query in TABLES.items():
            rows = [tuple(row) for row in await tx.all(query)]
            if table == "trail":
                # Those below are on their way out.
                rows = [row for row in rows if row[1] > floor]
            if table == "document":
                rows = [(key, seq, merge.canonical(msgspec.json.decode(body)), *rest) for key, seq, body, *rest in rows]
            live, due = set(rows), set(derived[table])
            found += [f"{table}: {row[:2]} is live and not in the ledger" for row in sorted(live - due, key=repr)]
            found += [f"{table}: {row[:2]} is in the ledger and not live" for row in sorted(due - live, key=repr)]
    return found


async def rebuild(store: Store, judge: Judge, cold: Cold | None = None) -> None:
    """Throw away what is derived and write it again, in one transaction. The server is not running meanwhile."""
    async with store.write() as tx:
        derived = (await derive(tx, judge, cold)).rows(await trail.floor(tx))
        for table, rows in derived.items():
            await tx.run(f"DELETE FROM {table}")
            if rows:
                marks = ", ".join(f"${i}" for i in range(1, len(rows[0]) + 1))
                columns = TABLES[table].removeprefix("SELECT ").partition(" FROM")[0]
                await tx.many(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)


def _read(data: bytes) -> Op | None:
    try:
        return decode(data)
    except Malformed:
        return None
