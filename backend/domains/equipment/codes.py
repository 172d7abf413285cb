"""Tag codes: what a QR tag says and what a worker types when the tag is too dirty to scan. Twin of pwa/src/scan/code.ts.

A code is 8 characters of Crockford's base32 (digits and capitals without I L O U): 40 random bits, so that nobody guesses the next one.
It is shown and printed as `XXXX-XXXX`, and a tag's QR says `<origin>/t/<code>`. `tests/vectors/tag_code.json` holds both languages to the
same reading.
"""

import re
import unicodedata

from backend.kernel.ids import derived

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_CHARS = 8
CODE_RANDOM_BYTES = 5
TYPED_CHARS_MAX = 2048
"""Longer input is no code and is not looked at."""

_IN_A_URL = re.compile(r"/t/([^/?#]*)", re.IGNORECASE)
_BETWEEN = re.compile(r"[\s\-_.·\u00ad\u2010-\u2015\u2212\u30fc]")
"""What people and keyboards put between the halves: spaces, dashes of every length, dots."""


def make(random: bytes) -> str:
    """The code of 5 random bytes."""
    if len(random) != CODE_RANDOM_BYTES:
        raise ValueError(f"a code is made of {CODE_RANDOM_BYTES} random bytes")
    number = int.from_bytes(random, "big")
    return "".join(ALPHABET[(number >> shift) & 31] for shift in range(35, -1, -5))


def document_id(code: str) -> str:
    """The id of the tag's document: it follows from the code, so that no code is given out twice."""
    return derived(f"tag:{code}")


def typed(code: str) -> str:
    """`XXXX-XXXX`, as it is printed and read out."""
    return f"{code[:4]}-{code[4:]}"


def url(origin: str, code: str) -> str:
    """What the QR says."""
    return f"{origin.rstrip('/')}/t/{code}"


def parse(text: str) -> str | None:
    """The code that was scanned or typed, or None.

    Takes a whole URL, lower case, full-width letters of a Chinese keyboard, any dashes and spaces, and the letters people mistake for
    digits: O for 0, I and L for 1. U is in no code: it is refused, not guessed.
    """
    if len(text) > TYPED_CHARS_MAX:
        return None
    plain = unicodedata.normalize("NFKC", text)
    found = _IN_A_URL.search(plain)
    bare = _BETWEEN.sub("", found[1] if found else plain).upper().replace("O", "0").replace("I", "1").replace("L", "1")
    return bare if len(bare) == CODE_CHARS and all(c in ALPHABET for c in bare) else None
