"""What the tests need to know of the demo plant, asked of the plant itself as its administrator."""

import functools

import msgspec

from tests.e2e.client import Client
from tests.e2e.harness import Plant

CRANE_TYPES = ("overhead_crane", "casting_crane", "gantry_crane")


class Crane(msgspec.Struct, frozen=True):
    """A machine that is checked by the ladle crane's list, and the code on its tag."""

    id: str
    number: str
    code: str
    area: str


@functools.cache
def admin(origin: str) -> Client:
    return Client(origin).sign_in("admin")


def cranes(plant: Plant) -> list[Crane]:
    """All cranes with a bound tag, by number."""
    client = admin(plant.origin)
    client.pull()
    machines = client.of_kind("machine")
    found = []
    for tag in client.of_kind("tag").values():
        machine = machines.get(str(tag.get("machine")))
        if tag["status"] == "bound" and machine and machine["type"] in CRANE_TYPES:
            found.append(Crane(tag["machine"], machine["number"], tag["code"], machine["area"]))
    return sorted(found, key=lambda crane: crane.number)


def label_of(plant: Plant, crane: Crane | None = None) -> tuple[Crane, bytes]:
    """A crane and its printed label, the PDF that the office prints."""
    crane = crane or cranes(plant)[0]
    answer = admin(plant.origin).http.get("/api/equipment/labels", params={"tags": crane.code})
    answer.raise_for_status()
    return crane, answer.content
