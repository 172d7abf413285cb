"""Every screen, in both languages, both themes and on a small and a large phone: axe finds nothing, nothing runs over the edge, every
target can be hit with a glove, no text key and no code shows."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.client import Client
from tests.e2e.harness import PASSWORD, ROOT, Phone, Plant
from tests.e2e.plants import Crane, known
from tests.e2e.test_checks import answer_ok, item_asked

AXE = (ROOT / "pwa/node_modules/axe-core/axe.min.js").read_text("utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
SIZES = [(360, 800), (412, 915)]
KEYS = re.compile(
    r"\b(?:act|alarms|bad|banner|check|choice|clear|devices|doc|flow|forgot|form|grade|hazards?|labels|level|list|machines?|me|na|nav|"
    r"num|op|outbox|person|people|photo|pin|place|refusal|result|role|round|duty|scan|set_up|sign|sign_in|snap|span|sync|table|tag|tasks|today|unit|"
    r"unlock|verdict)\.[a-z_]+\b"
)
CODES = re.compile(r"\b(?:overhead_crane|pre_shift|manage_\w+|clear_fault|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\b")

SAID_BY_PEOPLE = {"中文", "滨江钢铁"}
"""Chinese that stays in English: the language's own name, and what somebody typed once."""

WALKS = {
    "administrator": {
        *("today", "alarms", "tasks", "me", "outbox", "devices", "import", "scan", "tag", "bind", "labels", "machine", "clear", "rounds"),
        *(
            "take-in",
            "round",
            "duty",
            "hazards",
            "hazard",
            "snap",
            "list",
            "new",
            "doc",
            "edit",
            "do",
            "sign-in",
            "set-up",
            "pin",
            "unlock",
            "forgot",
            "nowhere",
        ),
    },
    "check": {"machine", "check", "result"},
    "notice": {"today", "alarms", "doc"},
}
"""Which routes each walk through the screens looks at, by their names in the router. The desk's walk is test_desk's."""

LOOKED: dict[Phone, set[str]] = {}

TARGETS = """() => {
  const small = [];
  for (const one of document.querySelectorAll('a[href], button, label.key, label.thumb, input:not([type=file]), textarea, [role=switch]')) {
    if (one.closest('[inert]') || !one.checkVisibility()) continue;
    const { width, height } = one.getBoundingClientRect();
    const least = one.matches('.key, .choice, .grade') ? 56 : 44;
    if (width < 43.5 || height < least - 0.5) small.push(`${Math.round(width)}x${Math.round(height)}: ${one.outerHTML.slice(0, 140)}`);
  }
  return small;
}"""


ROUTER = "document.querySelector('#app').__vue_app__.config.globalProperties.$router"


def go(held: Phone, path: str) -> None:
    held.page.evaluate(f"path => {ROUTER}.push(path)", path)
    held.page.wait_for_timeout(400)


def findings(held: Phone, language: str) -> list[str]:
    """What axe has to say, and what it cannot see."""
    held.page.evaluate(AXE + "; null")
    # target-size counts what the bar at the foot covers, though it scrolls free; TARGETS is stricter.
    found: dict[str, Any] = held.page.evaluate(
        "tags => axe.run(document, { runOnly: { type: 'tag', values: tags }, rules: { 'target-size': { enabled: false } } })", RULES
    )
    said = [f"{one['id']}: {node['html'][:160]} {node['failureSummary']}" for one in found["violations"] for node in one["nodes"]]
    wide = held.page.evaluate("() => document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if wide > 0:
        said.append(f"runs {wide} px over the edge")
    said += [f"too small, {one}" for one in held.page.evaluate(TARGETS)]
    text = held.page.evaluate("() => document.body.innerText")
    said += [f"a key shows: {key}" for key in KEYS.findall(text)]
    said += [f"a code shows: {code}" for code in CODES.findall(text)]
    if language == "en":
        said += [f"Chinese among English: {one}" for one in set(re.findall(r"[\u4e00-\u9fff]{2,}", text)) - SAID_BY_PEOPLE]
    return said


def look(held: Phone, language: str, name: str) -> list[str]:
    """A screen as it stands, light and dark."""
    said = []
    LOOKED.setdefault(held, set()).add(held.page.evaluate(f"() => {ROUTER}.currentRoute.value.name"))
    for theme in ("light", "dark"):
        held.page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
        held.page.wait_for_timeout(250)
        said += [f"{name} ({theme}): {one}" for one in findings(held, language)]
    return said


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def held(request: pytest.FixtureRequest, new_phone: Callable[..., Phone]) -> Phone:
    width, height = request.param
    return new_phone(viewport={"width": width, "height": height})


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_screens_before_the_work_and_of_an_administrator_are_clean(held: Phone, plant: Plant, language: str) -> None:
    admin = known(plant.origin, "admin")
    machine, person, area = (sorted(admin.of_kind(kind))[0] for kind in ("machine", "person", "area"))
    reporter = Client(plant.origin).sign_in("safety")
    reporter.new("hazard", 1, {"area": area, "note": "The hook is worn."})
    assert [verdict["state"] for verdict in reporter.push()] == ["ok"]
    held.open("/sign-in")
    held.page.evaluate("language => localStorage.setItem('anlu.lang', language)", language)
    held.open("/sign-in")
    held.by("sign-in-username").wait_for()
    said = look(held, language, "/sign-in")
    go(held, "/set-up")
    said += look(held, language, "/set-up")
    go(held, "/sign-in")
    held.type("sign-in-username", "admin")
    held.type("sign-in-password", PASSWORD)
    held.press("sign-in-submit")
    held.by("pin-1").wait_for()
    said += look(held, language, "/pin")
    held.pin()
    held.pin()
    held.by("scan-key").wait_for()
    held.synced()
    # The camera would read the label before it and leave the screen that is looked at.
    held.page.evaluate("() => { navigator.mediaDevices.getUserMedia = () => new Promise(() => {}); }")
    for path in (
        *(
            "/",
            "/alarms",
            "/tasks",
            "/me",
            "/outbox",
            "/devices",
            "/import",
            "/take-in",
            "/scan",
            "/t/00000000",
            "/t/00000000/bind",
            "/labels",
            "/rounds",
        ),
        *("/duty", "/hazards", "/hazards/new", f"/machines/{machine}/clear/none", f"/k/area/{area}/edit", "/nowhere"),
        f"/k/person/{person}/do/assign_roles",
    ):
        go(held, path)
        said += look(held, language, path)
    for round_ in sorted(admin.of_kind("round"))[:1]:
        go(held, f"/rounds/{round_}")
        said += look(held, language, "/rounds/…")
    for kind in ("machine", "hazard", "person", "area", "tag", "plant", "parked"):
        go(held, f"/k/{kind}")
        said += look(held, language, f"/k/{kind}")
        first = held.page.locator(f'main a[href^="/k/{kind}/"], main a[href^="/machines/"], main a[href^="/hazards/"]').first
        if first.count():
            first.click()
            held.page.wait_for_timeout(400)
            said += look(held, language, f"/k/{kind}/…")
        if kind in ("machine", "person", "area"):
            go(held, f"/k/{kind}/new")
            said += look(held, language, f"/k/{kind}/new")
    go(held, "/me")
    held.press("lock-now")
    held.by("pin-1").wait_for()
    said += look(held, language, "/unlock")
    held.press("forgot-pin")
    held.by("forgot-submit").wait_for()
    said += look(held, language, "/forgot")
    assert said == []
    assert LOOKED[held] >= WALKS["administrator"]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_screens_of_a_check_are_clean(held: Phone, plant: Plant, all_cranes: list[Crane], language: str) -> None:
    held.open("/sign-in")
    held.page.evaluate("language => localStorage.setItem('anlu.lang', language)", language)
    held.open("/sign-in")
    held.sign_in("supervisor")
    go(held, f"/t/{all_cranes[4].code}")
    held.by("machine-state").wait_for()
    said = look(held, language, "a machine")
    held.page.locator("[data-testid=begin-check], [data-testid=continue-check]").first.click()
    held.by("check-item").wait_for()
    said += look(held, language, "a yes-no item")
    while held.by("number-value").count() == 0:
        answer_ok(held)
    said += look(held, language, "a number item")
    held.press("answer-bad")
    held.by("bad-submit").wait_for()
    said += look(held, language, "what is wrong")
    held.press("sheet-close")
    held.press("answer-na")
    held.by("na-submit").wait_for()
    said += look(held, language, "not applicable")
    held.press("sheet-close")
    while item_asked(held):
        answer_ok(held)
    said += look(held, language, "all answered")
    held.press("finish-check")
    held.by("check-result").wait_for()
    said += look(held, language, "the result")
    held.press("to-machine")
    held.by("machine-state").wait_for()
    said += look(held, language, "a machine that was checked")
    assert said == []
    assert LOOKED[held] >= WALKS["check"]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_red_notice_comes_first_is_counted_and_is_seen(held: Phone, plant: Plant, all_cranes: list[Crane], language: str) -> None:
    worker, starter = Client(plant.origin).sign_in("worker"), Client(plant.origin).sign_in("supervisor")
    crane = f"machine/{all_cranes[5].id}"
    worker.act(crane, "stop_use", {"reason": "the hook"})
    assert [verdict["state"] for verdict in worker.push()] == ["ok"]
    starter.act(crane, "resume", {})
    assert [verdict["code"] for verdict in starter.push()] == ["flow.stopped_since"]
    held.open("/sign-in")
    held.page.evaluate("language => localStorage.setItem('anlu.lang', language)", language)
    held.open("/sign-in")
    held.sign_in("safety")
    held.by("today-notices").wait_for()
    said = look(held, language, "Today with a red notice")
    count = held.by("nav-alarms").locator(".dot").inner_text()
    held.press("nav-alarms")
    held.by("notices").wait_for()
    assert count == str(held.by("notice-row").count())
    assert held.by("notice-row").first.get_attribute("data-level") == "red"
    assert held.by("alarms-empty").is_visible()
    said += look(held, language, "Alarms with a notice")
    held.by("notice-row").first.click()
    held.by("about").wait_for()
    said += look(held, language, "a notice")
    held.press("act-seen")
    held.by("f-note").wait_for()
    held.by("f-note").locator("input, textarea").fill("7号" if language == "zh" else "It stands.")
    held.press("form-submit")
    go(held, "/alarms")
    held.page.wait_for_function(f"() => document.querySelectorAll('[data-testid=notice-row]').length === {int(count) - 1}")
    assert said == []
    assert LOOKED[held] >= WALKS["notice"]


def test_no_route_is_left_out(new_phone: Callable[..., Phone]) -> None:
    """The router's own list against what the walks look at: a new screen comes with somebody who looks at it."""
    # It looks with this file's eyes.
    from tests.e2e.test_desk import SCREENS

    held = new_phone()
    held.open("/sign-in")
    held.by("sign-in-username").wait_for()
    routed = set(held.page.evaluate(f"() => {ROUTER}.getRoutes().filter((one) => one.name && !one.redirect).map((one) => one.name)"))
    desk = set(held.page.evaluate(f"paths => paths.map((path) => {ROUTER}.resolve(path).name)", sorted(SCREENS)))
    assert routed - set().union(*WALKS.values()) - desk == set()
    assert set().union(*WALKS.values()) - routed == set(), "a walk names a route that is gone"
