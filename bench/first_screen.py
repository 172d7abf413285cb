"""Script and style that a phone loads before its first screen, gzip (FIELD: at most 150 KB).

Counted twice: what the built page's modules import statically, and what Chromium in fact fetched until the sign-in screen stood.
"""

import gzip
import re
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

from bench import report
from tests.e2e.harness import OPTIONS, ROOT, Plant, launch

BYTES_MAX = 150 * 1024
DIST = ROOT / "pwa/dist"


def gzipped(file: Path) -> int:
    return len(gzip.compress(file.read_bytes(), 9))


def imported(dist: Path) -> set[Path]:
    """The module graph of index.html: its scripts, all they import statically, and the styles it links."""
    page = (dist / "index.html").read_text("utf-8")
    found = {dist / name.lstrip("/") for name in re.findall(r'(?:src|href)="(/[^"]+\.(?:js|css))"', page)}
    waiting = [file for file in found if file.suffix == ".js"]
    while waiting:
        file = waiting.pop()
        for name in re.findall(r'(?:^|[;}\s])(?:import|export)\b[^"\'()]*["\'](\.{1,2}/[^"\']+\.js)["\']', file.read_text("utf-8")):
            other = (file.parent / name).resolve()
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found


def fetched() -> list[str]:
    """Paths of the scripts and styles that a new phone fetched until sign-in could be typed into."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        plant = Plant(Path(folder)).start()
        browser = launch(playwright)
        try:
            paths: list[str] = []
            page = browser.new_context(**OPTIONS).new_page()
            page.on(
                "request",
                lambda asked: paths.append(urlsplit(asked.url).path) if asked.resource_type in ("script", "stylesheet") else None,
            )
            page.goto(plant.origin, wait_until="commit")
            page.get_by_test_id("sign-in-username").wait_for()
            return [path for path in paths if not path.startswith("/sw")]
        finally:
            browser.close()
            plant.stop()


def main() -> bool:
    graph = imported(DIST)
    for file in sorted(graph):
        print(f"{gzipped(file):8,} B  {file.relative_to(DIST)}")
    loaded = {DIST / path.lstrip("/") for path in fetched()}
    for file in sorted(loaded - graph):
        print(f"{gzipped(file):8,} B  {file.relative_to(DIST)}  (asked for by the sign-in screen)")
    static, whole = sum(map(gzipped, graph)), sum(map(gzipped, loaded))
    return report(
        "first_screen", max(static, whole) <= BYTES_MAX, imported_gzip_bytes=static, fetched_gzip_bytes=whole, goal_bytes=BYTES_MAX
    )


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
