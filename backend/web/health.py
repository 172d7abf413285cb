"""Is the server well: `/api/health`, for a phone that asks whether it has a network, and for whoever watches the server."""

import shutil
from pathlib import Path
from typing import Any, Literal

import msgspec
import structlog
from litestar import Request, Response, get

from backend.auth.permissions import ANYONE

log = structlog.get_logger("anlu.health")
Word = Literal["ok", "low", "failed"]


class Health(msgspec.Struct):
    """`ok` is false where the database cannot be read; a low disk is told and still serves. `media` is low while photos wait on the phones
    for room; ops are taken all the same. `now` is the server's hlc."""

    ok: bool
    database: Word
    disk: Word
    media: Word
    version: str
    epoch: str
    now: int


@get("/api/health", who=ANYONE)
async def health(request: Request[Any, Any, Any]) -> Response[Health]:
    """Database, disk, room for photos, version, epoch."""
    state = request.app.state
    found = Health(True, "ok", "ok", "ok", state["version"], state["auth"].epoch(), state["auth"].hlc(state["auth"].clock()))
    try:
        async with state["store"].read() as tx:
            await tx.one("SELECT 1 AS one")
    except Exception:
        log.exception("database_unreadable")
        found.ok, found.database = False, "failed"
    found.disk = _disk(state["settings"].data_path, state["settings"].disk_free_mb_min)
    try:
        found.media = "ok" if await state["media"].has_room() else "low"
    except OSError:
        found.media = "failed"
    return Response(found, status_code=200 if found.ok else 503)


def _disk(folder: Path, free_mb_min: int) -> Word:
    try:
        return "ok" if shutil.disk_usage(folder).free >= free_mb_min * 1_000_000 else "low"
    except OSError:
        return "failed"
