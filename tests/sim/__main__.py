"""`./justw sim N`: N whole histories of a simulated plant. A failure prints its seed and the shortest schedule that still fails.

./justw sim 200            the seeds 0 … 199
./justw sim 20 --from 500  the seeds 500 … 519
./justw sim --seed 172     one, with what was wrong in full
"""

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from sim_all import Simulation

SAY_EVERY = 100


async def main() -> int:
    parser = argparse.ArgumentParser(prog="sim", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("histories", type=int, nargs="?", default=200)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--no-shrink", action="store_true")
    given = parser.parse_args()
    seeds = range(given.first, given.first + given.histories) if given.seed is None else range(given.seed, given.seed + 1)
    began, failed = time.monotonic(), []
    async with Simulation() as simulation:
        for n, seed in enumerate(seeds, 1):
            schedule = simulation.schedule(seed)
            problems = await simulation.run(schedule)
            if problems:
                failed.append(seed)
                print(f"seed {seed} on {schedule['store']}:", *problems[:8], sep="\n    ", flush=True)
                if not given.no_shrink:
                    small = await simulation.smallest(schedule)
                    print(f"  shortest, {len(small['steps'])} steps of {len(schedule['steps'])}: {json.dumps(small)}", flush=True)
            if n % SAY_EVERY == 0 or n == len(seeds):
                print(f"{n} histories, {len(failed)} failed, {time.monotonic() - began:.0f} s", flush=True)
        print(", ".join(f"{what} {count}" for what, count in simulation.counted.items()))
    print(f"failed seeds: {failed}" if failed else "every promise held")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
