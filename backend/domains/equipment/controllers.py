"""Blank tags, and labels to print and stick. Everything else about machines goes by ops."""

import asyncio
import hashlib
from typing import Any
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromQuery, JSONBody

from backend.auth.service import Auth
from backend.auth.sessions import Principal
from backend.domains.equipment import codes, queries
from backend.kernel.errors import Refusal
from backend.settings import Settings
from backend.store import Store
from backend.sync.op import New
from backend.sync.server import Sync
from backend.sync.shapes import TxDocs
from media.codes import label

MACHINE_IDS_CHARS_MAX = 40 * label.LABELS_MAX
NUMBERS_SHOWN_MAX = 10
BLANK = ("空白标牌：贴好后扫码绑定设备", "Blank tag: stick it on, scan it, bind it")


@get("/api/equipment/labels.pdf", who="manage_equipment", media_type="application/pdf")
async def labels(
    request: Request[Any, Any, Any],
    auth: NamedDependency[Auth],
    principal: NamedDependency[Principal],
    machines: FromQuery[str] = "",
    tags: FromQuery[str] = "",
    size: FromQuery[str] = "60x40",
    dx: FromQuery[float] = 0,
    dy: FromQuery[float] = 0,
    skip: FromQuery[int] = 0,
) -> Response[bytes]:
    """The labels of machines (ids with commas between) or of blank tags (codes with commas between), 500 at most, in the order asked for:
    a page each, or on sheets of A4. `size`, `dx`, `dy` (mm) and `skip` as in media.codes.label. Needs the capability where each machine is;
    for blank tags, anywhere."""
    if size not in label.SIZES.keys() | label.SHEETS.keys():
        raise Refusal("equipment.label_size", sizes=", ".join([*label.SIZES, *label.SHEETS]))
    sheet = label.SHEETS.get(size)
    if not (abs(dx) <= label.OFFSET_MM_MAX and abs(dy) <= label.OFFSET_MM_MAX and 0 <= skip < (sheet.count if sheet else 1)):
        raise Refusal("equipment.label_place", most=label.OFFSET_MM_MAX)
    if tags and not machines:
        pages = await _blank_pages(request, tags)
    else:
        pages = await _machine_pages(request, auth, principal, machines)
    content = await asyncio.to_thread(label.pdf, pages, size, dx=dx, dy=dy, skip=skip)
    headers = {"Content-Disposition": 'inline; filename="anlu-labels.pdf"', "Cache-Control": "no-store"}
    return Response(content, media_type="application/pdf", headers=headers)


async def _blank_pages(request: Request[Any, Any, Any], tags: str) -> list[label.Label]:
    store: Store = request.app.state["store"]
    settings: Settings = request.app.state["settings"]
    asked = list(dict.fromkeys(part for part in tags.split(",") if part)) if len(tags) <= MACHINE_IDS_CHARS_MAX else []
    if not 1 <= len(asked) <= label.LABELS_MAX:
        raise Refusal("equipment.how_many_labels", most=label.LABELS_MAX)
    async with store.read() as tx:
        blank = await queries.blank_codes(TxDocs(tx), asked)
    if any(code not in blank for code in asked):
        raise Refusal("equipment.no_blank_tag")
    return [label.Label(codes.url(settings.public_origin, code), codes.typed(code), "", *BLANK) for code in asked]


async def _machine_pages(request: Request[Any, Any, Any], auth: Auth, principal: Principal, machines: str) -> list[label.Label]:
    store: Store = request.app.state["store"]
    settings: Settings = request.app.state["settings"]
    ids = list(dict.fromkeys(part for part in machines.split(",") if part)) if len(machines) <= MACHINE_IDS_CHARS_MAX else []
    if not 1 <= len(ids) <= label.LABELS_MAX:
        raise Refusal("equipment.how_many_labels", most=label.LABELS_MAX)
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
    return [
        label.Label(
            url=codes.url(settings.public_origin, tags[machine_id]),
            typed=codes.typed(tags[machine_id]),
            number=found[machine_id].number,
            zh=found[machine_id].names.zh,
            en=found[machine_id].names.en,
        )
        for machine_id in ids
    ]


class BlankTags(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A batch of blank tags. `batch`: a random id by who asks; asked again with it, the same tags come back."""

    batch: UUID
    count: int


class Made(msgspec.Struct, frozen=True):
    """The codes, in the order they were made."""

    codes: list[str]


@post("/api/equipment/tags", who="manage_equipment", status_code=201)
async def make_tags(request: Request[Any, Any, Any], principal: NamedDependency[Principal], data: JSONBody[BlankTags]) -> Made:
    """Make blank tags, 500 at most, to be printed and bound later by scanning. May be repeated."""
    if not 1 <= data.count <= label.LABELS_MAX:
        raise Refusal("equipment.how_many_labels", most=label.LABELS_MAX)
    sync: Sync = request.app.state["sync"]
    version = request.app.state["judge"].newest("tag")
    made = [codes.make(hashlib.sha256(f"{data.batch}:{n}".encode()).digest()[: codes.CODE_RANDOM_BYTES]) for n in range(data.count)]
    # The batch is random, so a code that is there already is one that this batch made before.
    said = [New(0, 0, 0, principal.person, f"tag/{codes.document_id(code)}", version, {"code": code}) for code in made]
    for verdict in await sync.say(*said):
        if verdict.state != "ok" and verdict.code != "op.exists":
            raise Refusal(verdict.code or "equipment.no_blank_tag", **(verdict.params or {}))
    return Made(made)


ROUTES = [labels, make_tags]
