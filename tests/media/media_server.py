"""A real media server under uvicorn, forked from a process that has everything loaded, so that a test can kill it at any system call and
start the next one at once.

Reads a command a line: `{"folder", "kill", "when"}` starts a server on that folder and answers `{"pid", "port"}`. `kill` n: SIGKILL at
the n-th write, sync, link, truncation or statement, `when` "before" or "after" it. Where it is beyond reach, the count and the names of
the steps stand in `<folder>/count` and `<folder>/steps`. How much of an upload was synced stands in `<folder>/<file>.synced`, so that a
test can cut the power: what was written and not synced is then gone. Times come from the wall clock plus `<folder>/ahead_ms`.

Sign-in is the real thing without passwords: the folder's database holds one session whose cookie is in `<folder>/cookie`. Person `reader`
may read documents `check/…`.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import uvicorn
from litestar import Litestar
from litestar.di import Provide

from backend.auth import controllers as auth_controllers
from backend.auth import passwords, sessions
from backend.auth.permissions import guard
from backend.auth.revocations import Revocations
from backend.auth.service import Auth
from backend.auth.tokens import Keys
from backend.kernel.clock import wall_clock
from backend.store import Tx, migrate, open_store
from backend.store.sqlite import _Connection
from backend.web import errors
from backend.web.logs import set_up as set_up_logs
from media.controllers import ROUTES
from media.intake import STAGING, Media
from media.store import shelf

PERSON, DEVICE = "reader", 7


def build(folder: Path) -> Litestar:
    """The media routes over a real store, with real sessions."""

    def clock() -> int:
        ahead = folder / "ahead_ms"
        return wall_clock() + (int(ahead.read_text()) if ahead.exists() else 0)

    async def may_read(tx: Tx, person: str, documents: list[str]) -> bool:
        return person == PERSON and any(key.startswith("check/") for key in documents)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> Any:
        store = open_store(f"sqlite:///{folder / 'anlu.db'}")
        await migrate(store)
        auth = Auth(
            store,
            Keys(folder / "keys", clock()),
            Revocations(folder / "revocations.jsonl"),
            passwords.Passwords(passwords.Cost()),
            None,  # type: ignore[arg-type] - nobody asks for a standing here
            clock=clock,
            epoch=lambda: "",
            hlc=lambda ms: ms,
            https=False,
            worker_session_hours=12,
            admin_session_hours=8,
        )
        if not (folder / "cookie").exists():
            async with store.write() as tx:
                token = await sessions.begin(tx, PERSON, DEVICE, clock(), clock() + 10**12)
                other = await sessions.begin(tx, "stranger", 8, clock(), clock() + 10**12)
            (folder / "cookie").write_text(json.dumps({"reader": token, "stranger": other, "name": auth.cookie}))
        bucket = (folder / "bucket").read_text() if (folder / "bucket").exists() else ""
        media = Media(
            store,
            shelf(folder / "media", bucket),
            staging=folder / "media" / STAGING,
            may_read=may_read,
            caller=auth.principal,
            clock=clock,
        )
        app.state.update(store=store, auth=auth, media=media)
        await media.start()
        yield
        await media.close()
        await store.close()

    return Litestar(
        route_handlers=ROUTES,
        dependencies={"principal": Provide(auth_controllers.provide_principal)},
        guards=[guard],
        exception_handlers=errors.HANDLERS,
        lifespan=[lifespan],
        openapi_config=None,
        logging_config=None,
        request_max_body_size=65_536,
    )


class Killer:
    """Counts what reaches the disk and dies at one of them."""

    def __init__(self, folder: Path, kill: int | None, when: str) -> None:
        self.at = kill
        self.when = when
        self.count = 0
        self.folder = folder
        self.steps: list[str] = []

    def wrap(self, what: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **named: Any) -> Any:
            self.count += 1
            self.steps.append(what)
            mine = self.count == self.at
            if mine and self.when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            if mine and self.when == "half" and what == "pwrite":
                file, data, at = args
                call(file, bytes(data)[: len(data) // 2], at)
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*args, **named)
            if what == "fsync" and (path := os.readlink(f"/proc/self/fd/{args[0]}")).endswith(".bytes"):
                (self.folder / f"{Path(path).name}.synced").write_text(str(os.fstat(args[0]).st_size))
            if mine:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.at is not None and self.at > 10**6:
                (self.folder / "count").write_text(str(self.count))
                (self.folder / "steps").write_text(json.dumps(self.steps))
            return result

        return counted

    def arm(self) -> None:
        """From here on every call counts: the start of the server does not."""
        for name in ("pwrite", "fsync", "link", "ftruncate", "unlink"):
            setattr(os, name, self.wrap(name, getattr(os, name)))
        for name in ("execute", "begin"):
            setattr(_Connection, name, self.wrap(name, getattr(_Connection, name)))


def run(folder: Path, kill: int | None, when: str, listening: socket.socket) -> None:
    """Serve until killed. Never returns."""
    set_up_logs("error")
    if kill is not None:
        killer = Killer(folder, kill, when)
        arming = folder / "armed"

        class Armed(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                killer.arm()
                arming.touch()

        server: uvicorn.Server = Armed(uvicorn.Config(build(folder), log_config=None, access_log=False))
    else:
        server = uvicorn.Server(uvicorn.Config(build(folder), log_config=None, access_log=False))
    asyncio.run(server.serve(sockets=[listening]))


def main() -> None:
    """The process that forks servers; ends when its input does, and takes every server with it."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    started: list[int] = []
    uvicorn.Config(build(Path("never-opened")), log_config=None).load()  # everything is imported before the first fork
    for line in sys.stdin:
        command = json.loads(line)
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            try:
                run(Path(command["folder"]), command.get("kill"), command.get("when", "after"), listening)
            finally:
                os._exit(1)
        port = listening.getsockname()[1]
        listening.close()
        started.append(pid)
        print(json.dumps({"pid": pid, "port": port}), flush=True)
    for pid in started:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    main()
