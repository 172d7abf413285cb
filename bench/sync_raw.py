"""Push of 8,000 edits and first pull of 10,000 documents over HTTP, beside what SQLite alone does with the same bytes.

Ours: the whole server in its own process, with sessions, certificates, signatures, author tokens, rules, the hash chain, shapes, and the
commit on disk before the answer (WAL, synchronous=FULL). Eight phones push 1,000 edits each, 500 a bundle, at once; one new phone pulls
everything. The raw limit: one Python process without any of that, which writes the same ops and the documents they change with the same
settings, as many to a commit, and reads the same bodies back.
"""

import concurrent.futures
import random
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from backend.sync import op
from bench import median, report
from tests.e2e.client import Client
from tests.e2e.harness import Plant

PHONES = ["worker", "inspector", "supervisor", "safety"] * 2
EDITS = 1_000
EDITED = 500
DOCUMENTS = 10_000
RUNS = 3
WORDS = ["valve", "crane", "ladle", "furnace", "pressure", "gauge", "leak", "torch", "permit", "钢包", "起重机", "煤气", "转炉"]


def text(r: random.Random, length: int) -> str:
    out = ""
    while len(out) < length:
        out += " " + r.choice(WORDS)
    return out[1 : length + 1]


def begin(client: Client, area: str, r: random.Random) -> str:
    """A hazard of about 1 KB, whose words its reporter may go on editing."""
    return client.new("hazard", 1, {"area": area, "note": text(r, 700)})


def edit(client: Client, key: str, r: random.Random) -> None:
    client.set(key, {"note": text(r, 80)})


def push(client: Client, bundles: list[tuple[bytes, str]]) -> int:
    refused = 0
    for data, signature in bundles:
        refused += sum(verdict["state"] != "ok" for verdict in client.send(data, signature))
    return refused


def push_edits(clients: list[Client], owned: list[list[str]], edits: int, r: random.Random) -> float:
    """Each of these phones pushes so many edits of its own, all at once; the seconds it took. Raises RuntimeError if one is refused."""
    for client, keys in zip(clients, owned, strict=True):
        for _ in range(edits):
            edit(client, r.choice(keys), r)
    ready = [client.bundles() for client in clients]
    with concurrent.futures.ThreadPoolExecutor(len(clients)) as pool:
        began = time.perf_counter()
        refused = sum(pool.map(push, clients, ready))
        took = time.perf_counter() - began
    if refused:
        raise RuntimeError(f"{refused} edits were refused")
    return took


def pull(reader: Client) -> int:
    """Fetch everything, unread but for the cursors: what is measured is the server. The number of documents."""
    documents, cursor, more = 0, None, True
    while more:
        answer = reader.http.post("/api/sync/pull", json={"cursor": cursor, "want": []})
        answer.raise_for_status()
        lines = answer.content.splitlines()
        documents += sum(line.startswith(b'{"doc"') for line in lines)
        last = msgspec.json.decode(lines[-1])
        cursor, more = last["cursor"], last["more"]
    return documents


def ours(folder: Path) -> dict[str, Any]:
    r = random.Random(1)
    plant = Plant(folder).start()
    try:
        clients = [Client(plant.origin).sign_in(name) for name in PHONES]
        clients[0].pull()
        area = next(iter(clients[0].of_kind("machine").values()))["area"]
        owned = [[begin(client, area, r) for _ in range(EDITED // len(PHONES))] for client in clients]
        for client in clients:
            assert push(client, client.bundles()) == 0
        pushes = [push_edits(clients, owned, EDITS, r) for _ in range(RUNS)]
        edits = [data for client in clients for data in client.said[-EDITS:]]
        filler = clients[0]
        for _ in range(DOCUMENTS - EDITED):
            begin(filler, area, r)
        assert push(filler, filler.bundles()) == 0
        pulls = []
        for _ in range(RUNS):
            reader = Client(plant.origin).sign_in("admin")
            began = time.perf_counter()
            reader.pull()
            pulls.append(time.perf_counter() - began)
            assert len(reader.docs) >= DOCUMENTS
        return {
            "push_s": pushes,
            "pull_s": pulls,
            "documents": len(reader.docs),
            "ops": edits,
        }
    finally:
        plant.stop()


def raw(folder: Path, ops: list[bytes]) -> dict[str, Any]:
    """The same ops and documents, by SQLite alone."""
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE ledger (seq INTEGER PRIMARY KEY, id BLOB UNIQUE, bytes BLOB)")
    connection.execute("CREATE TABLE document (key TEXT PRIMARY KEY, seq INTEGER, body BLOB) WITHOUT ROWID")
    read = [op.decode(data) for data in ops]
    r = random.Random(2)
    body = {"version": 1, "status": "reported", "fields": {"note": [text(r, 700), 1, 1], "grade": ["yellow", 1, 1]}, "sets": {}}
    keys = list({said.doc for said in read})
    keys += [f"hazard/{i}" for i in range(DOCUMENTS - len(keys))]
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO document VALUES (?, 0, ?)", [(key, msgspec.json.encode(body)) for key in keys])
    connection.execute("COMMIT")
    pushes, pulls, seq = [], [], 0
    for _ in range(RUNS):
        began = time.perf_counter()
        for at in range(0, len(read), op.OPS_IN_BUNDLE_MAX):
            part = read[at : at + op.OPS_IN_BUNDLE_MAX]
            connection.execute("BEGIN IMMEDIATE")
            wanted = list({said.doc for said in part})
            marks = ",".join("?" * len(wanted))
            held = {
                key: msgspec.json.decode(found)
                for key, found in connection.execute(f"SELECT key, body FROM document WHERE key IN ({marks})", wanted)
            }
            rows = []
            for said, data in zip(part, ops[at : at + op.OPS_IN_BUNDLE_MAX], strict=True):
                seq += 1
                rows.append((seq, seq.to_bytes(8, "big") + op.op_id(data).encode(), data))
                assert isinstance(said, op.Set)
                for name, value in said.fields.items():
                    held[said.doc]["fields"][name] = [value, said.hlc, said.device]
            connection.executemany("INSERT INTO ledger VALUES (?, ?, ?)", rows)
            changed = [(seq, msgspec.json.encode(found), key) for key, found in held.items()]
            connection.executemany("UPDATE document SET seq = ?, body = ? WHERE key = ?", changed)
            connection.execute("COMMIT")
        pushes.append(time.perf_counter() - began)
    for _ in range(RUNS):
        began = time.perf_counter()
        joined = b"\n".join(found for (found,) in connection.execute("SELECT body FROM document ORDER BY key"))
        pulls.append(time.perf_counter() - began)
    assert len(joined) > DOCUMENTS
    connection.close()
    return {"push_s": pushes, "pull_s": pulls}


def main() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        served = ours(Path(folder) / "plant")
        alone = raw(Path(folder), served.pop("ops"))
    edits = EDITS * len(PHONES)
    rates = {
        "push_ops_per_s": round(edits / (median([1000 * s for s in served["push_s"]]) / 1000)),
        "raw_push_ops_per_s": round(edits / (median([1000 * s for s in alone["push_s"]]) / 1000)),
        "pull_documents_per_s": round(served["documents"] / (median([1000 * s for s in served["pull_s"]]) / 1000)),
        "raw_pull_documents_per_s": round(DOCUMENTS / (median([1000 * s for s in alone["pull_s"]]) / 1000)),
    }
    for name, rate in rates.items():
        print(f"{name:26} {rate:10,}")
    ratios = {
        "push_of_raw": round(rates["push_ops_per_s"] / rates["raw_push_ops_per_s"], 3),
        "pull_of_raw": round(rates["pull_documents_per_s"] / rates["raw_pull_documents_per_s"], 3),
    }
    return report("sync_raw", True, **rates, **ratios, edits=edits, documents=served["documents"])


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
