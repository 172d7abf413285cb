"""The sixteen check lists: every item is there, and each sort of item is judged as its list says."""

from typing import Any

import pytest
from flow_plant import AREA, PHOTO, Plant, person

from backend.flow import load
from backend.flow.kind import CheckItem, Kind, bound_key
from backend.kernel.ids import SERVER_AUTHOR, derived
from backend.sync.op import New

COUNTS = {
    "overhead_crane": 18, "ladle": 14, "converter": 16, "blast_furnace_cast_house": 16, "gas_holder": 16, "gas_area": 16,
    "continuous_caster": 15, "rolling_mill": 14, "belt_conveyor": 14, "forklift": 14, "pressure_vessel": 14,
    "fire_extinguisher_and_hydrant": 15, "electrical_cabinet": 15, "portable_gas_detector": 12, "scba": 13, "hot_metal_rail_car": 14,
}  # fmt: skip
LISTS: dict[str, Kind] = {kind.kind.checklist.id: kind.kind for kind in load.file_kinds() if kind.kind.checklist is not None}
ITEMS: dict[str, CheckItem] = {item.id: item for kind in LISTS.values() for item in kind.items}


def test_there_are_sixteen_lists_and_each_has_every_item() -> None:
    assert {name: len(kind.items) for name, kind in LISTS.items()} == COUNTS
    assert len(COUNTS) == 16
    assert len(ITEMS) == sum(COUNTS.values()) == 236
    for name, kind in LISTS.items():
        assert kind.kind == f"check.{name}"
        assert all(item.id.startswith(f"{name}.") for item in kind.items)


def test_the_items_say_what_the_facts_say() -> None:
    """Sums over the lists: whoever drops or changes a datum meets one of them."""
    items = ITEMS.values()
    assert {sort: sum(item.type == sort for item in items) for sort in ("yes_no", "number", "choice")} == {
        "yes_no": 190,
        "number": 44,
        "choice": 2,
    }
    assert sum(item.critical for item in items) == 179
    assert sum(item.photo_on_fail for item in items) == 178
    assert sum(item.dwell_s for item in items) == 1731
    assert sum(item.plant_sets_limit for item in items) == 24
    assert sum(item.limit_sure is not None for item in items) == 9
    assert {sure: sum(item.sure == sure for item in items) for sure in "ABC"} == {"A": 62, "B": 43, "C": 131}
    assert {scope: sum(item.law_scope == scope for item in items) for scope in ("direct", "general", "none")} == {
        "direct": 105,
        "general": 44,
        "none": 87,
    }
    assert sum(item.law is not None for item in items) == 149
    assert sum(item.min or 0 for item in items) == 2331.35
    assert sum(item.max or 0 for item in items) == 1903.1
    assert {item.id: [(one.id, one.min, one.max) for one in item.conditions] for item in items if item.conditions} == {
        "blast_furnace_cast_house.hearth_temp": [("water_cooled", None, 200)],
        "scba.pressure": [("field_standby_minimum", 15, 30)],
        "hot_metal_rail_car.speed": [("under_furnace", 0, 5)],
    }
    assert {item.id: [(one.value, one.ok) for one in item.options] for item in items if item.options} == {
        "pressure_vessel.quick_door": [("ok", True), ("fail", False), ("na", True)],
        "fire_extinguisher_and_hydrant.gauge": [("green", True), ("yellow", False), ("red", False)],
    }


def test_a_gas_holder_is_called_one() -> None:
    assert LISTS["gas_holder"].title.zh == "煤气柜检查"
    assert LISTS["gas_holder"].title.en == "Gas holder check"


def test_every_type_of_machine_has_one_list() -> None:
    types = [name for kind in LISTS.values() if kind.checklist for name in kind.checklist.equipment_types]
    assert len(types) == len(set(types)) == 34


def test_what_the_plant_must_set_has_a_limit_to_set_it_in() -> None:
    limits = load.plant_limits()
    assert set(limits) == {
        bound_key(item.id, bound)
        for item in ITEMS.values()
        if item.plant_sets_limit
        for bound in ("min", "max")
        if getattr(item, bound) is not None or (item.min is None and item.max is None)
    }
    assert limits["check.ladle.shell_temp.max"] == {
        "title": {"zh": "钢水罐/铁水罐检查：罐壳最高温度（最大值）", "en": "Steel / hot-metal ladle check: Hottest shell point (highest)"},
        "value": 350,
        "unit": "°C",
        "sure": "C",
    }
    assert "value" not in limits["check.ladle.lining_heats.max"]
    assert limits["check.converter.lance_out_temp.max"]["clause"] == "art. 4(4)"


async def machine(plant: Plant, sort: str) -> str:
    key = f"machine/{derived(f'test:{sort}')}"
    fields = {"number": sort[:32], "names": {"zh": "设备", "en": "Machine"}, "type": sort, "area": AREA}
    (verdict,) = await plant.world.sync.say(New(0, 0, 0, SERVER_AUTHOR, key, 1, fields))
    assert verdict.state == "ok" or verdict.code == "op.exists"
    return key


async def begun(plant: Plant, name: str) -> str:
    checklist = LISTS[name].checklist
    assert checklist is not None
    key = await machine(plant, next(iter(checklist.equipment_types)))
    plant.later()
    fields = {"machine": key.partition("/")[2], "mode": checklist.modes[0]}
    return await plant.ok("inspector", "new", fields, kind=f"check.{name}")


async def said(plant: Plant, check: str, item: str, verdict: str, **more: Any) -> str | None:
    return (await plant.say("inspector", "add", check, {"item": item, "verdict": verdict, **more}, "answers"))[1]


def normal(item: CheckItem) -> dict[str, Any]:
    """A normal answer to this item."""
    if item.type == "choice":
        return {"choice": next(one.value for one in item.options if one.ok)}
    if item.type == "number":
        return {"value": item.min if item.min is not None else item.max if item.max is not None else 1}
    return {}


@pytest.mark.parametrize("name", sorted(COUNTS))
async def test_each_list_is_walked_to_its_end(plant: Plant, name: str) -> None:
    check = await begun(plant, name)
    phone = await plant.phone("inspector")
    for item in LISTS[name].items:
        phone.add(
            check, {"item": item.id, "verdict": "ok", "dwell_ms": int(item.dwell_s * 1000), "media": [PHOTO], **normal(item)}, "answers"
        )
    phone.act(check, "finish")
    assert {(verdict.state, verdict.code) for verdict in (await phone.push_new()).verdicts} == {("ok", None)}
    seen = await plant.world.view(check)
    assert (seen["status"], seen["hurried"], seen["quick_count"], seen["proof_missing"]) == ("passed", False, 0, 0)
    assert seen["authority"] == ("given" if seen["mode"].startswith("pre_") else "none")


async def test_an_item_answered_by_options_is_normal_by_a_normal_one_only(plant: Plant) -> None:
    check, item = await begun(plant, "fire_extinguisher_and_hydrant"), "fire_extinguisher_and_hydrant.gauge"
    assert await said(plant, check, item, "ok") == "check.choice_needed"
    assert await said(plant, check, item, "ok", choice="yellow") == "check.choice_needed"
    assert await said(plant, check, item, "ok", choice="purple") == "check.choice_needed"
    assert await said(plant, check, item, "ok", choice="green") is None
    assert await said(plant, check, item, "bad", choice="yellow") is None


async def test_a_case_has_bounds_of_its_own(plant: Plant) -> None:
    check, item = await begun(plant, "hot_metal_rail_car"), "hot_metal_rail_car.speed"
    assert await said(plant, check, item, "ok", value=8) is None
    assert await said(plant, check, item, "ok", value=8, condition="under_furnace") == "check.value_out_of_limits"
    assert await said(plant, check, item, "ok", value=5, condition="under_furnace") is None
    assert await said(plant, check, item, "ok", value=5, condition="uphill") == "check.condition_unknown"
    assert await said(plant, check, item, "bad", value=8, condition="under_furnace") is None


async def test_a_limit_that_the_plant_sets_stands_over_the_list_s_figure(plant: Plant) -> None:
    admin = {"names": {"zh": "孙", "en": "Sun"}, "roles": [{"role": "admin"}]}
    await plant.world.sync.say(New(0, 0, 0, SERVER_AUTHOR, f"person/{person('admin2')}", 1, admin))
    check = await begun(plant, "ladle")
    temp, heats = "ladle.shell_temp", "ladle.lining_heats"
    assert await said(plant, check, temp, "ok", value=351) == "check.value_out_of_limits"
    assert await said(plant, check, heats, "ok", value=9000) is None

    async def change(name: str, value: float) -> None:
        key = f"limit/{derived(f'limit:{name}')}"
        await plant.ok("admin", "act", key, "propose", value=value, reason="measured")
        await plant.ok("admin2", "act", key, "confirm")

    await change("check.ladle.shell_temp.max", 380)
    await change("check.ladle.lining_heats.max", 120)
    assert await said(plant, check, temp, "ok", value=380) is None
    assert await said(plant, check, temp, "ok", value=381) == "check.value_out_of_limits"
    assert await said(plant, check, heats, "ok", value=121) == "check.value_out_of_limits"


async def test_answers_without_their_proof_photo_or_too_fast_are_flagged_and_not_refused(plant: Plant) -> None:
    proofs = 0
    for _ in range(8):
        check = await begun(plant, "forklift")
        phone = await plant.phone("inspector")
        for item in LISTS["forklift"].items:
            phone.add(check, {"item": item.id, "verdict": "ok", "dwell_ms": 900, **normal(item)}, "answers")
        phone.act(check, "finish")
        await phone.push_new()
        seen = await plant.world.view(check)
        assert (seen["status"], seen["quick_count"], seen["hurried"]) == ("passed", len(LISTS["forklift"].items), True)
        drawn = [int(derived(f"proof:{check.partition('/')[2]}:{item.id}")[:8], 16) / 2**32 for item in LISTS["forklift"].items]
        assert seen["proof_missing"] == sum(draw < 0.1 for draw in drawn)
        proofs += seen["proof_missing"]
    assert 0 < proofs < 8 * 14 / 2
