"""Machines and their tags, for other domains."""

from collections.abc import Iterable

import msgspec

from backend.domains.equipment.codes import TYPED_CHARS_MAX, parse
from backend.kernel.errors import Text
from backend.sync.judge import Docs, Document

TAG_TEXT_CHARS_MAX = TYPED_CHARS_MAX
"""What may be typed or scanned as a tag: a code, or the address on the label."""


def tag_code(text: str) -> str | None:
    """The 8 characters of a tag code out of what was typed or scanned; None where there is none in it."""
    return parse(text)


class Machine(msgspec.Struct, frozen=True):
    """A machine of the register. `number` is the plant's own; `area` its area's id."""

    id: str
    number: str
    names: Text
    type: str
    area: str
    status: str


async def machines(docs: Docs, ids: Iterable[str]) -> dict[str, Machine]:
    """The machines with these ids, those that there are."""
    found = await docs.get_many([f"machine/{machine_id}" for machine_id in ids])
    return {machine.id: machine for machine in map(_machine, found.values())}


async def machine_by_code(docs: Docs, code: str) -> Machine | None:
    """The machine that the tag with this code (8 characters) is bound to; None where there is no such tag, or it is blank or void."""
    for tag in await docs.all("tag"):
        if tag.body["status"] == "bound" and _field(tag, "code") == code:
            return (await machines(docs, [_field(tag, "machine")])).get(_field(tag, "machine"))
    return None


async def blank_codes(docs: Docs, codes: Iterable[str]) -> set[str]:
    """Those of these codes whose tags are blank."""
    wanted = set(codes)
    return {code for tag in await docs.all("tag") if tag.body["status"] == "blank" and (code := _field(tag, "code")) in wanted}


async def codes_of(docs: Docs, ids: Iterable[str]) -> dict[str, str]:
    """The code of each machine's tag, by machine id; of several bound tags the one begun last. A machine without a bound tag is not in
    it."""
    wanted = set(ids)
    bound = [tag for tag in await docs.all("tag") if tag.body["status"] == "bound" and _field(tag, "machine") in wanted]
    return {_field(tag, "machine"): _field(tag, "code") for tag in sorted(bound, key=lambda tag: (tag.created_at, tag.key))}


def _machine(document: Document) -> Machine:
    return Machine(
        id=document.key.partition("/")[2],
        number=_field(document, "number"),
        names=msgspec.convert(document.body["fields"]["names"][0], Text),
        type=_field(document, "type"),
        area=_field(document, "area"),
        status=document.body["status"],
    )


def _field(document: Document, name: str) -> str:
    entry = document.body["fields"].get(name)
    return "" if entry is None or entry[0] is None else str(entry[0])
