"""The demo plant is the same everywhere, and says what can be tried."""

from collections import Counter

import pytest

from backend.demo import AREAS, MACHINES, PEOPLE, ops, tag_code, welcome
from backend.domains.equipment import codes
from backend.web.logs import without_secrets


@pytest.fixture(params=["sqlite", "postgres"])
def store_kind(request: pytest.FixtureRequest) -> str:
    """Here on both databases; see conftest.py."""
    kind: str = request.param
    return kind


VERSIONS = dict.fromkeys(("area", "person", "machine", "tag"), 1)


def test_every_demo_plant_is_the_same():
    assert ops(VERSIONS) == ops(VERSIONS)
    assert len({op.doc for op in ops(VERSIONS) if op.verb == "new"}) == 5 + 8 + 20 + 20


def test_it_has_5_areas_20_machines_mostly_ladle_cranes_and_8_accounts():
    assert (len(AREAS), len(MACHINES)) == (5, 20)
    assert [p.username for p in PEOPLE] == ["worker", "inspector", "guardian", "supervisor", "safety", "gate", "manager", "admin"]
    types = Counter(machine.type for machine in MACHINES)
    assert types["overhead_crane"] > 10
    assert len(types) > 8


def test_each_machine_has_a_tag_of_its_own_that_can_be_typed():
    tags = [tag_code(machine.number) for machine in MACHINES]
    assert len(set(tags)) == 20
    assert all(codes.parse(codes.typed(tag)) == tag for tag in tags)


def test_the_screen_names_every_account_the_password_and_a_code_in_both_languages():
    shown = welcome("http://127.0.0.1:8000", "labels.pdf")
    for text in (shown.zh, shown.en):
        assert "anlu-demo" in text
        assert "labels.pdf" in text
        assert codes.typed(tag_code(MACHINES[0].number)) in text
        assert all(f"\n  {person.username} " in text for person in PEOPLE)


async def test_everybody_of_the_demo_gets_in(plant):
    for person in PEOPLE:
        phone = await plant.phone().sign_in(person.username)
        assert phone.signed_in["person"]["names"]["zh"] == person.names.zh


def test_logs_blank_secrets_and_positions_wherever_they_stand():
    event = {"event": "x", "password": "p", "inner": {"lat": 31.4, "list": [{"author_token": "t", "kept": 1}]}}
    assert without_secrets(None, "", event) == {
        "event": "x",
        "password": "…",
        "inner": {"lat": "…", "list": [{"author_token": "…", "kept": 1}]},
    }
