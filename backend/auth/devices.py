"""Devices: one installed app each, a random 48-bit number that is never given again, and a P-256 key whose private half stays on the
phone."""

import secrets
from typing import Annotated, Any

import msgspec

from backend.auth.p256 import signed, thumbprint
from backend.kernel.errors import Refusal

NUMBER_BITS = 48
FIND = "SELECT * FROM device WHERE number = $1"
SEEN = "UPDATE device SET seen_at = $2 WHERE number = $1"
"""The device was heard of at this time."""
LABEL_CHARS_MAX = 80
PREDECESSORS_MAX = 64


class Proof(msgspec.Struct, forbid_unknown_fields=True):
    """That the sender holds the key of device `number`: its signature over `anlu-device:` + number + `:` + nonce."""

    number: Annotated[int, msgspec.Meta(ge=1, lt=2**NUMBER_BITS)]
    nonce: str
    proof: str


class Device(msgspec.Struct):
    """A device as the server knows it. Times are Unix ms; `public_key` is base64 SPKI, None for the server's own device.

    `held`, `unsent`, `photos` and `oldest_at` are what the phone last said (`reported_at`) of its queue: ops it keeps, those of them not
    yet acknowledged, photos not yet sent, and the time of the oldest of these.
    """

    number: int
    public_key: str | None
    person: str | None
    label: str
    predecessor: int | None
    registered_at: int
    retired_at: int | None = None
    retired_by: str | None = None
    held: int | None = None
    unsent: int | None = None
    photos: int | None = None
    oldest_at: int | None = None
    reported_at: int | None = None
    seen_at: int | None = None


async def register(tx: Any, spki: str | None, predecessor: int | None, person: str | None, *, label: str = "", now: int = 0) -> int:
    """Give a new device its number. `spki` is base64; None only for the server's own device. Raises Refusal `auth.key`."""
    if spki is not None:
        try:
            thumbprint(spki)
        except ValueError:
            raise Refusal("auth.key") from None
    while True:
        number = secrets.randbits(NUMBER_BITS)
        if number and await find(tx, number) is None:
            break
    await tx.run(
        "INSERT INTO device (number, public_key, person, label, predecessor, registered_at) VALUES ($1, $2, $3, $4, $5, $6)",
        number,
        spki,
        person,
        label[:LABEL_CHARS_MAX],
        predecessor,
        now,
    )
    return number


async def remember(tx: Any, number: int, spki: str, predecessors: tuple[int, ...], *, now: int) -> None:
    """Take in a device that only its certificate tells of: the server was restored from before its registration."""
    predecessor = predecessors[0] if predecessors else None
    await tx.run(
        "INSERT INTO device (number, public_key, person, label, predecessor, registered_at) VALUES ($1, $2, NULL, '', $3, $4)"
        " ON CONFLICT (number) DO NOTHING",
        number,
        spki,
        predecessor,
        now,
    )


async def find(tx: Any, number: int) -> Device | None:
    """The device with this number."""
    row = await tx.one(FIND, number)
    return None if row is None else device(row)


async def key_of(tx: Any, number: int) -> str | None:
    """The public key (base64 SPKI) of a device; None for an unknown one and for the server's own."""
    row = await tx.one("SELECT public_key FROM device WHERE number = $1", number)
    return None if row is None else row["public_key"]


async def predecessors(tx: Any, number: int) -> tuple[int, ...]:
    """The numbers that this phone had before, newest first."""
    found: list[int] = []
    device = await find(tx, number)
    while device is not None and device.predecessor is not None and device.predecessor not in found and len(found) < PREDECESSORS_MAX:
        found.append(device.predecessor)
        device = await find(tx, device.predecessor)
    return tuple(found)


def proven(device: Device, proof: Proof) -> bool:
    """Whether the proof's signature is by this device's key over its number and nonce. The nonce itself is judged by `nonces`."""
    if device.public_key is None or proof.number != device.number:
        return False
    return signed(device.public_key, f"anlu-device:{proof.number}:{proof.nonce}".encode(), proof.proof)


async def report(tx: Any, number: int, *, held: int, unsent: int, photos: int | None, oldest_at: int | None, now: int) -> None:
    """Keep what a phone says of its own queue, for the day it is lost."""
    await tx.run(
        "UPDATE device SET held = $2, unsent = $3, photos = $4, oldest_at = $5, reported_at = $6, seen_at = $6 WHERE number = $1",
        number,
        held,
        unsent,
        photos,
        oldest_at,
        now,
    )


async def retire(tx: Any, number: int, by: str, now: int) -> None:
    """End a device: its sessions close at once. What it still sends is kept aside until a supervisor decides (sync, `device.revoked`)."""
    await tx.run("UPDATE device SET retired_at = $2, retired_by = $3 WHERE number = $1 AND retired_at IS NULL", number, now, by)
    await tx.run("UPDATE session SET ended_at = $2 WHERE device = $1 AND ended_at IS NULL", number, now)


async def every(tx: Any) -> list[Device]:
    """All devices but the server's own, the last heard of first."""
    rows = await tx.all("SELECT * FROM device WHERE public_key IS NOT NULL ORDER BY COALESCE(seen_at, registered_at) DESC, number")
    return [device(row) for row in rows]


def device(row: Any) -> Device:
    """A row of `FIND`."""
    return Device(**{name: row[name] for name in Device.__struct_fields__})
