"""Ids: what a phone makes (UUIDv7) and what follows from something else (UUIDv5). Twin of pwa/src/sync/ids.ts.

Time and chance are arguments: `uuid7(ms, random)`.
"""

from uuid import NAMESPACE_URL, UUID, uuid5

NAMESPACE = uuid5(NAMESPACE_URL, "urn:anlu:derived")
"""The one fixed namespace of every derived id. Never change it: phones derive the same ids offline."""

SERVER_AUTHOR = "00000000-0000-0000-0000-000000000000"
"""The author of ops that the server's own device writes (spawned documents, deadlines, kinds)."""


def derived(name: str) -> str:
    """The UUIDv5 of a name in our namespace."""
    return str(uuid5(NAMESPACE, name))


def spawned(op_id: str, name: str) -> str:
    """The id of what an op brings about: the same on phone and server."""
    return derived(f"{op_id}:{name}")


def kind_document(name: str, version: int) -> str:
    """The id of the document that holds a version of a kind."""
    return derived(f"kind:{name}@{version}")


PLANT = derived("plant")
"""The id of the one plant document."""

CALENDAR = derived("calendar")
"""The id of the one calendar document."""


def uuid7(ms: int, random: bytes) -> str:
    """A UUIDv7 (RFC 9562) from Unix milliseconds and 10 random bytes."""
    value = bytearray(ms.to_bytes(6, "big") + random[:10])
    value[6] = (value[6] & 0x0F) | 0x70
    value[8] = (value[8] & 0x3F) | 0x80
    return str(UUID(bytes=bytes(value)))
