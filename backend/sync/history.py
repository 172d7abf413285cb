"""A document's history, read from the ledger: each thing that was said of it, with the time its phone claimed and the time that counts, who
and which phone said it, and what it changed.

Whoever may hold the document now and reads personal fields may read it. A personal value is opened for whom its kind opens it; of what was
said without a name neither author nor phone is given.
"""

from contextlib import suppress
from typing import Any

import msgspec
from litestar import Request, get
from litestar.di import NamedDependency
from litestar.params import FromQuery

from backend.audit.cold import Cold
from backend.auth.sessions import Principal
from backend.kernel.errors import Refusal
from backend.store import Tx
from backend.sync import hlc
from backend.sync.judge import Judge
from backend.sync.op import Act, Add, Malformed, New, Op, Sealed, Set, decode
from backend.sync.server import Sync
from backend.sync.shapes import Opener, may_read

LINES_MAX = 50
"""Lines of one answer; `before` asks for older ones."""
DOC_CHARS_MAX = 200
SEQ_END = 2**62
SEALED = "sealed:"


class Line(msgspec.Struct):
    """One entry about a document. Times are Unix ms.

    `what`: op, verdict (a later one on an op that waited) or erasure. `arrived`: when the server wrote it. `claimed`: when it happened
    by the phone's clock; `ordered`: the moment that orders its values among others'. `marks`: what the server noted about it
    (`clock_suspect`: the phone's clock was over five minutes ahead). `verb` and `name`: what was said (new, set, add, act; which set or
    step). `fields`, `items` and `status`: what it changed, for an op that was taken; `said`: what it would have changed, for one that was
    not.
    """

    seq: int
    what: str
    arrived: int
    op: str | None
    number: int | None
    device: int | None
    device_label: str
    author: str | None
    anonymous: bool
    claimed: int | None
    ordered: int | None
    marks: list[str]
    verb: str | None
    name: str | None
    state: str
    code: str | None
    params: dict[str, Any]
    status: str | None
    fields: dict[str, Any]
    items: dict[str, list[dict[str, Any]]]
    said: dict[str, Any]


class History(msgspec.Struct):
    """Lines of a document, the newest first; `more`: there are older ones, below the last one's seq."""

    doc: str
    lines: list[Line]
    more: bool


@get("/api/ledger/history", who="read_all")
async def history(
    request: Request[Any, Any, Any], principal: NamedDependency[Principal], doc: FromQuery[str], before: FromQuery[int] = 0
) -> History:
    """What was said of the document `doc` (kind/id), the newest first, 50 entries an answer; `before`: only what is older than this seq."""
    sync: Sync = request.app.state["sync"]
    judge: Judge = request.app.state["judge"]
    async with sync.store.read() as tx:
        if len(doc) > DOC_CHARS_MAX or not await may_read(tx, judge, principal.person, doc):
            raise Refusal("ledger.no_document")
        return await read(tx, judge, principal.person, doc, before, sync.cold)


async def read(tx: Tx, judge: Judge, person: str, doc: str, before: int, cold: Cold) -> History:
    """A document's lines as this person may see them."""
    rows = await tx.all(
        "SELECT seq, what, at, op, n, device, author, e, state, code, params, mark, patch FROM ledger WHERE doc = $1 AND seq < $2"
        " ORDER BY seq DESC LIMIT $3",
        doc,
        min(before, SEQ_END) if before > 0 else SEQ_END,
        LINES_MAX + 1,
    )
    shown = rows[:LINES_MAX]
    ops = await _ops(tx, [row["op"] for row in shown if row["op"]], cold)
    labels = await _labels(tx, [row["device"] for row in shown if row["device"] is not None])
    opener = Opener(tx, judge, person)
    return History(doc, [await _line(row, ops.get(row["op"]), labels, opener, doc) for row in shown], len(rows) > LINES_MAX)


async def _ops(tx: Tx, ids: list[str], cold: Cold) -> dict[str, Op]:
    if not ids:
        return {}
    found: dict[str, Op] = {}
    for row in await tx.all(f"SELECT seq, op, bytes FROM ledger WHERE {tx.among('op', 1)} AND what = 'op'", tx.listed(set(ids))):
        data = cold.bytes_of(row)
        if data is not None:
            with suppress(Malformed):
                found[row["op"]] = decode(bytes(data))
    return found


async def _labels(tx: Tx, numbers: list[int]) -> dict[int, str]:
    if not numbers:
        return {}
    rows = await tx.all(f"SELECT number, label FROM device WHERE {tx.among('number', 1)}", tx.listed(set(numbers)))
    return {row["number"]: row["label"] for row in rows}


async def _line(row: Any, op: Op | None, labels: dict[int, str], opener: Opener, doc: str) -> Line:
    author = row["author"]
    hidden = author is not None and author.startswith(SEALED)
    device = None if hidden else row["device"]
    fields, items, status = await _changed(row["patch"], op, opener, doc)
    return Line(
        seq=row["seq"],
        what=row["what"],
        arrived=row["at"],
        op=row["op"],
        number=None if hidden else row["n"],
        device=device,
        device_label="" if device is None else labels.get(device, ""),
        author=None if hidden else author,
        anonymous=hidden,
        claimed=None if op is None else op.at,
        ordered=None if row["e"] is None else hlc.to_ms(row["e"]),
        marks=(row["mark"] or "").split(),
        verb=None if op is None else op.verb,
        name=_name(op),
        state=row["state"] or "ok",
        code=row["code"],
        params={} if row["params"] is None else msgspec.json.decode(row["params"]),
        status=status,
        fields=fields,
        items=items,
        said={} if row["patch"] is not None or op is None else _plain(_content(op)),
    )


async def _changed(patch: bytes | None, op: Op | None, opener: Opener, doc: str) -> tuple[dict[str, Any], dict[str, Any], str | None]:
    """Fields, items by set, and the status that an entry wrote."""
    if patch is None:
        return {}, {}, None
    if isinstance(op, New):
        whole = msgspec.json.decode(await opener.body(doc, bytes(patch)))
        fields, sets = whole["fields"], whole["sets"]
    else:
        whole = msgspec.json.decode(await opener.patch(doc, bytes(patch)))
        fields, sets = whole.get("set", {}), whole.get("add", {})
    items = {name: [{**entry[0], "id": item_id} for item_id, entry in put.items()] for name, put in sets.items() if put}
    return {name: entry[0] for name, entry in fields.items()}, items, whole.get("status")


def _name(op: Op | None) -> str | None:
    match op:
        case Add():
            return op.set
        case Act():
            return op.transition
    return None


def _content(op: Op) -> dict[str, Any]:
    match op:
        case New() | Set():
            return op.fields
        case Add():
            return op.item
    return op.input


def _plain(value: Any) -> Any:
    """What was said, without what is sealed in it."""
    match value:
        case Sealed() | {"sealed": str()}:
            return None
        case dict():
            return {name: _plain(part) for name, part in value.items()}
        case list():
            return [_plain(part) for part in value]
    return value


ROUTES = [history]
