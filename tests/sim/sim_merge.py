"""Histories of merging alone: the same ops in any order, twice, in pieces, on the server's merge and on the phone's, against a model that
knows of no order but looks at all ops at once."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

from sim_model import AHEAD_MS, EPOCH_MS, TICKS, canonical

from backend.sync import hlc, merge
from backend.sync import op as ops

ROOT = Path(__file__).parents[2]
NOW = 1_790_000_000_000
PERSON = "01890a5d-ac96-774b-bcce-b302099a8057"
DOC = f"job/{PERSON}"
ITEMS = [f"01890a5d-ac96-774b-bcce-b302099a800{n}" for n in range(4)]


def history(seed: int) -> dict[str, Any]:
    """Ops as they arrive, [bytes, when], and the order in which they are merged: every one at least once."""
    random = Random(f"merge {seed}")
    devices = random.sample([1, 2, 77, 2**48 - 1], random.randint(2, 4))
    claimed = dict.fromkeys(devices, 0)
    arrivals = []
    for _ in range(random.randint(2, 14)):
        device = random.choice(devices)
        now = NOW + random.randint(0, 20)
        wall = now + random.choice([0, 0, 0, -5, 3, -86_400_000, AHEAD_MS, AHEAD_MS + 1, 86_400_000])
        # Each phone goes up from its own last, but a phone put back from a backup begins below it again.
        claimed[device] = max((wall - EPOCH_MS) * TICKS, claimed[device] + 1 if random.random() < 0.9 else 0)
        head = [device, claimed[device], now, PERSON, DOC]
        what = random.choices(["new", "set", "add", "act"], [1, 4, 4, 1])[0]
        fields = {
            name: random.choice([None, random.randrange(5), "钢", {"b": 1, "a": 2.5}])
            for name in random.sample(["a", "b", "constructor"], random.randint(1, 3))
        }
        rest: list[Any] = {
            "new": ["new", *head, 1, fields],
            "set": ["set", *head, fields],
            "add": [
                "add",
                *head,
                random.choice(["notes", "photos"]),
                random.choice(ITEMS),
                {"text": random.randrange(5), **random.choice([{}, {"by": "me"}])},
            ],
            "act": ["act", *head, random.choice(["halted", "working"]), fields, 0],
        }[what]
        arrivals.append([json.dumps(rest, ensure_ascii=False, separators=(",", ":")), now])
    order = list(range(len(arrivals))) + [random.randrange(len(arrivals)) for _ in range(random.randrange(4))]
    random.shuffle(order)
    return {"arrivals": arrivals, "order": order}


def expected(given: dict[str, Any]) -> str:
    """What must come out, worked out over all ops at once: the clocks, then the body."""
    last: dict[int, int] = {}
    clocks, facts, acts = [], [], []
    for text, now in given["arrivals"]:
        op = json.loads(text)
        ahead = op[2] // TICKS + EPOCH_MS - now > AHEAD_MS
        e = max((now - EPOCH_MS) * TICKS if ahead else op[2], last.get(op[1], 0) + 1)
        last[op[1]] = e
        clocks.append(f"{e}{'?' if ahead else ''}")
        (acts if op[0] == "act" else facts).append((e, op[1], op))
    body: dict[str, Any] = {"version": 1, "status": "open", "fields": {}, "sets": {}}
    for name in {name for _, _, op in facts if op[0] in ("new", "set") for name in op[-1]}:
        e, device, op = max(
            ((e, device, op) for e, device, op in facts if op[0] in ("new", "set") and name in op[-1]), key=lambda one: one[:2]
        )
        body["fields"][name] = [op[-1][name], e, device]
    for place in {(op[6], op[7]) for _, _, op in facts if op[0] == "add"}:
        e, device, op = min(
            ((e, device, op) for e, device, op in facts if op[0] == "add" and (op[6], op[7]) == place), key=lambda one: one[:2]
        )
        body["sets"].setdefault(place[0], {})[place[1]] = [{**op[8], "by": op[4], "at": op[3]}, e, device]
    for e, device, op in acts:
        body["fields"].update({name: [value, e, device] for name, value in op[7].items()})
        body["status"] = op[6]
    return f"{' '.join(clocks)} {canonical(body).decode()}"


def on_the_server(given: dict[str, Any]) -> str:
    """What the server's clocks and merge make of it; on the way, a copy that gets only the patches must stay the same."""
    last: dict[int, int] = {}
    clocks, said = [], []
    for text, now in given["arrivals"]:
        op = ops.decode(text.encode())
        e, suspect = hlc.effective(op.hlc, last.get(op.device, 0), now)
        last[op.device] = e
        clocks.append(f"{e}{'?' if suspect else ''}")
        said.append((op, e))
    body, phone = merge.begin(1, "open"), merge.begin(1, "open")
    for n in given["order"]:
        op, e = said[n]
        match op:
            case ops.Add():
                item = merge.stamp(op.item, op.author, op.at)
                patch: dict[str, Any] = {"add": merge.put_items(body, {op.set: {op.item_id: item}}, e, op.device)}
            case ops.New() | ops.Set():
                patch = {"set": merge.put_fields(body, op.fields, e, op.device)}
            case _:
                continue
        merge.put_patch(phone, json.loads(json.dumps(patch)))
    for op, e in said:
        if isinstance(op, ops.Act):
            patch = {"set": merge.write_fields(body, op.input, e, op.device), "status": op.transition}
            body["status"] = op.transition
            merge.put_patch(phone, patch)
    result = f"{' '.join(clocks)} {merge.canonical(body).decode()}"
    return result if merge.canonical(phone) == merge.canonical(body) else f"{result} and on a phone {merge.canonical(phone).decode()}"


def on_the_phone(histories: list[dict[str, Any]]) -> list[str]:
    """What the app's clocks and merge make of them."""
    beside = Path(sys.executable).with_name("node")
    node = str(beside) if beside.exists() else shutil.which("node") or "node"
    given = "".join(json.dumps(one) + "\n" for one in histories)
    done = subprocess.run([node, "tests/sync/replay.mjs"], cwd=ROOT / "pwa", input=given, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n").split("\n")


def failures(seeds: range, phone: bool = True) -> list[tuple[int, str]]:
    """The seeds whose histories do not come out as they must, and how."""
    found = []
    histories = [history(seed) for seed in seeds]
    told = on_the_phone(histories) if phone else [""] * len(histories)
    for seed, given, app in zip(seeds, histories, told, strict=True):
        due = expected(given)
        server = on_the_server(given)
        if server != due:
            found.append((seed, f"the server's merge gives\n  {server}\nnot\n  {due}"))
        if phone and app != due:
            found.append((seed, f"the phone's merge gives\n  {app}\nnot\n  {due}"))
    return found


def shrunk(given: dict[str, Any], phone: bool) -> dict[str, Any]:
    """The same failure with fewer ops."""

    def wrong(one: dict[str, Any]) -> bool:
        due = expected(one)
        return on_the_server(one) != due or (phone and on_the_phone([one])[0] != due)

    at = 0
    while at < len(given["arrivals"]):
        fewer = given["arrivals"][:at] + given["arrivals"][at + 1 :]
        order = [n - (n > at) for n in given["order"] if n != at]
        one = {"arrivals": fewer, "order": order}
        if fewer and wrong(one):
            given = one
        else:
            at += 1
    return given
