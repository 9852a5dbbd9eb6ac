"""What a ladder must do, once more and by itself: the demo's auditor.  Imports nothing of `stream`.

It is slow and plain on purpose.  It knows the additions of a service (which bytes were added over which interval) and
replays them against a plan in its normal form; the demo compares the speed due with what the platform enforces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

Json: TypeAlias = Mapping[str, Any]
HUNDREDTHS = 100
"""Sums are in hundredths of a byte, so that cutting them loses nothing."""


class Addition(NamedTuple):
    """So many bytes (in and out summed) came to be known, spread over `[start, end)` (ms)."""

    start: int
    end: int
    bytes: int
    backfill: bool


class Total(NamedTuple):
    """A growing total: so many bytes in `[anchor, end)`."""

    anchor: int
    end: int
    bytes: int
    backfill: bool


class Ladder:
    """One service on one plan that counts in and out at 100 %."""

    def __init__(self, plan: Json) -> None:
        self._window: Json = plan["window"]
        self._keep = plan["on_change"] == "keep"
        self._profiles: dict[str, Json] = {profile["name"]: profile for profile in plan["profiles"]}
        self._additions: list[Addition] = []
        self._empty_before = 0
        self.profile: str = plan["profiles"][0]["name"]
        self._next_up: int | None = None
        self._filling = False

    @property
    def speed(self) -> Json:
        """bit/s in and out that the profile allows; None: original."""
        speed: Json = self._profiles[self.profile]["speed"]
        return speed

    def add(self, addition: Addition) -> None:
        """Count; unless it fills in the past, judge each way up within it at its own instant, and the way down at its
        end."""
        self._additions.append(addition)
        filled, self._filling = self._filling, addition.backfill
        if addition.backfill:
            return
        just_lifted = self._rise(addition.end)
        if (addition.bytes or filled) and not just_lifted:
            self._fall(addition.end)
            self._rise(addition.end)

    def _rise(self, until: int) -> bool:
        moved_at = None
        while self._next_up is not None and self._next_up <= until:
            instant = self._next_up
            profile = self._profiles[self.profile]
            used = self._sum(instant, instant)
            if profile["quota"] is None or used < profile["quota"] * HUNDREDTHS:
                target = next(
                    (name for limit, name in profile["up"]["below"] if used < limit * HUNDREDTHS), profile["up"]["else"]
                )
                self._enter(str(target), instant, instant)
                moved_at = instant
            else:
                self._next_up = self._edge_after(instant)
        return moved_at == until

    def _fall(self, end: int) -> None:
        used = self._sum(end - 1, end)
        while self._is_over(used):
            self._enter(self._profiles[self.profile]["down"], end, end - 1)
            if not self._keep:
                return

    def _is_over(self, used: int) -> bool:
        profile = self._profiles[self.profile]
        if profile["down"] is None or profile["quota"] is None:
            return False
        quota: int = profile["quota"] * HUNDREDTHS
        return used >= quota if profile["at"] == "reached" else used > quota

    def _enter(self, name: str, at: int, as_of: int) -> None:
        self.profile = name
        if not self._keep:
            self._empty_before = at
        stay = self._profiles[name]["stay"]
        if self._profiles[name]["up"] is None:
            self._next_up = None
        else:
            self._next_up = self._edge_after(as_of) if stay == "period" else at + stay

    def _sum(self, as_of: int, until: int) -> int:
        """The window's sum as of an instant, as far as it lies before `until`."""
        start = max(self._window_start(as_of), self._empty_before)
        return sum(_share(addition, start, until) for addition in self._additions)

    def _window_start(self, instant: int) -> int:
        if self._window["kind"] == "sliding":
            size, slices = int(self._window["slice_ms"]), int(self._window["slices"])
            return (instant // size - slices + 1) * size
        local = datetime.fromtimestamp(instant / 1000, ZoneInfo(self._window["timezone"]))
        return _ms(local.replace(day=1, hour=0, minute=0, second=0, microsecond=0))

    def _edge_after(self, instant: int) -> int:
        if self._window["kind"] == "sliding":
            size: int = self._window["slice_ms"]
            return (instant // size + 1) * size
        local = datetime.fromtimestamp(instant / 1000, ZoneInfo(self._window["timezone"]))
        later = local.replace(day=28) + timedelta(days=4)
        return _ms(later.replace(day=1, hour=0, minute=0, second=0, microsecond=0))


def additions(totals: Sequence[Total]) -> Iterator[Addition]:
    """Growing totals of one service, in order of the log, as what each of them adds."""
    counted: dict[int, Total] = {}
    for total in totals:
        before = counted.get(total.anchor, Total(total.anchor, total.anchor, 0, False))
        if total.end > before.end:
            yield Addition(before.end, total.end, max(0, total.bytes - before.bytes), total.backfill)
            counted[total.anchor] = total._replace(bytes=max(total.bytes, before.bytes))
        elif total.end == before.end and total.bytes > before.bytes:
            yield Addition(total.end - 1, total.end, total.bytes - before.bytes, total.backfill)
            counted[total.anchor] = total


def _share(addition: Addition, start: int, until: int) -> int:
    """Hundredths of a byte of the addition that lie in `[start, until)`, evenly spread and cut exactly."""
    lo, hi = max(addition.start, start), min(addition.end, until)
    if lo >= hi:
        return 0
    length = addition.end - addition.start
    whole = addition.bytes * HUNDREDTHS
    return whole * (hi - addition.start) // length - whole * (lo - addition.start) // length


def _ms(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp()) * 1000
