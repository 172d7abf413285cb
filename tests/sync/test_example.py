"""The example client of docs/sync.md, run as its reader would: a process of its own against a real server, with nothing of ours in it."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.client import Client
from tests.e2e.harness import PASSWORD, Plant

EXAMPLE = Path(__file__).parents[2] / "docs/examples/client.py"
NOTE = "护栏松动 loose rail"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    started = Plant(tmp_path_factory.mktemp("example")).start()
    yield started
    started.stop()


def test_the_example_client_reports_a_hazard_and_shows_what_became_of_it(server: Plant, tmp_path: Path):
    # From another folder, and without ours on the path: it cannot import what it may not.
    ran = subprocess.run(
        [sys.executable, "-I", str(EXAMPLE), server.origin, "inspector", PASSWORD, NOTE],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    report, comment, close, shown = map(json.loads, ran.stdout.splitlines())
    assert (report["report"]["state"], comment["comment"]["state"]) == ("ok", "ok")
    assert close["close"]["state"] == "refused"
    assert close["close"]["code"]
    assert [line["n"] for line in (report["report"], comment["comment"], close["close"])] == [1, 2, 3]

    other = Client(server.origin).sign_in("admin")
    other.pull()
    seq, body = other.docs[shown["doc"]]
    assert (seq, body) == (shown["seq"], shown["body"])
    assert body["fields"]["note"][0] == NOTE
    assert body["fields"]["note"][2] == report["device"]
    assert body["status"] == "reported"
    (item,) = body["sets"]["comments"].values()
    assert item[0]["text"] == "说自示例 from the example"


def test_the_example_is_short_and_imports_nothing_of_the_server():
    text = EXAMPLE.read_text("utf-8")
    assert not re.search(r"^(?:from|import) (?:backend|tests|media|msgspec)", text, re.MULTILINE)
    assert len([line for line in text.splitlines() if line.strip()]) <= 150
