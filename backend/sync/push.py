"""Push: a signed bundle of ops becomes entries of the ledger, and an answer with what became of each.

`open_bundle` needs neither database nor event loop: it runs in a thread while others write. `take_bundle` runs inside the writer, in the
bundle's savepoint.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from backend.auth import devices
from backend.auth.p256 import signed
from backend.auth.revocations import Revocations
from backend.auth.tokens import CLOCK_LEEWAY_MS, BadToken, Certificate, Keys
from backend.kernel.errors import Refusal
from backend.sync import ledger
from backend.sync.judge import Lost
from backend.sync.op import (
    BUNDLE_BYTES_MAX,
    OPS_IN_BUNDLE_MAX,
    VALUE_BYTES_MAX,
    Bundle,
    Malformed,
    Op,
    Sealed,
    decode_bundle,
    sealed_hash,
)
from backend.sync.taking import Said, Taking, Verdict, read_op

TOKENS_IN_BUNDLE_MAX = 128
SALT_BYTES = 16
JOSE_BYTES_MAX = BUNDLE_BYTES_MAX * 3 // 2 + 200_000
"""A kept bundle with its signature and receipt, encrypted, in base64."""
PREV_UNKNOWN = "0" * 64
"""What a phone says as `prev` of a bundle after numbers it lost."""


class Opened(msgspec.Struct):
    """A bundle whose signature and certificate are good, with its ops read as far as they can be."""

    bundle: Bundle
    certificate: Certificate
    said: list[Said]
    proofs: dict[tuple[str, int], list[tuple[int, int]]]
    """When (Unix ms, from and before) a person is proven to have been signed in on a device."""
    sealed: dict[str, tuple[bytes, str]]
    receipts: dict[str, tuple[str, str, dict[str, Any]]]


class Taken(msgspec.Struct):
    """What the writer did: the end of the queue now, and the verdicts in the bundle's order."""

    have: int
    verdicts: list[Verdict]


def open_bundle(body: bytes, signature: str, keys: Keys, now: int, *, jose: bool = False) -> Opened:
    """Check a bundle's envelope and read its ops. `now` in Unix ms. Raises Refusal: nothing of it is taken then."""
    receipt: dict[str, Any] = {}
    if jose:
        body, signature, receipt = _open_kept(body, keys)
    try:
        bundle = decode_bundle(body)
    except Malformed as malformed:
        if malformed.reason in ("bytes", "fields"):
            raise Refusal("sync.too_large", ops=OPS_IN_BUNDLE_MAX, bytes=BUNDLE_BYTES_MAX) from None
        raise Refusal("sync.malformed", reason=malformed.reason) from None
    try:
        certificate = keys.verify_certificate(bundle.certificate, now)
    except BadToken:
        raise Refusal("sync.certificate") from None
    if certificate.device != bundle.device:
        raise Refusal("sync.certificate")
    if not signed(certificate.public_key, body, signature):
        raise Refusal("sync.signature")
    if sum(map(len, bundle.authors.values())) > TOKENS_IN_BUNDLE_MAX:
        raise Refusal("sync.malformed", reason="tokens")
    own = {bundle.device, *certificate.predecessors}
    said = []
    named: set[str] = set()
    for n, raw in enumerate(bundle.ops, bundle.first):
        data = bytes(raw)
        one = read_op(data, bundle.device, n, now)
        one.foreign = one.op is not None and one.op.device not in own
        if b'"sealed"' in data:
            named.update(found.decode() for found in _SEALED.findall(data))
        said.append(one)
    return Opened(bundle, certificate, said, _proofs(bundle, keys), _sealed(bundle, named), _receipts(receipt, bundle.device))


async def take_bundle(opened: Opened, taking: Taking, revocations: Revocations, now: int) -> Taken:
    """Give every op of the bundle its verdict. Raises Refusal `sync.gap` or `device.forked`: nothing of it is taken then."""
    bundle, tx = opened.bundle, taking.tx
    queue = bundle.device
    ops = [one.op for one in opened.said if one.op is not None and not one.foreign]
    asked = ((devices.FIND, queue), ledger.verdicts(tx, [one.id for one in opened.said]))
    registered, verdicts = await taking.read_ahead({queue, *(op.device for op in ops)}, ops, *asked)
    known_device = devices.device(registered[0]) if registered else None
    known = {row["op"]: row for row in verdicts}
    if known_device is None:
        await devices.remember(tx, queue, opened.certificate.public_key, opened.certificate.predecessors, now=now)
    else:
        taking.hear(queue, now)
    place = taking.place(queue)
    have = place.have
    if opened.said and bundle.first > have + 1 and not bundle.lost:
        raise Refusal("sync.gap", have=have)
    await _check_fork(opened, taking, have, known)
    if bundle.lost and bundle.first - 1 > have:
        person, phone = (known_device.person, known_device.label) if known_device is not None else (None, "")
        await taking.lose(Lost(queue, have + 1, bundle.first - 1, now, person, phone))
    taking.keep_sealed(opened.sealed)
    fresh = [one for one in opened.said if one.n > have and one.id not in known]
    retired = known_device is not None and known_device.retired_at is not None
    prover = _Prover(opened, revocations, retired or revocations.device(queue))
    for one in fresh:
        if one.op is not None:
            one.person = one.op.author if isinstance(one.op.author, str) else await _anonymous(one.op.author, taking)
            one.unproven, one.why_unproven = prover.doubt(one.person, one.op)
            one.receipt = opened.receipts.get(one.id)
    for one in opened.said:
        stands = known.get(one.id)
        if stands is not None and one.id not in taking.latest:
            taking.latest[one.id] = verdict_of(stands, one.n)
        if one.n <= have:
            continue
        if one.id in taking.latest:
            await taking.again(queue, one.n, one.id, now)
        else:
            # None of an earlier try of the same transaction.
            one.arrived, one.marks = now, []
            await taking.take(one)
    return Taken(taking.place(queue).have, [_numbered(taking.latest[one.id], one.n) for one in opened.said])


def _numbered(verdict: Verdict, n: int) -> Verdict:
    return verdict if verdict.n == n else msgspec.structs.replace(verdict, n=n)


def verdict_of(row: Any, n: int) -> Verdict:
    """The verdict in a row of the ledger."""
    params = None if row["params"] is None else msgspec.json.decode(row["params"])
    return Verdict(row["op"], n, row["seq"], row["state"], row["code"], params)


async def _check_fork(opened: Opened, taking: Taking, have: int, known: dict[str, Any]) -> None:
    """Whether the phone's queue is the one the server knows: a cloned or rolled-back phone says something else under the same number."""
    bundle = opened.bundle
    place = taking.place(bundle.device)
    if bundle.first == have + 1:
        unknown = place.last is None or (bundle.lost and bundle.prev == PREV_UNKNOWN)
        if have and not unknown and bundle.prev != place.last:
            raise Refusal("device.forked", have=have)
        return
    if bundle.first > have + 1:
        return
    rows = await taking.tx.all(
        "SELECT n, op FROM ledger WHERE queue = $1 AND n BETWEEN $2 AND $3 AND what <> 'verdict'",
        bundle.device,
        bundle.first - 1,
        bundle.first - 1 + len(opened.said),
    )
    held = {row["n"]: row["op"] for row in rows}
    before = held.get(bundle.first - 1)
    if before is not None and bundle.prev != before and not (bundle.lost and bundle.prev == PREV_UNKNOWN):
        raise Refusal("device.forked", have=have)
    for one in opened.said:
        if one.n <= have and held.get(one.n) != one.id and not (held.get(one.n) is None and one.id in known):
            raise Refusal("device.forked", have=have)


async def _anonymous(author: Sealed, taking: Taking) -> str:
    """The person whose name was sealed; empty where it did not come, was erased, or is no name."""
    text = await taking.opened(author.sealed)
    try:
        return "" if text is None else msgspec.json.decode(text, type=str)
    except msgspec.DecodeError:
        return ""


class _Prover:
    """Knows of a bundle's ops whether it is proven who speaks. Revocations are looked up once for each speaker of the bundle."""

    def __init__(self, opened: Opened, revocations: Revocations, queue_revoked: bool) -> None:
        self._proofs = opened.proofs
        self._revocations = revocations
        self._queue_revoked = queue_revoked
        self._revoked: dict[tuple[str, int], str] = {}

    def doubt(self, person: str, op: Op) -> tuple[str, str]:
        """The code under which the op waits, and why; both empty where it is proven."""
        who = (person, op.device)
        revoked = self._revoked.get(who)
        if revoked is None:
            revoked = self._revoked[who] = self._look_up(*who)
        if revoked:
            return revoked, "revoked"
        for since, until in self._proofs.get(who, ()):
            if since <= op.at < until:
                return "", ""
        return "author.unproven", "token"

    def _look_up(self, person: str, device: int) -> str:
        if self._queue_revoked or self._revocations.device(device):
            return "device.revoked"
        return "author.unproven" if self._revocations.person(person) else ""


def _proofs(bundle: Bundle, keys: Keys) -> dict[tuple[str, int], list[tuple[int, int]]]:
    proofs: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for person, tokens in bundle.authors.items():
        for token in tokens:
            try:
                author = keys.verify_author(token)
            except BadToken:
                continue  # its ops park: one bad token must not hold up what others said
            if author.person == person:
                proofs.setdefault((person, author.device), []).append((author.issued_at - CLOCK_LEEWAY_MS, author.ends_at))
    return proofs


def _sealed(bundle: Bundle, named: set[str]) -> dict[str, tuple[bytes, str]]:
    """The personal values that an op of the bundle names and whose hash is right; anything else is not kept."""
    kept = {}
    for digest, (salt_text, text) in bundle.sealed.items():
        if digest not in named or len(text.encode()) > VALUE_BYTES_MAX:
            continue
        try:
            salt = base64.b64decode(salt_text, validate=True)
            msgspec.json.decode(text)
        except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError):
            continue
        if len(salt) == SALT_BYTES and sealed_hash(salt, text) == digest:
            kept[digest] = (salt, text)
    return kept


def _open_kept(body: bytes, keys: Keys) -> tuple[bytes, str, dict[str, Any]]:
    """A bundle that was acknowledged before, kept encrypted on the phone: signature, receipt and the bundle, a line each."""
    if len(body) > JOSE_BYTES_MAX:
        raise Refusal("sync.too_large", ops=OPS_IN_BUNDLE_MAX, bytes=BUNDLE_BYTES_MAX)
    try:
        signature, receipt, bundle = keys.open_jose(body.decode("ascii")).split(b"\n", 2)
        claims = keys.verify_receipt(receipt.decode("ascii")) if receipt else {}
        return bundle, signature.decode("ascii"), claims
    except (BadToken, ValueError):
        raise Refusal("sync.sealed_bundle") from None


def _receipts(claims: dict[str, Any], device: int) -> dict[str, tuple[str, str, dict[str, Any]]]:
    if claims.get("device") != device:
        return {}
    found = {}
    for op, _, state, *rest in claims.get("verdicts", []):
        found[op] = (state, rest[0] if rest else "", rest[1] if len(rest) > 1 else {})
    return found


def receipt_verdicts(verdicts: Sequence[Verdict]) -> list[list[Any]]:
    """Verdicts as a receipt holds them: op, seq, state, and code and params where there are."""
    return [[v.op, v.seq, v.state] + ([v.code, v.params or {}] if v.code else []) for v in verdicts]


_SEALED = re.compile(rb'"sealed"\s*:\s*"([0-9a-f]{64})"')
