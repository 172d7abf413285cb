"""Which Anlu this is."""

from importlib.metadata import PackageNotFoundError, version

UNINSTALLED = "0.1.0"
"""Run from its folder, Anlu is not an installed distribution."""


def program() -> str:
    """The version, as health, the API's description and backups name it."""
    try:
        return version("anlu")
    except PackageNotFoundError:
        return UNINSTALLED
