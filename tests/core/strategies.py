"""Histories of one partition in few words: what Hypothesis draws is short and relative ("to the next slice edge, one
millisecond less", "the quota and a byte"), so that it shrinks well; `histories.Author` turns it into records.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from hypothesis import strategies as st

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Havana",  # no midnight in March, two in November
    "Asia/Kolkata",
    "Australia/Lord_Howe",  # half an hour of daylight saving
    "America/St_Johns",  # in 2010 the clock went back at one minute past midnight
    "Pacific/Apia",  # went without 30 December 2011
)
BEGINNINGS = (
    1_764_547_200_000,  # 2025-12-01 00:00 UTC
    1_774_738_800_000,  # 2026-03-28 23:00 UTC: two hours before Europe's change of clocks
    1_774_990_800_000,  # 2026-03-31 21:00 UTC: an hour before April in Berlin
    1_761_433_200_000,  # 2025-10-25 23:00 UTC
    1_741_492_800_000,  # 2025-03-09 04:00 UTC: an hour before Havana's missing midnight
    1_709_164_800_000,  # 2024-02-29 00:00 UTC
    1_289_091_600_000,  # 2010-11-07 01:00 UTC
    1_325_152_800_000,  # 2011-12-29 10:00 UTC
    1_000,
)
SERVICES = ("vm1/1", "vm1/2", "vm2/1")
SOURCES = ("vm1", "vm2")
PLANS = ("a", "b", "c")
PROFILES = ("p", "q", "r", "s")
QUOTA = 1000
"""Bytes: quotas are this, give or take; bytes come in parts of it."""

# ---------------------------------------------------------------- plans

SECOND = 1000
DAY = 86_400_000

sliding = st.builds(
    lambda size, slices: {"kind": "sliding", "slice_ms": size, "slices": slices},
    st.sampled_from([SECOND, 7 * SECOND, 600 * SECOND]),
    st.integers(1, 6),
)
calendar = st.builds(
    lambda unit, slices, zone, anchor: (
        {"kind": "calendar", "unit": unit, "slices": slices, "timezone": zone}
        | ({"anchor_day": anchor} if unit == "month" else {})
    ),
    st.sampled_from(["hour", "day", "week", "month"]),
    st.sampled_from([1, 1, 2, 3]),
    st.sampled_from(ZONES),
    st.sampled_from([1, 15, 31, "service"]),
)
speeds = st.sampled_from([None, 100, 50, 10])
quotas = st.sampled_from([QUOTA, QUOTA, QUOTA, QUOTA // 2, 1, 3 * QUOTA, "service"])


@st.composite
def profiles(draw: st.DrawFn, periods: bool) -> list[dict[str, Any]]:
    """Ways down lead to later profiles and ways up to earlier ones, mostly; the last may have no quota."""
    names = draw(st.sampled_from([PROFILES[:3], PROFILES[:2], PROFILES, PROFILES[:1]]))
    stays = [SECOND, 10 * SECOND, 1800 * SECOND, 30 * DAY] + (["period"] * 3 if periods else [])
    made = []
    for place, name in enumerate(names):
        above, below = names[:place], names[place + 1 :]
        down = draw(st.sampled_from([below[0], below[0], below[-1]])) if below else None
        up = None
        if above and draw(st.integers(0, 9)) > 0:
            limits = sorted(draw(st.sets(st.sampled_from([1, QUOTA // 4, QUOTA // 2, QUOTA]), max_size=2)))
            thresholds = [[limit, draw(st.sampled_from(above))] for limit in limits]
            up = {"below": thresholds, "else": draw(st.sampled_from(above)) if draw(st.booleans()) else None}
            up = up if thresholds or up["else"] else {"below": [], "else": above[-1]}
        made.append(
            {
                "name": name,
                "speed": {"in": draw(speeds), "out": draw(speeds)},
                "quota": draw(quotas) if down or draw(st.booleans()) else None,
                "at": draw(st.sampled_from(["exceeded", "reached"])),
                "down": down,
                "stay": draw(st.sampled_from(stays)) if up or not draw(st.integers(0, 4)) else None,
                "up": up,
            }
        )
    return made


@st.composite
def plans(draw: st.DrawFn) -> dict[str, Any]:
    """One plan in its normal form."""
    window = draw(st.one_of(sliding, calendar))
    weights = draw(st.sampled_from([(100, 100), (100, 100), (100, 0), (33, 250), (1000, 1000)]))
    return {
        "window": window,
        "count": {"in": weights[0], "out": weights[1]},
        "on_change": draw(st.sampled_from(["reset", "keep"])),
        "warn": draw(st.sampled_from([None, 50, 99, 1])),
        "profiles": draw(profiles(window["kind"] == "calendar")),
    }


plan_sets = st.dictionaries(st.sampled_from(PLANS), plans(), min_size=1, max_size=3)

# ---------------------------------------------------------------- how long, how much


@dataclass(frozen=True)
class Span:
    """A time: so many milliseconds, or up to an edge of the slices of plan `plan`, or to the end of a stay in it."""

    kind: Literal["ms", "edge", "stay"]
    count: int
    plan: int = 0
    off: int = 0
    """Milliseconds beside the edge."""


spans = st.one_of(
    st.builds(Span, st.just("edge"), st.sampled_from([1, 1, 1, 2, 5]), st.integers(0, 2), st.integers(-1, 1)),
    st.builds(Span, st.just("stay"), st.integers(1, 3), st.integers(0, 2), st.integers(-1, 1)),
    st.builds(Span, st.just("ms"), st.sampled_from([1, 2, 500, 1000, 3000, 10_000, 700_000, 3_600_000, DAY, 40 * DAY])),
)
amounts = st.one_of(
    st.just(0),
    st.sampled_from([1, QUOTA // 4, QUOTA // 2, QUOTA - 1, QUOTA, QUOTA + 1, 3 * QUOTA]),
    st.sampled_from([QUOTA, QUOTA + 1, 2 * QUOTA, QUOTA, QUOTA + 1, 2 * QUOTA, 1 << 50]),
    st.integers(0, 2 * QUOTA),
)
bytes_of_both = st.one_of(st.tuples(amounts, st.just(0)), st.tuples(amounts, amounts))

# ---------------------------------------------------------------- steps of a history

Shape: TypeAlias = Literal[
    "next", "gap", "grow", "again", "shrink", "overlap", "behind", "former", "inside", "long_ago"
]  # fmt: skip
SHAPES: tuple[Shape, ...] = (
    "next", "next", "grow", "grow", "gap", "again", "shrink", "overlap", "behind", "former", "inside", "long_ago",
)  # fmt: skip


@dataclass(frozen=True)
class Delta:
    service: int
    shape: Shape
    span: Span
    bytes: tuple[int, int]
    backfill: bool = False


@dataclass(frozen=True)
class Batch:
    """Several deltas in one record, the same service more than once perhaps."""

    deltas: tuple[Delta, ...]
    padded: bool


@dataclass(frozen=True)
class Poll:
    """All services of a source in one record over one interval, as a collector sends them."""

    source: int
    grows: bool
    span: Span
    bytes: tuple[tuple[int, int], ...]
    padded: bool
    backfill: bool = False


@dataclass(frozen=True)
class Register:
    service: int
    plans: tuple[int, ...]
    """Of those in force."""
    source: int | None
    own: tuple[int | None, int | None]
    """(quota, anchor day)"""
    at: Span | None


@dataclass(frozen=True)
class Deregister:
    service: int
    at: Span | None
    forgets: bool = False


@dataclass(frozen=True)
class Watermark:
    source: int
    span: Span


@dataclass(frozen=True)
class Adjust:
    service: int
    kind: str
    plan: int | None
    profile: int
    bytes: int | None
    until: Span | None
    at: Span | None
    back: Span | None
    """`at` lies this long before the service's time."""
    repeats: bool


@dataclass(frozen=True)
class Apply:
    """Another set of plans (by its number), or the one in force again."""

    plans: int
    newer: bool


@dataclass(frozen=True)
class Hostile:
    """Something that must harm only itself."""

    service: int
    what: str
    in_batch: bool


Step: TypeAlias = Delta | Batch | Poll | Register | Deregister | Watermark | Adjust | Apply | Hostile

HOSTILE = (
    "reversed", "empty", "negative", "enormous", "too_long", "far_ahead", "boolean", "float", "string", "null",
    "missing", "beyond_64_bits", "list", "no_service", "unregistered", "elsewhere", "not_an_object", "unknown_type",
    "no_batch", "plan_twice", "plan_unknown", "registered_ahead", "mark_ahead", "no_by", "kind_unknown",
)  # fmt: skip

services = st.integers(0, len(SERVICES) - 1)
rarely = st.integers(0, 9).map(lambda drawn: drawn == 9)
maybe_span = st.one_of(st.none(), st.none(), spans)

deltas = st.builds(Delta, services, st.sampled_from(SHAPES), spans, bytes_of_both, rarely)
batches = st.builds(Batch, st.lists(deltas, min_size=1, max_size=5).map(tuple), st.booleans())
polls = st.builds(
    Poll,
    st.integers(0, 1),
    st.booleans(),
    spans,
    st.lists(bytes_of_both, min_size=3, max_size=3).map(tuple),
    st.booleans(),
    rarely,
)
registrations = st.builds(
    Register,
    services,
    st.sampled_from([(0,), (0, 1), (1, 0), (1,), (), (2, 0, 1)]),
    st.sampled_from([None, None, 0, 1]),
    st.sampled_from([(QUOTA, 1), (7, 31), (QUOTA, 15), (None, 2), (3, None)]),
    maybe_span,
)


def first_registration(service: int) -> st.SearchStrategy[Register]:
    return registrations.map(lambda drawn: replace(drawn, service=service))


adjustments = st.builds(
    Adjust,
    services,
    st.sampled_from(["credit", "credit", "exempt", "pin", "unpin", "reset"]),
    st.sampled_from([None, 0, 1, 2]),
    st.integers(0, 3),
    st.sampled_from([QUOTA, 1, 10 * QUOTA, QUOTA // 2, None]),
    maybe_span | spans,
    maybe_span,
    st.none() | st.none() | spans,
    rarely,
)
steps: st.SearchStrategy[Step | None] = st.one_of(
    st.none(),
    deltas,
    deltas,
    deltas,
    polls,
    polls,
    batches,
    st.builds(Watermark, st.integers(0, 2), spans),
    adjustments,
    st.one_of(
        registrations,
        registrations,
        st.builds(Deregister, services, maybe_span, st.booleans()).filter(lambda step: step.service == 2),
        st.builds(Apply, st.integers(0, 2), st.booleans()),
        st.builds(Hostile, services, st.sampled_from(HOSTILE), st.booleans()),
    ),
)


@dataclass(frozen=True)
class Draft:
    """A history before it is written down."""

    plan_sets: tuple[dict[str, Any], ...]
    beginning: int
    registrations: tuple[Register, ...]
    """One of each service."""
    steps: tuple[Step | None, ...]


drafts = st.builds(
    Draft,
    st.lists(plan_sets, min_size=1, max_size=3).map(tuple),
    st.sampled_from(BEGINNINGS),
    st.tuples(*(first_registration(service) for service in range(len(SERVICES)))),
    st.lists(steps, min_size=12, max_size=40).map(tuple),
)

# ---------------------------------------------------------------- narrow histories: everything happens at an edge

narrow_windows = st.one_of(
    st.builds(lambda slices: {"kind": "sliding", "slice_ms": SECOND, "slices": slices}, st.integers(1, 3)),
    st.builds(
        lambda unit, slices: {"kind": "calendar", "unit": unit, "slices": slices, "timezone": "Europe/Berlin"},
        st.sampled_from(["hour", "day"]),
        st.integers(1, 2),
    ),
)


@st.composite
def narrow_plans(draw: st.DrawFn) -> dict[str, Any]:
    """Two or three profiles of one quota, each with a way up."""
    window = draw(narrow_windows)
    stay = draw(st.sampled_from([SECOND, 2500] + ["period"] * 2 * (window["kind"] == "calendar")))
    names = PROFILES[: draw(st.integers(2, 3))]
    at, below = draw(st.sampled_from(["exceeded", "reached"])), draw(st.sampled_from([[], [[QUOTA // 2, "p"]]]))
    ladder = [
        {
            "name": name,
            "speed": {"in": 100 - place, "out": None},
            "quota": QUOTA,
            "at": at,
            "down": names[place + 1] if place + 1 < len(names) else None,
            "stay": stay if place else None,
            "up": {"below": below, "else": names[place - 1]} if place else None,
        }
        for place, name in enumerate(names)
    ]
    return {
        "window": window,
        "count": {"in": 100, "out": 100},
        "on_change": draw(st.sampled_from(["keep", "reset"])),
        "warn": draw(st.sampled_from([None, 50])),
        "profiles": ladder,
    }


edges = st.builds(Span, st.just("edge"), st.integers(1, 3), st.integers(0, 1), st.integers(-1, 1))
narrow_bytes = st.tuples(st.sampled_from([0, QUOTA // 2, QUOTA, QUOTA + 1, 3 * QUOTA]), st.just(0))
narrow_shapes: st.SearchStrategy[Shape] = st.sampled_from(["next", "next", "grow", "former", "again", "gap"])
narrow_steps: st.SearchStrategy[Step | None] = st.one_of(
    st.builds(Delta, st.just(0), narrow_shapes, edges, narrow_bytes),
    st.builds(Delta, st.just(0), narrow_shapes, edges, narrow_bytes),
    st.builds(Delta, st.just(0), narrow_shapes, edges, narrow_bytes, st.booleans()),
    st.builds(Watermark, st.just(0), edges),
    adjustments.map(lambda drawn: replace(drawn, service=0)),
)
narrow_drafts = st.builds(
    Draft,
    st.dictionaries(st.sampled_from(PLANS[:2]), narrow_plans(), min_size=1).map(lambda plans: (plans,)),
    st.sampled_from(BEGINNINGS[:2]),
    st.just((Register(0, (0, 1), None, (None, None), None),)),
    st.lists(narrow_steps, min_size=4, max_size=16).map(tuple),
)
