"""A disk that fills under SQLite, at every page that a push wants: nothing of the push is there, and all of it once there is room again."""

import pytest
from world import Phone, World

from backend.store import DatabaseAway

REFUSED_MIN = 8
"""A push that finds no room at fewer places than this shows little."""
PAGES_MAX = 1_000


@pytest.fixture
def store_kind() -> str:
    return "sqlite"


def say(phone: Phone, n: int) -> None:
    """New things, changes of them and long remarks: more than the pages that are there have room for."""
    for one in range(12):
        doc = phone.new({"note": f"{n} {one} " + "熔" * 900})
        phone.set(doc, {"amount": one})
        phone.add(doc, {"text": "漏" * 300})


async def test_a_push_that_finds_no_room_at_any_page_is_told_to_come_again_and_is_there_once_afterwards(world: World):
    phone = await world.phone()
    say(phone, 0)
    first = await phone.push_new()
    writer = world.store._writer  # type: ignore[attr-defined]

    async def page_count(most: int) -> int:
        """Let the database grow to this many pages; how many it has."""
        await writer.call(writer.rows, f"PRAGMA max_page_count = {most}", ())
        (row,) = await writer.call(writer.rows, "PRAGMA page_count", ())
        return int(row[0])

    async def entries() -> int:
        (row,) = await world.rows("SELECT COUNT(*) AS n FROM ledger")
        return int(row["n"])

    say(phone, 1)
    held, before, refused = await page_count(PAGES_MAX * 2), await entries(), 0
    answer = None
    while answer is None and refused < PAGES_MAX:
        await page_count(held + refused)
        try:
            answer = await phone.push_new()
        except DatabaseAway:
            refused += 1
            assert await entries() == before
    await page_count(PAGES_MAX * 2)
    assert answer is not None
    assert refused >= REFUSED_MIN
    assert {verdict.state for verdict in answer.verdicts} == {"ok"}
    assert await entries() == before + len(answer.verdicts)
    again = await phone.push()
    assert [(v.op, v.seq) for v in again.verdicts] == [(v.op, v.seq) for v in (*first.verdicts, *answer.verdicts)]
