"""Who somebody is and what they may do: the one door to persons' documents for sign-in and for other domains."""

import msgspec

from backend.auth.permissions import Role, Standing
from backend.flow.judge import FlowJudge
from backend.kernel.errors import Text
from backend.sync.judge import Docs


async def standing(docs: Docs, judge: FlowJudge, person: str) -> Standing | None:
    """What this person is now, and what their roles bring where; None where there is no such document."""
    found = await docs.get(f"person/{person}")
    if found is None:
        return None
    values = {name: entry[0] for name, entry in found.body["fields"].items()}
    return Standing(
        id=person,
        names=msgspec.convert(values.get("names"), Text),
        active=found.body["status"] == "active",
        roles=tuple(msgspec.convert(values.get("roles") or [], list[Role])),
        caps=(await judge.actor(docs, person)).caps,
    )
