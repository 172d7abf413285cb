"""What a person may do where. Pure. Twin of pwa/src/flow/actor.ts.

A person holds roles, each on an area with all that lies under it, or on the whole plant (`area` null). The plant's role table says which
capabilities a role brings. So a capability is held on a set of areas, or everywhere (`*`).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from backend.kernel.ids import SERVER_AUTHOR


class Actor(msgspec.Struct):
    """Whoever speaks. `caps`: capability → `["*"]` or area ids, descendants included."""

    id: str
    roles: list[str] = []
    caps: dict[str, list[str]] = {}
    areas: list[str] = []
    """Every area in which the person holds any role; `["*"]` for the whole plant."""
    server: bool = False

    def has(self, cap: str, area: str | None = None) -> bool:
        """Whether the capability is held on this area; on the whole plant where `area` is None."""
        held = self.caps.get(cap, [])
        return self.server or "*" in held or (area is not None and area in held)

    def anywhere(self, cap: str) -> bool:
        """Whether the capability is held on any area at all."""
        return self.server or bool(self.caps.get(cap))


SERVER = Actor(SERVER_AUTHOR, server=True)
"""The server's own device: it has everything."""


def nobody(person: str) -> Actor:
    """Somebody without any right: unknown, or not active."""
    return Actor(person)


def actor(person: Mapping[str, Any] | None, areas: Iterable[Mapping[str, Any]], roles: Mapping[str, Iterable[str]] | None) -> Actor:
    """What this person may do. `person` and `areas` are views; `roles` is the plant's table, role → capabilities."""
    if person is None:
        return nobody("")
    if person["status"] != "active":
        return nobody(person["id"])
    under = descendants(areas)
    held: dict[str, set[str]] = {}
    everywhere: set[str] = set()
    for entry in person.get("roles") or []:
        area = entry.get("area")
        everywhere |= {"*"} if area is None else under.get(area, {area})
        for cap in (roles or {}).get(entry["role"], ()):
            held.setdefault(cap, set()).update({"*"} if area is None else under.get(area, {area}))
    return Actor(
        id=person["id"],
        roles=sorted({entry["role"] for entry in person.get("roles") or []}),
        caps={cap: _short(on) for cap, on in sorted(held.items())},
        areas=_short(everywhere),
    )


def descendants(areas: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    """Area → itself and all that lies under it. A circle among parents ends where it closes."""
    parents = {area["id"]: area.get("parent") for area in areas}
    under: dict[str, set[str]] = {area: {area} for area in parents}
    for area in parents:
        seen = {area}
        above = parents[area]
        while above is not None and above not in seen:
            seen.add(above)
            under.setdefault(above, {above}).add(area)
            above = parents.get(above)
    return under


def _short(areas: set[str]) -> list[str]:
    return ["*"] if "*" in areas else sorted(areas)
