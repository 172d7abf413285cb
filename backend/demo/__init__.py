"""Demo plants: people, machines and tags that everybody may try, and for the large one a past that never was.

    data/       what stands in them: names, areas, machines, routes, and the words of what is found
    ids         ids and tag codes, which follow from names: every demo plant has the same
    plant       the data, read
    register    what the server's own device says to begin a plant
    begin       the first start: the register, the accounts, and what the screen says
    history     thirty days of checks, hazards and rounds, worked out
    past        laying them into the ledger, once the server answers
    pictures    their photos, drawn; siteplan: the plant's plan
    shots       what passes between those that lay and those that draw

Everything is said by ops of the server's own device, so it is in the ledger like anything else. The password is printed and the tag
codes can be guessed: never for a plant.
"""

from backend.demo.begin import NOT_EMPTY, PASSWORD, labels, seed, state, welcome
from backend.demo.ids import area_id, machine_id, person_id, point_code, route_id, tag_code
from backend.demo.past import Past
from backend.demo.plant import Plant, large, small
from backend.demo.register import ops

__all__ = [
    "AREAS",
    "MACHINES",
    "NOT_EMPTY",
    "PASSWORD",
    "PEOPLE",
    "Past",
    "Plant",
    "area_id",
    "labels",
    "large",
    "machine_id",
    "ops",
    "person_id",
    "point_code",
    "route_id",
    "seed",
    "sized",
    "small",
    "state",
    "tag_code",
    "welcome",
]

AREAS, MACHINES, PEOPLE = small().areas, small().machines, small().people
"""Of the small plant."""


def sized(size: str) -> Plant:
    """The plant of this size: large or small."""
    return large() if size == "large" else small()
