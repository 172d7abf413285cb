"""Ops: what a phone may say, and the bytes it says it in. Twin of pwa/src/sync/op.ts. Pure.

    ["new", device, hlc, at, author, doc, version, {field: value, …}]       begins a document under a version of its kind
    ["set", device, hlc, at, author, doc, {field: value, …}]                last writer wins, field by field
    ["add", device, hlc, at, author, doc, set_name, item_id, item]          grow-only set
    ["act", device, hlc, at, author, doc, transition, input, base]          a step of the kind's flow; base: the seq the phone held

An op is its bytes: `op_id` is their SHA-256, so whoever passes an op on passes the very bytes (hence `msgspec.Raw` in a bundle).
Both twins give the same verdict on every byte string: first the text, then the parts from left to right, then the named values, and the
first check that fails names the reason.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable
from itertools import accumulate
from typing import Any, ClassVar, Never

import msgspec
import rfc8785

from backend.sync.hlc import AT_MAX, HLC_MAX

OPS_IN_BUNDLE_MAX = 500
BUNDLE_BYTES_MAX = 1_000_000
OP_BYTES_MAX = 65_536
FIELDS_IN_SET_MAX = 64
"""Names in one op: fields of a new or set, entries of an item, inputs of an act."""
VALUE_BYTES_MAX = 16_384
"""Bytes of one value, or of a whole item, in RFC 8785 form."""
ITEMS_IN_SET_MAX = 2_000
"""Items of one set of a document: held where an op comes in, never in merge."""
NAME_CHARS_MAX = 64
DEPTH_MAX = 32
"""Arrays and objects inside one another, the op itself counted."""
NUMBER_MAX = 2**53 - 1
"""Past it JavaScript rounds (RFC 7493, 2.2)."""
DEVICE_MAX = 2**48 - 1
VERSION_MAX = 2**31 - 1

REASONS: dict[str, str] = {
    "bytes": "more than 64 KB",
    "utf8": "not UTF-8",
    "depth": "nested too deeply",
    "json": "not a JSON array from its first byte to its last",
    "duplicate_name": "a name twice in one object",
    "number": "a number past 2^53 - 1",
    "surrogate": "half a character",
    "verb": "neither new, set, add nor act",
    "shape": "other parts than the verb has",
    "device": "not a 48-bit number",
    "hlc": "outside the clock's range",
    "at": "outside the clock's range",
    "author": "neither a person's id nor sealed",
    "doc": "not kind/id",
    "version": "not a kind's version",
    "name": "not a name",
    "item": "not an item's id",
    "base": "not a seq",
    "fields": "too many names",
    "value_bytes": "a value over 16 KB",
    "sealed": "not a sealed value",
}
"""Why bytes are no op."""


class Malformed(ValueError):
    """These bytes are no op, or no bundle. `code` is the catalogue's, `reason` a key of `REASONS`."""

    code = "op.malformed"

    def __init__(self, reason: str) -> None:
        super().__init__(f"{self.code}: {reason}")
        self.reason = reason


class Sealed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Stands where a personal value was: `sealed_hash` of its salt and text."""

    sealed: str


Author = str | Sealed


class New(msgspec.Struct, array_like=True, tag="new", frozen=True, forbid_unknown_fields=True):
    """Begins a document under a version of its kind."""

    device: int
    hlc: int
    at: int
    author: Author
    doc: str
    version: int
    fields: dict[str, Any]

    verb: ClassVar[str] = "new"


class Set(msgspec.Struct, array_like=True, tag="set", frozen=True, forbid_unknown_fields=True):
    """Writes fields; the last writer wins, field by field."""

    device: int
    hlc: int
    at: int
    author: Author
    doc: str
    fields: dict[str, Any]

    verb: ClassVar[str] = "set"


class Add(msgspec.Struct, array_like=True, tag="add", frozen=True, forbid_unknown_fields=True):
    """Puts an item into a grow-only set."""

    device: int
    hlc: int
    at: int
    author: Author
    doc: str
    set: str
    item_id: str
    item: dict[str, Any]

    verb: ClassVar[str] = "add"


class Act(msgspec.Struct, array_like=True, tag="act", frozen=True, forbid_unknown_fields=True):
    """Takes a transition. `base` is the seq of the document that the phone held, 0 if it held none."""

    device: int
    hlc: int
    at: int
    author: Author
    doc: str
    transition: str
    input: dict[str, Any]
    base: int

    verb: ClassVar[str] = "act"


Op = New | Set | Add | Act


class Bundle(msgspec.Struct, forbid_unknown_fields=False):
    """Consecutive ops of one device's queue. `ops` are slices of the received bytes, unread.

    `prev` is the id of the op before `first`; `sealed` {hex: (salt base64, value's JSON text)}; `authors` {person: author tokens};
    `lost` says that the phone no longer holds what the server asked for.
    """

    v: int
    device: int
    certificate: str
    first: int
    prev: str | None
    ops: list[msgspec.Raw]
    sealed: dict[str, tuple[str, str]] = {}
    authors: dict[str, list[str]] = {}
    lost: bool = False


def decode(data: bytes) -> Op:
    """Read an op. Raises Malformed with the first reason that applies."""
    return _plain(data) or _any(data)


def _plain(data: bytes) -> Op | None:
    """The op, where it is short and written as every encoder writes it; None where it must be looked at more closely.

    Bytes that come out again when what was read is encoded have no name twice, no half character, and no second spelling of a number.
    """
    if len(data) * 4 > VALUE_BYTES_MAX or data.count(b"[") + data.count(b"{") > DEPTH_MAX or b'"sealed"' in data:
        return None
    try:
        op: Op = _OP.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if _encoder.encode(op) != data or not isinstance(op.author, str) or not _UUID.fullmatch(op.author) or not _DOC.fullmatch(op.doc):
        return None
    if not (0 <= op.device <= DEVICE_MAX and 0 <= op.hlc <= HLC_MAX and 0 <= op.at <= AT_MAX):
        return None
    match op:
        case Set():
            named = op.fields
        case New():
            named = op.fields
            if not 1 <= op.version <= VERSION_MAX:
                return None
        case Add():
            named = op.item
            if not _NAME.fullmatch(op.set) or not _UUID.fullmatch(op.item_id):
                return None
        case Act():
            named = op.input
            if not _NAME.fullmatch(op.transition) or not 0 <= op.base <= NUMBER_MAX:
                return None
    if len(named) > FIELDS_IN_SET_MAX or not all(map(_NAME.fullmatch, named)):
        return None
    return None if any(type(v) is not str and _has_big(v) for v in named.values()) else op


def _any(data: bytes) -> Op:
    value = _read_i_json(data)
    verb = value[0] if value else None
    if not isinstance(verb, str) or verb not in _PARTS:
        _fail("verb")
    if len(value) != _PARTS[verb]:
        _fail("shape")
    small = len(data) * 4 <= VALUE_BYTES_MAX  # RFC 8785 writes no JSON longer than four times (9e15)

    # The kinds of the parts come first, so that each check below may trust them.
    named = value[7] if verb in ("new", "act") else value[6] if verb == "set" else value[8]
    if not isinstance(named, dict):
        _fail("shape")
    device = _whole(value[1], 0, DEVICE_MAX, "device")
    hlc = _whole(value[2], 0, HLC_MAX, "hlc")
    at = _whole(value[3], 0, AT_MAX, "at")
    author = _author(value[4])
    doc = value[5]
    if not isinstance(doc, str) or not _DOC.fullmatch(doc):
        _fail("doc")
    op: Op
    match verb:
        case "new":
            op = New(device, hlc, at, author, doc, _whole(value[6], 1, VERSION_MAX, "version"), named)
        case "set":
            op = Set(device, hlc, at, author, doc, named)
        case "add":
            name = _name(value[6])
            item_id = value[7]
            if not isinstance(item_id, str) or not _UUID.fullmatch(item_id):
                _fail("item")
            op = Add(device, hlc, at, author, doc, name, item_id, named)
        case _:
            name = _name(value[6])
            op = Act(device, hlc, at, author, doc, name, named, _whole(value[8], 0, NUMBER_MAX, "base"))
    if len(named) > FIELDS_IN_SET_MAX:
        _fail("fields")
    for name in named:
        _name(name)
    if not small and any(map(_is_large, [named] if verb == "add" else named.values())):
        _fail("value_bytes")
    for v in named.values():
        if isinstance(v, dict) and "sealed" in v:
            sealed_of(v)
    return op


def encode(op: Op) -> bytes:
    """The bytes of an op that is made here. Never encode what was received: its bytes are the op."""
    return msgspec.json.encode(op)


def op_id(data: bytes) -> str:
    """SHA-256 of an op's bytes, hex."""
    return hashlib.sha256(data).hexdigest()


def sealed_of(value: dict[str, Any]) -> str:
    """The hash in `{"sealed": hex}`. Raises Malformed if it is anything else."""
    found = value.get("sealed")
    if len(value) != 1 or not isinstance(found, str) or not _HASH.fullmatch(found):
        _fail("sealed")
    return found


def sealed_hash(salt: bytes, text: str) -> str:
    """What stands in an op for a personal value: SHA-256 of the raw 16-byte salt, then of the value's JSON text, hex."""
    return hashlib.sha256(salt + text.encode("utf-8")).hexdigest()


def decode_bundle(data: bytes) -> Bundle:
    """Read a bundle's envelope; its ops stay bytes. Raises Malformed: the whole bundle is refused, nothing of it is taken."""
    if len(data) > BUNDLE_BYTES_MAX:
        raise Malformed("bytes")
    try:
        data.decode("utf-8")
        bundle = _BUNDLE.decode(data)
    except UnicodeDecodeError:
        raise Malformed("utf8") from None
    except msgspec.DecodeError:
        raise Malformed("json") from None
    except RecursionError:
        raise Malformed("depth") from None
    if bundle.v != 1 or not 0 <= bundle.device <= DEVICE_MAX or not 1 <= bundle.first <= NUMBER_MAX:
        raise Malformed("shape")
    if (bundle.prev is None) != (bundle.first == 1) or (bundle.prev is not None and not _HASH.fullmatch(bundle.prev)):
        raise Malformed("shape")
    if len(bundle.ops) > OPS_IN_BUNDLE_MAX:
        raise Malformed("fields")
    return bundle


def encode_bundle(
    ops: Iterable[bytes],
    *,
    device: int,
    certificate: str,
    first: int,
    prev: str | None,
    sealed: dict[str, tuple[str, str]] | None = None,
    authors: dict[str, list[str]] | None = None,
    lost: bool = False,
) -> bytes:
    """Join ops into a bundle without touching their bytes."""
    head = {"v": 1, "device": device, "certificate": certificate, "first": first, "prev": prev}
    head |= {"sealed": sealed or {}, "authors": authors or {}} | ({"lost": True} if lost else {})
    return msgspec.json.encode(head)[:-1] + b',"ops":[' + b",".join(ops) + b"]}"


def canonical(value: Any) -> bytes:
    """RFC 8785 form of a JSON value. About 25 times slower than an ordinary encoder: for comparing and hashing, not for serving."""
    return rfc8785.dumps(value)


_BUNDLE = msgspec.json.Decoder(Bundle)
_OP = msgspec.json.Decoder(Op)
_encoder = msgspec.json.Encoder()
_PARTS = {"new": 8, "set": 7, "add": 9, "act": 9}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HASH = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_DOC = re.compile(rf"(?:[a-z][a-z0-9_.]{{0,63}}/{_UUID.pattern}|parked/{_HASH.pattern})")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_BIG = re.compile(rb"[0-9]{16}|[eE]")


class _Duplicate(Exception):
    pass


def _fail(reason: str) -> Never:
    raise Malformed(reason)


def _read_i_json(data: bytes) -> list[Any]:
    """The array in `data`, if it is I-JSON (RFC 7493): no name twice, no number past 2^53 - 1, no half character."""
    if len(data) > OP_BYTES_MAX:
        _fail("bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        _fail("utf8")
    if data.count(b"[") + data.count(b"{") > DEPTH_MAX and _depth(data) > DEPTH_MAX:
        _fail("depth")
    if not (text.startswith("[") and text.endswith("]")):
        _fail("json")
    try:
        value = _load(text, _unique)
    except _Duplicate:
        try:
            _load(text, dict)
        except ValueError:
            _fail("json")
        _fail("duplicate_name")
    except ValueError:
        _fail("json")
    if _BIG.search(data) and _has_big(value):
        _fail("number")
    if "\\u" in text and not _is_whole_text(value):
        _fail("surrogate")
    assert isinstance(value, list)
    return value


def _load(text: str, pairs: Any) -> Any:
    return json.loads(text, object_pairs_hook=pairs, parse_int=_integer, parse_constant=_no_constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Duplicate
    return found


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 400 else math.inf


def _no_constant(_: str) -> Never:
    raise ValueError  # NaN and Infinity are Python's, not JSON's


def _depth(data: bytes) -> int:
    brackets = _STRING.sub(b"", data).translate(None, _NO_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0)


def _is_large(value: Any) -> bool:
    """Whether the RFC 8785 form takes more than VALUE_BYTES_MAX; stops counting there, since somebody may send nothing but such values."""
    size = 0
    left = [value]
    while left and size <= VALUE_BYTES_MAX:
        part = left.pop()
        match part:
            case dict():
                # As long as the list of its names, and a colon for each.
                size += len(part) + len(_encoder.encode(list(part)))
                left += part.values()
            case list():
                size += 1 + (len(part) or 1)
                left += part
            case float():
                # Both write the same shortest digits, but JavaScript whole numbers bare, and none with an exponent from 1e-6 on.
                size += len(str(int(part)) if part.is_integer() else repr(part) if abs(part) >= 1e-4 else canonical(part))
            case _:
                size += len(_encoder.encode(part))
    return size > VALUE_BYTES_MAX


def _has_big(value: Any) -> bool:
    match value:
        case int() | float():
            return abs(value) > NUMBER_MAX
        case list():
            return any(map(_has_big, value))
        case dict():
            return any(map(_has_big, value.values()))
    return False


def _is_whole_text(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _whole(value: Any, least: int, most: int, reason: str) -> int:
    # 5.0 and 5 are one number in JSON, and JavaScript cannot tell them apart.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if type(value) is not int or not least <= value <= most:
        _fail(reason)
    return value


def _author(value: Any) -> Author:
    if isinstance(value, str) and _UUID.fullmatch(value):
        return value
    if isinstance(value, dict):
        try:
            return Sealed(sealed_of(value))
        except Malformed:
            pass
    _fail("author")


def _name(value: Any) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        _fail("name")
    return value
