"""A plant and its phones: the server as a process of its own, and Chromium as a worker holds it. For browser tests and benchmarks."""

import contextlib
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Playwright, expect

ROOT = Path(__file__).parents[2]
PHONE = {"width": 412, "height": 915}
PASSWORD = "anlu-demo"
PIN = "2580"
START_SECONDS_MAX = 90
STOP_SECONDS_MAX = 15
HAND_MS = 400
HAND_PX = 40


# Two cores serve the server, two browsers and their cameras at once.
expect.set_options(timeout=20_000)


class Plant:
    """A server on a free port with its own data. `stop` asks it to end, `kill` does not; `start` begins again on the same port and data."""

    def __init__(self, folder: Path, command: str = "demo", **settings: str) -> None:
        if not (Path(settings.get("ANLU_PWA", ROOT / "pwa/dist")) / "index.html").exists():
            raise RuntimeError("The app is not built: ./justw test tests/e2e builds it first.")
        self.folder = folder
        self.command = command
        self.settings = settings
        self.port = 0
        self.log = folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "Plant":
        self.folder.mkdir(parents=True, exist_ok=True)
        # A plant takes its settings from here alone, whatever stands in the tester's environment.
        own = {k: v for k, v in os.environ.items() if not k.startswith("ANLU_")}
        own |= {"ANLU_DATA": str(self.folder / "data"), "ANLU_PORT": str(self.port), "PYTHONUNBUFFERED": "1", "ANLU_PASSWORD_MS": "20"}
        own |= {"ANLU_DEMO_SIZE": "small"}
        # A second start of a demo would refuse the data that is there; it goes on as an ordinary plant.
        command = "serve" if self.port else self.command
        began = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "backend.cli", command], cwd=ROOT, env=own | self.settings, stdout=log, stderr=subprocess.STDOUT
            )
        ends = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < ends:
            if self.process.poll() is not None:
                break
            said = self.log.read_bytes()[began:].decode("utf-8", "replace")
            found = re.search(r"http://127\.0\.0\.1:(\d+)", said)
            self.port = self.port or (int(found[1]) if found else 0) or self._listening()
            with contextlib.suppress(httpx.HTTPError):
                if self.port and httpx.get(f"{self.origin}/api/health", timeout=2).status_code == 200:
                    return self
            time.sleep(0.1)
        self.stop()
        raise RuntimeError(f"The server did not start:\n{self.log.read_text('utf-8', 'replace')[-4000:]}")

    def _listening(self) -> int:
        with contextlib.suppress(psutil.Error, AssertionError):
            assert self.process
            for one in psutil.Process(self.process.pid).net_connections(kind="tcp"):
                if one.status == psutil.CONN_LISTEN:
                    return int(one.laddr.port)
        return 0

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()
        self.process = None


def chromium() -> str | None:
    """The machine's Chromium; None for Playwright's own."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def arguments(camera: Path | None) -> list[str]:
    """Chromium's arguments: nothing leaves the machine, and the camera shows a file."""
    given = ["--disable-background-networking", "--disable-component-update", "--no-first-run"]
    if camera:
        given += [
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={camera}",
        ]
    return given


OPTIONS: dict[str, Any] = {
    "viewport": PHONE,
    "device_scale_factor": 2.625,
    "is_mobile": True,
    "has_touch": True,
    "locale": "zh-CN",
    "timezone_id": "Asia/Shanghai",
    "permissions": ["geolocation"],
    "geolocation": {"latitude": 31.4, "longitude": 121.45, "accuracy": 8},
}


def launch(playwright: Playwright, camera: Path | None = None) -> Browser:
    return playwright.chromium.launch(executable_path=chromium(), args=arguments(camera))


class Phone:
    """A phone in somebody's hand. Found by what SCREENS calls its controls (`data-testid`), pressed as a thumb does."""

    def __init__(self, context: BrowserContext, origin: str, *, profile: Path | None = None) -> None:
        self.context = context
        self.origin = origin
        self.profile = profile
        self.page: Page = context.pages[0] if context.pages else context.new_page()
        self.errors: list[str] = []
        self._pressed = ("", ""), 0.0, (-1e9, -1e9)
        self._watch(self.page)

    def _watch(self, page: Page) -> None:
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self._heard(said.type, said.text))
        page.on("response", lambda answer: self._answered(answer.status, urlsplit(answer.url).path))

    def _heard(self, how: str, text: str) -> None:
        # What the browser says of requests comes by their answers; being without a network is no error here.
        if how == "error" and "Failed to load resource" not in text:
            self.errors.append(text)

    def _answered(self, status: int, path: str) -> None:
        # A photo that is on its way is not found yet.
        if status >= 400 and not (status == 404 and path.startswith("/api/media/")):
            self.errors.append(f"{status} {path}")

    def by(self, name: str) -> Locator:
        return self.page.get_by_test_id(name)

    def press(self, name: str) -> None:
        one = self.by(name).first
        one.wait_for()
        box = one.bounding_box() or {"x": -1.0, "y": -1.0, "width": 0.0, "height": 0.0}
        place = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        # The same key of the same screen may be pressed twice at once, as of a keypad; that of the next screen only looks the same.
        here = name, self.page.url
        if here != self._pressed[0] and math.dist(place, self._pressed[2]) < HAND_PX:
            # Two touches of one place in a blink are one to the app: a hand that means two takes its time.
            self.page.wait_for_timeout(max(0.0, HAND_MS - (time.monotonic() - self._pressed[1]) * 1000))
        one.click()
        self._pressed = here, time.monotonic(), place

    def type(self, name: str, text: str) -> None:
        box = ":is(input, textarea)"
        self.page.locator(f'[data-testid="{name}"]{box}, [data-testid="{name}"] {box}').first.fill(text)

    def open(self, path: str = "/") -> None:
        self.page.goto(self.origin + path, wait_until="domcontentloaded")

    def pin(self, pin: str = PIN) -> None:
        for digit in pin:
            self.press(f"pin-{digit}")
        self.press("pin-submit")

    def sign_in(self, username: str, pin: str = PIN, password: str = PASSWORD) -> None:
        """Name, password, a PIN twice, and on to Today with everything of this person's on the phone."""
        if self.page.url == "about:blank":
            self.open()
        self.by("sign-in-username").or_(self.by("sign-in-other")).first.wait_for()
        if not self.by("sign-in-username").is_visible():
            self.press("sign-in-other")
        self.type("sign-in-username", username)
        self.type("sign-in-password", password)
        self.press("sign-in-submit")
        self.by("pin-1").wait_for()
        self.pin(pin)
        self.pin(pin)
        self.by("scan-key").wait_for()
        self.synced()

    def unlock(self, pin: str = PIN) -> None:
        self.pin(pin)
        self.by("pin-submit").wait_for(state="detached")

    def ready_offline(self) -> None:
        """The worker holds every file: from here on the phone starts without a network."""
        self.page.wait_for_function("async () => (await navigator.serviceWorker.getRegistration())?.active?.state === 'activated'")
        if not self.page.evaluate("() => navigator.serviceWorker.controller !== null"):
            # The very first load is nobody's: the worker takes over with the next one.
            self.page.reload(wait_until="domcontentloaded")
            self.by("scan-key").or_(self.by("pin-1")).first.wait_for()

    def offline(self, off: bool = True) -> None:
        self.context.set_offline(off)
        expect(self.by("sync-chip").or_(self.page.locator("body")).first).to_be_attached()

    def today(self) -> None:
        """By the bar at the foot where there is one, else as a finger goes back."""
        if self.by("nav-today").is_visible():
            self.press("nav-today")
        else:
            self.page.evaluate("() => document.querySelector('#app').__vue_app__.config.globalProperties.$router.push('/')")
        self.by("sync-chip").wait_for()

    def synced(self, seconds: float = 30) -> None:
        """Nothing unsent, a finished pull."""
        self.page.wait_for_selector('[data-testid="sync-chip"][data-unsent="0"].clear', timeout=seconds * 1000)

    def unsent(self) -> int:
        return int(self.by("sync-chip").first.get_attribute("data-unsent") or 0)

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self.context.close()


def kill_browser(profile: Path) -> None:
    """kill -9 of the very browser that runs on this profile, all its processes at once: a battery that falls out."""
    own = [one for one in psutil.Process().children(recursive=True) if _runs_on(one, profile)]
    for one in own:
        with contextlib.suppress(psutil.Error):
            for child in [*one.children(recursive=True), one]:
                with contextlib.suppress(psutil.Error):
                    child.send_signal(signal.SIGKILL)
    psutil.wait_procs(own, timeout=10)
    for lock in ("SingletonLock", "SingletonSocket", "SingletonCookie"):
        (profile / lock).unlink(missing_ok=True)


def _runs_on(process: psutil.Process, profile: Path) -> bool:
    try:
        return f"--user-data-dir={profile}" in process.cmdline()
    except psutil.Error:
        return False


@contextlib.contextmanager
def phone(browser: Browser, origin: str, **options: Any) -> Iterator[Phone]:
    """A new phone: its own storage, nobody signed in."""
    held = Phone(browser.new_context(**(OPTIONS | options)), origin)
    try:
        yield held
    finally:
        held.close()


def phone_on(playwright: Playwright, profile: Path, origin: str, camera: Path | None = None) -> Phone:
    """A phone whose storage is a folder, so that it survives its process."""
    context = playwright.chromium.launch_persistent_context(str(profile), executable_path=chromium(), args=arguments(camera), **OPTIONS)
    return Phone(context, origin, profile=profile)
