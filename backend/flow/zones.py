"""The offsets of a time zone, span by span, from tzdata: made once by the server and kept in the calendar document, so that every phone
adds the same minutes whatever its browser knows of the zone."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

YEARS_BEFORE = 2
YEARS_AHEAD = 15
SPANS_MAX = 80
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


def zone_offsets(zone: str, now: int) -> list[dict[str, Any]] | None:
    """`[{since, offset_min}, …]` from two years before `now` (Unix ms) to fifteen after; the first holds for all before. None where there
    is no such zone."""
    try:
        place = ZoneInfo(zone) if zone in available_timezones() else None
    except (ValueError, ZoneInfoNotFoundError):
        place = None
    if place is None:
        return None
    year = datetime.fromtimestamp(now / 1000, UTC).year
    at, end = datetime(year - YEARS_BEFORE, 1, 1, tzinfo=UTC), datetime(year + YEARS_AHEAD, 1, 1, tzinfo=UTC)
    found = [{"since": 0, "offset_min": _offset(place, at)}]
    while at < end and len(found) < SPANS_MAX:
        if _offset(place, at + DAY) != found[-1]["offset_min"]:
            change = _change(place, at, at + DAY)
            found.append({"since": int(change.timestamp() * 1000), "offset_min": _offset(place, change)})
        at += DAY
    return found


def _offset(place: ZoneInfo, at: datetime) -> int:
    offset = at.astimezone(place).utcoffset() or timedelta(0)
    return round(offset.total_seconds() / 60)


def _change(place: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The minute at which the offset changes between two moments."""
    before = _offset(place, low)
    while high - low > MINUTE:
        middle = low + (high - low) // 2
        middle = middle.replace(second=0, microsecond=0)
        low, high = (middle, high) if _offset(place, middle) == before else (low, middle)
    return high
