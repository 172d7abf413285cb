"""Merging accepted ops into a document's body. Twin of pwa/src/sync/merge.ts. Pure; a body is changed in place, its entries never are.

    {"version", "status", "fields": {f: [value, e, device]}, "sets": {s: {id: [item, e, device]}}}

`e` is the effective hlc, `device` the op's own. Any order, duplication and batching of the same ops gives the same body:

- fields: the larger (e, device) wins;
- items: union by id; of two with one id the smaller (e, device) wins: nobody replaces what was put down first;
- equal pairs, which only a forked phone can make, go by op id: the larger for fields, the smaller for items. Bodies do not keep op ids:
  where the caller knows that of what stands (`ids`), it decides; otherwise what stands stays.

What an act writes is in the ledger's order, not the clocks': `write_fields`.
"""

from collections.abc import Mapping
from typing import Any

from backend.sync.op import Author, Sealed, canonical

Body = dict[str, Any]
Entry = list[Any]
"""`[value, e, device]`."""

Ids = dict[tuple[str, ...], str]
"""Op ids of what stands, as far as the caller knows: `(field,)` or `(set, item id)`. The merge adds what it writes."""

__all__ = ["Body", "Entry", "Ids", "begin", "canonical", "copy", "put_fields", "put_items", "put_patch", "stamp", "write_fields"]


def begin(version: int, status: str) -> Body:
    """An empty document."""
    return {"version": version, "status": status, "fields": {}, "sets": {}}


def put_fields(body: Body, fields: Mapping[str, Any], e: int, device: int, op_id: str = "", ids: Ids | None = None) -> dict[str, Entry]:
    """Merge what a `new` or `set` says; returns the entries that won."""
    changed: dict[str, Entry] = {}
    standing = body["fields"]
    for name, value in fields.items():
        old = standing.get(name)
        if old is None or (e, device) > (old[1], old[2]) or (_tie(old, e, device) and _known(ids, (name,), op_id) > 0):
            standing[name] = changed[name] = [value, e, device]
            if ids is not None:
                ids[name,] = op_id
    return changed


def put_items(
    body: Body, items: Mapping[str, Mapping[str, Any]], e: int, device: int, op_id: str = "", ids: Ids | None = None
) -> dict[str, dict[str, Entry]]:
    """Merge `{set: {item id: item}}`; returns the entries that are now there and were not."""
    changed: dict[str, dict[str, Entry]] = {}
    for set_name, put in items.items():
        for item_id, item in put.items():
            old = body["sets"].get(set_name, {}).get(item_id)
            if old is None or (e, device) < (old[1], old[2]) or (_tie(old, e, device) and _known(ids, (set_name, item_id), op_id) < 0):
                entry = [item, e, device]
                body["sets"].setdefault(set_name, {})[item_id] = entry
                changed.setdefault(set_name, {})[item_id] = entry
                if ids is not None:
                    ids[set_name, item_id] = op_id
    return changed


def write_fields(body: Body, fields: Mapping[str, Any], e: int, device: int) -> dict[str, Entry]:
    """Write what an act says, whatever clocks stand there: acts go in the ledger's order. Returns the entries."""
    changed = {name: [value, e, device] for name, value in fields.items()}
    body["fields"].update(changed)
    return changed


def put_patch(body: Body, patch: Mapping[str, Any]) -> None:
    """Take over a patch, `{"set"?: {f: entry}, "add"?: {s: {id: entry}}, "status"?}`: the server's word stands over any clock."""
    body["fields"].update(patch.get("set", {}))
    for set_name, put in patch.get("add", {}).items():
        body["sets"].setdefault(set_name, {}).update(put)
    if "status" in patch:
        body["status"] = patch["status"]


def stamp(item: Mapping[str, Any], author: Author, at: int) -> dict[str, Any]:
    """An added item with who said it (`by`, sealed if anonymous) and when (`at`, Unix ms), over whatever it claims itself."""
    return {**item, "by": {"sealed": author.sealed} if isinstance(author, Sealed) else author, "at": at}


def copy(body: Body) -> Body:
    """A body that may be merged into without touching this one."""
    return {**body, "fields": dict(body["fields"]), "sets": {name: dict(items) for name, items in body["sets"].items()}}


def _tie(old: Entry, e: int, device: int) -> bool:
    return bool(old[1] == e and old[2] == device)


def _known(ids: Ids | None, place: tuple[str, ...], op_id: str) -> int:
    """How this op's id compares with that of what stands: 1, 0 or -1; 0 where either is not known."""
    standing = ids.get(place, "") if ids is not None else ""
    return (op_id > standing) - (op_id < standing) if op_id and standing else 0
