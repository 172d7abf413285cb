"""A phone that has not been updated for a version goes on working: it says what it always said, and finds what it always read.

`tests/vectors/protocol_0_1.json` holds, literally, the fields that version 0.1 of the app sends and reads. It is never edited; a later
version adds a file of its own.
"""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from backend.demo import area_id

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/protocol_0_1.json").read_text("utf-8"))
TYPES = {"text": str, "number": int, "yes_no": bool, "object": dict, "list": list}


def reads(what: str, given: dict[str, Any]) -> None:
    """Every field that the old app reads is there, of the type it takes."""
    for name, kind in VECTORS["reads"][what].items():
        assert name in given, (what, name)
        assert isinstance(given[name], TYPES[kind]), (what, name, given[name])


def filled(what: str, **values: Any) -> Any:
    """What the old app sends, its places filled in."""

    def fill(part: Any) -> Any:
        if isinstance(part, str) and part.startswith("$"):
            return values[part[1:]]
        if isinstance(part, dict):
            return {name: fill(inner) for name, inner in part.items()}
        return [fill(inner) for inner in part] if isinstance(part, list) else part

    return fill(VECTORS["sends"][what])


def compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


async def test_a_phone_of_the_version_before_signs_in_pushes_pulls_and_hears_of_refusals(plant):
    phone = plant.phone()
    answer = await phone.client.post(
        "/api/auth/sign-in", json=filled("sign_in", username="worker", password="anlu-demo", public_key=phone.spki)
    )
    assert answer.status_code == 200, answer.text
    given = answer.json()
    reads("signed_in", given)
    reads("person", given["person"])
    phone.took(given)

    version = plant.app.state["judge"].newest("hazard")
    now = plant.clock()
    clock = (now - 1_704_067_200_000) * 4096
    key = "hazard/0190a0de-0000-7000-8000-00000000beef"
    said = [
        filled("new", device=phone.number, hlc=clock, at=now, author=phone.person, doc=key, version=version, area=area_id("steelmaking")),
        filled(
            "add", device=phone.number, hlc=clock + 1, at=now, author=phone.person, doc=key, item="0190a0de-0000-7000-8000-00000000c0de"
        ),
        filled("set", device=phone.number, hlc=clock + 2, at=now, author=phone.person, doc=key),
        filled("act", device=phone.number, hlc=clock + 3, at=now, author=phone.person, doc=key),
    ]
    ops = [compact(one) for one in said]
    bundle = filled(
        "bundle", device=phone.number, certificate=given["certificate"], authors={phone.person: [given["author_token"]]}, ops=["@"]
    )
    body = compact(bundle).replace(b'["@"]', b"[" + b",".join(ops) + b"]")
    answer = await phone.client.post("/api/sync/push", content=body, headers={"Anlu-Signature": phone.sign(body)})
    assert answer.status_code == 200, answer.text
    pushed = answer.json()
    reads("pushed", pushed)
    for data, verdict in zip(ops, pushed["verdicts"], strict=True):
        reads("verdict", verdict)
        assert verdict["op"] == hashlib.sha256(data).hexdigest()
    assert [one["state"] for one in pushed["verdicts"][:2]] == ["ok", "ok"]
    claims = json.loads(base64.urlsafe_b64decode(pushed["receipt"].split(".")[1] + "=="))
    reads("receipt", claims)

    answer = await phone.post("/api/sync/pull", filled("pull", cursor=None))
    lines = [json.loads(line) for line in answer.text.splitlines()]
    reads("pull_head", lines[0])
    (document,) = [line for line in lines if line.get("doc") == key]
    reads("pull_doc", document)
    reads("body", document["body"])
    assert set(document["body"]["fields"]["area"][1:]) == {document["body"]["fields"]["area"][1], phone.number}
    reads("pull_end", lines[-1])
    answer = await phone.post("/api/sync/pull", filled("pull", cursor=lines[-1]["cursor"]))
    again = [json.loads(line) for line in answer.text.splitlines()]
    assert [sorted(again[0]), sorted(again[-1])] == [sorted(lines[0]), sorted(lines[-1])]
    # What falls due meanwhile may come; what this phone has read does not come again.
    assert key not in {line.get("doc") or line.get("patch") for line in again}


@pytest.mark.parametrize("more", [{"later": 1}, {"v": 1, "another": {"deep": [1]}}])
async def test_a_bundle_with_names_of_a_later_version_is_taken_by_this_one(plant, more):
    """The other way round: the server went back a version while phones already have the new app."""
    phone = await plant.phone().sign_in("worker")
    bundle = filled(
        "bundle",
        device=phone.number,
        certificate=phone.signed_in["certificate"],
        authors={phone.person: [phone.signed_in["author_token"]]},
        ops=[],
    )
    body = compact(bundle | more)
    answer = await phone.client.post("/api/sync/push", content=body, headers={"Anlu-Signature": phone.sign(body)})
    assert answer.status_code == 200, answer.text
