"""Schedules: what happens to a simulated plant, as data. Every step carries its own seed, so that one may be left out and the others stay
what they are; that is how a schedule that fails is made small."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

Step = list[Any]
Schedule = dict[str, Any]
"""`{"seed", "store", "phones": [sort of each], "steps": [[what, …], …]}`."""

PHONES_MIN, PHONES_MAX = 3, 8
STEPS_MIN, STEPS_MAX = 30, 80

WEIGHTS = {
    "say": 40,
    "sync": 14,
    "push": 6,
    "pull": 4,
    "together": 5,
    "time": 6,
    "race": 2,
    "clock": 2,
    "switch": 2,
    "keep": 2,
    "roll_back": 1.2,
    "clone": 0.6,
    "reopen": 1.5,
    "evict": 0.5,
    "clear_cache": 0.7,
    "lose": 0.5,
    "revoke": 0.8,
    "let_in": 0.8,
    "retire": 0.3,
    "roles": 1.2,
    "leave": 0.6,
    "decide": 2,
    "crash": 2,
    "full": 1.5,
    "restart": 1,
    "back_up": 0.8,
    "restore": 0.6,
    "carry": 1.5,
    "server_clock": 0.4,
    "new_version": 0.5,
    "retire_version": 0.3,
    "malformed": 0.7,
    "stranger": 0.5,
}
FAULTS = ["", "", "drop", "torn", "lose", "cut", "twice"]


def make(seed: int, store: str, sorts: list[str]) -> Schedule:
    """The schedule of a seed. `sorts`: what phones there are to choose from."""
    random = Random(f"plant {seed}")
    phones = [random.choice(sorts) for _ in range(random.randint(PHONES_MIN, PHONES_MAX))]
    names, weights = list(WEIGHTS), list(WEIGHTS.values())
    steps: list[Step] = []
    for _ in range(random.randint(STEPS_MIN, STEPS_MAX)):
        what = random.choices(names, weights)[0]
        steps.append([what, random.randrange(len(phones)), random.randrange(1 << 30)])
    return {"seed": seed, "store": store, "phones": phones, "steps": steps}


def fault_plan(random: Random) -> dict[int, str]:
    """What happens to which of the next requests of a phone."""
    return {n: what for n in range(6) if (what := random.choice(FAULTS)) and random.random() < 0.35}


async def shrink(schedule: Schedule, fails: Callable[[Schedule], Awaitable[bool]], tries_max: int = 200) -> Schedule:
    """The same failure with fewer steps: pieces are left out as long as it still fails."""
    steps, tries = schedule["steps"], 0
    size = max(len(steps) // 2, 1)
    while size and tries < tries_max:
        at, shorter = 0, False
        while at < len(steps) and tries < tries_max:
            tries += 1
            fewer = steps[:at] + steps[at + size :]
            if await fails({**schedule, "steps": fewer}):
                steps, shorter = fewer, True
            else:
                at += size
        size = size if shorter and size > 1 else size // 2
    return {**schedule, "steps": steps}
