"""Ways to twist what a phone sends: bytes, JSON and signed tokens. The same chance gives the same twist."""

import base64
import hashlib
import hmac
import json
import random
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

PIECES = [
    b'"',
    b",",
    b"[",
    b"]",
    b"{",
    b"}",
    b"0",
    b"-1",
    b"1e400",
    b"9" * 400,
    b"\\ud800",
    b"null",
    b"\xff\xfe",
    b":",
    b"true",
    b"[" * 200,
]
PIECES += [b'{"sealed":"' + b"0" * 64 + b'"}', b'{"a":1,"a":2}', b"parked/", b"\x00", b"1.5", b'"\\u0000"', b"kind/", b"2" * 16]


def twisted(data: bytes, chance: random.Random) -> bytes:
    """The same bytes with one to three cuts, pieces or copies of themselves in them."""
    found = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        at = chance.randrange(len(found))
        match chance.randrange(4):
            case 0:
                del found[at : at + chance.randrange(1, 30)]
            case 1:
                found[at:at] = chance.choice(PIECES)
            case 2:
                found[at : at + 1] = chance.choice(PIECES)
            case 3:
                other = chance.randrange(len(found))
                found[at:at] = found[other : other + 40]
        if not found:
            return b"?"
    return bytes(found)


def _nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 1.5, -0.0, 1e308, 2**48, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**400),
    *("", " ", "\x00", "é", "０", "null", "../..", "a" * 100, "a" * 17_000, "9" * 5_000, "%00", "<script>", "\u202e", "😀" * 40),
    *("00000000-0000-0000-0000-000000000000", "parked/" + "0" * 64, "0" * 64, "kind/00000000-0000-0000-0000-000000000000"),
    *([], {}, [[]], [None], {"": {}}, {"sealed": "0" * 64}, {"sealed": 1}, {"sealed": "0" * 64, "b": 1}, {"$": 1, "__proto__": {}}),
    *(_nested(31), _nested(40), _nested(400), list(range(3_000)), {f"f{i}": i for i in range(70)}, ["a" * 90] * 180),
]


def warped(value: Any, chance: random.Random) -> Any:
    """A copy of a JSON value in which one to three nodes are other things, missing, or there twice."""
    found = _copy(value)
    for _ in range(chance.randrange(1, 4)):
        places = list(_places(found))
        if not places:
            return _copy(chance.choice(ODD))
        within, key = chance.choice(places)
        match chance.randrange(6):
            case 0 if isinstance(within, dict):
                del within[key]
            case 1 if isinstance(within, list):
                within.insert(key, _copy(within[chance.randrange(len(within))]))
            case 2 if isinstance(within, dict):
                within[chance.choice(["", "a", "é", "by", "status", "version", "x" * 65, "sealed"])] = _copy(chance.choice(ODD))
            case 3:
                other, name = chance.choice(places)
                if (isinstance(other, dict) and name in other) or (isinstance(other, list) and name < len(other)):
                    within[key] = _copy(other[name])
            case _:
                within[key] = _copy(chance.choice(ODD))
    return found


def _copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _places(value: Any) -> Any:
    inner = list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    for key, part in inner:
        yield value, key
        yield from _places(part)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def forged(token: str, others: list[str], chance: random.Random) -> str:
    """A JWT that nobody should believe: another header, other claims, another's signature, or no token at all."""
    head, body, mark = token.split(".")
    header, claims = json.loads(unb64(head)), json.loads(unb64(body))
    match chance.randrange(10):
        case 0:
            header |= {"alg": chance.choice(["none", "None", "HS256", "ES384", "RS256", "", 1, None])}
            return f"{b64(json.dumps(header).encode())}.{body}.{chance.choice(['', mark])}"
        case 1:
            more = {"jku": "https://x/", "jwk": {"kty": "EC"}, "x5u": "https://x/", "crit": ["exp"], "b64": False, "zip": "DEF"}
            name = chance.choice(list(more))
            return f"{b64(json.dumps(header | {name: more[name]}).encode())}.{body}.{mark}"
        case 2:
            return f"{b64(json.dumps(warped(header, chance)).encode())}.{body}.{mark}"
        case 3:
            return f"{head}.{b64(json.dumps(warped(claims, chance)).encode())}.{mark}"
        case 4:
            other = {"sub": "00000000-0000-0000-0000-000000000000", "exp": claims["exp"] + 10**7, "dev": claims["dev"] + 1, "iat": 0}
            return f"{head}.{b64(json.dumps(claims | other).encode())}.{mark}"
        case 5:
            raw = bytearray(unb64(mark))
            raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
            return f"{head}.{body}.{b64(bytes(raw))}"
        case 6:
            return f"{head}.{body}.{chance.choice(['', 'AA', b64(bytes(64)), mark[:-4], mark + 'AAAA', mark + '.' + mark, others[0].split('.')[-1]])}"
        case 7:
            # Signed well, by nobody: the server's key id over another key, or its public name used as a secret.
            said = f"{head}.{b64(json.dumps(claims | {'exp': claims['exp'] + 1}).encode())}".encode()
            r, s = decode_dss_signature(ec.generate_private_key(ec.SECP256R1()).sign(said, ec.ECDSA(hashes.SHA256())))
            own = r.to_bytes(32, "big") + s.to_bytes(32, "big")
            weak = f"{b64(json.dumps(header | {'alg': 'HS256'}).encode())}.{body}"
            return chance.choice(
                [f"{said.decode()}.{b64(own)}", f"{weak}.{b64(hmac.digest(header['kid'].encode(), weak.encode(), hashlib.sha256))}"]
            )
        case 8:
            return chance.choice([*others, "", ".", "..", "...", "a.b.c", "é.é.é", " " + token, token + "=", "." * 5_000, "A" * 300_000])
        case _:
            return twisted(token.encode(), chance).decode("utf-8", "replace")
