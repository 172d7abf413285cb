"""What the server signs: author tokens, device certificates, receipts. ES256 JWTs (RFC 7515, 7518, 7519) and nothing else.

The header is exactly `{"alg": "ES256", "kid", "typ"}`: a member more (`jku`, `jwk`, `x5u`, `crit` or any other) is refused, the `kid` is
one of ours, and `typ` equals `aud` equals what the caller asked for, so that no token can be used as another. Keys lie in a folder of
their own, readable by the owner only, so that they are backed up apart from the database. A retired key is published and believed until
the last token it signed has ended.
"""

import base64
import binascii
import os
import re
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from joserfc import jwe, jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from backend.auth.p256 import thumbprint

AUTHOR_TOKEN_HOURS = 72
CERTIFICATE_DAYS = 1830
RECEIPT_DAYS = 90
CLOCK_LEEWAY_MS = 300_000
"""How far before its token's `iat` an op may stand: the phone's clock is corrected to the server's only as well as the network lets it."""
VERIFIED_TOKENS_KEPT_MAX = 20_000
TOKEN_CHARS_MAX = 262_144
JOSE_CHARS_MAX = 12_000_000
"""A whole photo out of a phone's outbox file; a kept bundle is far smaller, and push holds it to that."""
LONGEST_LIFE_MS = CERTIFICATE_DAYS * 86_400_000
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What JSON that somebody else wrote may raise: bytes that are no UTF-8 are no DecodeError."""


class _Sealed(jwe.JWERegistry):
    """Bundles and photos are longer than the 64 KB that the library lets through by itself."""

    max_ciphertext_length = JOSE_CHARS_MAX


class _Signed(jws.JWSRegistry):
    """So is the receipt of five hundred refusals with their params."""

    max_payload_length = TOKEN_CHARS_MAX


_SEALED = _Sealed(algorithms=["ECDH-ES", "A256GCM"])
_SIGNED = _Signed(algorithms=["ES256"])


class BadToken(ValueError):
    """The text is not a token of ours, of this type, for this moment. `why` is for logs and tests, never a secret."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Author(msgspec.Struct, frozen=True):
    """Who was signed in on which device, from when to when (Unix ms)."""

    person: str
    device: int
    issued_at: int
    ends_at: int


class Certificate(msgspec.Struct, frozen=True):
    """A device's number, its public key (SPKI, base64) and the numbers it had before, as the server once knew them."""

    device: int
    thumbprint: str
    public_key: str
    predecessors: tuple[int, ...]
    issued_at: int


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    alg: str
    kid: str
    typ: str


class _AuthorClaims(msgspec.Struct, frozen=True):
    aud: str
    sub: str
    dev: int
    iat: int
    exp: int


class _CertificateClaims(msgspec.Struct, frozen=True):
    aud: str
    dev: int
    jkt: str
    spki: str
    predecessors: tuple[int, ...]
    iat: int
    exp: int


class _KeyFile(msgspec.Struct):
    """One private key on disk. `use` is `sig` or `enc`; times are Unix ms."""

    kid: str
    use: str
    made_at: int
    jwk: dict[str, str]
    retired_at: int | None = None


Claims = TypeVar("Claims")


class Keys:
    """The server's keys: opens the folder, makes what is missing, signs and verifies.

    Verification of a text is remembered, so that a token that comes with every bundle costs one dictionary look-up after the first time.
    """

    def __init__(self, folder: Path, now: int) -> None:
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        self._files: dict[str, _KeyFile] = {}
        self._keys: dict[str, ECKey] = {}
        self._verified: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        for path in sorted(folder.glob("*.key.json")):
            self._hold(msgspec.json.decode(path.read_bytes(), type=_KeyFile))
        for use in ("sig", "enc"):
            if not any(f.use == use and f.retired_at is None for f in self._files.values()):
                self._make(use, now)
        self._now = now

    # What is signed.

    def issue_author(self, person: str, device: int, now: int) -> str:
        """An author token: this person is signed in on this device, from now for 72 h. `now` in Unix ms."""
        return self._sign("author", {"sub": person, "dev": device}, now, AUTHOR_TOKEN_HOURS * 3600)

    def issue_certificate(self, device: int, public_key: str, predecessors: Sequence[int], now: int) -> str:
        """A device certificate. It carries the key itself, so that a server restored from before the registration can check signatures."""
        claims = {"dev": device, "jkt": thumbprint(public_key), "spki": public_key, "predecessors": list(predecessors)}
        return self._sign("device", claims, now, CERTIFICATE_DAYS * 86400)

    def issue_receipt(self, claims: dict[str, Any], now: int) -> str:
        """A receipt of a push: `claims` as sync gives them (epoch, device, op ids, verdicts)."""
        return self._sign("receipt", claims, now, RECEIPT_DAYS * 86400)

    def issue(self, typ: str, claims: dict[str, Any], now: int, seconds: int) -> str:
        """Any other statement of the server's (`grant`, `pass`, `list`): `typ` is its `aud` too."""
        return self._sign(typ, claims, now, seconds)

    # What is believed.

    def verify_author(self, text: str, at: int | None = None) -> Author:
        """Whose token this is; with `at` (Unix ms) also that it was good then. Raises BadToken."""
        claims = self._verify(text, "author", _AuthorClaims)
        author = Author(claims.sub, claims.dev, claims.iat * 1000, claims.exp * 1000)
        if at is not None and not author.issued_at - CLOCK_LEEWAY_MS <= at < author.ends_at:
            raise BadToken("not good at that time")
        return author

    def verify_certificate(self, text: str, now: int | None = None) -> Certificate:
        """The device that this certificate names. Raises BadToken, also where the key in it is not that of the thumbprint."""
        claims = self._verify(text, "device", _CertificateClaims)
        if now is not None and now >= claims.exp * 1000:
            raise BadToken("ended")
        try:
            agree = thumbprint(claims.spki) == claims.jkt
        except ValueError:
            agree = False
        if not agree:
            raise BadToken("key and thumbprint differ")
        return Certificate(claims.dev, claims.jkt, claims.spki, claims.predecessors, claims.iat * 1000)

    def verify_receipt(self, text: str, now: int | None = None) -> dict[str, Any]:
        """The claims of a receipt of ours. Raises BadToken."""
        return self.verify("receipt", text, now)

    def verify(self, typ: str, text: str, now: int | None = None) -> dict[str, Any]:
        """The claims of any statement of ours, of exactly this type. Raises BadToken."""
        claims: dict[str, Any] = self._verify(text, typ, dict)
        if now is not None and now >= int(claims.get("exp", 0)) * 1000:
            raise BadToken("ended")
        return claims

    def open_jose(self, text: str) -> bytes:
        """The plaintext of a JWE (compact, ECDH-ES direct, A256GCM) to our `enc` key. Raises BadToken."""
        head = _header_bytes(text, parts=5)
        try:
            header = msgspec.json.decode(head, type=dict)
        except UNREADABLE:
            raise BadToken("header") from None
        if header.get("alg") != "ECDH-ES" or header.get("enc") != "A256GCM" or set(header) - {"alg", "enc", "kid", "epk", "typ", "cty"}:
            raise BadToken("header")
        kid = header.get("kid")
        held = self._files.get(kid) if isinstance(kid, str) else None
        if held is None or held.use != "enc":
            raise BadToken("key")
        try:
            opened = jwe.decrypt_compact(text, self._keys[held.kid], registry=_SEALED).plaintext
        except (JoseError, ValueError, TypeError, KeyError, binascii.Error) as error:
            raise BadToken("cannot be opened") from error
        if opened is None:
            raise BadToken("cannot be opened")
        return opened

    def jwks(self, now: int | None = None) -> dict[str, list[dict[str, str]]]:
        """The public keys, newest first: those in use, and those retired whose last token may still stand."""
        at = self._now if now is None else now
        held = [f for f in self._files.values() if f.retired_at is None or at < f.retired_at + LONGEST_LIFE_MS]
        held.sort(key=lambda f: (f.retired_at is not None, -f.made_at, f.kid))
        algorithm = {"sig": "ES256", "enc": "ECDH-ES"}
        public = ("kty", "crv", "x", "y")
        return {"keys": [{**{m: f.jwk[m] for m in public}, "kid": f.kid, "use": f.use, "alg": algorithm[f.use]} for f in held]}

    def rotate(self, now: int) -> None:
        """Make a new key of each use and retire the old ones, which go on being believed."""
        for held in list(self._files.values()):
            if held.retired_at is None:
                held.retired_at = now
                self._write(held)
        for use in ("sig", "enc"):
            self._make(use, now)

    def _sign(self, typ: str, claims: dict[str, Any], now: int, seconds: int) -> str:
        signing = max((f for f in self._files.values() if f.use == "sig" and f.retired_at is None), key=lambda f: (f.made_at, f.kid))
        payload = msgspec.json.encode({"aud": typ, **claims, "iat": now // 1000, "exp": now // 1000 + seconds})
        header = {"alg": "ES256", "kid": signing.kid, "typ": typ}
        return jws.serialize_compact(header, payload, self._keys[signing.kid], algorithms=["ES256"])

    def _verify(self, text: str, typ: str, claims_type: type[Claims]) -> Claims:
        kept = self._verified.get(text)
        if kept is None:
            kept = self._verify_signature(text)
            self._verified[text] = kept
            if len(self._verified) > VERIFIED_TOKENS_KEPT_MAX:
                self._verified.popitem(last=False)
        signed_typ, payload = kept
        if signed_typ != typ:
            raise BadToken("type")
        try:
            claims = msgspec.json.decode(payload, type=claims_type)
        except UNREADABLE:
            raise BadToken("claims") from None
        audience = claims.get("aud") if isinstance(claims, dict) else getattr(claims, "aud", None)
        if audience != typ:
            raise BadToken("audience")
        return claims

    def _verify_signature(self, text: str) -> tuple[str, bytes]:
        try:
            header = msgspec.json.decode(_header_bytes(text, parts=3), type=_Header)
        except UNREADABLE:
            raise BadToken("header") from None
        held = self._files.get(header.kid)
        if header.alg != "ES256" or held is None or held.use != "sig":
            raise BadToken("key")
        try:
            return header.typ, jws.deserialize_compact(text, self._keys[held.kid], registry=_SIGNED).payload
        except (JoseError, ValueError, TypeError, binascii.Error) as error:
            raise BadToken("signature") from error

    def _make(self, use: str, now: int) -> None:
        made = ECKey.generate_key("P-256", private=True)
        jwk = {name: str(value) for name, value in made.as_dict(private=True).items() if name in ("kty", "crv", "x", "y", "d")}
        held = _KeyFile(kid=f"{use}-{secrets.token_hex(8)}", use=use, made_at=now, jwk=jwk)
        self._write(held)
        self._hold(held)

    def _hold(self, held: _KeyFile) -> None:
        self._files[held.kid] = held
        self._keys[held.kid] = ECKey.import_key(dict(held.jwk))

    def _write(self, held: _KeyFile) -> None:
        write_secret(self.folder / f"{held.kid}.key.json", msgspec.json.encode(held))


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all: a crash leaves the old one."""
    beside = path.with_name(path.name + ".new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.fchmod(handle, 0o600)
        os.write(handle, content)
        os.fsync(handle)
    finally:
        os.close(handle)
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


_BASE64URL = re.compile(r"[A-Za-z0-9_-]+")


def _header_bytes(text: str, parts: int) -> bytes:
    if len(text) > (JOSE_CHARS_MAX if parts == 5 else TOKEN_CHARS_MAX):
        raise BadToken("too long")
    head, *rest = text.split(".")
    if len(rest) != parts - 1 or not _BASE64URL.fullmatch(head):
        raise BadToken("form")
    try:
        return base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))
    except (ValueError, binascii.Error):
        raise BadToken("form") from None
