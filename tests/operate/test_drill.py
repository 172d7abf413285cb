"""The drill of `just drill`, kept short."""

from pathlib import Path

import pytest

from tests.e2e.harness import Plant
from tests.operate.drill import drill


@pytest.mark.parametrize("keys_lost", [False, True], ids=["keys on another disk", "keys lost too"])
def test_an_hour_after_the_backup_is_brought_back_by_the_phones_and_no_start_is_revived(tmp_path: Path, keys_lost: bool):
    plant = Plant(tmp_path / "plant", ANLU_KEYS=str(tmp_path / "keys")).start()
    try:
        found = drill(plant, tmp_path / "backup", phones=7, ops=4, keys_lost=keys_lost, seed=7, tell=lambda _: None)
    finally:
        plant.stop()
    assert found.ok, found.text()
    assert found.brought_back > 20
