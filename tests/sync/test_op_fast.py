"""The short way to read an op gives what the long way gives, or leaves it to that."""

import random
import struct
from typing import Any

from backend.sync import op as ops

PERSON, THING = "0199c82c-c000-7000-8000-000000000001", "thing/0199c82c-c000-7000-8000-000000000002"
HEAD = f'5,229100748800001,1760000000000,"{PERSON}","{THING}"'
BASES = [
    f'["set",{HEAD},{{"f1":"yy","g":[1,2.5,{{"a":null}}],"h":9007199254740991,"i":1e300,"j":true}}]',
    f'["new",{HEAD},1,{{"f1":"y\\u0001\\n","a":{{}}}}]',
    f'["add",{HEAD},"notes","{PERSON}",{{"t":"钢包","b":-0.5}}]',
    f'["act",{HEAD},"begin",{{"t":5}},7]',
]
PIECES = [
    b'"',
    b",",
    b"[",
    b"]",
    b"{",
    b"}",
    b"e",
    b"E9",
    b"0",
    b"9" * 17,
    b"\\ud800",
    b'"f1":1,',
    b"1.0",
    b"-0",
    b"NaN",
    b" ",
    b"null",
    b"\xff",
]
PIECES += [b":", b'"sealed"', b"1e5", b"\\u0041", b"\\", b"-1,"]


def read(data: bytes) -> object:
    try:
        return ops._any(data)
    except ops.Malformed as malformed:
        return malformed.reason


def test_both_ways_agree_on_20000_mutated_ops():
    chance = random.Random(20_261)
    short = 0
    for _ in range(20_000):
        data = bytearray(chance.choice(BASES).encode())
        for _ in range(chance.randrange(3)):
            at = chance.randrange(len(data))
            match chance.randrange(3):
                case 0:
                    del data[at : at + chance.randrange(1, 4)]
                case 1:
                    data[at:at] = chance.choice(PIECES)
                case 2:
                    data[at : at + 1] = chance.choice(PIECES)
        found = ops._plain(bytes(data))
        if found is not None:
            short += 1
            assert repr(read(bytes(data))) == repr(found), bytes(data)
    assert short > 2_000


def test_what_phones_usually_say_goes_the_short_way():
    for base in BASES[1:]:
        assert ops._plain(base.encode()) is not None
    assert ops._plain(BASES[0].encode()) is None  # 1e300 is past what JavaScript counts


def odd(chance: random.Random, depth: int = 0) -> Any:
    match chance.randrange(9 if depth < 4 else 7):
        case 0:
            return chance.choice([None, True, False, 0, -1, 2**53 - 1, -(2**53) + 1])
        case 1:
            return chance.choice([0.0, -0.0, 1.0, 1e15, 9007199254740991.0, 1e-6, 1e-7, 0.0001, 0.00012, 1.5e-5, 5e-324, 123456789.5, 0.1])
        case 2:
            found = struct.unpack("d", chance.randbytes(8))[0]
            return found if abs(found) <= ops.NUMBER_MAX else chance.uniform(-1, 1) * 10.0 ** chance.randrange(-12, 15)
        case 3 | 4:
            return "".join(
                chance.choice(['"', "\\", "/", "\n", "\x01", "\x7f", "é", "钢", "😀", "\u2028", "a"]) for _ in range(chance.randrange(9))
            )
        case 5 | 6:
            return chance.randrange(-(10**9), 10**9)
        case 7:
            return [odd(chance, depth + 1) for _ in range(chance.randrange(5))]
        case _:
            return {f"{chance.choice(['k', 'é', chr(34)])}{i}": odd(chance, depth + 1) for i in range(chance.randrange(5))}


def test_the_size_of_a_value_is_that_of_its_canonical_form():
    chance = random.Random(8_785)
    for _ in range(20_000):
        value = odd(chance)
        size = len(ops.canonical(value))
        # Filled up to the limit, and one byte past it.
        filled = [value, "x" * (ops.VALUE_BYTES_MAX - size - 5)]
        assert len(ops.canonical(filled)) == ops.VALUE_BYTES_MAX
        assert not ops._is_large(filled), value
        assert ops._is_large([value, filled[1] + "x"]), value
