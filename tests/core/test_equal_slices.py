"""The core cuts time where the oracle does, in every zone that has something odd about it."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from stream.core.plan import Plan
from stream.core.window import MOST_VECTOR_SPAN_MS, parts
from stream.core.window import part as core_part
from tests.core.strategies import BEGINNINGS, ZONES
from tests.oracle.ladder import part
from tests.oracle.slicing import slicing

DAY = 86_400_000
ODD = (
    "Africa/Casablanca",  # daylight saving is suspended for Ramadan
    "Africa/Cairo",  # changes at midnight
    "America/Asuncion",
    "America/Caracas",  # by half an hour, twice
    "America/Sao_Paulo",  # no midnight in October, until 2018
    "Antarctica/Troll",  # by two hours
    "Asia/Amman",
    "Asia/Beirut",
    "Asia/Kathmandu",  # a quarter of an hour, in 1986
    "Asia/Pyongyang",
    "Asia/Tehran",
    "Atlantic/Azores",
    "Europe/Dublin",  # its winter time is the exception
    "Pacific/Chatham",
    "Pacific/Kiritimati",  # no 31 December 1994
    "Pacific/Kwajalein",
)
instants = st.one_of(
    st.integers(0, 4_102_444_800_000),
    st.builds(lambda day, off: max(0, day * DAY + off), st.integers(0, 47_000), st.integers(-DAY, DAY)),
    st.builds(lambda beginning, off: beginning + off, st.sampled_from(BEGINNINGS[:-1]), st.integers(-DAY, 3 * DAY)),
)
windows = st.builds(
    lambda unit, zone, anchor: (
        {"kind": "calendar", "unit": unit, "timezone": zone} | ({"anchor_day": anchor} if unit == "month" else {})
    ),
    st.sampled_from(["hour", "hour", "day", "day", "week", "month"]),
    st.sampled_from(ZONES + ODD),
    st.integers(1, 31),
)


def plan(window: dict[str, Any]) -> Plan:
    return Plan.from_json("p", {"window": window, "profiles": [{"name": "only", "speed": {"in": None, "out": None}}]})


@given(windows, instants, st.integers(-40, 40))
@example({"kind": "calendar", "unit": "day", "timezone": "Pacific/Apia"}, 1_325_239_200_000, 0)
@example({"kind": "calendar", "unit": "day", "timezone": "America/St_Johns"}, 1_289_097_060_000, 0)
def test_slices_are_cut_alike(window: dict[str, Any], instant: int, shift: int) -> None:
    """The slice of an instant, its neighbours, and those some way before and after."""
    slicer, truth = plan(window).slicer(), slicing(window, None)
    ordinal = slicer.ordinal(instant)
    for each in (0, 1, -1, shift):
        assert slicer.edge(ordinal + each) == truth.start(instant, each)
    assert truth.start(instant) <= instant < truth.start(instant, 1)


@given(st.integers(0, 1 << 61), st.lists(st.integers(0, 1 << 42), min_size=4, max_size=4, unique=True))
def test_parts_are_cut_alike(amount: int, instants: list[int]) -> None:
    """And neighbouring parts make up the whole."""
    start, one, two, end = sorted(instants)
    cuts = [(start, one), (one, two), (two, end), (0, one), (one, 1 << 43), (two, one)]
    assert [core_part(amount, start, end, *cut) for cut in cuts] == [part(amount, start, end, *cut) for cut in cuts]
    assert sum(part(amount, start, end, *cut) for cut in cuts[:3]) == amount


elements = st.tuples(
    st.integers(0, 1 << 61),
    st.integers(0, 1 << 42),
    st.integers(1, MOST_VECTOR_SPAN_MS),
    st.integers(-(1 << 32), 1 << 32),
    st.integers(0, 1 << 32),
)


@given(st.lists(elements, min_size=1, max_size=20))
def test_columns_of_parts_are_cut_alike(drawn: list[tuple[int, int, int, int, int]]) -> None:
    """Many at once: no overflow, the same floors."""
    rows = [(amount, start, start + size, start + off, start + off + more) for amount, start, size, off, more in drawn]
    columns = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    assert parts(*columns).tolist() == [part(*row) for row in rows]
