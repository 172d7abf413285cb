"""Demo plants are the same everywhere, say what can be tried, and have a past that could have been."""

import asyncio
import io
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from backend.app import build
from backend.audit.verify import verify
from backend.demo import AREAS, MACHINES, PEOPLE, Past, area_id, large, machine_id, ops, person_id, seed, small, tag_code, welcome
from backend.demo.history import History, history
from backend.demo.pictures import SCENES, draw
from backend.demo.plant import CALENDAR
from backend.demo.shots import Shot
from backend.domains.equipment import codes
from backend.flow.load import file_kinds
from backend.kernel.errors import Text
from backend.settings import Settings
from backend.store import Store
from backend.sync.op import Act, Add, New
from backend.sync.rebuild import differences
from backend.web.logs import without_secrets


@pytest.fixture(params=["sqlite", "postgres"])
def store_kind(request: pytest.FixtureRequest) -> str:
    """Here on both databases; see conftest.py."""
    kind: str = request.param
    return kind


VERSIONS = {kind.name: kind.kind.version for kind in file_kinds()}
NOW = 1_795_300_000_000
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def told() -> History:
    return history(large(), file_kinds(), NOW)


def test_every_demo_plant_is_the_same():
    for plant in (small(), large()):
        assert ops(plant, VERSIONS, NOW) == ops(plant, VERSIONS, NOW)
    begun = Counter(op.doc.partition("/")[0] for op in ops(small(), VERSIONS, NOW) if op.verb == "new")
    assert (begun["area"], begun["person"], begun["machine"], begun["tag"]) == (5, 8, 20, 22)


def test_the_small_one_has_5_areas_20_machines_mostly_ladle_cranes_and_8_accounts():
    assert (len(AREAS), len(MACHINES)) == (5, 20)
    assert [p.username for p in PEOPLE] == ["worker", "inspector", "guardian", "supervisor", "safety", "gate", "manager", "admin"]
    types = Counter(machine.type for machine in MACHINES)
    assert types["overhead_crane"] > 10
    assert len(types) > 8
    assert codes.typed(tag_code("LG-QZ-01")) == "K3ZG-JARZ"


def test_the_large_one_holds_it_and_has_40_areas_300_machines_of_all_16_lists_120_people_30_of_them_contractors_and_12_rounds():
    plant = large()
    assert (len(plant.areas), len(plant.machines), len(plant.people), len(plant.routes)) == (40, 300, 120, 12)
    outside = [one for one in plant.people if one.contractor]
    assert len(outside) == 30
    assert len({one.employer for one in outside}) == 5
    lists = {
        kind.name
        for kind in file_kinds()
        if kind.kind.checklist
        for one in plant.machines
        if one.type in kind.kind.checklist.equipment_types
    }
    assert len(lists) == 16
    assert plant.people[: len(PEOPLE)] == PEOPLE
    assert [one.number for one in plant.machines[: len(MACHINES)]] == [one.number for one in MACHINES]
    for named in ([one.code for one in plant.areas], [one.number for one in plant.machines], [one.names.zh for one in plant.people]):
        assert len(set(named)) == len(named)
    assert all(area.box is not None and min(area.box) >= 0 and max(area.box) <= 1 for area in plant.areas)


def test_each_machine_has_a_tag_of_its_own_that_can_be_typed():
    tags = [tag_code(machine.number) for machine in large().machines]
    assert len(set(tags)) == 300
    assert all(codes.parse(codes.typed(tag)) == tag for tag in tags)


def test_the_screen_names_every_account_the_password_and_a_code_in_both_languages():
    for plant in (small(), large()):
        shown = welcome(plant, "http://127.0.0.1:8000", "labels.pdf")
        for text in (shown.zh, shown.en):
            assert "anlu-demo" in text
            assert "labels.pdf" in text
            assert codes.typed(tag_code(MACHINES[0].number)) in text
            assert all(f"\n  {person.username} " in text for person in PEOPLE)
            assert str(len(plant.machines)) in text


async def test_everybody_of_the_demo_gets_in(plant):
    for person in PEOPLE:
        phone = await plant.phone().sign_in(person.username)
        assert phone.signed_in["person"]["names"]["zh"] == person.names.zh


# The past.


def test_two_plants_begun_at_the_same_moment_have_the_same_past_and_a_later_one_the_same_as_long_before(told: History):
    assert history(large(), file_kinds(), NOW) == told
    # After so many days the crews, and whoever takes their turn where a crew lacks somebody, come round again.
    later = history(large(), file_kinds(), NOW + 60 * DAY_MS)

    def relative(of: History, now: int) -> list[tuple[Any, ...]]:
        return [(now - event.at, event.op.author, event.op.verb, event.op.doc, event.name, event.of) for event in of.events]

    assert relative(later, NOW + 60 * DAY_MS) == relative(told, NOW)
    assert later.shots == told.shots


def test_the_past_is_30_days_of_checks_hazards_and_rounds_in_every_state(told: History):
    days = {CALENDAR.day(event.at) for event in told.events if isinstance(event.op, New) and event.op.doc.startswith("check.")}
    assert len(days) in (30, 31)
    assert max(event.at for event in told.events) <= NOW
    begun = Counter(event.op.doc.partition("/")[0].partition(".")[0] for event in told.events if isinstance(event.op, New))
    assert begun["check"] > 600
    assert begun["hazard"] > 150
    assert begun["round"] > 300
    steps = Counter(event.op.transition for event in told.events if isinstance(event.op, Act))
    for step in ("finish", "assign", "done", "close", "send_back", "void", "clear", "miss", "chase", "waive", "begin", "expire"):
        assert steps[step], step
    found = [event for event in told.events if event.name]
    assert 0 < steps["clear"] < len(found)
    assert 400 < len(told.shots) < 900
    assert {shot.scene for shot in told.shots} == set(SCENES)


def test_whoever_tries_it_finds_something_to_do_in_their_area(told: History):
    steps: dict[str, list[str]] = {}
    areas = {}
    for event in told.events:
        if isinstance(event.op, New) and event.op.doc.startswith("hazard/"):
            steps[event.op.doc], areas[event.op.doc] = [], event.op.fields["area"]
        if isinstance(event.op, Act) and event.op.doc in steps:
            steps[event.op.doc].append(event.op.transition)
    here = [done for doc, done in steps.items() if areas[doc] in (area_id("steelmaking"), area_id("casting"))]
    assert {(), ("assign",), ("assign", "done")} <= {tuple(done) for done in here}
    mine = [event.op.input for event in told.events if isinstance(event.op, Act) and event.op.transition == "assign"]
    assert any(given["assignee"] == person_id("worker") for given in mine)
    begins = CALENDAR.working_shift(NOW).begins
    checked = [event.at for event in told.events if isinstance(event.op, New) and event.op.fields.get("machine") == machine_id("LG-QZ-01")]
    assert not any(at > begins - 1_800_000 for at in checked), "the first crane waits to be checked"


def test_the_whole_past_of_thirty_days_is_the_same_each_time(told: History):
    again = history(large(), file_kinds(), NOW)
    assert again.events == told.events
    assert again.shots == told.shots
    begun = {event.op.doc for event in told.events if isinstance(event.op, New)}
    days = {CALENDAR.day(event.at) for event in told.events}
    assert len(days) >= 30
    assert len(begun) > 1_500
    assert len(told.events) > 20_000
    assert len(told.shots) > 600


def test_nobody_is_in_two_places_at_once_and_few_notes_are_twice(told: History):
    busy: dict[str, list[tuple[int, int]]] = {}
    begun: dict[str, int] = {}
    for event in told.events:
        if isinstance(event.op, New) and event.op.doc.startswith("check."):
            begun[event.op.doc] = event.at
        if isinstance(event.op, Act) and event.op.transition == "finish" and event.op.doc in begun:
            busy.setdefault(str(event.op.author), []).append((begun[event.op.doc], event.at))
    assert len(busy) > 40
    for spans in busy.values():
        spans.sort()
        assert all(first[1] <= second[0] for first, second in pairwise(spans))
    notes = [event.op.fields["note"] for event in told.events if isinstance(event.op, New) and "note" in event.op.fields]
    notes += [event.op.item["note"] for event in told.events if isinstance(event.op, Add) and event.op.item.get("verdict") == "bad"]
    assert len(set(notes)) > 0.95 * len(notes)


def test_photos_are_drawn_the_same_each_time_differ_from_one_another_and_are_small():
    drawn = {}
    for scene in SCENES:
        for wrong in (True, False):
            content, width, height = draw(Shot(scene, wrong, "a"))
            assert Image.open(io.BytesIO(content)).size == (width, height)
            assert len(content) < 60_000
            drawn[content] = scene
    assert len(drawn) == 2 * len(SCENES)
    assert draw(Shot("rope", True, "a")) == draw(Shot("rope", True, "a"))
    plan, width, _ = draw(Shot("plan", False, ""))
    assert width >= 1600
    assert len(plan) < 400_000


async def laid(folder: Path, now: int, *, cut: bool = False, database: str = "") -> dict[str, Any]:
    """The documents of a large plant with three days behind it. `cut`: it was stopped on the way, and went on."""
    app = build(Settings(data=str(folder), database=database, password_ms=20))
    async with app.lifespan():
        for task in asyncio.all_tasks():
            if task.get_name() == "anlu-deadlines":
                task.cancel()  # as in a demo, where they wait for the past
        store, sync, judge, media, auth = (app.state[name] for name in ("store", "sync", "judge", "media", "auth"))
        await seed(large(), store, sync.say, VERSIONS, auth.passwords, now, days=3)

        def past() -> Past:
            return Past(large(), store, sync, judge, media, folder / "photos", sync.clock, said.append)

        said: list[Text] = []
        if cut:
            task = asyncio.create_task(past().lay())
            async with asyncio.timeout(120):
                while (await mark(store))["laid"] < 800:
                    await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert not (await mark(store))["over"]
        last = past()
        await last.lay()
        await last.send()
        assert last.refused == 0
        assert (await mark(store))["over"]
        assert not (folder / "photos").exists()
        report = await verify(store, auth.keys, lambda: differences(store, judge))
        assert report.ok, report.text()
        async with store.read() as tx:
            refused = await tx.one("SELECT COUNT(*) AS n FROM ledger WHERE state <> 'ok'")
            missing = await tx.one(
                "SELECT COUNT(*) AS n FROM media_ref WHERE sha256 NOT IN (SELECT sha256 FROM media WHERE state = 'stored')"
            )
            arrived = await tx.one("SELECT MIN(at) AS at FROM ledger WHERE what = 'op'")
            found = await tx.all("SELECT key, body, created_at FROM document")
        assert (refused["n"], missing["n"]) == (0, 0)
        assert arrived["at"] >= now, "the ledger pretends to have been there"
        return {row["key"]: (row["created_at"], msgspec.json.decode(row["body"])) for row in found}


async def mark(store: Store) -> dict[str, Any]:
    async with store.read() as tx:
        row = await tx.one("SELECT value FROM meta WHERE name = 'demo'")
    return msgspec.json.decode(row["value"])


def plain(documents: dict[str, Any]) -> list[Any]:
    """What they say, without clocks; ids that follow from an op's very bytes are told by what they are about."""
    names = {}
    for key, (_, body) in documents.items():
        if key.startswith("hazard/") and "source" in body["fields"]:
            names[key.removeprefix("hazard/")] = f"{body['fields']['source'][0]}#{body['fields']['item'][0]}"
    found = []
    for key, (at, body) in documents.items():
        kind = key.partition("/")[0]
        if kind in KINDS or kind.startswith("check."):
            fields = {name: value for name, (value, *_) in sorted(body["fields"].items())}
            sets = {name: sorted((item for item, *_ in items.values()), key=str) for name, items in sorted(body["sets"].items())}
            said = msgspec.json.encode([key, at, body["status"], fields, sets]).decode()
            for name, other in names.items():
                said = said.replace(name, other)
            found.append(said)
    return sorted(found)


KINDS = ("area", "person", "machine", "tag", "roster", "round.route", "round", "hazard", "plan")


async def test_two_seedings_agree_where_one_is_on_postgresql_and_was_cut_off_and_verify_is_clean(tmp_path: Path, databases: Any):
    now = time.time_ns() // 1_000_000
    first = await laid(tmp_path / "one", now)
    url = databases.new()
    second = await laid(tmp_path / "two", now, cut=True, database=url)
    databases.drop(url)
    assert plain(first) == plain(second)
    kinds = Counter(key.partition("/")[0] for key in first)
    assert (kinds["area"], kinds["machine"], kinds["person"], kinds["round.route"], kinds["plan"]) == (40, 300, 120, 12, 1)
    assert kinds["check.overhead_crane"] > 20
    bound = [body for key, (_, body) in first.items() if key.startswith("tag/") and body["status"] == "bound"]
    assert len(bound) == 300
    spots = next(body for key, (_, body) in first.items() if key.startswith("plan/"))["sets"]["spots"]
    assert len(spots) == 40


def test_logs_blank_secrets_and_positions_wherever_they_stand():
    event = {"event": "x", "password": "p", "inner": {"lat": 31.4, "list": [{"author_token": "t", "kept": 1}]}}
    assert without_secrets(None, "", event) == {
        "event": "x",
        "password": "…",
        "inner": {"lat": "…", "list": [{"author_token": "…", "kept": 1}]},
    }
