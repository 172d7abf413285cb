"""Shapes: which documents a person may hold, and what of their personal values they may read.

Membership (`member`) and what happened in a shape (`trail`) are tables that `taking` keeps; who holds which shape now is the judge's word.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from backend.store import Tx
from backend.sync.judge import Body, Document, Judge

MARK = b'{"sealed":"'
"""Stands in encoded bodies and patches exactly where a value is sealed: within a JSON text the quotes would be escaped."""

CHANGED, CAME, LEFT = 0, 1, 2
"""What a row of `trail` says."""

_json = msgspec.json.Encoder()


class TxDocs:
    """The `Docs` of a snapshot."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self.began = tx.began
        self._held: dict[str, Document | None] = {}

    async def get(self, key: str) -> Document | None:
        if key not in self._held:
            await self.get_many([key])
        return self._held[key]

    async def get_many(self, keys: Sequence[str]) -> dict[str, Document]:
        missing = [key for key in keys if key not in self._held]
        if missing:
            self._held.update(dict.fromkeys(missing))
            for row in await self._tx.all(f"SELECT * FROM document WHERE {self._tx.among('key', 1)}", self._tx.listed(missing)):
                self._held[row["key"]] = document(row)
        found = {key: self._held[key] for key in keys}
        return {key: doc for key, doc in found.items() if doc is not None}

    async def all(self, kind: str) -> list[Document]:
        rows = await self._tx.all("SELECT * FROM document WHERE key >= $1 AND key < $2 ORDER BY key", f"{kind}/", f"{kind}0")
        return [document(row) for row in rows]


def document(row: Any) -> Document:
    """A row of `document`."""
    return Document(row["key"], row["seq"], msgspec.json.decode(row["body"]), row["author"], row["created_at"])


async def members(tx: Tx, docs: Iterable[str], shapes: Iterable[str]) -> set[str]:
    """Those of these documents that one of these shapes holds now."""
    rows = await tx.all(
        f"SELECT DISTINCT doc FROM member WHERE {tx.among('doc', 1)} AND +{tx.among('shape', 2)}"
        if tx.dialect == "sqlite"
        else f"SELECT DISTINCT doc FROM member WHERE {tx.among('doc', 1)} AND {tx.among('shape', 2)}",
        tx.listed(docs),
        tx.listed(shapes),
    )
    return {row["doc"] for row in rows}


async def may_read(tx: Tx, judge: Judge, person: str, key: str) -> bool:
    """Whether this person may hold this document now."""
    held = await judge.shapes(TxDocs(tx), person)
    return bool(held) and key in await members(tx, [key], held)


class Opener:
    """Opens sealed values for one reader: the entitled read the value, or what it was rounded to, others null; so does everybody once it is
    erased."""

    def __init__(self, tx: Tx, judge: Judge, person: str) -> None:
        self._tx = tx
        self._judge = judge
        self._person = person
        self._docs = TxDocs(tx)
        self._values: dict[str, Any] = {}

    async def body(self, key: str, encoded: bytes) -> bytes:
        """A body as this reader may see it."""
        body: Body = msgspec.json.decode(encoded)
        await self._fetch(body)
        opens = await self._judge.opens(self._docs, self._person, key, body)
        self._open(body["fields"], body["sets"], opens)
        return _json.encode(body)

    async def patch(self, key: str, encoded: bytes) -> bytes:
        """A patch as this reader may see it."""
        patch = msgspec.json.decode(encoded)
        doc = await self._docs.get(key)
        opens = await self._judge.opens(self._docs, self._person, key, doc.body) if doc is not None else set()
        await self._fetch(patch)
        self._open(patch.get("set", {}), patch.get("add", {}), opens)
        return _json.encode(patch)

    def _open(self, fields: dict[str, Any], sets: dict[str, Any], opens: set[str]) -> None:
        for name, entry in fields.items():
            digest = _sealed(entry[0])
            if digest is not None:
                entry[0] = self._values.get(digest) if name in opens else None
        for set_name, items in sets.items():
            for entry in items.values():
                item = entry[0]
                for name, value in item.items():
                    digest = _sealed(value)
                    if digest is not None:
                        allowed = ("author" if name == "by" else f"{set_name}.{name}") in opens
                        item[name] = self._values.get(digest) if allowed else None

    async def _fetch(self, part: dict[str, Any]) -> None:
        wanted: set[str] = set()
        for entry in (part.get("fields") or part.get("set") or {}).values():
            wanted.add(_sealed(entry[0]) or "")
        for items in (part.get("sets") or part.get("add") or {}).values():
            for entry in items.values():
                wanted.update(_sealed(value) or "" for value in entry[0].values())
        wanted -= {"", *self._values}
        if wanted:
            # A place that was rounded is read as what it was rounded to.
            query = "SELECT s.hash, COALESCE(s.value, r.value) AS value FROM sealed s LEFT JOIN sealed r ON r.hash = s.rounded WHERE "
            for row in await self._tx.all(query + self._tx.among("s.hash", 1), self._tx.listed(wanted)):
                self._values[row["hash"]] = None if row["value"] is None else msgspec.json.decode(row["value"])


def _sealed(value: Any) -> str | None:
    match value:
        case {"sealed": str(digest)}:
            return digest
    return None
