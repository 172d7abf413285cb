"""What the desk asks of the calendar that no phone can say: the offsets of a time zone, which the server works out from tzdata."""

from typing import Any

import msgspec
from litestar import Request, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from backend.auth.service import ShortText
from backend.auth.sessions import Principal
from backend.flow.judge import CALENDAR_KEY
from backend.flow.zones import zone_offsets
from backend.kernel.errors import Refusal
from backend.kernel.ids import SERVER_AUTHOR
from backend.sync.hlc import to_ms
from backend.sync.op import Act
from backend.sync.server import Sync

BODY_BYTES_MAX = 4_096


class ZoneIn(msgspec.Struct, forbid_unknown_fields=True):
    """A zone of the IANA tables, such as Asia/Shanghai."""

    zone: ShortText


@post("/api/calendar/zone", who="manage_plant", status_code=204, request_max_body_size=BODY_BYTES_MAX)
async def set_zone(request: Request[Any, Any, Any], data: JSONBody[ZoneIn], principal: NamedDependency[Principal]) -> None:
    """Set the plant's time zone: the server's own device writes its offsets into the calendar, and who asked for it."""
    sync: Sync = request.app.state["sync"]
    offsets = zone_offsets(data.zone, to_ms(sync.now()))
    if offsets is None:
        raise Refusal("calendar.no_zone", zone=data.zone)
    given = {"zone": data.zone, "offsets": offsets, "by": principal.person}
    for verdict in await sync.say(Act(0, 0, 0, SERVER_AUTHOR, CALENDAR_KEY, "set_zone", given, 0)):
        if verdict.state != "ok":
            raise Refusal(verdict.code or "flow.rule_failed", **(verdict.params or {}))


ROUTES = [set_zone]
