"""kill -9 of the server at every write of a push."""

import json
import subprocess
import sys
from pathlib import Path


def test_a_server_killed_at_any_write_of_a_push_loses_nothing_and_doubles_nothing(tmp_path: Path):
    script = Path(__file__).with_name("killed_push.py")
    done = subprocess.run([sys.executable, str(script), str(tmp_path / "rounds")], capture_output=True, timeout=280, text=True)
    assert done.returncode == 0, done.stderr
    undisturbed, *rounds = map(json.loads, done.stdout.splitlines())
    assert len(rounds) > 30, "a start and a push write more often than that"
    due = undisturbed["result"]
    assert due["ops"].keys() >= set(undisturbed["sent"])
    for one in rounds:
        result = one["result"]
        where = f"killed at write {one['nth']}"
        assert result["verify"] == "", where
        assert result["rebuild"] == [], where
        assert set(result["ops"].values()) == {1}, where
        assert result["ops"].keys() >= set(undisturbed["sent"]), where
        assert result["documents"] == due["documents"], where
        assert [[v[:2] + v[3:] for v in answer] for answer in result["verdicts"]] == [
            [v[:2] + v[3:] for v in answer] for answer in due["verdicts"]
        ], where
        assert (result["epoch"], result["sealed"]) == (due["epoch"], due["sealed"]), where
