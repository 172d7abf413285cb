"""From the camera's first frame to a label that was read: frames of our own printed label, turned and dimmed, on a phone slowed four times.

Each run begins with a page that has not loaded the decoder yet.
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from bench import median, report
from tests.e2e.camera import approach, rasterised, write_y4m
from tests.e2e.harness import Phone, Plant, launch, phone
from tests.e2e.plants import label_of

SLOWED = 4
RUNS = 9
MS_MAX = 500

TIMES = """
document.addEventListener('loadeddata', (event) => {
  if (event.target instanceof HTMLVideoElement) window.firstFrameAt ??= performance.now();
}, true);
for (const name of ['pushState', 'replaceState']) {
  const plain = history[name];
  history[name] = function (...given) {
    // What comes after /scan is what the label said.
    if (location.pathname === '/scan' && !String(given[2] ?? '').endsWith('/scan')) window.readAt ??= performance.now();
    return plain.apply(this, given);
  };
}
"""


def scans(held: Phone, runs: int) -> list[float]:
    took = []
    for _ in range(runs):
        held.open()
        held.press("scan-key")
        held.page.wait_for_function("() => window.readAt && window.firstFrameAt", timeout=30_000)
        took.append(float(held.page.evaluate("() => window.readAt - window.firstFrameAt")))
    return took


def main() -> bool:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        plant = Plant(Path(folder) / "plant").start()
        camera = write_y4m(Path(folder) / "camera.y4m", approach(rasterised(label_of(plant)[1])))
        browser = launch(playwright, camera)
        try:
            with phone(browser, plant.origin) as held:
                held.sign_in("inspector")
                held.ready_offline()
                held.page.add_init_script(TIMES)
                full = scans(held, RUNS)
                held.context.new_cdp_session(held.page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWED})
                slow = scans(held, RUNS)
        finally:
            browser.close()
            plant.stop()
    print(f"full speed     {sorted(map(round, full))} ms\nslowed 4 times {sorted(map(round, slow))} ms")
    return report(
        "scan",
        median(slow) <= MS_MAX,
        scan_ms=median(full),
        slowed_ms=median(slow),
        slowed_worst_ms=max(slow),
        slowed=SLOWED,
        goal_ms=MS_MAX,
    )


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
