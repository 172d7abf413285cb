"""A server killed anywhere in an import has taken in nothing of it, or all of it."""

import json
import subprocess
import sys
from pathlib import Path


def test_an_import_that_is_killed_leaves_nothing_or_everything_and_says_which(tmp_path: Path) -> None:
    script = Path(__file__).with_name("killed_import.py")
    done = subprocess.run([sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-4_000:]
    rounds = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [one["killed"] for one in rounds].count(True) >= 3
    whole = next(one for one in rounds if not one["killed"])
    assert (whole["state"], whole["machines"], whole["unchanged"]) == ("done", 320, 300)
    for one in rounds:
        assert one["verify"] == ""
        if one["state"] == "done":
            assert (one["machines"], one["created"], one["unchanged"]) == (320, 0, 300), one
        else:
            assert (one["state"], one["code"]) == ("failed", "import.cut_off"), one
            assert (one["machines"], one["ops"], one["created"], one["unchanged"]) == (20, 0, 300, 0), one
