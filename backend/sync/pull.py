"""Pull: what a person's phone lacks, as lines of JSON in pages, each ended by a cursor from which to go on.

Pages are short, so that a slow line which breaks again and again gets on by some of them each time; what one query finds may fill several,
all of one snapshot. A shape that is new to the phone comes whole, in key order, from a place in the ledger noted before its
first document is read; the others bring what their trail says happened since their place. Bodies and patches are stored as they are sent:
lines are joined, not encoded.
"""

import base64
import hashlib
import hmac
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import msgspec

from backend.store import Store, Tx
from backend.sync import ledger
from backend.sync.events import Hub
from backend.sync.judge import Judge
from backend.sync.shapes import CAME, MARK, Opener, TxDocs, members
from backend.sync.trail import floor

DOCS_IN_PAGE_MAX = 500
SHAPES_IN_PAGE_MAX = 100
CHANGES_IN_PAGE_MAX = 1_000
VERDICTS_IN_PAGE_MAX = 500
PAGE_BYTES_MAX = 160_000
"""A page ends with the document or change that reaches it, before compression: some two seconds at 256 kbit/s."""
WANTED_MAX = 500
CURSOR_CHARS_MAX = 65_536
TAG_BYTES = 16
PACKED, PLAIN = "2:", ""
"""How a cursor's content is written, as its tag says it: compressed, so that one for 2,000 areas is still taken, or, until then, as it was.
A server of the version before knows no tag of the new form, and begins again."""
TURNS = {"site": 0, "person": 1, "role": 2, "area": 3}


class Cursor(msgspec.Struct, omit_defaults=True):
    """Where a phone stands. A shape's place is the seq up to which it is complete, or, while it first comes, [seq before reading, last
    key]."""

    shapes: dict[str, int | tuple[int, str]] = {}
    verdicts: int = 0
    through: int = 0
    reads: dict[str, str] = {}
    """Under which rights personal values were opened for it, as `Judge.reads` says; none in a cursor from before that was noted."""


class Page(msgspec.Struct):
    """Lines, and where they lead."""

    lines: list[bytes]
    cursor: Cursor
    more: bool


Lines = list[tuple[bytes, tuple[dict[str, Any], list[str], Any] | None]]
"""Lines, each with how far a phone is that has it and those before, as places of some shapes and the one place of others; None where it has
to go on."""


class Puller:
    """Answers pulls. `begin` tells it the epoch and the key of its cursors."""

    def __init__(self, store: Store, judge: Judge) -> None:
        self._store = store
        self._judge = judge
        self._epoch = ""
        self._key = b""

    def begin(self, epoch: str, key: bytes) -> None:
        self._epoch = epoch
        self._key = key

    async def pull(self, person: str, device: int, text: str | None, want: Sequence[str], hub: Hub | None = None) -> AsyncIterator[bytes]:
        """The first line, then page after page. Each part is whole lines."""
        cursor = self._read(text, person, device)
        reset = cursor is None
        cursor = cursor or Cursor()
        first = True
        more = True
        while more:
            async with self._store.read() as tx:
                held = sorted(set(await self.shapes(tx, person)), key=_turn)
                lines: list[bytes] = []
                reads = await self._judge.reads(TxDocs(tx), person)
                other = any(reads.get(right, word) != word for right, word in cursor.reads.items())
                if cursor.shapes and (other or _least(cursor.shapes.values()) < await floor(tx)):
                    if not first:
                        # What it stood on was taken away meanwhile: it asks again, and hears of the reset.
                        return
                    cursor, reset = Cursor(), True
                cursor.reads = reads
                if first:
                    head = {"epoch": self._epoch, "reset": reset, "total": await self._total(tx, cursor, held, device) + len(want)}
                    lines.append(msgspec.json.encode(head))
                    if hub is not None:
                        hub.sees(person, device, held)
                pages = await self._pages(tx, cursor, person, device, held, want if first else ())
            for page in pages:
                end = {"cursor": self._write(page.cursor, person, device), "through": page.cursor.through, "more": page.more}
                yield b"\n".join([*lines, *page.lines, msgspec.json.encode(end), b""])
                lines = []
            cursor, more, first = page.cursor, page.more, False

    async def shapes(self, tx: Tx, person: str) -> list[str]:
        """The shapes that this person may hold now."""
        return await self._judge.shapes(TxDocs(tx), person)

    # A snapshot's pages.

    async def _pages(self, tx: Tx, cursor: Cursor, person: str, device: int, held: list[str], want: Sequence[str]) -> list[Page]:
        end, _ = await ledger.head(tx)
        opener = Opener(tx, self._judge, person)
        places = dict(cursor.shapes)
        lost = await self._lost(tx, places, held, end)
        wanted = await self._wanted(tx, opener, want, held, end)
        # Who gets only some of what it wanted asks for the others again.
        pages, left = _cut([(line, None) for line in lost] + [(line, ({}, [], None)) for line in wanted], lambda *_: cursor)
        for shape in held:
            places.setdefault(shape, (end, ""))
        before = dict(places)
        coming = [shape for shape in held if isinstance(places[shape], tuple)]
        if coming:
            found = await self._come(tx, opener, places, coming)
            more = any(place != end for place in places.values())
        else:
            found, more = await self._changes(tx, opener, places, held, end)
        done, verdicts = await self._verdicts(tx, cursor.verdicts, person, device, end)

        def so_far(through: dict[str, Any], shapes: list[str], place: Any) -> Cursor:
            return _cursor({**before, **through, **dict.fromkeys(shapes, place)}, cursor, cursor.verdicts, end)

        parts, left = _cut([*((line, None) for line in left), *found], so_far)
        return [*pages, *parts, Page([*left, *verdicts], _cursor(places, cursor, done, end), more or done < end)]

    async def _lost(self, tx: Tx, places: dict[str, Any], held: list[str], end: int) -> list[bytes]:
        """What the phone must forget with the shapes that its person no longer holds."""
        lost = [shape for shape in places if shape not in held]
        if not lost:
            return []
        least = _least(places[shape] for shape in lost)
        rows = await tx.all(
            f"SELECT doc FROM member WHERE {tx.among('shape', 1)} UNION SELECT doc FROM trail WHERE {tx.among('shape', 1)} AND seq > $2",
            tx.listed(lost),
            least,
        )
        for shape in lost:
            del places[shape]
        docs = [row["doc"] for row in rows]
        kept = await members(tx, docs, held)
        return [_gone(doc, end) for doc in docs if doc not in kept]

    async def _wanted(self, tx: Tx, opener: Opener, want: Sequence[str], held: list[str], end: int) -> list[bytes]:
        """Documents that the phone got a patch of and does not hold."""
        keys = list(dict.fromkeys(want))[:WANTED_MAX]
        if not keys:
            return []
        allowed = await members(tx, keys, held)
        lines = [line for _, line in await self._whole(tx, opener, sorted(allowed))]
        return lines + [_gone(key, end) for key in keys if key not in allowed]

    async def _come(self, tx: Tx, opener: Opener, places: dict[str, Any], coming: list[str]) -> Lines:
        """The next documents of the shapes that are not complete, one after the other. What another, complete shape holds has come with
        that."""
        lines: Lines = []
        through: dict[str, Any] = {}
        room = DOCS_IN_PAGE_MAX
        for shape in coming[:SHAPES_IN_PAGE_MAX]:
            since, after = places[shape]
            complete = [s for s, place in places.items() if isinstance(place, int)]
            rows = await tx.all(
                "SELECT d.key, d.seq, d.body FROM member m JOIN document d ON d.key = m.doc WHERE m.shape = $1 AND m.doc > $2"
                " ORDER BY m.doc LIMIT $3",
                shape,
                after,
                room,
            )
            places[shape] = since if len(rows) < room else (since, rows[-1]["key"])
            there = await members(tx, [row["key"] for row in rows], complete) if complete and rows else set()
            for row in rows:
                if row["key"] not in there:
                    lines.append((await _doc(opener, row), (through, [shape], (since, row["key"]))))
            through = {**through, shape: places[shape]}
            room -= len(rows)
            if not room:
                break
        return lines

    async def _changes(self, tx: Tx, opener: Opener, places: dict[str, Any], held: list[str], end: int) -> tuple[Lines, bool]:
        """What happened in complete shapes since their places, the furthest behind first; and whether there is more."""
        if not held:
            return [], False
        place = min(places[shape] for shape in held)
        behind = [shape for shape in held if places[shape] == place]
        upto = min((places[shape] for shape in held if places[shape] > place), default=end)
        part = f"SELECT seq, doc, what FROM trail WHERE shape = ${{}} AND seq > $1 AND seq <= $2 ORDER BY seq LIMIT {CHANGES_IN_PAGE_MAX}"
        parts = " UNION ALL ".join(f"SELECT * FROM ({part.format(i)}) AS t{i}" for i in range(3, 3 + len(behind)))
        rows = await tx.all(f"{parts} ORDER BY seq LIMIT {CHANGES_IN_PAGE_MAX}", place, upto, *behind)
        if len(rows) == CHANGES_IN_PAGE_MAX:
            # The last seq may have more rows than fit: leave it for the next page.
            upto = rows[-1]["seq"] - 1
            rows = [row for row in rows if row["seq"] <= upto]
        for shape in behind:
            places[shape] = upto
        lines = await self._tell(tx, opener, rows, held, end)
        # Between two lines of one seq no place lies.
        after = [*(seq for seq, _ in lines), end + 1][1:]
        placed: Lines = [(line, ({}, behind, seq) if seq < then else None) for (seq, line), then in zip(lines, after, strict=True)]
        return placed, any(places[shape] < end for shape in held)

    async def _tell(self, tx: Tx, opener: Opener, rows: list[Any], held: list[str], end: int) -> list[tuple[int, bytes]]:
        """The lines of these changes in the order of the seqs they stand at."""
        seqs: dict[str, set[int]] = {}
        whole: set[str] = set()
        for seq, doc, what in rows:
            seqs.setdefault(doc, set()).add(seq)
            if what == CAME:
                whole.add(doc)
        if not seqs:
            return []
        there = await members(tx, seqs, held)
        gone = [doc for doc in seqs if doc not in there]
        patched = [doc for doc in seqs if doc in there and doc not in whole]
        wanted = [seq for doc in patched for seq in seqs[doc]]
        patches: dict[str, list[Any]] = {}
        if wanted:
            found = await tx.all(f"SELECT seq, doc, patch FROM ledger WHERE {tx.among('seq', 1)} ORDER BY seq", tx.listed(wanted))
            for row in found:
                patches.setdefault(row["doc"], []).append(row)
        several = [doc for doc, held_patches in patches.items() if len(held_patches) > 1]
        if several:
            # Many small changes can be longer than the document they made.
            sizes = await tx.all(f"SELECT key, LENGTH(body) AS size FROM document WHERE {tx.among('key', 1)}", tx.listed(several))
            for row in sizes:
                if sum(len(p["patch"]) for p in patches[row["key"]]) > row["size"]:
                    whole.add(row["key"])
        # A document that comes whole has all its changes; so it stands where the first of them would.
        lines: list[tuple[int, bytes]] = [(min(seqs[doc]), _gone(doc, end)) for doc in gone]
        for doc, held_patches in patches.items():
            if doc not in whole:
                for row in held_patches:
                    lines.append((row["seq"], await _patch(opener, row)))
        lines += [(min(seqs[doc]), line) for doc, line in await self._whole(tx, opener, sorted(whole & there))]
        lines.sort(key=lambda line: line[0])
        return lines

    async def _whole(self, tx: Tx, opener: Opener, keys: list[str]) -> list[tuple[str, bytes]]:
        if not keys:
            return []
        rows = await tx.all(f"SELECT key, seq, body FROM document WHERE {tx.among('key', 1)} ORDER BY key", tx.listed(keys))
        return [(row["key"], await _doc(opener, row)) for row in rows]

    async def _verdicts(self, tx: Tx, after: int, person: str, device: int, end: int) -> tuple[int, list[bytes]]:
        """Verdicts on this person's ops in this device's queue, and the place up to which they are told."""
        rows = await tx.all(
            "SELECT seq, op, n, state, code, params, author FROM ledger WHERE queue = $1 AND seq > $2 AND seq <= $3"
            f" AND what IN ('op', 'again', 'verdict') ORDER BY seq LIMIT {VERDICTS_IN_PAGE_MAX}",
            device,
            after,
            end,
        )
        sealed = {row["author"][7:] for row in rows if row["author"] is not None and row["author"].startswith("sealed:")}
        own: set[str] = set()
        if sealed:
            found = await tx.all(f"SELECT hash, value FROM sealed WHERE {tx.among('hash', 1)}", tx.listed(sealed))
            own = {f"sealed:{row['hash']}" for row in found if row["value"] is not None and msgspec.json.decode(row["value"]) == person}
        lines = []
        for row in rows:
            if row["author"] is None or row["author"] == person or row["author"] in own:
                line: dict[str, Any] = {"op": row["op"], "n": row["n"], "seq": row["seq"], "state": row["state"]}
                if row["code"] is not None:
                    line |= {"code": row["code"], "params": msgspec.Raw((row["params"] or "{}").encode())}
                lines.append(msgspec.json.encode({"verdict": line}))
        return (rows[-1]["seq"] if len(rows) == VERDICTS_IN_PAGE_MAX else end), lines

    # What is said once.

    async def _total(self, tx: Tx, cursor: Cursor, held: list[str], device: int) -> int:
        """About how many lines will come: a document that comes by several shapes is one."""
        total = 0
        coming = {}
        for shape in held:
            place = cursor.shapes.get(shape, (0, ""))
            if isinstance(place, int):
                row = await tx.one("SELECT COUNT(*) AS n FROM trail WHERE shape = $1 AND seq > $2", shape, place)
                total += row["n"] if row is not None else 0
            else:
                coming[shape] = place[1]
        if coming:
            # One shape is begun at a time: of that one what is left, of the others all.
            begun, behind = next(((shape, after) for shape, after in coming.items() if after), ("", ""))
            untouched = [shape for shape in coming if shape != begun]
            left = f"SELECT doc FROM member WHERE {tx.among('shape', 1)} UNION SELECT doc FROM member WHERE shape = $2 AND doc > $3"
            row = await tx.one(f"SELECT COUNT(*) AS n FROM ({left}) AS coming", tx.listed(untouched), begun, behind)
            total += row["n"] if row is not None else 0
        row = await tx.one("SELECT COUNT(*) AS n FROM ledger WHERE queue = $1 AND seq > $2", device, cursor.verdicts)
        return total + (row["n"] if row is not None else 0)

    def _tag(self, content: bytes, person: str, device: int, form: str = PACKED) -> bytes:
        return hmac.digest(self._key, f"{form}{self._epoch}:{person}:{device}:".encode() + content, hashlib.sha256)[:TAG_BYTES]

    def _write(self, cursor: Cursor, person: str, device: int) -> str:
        content = zlib.compress(msgspec.json.encode(cursor))
        return base64.urlsafe_b64encode(self._tag(content, person, device) + content).decode()

    def _read(self, text: str | None, person: str, device: int) -> Cursor | None:
        """The cursor, if it is one that we gave this person on this phone in this epoch."""
        if text is None or len(text) > CURSOR_CHARS_MAX:
            return None
        try:
            raw = base64.urlsafe_b64decode(text.encode("ascii"))
            tag, content = raw[:TAG_BYTES], raw[TAG_BYTES:]
            if hmac.compare_digest(tag, self._tag(content, person, device)):
                return msgspec.json.decode(zlib.decompress(content), type=Cursor)
            if hmac.compare_digest(tag, self._tag(content, person, device, PLAIN)):
                return msgspec.json.decode(content, type=Cursor)
        except ValueError:
            pass
        return None


async def _doc(opener: Opener, row: Any) -> bytes:
    body: bytes = row["body"]
    if MARK in body:
        body = await opener.body(row["key"], body)
    return b'{"doc":"%b","seq":%d,"body":%b}' % (row["key"].encode(), row["seq"], body)


async def _patch(opener: Opener, row: Any) -> bytes:
    patch: bytes = row["patch"]
    if MARK in patch:
        patch = await opener.patch(row["doc"], patch)
    rest = patch[1:] if len(patch) == 2 else b"," + patch[1:]
    return b'{"patch":"%b","seq":%d%b' % (row["doc"].encode(), row["seq"], rest)


def _cut(lines: Lines, at: Callable[..., Cursor]) -> tuple[list[Page], list[bytes]]:
    """Full pages of these lines, and the lines left over. `at`: the cursor of a phone that is so far."""
    pages: list[Page] = []
    part: list[bytes] = []
    size = 0
    for line, place in lines:
        part.append(line)
        size += len(line)
        if size >= PAGE_BYTES_MAX and place is not None:
            pages.append(Page(part, at(*place), True))
            part, size = [], 0
    return pages, part


def _cursor(places: dict[str, Any], before: Cursor, verdicts: int, end: int) -> Cursor:
    """`through` moves on only once every shape is complete."""
    numbers = [place for place in places.values() if isinstance(place, int)]
    through = min(numbers, default=end) if len(numbers) == len(places) else before.through
    return Cursor(places, verdicts, through, before.reads)


def _least(places: Iterable[int | tuple[int, str]]) -> int:
    """The furthest behind of these places."""
    return min(place if isinstance(place, int) else place[0] for place in places)


def _turn(shape: str) -> tuple[int, str]:
    """Where a shape stands in a first pull: what holds everywhere (kinds, areas, people, limits) first, then what is the person's own, and
    an area's many documents last, so that names and forms are there when they come."""
    return TURNS.get(shape.partition(":")[0], len(TURNS)), shape


def _gone(key: str, end: int) -> bytes:
    # Above whatever the phone holds of it, also where it was the last to change and a right ended without an op.
    seq = end + 1
    return b'{"gone":%b,"seq":%d}' % (msgspec.json.encode(key), seq)
