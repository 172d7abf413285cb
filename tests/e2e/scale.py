"""A plant with ten thousand documents, and how long the page's thread is held while a phone with all of them is used.

Two measures. *Frames* are what Chromium says of itself (Long Animation Frames: script, style and layout until drawn) while CDP slows the page's
thread: what a person would feel, and what everything else on the machine feels too. *Tasks* are the processor time that the thread took for one
task at full speed, times the slowing: what our own code costs, whatever else runs. The service worker, the disk and the cipher threads are not
slowed.
"""

import json
import random
from collections.abc import Callable

from playwright.sync_api import Browser

from tests.e2e.client import Client
from tests.e2e.harness import PASSWORD, Phone, Plant

MACHINES = 10_000
HAZARDS = 2_000
DOCUMENTS = MACHINES + HAZARDS
SLOWED = 4
READER = "safety"
"""Holds every area of the demo plant."""

TYPES = {
    "overhead_crane": ("起重机", "Crane"),
    "steel_ladle": ("钢水罐", "Ladle"),
    "converter": ("转炉", "Converter"),
    "gas_booster": ("煤气加压机", "Gas booster"),
    "belt_conveyor": ("皮带机", "Conveyor"),
    "rolling_mill": ("轧机", "Mill"),
}
GRADES = ("blue", "yellow", "orange", "red")
WORDS = ("吊钩", "钢丝绳", "制动器", "护栏", "煤气管道", "法兰", "滑触线", "漏油", "松动", "裂纹", "未挂牌", "照明损坏", "通道堵塞")
SEARCHED = "SB-04321"


def fill(plant: Plant, machines: int = MACHINES, hazards: int = HAZARDS) -> None:
    """Machines and hazards of about 1 KB beside what the demo has, each said by an op like any other."""
    r = random.Random(3)
    admin, safety = Client(plant.origin).sign_in("admin"), Client(plant.origin).sign_in(READER)
    admin.pull()
    areas = sorted(admin.of_kind("area"))
    for i in range(machines):
        name = r.choice(list(TYPES))
        zh, en = TYPES[name]
        admin.new(
            "machine",
            1,
            {"number": f"SB-{i:05}", "names": {"zh": f"{i}# {zh}", "en": f"{en} {i}"}, "type": name, "area": areas[i % len(areas)]},
        )
    for i in range(hazards):
        note = "，".join(r.choice(WORDS) for _ in range(60))
        safety.new("hazard", 1, {"area": areas[i % len(areas)], "note": f"{i} 号：{note}", "grade": r.choice(GRADES)})
    for client in (admin, safety):
        refused = [verdict for verdict in client.push() if verdict["state"] != "ok"]
        if refused:
            raise RuntimeError(f"The plant does not take {len(refused)} of its documents, the first because of {refused[0]}.")


FRAMES = """
window.longFrames = [];
if (PerformanceObserver.supportedEntryTypes.includes('long-animation-frame'))
  new PerformanceObserver((list) => window.longFrames.push(...list.getEntries().map((one) => one.duration)))
    .observe({ type: 'long-animation-frame' });
window.progress = [];
new MutationObserver(() => {
  const share = document.querySelector('[data-testid="sync-chip"]')?.textContent.match(/(\\d+)\\s*%/);
  if (share && window.progress.at(-1) !== Number(share[1])) window.progress.push(Number(share[1]));
}).observe(document, { childList: true, characterData: true, subtree: true });
"""
"""Long frames of the page, and the shares that its progress has shown."""

OPEN = """async ([row, screen]) => {
  const began = performance.now();
  document.querySelector(`[data-testid="${row}"]`).click();
  while (!document.querySelector(`[data-testid="${screen}"]`)) await new Promise(requestAnimationFrame);
  // The second frame begins when the first is on screen.
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return performance.now() - began;
}"""
"""From a press on a row to its screen drawn, ms; two frames of waiting included."""

TRACED = ["disabled-by-default-devtools.timeline"]


class Held:
    """A phone with its measures. `begin` it before its first page."""

    def __init__(self, browser: Browser, phone: Phone) -> None:
        self.browser, self.phone, self.page = browser, phone, phone.page
        self.page.add_init_script(FRAMES)
        self.cdp = phone.context.new_cdp_session(self.page)

    def frames(self, work: Callable[[], object], slowed: int = SLOWED) -> float:
        """The longest frame of `work`, ms, at a quarter of this machine's speed; 0 where none took 50 ms."""
        self._still()
        self.page.evaluate("() => { window.longFrames.length = 0; }")
        self.cdp.send("Emulation.setCPUThrottlingRate", {"rate": slowed})
        try:
            work()
            self._still()
        finally:
            self.cdp.send("Emulation.setCPUThrottlingRate", {"rate": 1})
        return float(max(self.page.evaluate("() => window.longFrames"), default=0))

    def tasks(self, work: Callable[[], object], slowed: int = SLOWED) -> float:
        """The processor time of the longest task that `work` gave the page's thread, ms, times the slowing."""
        self._still()
        self.browser.start_tracing(page=self.page, categories=TRACED)
        try:
            work()
            self._still()
        finally:
            events = json.loads(self.browser.stop_tracing())["traceEvents"]
        pages = {(one["pid"], one["tid"]) for one in events if one["name"] == "thread_name" and one["args"].get("name") == "CrRendererMain"}
        took = [one.get("tdur", 0) for one in events if one["name"] == "RunTask" and (one["pid"], one["tid"]) in pages]
        return max(took, default=0) / 1000 * slowed

    def _still(self) -> None:
        # What was measured last is told a little later; what was set off before is over.
        self.page.wait_for_timeout(250)

    def sign_in(self) -> None:
        """Up to where the second PIN opens the space; the first sync has not begun."""
        self.phone.open()
        self.phone.by("sign-in-username").wait_for()
        self.phone.type("sign-in-username", READER)
        self.phone.type("sign-in-password", PASSWORD)
        self.phone.press("sign-in-submit")
        self.phone.by("pin-1").wait_for()
        self.phone.pin()

    def whole(self, seconds: float = 120) -> None:
        """The first sync, or the opening, is over."""
        self.page.wait_for_function(
            "() => { const chip = document.querySelector('[data-testid=\"sync-chip\"]'); return chip && !chip.textContent.includes('%') && chip.querySelector('small'); }",
            timeout=seconds * 1000,
        )

    # What a hand does.

    def open_machines(self) -> None:
        self.phone.by("open-machines").tap()
        self.phone.by("kind-row").first.wait_for()

    def open_hazards(self) -> None:
        self.phone.by("open-hazards").tap()
        self.phone.by("hazard-row").first.wait_for()

    def fling(self, times: int = 4) -> None:
        """A thumb that throws the list 12,000 px at a time."""
        for _ in range(times):
            self.cdp.send(
                "Input.synthesizeScrollGesture", {"x": 200, "y": 600, "yDistance": -12_000, "speed": 8_000, "gestureSourceType": "touch"}
            )

    def jump(self) -> None:
        """To the middle of the list, and back."""
        for top in (400_000, 0):
            self.page.evaluate("top => scrollTo(0, top)", top)
            self.page.wait_for_timeout(300)

    def search(self, text: str = SEARCHED) -> None:
        """Type it, letter by letter, see it found, and take it away again."""
        box = self.page.locator('[data-testid="search"] input')
        box.focus()
        self.page.keyboard.type(text, delay=120)
        self.page.wait_for_function("text => document.querySelector('[data-testid=\"kind-row\"]')?.textContent.includes(text)", arg=text)
        for _ in text:
            self.page.keyboard.press("Backspace")
            self.page.wait_for_timeout(80)

    def open_first(self, row: str, screen: str) -> float:
        return float(self.page.evaluate(OPEN, [row, screen]))

    def back_to(self, name: str) -> None:
        self.phone.press("back")
        self.phone.by(name).first.wait_for()

    def lock_and_open(self) -> None:
        self.phone.press("nav-me")
        self.phone.press("lock-now")
        self.phone.by("pin-1").wait_for()
        self.phone.pin()
        self.phone.by("scan-key").wait_for(timeout=120_000)
        self.whole()
