"""Hostile bytes are decoded where dying costs nothing: in a forked child with 512 MB of memory, 5 s of processor and few files.

A *helper* process, started once, has the decoders loaded and forks a fresh child for each photo. Measured on two busy cores with a small
photo: 103 ms with a fresh Python and Pillow, 11 ms with a fork; and unlike in a pool of workers, no child ever sees two photos. The server
never forks itself, never loads a decoder, and survives the death of child and helper.
"""

import asyncio
import contextlib
import json
import os
import resource
import select
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

MEMORY_BYTES_MAX = 512 * 1024 * 1024
CPU_SECONDS_MAX = 5
WALL_SECONDS_MAX = 20
"""A child that has its processor time left but not finished by then waited for a busy machine: the photo is tried again later, not
refused."""
WRITTEN_BYTES_MAX = 64 * 1024 * 1024
OPEN_FILES_MAX = 32
HELPERS = 2
WAITING_MAX = 64
ROOT = str(Path(__file__).resolve().parent.parent)


class Busy(Exception):
    """Not looked at: too many wait, the machine is too slow now, or a helper died. Try again."""


class Children:
    """The server's side: hands photos to helpers, one at a time each."""

    def __init__(self, helpers: int = HELPERS) -> None:
        self._free: asyncio.LifoQueue[asyncio.subprocess.Process | None] = asyncio.LifoQueue()
        self._running: set[asyncio.subprocess.Process] = set()
        self._waiting = 0
        for _ in range(helpers):
            self._free.put_nowait(None)

    async def derive(self, source: Path, into: Path) -> dict[str, Any]:
        """Check and derive one photo. Gives `{"ok": {"type", "w", "h"}}` or `{"code": "media.…"}`, with `cpu_s` and `memory_bytes` it
        took. Raises `Busy`."""
        return await self._ask({"source": str(source), "into": str(into)})

    async def read(self, source: Path) -> dict[str, Any]:
        """Read the QR codes in one photo. Gives `{"ok": {"texts": […]}}` or `{"code": "media.…"}`. Raises `Busy`."""
        return await self._ask({"source": str(source), "into": None})

    async def _ask(self, job: dict[str, Any]) -> dict[str, Any]:
        if self._waiting >= WAITING_MAX:
            raise Busy
        self._waiting += 1
        try:
            helper = await self._free.get()
        finally:
            self._waiting -= 1
        given_back: asyncio.subprocess.Process | None = None
        try:
            if helper is None or helper.returncode is not None:
                helper = await self._start()
            assert helper.stdin is not None
            assert helper.stdout is not None
            helper.stdin.write(json.dumps(job).encode() + b"\n")
            try:
                await helper.stdin.drain()
                line = await asyncio.wait_for(helper.stdout.readline(), WALL_SECONDS_MAX + 10)
            except (ConnectionError, TimeoutError):
                line = b""
            if not line:
                raise Busy
            answer: dict[str, Any] = json.loads(line)
            given_back = helper
        finally:
            if given_back is None and helper is not None:
                # Cancelled or failed in the middle: this helper's next line would be an answer to the wrong question.
                await self._end(helper)
            self._free.put_nowait(given_back)
        if answer.get("busy"):
            raise Busy
        return answer

    async def close(self) -> None:
        """End the helpers."""
        for helper in list(self._running):
            await self._end(helper)

    async def _start(self) -> asyncio.subprocess.Process:
        program = "import sys; sys.path.insert(0, sys.argv[1]); from media.child import serve; serve()"
        helper = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-c", program, ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env={}
        )
        self._running.add(helper)
        return helper

    async def _end(self, helper: asyncio.subprocess.Process) -> None:
        self._running.discard(helper)
        if helper.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                helper.kill()
        await helper.wait()


def serve() -> None:
    """The helper's side: one line in, one child, one line out, until the server goes away."""
    from media import derive
    from media.codes import read

    # Loaded before the first fork.
    assert derive.DECODERS
    assert read.SIDES
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to handle
    for line in sys.stdin.buffer:
        job = json.loads(line)
        answer = _in_a_child(Path(job["source"]), Path(job["into"]) if job["into"] else None)
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


def _in_a_child(source: Path, into: Path | None) -> dict[str, Any]:
    """Fork, wait with a limit, and say how it ended."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        _child(source, into, theirs)
    os.close(theirs)
    said, late = b"", False
    end = time.monotonic() + WALL_SECONDS_MAX
    while True:
        ready, _, _ = select.select([ours], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            late = True
            os.kill(pid, signal.SIGKILL)
            break
        part = os.read(ours, 65536)
        if not part:
            break
        said += part
    os.close(ours)
    _, status, used = os.wait4(pid, 0)
    cost = {"cpu_s": round(used.ru_utime + used.ru_stime, 3), "memory_bytes": used.ru_maxrss * 1024}
    if late:
        return {"busy": True, **cost}
    if os.WIFSIGNALED(status):
        spent = os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
        return {"code": "media.too_heavy" if spent else "media.broken", **cost}
    try:
        return {**json.loads(said), **cost}
    except ValueError:
        return {"code": "media.too_heavy", **cost}


def _child(source: Path, into: Path | None, out: int) -> None:
    """The child: limits first, then the photo. Never returns."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS_MAX, CPU_SECONDS_MAX + 1))
        resource.setrlimit(resource.RLIMIT_FSIZE, (WRITTEN_BYTES_MAX, WRITTEN_BYTES_MAX))
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES_MAX, OPEN_FILES_MAX))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
        answer = _look(source, into)
        os.write(out, json.dumps(answer).encode())
    except MemoryError:
        os.write(out, b'{"code": "media.too_heavy"}')
    except Exception:
        # Not a refusal we know: hostile bytes found a new way to fail, or we have a bug. The log says which; the photo is refused either
        # way.
        os.write(out, b'{"code": "media.broken"}')
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(0)


def _look(source: Path, into: Path | None) -> dict[str, Any]:
    from media import check, derive
    from media.codes import read

    try:
        if into is None:
            return {"ok": {"texts": read.read(source)}}
        found = derive.derive(source, into)
    except check.Unfit as unfit:
        return {"code": unfit.code}
    return {"ok": {"type": found.type, "w": found.w, "h": found.h}}
