"""Looks for something wrong in the product beside it, until it finds it: `merge`, `twin`, `whole`, `app`. Exit 3: found. Run by sim_mutants."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import sim_merge
from sim_all import Simulation
from sim_mutants import MERGES, WHOLE_MAX
from sim_schedule import make

APP_MAX = 12
FOUND = 3


async def hunt(by: str) -> str:
    """What was wrong first; nothing, where all went well."""
    if by in ("merge", "twin"):
        return next((f"seed {seed}: {what}" for seed, what in sim_merge.failures(range(MERGES), phone=by == "twin")), "")
    async with Simulation(postgres=False, app=by == "app") as simulation:
        for seed in range(APP_MAX if by == "app" else WHOLE_MAX):
            schedule = make(seed, "sqlite", ["app"] if by == "app" else ["wire"])
            problems = await simulation.run(schedule)
            if problems:
                return f"seed {seed}: {problems[0]}"
    return ""


if __name__ == "__main__":
    said = asyncio.run(hunt(sys.argv[1]))
    print(said[:1000])
    sys.exit(FOUND if said else 0)
