"""What the demo plant walks: three routes, the rosters that say who walks them, and a round that nobody walked in time."""

from typing import Any
from uuid import UUID

from backend.domains.equipment import codes
from backend.flow.calendar import Calendar, written
from backend.kernel.ids import SERVER_AUTHOR, derived
from backend.sync.op import Add, New, Op

HOUR_MS = 3_600_000
ROSTER_DAYS_BEFORE = 2
ROSTER_DAYS_AHEAD = 30
ZONE = Calendar({"offsets": [{"since": 0, "offset_min": 480}]})

DUTY = (
    ("inspector", "steelmaking", "inspector"),
    ("inspector", "cast_house", "inspector"),
    ("worker", "steelmaking", "worker"),
    ("supervisor", "steelmaking", "supervisor"),
    ("safety", None, "safety"),
)
"""Role, area, and who of the demo's people has it in every shift."""

POINTS = {"gate": "炼钢跨东门", "tap": "出铁口平台"}


def route_id(name: str) -> str:
    return derived(f"demo:route:{name}")


def area_id(key: str) -> str:
    return derived(f"demo:area:{key}")


def person_id(username: str) -> str:
    return derived(f"demo:person:{username}")


def machine_id(number: str) -> str:
    return derived(f"demo:machine:{number}")


def point_code(name: str) -> str:
    """The code on the tag of a point that is no machine."""
    return codes.make(UUID(derived(f"demo:tag:point:{name}")).bytes[: codes.CODE_RANDOM_BYTES])


def _names(zh: str, en: str) -> dict[str, str]:
    return {"zh": zh, "en": en}


QUESTIONS = [
    {"id": "oil", "title": _names("减速机漏油", "Oil leaks from the gearbox"), "type": "yes_no", "bad": True},
    {"id": "temp", "title": _names("轴承温度", "Bearing temperature"), "type": "number", "unit": "°C", "max": 75},
]


def _stop(n: int, names: tuple[str, str], do: str, at: tuple[float, float], **more: Any) -> dict[str, Any]:
    return {"id": str(n), "names": _names(*names), "do": do, "place": {"lat": at[0], "lon": at[1]}, **more}


def _routes() -> dict[str, dict[str, Any]]:
    return {
        "cranes": {
            "names": _names("炼钢跨天车巡检", "Cranes of the steelmaking bay"),
            "code": "XJ-01",
            "area": area_id("steelmaking"),
            "role": "inspector",
            "windows": [{"from_min": 0, "until_min": 720}],
            "stops": [
                _stop(
                    1,
                    ("1# 铸造起重机", "Ladle crane 1"),
                    "check",
                    (31.40512, 121.43871),
                    machine=machine_id("LG-QZ-01"),
                    check="check.overhead_crane",
                ),
                _stop(
                    2,
                    ("2# 铸造起重机", "Ladle crane 2"),
                    "questions",
                    (31.40518, 121.43893),
                    machine=machine_id("LG-QZ-02"),
                    questions=QUESTIONS,
                ),
                _stop(3, ("3# 铸造起重机", "Ladle crane 3"), "scan", (31.40524, 121.43915), machine=machine_id("LG-QZ-03")),
                _stop(4, ("7# 钢水罐", "Steel ladle 7"), "scan", (31.40530, 121.43931), machine=machine_id("LG-GB-07")),
                _stop(5, ("东门消防通道", "East gate, fire lane"), "scan", (31.40536, 121.43952), tag=point_code("gate")),
            ],
        },
        "cast_house": {
            "names": _names("高炉出铁场巡检", "Cast house"),
            "code": "XJ-02",
            "area": area_id("cast_house"),
            "role": "inspector",
            "order": "fixed",
            "radius_m": 40,
            "windows": [{"from_min": n * 180, "until_min": n * 180 + 180} for n in range(4)],
            "stops": [
                _stop(1, ("1# 出铁场起重机", "Cast house crane 1"), "scan", (31.40231, 121.43502), machine=machine_id("GL-QZ-01")),
                _stop(2, ("出铁口平台", "Taphole platform"), "scan", (31.40236, 121.43516), tag=point_code("tap")),
                _stop(3, ("1# 高炉出铁场设备", "Cast house of furnace 1"), "scan", (31.40240, 121.43530), machine=machine_id("GL-GL-01")),
                _stop(4, ("2# 铸铁机起重机", "Pig casting crane 2"), "scan", (31.40246, 121.43547), machine=machine_id("GL-QZ-02")),
            ],
        },
        "ladles": {
            "names": _names("钢水罐与转炉巡检", "Ladles and converter"),
            "code": "XJ-03",
            "area": area_id("steelmaking"),
            "role": "worker",
            "windows": [{"from_min": 0, "until_min": 240}, {"from_min": 360, "until_min": 600}],
            "stops": [
                _stop(1, ("7# 钢水罐", "Steel ladle 7"), "scan", (31.40530, 121.43931), machine=machine_id("LG-GB-07")),
                _stop(2, ("1# 转炉", "Converter 1"), "scan", (31.40541, 121.43960), machine=machine_id("LG-ZL-01")),
            ],
        },
    }


def ops(versions: dict[str, int], now: int) -> list[Op]:
    """What the server's own device says of rosters and routes. `now`: Unix ms."""

    def new(kind: str, name: str, fields: dict[str, Any]) -> Op:
        return New(0, 0, 0, SERVER_AUTHOR, f"{kind}/{name}", versions[kind], fields)

    said: list[Op] = []
    today = ZONE.day(now)
    dates = [written(day) for day in range(today - ROSTER_DAYS_BEFORE, today + ROSTER_DAYS_AHEAD)]
    for role, area, person in DUTY:
        name = derived(f"demo:roster:{role}:{area}")
        fields = {"role": role, "from": dates[0], "until": dates[-1]} | ({"area": area_id(area)} if area else {})
        said.append(new("roster", name, fields))
        for date in dates:
            for shift in ("day", "night"):
                line = {"date": date, "shift": shift, "persons": [person_id(person)]}
                said.append(Add(0, 0, 0, SERVER_AUTHOR, f"roster/{name}", "duties", derived(f"{name}:{date}:{shift}"), line))
    for point in POINTS:
        said.append(new("tag", codes.document_id(point_code(point)), {"code": point_code(point)}))
    said += [new("round.route", route_id(name), fields) for name, fields in _routes().items()]
    missed = {
        "route": route_id("cranes"),
        "begins_at": now - 13 * HOUR_MS,
        "ends_at": now - 75 * 60_000,
        "assignees": [person_id("inspector")],
    }
    said.append(new("round", derived("demo:round:missed"), missed))
    return said
