"""Ids and tag codes of demo plants: they follow from names, so that every demo plant has the same."""

from uuid import UUID

from backend.domains.equipment import codes
from backend.kernel.ids import derived


def area_id(key: str) -> str:
    return derived(f"demo:area:{key}")


def person_id(key: str) -> str:
    """`key`: the account's name, or the number of a person without one."""
    return derived(f"demo:person:{key}")


def machine_id(number: str) -> str:
    return derived(f"demo:machine:{number}")


def route_id(key: str) -> str:
    return derived(f"demo:route:{key}")


def tag_code(number: str) -> str:
    """The code on a machine's tag."""
    return codes.make(UUID(derived(f"demo:tag:{number}")).bytes[: codes.CODE_RANDOM_BYTES])


def point_code(name: str) -> str:
    """The code on the tag of a point that is no machine."""
    return tag_code(f"point:{name}")
