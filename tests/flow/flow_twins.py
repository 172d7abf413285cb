"""The phone's side of the flow, asked by the server's tests."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from backend.flow.kind import CompiledKind
from backend.flow.machine import Env
from backend.sync.judge import Change, Outcome, Refused

ROOT = Path(__file__).parents[2]


def on_the_phone(tasks: list[dict[str, Any]]) -> list[Any]:
    """What pwa/tests/flow/answer.mjs answers to each task."""
    beside = Path(sys.executable).with_name("node")
    node = str(beside) if beside.exists() else shutil.which("node") or "node"
    given = "".join(json.dumps(task) + "\n" for task in tasks)
    done = subprocess.run([node, "tests/flow/answer.mjs"], cwd=ROOT / "pwa", input=given, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.rstrip("\n").split("\n")]
    assert len(answers) == len(tasks)
    return answers


def kind_task(kind: CompiledKind) -> dict[str, Any]:
    """Hands a kind over in its wire form."""
    return {"do": "kind", "name": kind.name, "source": json.loads(msgspec.json.encode(kind.kind))}


def env_json(env: Env) -> dict[str, Any]:
    """An Env as the phone spells it."""
    return {
        "actor": msgspec.to_builtins(env.actor),
        "now": env.now,
        "opId": env.op_id,
        "uses": env.uses,
        "plant": env.plant,
        "calendar": env.calendar,
        "rosters": {"views": env.rosters.views, "parents": env.rosters.parents},
        "limits": env.limits,
        "unseenStops": env.unseen_stops,
    }


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """An outcome as the phone gives it."""
    if isinstance(outcome, Change):
        change = msgspec.to_builtins(outcome)
        for spawn in change["spawns"]:
            del spawn["version"]
        return {"change": change}
    return {"refused" if isinstance(outcome, Refused) else "parked": {"code": outcome.code, "params": outcome.params}}


def same(a: Any, b: Any) -> bool:
    """Equal as JSON, whole numbers written either way."""
    return json.dumps(_plain(a), sort_keys=True) == json.dumps(_plain(b), sort_keys=True)


def _plain(value: Any) -> Any:
    match value:
        case float() if value.is_integer() and abs(value) < 2**63:
            return int(value)
        case list() | tuple():
            return [_plain(v) for v in value]
        case dict():
            return {k: _plain(v) for k, v in value.items()}
    return value
