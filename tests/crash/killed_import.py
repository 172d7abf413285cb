"""Kills a server at chosen writes of an import, and prints what a server started after it holds.

    python killed_import.py FOLDER

Each round copies one demo plant; a child imports 300 machines and kills itself with SIGKILL at the nth statement of its writer, counted from
the transaction that takes the file in; a second child starts a server on what is left. A line of JSON for each round.
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

from backend.app import build
from backend.audit.verify import verify
from backend.auth.sessions import Principal
from backend.demo import person_id
from backend.domains.integrations.columns import tables
from backend.domains.integrations.run import Imports
from backend.settings import Settings
from backend.store import sqlite

ROWS = 300
FILE = "设备编号,名称,类型,区域编号\n" + "".join(f"K-{n},新机 {n},forklift,LG\n" for n in range(ROWS))
WHO = Principal(person_id("admin"), 1, "", 0, 0)
TABLE = tables()["machines"]


async def prepare(folder: Path) -> None:
    async with build(Settings(data=str(folder), demo=True, password_ms=20)).lifespan():
        pass


async def take_in(folder: Path, nth: int) -> dict[str, Any]:
    """Import, and be killed at the nth statement from when the file is taken in."""
    app = build(Settings(data=str(folder), password_ms=20))
    async with app.lifespan():
        imports = app.state["imports"]
        plan = (await imports.check(TABLE, FILE.encode(), WHO)).plan
        job = await imports.begin(TABLE, FILE.encode(), WHO, plan, skip_bad=False)
        (folder / "job").write_text(job.id)
        if nth:
            kill_at(nth)
        while (await imports.job(job.id, WHO)).state == "running":
            await asyncio.sleep(0.01)
    return {}


async def look(folder: Path) -> dict[str, Any]:
    """What a server finds after it, and whether the same file can be taken in then."""
    app = build(Settings(data=str(folder), password_ms=20))
    async with app.lifespan():
        imports, store = app.state["imports"], app.state["store"]
        job = await imports.job((folder / "job").read_text(), WHO)
        async with store.read() as tx:
            machines = (await tx.one("SELECT COUNT(*) AS n FROM document WHERE key LIKE 'machine/%'"))["n"]
            ops = (await tx.one("SELECT COUNT(*) AS n FROM ledger WHERE author = $1", WHO.person))["n"]
        report = await imports.check(TABLE, FILE.encode(), WHO)
        verified = await verify(store, app.state["sync"].keys)
    return {
        "state": job.state,
        "code": job.error and job.error["code"],
        "machines": machines,
        "ops": ops,
        "created": report.created,
        "unchanged": report.unchanged,
        "verify": "" if verified.ok else verified.text(),
    }


def kill_at(nth: int) -> None:
    """Make this process kill itself at the nth point of its writer's statements; a commit is one before it and one after it."""
    points = itertools.count(1)
    begun = False
    real = Imports._take_in

    async def take(self: Imports, *given: Any) -> None:
        nonlocal begun
        begun = True
        await real(self, *given)

    def reach() -> None:
        if begun and next(points) == nth:
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

    Imports._take_in = take  # type: ignore[method-assign]
    for name in ("begin", "execute", "execute_many"):
        setattr(sqlite._Connection, name, wrap(getattr(sqlite._Connection, name)))


def forked(work: Callable[[], Coroutine[Any, Any, Any]]) -> tuple[int, Any]:
    """Run this in a child; the wait status, and what it returned."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
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
    made = folder / "made"
    assert forked(lambda: _none(prepare(made)))[0] == 0
    step, nth, killed = 61, 1, True
    while killed:
        copy = folder / f"round-{nth}"
        shutil.copytree(made, copy)
        status, _ = forked(lambda copy=copy, nth=nth: take_in(copy, nth))
        killed = os.WIFSIGNALED(status)
        after, found = forked(lambda copy=copy: look(copy))
        assert after == 0
        print(json.dumps({"nth": nth, "killed": killed, **found}), flush=True)
        shutil.rmtree(copy)
        nth += step


async def _none(work: Coroutine[Any, Any, None]) -> dict[str, Any]:
    await work
    return {}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
