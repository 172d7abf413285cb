"""The main job, as it is done: a crane's tag is scanned and the crane checked where there is no network. Nothing about it is simulated.

The camera is Chromium's, fed with frames of the label that the plant printed; the browser cuts the network; the server is the product's.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.e2e.camera import photo
from tests.e2e.client import Client
from tests.e2e.harness import Phone, Plant
from tests.e2e.plants import Crane

ROPE = "overhead_crane.rope"
NUMBERS = {"overhead_crane.rope_turns": "3", "overhead_crane.clearance": "2.1"}
NOTE = "一个捻距内断丝 14 根"


def scan(held: Phone, crane: Crane) -> None:
    """The middle button, the camera, and the machine's page."""
    held.press("scan-key")
    held.page.wait_for_url(re.compile(f"/machines/{crane.id}"))


def type_code(held: Phone, crane: Crane) -> None:
    """A dirty tag: the camera makes nothing of it, its code is typed."""
    held.page.evaluate("() => { navigator.mediaDevices.getUserMedia = () => new Promise(() => {}); }")
    held.press("scan-key")
    held.press("type-code")
    held.type("typed-code", crane.code)
    held.press("typed-code-go")
    held.page.evaluate("() => { delete navigator.mediaDevices.getUserMedia; }")
    held.page.wait_for_url(re.compile(f"/machines/{crane.id}"))


def item_on_screen(held: Phone) -> str:
    return str(held.by("check-item").get_attribute("data-item"))


def item_asked(held: Phone) -> bool:
    """Whether an item is asked, once the answer before is said."""
    held.page.locator('[data-testid="answer-ok"]:enabled, [data-testid="finish-check"]').first.wait_for()
    return not held.by("finish-check").is_visible()


def answer_ok(held: Phone) -> None:
    item = item_on_screen(held)
    for digit in NUMBERS.get(item, ""):
        held.press("key-point" if digit == "." else f"key-{digit}")
    drawn = held.by("wants-proof").count() > 0
    held.press("answer-ok")
    if drawn:
        # The draw fell on this item: it is photographed though it is normal.
        held.by("photo-choose").set_input_files(files=[{"name": "proof.jpg", "mimeType": "image/jpeg", "buffer": photo()}])
        held.press("proof-submit")
    expect(held.page.locator(f'[data-testid="check-item"][data-item="{item}"]')).to_have_count(0)


def answer_bad(held: Phone, picture: Path) -> None:
    item = item_on_screen(held)
    held.press("answer-bad")
    held.by("photo-choose").set_input_files(picture)
    held.press("grade-red")
    held.type("bad-note", NOTE)
    held.press("bad-submit")
    expect(held.page.locator(f'[data-testid="check-item"][data-item="{item}"]')).to_have_count(0)


def rest_is_normal(held: Phone) -> None:
    """The key that answers the rest; a number is read first, where one is on screen."""
    while item_asked(held):
        if held.by("rest-normal").count():
            held.press("rest-normal")
            return
        answer_ok(held)


def answer(held: Phone, picture: Path | None = None) -> None:
    """The item on screen, whichever the check's own order brings; the rope is bad where there is a picture of it."""
    if picture and item_on_screen(held) == ROPE:
        answer_bad(held, picture)
    else:
        answer_ok(held)


def answer_all(held: Phone, picture: Path | None = None) -> None:
    """Item by item to the end; the rope is bad where there is a picture of it."""
    while item_asked(held):
        answer(held, picture)


def go_to(held: Phone, path: str) -> None:
    held.page.evaluate("path => document.querySelector('#app').__vue_app__.config.globalProperties.$router.push(path)", path)


def checks_of(client: Client, crane: Crane) -> dict[str, dict[str, Any]]:
    client.pull()
    return {one: check for one, check in client.of_kind("check.overhead_crane").items() if check["machine"] == crane.id}


def picture_file(folder: Path) -> Path:
    file = folder / "rope.jpg"
    file.write_bytes(photo())
    return file


def test_a_crane_checked_without_a_network_is_on_the_server_once_and_out_of_use_on_every_phone(
    new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane], tmp_path: Path
) -> None:
    crane = all_cranes[0]
    inspector, supervisor = new_phone(), new_phone()
    inspector.sign_in("inspector")
    inspector.ready_offline()
    supervisor.sign_in("supervisor")
    supervisor.page.evaluate(
        "path => document.querySelector('#app').__vue_app__.config.globalProperties.$router.push(path)", f"/machines/{crane.id}"
    )
    expect(supervisor.by("machine-state")).not_to_have_attribute("data-state", "fault")

    # No network from before the scan until after the check.
    inspector.offline()
    scan(inspector, crane)
    inspector.press("begin-check")
    inspector.by("check-item").wait_for()
    for _ in range(3):
        answer(inspector, picture_file(tmp_path))

    # The phone restarts the app in the middle: it goes on at the same item.
    before = item_on_screen(inspector)
    inspector.page.reload()
    inspector.by("check-item").wait_for()
    assert item_on_screen(inspector) == before

    answer_all(inspector, picture_file(tmp_path))
    inspector.press("finish-check")
    expect(inspector.by("check-result")).to_have_attribute("data-status", "failed")
    expect(inspector.by("pending")).to_be_visible()
    inspector.press("to-machine")
    expect(inspector.by("machine-state")).to_have_attribute("data-state", "fault")

    # Still without a network: a reload keeps it all, and other work goes on.
    inspector.today()
    inspector.page.reload()
    inspector.by("scan-key").wait_for()
    assert inspector.unsent() >= 20
    office = Client(plant.origin).sign_in("admin")
    assert checks_of(office, crane) == {}

    # The network returns. Nobody presses anything.
    inspector.offline(False)
    inspector.synced()
    expect(supervisor.by("machine-state")).to_have_attribute("data-state", "fault", timeout=20_000)
    expect(supervisor.by("fault")).to_have_count(1)

    [(check_id, check)] = checks_of(office, crane).items()
    assert check["status"] == "failed"
    answers = office.docs[f"check.overhead_crane/{check_id}"][1]["sets"]["answers"]
    assert len(answers) == 18
    hazards = {one: h for one, h in office.of_kind("hazard").items() if h["machine"] == crane.id}
    [(hazard_id, hazard)] = hazards.items()
    assert hazard["status"] == "reported"
    machine = office.of_kind("machine")[crane.id]
    assert len(machine["open_faults"]) == 1
    assert not machine.get("authority_until")

    # The supervisor opens what came of it, and sees the very photo.
    [media] = [one for entry in answers.values() if entry[0]["verdict"] == "bad" for one in entry[0]["media"]]
    supervisor.today()
    supervisor.press("open-hazards")
    supervisor.page.locator(f'a[href$="/hazards/{hazard_id}"]').click()
    expect(supervisor.page.get_by_text(NOTE).first).to_be_visible()
    picture = supervisor.page.locator("main img").first
    expect(picture).to_be_visible(timeout=30_000)
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    stored = office.http.get(f"/api/media/{media['sha256']}/original")
    assert stored.status_code == 200
    assert b"Anlu test" not in stored.content


def test_a_competent_person_clears_the_fault_with_proof_and_a_passed_check_gives_authority_until_the_shift_ends(
    new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane], tmp_path: Path
) -> None:
    crane = all_cranes[3]
    worker, supervisor = new_phone(), new_phone()
    worker.sign_in("worker")
    supervisor.sign_in("supervisor")
    supervisor.page.evaluate(
        "path => document.querySelector('#app').__vue_app__.config.globalProperties.$router.push(path)", f"/machines/{crane.id}"
    )
    type_code(worker, crane)
    worker.press("begin-check")
    worker.by("check-item").wait_for()
    answer_all(worker, picture_file(tmp_path))
    worker.press("finish-check")
    expect(worker.by("check-result")).to_have_attribute("data-status", "failed")
    worker.press("to-machine")
    expect(worker.by("machine-state")).to_have_attribute("data-state", "fault")
    expect(worker.by("clear-fault")).to_have_count(0)

    expect(supervisor.by("machine-state")).to_have_attribute("data-state", "fault")
    supervisor.press("clear-fault")
    supervisor.by("photo-choose").set_input_files(picture_file(tmp_path))
    supervisor.type("clear-note", "已更换钢丝绳")
    supervisor.press("clear-submit")
    expect(supervisor.by("machine-state")).to_have_attribute("data-state", "check")

    # Nobody may run it on that alone: the next check must pass.
    expect(worker.by("machine-state")).to_have_attribute("data-state", "check")
    worker.press("begin-check")
    worker.by("check-item").wait_for()
    rest_is_normal(worker)
    answer_all(worker)
    worker.press("finish-check")
    expect(worker.by("check-result")).to_have_attribute("data-status", "passed")
    expect(worker.by("confirmed")).to_be_visible()
    worker.press("to-machine")
    expect(worker.by("authority")).to_be_visible()
    expect(supervisor.by("authority")).to_be_visible()


def test_the_answer_before_is_changed_with_one_press(new_phone: Callable[..., Phone], all_cranes: list[Crane]) -> None:
    held = new_phone()
    held.sign_in("inspector")
    go_to(held, f"/machines/{all_cranes[1].id}")
    held.press("begin-check")
    first = item_on_screen(held)
    answer_ok(held)
    held.press("undo")
    assert item_on_screen(held) == first


def test_a_yes_without_a_network_says_how_old_it_is(new_phone: Callable[..., Phone], all_cranes: list[Crane]) -> None:
    held = new_phone(timezone_id="UTC")
    held.sign_in("inspector")
    expect(held.page.get_by_text(re.compile("08:00–20:00|20:00–08:00"))).to_be_visible()
    go_to(held, f"/machines/{all_cranes[2].id}")
    held.press("begin-check")
    held.by("check-item").wait_for()
    rest_is_normal(held)
    answer_all(held)
    held.press("finish-check")
    held.press("to-machine")
    expect(held.by("machine-state")).to_have_attribute("data-state", "yes")
    expect(held.by("as-of")).to_have_count(0)
    held.offline()
    expect(held.by("as-of")).to_be_visible()


def test_five_wrong_pins_say_what_they_cleared_and_blame_nobody_else(new_phone: Callable[..., Phone]) -> None:
    held = new_phone()
    held.sign_in("inspector")
    held.press("nav-me")
    held.press("sign-out")
    held.press("sign-out-confirm")
    held.sign_in("worker", pin="1357")
    held.press("nav-me")
    held.press("lock-now")
    held.page.get_by_text("张伟").first.click()
    for _ in range(5):
        held.pin("9999")
        held.by("problem").wait_for()
    expect(held.by("problem")).to_contain_text("缓存已清除")
    held.page.get_by_text("李敏").first.click()
    expect(held.by("pin-1")).to_be_visible()
    expect(held.by("problem")).to_have_count(0)


def test_what_nobody_proved_waits_among_the_supervisor_s_tasks(
    new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane]
) -> None:
    stranger = Client(plant.origin).sign_in("gate")
    stranger.token = "no token"
    stranger.new("hazard", 1, {"area": all_cranes[0].area, "note": "谁写的"})
    assert [(verdict["state"], verdict["code"]) for verdict in stranger.push()] == [("parked", "author.unproven")]
    held = new_phone()
    held.sign_in("supervisor")
    row = held.by("today-tasks").get_by_text("待决定：刘洋").first
    expect(row).to_be_visible()
    row.click()
    expect(held.by("act-take")).to_be_visible()


def test_a_new_tag_has_a_code_of_its_own_and_one_code_on_two_machines_opens_neither(
    new_phone: Callable[..., Phone], plant: Plant, all_cranes: list[Crane]
) -> None:
    held = new_phone()
    held.sign_in("admin")
    go_to(held, "/k/tag/new")
    expect(held.by("f-code").locator("input").first).to_have_value(re.compile("^[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}$"))
    held.press("form-submit")
    expect(held.by("act-claim")).to_be_visible()

    office = Client(plant.origin).sign_in("admin")
    office.pull()
    office.act(office.new("tag", 1, {"code": all_cranes[4].code}), "claim", {"machine": all_cranes[3].id})
    assert {verdict["state"] for verdict in office.push()} == {"ok"}
    go_to(held, "/k/tag")
    held.type("search", all_cranes[4].code[:4])
    expect(held.by("kind-row")).to_have_count(2)
    go_to(held, f"/t/{all_cranes[4].code}")
    expect(held.by("tag-problem")).to_have_attribute("data-why", "double", timeout=20_000)
