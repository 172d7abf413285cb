"""Every screen, in both themes and both languages: axe finds nothing, nothing runs over the edge, no text key shows."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.harness import ROOT, Phone, Plant
from tests.e2e.plants import Crane
from tests.e2e.test_checks import answer_ok, type_code

AXE = (ROOT / "pwa/node_modules/axe-core/axe.min.js").read_text("utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


def go(held: Phone, path: str) -> None:
    held.page.evaluate("path => document.querySelector('#app').__vue_app__.config.globalProperties.$router.push(path)", path)
    held.page.wait_for_timeout(400)


def findings(held: Phone) -> list[str]:
    """What axe has to say, and what it cannot see."""
    held.page.evaluate(AXE + "; null")
    found: dict[str, Any] = held.page.evaluate("tags => axe.run(document, { runOnly: { type: 'tag', values: tags } })", RULES)
    said = [f"{one['id']}: {node['html'][:160]} {node['failureSummary']}" for one in found["violations"] for node in one["nodes"]]
    wide = held.page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if wide > 0:
        said.append(f"runs {wide} px over the edge")
    text = held.page.evaluate("() => document.body.innerText")
    said += [f"a key shows: {key}" for key in re.findall(r"\b(?:act|nav|check|machine|hazard|sync|form|today|me|outbox)\.[a-z_]+\b", text)]
    return said


def look(held: Phone, name: str) -> list[str]:
    """A screen as it stands, light and dark."""
    said = []
    for theme in ("light", "dark"):
        held.page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
        held.page.wait_for_timeout(150)
        said += [f"{name} ({theme}): {one}" for one in findings(held)]
    return said


@pytest.mark.parametrize("language", ["zh-CN", "en-GB"])
def test_axe_finds_nothing_on_any_screen_in_either_theme(
    new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane], language: str
) -> None:
    crane = all_cranes[2 if language == "zh-CN" else 3]
    held = new_phone(locale=language)
    said = []
    held.open("/sign-in")
    held.by("sign-in-username").wait_for()
    said += look(held, "/sign-in")
    go(held, "/set-up")
    said += look(held, "/set-up")
    go(held, "/sign-in")
    held.sign_in("admin")
    type_code(held, crane)
    said += look(held, "a machine")
    held.press("begin-check")
    held.by("check-item").wait_for()
    said += look(held, "a yes-no item")
    while held.by("number-value").count() == 0:
        answer_ok(held)
    said += look(held, "a number item")
    held.press("answer-bad")
    held.by("bad-submit").wait_for()
    said += look(held, "what is wrong")
    for path in ("/", "/alarms", "/tasks", "/me", "/outbox", "/devices", "/scan", "/t/00000000", "/hazards", "/hazards/new", "/nowhere"):
        go(held, path)
        said += look(held, path)
    for kind in ("machine", "hazard", "person", "area", "tag"):
        go(held, f"/k/{kind}")
        said += look(held, f"/k/{kind}")
        first = held.page.locator(f'main a[href^="/k/{kind}/"], main a[href^="/machines/"], main a[href^="/hazards/"]').first
        if first.count():
            first.click()
            held.page.wait_for_timeout(400)
            said += look(held, f"/k/{kind}/…")
    assert said == []
