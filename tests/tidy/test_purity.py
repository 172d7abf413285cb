"""Pure files take time, ids and chance as arguments. import-linter sees imports; this sees calls."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PURE = [
    ROOT / "backend/sync/hlc.py",
    ROOT / "backend/sync/op.py",
    ROOT / "backend/sync/merge.py",
    ROOT / "backend/flow/form.py",
    ROOT / "backend/flow/machine.py",
    ROOT / "backend/flow/actor.py",
    ROOT / "backend/flow/calendar.py",
    *ROOT.glob("backend/domains/*/rules.py"),
]
IMPURE_CALLS = {
    "now",
    "utcnow",
    "today",
    "time",
    "time_ns",
    "monotonic",
    "perf_counter",
    "uuid1",
    "uuid4",
    "urandom",
    "token_bytes",
    "token_hex",
    "open",
}
IMPURE_MODULES = {"time", "random", "secrets", "asyncio", "os", "pathlib", "sqlite3"}


@pytest.mark.parametrize("path", PURE, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_pure_file_asks_no_clock_no_chance_and_no_disk(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in IMPURE_CALLS:
                found.append(f"line {node.lineno}: {name}()")
        if isinstance(node, ast.Import):
            found += [f"line {node.lineno}: import {a.name}" for a in node.names if a.name.split(".")[0] in IMPURE_MODULES]
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in IMPURE_MODULES:
            found.append(f"line {node.lineno}: from {node.module}")
    assert not found, found


def test_the_pure_files_are_there() -> None:
    assert [p for p in PURE if not p.exists()] == []
