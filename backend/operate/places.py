"""Where somebody was is rounded once the time is over for which their kind keeps it exact (`keep.places_days`).

The ledger is walked in its order, in pages, up to what is old enough: every op that brings a sealed place, taken or refused, has its value
replaced by a rough one, by an entry of the server's that says why. How far the walk came is written with the entries, so a kill between two
pages repeats nothing, and of two that walk at once the second finds that it was done.
"""

import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec

from backend.flow.judge import FlowJudge
from backend.kernel.ids import SERVER_AUTHOR
from backend.store import Tx
from backend.sync import ledger
from backend.sync.op import Add, Malformed, New, Op, Sealed, Set, decode
from backend.sync.server import Sync
from backend.sync.shapes import TxDocs
from backend.sync.taking import Taking

ENTRIES_IN_PAGE_MAX = 2_000
DOCUMENTS_AT_ONCE_MAX = 50
"""In one write: a push waits for no more than this."""
DAY_MS = 86_400_000
PLACE_DECIMALS = 2
"""Of a rounded place's degrees: a hundredth is 1.1 km from south to north, and 0.9 km from west to east at 40° of latitude."""
PLACE_ACCURACY_M_MIN = 1_000
"""What a rounded place claims at best."""


Found = tuple[int, str, list[str]]
"""Seq and document of an entry, and the hashes of its places."""


class Walk(msgspec.Struct, frozen=True):
    """Places that are exact for `days`: `places` names kind and version, and the fields (`set.entry` in items)."""

    days: float
    places: dict[tuple[str, int], frozenset[str]]

    @property
    def mark(self) -> str:
        """The name in `meta` of how far it came."""
        return f"places_rounded:{self.days:g}"

    @property
    def why(self) -> str:
        """What its entries say."""
        return f"超过 {self.days:g} 天，位置取整到约 1 公里 / older than {self.days:g} days: rounded to about 1 km"


def walks(judge: FlowJudge) -> list[Walk]:
    """One for each time that a known kind keeps places for."""
    found: dict[float, dict[tuple[str, int], frozenset[str]]] = {}
    for kind in judge.kinds():
        if kind.places:
            found.setdefault(kind.places_days, {})[kind.name, kind.kind.version] = kind.places
    return [Walk(days, found[days]) for days in sorted(found)]


async def round_old(sync: Sync, judge: FlowJudge, now: int, *, dry: bool = False) -> int:
    """Round every place that is old enough; how many there were. `dry`: only count them."""
    return sum([await _walk(sync, walk, now, dry=dry) for walk in walks(judge)])


def rough(text: str) -> str:
    """A place's JSON text with its degrees rounded, marked `rounded`; without what tells more: the tag that was read, the phone's clock."""
    match msgspec.json.decode(text):
        case {"lat": int() | float() as lat, "lon": int() | float() as lon, **rest}:
            accuracy = rest.get("accuracy_m")
            place: dict[str, Any] = {
                "lat": round(lat, PLACE_DECIMALS),
                "lon": round(lon, PLACE_DECIMALS),
                "accuracy_m": max(accuracy, PLACE_ACCURACY_M_MIN) if isinstance(accuracy, int | float) else PLACE_ACCURACY_M_MIN,
                "rounded": True,
            }
            place |= {name: rest[name] for name in ("source", "at") if name in rest}
            return msgspec.json.encode(place).decode()
    return "null"


async def _walk(sync: Sync, walk: Walk, now: int, *, dry: bool) -> int:
    done, after = 0, 0
    async with sync.store.read() as tx:
        end = await ledger.upto(tx, now - round(walk.days * DAY_MS))
        after = begun = await _came(tx, walk)
    while after < end:
        async with sync.store.read() as tx:
            rows = await tx.all(
                f"SELECT seq, doc, bytes FROM ledger WHERE seq > $1 AND seq <= $2 AND what = 'op' ORDER BY seq LIMIT {ENTRIES_IN_PAGE_MAX}",
                after,
                end,
            )
            found = await _places(tx, walk, rows)
        for start in range(0, len(found), DOCUMENTS_AT_ONCE_MAX):
            part = found[start : start + DOCUMENTS_AT_ONCE_MAX]
            if dry:
                done += await _exact(sync, part)
                continue
            rounded = await sync.do(_writing(walk, part, begun, part[-1][0]))
            if rounded is None:
                return done
            done, begun = done + rounded, part[-1][0]
        after = rows[-1]["seq"] if len(rows) == ENTRIES_IN_PAGE_MAX else end
    if not dry and begun < end:
        await sync.do(_writing(walk, [], begun, end))
    return done


def _writing(walk: Walk, part: list[Found], begun: int, upto: int) -> Callable[[Taking], Awaitable[int | None]]:
    """Round what was found, and note that the walk came from `begun` to `upto`; None where another has gone on from there meanwhile."""

    async def work(taking: Taking) -> int | None:
        if await _came(taking.tx, walk) != begun:
            return None
        done = 0
        await taking.get_many([doc for _, doc, _ in part])
        for _, doc, hashes in part:
            done += await taking.round(doc, hashes, rough, lambda: secrets.token_bytes(16), SERVER_AUTHOR, walk.why)
        await taking.tx.run(
            "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value", walk.mark, str(upto)
        )
        return done

    return work


async def _came(tx: Tx, walk: Walk) -> int:
    row = await tx.one("SELECT value FROM meta WHERE name = $1", walk.mark)
    return 0 if row is None else int(row["value"])


async def _places(tx: Tx, walk: Walk, rows: Iterable[Any]) -> list[Found]:
    """Those of these entries that bring a sealed place."""
    said: list[tuple[int, Op]] = []
    for row in rows:
        if row["bytes"] is not None and b'"sealed"' in row["bytes"]:
            try:
                said.append((row["seq"], decode(bytes(row["bytes"]))))
            except Malformed:
                continue
    docs = await TxDocs(tx).get_many([op.doc for _, op in said if not isinstance(op, New)])
    found = []
    for seq, op in said:
        held = docs.get(op.doc)
        version = op.version if isinstance(op, New) else held.body["version"] if held is not None else 0
        names = walk.places.get((op.doc.partition("/")[0], version), frozenset())
        match op:
            case New() | Set():
                values = [value for name, value in op.fields.items() if name in names]
            case Add():
                values = [value for name, value in op.item.items() if f"{op.set}.{name}" in names]
            case _:
                values = []
        hashes = [_digest(value) for value in values if _digest(value)]
        if hashes:
            found.append((seq, op.doc, hashes))
    return found


def _digest(value: object) -> str:
    match value:
        case Sealed():
            return value.sealed
        case {"sealed": str(digest)}:
            return digest
    return ""


async def _exact(sync: Sync, part: list[Found]) -> int:
    async with sync.store.read() as tx:
        wanted = tx.listed({digest for _, _, hashes in part for digest in hashes})
        rows = await tx.all(f"SELECT hash FROM sealed WHERE {tx.among('hash', 1)} AND value IS NOT NULL AND salt IS NOT NULL", wanted)
    return len(rows)
