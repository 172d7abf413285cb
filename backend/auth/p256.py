"""P-256 public keys as devices send them: DER SubjectPublicKeyInfo in padded base64; signatures raw r||s, as WebCrypto makes them."""

import base64
import binascii
import hashlib
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

SPKI_BYTES_MAX = 200
SIGNATURE_BYTES = 64
KEYS_KEPT_MAX = 10_000


def unbase64(text: str) -> bytes:
    """Bytes of padded RFC 4648 §4 base64. Raises ValueError on anything else, also on a second spelling of the same bytes."""
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError("not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise ValueError("not base64 as RFC 4648 §4 writes it")
    return raw


@lru_cache(KEYS_KEPT_MAX)
def load(public_key: str) -> ec.EllipticCurvePublicKey:
    """The key of a base64 SPKI. Raises ValueError where it is not a P-256 key, or written in a second way."""
    raw = unbase64(public_key)
    if len(raw) > SPKI_BYTES_MAX:
        raise ValueError("too long")
    key = load_der_public_key(raw)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not P-256")
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != raw:
        raise ValueError("not the usual form")
    return key


def thumbprint(public_key: str) -> str:
    """RFC 7638 thumbprint (SHA-256, base64url unpadded) of a base64 SPKI. Raises ValueError where it is no P-256 key."""
    numbers = load(public_key).public_numbers()
    x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).decode().rstrip("=") for n in (numbers.x, numbers.y))
    text = f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def signed(public_key: str, message: bytes, signature: str) -> bool:
    """Whether this device key signed exactly these bytes (ECDSA, SHA-256; base64 of r||s)."""
    try:
        raw = unbase64(signature)
        if len(raw) != SIGNATURE_BYTES:
            return False
        der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        load(public_key).verify(der, message, ec.ECDSA(hashes.SHA256()))
    except (ValueError, InvalidSignature):
        return False
    return True
