"""Histories of a plant under every fault we know, beside a model that knows nothing of how the product is made. `./justw sim N` runs more."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import sim_merge
from sim_all import Simulation
from sim_mutants import MUTANTS, hunt, mend, mutate, overlay

MERGES = 10_000
WHOLE = 200
PARTS = 4
VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "sim.json").read_text("utf-8"))


def test_ten_thousand_histories_of_merging_come_out_the_same_on_server_phone_and_model():
    for first in range(0, MERGES, MERGES // PARTS):
        failures = sim_merge.failures(range(first, first + MERGES // PARTS))
        if failures:
            seed, what = failures[0]
            small = sim_merge.shrunk(sim_merge.history(seed), phone=True)
            pytest.fail(f"seed {seed}: {what}\nshortest: {json.dumps(small, ensure_ascii=False)}")


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
async def test_in_every_whole_history_nothing_is_lost_revived_or_shown_to_whom_it_is_not_for(part: int, databases: Any):
    async with Simulation(databases=databases) as simulation:
        for seed in range(part * WHOLE // PARTS, (part + 1) * WHOLE // PARTS):
            schedule = simulation.schedule(seed)
            problems = await simulation.run(schedule)
            if problems:
                small = await simulation.smallest(schedule)
                pytest.fail(f"seed {seed}: {problems[:5]}\nshortest: {json.dumps(small)}")


@pytest.mark.timeout(300)
async def test_what_the_simulation_once_found_stays_mended(databases: Any):
    async with Simulation(databases=databases) as simulation:
        for vector in VECTORS:
            for store in ("sqlite", "postgres"):
                problems = await simulation.run({"seed": 0, "store": store, **vector["schedule"]})
                assert problems == [], vector["found"]


@pytest.mark.timeout(900)
def test_twenty_of_twenty_mistakes_in_merge_and_guards_are_caught(tmp_path: Path):
    assert len({mutant.name for mutant in MUTANTS}) == 20
    overlay(tmp_path)
    survived = []
    for mutant in MUTANTS:
        mutate(tmp_path, mutant)
        caught, what = hunt(tmp_path, mutant.by)
        mend(tmp_path, mutant)
        if not caught:
            survived.append(f"{mutant.name}: {what}")
    assert survived == []


@pytest.mark.timeout(120)
async def test_a_failing_schedule_is_made_small():
    """Shrinking keeps what a failure needs: here, two steps of a schedule of many."""
    from sim_schedule import make, shrink

    schedule = make(7, "sqlite", ["wire"])
    needed = schedule["steps"][3], schedule["steps"][-2]

    async def fails(shorter: dict[str, Any]) -> bool:
        return all(step in shorter["steps"] for step in needed)

    assert (await shrink(schedule, fails))["steps"] == list(needed)
