"""The two languages against each other: the same histories and the same bytes, read by both. Seeds make a failure come again."""

import base64
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from backend.kernel.ids import uuid7
from backend.sync import hlc, merge, op

ROOT = Path(__file__).parents[2]
HISTORIES = 500
MUTANTS = 3_000
NOW = 1_790_000_000_000


def node() -> str:
    beside = Path(sys.executable).with_name("node")
    return str(beside) if beside.exists() else shutil.which("node") or "node"


def on_the_phones_side(tasks: list[dict[str, Any]]) -> list[str]:
    """What pwa/tests/sync/replay.mjs answers to each task."""
    given = "".join(json.dumps(task) + "\n" for task in tasks)
    done = subprocess.run([node(), "tests/sync/replay.mjs"], cwd=ROOT / "pwa", input=given, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n").split("\n")  # not splitlines: U+2028 stands in the texts


def some_value(r: random.Random, deep: int = 0) -> Any:
    match r.randrange(9 if deep < 3 else 6):
        case 0:
            return None
        case 1:
            return r.choice([True, False])
        case 2:
            return r.randint(-op.NUMBER_MAX, op.NUMBER_MAX)
        case 3:
            return r.uniform(-1, 1) * 10 ** r.randint(-12, 12)
        case 4 | 5:
            return "".join(
                r.choice(["a", "Z", "0", '"', "\\", "\n", "\x1f", "\x7f", "钢", "é", "\u2028", "\ufb33", "😀"])
                for _ in range(r.randrange(6))
            )
        case 6 | 7:
            return {r.choice("ab钢😀\ufb33"): some_value(r, deep + 1) for _ in range(r.randrange(4))}
        case _:
            return [some_value(r, deep + 1) for _ in range(r.randrange(4))]


def some_op(r: random.Random, device: int, clock: int, doc: str, items: list[str]) -> op.Op:
    author: op.Author = uuid7(NOW, r.randbytes(10)) if r.random() < 0.9 else op.Sealed(r.randbytes(32).hex())
    at = max(clock // hlc.TICKS_PER_MS, 0) + hlc.EPOCH_MS
    named = {r.choice(["a", "b", "c", "constructor"]): some_value(r) for _ in range(r.randrange(4))}
    match r.choice(["new", "set", "set", "set", "add", "add", "act"]):
        case "new":
            return op.New(device, clock, at, author, doc, 1, named)
        case "set":
            return op.Set(device, clock, at, author, doc, named)
        case "add":
            return op.Add(device, clock, at, author, doc, r.choice(["notes", "constructor"]), r.choice(items), named)
        case _:
            return op.Act(device, clock, at, author, doc, r.choice(["close", "reopen"]), named, r.randrange(100))


def history(seed: int) -> dict[str, Any]:
    """Ops of three phones whose clocks stutter, step back and run ahead, as they arrive, and an order to merge them in."""
    r = random.Random(seed)
    doc = f"hazard/{uuid7(NOW, r.randbytes(10))}"
    items = [uuid7(NOW, r.randbytes(10)) for _ in range(3)]
    last = dict.fromkeys([1, 2, 2**48 - 1], 0)
    arrivals = []
    now = NOW
    for _ in range(r.randrange(1, 25)):
        device = r.choice(list(last))
        now += r.choice([0, 0, 1, 1000])
        last[device] = hlc.make(last[device] if r.random() < 0.8 else 0, now + r.choice([0, 0, -86_400_000, 299_999, 400_000, -(10**12)]))
        arrivals.append([op.encode(some_op(r, device, last[device], doc, items)).decode(), now])
    order = list(range(len(arrivals))) * 2
    r.shuffle(order)
    return {"seed": seed, "arrivals": arrivals, "order": order}


def replay(task: dict[str, Any]) -> str:
    previous: dict[int, int] = {}
    judged = []
    for data, now in task["arrivals"]:
        said = op.decode(data.encode())
        e, suspect = hlc.effective(said.hlc, previous.get(said.device, 0), now)
        previous[said.device] = e
        judged.append((said, e, suspect))
    body = merge.begin(1, "open")
    # The phone's side merges in a mixed order and everything twice; here once, in order of arrival.
    for said, e, _ in judged:
        match said:
            case op.New() | op.Set():
                merge.put_fields(body, said.fields, e, said.device)
            case op.Add():
                merge.put_items(body, {said.set: {said.item_id: merge.stamp(said.item, said.author, said.at)}}, e, said.device)
    for said, e, _ in judged:
        if isinstance(said, op.Act):
            merge.write_fields(body, said.input, e, said.device)
            merge.put_patch(body, {"status": said.transition})
    return " ".join(f"{e}{'?' * suspect}" for _, e, suspect in judged) + " " + merge.canonical(body).decode()


def test_both_sides_make_the_same_bytes_of_500_histories() -> None:
    tasks = [history(seed) for seed in range(HISTORIES)]
    theirs = on_the_phones_side(tasks)
    assert len(theirs) == HISTORIES
    for task, line in zip(tasks, theirs, strict=True):
        assert line == replay(task), f"seed {task['seed']}"


def mutant(seed: int) -> bytes:
    """An op's bytes with a few places cut, doubled, changed or swapped for something that hurts."""
    r = random.Random(seed)
    doc = f"hazard/{uuid7(NOW, r.randbytes(10))}"
    data = bytearray(op.encode(some_op(r, r.randrange(2**48), r.randrange(hlc.HLC_MAX), doc, [uuid7(NOW, r.randbytes(10))])))
    hurts = [
        b'"a":1,',
        b"[",
        b"]",
        b"{",
        b"}",
        b'"',
        b"\\",
        b",",
        b"null",
        b"1e400",
        b"9007199254740993",
        b"-0.0",
        b"\\ud800",
        b"\\u0061",
        b"\xff",
        b" ",
    ]
    for _ in range(r.randrange(4)):
        at = r.randrange(len(data) + 1)
        match r.randrange(4):
            case 0:
                del data[at : at + r.randrange(1, 4)]
            case 1:
                data[at:at] = data[at : at + r.randrange(1, 12)]
            case 2:
                data[at : at + 1] = bytes([r.randrange(256)])
            case _:
                data[at:at] = r.choice(hurts)
    return bytes(data)


def read(data: bytes) -> str:
    try:
        return f"{op.op_id(data)} {op.canonical(msgspec.to_builtins(op.decode(data))).decode()}"
    except op.Malformed as malformed:
        return malformed.reason


def test_both_sides_say_the_same_of_3000_mutated_ops() -> None:
    mutants = [mutant(seed) for seed in range(MUTANTS)]
    theirs = on_the_phones_side([{"bytes": base64.b64encode(data).decode()} for data in mutants])
    ours = [read(data) for data in mutants]
    for seed, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        assert our == their, f"seed {seed}: {mutants[seed]!r}"
    assert len({line for line in ours if line in op.REASONS}) > 8, "the mutants no longer reach the checks"
