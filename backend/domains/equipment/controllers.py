"""Blank tags, and labels to print and stick. Everything else about machines goes by ops."""

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
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
from backend.sync.op import Act, New
from backend.sync.shapes import TxDocs
from backend.sync.taking import Verdict
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
    settings: Settings = request.app.state["settings"]
    asked = machines.split(",") if len(machines) <= MACHINE_IDS_CHARS_MAX else []
    found, tags = await _machines(request, auth, principal, asked)
    ids = list(found)
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


async def _machines(
    request: Request[Any, Any, Any], auth: Auth, principal: Principal, asked: Sequence[str]
) -> tuple[dict[str, queries.Machine], dict[str, str]]:
    """The machines with these ids in the order asked for, and the codes of those that have a tag. Refused where there are none or too many,
    or where one is not there or not for this person to manage."""
    store: Store = request.app.state["store"]
    ids = list(dict.fromkeys(part for part in asked if part))
    if not 1 <= len(ids) <= label.LABELS_MAX:
        raise Refusal("equipment.how_many_labels", most=label.LABELS_MAX)
    standing = await auth.standing(principal.person)
    async with store.read() as tx:
        docs = TxDocs(tx)
        found = await queries.machines(docs, ids)
        tags = await queries.codes_of(docs, ids)
    if any(machine_id not in found or not standing.has("manage_equipment", found[machine_id].area) for machine_id in ids):
        raise Refusal("equipment.no_machine")
    return {machine_id: found[machine_id] for machine_id in ids}, tags


class Tags(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A batch of tags: `count` blank ones, or one for each of `machines` (ids) that has none yet. `batch`: a random id by who asks; asked
    again with it, the same tags come back."""

    batch: UUID
    count: int = 0
    machines: list[str] = []


class Made(msgspec.Struct, frozen=True):
    """The codes, in the order they were made."""

    codes: list[str]


@post("/api/equipment/tags", who="manage_equipment", status_code=201)
async def make_tags(
    request: Request[Any, Any, Any], auth: NamedDependency[Auth], principal: NamedDependency[Principal], data: JSONBody[Tags]
) -> Made:
    """Make tags, 500 at most: blank ones, to be printed and bound later by scanning, or one for each of `machines` that has none, bound
    to it already and printed with its name. Needs the capability where each machine is. May be repeated."""
    if data.machines:
        found, tags = await _machines(request, auth, principal, data.machines)
        new = {machine_id: _code(data.batch, machine_id) for machine_id in found if machine_id not in tags}
        await _make(request, principal, new.values())
        claims = [Act(0, 0, 0, principal.person, _key(code), "claim", {"machine": machine_id}, 0) for machine_id, code in new.items()]
        _taken(await request.app.state["sync"].say(*claims))
        return Made([(tags | new)[machine_id] for machine_id in found])
    if not 1 <= data.count <= label.LABELS_MAX:
        raise Refusal("equipment.how_many_labels", most=label.LABELS_MAX)
    made = [_code(data.batch, str(n)) for n in range(data.count)]
    await _make(request, principal, made)
    return Made(made)


async def _make(request: Request[Any, Any, Any], principal: Principal, made: Iterable[str]) -> None:
    version = request.app.state["judge"].newest("tag")
    _taken(await request.app.state["sync"].say(*(New(0, 0, 0, principal.person, _key(code), version, {"code": code}) for code in made)))


def _taken(verdicts: Iterable[Verdict]) -> None:
    for verdict in verdicts:
        # The batch is random, so a code that is there already is one that this batch made before.
        if verdict.state != "ok" and verdict.code != "op.exists":
            raise Refusal(verdict.code or "equipment.no_blank_tag", **(verdict.params or {}))


def _code(batch: UUID, which: str) -> str:
    return codes.make(hashlib.sha256(f"{batch}:{which}".encode()).digest()[: codes.CODE_RANDOM_BYTES])


def _key(code: str) -> str:
    return f"tag/{codes.document_id(code)}"


ROUTES = [labels, make_tags]
