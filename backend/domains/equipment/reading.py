"""A tag's photo that a phone could not read."""

from typing import Any

import msgspec
from litestar import Request, post
from litestar.di import NamedDependency

from backend.auth.permissions import SESSION
from backend.auth.sessions import Principal
from backend.domains.equipment import codes, queries
from backend.kernel.errors import Refusal
from backend.kernel.windows import Window
from backend.store import Store
from backend.sync.shapes import TxDocs, may_read
from media import check
from media.intake import Media

READS_PER_PERSON_MAX = 30
READS_PERSON_MINUTES = 10
"""Each may cost seconds of a processor; nobody scans three tags a minute by photo for long."""


def limit() -> Window:
    """How often one person may have a photo read."""
    return Window(READS_PER_PERSON_MAX, READS_PERSON_MINUTES)


class Found(msgspec.Struct):
    """The tag's code, and the id of its machine where it is bound to one that the asking person may see."""

    code: str
    machine: str | None = None


@post("/api/equipment/read-tag", who=SESSION, status_code=200, request_max_body_size=check.BYTES_MAX)
async def read_tag(request: Request[Any, Any, Any], principal: NamedDependency[Principal]) -> Found:
    """Read the tag in a photo (the body: JPEG, PNG or WebP). The photo is not kept."""
    media: Media = request.app.state["media"]
    store: Store = request.app.state["store"]
    reads: Window = request.app.state["tag_reads"]
    now = media.clock()
    if seconds := reads.wait_seconds(principal.person, now):
        raise Refusal("http.rate", {"Retry-After": str(seconds)}, seconds=seconds)
    reads.take(principal.person, now)
    texts = await media.texts(await request.body())
    found = list(dict.fromkeys(code for text in texts if (code := codes.parse(text))))
    if len(found) != 1:
        # Which of two is meant nobody here knows, and the wrong machine is worse than none.
        raise Refusal("equipment.several_tags" if found else "equipment.no_tag_seen")
    async with store.read() as tx:
        machine = await queries.machine_by_code(TxDocs(tx), found[0])
        seen = machine is not None and await may_read(tx, request.app.state["judge"], principal.person, f"machine/{machine.id}")
    return Found(found[0], machine.id if machine is not None and seen else None)


ROUTES = [read_tag]
