"""The figures of the README, one file each. `./justw bench` runs all, `./justw bench scan` one.

Each prints what it measures as it goes, and last a line of JSON: `{"bench", "ok", …figures with their unit last…, "goal…"}`.
`ok` says whether the goal is met.
"""

import json
import statistics
from typing import Any


def report(bench: str, ok: bool, **figures: Any) -> bool:
    """Print the line of JSON that ends a benchmark; gives `ok` back."""
    print(json.dumps({"bench": bench, "ok": ok, **figures}, ensure_ascii=False), flush=True)
    return ok


def median(values: list[float]) -> float:
    return round(statistics.median(values), 1)
