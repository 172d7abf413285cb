"""The server's wall clock. Pure code takes times as arguments; only the edges ask here, so a test can move time."""

import time
from collections.abc import Callable

Clock = Callable[[], int]
"""Gives Unix milliseconds, UTC."""


def wall_clock() -> int:
    """Unix milliseconds now."""
    return time.time_ns() // 1_000_000
