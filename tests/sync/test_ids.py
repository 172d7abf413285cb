"""Derived ids are never to change: phones and ledgers hold them. pwa/tests/sync/ids.test.ts asserts the same ones."""

from backend.kernel import ids


def test_derived_ids_are_the_phones() -> None:
    assert str(ids.NAMESPACE) == "032db8d0-15a8-57a2-8fe8-18d87e00c01d"
    assert ids.PLANT == "cac7658c-37bd-58f0-92e8-5373cb251b1c"
    assert ids.kind_document("hazard", 3) == "15995e3c-d115-5eb9-a53e-6bcbd430d8a1"
    assert ids.spawned("ab" * 32, "缺陷") == "c46b8cec-79cf-5ec5-80a9-ebe6d932b100"
    assert ids.derived("x" * 1000) == "1b66520c-7b99-5024-a8a6-84438ef3b4eb"


def test_a_uuidv7_carries_its_time_and_its_chance() -> None:
    assert ids.uuid7(1790000000123, bytes(range(0xF0, 0xFA))) == "01a0c450-6c7b-70f1-b2f3-f4f5f6f7f8f9"
