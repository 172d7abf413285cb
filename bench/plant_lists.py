"""Twelve thousand documents on a phone: first sync, lists, search, opening, and what an idle phone asks of the network.

Slowed four times (CDP). A frame is counted where Chromium says that it took 50 ms or longer (0: none did): the worst of each of three
passes, and their median; on a busy machine it tells of the others' work too. A task is the processor time of the longest task on the page's
thread at full speed, times four: what our code costs.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

from bench import median, report
from tests.e2e.harness import Plant, launch, phone
from tests.e2e.scale import DOCUMENTS, SLOWED, Held, fill

PASSES = 3
OPENED = 5
IDLE_SECONDS = 60
FRAME_MS_MAX = 50
OPEN_MS_MAX = 100


def main() -> bool:
    frames: dict[str, list[float]] = {}
    tasks: dict[str, float] = {}
    opened: dict[str, list[float]] = {"machine": [], "hazard": []}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        plant = Plant(Path(folder)).start()
        browser = launch(playwright)
        try:
            fill(plant)
            with phone(browser, plant.origin) as bare:
                held = Held(browser, bare)
                held.sign_in()
                began = time.perf_counter()
                first = held.frames(lambda: (bare.pin(), held.whole(240)))
                first_s = time.perf_counter() - began
                shown = len(held.page.evaluate("() => window.progress"))
                print(f"first sync of {DOCUMENTS} in {first_s:.1f} s, {shown} shares shown, longest frame {first:.0f} ms")

                def each(measure: Callable[[str, Callable[[], object]], None]) -> None:
                    measure("machines", held.open_machines)
                    measure("scroll", lambda: (held.fling(), held.jump()))
                    measure("search", held.search)
                    held.back_to("open-machines")
                    measure("hazards", held.open_hazards)
                    measure("scroll_hazards", held.fling)
                    held.page.evaluate("() => scrollTo(0, 0)")
                    held.back_to("open-hazards")

                for _ in range(PASSES):
                    each(lambda name, work: frames.setdefault(name, []).append(held.frames(work)))
                each(lambda name, work: tasks.update({name: round(held.tasks(work))}))
                for go, row, screen, kind in (
                    (held.open_machines, "kind-row", "machine-state", "machine"),
                    (held.open_hazards, "hazard-row", "hazard-state", "hazard"),
                ):
                    go()

                    def once(row: str = row, screen: str = screen, kind: str = kind) -> None:
                        opened[kind].append(held.open_first(row, screen))

                    for _ in range(OPENED):
                        held.frames(once)
                        held.back_to(row)
                    tasks[f"open_{kind}"] = round(held.tasks(once))
                    opened[kind].pop()
                    bare.today()
                    bare.by("open-hazards").wait_for()
                unlock = held.frames(held.lock_and_open)
                asked: list[str] = []
                bare.context.on("request", lambda request: asked.append(urlsplit(request.url).path))
                bare.today()
                held.page.wait_for_timeout(3_000)
                asked.clear()
                held.page.wait_for_timeout(IDLE_SECONDS * 1_000)
                errors = bare.errors
        finally:
            browser.close()
            plant.stop()
    for name, worst in frames.items():
        print(f"{name:15} longest frames {[round(ms) for ms in worst]} ms, longest task {tasks[name]} ms")
    for kind, took in opened.items():
        print(f"open a {kind:8} {[round(ms) for ms in took]} ms, longest task {tasks[f'open_{kind}']} ms")
    print(f"idle for {IDLE_SECONDS} s: {asked or 'nothing asked'}")
    longest = {f"{name}_frame_ms": median(worst) for name, worst in frames.items()}
    opening = {f"open_{kind}_ms": median(took) for kind, took in opened.items()}
    return report(
        "plant_lists",
        max(longest.values()) <= FRAME_MS_MAX and max(opening.values()) <= OPEN_MS_MAX and not asked and not errors,
        documents=DOCUMENTS,
        slowed=SLOWED,
        first_sync_s=round(first_s, 1),
        first_sync_frame_ms=round(first),
        **longest,
        **opening,
        **{f"{name}_task_ms": took for name, took in tasks.items()},
        unlock_frame_ms=round(unlock),
        idle_requests=len(asked),
        load=round(os.getloadavg()[0], 1),
        goal_frame_ms=FRAME_MS_MAX,
        goal_open_ms=OPEN_MS_MAX,
    )


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
