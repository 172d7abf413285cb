"""What the tests need to know of the demo plant, asked of the plant itself."""

import functools

import msgspec

from tests.e2e.client import Client
from tests.e2e.harness import Plant

CRANE = "overhead_crane"


class Crane(msgspec.Struct, frozen=True):
    """A machine that is checked by the ladle crane's list, and the code on its tag."""

    id: str
    number: str
    code: str
    area: str


@functools.cache
def known(origin: str, username: str) -> Client:
    """Somebody's view of the plant, pulled once."""
    client = Client(origin).sign_in(username)
    client.pull()
    return client


def cranes(plant: Plant) -> list[Crane]:
    """The cranes with a bound tag that worker, inspector and supervisor all hold, by number."""
    tags = {str(tag["machine"]): tag["code"] for tag in known(plant.origin, "admin").of_kind("tag").values() if tag["status"] == "bound"}
    held = [known(plant.origin, name).of_kind("machine") for name in ("worker", "inspector", "supervisor")]
    found = [
        Crane(one, machine["number"], tags[one], machine["area"])
        for one, machine in held[0].items()
        if machine["type"] == CRANE and one in tags and all(one in others for others in held)
    ]
    return sorted(found, key=lambda crane: crane.number)


def label_of(plant: Plant, crane: Crane | None = None) -> tuple[Crane, bytes]:
    """A crane and its printed label, the PDF that the office prints."""
    crane = crane or cranes(plant)[0]
    answer = known(plant.origin, "admin").http.get("/api/equipment/labels.pdf", params={"machines": crane.id})
    answer.raise_for_status()
    return crane, answer.content
