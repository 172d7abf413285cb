"""The vectors that pytest and vitest both run: tests/vectors/{hlc,op,merge}.json, see pwa/tests/sync/vectors.test.ts."""

import base64
import itertools
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backend.sync import hlc, merge, op

VECTORS = Path(__file__).parents[1] / "vectors"
FILES = {name: json.loads((VECTORS / f"{name}.json").read_text("utf-8")) for name in ("hlc", "op", "merge")}


def titled(name: str) -> list[Any]:
    return [pytest.param(v, id=v["title"]) for v in FILES[name]["vectors"]]


@pytest.mark.parametrize("name", FILES)
def test_every_vector_of_the_file_is_run_and_no_two_have_one_title(name: str) -> None:
    vectors = FILES[name]["vectors"]
    assert len(vectors) == FILES[name]["count"] == len({v["title"] for v in vectors})


@pytest.mark.parametrize("name", ["hlc", "merge"])
def test_every_rule_has_a_vector(name: str) -> None:
    assert {v["rule"] for v in FILES[name]["vectors"]} == set(FILES[name]["rules"])


def test_every_reason_for_malformed_has_a_vector() -> None:
    assert FILES["op"]["reasons"] == list(op.REASONS)
    assert {v["reason"] for v in FILES["op"]["vectors"] if "reason" in v} == set(op.REASONS)


@pytest.mark.parametrize("vector", titled("hlc"))
def test_hlc(vector: dict[str, Any]) -> None:
    gives = getattr(hlc, vector["call"])(*vector["args"])
    assert (list(gives) if isinstance(gives, tuple) else gives) == vector["gives"]


def raw(vector: dict[str, Any]) -> bytes:
    if "base64" in vector:
        return base64.b64decode(vector["base64"])
    text = vector["text"]
    return (text.replace("*", vector.get("char", "a") * vector["fill"]) if "fill" in vector else text).encode("utf-8")


@pytest.mark.parametrize("vector", titled("op"))
def test_op(vector: dict[str, Any]) -> None:
    data = raw(vector)
    if "reason" in vector:
        with pytest.raises(op.Malformed) as raised:
            op.decode(data)
        assert raised.value.reason == vector["reason"]
        return
    found = op.decode(data)
    if "size" in vector:
        assert len(data) == vector["size"]
    else:
        assert op.canonical(msgspec.to_builtins(found)) == op.canonical(vector["op"])
        assert op.op_id(data) == vector["id"]
    assert op.decode(op.encode(found)) == found


def take(body: merge.Body, step: list[Any], ids: merge.Ids | None) -> Any:
    match step:
        case ["put_fields" | "put_items" as call, what, e, device, *more]:
            return getattr(merge, call)(body, what, e, device, *more, ids=ids)
        case ["write_fields", fields, e, device]:
            return merge.write_fields(body, fields, e, device)
        case ["put_patch", patch]:
            return merge.put_patch(body, patch)
        case ["stamp", name, item_id, item, author, at, e, device]:
            who = op.Sealed(**author) if isinstance(author, dict) else author
            return merge.put_items(body, {name: {item_id: merge.stamp(item, who, at)}}, e, device)
        case ["on_copy", inner]:
            return take(merge.copy(body), inner, ids)
    raise AssertionError(step)


@pytest.mark.parametrize("vector", titled("merge"))
def test_merge(vector: dict[str, Any]) -> None:
    if "text" in vector:
        assert merge.canonical(json.loads(vector["text"])).decode("utf-8") == vector["gives_text"]
        return
    for steps in itertools.permutations(vector["steps"]) if vector.get("any_order") else [vector["steps"]]:
        body = merge.begin(1, "open")
        ids: merge.Ids | None = {} if vector.get("ids") else None
        answers = [take(body, step, ids) for step in steps]
        assert merge.canonical(body) == merge.canonical(vector["gives"])
        if "changed" in vector:
            assert answers[-1] == vector["changed"]
