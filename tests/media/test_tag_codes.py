"""Tag codes: both languages read the same code from what a camera or a hand gives."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.domains.equipment import codes

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "tag_code.json").read_text("utf-8"))


@pytest.mark.parametrize("vector", VECTORS["parse"], ids=lambda v: v["why"])
def test_a_scanned_or_typed_code_is_read_as_the_phone_reads_it(vector: dict[str, str]) -> None:
    assert codes.parse(vector["text"]) == vector["code"]


def test_codes_are_made_and_shown_as_the_vectors_say() -> None:
    assert [codes.make(bytes.fromhex(v["random"])) for v in VECTORS["make"]] == [v["code"] for v in VECTORS["make"]]
    assert [codes.typed(v["code"]) for v in VECTORS["typed"]] == [v["typed"] for v in VECTORS["typed"]]


@given(st.binary(min_size=5, max_size=5))
def test_every_code_is_read_back_from_its_print_and_its_address(random: bytes) -> None:
    code = codes.make(random)
    assert len(code) == 8
    assert not set(code) & set("ILOU")
    assert codes.parse(codes.typed(code).lower()) == codes.parse(codes.url("https://anlu.example/", code)) == code


@given(st.text(max_size=64))
def test_no_text_breaks_the_reading(text: str) -> None:
    code = codes.parse(text)
    assert code is None or (len(code) == 8 and set(code) <= set(codes.ALPHABET))
