"""Time zones by their distance from UTC."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

from stream.survey.points import DAY_MS, HOUR_MS, MINUTE_MS

LIKELY = (
    "UTC", "Europe/London", "Europe/Berlin", "Europe/Helsinki", "Europe/Moscow", "Europe/Samara",
    "Asia/Yekaterinburg", "Asia/Omsk", "Asia/Novosibirsk", "Asia/Irkutsk", "Asia/Vladivostok", "Asia/Dubai",
    "Asia/Tashkent", "Asia/Kolkata", "Asia/Singapore", "Asia/Tokyo", "Australia/Sydney", "America/New_York",
    "America/Chicago", "America/Denver", "America/Los_Angeles", "America/Sao_Paulo",
)  # fmt: skip
"""Where servers stand; of several zones that fit, these are named first."""
PLACES = ("Africa/", "America/", "Asia/", "Atlantic/", "Australia/", "Europe/", "Indian/", "Pacific/")


def offset_at(zone: ZoneInfo, instant: int) -> int:
    """How far the zone's clocks are ahead of UTC, in ms."""
    offset = datetime.fromtimestamp(instant / 1000, zone).utcoffset()
    assert offset is not None
    return round(offset.total_seconds() * 1000)


def offset_text(offset: int) -> str:
    """`UTC+1`, `UTC-3:30`."""
    hours, minutes = divmod(abs(offset) // MINUTE_MS, 60)
    return "UTC" if offset == 0 else f"UTC{'+' if offset > 0 else '-'}{hours}{f':{minutes:02}' if minutes else ''}"


def fitting(seen: Mapping[int, int]) -> list[str]:
    """The zones with these distances from UTC, by instant; the likelier ones first."""
    named = [*LIKELY, *sorted(name for name in available_timezones() if name.startswith(PLACES) and name not in LIKELY)]
    fixed = [] if set(seen.values()) == {0} else _fixed(set(seen.values()))
    fit = [name for name in named if all(offset_at(ZoneInfo(name), at) == offset for at, offset in seen.items())]
    return fit + fixed


def _fixed(offsets: set[int]) -> list[str]:
    """The zone that is always so far away (its sign is the other way round)."""
    offset = next(iter(offsets))
    return [f"Etc/GMT{-offset // HOUR_MS:+}"] if len(offsets) == 1 and offset % HOUR_MS == 0 else []


def seasons(now: int) -> list[int]:
    """The latest middles of January and of July: wherever clocks are changed at all, they differ there."""
    year = datetime.fromtimestamp(now / 1000, UTC).year
    found = []
    for month in (1, 7):
        middles = (datetime(each, month, 15, 12, tzinfo=UTC).timestamp() * 1000 for each in (year, year - 1))
        found.append(round(next(at for at in middles if at < now - 2 * DAY_MS)))
    return found
