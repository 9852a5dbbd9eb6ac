"""A plan: a named ladder of profiles over one window.  Policy only; frozen, valid from the start, no state.

`Plan.from_json` reads the normal form that a `plans` record carries and names every problem at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, Literal, TypeAlias, cast, get_args
from zoneinfo import ZoneInfo

from stream.core.reading import Misread, Path, Reader, shown
from stream.core.speed import Speed
from stream.core.window import CalendarSlicer, FixedSlicer, Slicer, Unit

MOST_PLANS: Final = 64
"""Plans in one record."""

MOST_PLANS_OF_SERVICE: Final = 8
MOST_PROFILES: Final = 16
MOST_SLICES: Final = 400
MOST_BYTES: Final = 1 << 50
"""Of a quota or a threshold."""

MOST_MS: Final = 1 << 42
"""Longest slice or stay (139 years)."""

MOST_BITS: Final = 1 << 50
MOST_PERCENT: Final = 1000
_LEAST_SLICE_MS: Final = 1000

Crossing: TypeAlias = Literal["exceeded", "reached"]


class PlanError(Misread):
    """A plan is refused; `problems` are all of them."""

    noun = "plan"


@dataclass(frozen=True, slots=True)
class SlidingWindow:
    """The last `slices` slices of `slice_ms`, counted from the epoch."""

    slice_ms: int
    slices: int


@dataclass(frozen=True, slots=True)
class CalendarWindow:
    """The last `slices` hours, days, weeks or months of a time zone."""

    unit: Unit
    slices: int
    timezone: str
    anchor_day: int | Literal["service"] = 1
    """Of months: the day on which they begin (31: the last one), or the service's own."""


Window: TypeAlias = SlidingWindow | CalendarWindow


@dataclass(frozen=True, slots=True)
class Up:
    """The way up: the first threshold (bytes, ascending) that the sum is below names the profile, else `otherwise`."""

    below: tuple[tuple[int, int], ...]
    """(bytes, profile number)."""
    otherwise: int | None


@dataclass(frozen=True, slots=True)
class Profile:
    """A step of the ladder.  Other profiles are named by their number in the plan."""

    name: str
    speed: Speed
    quota: int | Literal["service"] | None = None
    """Bytes in the window; "service": the service's own."""
    at: Crossing = "exceeded"
    """Over quota is sum > quota, or sum >= quota."""
    down: int | None = None
    stay: int | Literal["period"] | None = None
    """The least time in it before the way up opens (ms), or until the calendar slice ends."""
    up: Up | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A ladder over a window.  A service begins in profile 0."""

    name: str
    window: Window
    profiles: tuple[Profile, ...]
    weight_in: int = 100
    weight_out: int = 100
    """Percent of a byte in or out that counts: an amount is in hundredths of a byte."""
    keep: bool = False
    """`on_change: keep`: a change leaves the window as it is; otherwise it empties it."""
    warn: int | None = None
    """Percent of the quota at which a warning is given."""

    @property
    def slices(self) -> int:
        return self.window.slices

    @property
    def needs_quota(self) -> bool:
        """A quota of its own must come with a service's registration."""
        return any(profile.quota == "service" for profile in self.profiles)

    @property
    def needs_anchor_day(self) -> bool:
        """An anchor day of its own must come with a service's registration."""
        return isinstance(self.window, CalendarWindow) and self.window.anchor_day == "service"

    def slicer(self, anchor_day: int | None = None) -> Slicer:
        """Its slicer; `anchor_day` is the service's, for plans that need one."""
        return _slicer(self.window, anchor_day if self.needs_anchor_day else None)

    def profile_number(self, name: str) -> int | None:
        for number, profile in enumerate(self.profiles):
            if profile.name == name:
                return number
        return None

    @classmethod
    def from_json(cls, name: str, value: Any) -> Plan:
        """Read the normal form.  Raises PlanError with every problem; missing keys that have a default take it."""
        return _read_plan(name, value)

    def to_json(self) -> dict[str, Any]:
        """The normal form; `Plan.from_json(plan.name, plan.to_json()) == plan`."""
        return {
            "window": _window_json(self.window),
            "count": {"in": self.weight_in, "out": self.weight_out},
            "on_change": "keep" if self.keep else "reset",
            "warn": self.warn,
            "profiles": [self._profile_json(profile) for profile in self.profiles],
        }

    def _profile_json(self, profile: Profile) -> dict[str, Any]:
        return {
            "name": profile.name,
            "speed": {"in": profile.speed.in_, "out": profile.speed.out},
            "quota": profile.quota,
            "at": profile.at,
            "down": self._name(profile.down),
            "stay": profile.stay,
            "up": profile.up
            and {
                "below": [[limit, self._name(target)] for limit, target in profile.up.below],
                "else": self._name(profile.up.otherwise),
            },
        }

    def _name(self, number: int | None) -> str | None:
        return None if number is None else self.profiles[number].name


@lru_cache(maxsize=256)
def _slicer(window: Window, anchor_day: int | None) -> Slicer:
    """One slicer for all who cut alike, so that its edges are found once."""
    if isinstance(window, SlidingWindow):
        return FixedSlicer(window.slice_ms)
    day = window.anchor_day if isinstance(window.anchor_day, int) else anchor_day or 1
    return CalendarSlicer(window.unit, window.timezone, day)


def _window_json(window: Window) -> Mapping[str, Any]:
    if isinstance(window, SlidingWindow):
        return {"kind": "sliding", "slice_ms": window.slice_ms, "slices": window.slices}
    shape = {"kind": "calendar", "unit": window.unit, "slices": window.slices, "timezone": window.timezone}
    return shape | {"anchor_day": window.anchor_day} if window.unit == "month" else shape


def _read_plan(name: str, value: Any) -> Plan:
    """Raises PlanError with every problem."""
    reader = Reader()
    reader.name((), name)
    keys = reader.object((), value, ("window", "count", "on_change", "warn", "profiles"))
    window = _read_window(reader, keys.get("window"))
    count = reader.object(("count",), keys.get("count", {}), ("in", "out"))
    weight_in = reader.integer(("count", "in"), count.get("in", 100), 0, MOST_PERCENT)
    weight_out = reader.integer(("count", "out"), count.get("out", 100), 0, MOST_PERCENT)
    if weight_in == weight_out == 0:
        reader.problem(("count",), "nothing is counted", "give at least one direction more than 0")
    on_change = reader.one_of(("on_change",), keys.get("on_change", "reset"), ("reset", "keep"))
    warn = None if keys.get("warn") is None else reader.integer(("warn",), keys["warn"], 1, 99)
    profiles = _read_profiles(reader, keys.get("profiles"), window)
    if reader.problems:
        raise PlanError(name, reader.problems)
    return Plan(name, window, profiles, weight_in, weight_out, keep=on_change == "keep", warn=warn)


def _read_window(reader: Reader, value: Any) -> Window:
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if kind == "sliding":
        keys = reader.object(("window",), value, ("kind", "slice_ms", "slices"))
        size_ms = reader.integer(("window", "slice_ms"), keys.get("slice_ms"), _LEAST_SLICE_MS, MOST_MS)
        return SlidingWindow(size_ms, reader.integer(("window", "slices"), keys.get("slices"), 1, MOST_SLICES))
    if kind == "calendar":
        return _read_calendar(reader, value)
    what = "is missing" if value is None else f"has the kind {shown(kind)}"
    reader.problem(("window",), what, 'write {"kind": "sliding", ...} or {"kind": "calendar", ...}')
    return CalendarWindow("day", 1, "UTC")  # neither kind: no follow-up problems


def _read_calendar(reader: Reader, value: Any) -> Window:
    keys = reader.object(("window",), value, ("kind", "unit", "slices", "timezone", "anchor_day"))
    unit = reader.one_of(("window", "unit"), keys.get("unit"), cast("tuple[Unit, ...]", get_args(Unit)))
    slices = reader.integer(("window", "slices"), keys.get("slices", 1), 1, MOST_SLICES)
    timezone = keys.get("timezone")
    if not _is_zone(timezone):
        what = f"the time zone is {shown(timezone)}"
        reader.problem(("window", "timezone"), what, "write a name such as Europe/Berlin or UTC")
    day: int | Literal["service"] = 1
    given = keys.get("anchor_day")
    if given is not None and unit != "month":
        reader.problem(("window", "anchor_day"), f"a {unit} has no anchor day", "remove it, or write the unit month")
    elif given == "service":
        day = "service"
    elif given is not None:
        day = reader.integer(("window", "anchor_day"), given, 1, 31)
    return CalendarWindow(unit, slices, str(timezone), day)


def _is_zone(name: Any) -> bool:
    try:
        return isinstance(name, str) and bool(ZoneInfo(name))
    except (ValueError, OSError, LookupError):
        return False


def _read_profiles(reader: Reader, value: Any, window: Window) -> tuple[Profile, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not 1 <= len(value) <= MOST_PROFILES:
        what = f"is {shown(value)}" if not isinstance(value, list) else f"has {len(value)} of them"
        reader.problem(("profiles",), what, f"write a list of 1 to {MOST_PROFILES} profiles")
        return ()
    known = ("name", "speed", "quota", "at", "down", "stay", "up")
    objects = [reader.object(("profiles", place), item, known) for place, item in enumerate(value)]
    names = [reader.name(("profiles", place, "name"), keys.get("name")) for place, keys in enumerate(objects)]
    for place, name in enumerate(names):
        if name and name in names[:place]:
            reader.problem(("profiles", place, "name"), f"{name!r} is there twice", "give each profile its own name")
    found = tuple(_ProfileReader(reader, place, names, window).read(keys) for place, keys in enumerate(objects))
    _check_circles(reader, found)
    return found


@dataclass(frozen=True, slots=True)
class _ProfileReader:
    reader: Reader
    place: int
    names: Sequence[str]
    window: Window

    def read(self, keys: Mapping[str, Any]) -> Profile:
        at = self.reader.one_of(self._path("at"), keys.get("at", "exceeded"), get_args(Crossing))
        down = self._target(self._path("down"), keys.get("down"))
        quota = self._quota(keys.get("quota"))
        if down is not None and keys.get("quota") is None:
            self.reader.problem(self._path("quota"), "is missing, yet there is a way down", "write a quota")
        up = None if keys.get("up") is None else self._up(keys["up"])
        if up is not None and keys.get("stay") is None:
            what = "is missing, yet there is a way up"
            self.reader.problem(self._path("stay"), what, "write the least time in this profile")
        stay = self._stay(keys.get("stay"))
        return Profile(self.names[self.place], self._speed(keys.get("speed")), quota, at, down, stay, up)

    def _path(self, *rest: str | int) -> Path:
        return ("profiles", self.place, *rest)

    def _speed(self, value: Any) -> Speed:
        keys = self.reader.object(self._path("speed"), value, ("in", "out"))
        ways = []
        for way in ("in", "out"):
            given = keys.get(way)
            ways.append(None if given is None else self.reader.integer(self._path("speed", way), given, 1, MOST_BITS))
        return Speed(*ways)

    def _quota(self, value: Any) -> int | Literal["service"] | None:
        if value is None or value == "service":
            return cast("Literal['service'] | None", value)
        return self.reader.integer(self._path("quota"), value, 1, MOST_BYTES)

    def _stay(self, value: Any) -> int | Literal["period"] | None:
        if value is None:
            return None
        if value != "period":
            return self.reader.integer(self._path("stay"), value, 1, MOST_MS)
        if isinstance(self.window, SlidingWindow):
            what = "is a period, but the window slides"
            self.reader.problem(self._path("stay"), what, "write a time, or use a calendar window")
        return "period"

    def _up(self, value: Any) -> Up:
        keys = self.reader.object(self._path("up"), value, ("below", "else"))
        given = keys.get("below", [])
        if not isinstance(given, Sequence) or isinstance(given, str):
            self.reader.problem(self._path("up", "below"), f"is {shown(given)}", "write a list of [bytes, profile]")
            given = []
        below = tuple(filter(None, (self._threshold(place, pair) for place, pair in enumerate(given))))
        if any(one >= two for (one, _), (two, _) in pairwise(below)):
            self.reader.problem(self._path("up", "below"), "does not ascend", "sort it by bytes, each only once")
        otherwise = self._target(self._path("up", "else"), keys.get("else"))
        if not given and keys.get("else") is None:
            self.reader.problem(self._path("up"), "leads nowhere", "name a profile in below or else")
        return Up(below, otherwise)

    def _threshold(self, place: int, pair: Any) -> tuple[int, int] | None:
        path = self._path("up", "below", place)
        if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
            self.reader.problem(path, f"is {shown(pair)}", "write [bytes, profile]")
            return None
        limit = self.reader.integer((*path, 0), pair[0], 1, MOST_BYTES)
        target = self._target((*path, 1), pair[1] if pair[1] is not None else "")
        return None if target is None else (limit, target)

    def _target(self, path: Path, name: Any) -> int | None:
        if name is None:
            return None
        if name not in self.names:
            known = ", ".join(filter(None, self.names))
            self.reader.problem(path, f"there is no profile {shown(name)}", f"the profiles are {known}")
            return None
        number = self.names.index(name)
        if number == self.place:
            self.reader.problem(path, "leads to the profile itself", "name another one")
            return None
        return number


def _check_circles(reader: Reader, profiles: Sequence[Profile]) -> None:
    """Neither way leads back to where it began: no ladder climbs or falls for ever."""
    downs = [set() if profile.down is None else {profile.down} for profile in profiles]
    ups = [_targets(profile.up) for profile in profiles]
    for way, targets in (("down", downs), ("up", ups)):
        for first in range(len(profiles)):
            reached: set[int] = set()
            beyond = set(targets[first])
            while beyond:
                reached |= beyond
                beyond = {further for number in beyond for further in targets[number]} - reached
            if first in reached:
                reader.problem(("profiles", first, way), f"the ways {way} go in a circle", "let one of them end")


def _targets(up: Up | None) -> set[int]:
    if up is None:
        return set()
    return {target for _, target in up.below} | (set() if up.otherwise is None else {up.otherwise})
