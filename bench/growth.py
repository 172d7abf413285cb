"""What grows with the plant and what does not: 10,000, 100,000 and 1,000,000 documents, then 10, 100 and 500 listening phones.

At each size: 2,000 edits pushed by eight phones, a phone that catches up on 100 edits, the time from a push to another phone's poke, the
first pull of a person who may see one document in a hundred, and the server's memory. What is stated is the last size over the first: 1 is
flat. `ANLU_BENCH_DOCUMENTS=10000,100000` takes other sizes.
"""

import asyncio
import concurrent.futures
import os
import random
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil

from bench import median, report
from bench.sync_raw import PHONES, begin, edit, push, push_edits
from tests.e2e.client import Client
from tests.e2e.harness import Plant

SIZES = [int(size) for size in os.environ.get("ANLU_BENCH_DOCUMENTS", "10000,100000,1000000").split(",")]
LISTENING = [10, 100, 500]
SEEN_OF = 100
"""One document in so many lies in the one area that the worker sees."""
EDITS = 250
BEHIND = 100
TRIES = 7
FLAT_MAX = 1.5
"""What a push, a delta and a poke may cost at the last size, of what they cost at the first; a log of the documents is in each index."""
FILL_AT_ONCE = 20_000
HEARD_SECONDS_MAX = 60


class Reader(Client):
    """Pulls, and counts the bytes as they come: what is measured is the server."""

    bytes = 0

    def lines(self) -> int:
        """Fetch until nothing is left; the number of lines between heads and cursors."""
        found, more = 0, True
        while more:
            answer = self.http.post("/api/sync/pull", json={"cursor": self.cursor, "want": []})
            answer.raise_for_status()
            lines = answer.content.splitlines()
            self.bytes += answer.num_bytes_downloaded
            found += len(lines) - 2
            self.cursor = msgspec.json.decode(lines[-1])["cursor"]
            more = b'"more":true' in lines[-1]
        return found


def memory_mb(plant: Plant) -> float:
    assert plant.process
    return float(psutil.Process(plant.process.pid).memory_info().rss) / 1e6


class Listening:
    """Phones that hold an event stream, in a loop of their own: only when each heard of a sequence is kept."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.heard: list[float] = []
        self.open = 0
        # The loop itself holds its tasks weakly.
        self._tasks: list[Any] = []
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def add(self, phone: Client) -> None:
        self._tasks.append(asyncio.run_coroutine_threadsafe(self._listen(phone), self.loop))

    async def _listen(self, phone: Client) -> None:
        at = urlsplit(str(phone.http.base_url))
        reader, writer = await asyncio.open_connection(at.hostname, at.port)
        cookie = "; ".join(f"{name}={value}" for name, value in phone.http.cookies.items())
        writer.write(
            f"GET /api/sync/events HTTP/1.1\r\nHost: {at.netloc}\r\nCookie: {cookie}\r\nAnlu-Person: {phone.person}\r\n"
            f"Anlu-Device: {phone.device}\r\n\r\n".encode()
        )
        while line := await reader.readline():
            if line.startswith(b"data: {}"):
                self.open += 1
            elif line.startswith(b"data:"):
                self.heard.append(time.perf_counter())

    def until(self, open_now: int) -> None:
        ends = time.monotonic() + HEARD_SECONDS_MAX
        while self.open < open_now:
            if time.monotonic() > ends:
                raise RuntimeError(f"{self.open} of {open_now} phones listen")
            time.sleep(0.02)


def poked_ms(writer: Client, key: str, listening: Listening, r: random.Random) -> list[float]:
    """From a push's beginning to each listener's poke."""
    took = []
    for _ in range(TRIES):
        edit(writer, key, r)
        listening.heard.clear()
        [(data, signature)] = writer.bundles()
        began = time.perf_counter()
        writer.send(data, signature)
        ends = time.monotonic() + HEARD_SECONDS_MAX
        while len(listening.heard) < listening.open:
            if time.monotonic() > ends:
                raise RuntimeError(f"{len(listening.heard)} of {listening.open} phones heard")
            time.sleep(0.0005)
        took += [1000 * (at - began) for at in listening.heard]
        time.sleep(0.05)
    return took


def pushed_us(writers: list[Client], owned: list[list[str]], r: random.Random) -> float:
    """Microseconds an edit, eight phones at once."""
    return median([push_edits(writers, owned, EDITS, r) / (EDITS * len(writers)) * 1e6 for _ in range(TRIES)])


def grown(plant: Plant) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    r = random.Random(1)
    writers = [Client(plant.origin).sign_in(name) for name in PHONES]
    filler = Client(plant.origin).sign_in("safety")
    filler.pull()
    seen = Client(plant.origin).sign_in("worker")
    seen.pull()
    held = {machine["area"] for machine in seen.of_kind("machine").values()}
    mine = min(held)
    other = next(machine["area"] for machine in filler.of_kind("machine").values() if machine["area"] not in held)
    owned = [[begin(writer, mine, r) for _ in range(EDITS // 4)] for writer in writers]
    for writer in writers:
        push(writer, writer.bundles())
    reader = Reader(plant.origin).sign_in("safety")
    assert isinstance(reader, Reader)
    listening = Listening()
    listening.add(seen)
    listening.until(1)

    made, sizes = len(writers) * len(owned[0]), []
    for size in SIZES:
        began = time.perf_counter()
        filled = size - made
        while made < size:
            for _ in range(min(FILL_AT_ONCE, size - made)):
                made += 1
                begin(filler, mine if made % SEEN_OF == 0 else other, r)
            if push(filler, filler.bundles()):
                raise RuntimeError("a document was refused")
            filler.verdicts.clear()
        print(f"{size:,} documents; {filled:,} made in {time.perf_counter() - began:.0f} s", flush=True)
        push_us = pushed_us(writers, owned, r)
        reader.lines()
        behind = []
        for _ in range(TRIES):
            for _ in range(BEHIND):
                edit(writers[0], r.choice(owned[0]), r)
            push(writers[0], writers[0].bundles())
            began = time.perf_counter()
            if reader.lines() < len(owned[0]) // 2:
                raise RuntimeError("the delta is too small")
            behind.append(1000 * (time.perf_counter() - began))
        poke = poked_ms(writers[0], owned[0][0], listening, r)
        few = Reader(plant.origin).sign_in("worker")
        assert isinstance(few, Reader)
        began = time.perf_counter()
        lines = few.lines()
        sizes.append(
            {
                "documents": size,
                "push_us": push_us,
                "delta_ms": median(behind),
                "poke_ms": median(poke),
                "few_documents": lines,
                "few_us_each": round((time.perf_counter() - began) / lines * 1e6, 1),
                "few_kb": round(few.bytes / 1000),
                "memory_mb": round(memory_mb(plant)),
            }
        )
        print(sizes[-1], flush=True)

    crowds = []
    for count in LISTENING:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for phone in pool.map(lambda n: Client(plant.origin).sign_in(PHONES[n % 4]), range(count - listening.open)):
                listening.add(phone)
        listening.until(count)
        heard = sorted(poked_ms(writers[0], owned[0][0], listening, r))
        crowds.append(
            {
                "phones": count,
                "push_us": pushed_us(writers, owned, r),
                "poke_ms": median(heard),
                "poke_p95_ms": round(heard[int(len(heard) * 0.95)], 1),
                "memory_mb": round(memory_mb(plant)),
            }
        )
        print(crowds[-1], flush=True)
    return sizes, crowds


def main() -> bool:
    with tempfile.TemporaryDirectory() as folder:
        plant = Plant(Path(folder)).start()
        try:
            sizes, crowds = grown(plant)
        finally:
            plant.stop()
    first, last = sizes[0], sizes[-1]
    units = {"push": "us", "delta": "ms", "poke": "ms"}
    slopes = {f"{name}_growth": round(last[f"{name}_{unit}"] / first[f"{name}_{unit}"], 2) for name, unit in units.items()}
    slopes["few_growth"] = round(last["few_us_each"] / first["few_us_each"], 2)
    slopes["memory_growth"] = round(last["memory_mb"] / first["memory_mb"], 2)
    slopes["crowd_growth"] = round(crowds[-1]["push_us"] / crowds[0]["push_us"], 2)
    return report("growth", max(slopes.values()) <= FLAT_MAX, sizes=sizes, crowds=crowds, **slopes, goal_growth=FLAT_MAX)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
