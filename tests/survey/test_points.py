"""What can be read from points, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from stream.adapters.vmmanager.replies import Odd
from stream.survey.points import HOUR_MS, MINUTE_MS, Lag, Look, Point, grows, lag_of, offsets, series, spacing
from stream.survey.points import stamp_of_buckets as stamp
from stream.survey.zones import fitting, offset_text, seasons
from tests.survey.rig import NOW

STEP = 5 * MINUTE_MS


def steps(*values: float | None, start: int = 0, step: int = STEP) -> list[Point]:
    return [Point(start + place * step, value) for place, value in enumerate(values)]


ODD: list[Any] = [
    None, {}, 7, [1], [{}], [{"datapoints": {}}], [[], []], [{"datapoints": [1]}], [{"datapoints": [[1]]}],
    [{"datapoints": [["1", 2]]}], [{"datapoints": [[1, "2"]]}], [{"datapoints": [[1, None]]}],
    [{"datapoints": [[-1, 2]]}], [{"datapoints": [[1e30, 2]]}], [{"datapoints": [[True, 2]]}],
    [{"datapoints": [[1, 1e300]]}], [{"datapoints": [[1, -2]]}], [{"datapoints": [[1, 1e12]]}],
]  # fmt: skip


@pytest.mark.parametrize("reply", ODD)
def test_odd_replies(reply: Any) -> None:
    """What is no series of points is Odd, and nothing else gets out."""
    with pytest.raises(Odd):
        series(reply)


def test_a_series() -> None:
    """Points come in order of their stamps, nulls among them; no series is no points."""
    assert series([{"datapoints": [[2.0, 600], [None, 300]]}]) == [Point(300_000, None), Point(600_000, 2.0)]
    assert series([]) == series([{"datapoints": []}]) == []


@pytest.mark.parametrize(
    ("stamps", "step"), [([], None), ([0, 300], None), ([0, 300, 600], 300), ([0, 900, 1500], 300), ([5, 6, 8], 1)]
)
def test_spacing(stamps: list[int], step: int | None) -> None:
    """The widest grid, also over gaps; two stamps are none."""
    assert spacing(stamps) == step


@pytest.mark.parametrize("offset", [-11 * HOUR_MS, -210 * MINUTE_MS, 0, HOUR_MS, 345 * MINUTE_MS, 14 * HOUR_MS])
def test_offsets(offset: int) -> None:
    """Local times are found by what comes back; a range that was cut at either end tells nothing."""
    start = 100 * HOUR_MS + 2 * MINUTE_MS
    points = steps(*[None] * 180, start=start + 3 * MINUTE_MS - offset)
    end = start + 180 * STEP
    assert offsets(start, end, points) == {offset}
    assert offsets(start, end, points[20:]) == offsets(start, end, points[:-20]) == set()


@pytest.mark.parametrize(
    ("fine", "buckets", "means"),
    [
        ((9, 1, 2, 3, 4, 5), ((2 * STEP, 5), (4 * STEP, 9)), "start"),
        ((9, 1, 2, 3, 4, 5), ((2 * STEP, 3), (4 * STEP, 7)), "end"),
        ((9, 1, 2, 3, 4, 5), ((2 * STEP, 5), (4 * STEP, 7)), None),
        ((9, 1, 2, 3, 4, 5), ((2 * STEP, None), (4 * STEP, 9)), "start"),
        ((1, 1, 1, 1, 1, 1), ((2 * STEP, 2), (4 * STEP, 2)), None),
        ((9, 1, 2, None, 4, 5), ((2 * STEP, 2), (4 * STEP, 9)), "start"),
        ((), (), None),
    ],
)
def test_stamps_of_buckets(fine: tuple[float, ...], buckets: tuple[tuple[int, float]], means: str | None) -> None:
    """All buckets must say the same, and only one thing."""
    assert stamp(steps(*fine), [Point(*each) for each in buckets], 2 * STEP) == means


def test_lag() -> None:
    """From the last answer without the next point to the first one with it, whatever stamps mean."""
    looks = [Look(700_000, 701_000, Point(300_000, 1.0)), Look(710_000, 711_000, Point(300_000, 1.0)),
             Look(720_000, 722_000, Point(600_000, 1.0))]  # fmt: skip
    assert lag_of(looks, STEP, "end") == Lag(110_000, 122_000)
    assert lag_of([Look(at + STEP, back + STEP, point) for at, back, point in looks], STEP, "start") == Lag(
        110_000, 122_000
    )
    assert not grows(looks)
    assert grows([*looks, looks[-1]._replace(newest=Point(600_000, 2.0))])


def test_zones() -> None:
    """Likely ones first; a place without a zone of its own has one with a fixed distance."""
    january, july = seasons(NOW)
    assert fitting({january: HOUR_MS, july: 2 * HOUR_MS})[0] == "Europe/Berlin"
    assert fitting({january: 3 * HOUR_MS, july: 3 * HOUR_MS})[0] == "Europe/Moscow"
    assert fitting({NOW: 0})[0] == "UTC"
    assert fitting({NOW: -11 * HOUR_MS})[-1] == "Etc/GMT+11"
    assert fitting({NOW: 15 * MINUTE_MS}) == []
    assert [offset_text(minutes * MINUTE_MS) for minutes in (0, 60, -210)] == ["UTC", "UTC+1", "UTC-3:30"]
