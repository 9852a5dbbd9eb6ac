"""How time is cut, and amounts with it."""

from __future__ import annotations

from datetime import datetime
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.core.model import MAX_INSTANT
from stream.core.window import MOST_VECTOR_SPAN_MS, CalendarSlicer, FixedSlicer, Slicer, Unit, part, parts, spans
from tests.core.feeding import DAY, HOUR, MINUTE, local


def shown(zone: str, instant: int) -> str:
    """What the local clock shows."""
    return datetime.fromtimestamp(instant / 1000, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")


def begins(slicer: Slicer, zone: str, instant: int) -> tuple[str, str]:
    """Of the slice of an instant and of the next one."""
    ordinal = slicer.ordinal(instant)
    assert slicer.edge(ordinal) <= instant < slicer.edge(ordinal + 1)
    return shown(zone, slicer.edge(ordinal)), shown(zone, slicer.edge(ordinal + 1))


def test_fixed_slices_are_counted_from_the_epoch() -> None:
    """A slice is [k size, (k + 1) size)."""
    slicer = FixedSlicer(600_000)
    assert [slicer.ordinal(t) for t in (0, 599_999, 600_000)] == [0, 0, 1]
    assert slicer.edge(3) == 1_800_000


@pytest.mark.parametrize(
    ("unit", "zone", "day", "when", "start", "end"),
    [
        ("day", "Europe/Berlin", 1, (2026, 3, 29, 12), "2026-03-29 00:00", "2026-03-30 00:00"),
        ("day", "Asia/Kolkata", 1, (2026, 1, 1, 0), "2026-01-01 00:00", "2026-01-02 00:00"),
        ("day", "Asia/Beirut", 1, (2024, 3, 31, 12), "2024-03-31 01:00", "2024-04-01 00:00"),
        ("day", "America/Santiago", 1, (2024, 9, 8, 12), "2024-09-08 01:00", "2024-09-09 00:00"),
        ("day", "America/Havana", 1, (2025, 11, 2, 12), "2025-11-02 00:00", "2025-11-03 00:00"),
        ("week", "Europe/Berlin", 1, (2026, 4, 1, 9), "2026-03-30 00:00", "2026-04-06 00:00"),
        ("week", "Europe/Berlin", 1, (2026, 3, 30, 0), "2026-03-30 00:00", "2026-04-06 00:00"),
        ("month", "Europe/Berlin", 1, (2026, 3, 31, 23, 59), "2026-03-01 00:00", "2026-04-01 00:00"),
        ("month", "Europe/Berlin", 31, (2026, 3, 1), "2026-02-28 00:00", "2026-03-31 00:00"),
        ("month", "Europe/Berlin", 31, (2024, 2, 29), "2024-02-29 00:00", "2024-03-31 00:00"),
        ("month", "Europe/Berlin", 15, (2026, 1, 14, 23), "2025-12-15 00:00", "2026-01-15 00:00"),
        ("month", "Asia/Beirut", 31, (2024, 4, 5), "2024-03-31 01:00", "2024-04-30 00:00"),
        ("hour", "Asia/Kolkata", 1, (2026, 1, 1, 7, 29), "2026-01-01 07:00", "2026-01-01 08:00"),
        ("hour", "Asia/Kathmandu", 1, (2026, 1, 1, 7, 1), "2026-01-01 07:00", "2026-01-01 08:00"),
        ("hour", "Australia/Lord_Howe", 1, (2026, 4, 5, 1, 45), "2026-04-05 01:00", "2026-04-05 02:00"),
        ("hour", "Australia/Lord_Howe", 1, (2026, 10, 4, 2, 45), "2026-10-04 01:00", "2026-10-04 03:00"),
    ],
)
def test_calendar_slices(
    unit: Unit, zone: str, day: int, when: tuple[int, int, int, int], start: str, end: str
) -> None:
    """By the local calendar, wherever the clock is changed."""
    assert begins(CalendarSlicer(unit, zone, day), zone, local(zone, *when)) == (start, end)


@pytest.mark.parametrize(
    ("unit", "zone", "when", "length"),
    [
        ("day", "Europe/Berlin", (2026, 3, 29), 23 * HOUR),
        ("day", "Europe/Berlin", (2026, 10, 25), 25 * HOUR),
        ("day", "Asia/Beirut", (2024, 3, 31, 12), 23 * HOUR),
        ("day", "America/Havana", (2025, 11, 2, 12), 25 * HOUR),
        ("hour", "Europe/Berlin", (2026, 10, 25, 2), HOUR),
        ("hour", "Australia/Lord_Howe", (2026, 4, 5, 1, 45), 90 * MINUTE),
        ("month", "Europe/Berlin", (2026, 3, 5), 31 * DAY - HOUR),
    ],
)
def test_lengths_across_changes_of_the_clock(unit: Unit, zone: str, when: tuple[int, int, int], length: int) -> None:
    """Real time, not the clock's."""
    slicer = CalendarSlicer(unit, zone)
    ordinal = slicer.ordinal(local(zone, *when))
    assert slicer.edge(ordinal + 1) - slicer.edge(ordinal) == length


def test_the_hour_that_comes_twice_is_two_slices() -> None:
    """In autumn a day has 25 hours, each with a number of its own."""
    slicer = CalendarSlicer("hour", "Europe/Berlin")
    first = slicer.ordinal(local("Europe/Berlin", 2026, 10, 25))
    assert slicer.ordinal(local("Europe/Berlin", 2026, 10, 26)) - first == 25


def test_a_day_that_was_left_out_is_an_empty_slice() -> None:
    """Samoa had no 30 December 2011."""
    slicer = CalendarSlicer("day", "Pacific/Apia")
    after = slicer.ordinal(local("Pacific/Apia", 2011, 12, 31, 12))
    assert slicer.edge(after - 1) == slicer.edge(after)
    assert slicer.ordinal(slicer.edge(after)) == after


def test_ordinals_are_calendar_numbers() -> None:
    """The same in every process: months since 1970, days since 1970."""
    now = local("Europe/Berlin", 2026, 3, 5, 12)
    assert CalendarSlicer("month", "Europe/Berlin").ordinal(now) == 56 * 12 + 2
    assert CalendarSlicer("day", "UTC").ordinal(now) == now // DAY


SLICERS = [
    FixedSlicer(7000),
    *(
        CalendarSlicer(unit, zone, day)
        for unit in ("hour", "day", "week", "month")
        for zone in ("Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia")
        for day in (1, 31)
    ),
]


@given(st.sampled_from(SLICERS), st.integers(0, MAX_INSTANT))
def test_every_instant_lies_in_its_slice(slicer: Slicer, instant: int) -> None:
    """From 1970 to the last instant that a record may name."""
    ordinal = slicer.ordinal(instant)
    assert slicer.edge(ordinal) <= instant < slicer.edge(ordinal + 1)
    assert slicer.ordinal(slicer.edge(ordinal)) == ordinal


@given(st.sampled_from(SLICERS), st.integers(0, MAX_INSTANT - 10**11), st.lists(st.integers(0, 10**11), min_size=1))
def test_columns_are_cut_like_single_instants(slicer: Slicer, base: int, offsets: list[int]) -> None:
    """`ordinals` and `edges` are `ordinal` and `edge`, for many."""
    instants = [base + offset for offset in offsets]
    ordinals = slicer.ordinals(np.array(instants, np.int64))
    assert ordinals.tolist() == [slicer.ordinal(instant) for instant in instants]
    assert slicer.edges(ordinals).tolist() == [slicer.edge(ordinal) for ordinal in ordinals.tolist()]


# ---------------------------------------------------------------- amounts

amounts = st.integers(0, 1 << 61)


@given(amounts, st.integers(0, 10**9), st.integers(1, 10**7), st.lists(st.integers(0, 10**7), max_size=5))
def test_parts_sum_to_the_whole(amount: int, start: int, size: int, cuts: list[int]) -> None:
    """Wherever an interval is cut, nothing is lost and nothing comes twice; each part is its share within one."""
    end = start + size
    edges = [start, *sorted(min(start + cut, end) for cut in cuts), end]
    shares = [part(amount, start, end, lo, hi) for lo, hi in pairwise(edges)]
    assert sum(shares) == amount
    assert all(
        abs(share - Fraction(amount * (hi - lo), size)) < 1
        for share, (lo, hi) in zip(shares, pairwise(edges), strict=True)
    )


def test_a_part_beside_the_interval_is_nothing() -> None:
    """Parts are cut to the interval."""
    assert part(100, 10, 20, 0, 10) == part(100, 10, 20, 20, 30) == part(100, 10, 20, 15, 15) == 0
    assert part(100, 10, 20, -50, 50) == 100


@given(
    st.lists(
        st.tuples(amounts, st.integers(1, MOST_VECTOR_SPAN_MS), st.integers(-10, 1 << 31), st.integers(-10, 1 << 32)),
        min_size=1,
    )
)
def test_columns_of_parts_are_parts(elements: list[tuple[int, int, int, int]]) -> None:
    """`parts` is `part` for many, without overflow."""
    values, sizes, from_, to = (np.array(column, np.int64) for column in zip(*elements, strict=True))
    start = np.full(len(elements), 5)
    expected = [part(amount, 5, 5 + size, lo, hi) for amount, size, lo, hi in elements]
    assert parts(values, start, start + sizes, from_, to).tolist() == expected


def test_spans_cut_an_interval_at_the_edges() -> None:
    """(ordinal, from, to), in order."""
    assert spans(FixedSlicer(10), 15, 31) == [(1, 15, 20), (2, 20, 30), (3, 30, 31)]
    assert spans(FixedSlicer(10), 10, 20) == [(1, 10, 20)]
