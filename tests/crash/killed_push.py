"""Kills a server at every write statement of a start and a push, one after another, and prints what a server started after it holds.

    python killed_push.py FOLDER

Imports once and forks: each round copies one prepared folder, runs a server in a child that kills itself with SIGKILL at the nth statement
of its writer connection (before it, or after a COMMIT and before anybody was told), then a second child starts a server on what is left,
in which the phones send again. A line of JSON for each round.
"""

import asyncio
import itertools
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1] / "sync"))

from world import World, kind_document

from backend.audit.verify import verify
from backend.store import sqlite
from backend.sync.op import op_id
from backend.sync.rebuild import differences


class Sent:
    """What the phones send, made before anything is killed: (bundle, signature) pairs, and every op's id."""

    bundles: list[tuple[bytes, str]]
    ops: list[str]


async def prepare(folder: Path) -> Sent:
    """A server that has been used, two phones, and what they are about to send: an op for everything that writes."""
    async with World(folder) as world:
        await world.sync.say(kind_document("parked"))
        one, two = await world.phone(), await world.phone()
        thing = one.new({"note": "before"})
        waited = f"thing/{world.new_id()}"
        early = two.set(waited, {"note": "early"})
        await asyncio.gather(one.push(), two.push())
        one.set(thing, {"note": "a", "place": one.seal({"lat": 39.9})})
        other = one.new({"spawn": True})
        one.add(thing, {"text": "hi"})
        one.act(thing, "begin", then=other)
        one.act(f"thing/{world.new_id()}", "begin")
        one.queue.append(b'["set"]')
        one.act(other, "move", area="b")
        two.new({}, doc=waited)
        two.act(waited, "halt")
        two.act(waited, "begin")
        sent = Sent()
        sent.bundles = [(data, phone.sign(data)) for phone in (one, two) for data in (phone.bundle(2),)]
        sent.ops = [op_id(data) for phone in (one, two) for data in phone.queue]
        assert early in sent.ops
        return sent


async def push(folder: Path, sent: Sent) -> dict[str, Any]:
    """Start a server, send everything at once, and tell what it holds then."""
    async with World(folder) as world:
        world.now += 1_000
        answers = await asyncio.gather(*(world.sync.push(*bundle) for bundle in sent.bundles))
        ledger = await world.rows("SELECT op, COUNT(*) AS n FROM ledger WHERE what = 'op' GROUP BY op")
        documents = await world.rows("SELECT key, seq, body, author, created_at FROM document ORDER BY key")
        report = await verify(world.store, world.keys)
        return {
            "epoch": world.sync.epoch,
            "verdicts": [[[v.op, v.n, v.seq, v.state, v.code] for v in answer.verdicts] for answer in answers],
            "ops": {row["op"]: row["n"] for row in ledger},
            "documents": [[row["key"], said(json.loads(row["body"])), row["author"], row["created_at"]] for row in documents],
            "sealed": len(await world.rows("SELECT * FROM sealed")),
            "verify": report.text() if not report.ok else "",
            "rebuild": await differences(world.store, world.judge),
        }


def said(body: dict[str, Any]) -> dict[str, Any]:
    """A body without the clocks: those of the server's own ops depend on which phone came first."""
    fields = {name: [value, device] for name, (value, _, device) in body["fields"].items()}
    sets = {name: {item: [value, device] for item, (value, _, device) in items.items()} for name, items in body["sets"].items()}
    return body | {"fields": fields, "sets": sets}


def kill_at(nth: int) -> None:
    """Make this process kill itself at the nth point of its writer's statements."""
    points = itertools.count(1)

    def reach() -> None:
        if next(points) == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    def wrap(work: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(connection: Any, sql: str, *rest: Any) -> Any:
            if connection.writes and not sql.startswith("SELECT"):
                reach()
            result = work(connection, sql, *rest)
            if connection.writes and sql == "COMMIT":
                reach()
            return result

        return wrapped

    for name in ("begin", "execute", "execute_many"):
        setattr(sqlite._Connection, name, wrap(getattr(sqlite._Connection, name)))


def forked(work: Callable[[], Coroutine[Any, Any, Any]], nth: int = 0) -> tuple[int, Any]:
    """Run this in a child; the wait status, and what it returned."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            if nth:
                kill_at(nth)
            result = json.dumps(asyncio.run(work())).encode()
            with os.fdopen(writing, "wb") as out:
                out.write(result)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        result = answers.read()
    _, status = os.waitpid(child, 0)
    return status, json.loads(result) if result else None


def main(folder: Path) -> None:
    template = folder / "template"
    template.mkdir(parents=True)
    sent = asyncio.run(prepare(template))

    def round_of(name: str, nth: int) -> tuple[int, Any]:
        copy = folder / name
        shutil.copytree(template, copy)
        status, result = forked(lambda: push(copy, sent), nth)
        if os.WIFSIGNALED(status):
            status_after, result = forked(lambda: push(copy, sent))
            assert status_after == 0
        shutil.rmtree(copy)
        return status, result

    status, undisturbed = round_of("undisturbed", 0)
    assert status == 0
    print(json.dumps({"nth": 0, "sent": sent.ops, "result": undisturbed}), flush=True)
    for nth in itertools.count(1):
        status, result = round_of(f"n{nth}", nth)
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL
        print(json.dumps({"nth": nth, "result": result}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
