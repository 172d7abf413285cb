"""Labels to print and stick. Everything else about machines goes by ops."""

import asyncio
from typing import Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import FromQuery

from backend.auth.service import Auth
from backend.auth.sessions import Principal
from backend.domains.equipment import codes, queries
from backend.kernel.errors import Refusal
from backend.settings import Settings
from backend.store import Store
from backend.sync.shapes import TxDocs
from media.codes import label

MACHINE_IDS_CHARS_MAX = 40 * label.LABELS_MAX
NUMBERS_SHOWN_MAX = 10


@get("/api/equipment/labels.pdf", who="manage_equipment", media_type="application/pdf")
async def labels(
    request: Request[Any, Any, Any],
    auth: NamedDependency[Auth],
    principal: NamedDependency[Principal],
    machines: FromQuery[str] = "",
    size: FromQuery[str] = "60x40",
) -> Response[bytes]:
    """The labels of machines (ids with commas between, 500 at most), a page each, in the order asked for. Needs the capability where each
    machine is."""
    store: Store = request.app.state["store"]
    settings: Settings = request.app.state["settings"]
    ids = list(dict.fromkeys(part for part in machines.split(",") if part)) if len(machines) <= MACHINE_IDS_CHARS_MAX else []
    if not 1 <= len(ids) <= label.LABELS_MAX:
        raise Refusal("equipment.how_many_labels", most=label.LABELS_MAX)
    if size not in label.SIZES:
        raise Refusal("equipment.label_size", sizes=", ".join(label.SIZES))
    standing = await auth.standing(principal.person)
    async with store.read() as tx:
        docs = TxDocs(tx)
        found = await queries.machines(docs, ids)
        tags = await queries.codes_of(docs, ids)
    if any(machine_id not in found or not standing.has("manage_equipment", found[machine_id].area) for machine_id in ids):
        raise Refusal("equipment.no_machine")
    bare = [found[machine_id].number for machine_id in ids if machine_id not in tags]
    if bare:
        raise Refusal("equipment.no_tag", numbers=", ".join(bare[:NUMBERS_SHOWN_MAX]))
    pages = [
        label.Label(
            url=codes.url(settings.public_origin, tags[machine_id]),
            typed=codes.typed(tags[machine_id]),
            number=found[machine_id].number,
            zh=found[machine_id].names.zh,
            en=found[machine_id].names.en,
        )
        for machine_id in ids
    ]
    content = await asyncio.to_thread(label.pdf, pages, size)
    headers = {"Content-Disposition": 'inline; filename="anlu-labels.pdf"', "Cache-Control": "no-store"}
    return Response(content, media_type="application/pdf", headers=headers)


ROUTES = [labels]
