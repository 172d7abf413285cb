"""Who somebody is and what they may do: the one door to persons' documents for sign-in and for other domains."""

from typing import Any

import msgspec

from backend.auth.permissions import Role, Standing
from backend.flow.actor import actor
from backend.kernel.errors import Text
from backend.kernel.ids import PLANT
from backend.sync.judge import Docs, Document


async def standing(docs: Docs, person: str) -> Standing | None:
    """What this person is now, and what their roles bring where; None where there is no such document."""
    found = await docs.get(f"person/{person}")
    if found is None:
        return None
    seen = _plain(found)
    plant = await docs.get(f"plant/{PLANT}")
    areas = [_plain(area) for area in await docs.all("area")]
    table = _plain(plant).get("roles") if plant is not None else None
    return Standing(
        id=person,
        names=msgspec.convert(seen.get("names"), Text),
        active=seen["status"] == "active",
        roles=tuple(msgspec.convert(seen.get("roles") or [], list[Role])),
        caps=actor(seen, areas, table).caps,
    )


def _plain(doc: Document) -> dict[str, Any]:
    values = {name: entry[0] for name, entry in doc.body["fields"].items()}
    return {"id": doc.key.partition("/")[2], "status": doc.body["status"], **values}
