"""Thousands of twisted requests at a running plant: bundles, pulls, author tokens, certificates, kept bundles and sign-ins. Each is answered by a
yes that the protocol allows or by a clean refusal, and none takes long; afterwards the plant works and its ledger verifies.

`./justw fuzz 100000` asks more of it, for FUZZ_MINUTES at most. A failure names its seed: `FUZZ_SEED=… ./justw fuzz 1` does that one again.
"""

import gzip
import json
import os
import random
import statistics
import time
import zlib
from collections import Counter
from typing import Any

import httpx
import msgspec
import pytest
from joserfc import jwe
from joserfc.jwk import ECKey

from backend.audit.verify import verify
from backend.auth import devices
from backend.auth.tokens import BadToken
from backend.kernel.errors import catalogue
from backend.kernel.ids import uuid7
from backend.sync.op import Act, Add, New, Sealed, Set, encode, encode_bundle, op_id, sealed_hash
from backend.sync.rebuild import differences
from tests.api.conftest import Plant
from tests.api.phone import PASSWORD, Phone
from tests.sync.twist import ODD, b64, forged, twisted, unb64, warped

MUTANTS = int(os.environ.get("FUZZ", "5000"))
MINUTES_MAX = float(os.environ.get("FUZZ_MINUTES", "inf"))
SEED = int(os.environ.get("FUZZ_SEED", "20262"))
ANSWER_MS_MAX = 250
MEASURED_AGAIN = 3
SHOWN_MAX = 20


class Request(msgspec.Struct):
    """What goes out. `never` is the state that no op of it may get; `status` the only one it may be answered with."""

    path: str
    body: bytes
    headers: dict[str, Any]
    never: str = ""
    status: int = 0


class Told(msgspec.Struct, forbid_unknown_fields=True):
    """The one shape of a refusal."""

    code: str
    message: dict[str, str]
    params: dict[str, Any]


class Fuzz:
    """A plant, somebody signed in on it, and a phone whose queue has not begun."""

    def __init__(self, plant: Plant) -> None:
        self.plant = plant
        self.auth = plant.app.state["auth"]
        self.store = plant.app.state["store"]
        self.client = plant.browser()
        self.signed = Phone(self.client)
        self.phone: Phone
        self.cursors: list[str] = []

    async def begin(self) -> None:
        await self.signed.sign_in("inspector")
        await self.read()
        await self.fresh()

    async def read(self) -> None:
        """What the session's person holds, and cursors that fit its phone."""
        answer = await self.signed.post("/api/sync/pull", {"cursor": None})
        lines = [json.loads(line) for line in answer.text.splitlines()]
        self.area = next(line["doc"] for line in lines if line.get("doc", "").startswith("area/")).partition("/")[2]
        self.cursors = [line["cursor"] for line in lines if "cursor" in line]

    async def fresh(self) -> None:
        """Another phone, registered as sign-in does."""
        phone = Phone(self.client)
        phone.person = self.signed.person
        now = self.auth.clock()
        async with self.store.write() as tx:
            phone.number = await devices.register(tx, phone.spki, None, phone.person, now=now)
        phone.signed_in = {
            "certificate": self.auth.keys.issue_certificate(phone.number, phone.spki, [], now),
            "author_token": self.auth.keys.issue_author(phone.person, phone.number, now),
            "receipt": self.auth.keys.issue_receipt({"epoch": self.auth.epoch(), "device": phone.number, "verdicts": []}, now),
        }
        self.phone = phone

    def bundle(self, chance: random.Random, **changes: Any) -> bytes:
        """A good bundle of a few ops of all four kinds, some sealed."""
        phone, now = self.phone, self.auth.clock()
        hazard = f"hazard/{uuid7(now, chance.randbytes(10))}"
        salt = b"0123456789abcdef"
        place, name = '{"lat":31.4,"lon":121.4,"accuracy_m":8,"source":"gps","phone_at":1,"at":1}', json.dumps(phone.person)
        sealed = {sealed_hash(salt, text): ("MDEyMzQ1Njc4OWFiY2RlZg==", text) for text in (place, name)}
        hashes = list(sealed)
        head = [(phone.number, self.auth.hlc(now) + i, now, phone.person, hazard) for i in range(5)]
        ops = [
            New(*head[0], 1, {"area": self.area, "note": "漏油", "grade": "red", "place": {"sealed": hashes[0]}}),
            Set(*head[1], {"note": "又漏油"}),
            Add(*head[2], "comments", uuid7(now, chance.randbytes(10)), {"text": "看到了"}),
            Act(*head[3], "assign", {"assignee": phone.person, "due_at": now}, 0),
            Set(head[4][0], head[4][1], now, Sealed(hashes[1]), hazard, {"title": {"zh": "甲", "en": "a"}}),
        ]
        given = {"certificate": phone.signed_in["certificate"], "authors": {phone.person: [phone.signed_in["author_token"]]}}
        said = [encode(op) for op in ops[: chance.randrange(1, 6)]]
        return encode_bundle(said, device=phone.number, first=1, prev=None, sealed=sealed, **(given | changes))

    def make(self, chance: random.Random) -> Request:
        what = chance.choices(
            [self.bytes, self.json, self.wrapped, self.token, self.certificate, self.kept, self.pull, self.session],
            [25, 25, 8, 12, 12, 6, 9, 3],
        )[0]
        return what(chance)

    def push(self, body: bytes, **more: Any) -> Request:
        return Request("/api/sync/push", body, {"Content-Type": "application/json", "Anlu-Signature": self.phone.sign(body)}, **more)

    def bytes(self, chance: random.Random) -> Request:
        body = self.bundle(chance)
        at = body.index(b'"sealed"') if chance.random() < 0.8 else 0
        return self.push(body[:at] + twisted(body[at:], chance))

    def json(self, chance: random.Random) -> Request:
        said = json.loads(self.bundle(chance))
        if chance.random() < 0.7:
            said["ops"] = warped(said["ops"], chance)
        else:
            said = warped(said, chance)
        return self.push(json.dumps(said, ensure_ascii=chance.random() < 0.5).encode("utf-8", "replace"))

    def wrapped(self, chance: random.Random) -> Request:
        """Signature, encoding and headers."""
        body = self.bundle(chance)
        request = self.push(body)
        match chance.randrange(5):
            case 0:
                wrong = [self.phone.sign(body + b" "), "", "A" * 88, "é", request.headers["Anlu-Signature"][:-4], "AAAA" * 5_000]
                request.headers["Anlu-Signature"] = chance.choice(wrong).encode("latin-1")
                request.status = 401
            case 1:
                request.body = chance.choice([gzip.compress, zlib.compress])(body)[: -chance.randrange(1, 40)]
                request.headers["Content-Encoding"] = chance.choice(["gzip", "deflate", "br", "zstd", "gzip, gzip", "é"]).encode("latin-1")
                request.status = 400
            case 2:
                request.body = gzip.compress(bytes(4_000_000))
                request.headers["Content-Encoding"] = "gzip"
                request.status = 413
            case 3:
                request.body = gzip.compress(twisted(body, chance))
                request.headers["Content-Encoding"] = "gzip"
            case 4:
                request.headers["Content-Type"] = chance.choice(
                    ["application/jose", "application/jose; a=b", "text/plain", "", "é"]
                ).encode("latin-1")
        return request

    def token(self, chance: random.Random) -> Request:
        good = self.phone.signed_in["author_token"]
        bad = forged(good, [self.phone.signed_in["certificate"], self.phone.signed_in["receipt"]], chance)
        never = "" if same(good, bad) else "ok"
        tokens = [bad] * chance.choice([1, 1, 1, 127])
        return self.push(self.bundle(chance, authors={self.phone.person: tokens}), never=never)

    def certificate(self, chance: random.Random) -> Request:
        good = self.phone.signed_in["certificate"]
        bad = forged(good, [self.phone.signed_in["author_token"], self.phone.signed_in["receipt"]], chance)
        return self.push(self.bundle(chance, certificate=bad), status=0 if same(good, bad) else 401)

    def kept(self, chance: random.Random) -> Request:
        body = self.bundle(chance)
        receipt = self.phone.signed_in["receipt"]
        plain = f"{self.phone.sign(body)}\n{receipt}\n".encode() + body
        if chance.random() < 0.5:
            plain = twisted(plain, chance)
        key = next(k for k in self.auth.keys.jwks()["keys"] if k["use"] == "enc")
        header = {"alg": "ECDH-ES", "enc": "A256GCM", "kid": key["kid"]}
        sealed = jwe.encrypt_compact(header, plain, ECKey.import_key(key), algorithms=["ECDH-ES", "A256GCM"])
        if chance.random() < 0.5:
            head, *rest = sealed.split(".")
            if chance.random() < 0.5:
                sealed = ".".join([b64(json.dumps(warped(json.loads(unb64(head)), chance)).encode()), *rest])
            else:
                sealed = twisted(sealed.encode(), chance).decode("latin-1")
        return Request("/api/sync/push", sealed.encode("latin-1", "replace"), {"Content-Type": "application/jose"})

    def pull(self, chance: random.Random) -> Request:
        cursor: Any = chance.choice([None, *self.cursors])
        if cursor and chance.random() < 0.7:
            cursor = twisted(cursor.encode(), chance).decode("utf-8", "replace")
        asked: Any = {"cursor": cursor, "want": [f"area/{self.area}"]}
        if chance.random() < 0.7:
            asked = warped(asked, chance)
        body = json.dumps(asked).encode("utf-8", "replace")
        headers: dict[str, Any] = dict(self.signed.headers)
        if chance.random() < 0.3:
            body = twisted(body, chance)
        if chance.random() < 0.2:
            odd = str(chance.choice(ODD))[:2_000].encode("utf-8", "replace")
            headers[chance.choice(list(headers))] = bytes(byte for byte in odd if byte >= 32)
        return Request("/api/sync/pull", body, headers | {"Content-Type": "application/json"})

    def session(self, chance: random.Random) -> Request:
        """Signing in, and asking for another number, with a phone that proves nothing."""
        nonce = self.auth.nonces.make(self.auth.clock())
        proof = {"number": self.signed.number, "nonce": nonce, "proof": self.signed.sign(b"something else")}
        device = chance.choice([proof, {"label": "x", "public_key": self.phone.spki, "predecessor": proof}])
        if chance.random() < 0.3:
            said: Any = {"username": f"nobody{chance.randrange(10**6)}", "password": PASSWORD, "device": device}
            return Request("/api/auth/sign-in", json.dumps(warped(said, chance)).encode(), {"Content-Type": "application/json"})
        body = json.dumps({"device": warped(device, chance)}).encode()
        return Request("/api/auth/refresh", body, dict(self.signed.headers) | {"Content-Type": "application/json"})

    async def send(self, request: Request) -> tuple[httpx.Response, float]:
        """The answer, and how long the server took: by the wall, or by this process's processor where that was less (others work here too)."""
        began, worked = time.perf_counter(), time.process_time()
        answer = await self.client.post(request.path, content=request.body, headers=request.headers)
        return answer, min(time.perf_counter() - began, time.process_time() - worked) * 1000


def same(good: str, bad: str) -> bool:
    """Whether two spellings are one token: base64url has spare bits at its end."""
    try:
        return [unb64(part) for part in good.split(".")] == [unb64(part) for part in bad.split(".")]
    except ValueError:
        return False


def judge(request: Request, answer: httpx.Response) -> str:
    """What is wrong with an answer, if anything."""
    status = answer.status_code
    if request.status and status != request.status:
        return f"{status} in place of {request.status}: {answer.text[:300]}"
    if status == 200 and request.path == "/api/sync/push":
        verdicts = answer.json()["verdicts"]
        if request.never and any(verdict["state"] == request.never for verdict in verdicts):
            return f"an op became {request.never}"
        wrong = [v for v in verdicts if v["state"] not in ("ok", "refused", "parked") or v.get("code", "op.exists") not in catalogue()]
        unjudged = [v for v in verdicts if v.get("code") == "op.unjudged"]
        return f"verdicts {wrong or unjudged}" if wrong or unjudged else ""
    if status == 200:
        return ""
    if not 400 <= status < 500:
        return f"{status}: {answer.text[:300]}"
    try:
        told = msgspec.json.decode(answer.content, type=Told)
    except msgspec.DecodeError:
        return f"{status} in another shape: {answer.text[:300]}"
    if told.code not in catalogue() or catalogue()[told.code].status != status or set(told.message) != {"zh", "en"}:
        return f"{status} {told.code} is not in the catalogue so"
    return ""


def told(answer: httpx.Response) -> str:
    try:
        return msgspec.json.decode(answer.content, type=Told).code
    except msgspec.DecodeError:
        return str(answer.status_code)


@pytest.mark.timeout(1_200 + MUTANTS // 2)
async def test_twisted_requests_are_refused_cleanly_and_soon_and_the_plant_goes_on(plant: Plant):
    fuzz = Fuzz(plant)
    await fuzz.begin()
    took: list[float] = []
    seen: Counter[str] = Counter()
    again = 0
    found: list[str] = []
    began = time.monotonic()
    for seed in range(SEED, SEED + MUTANTS):
        if time.monotonic() - began > MINUTES_MAX * 60:
            break
        request = fuzz.make(random.Random(seed))
        answer, ms = await fuzz.send(request)
        if wrong := judge(request, answer):
            found.append(f"FUZZ_SEED={seed} {request.path}: {wrong}")
        if ms > ANSWER_MS_MAX:
            again += 1
            ms = min([(await fuzz.send(request))[1] for _ in range(MEASURED_AGAIN)])
            if ms > ANSWER_MS_MAX:
                found.append(f"FUZZ_SEED={seed} {request.path}: {ms:.0f} ms")
        took.append(ms)
        seen["taken" if answer.status_code == 200 else told(answer)] += 1
        if answer.status_code == 200 and request.path == "/api/sync/push":
            await fuzz.fresh()
        elif answer.status_code == 200 and request.path == "/api/auth/refresh":
            fuzz.signed.took(answer.json())  # the session goes on under another number
            await fuzz.read()
        elif seen.total() % 500 == 0:
            await fuzz.fresh()  # a phone may not send more often than that in a minute
    if len(took) >= 100:
        print(f"\n{len(took)} mutants: {dict(seen.most_common())}")
        cut = statistics.quantiles(took, n=1000)
        print(f"ms: p50 {cut[499]:.1f}, p99 {cut[989]:.1f}, p99.9 {cut[998]:.1f}, max {max(took):.1f}; {again} measured again")

    assert not found, "\n".join([f"{len(found)} of {len(took)}", *found[:SHOWN_MAX]])
    body = fuzz.bundle(random.Random(0))
    answer, _ = await fuzz.send(fuzz.push(body))
    assert answer.status_code == 200, answer.text
    assert answer.json()["verdicts"][0]["state"] == "ok"
    assert answer.json()["verdicts"][0]["op"] == op_id(
        bytes(json.dumps(json.loads(body)["ops"][0], ensure_ascii=False, separators=(",", ":")), "utf-8")
    )
    pulled = await fuzz.signed.post("/api/sync/pull", {"cursor": None})
    assert json.loads(pulled.text.splitlines()[-1])["more"] is False
    report = await verify(fuzz.store, fuzz.auth.keys)
    assert report.ok, report.text()
    assert await differences(fuzz.store, plant.app.state["sync"].judge) == []


@pytest.mark.parametrize("body", [b'{"cursor":"\x8d"}', b"[" * 60_000, b'{"want":' + b"[" * 20_000, b"\xff"])
async def test_a_body_that_cannot_be_read_is_malformed_and_no_mistake_of_the_servers(plant: Plant, body: bytes):
    phone = await plant.phone().sign_in("inspector")
    answer = await phone.client.post("/api/sync/pull", content=body, headers=phone.headers | {"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "http.malformed")


@pytest.mark.parametrize("number", [0, -1, 2**48, 2**63, 10**30])
async def test_a_predecessor_with_a_number_that_none_has_is_malformed(plant: Plant, number: int):
    phone = await plant.phone().sign_in("inspector")
    predecessor = {"number": number, "nonce": "x", "proof": "x"}
    answer = await phone.post("/api/auth/refresh", {"device": {"label": "x", "public_key": phone.spki, "predecessor": predecessor}})
    assert (answer.status_code, answer.json()["code"]) == (400, "http.malformed")


async def test_tokens_and_kept_bundles_whose_header_is_no_text_are_refused(plant: Plant):
    keys = plant.app.state["auth"].keys
    odd = b64(b'{"alg":"\x8d"}')
    with pytest.raises(BadToken):
        keys.verify_certificate(f"{odd}.{odd}.{odd}")
    with pytest.raises(BadToken):
        keys.open_jose(f"{odd}....")
