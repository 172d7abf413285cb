"""Our part of `./justw bench sync` keeps running: the same work, small, without the peers."""

import sys
from pathlib import Path

import pytest

from bench import sync

DOCUMENTS = 60
EDITS = 40


def test_the_benchmark_walks_our_server_through_the_whole_work_and_its_ledger_verifies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DOCUMENTS", str(DOCUMENTS))
    monkeypatch.setenv("BENCH_EDITS", str(EDITS))
    found = sync.once(sync.HERE, "anlu", Path(sys.executable).with_name("node"))
    assert all(sync.value(found, path) >= 0 for path in sync.COLUMNS.values())
    # Eight phones' edits, five times a hundred for who was away, and what was there before.
    assert found["edits_kept"] == DOCUMENTS + 8 * EDITS + 5 * 100
    assert found["raw"]["edits"] == 8 * EDITS + 5 * 100
    assert found["ledger"] > found["edits_kept"]
    assert "nothing in the ledger was changed" in found["verify"]
    assert "the documents are what the ledger gives" in found["verify"]


def test_a_share_is_met_from_below_and_a_speed_from_above() -> None:
    assert sync.met("push_times_faster", 5.0)
    assert not sync.met("push_times_faster", 4.99)
    assert sync.met("memory_share", 0.5)
    assert not sync.met("memory_share", 0.51)
