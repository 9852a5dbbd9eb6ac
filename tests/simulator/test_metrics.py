"""Metrics: zones and their changes, boundaries, stamps, buckets, and everything that is not there (yet)."""

from __future__ import annotations

import tracemalloc

import pytest

from stream.simulator import Knobs
from tests.simulator.platform import DAY, HOUR, MINUTE, STEP, T0, Platform, local, platform

END = T0 + DAY
"""When the tests of one quiet day look back at it."""


def scripted(one: Platform, start: int, end: int, bytes_a_step: int = 1000) -> int:
    """A VM that receives so much in each step and sends nothing."""
    id = one.world.create(habit="silent", since=start)
    one.world.script(id, start, end, bytes_a_step * ((end - start) // STEP), 0)
    return id


@pytest.mark.parametrize(
    ("date", "next_date", "hours"),
    [("2026-03-29", "2026-03-30", 23), ("2026-10-25", "2026-10-26", 25), ("2026-06-01", "2026-06-02", 24)],
)
async def test_a_local_day_is_as_long_as_it_is(date: str, next_date: str, hours: int) -> None:
    """From local midnight to local midnight in Berlin: 23, 25 or 24 hours of points, to the byte."""
    start, end = local(date), local(next_date)
    async with platform(at=end + HOUR) as one:
        id = scripted(one, start - DAY, end + HOUR)
        asked = f"00:00_{date.replace('-', '')}", f"00:00_{next_date.replace('-', '')}"
        points = await one.points(id, *asked, interval="5min")
        assert [stamp for _, stamp in points] == [(start + n * STEP) // 1000 for n in range(hours * 12)]
        assert {value for value, _ in points} == {1000.0}
        coarse = await one.points(id, *asked, interval="1month")
        assert sum(value for value, _ in coarse) == 1000 * 12 * hours


@pytest.mark.parametrize(("ambiguous", "fold"), [("first", 0), ("second", 1)])
async def test_an_hour_that_occurs_twice(ambiguous: str, fold: int) -> None:
    """02:30 on the day when clocks go back means one of two instants, as the knob says."""
    knobs = Knobs(ambiguous="first" if ambiguous == "first" else "second")
    async with platform(knobs, at=local("2026-10-25T06:00")) as one:
        id = scripted(one, local("2026-10-25"), local("2026-10-25T06:00"))
        points = await one.points(id, "02:30_20261025", "04:00_20261025")
        assert points[0][1] * 1000 == local("2026-10-25T02:30", fold=fold)


@pytest.mark.parametrize("until_included", [False, True])
@pytest.mark.parametrize("from_included", [False, True])
@pytest.mark.parametrize("stamp", ["start", "end"])
async def test_boundaries_and_stamps(stamp: str, from_included: bool, until_included: bool) -> None:
    """Which points belong to [00:10, 00:25], and what they cover.

    covers   05-10  10-15  15-20  20-25  25-30
    start    05     10(f)  15     20     25(u)
    end      10(f)  15     20     25(u)  30
    """
    knobs = Knobs(
        timezone="UTC",
        stamp="start" if stamp == "start" else "end",
        from_included=from_included,
        until_included=until_included,
    )
    async with platform(knobs, at=END) as one:
        id = one.world.create(habit="silent", since=T0)
        for n in range(12):
            one.world.script(id, T0 + n * STEP, T0 + (n + 1) * STEP, n, 0)
        points = await one.points(id, "00:10_20260315", "00:25_20260315")
        first = 2 if stamp == "start" else 1
        covered = range(first + (not from_included), first + 3 + until_included)
        shift = 0 if stamp == "start" else 1
        assert points == [[float(n), (T0 + (n + shift) * STEP) // 1000] for n in covered]
        bucketed = await one.points(id, "00:10_20260315", "00:25_20260315", interval="1month")
        assert sum(value for value, _ in bucketed) == sum(covered)


async def test_a_calendar_month_straddles_two_buckets() -> None:
    """`1month` is thirty days since the epoch: March 2026 falls into two of them."""
    async with platform(at=local("2026-04-01")) as one:
        id = scripted(one, local("2026-03-01"), local("2026-04-01"))
        points = await one.points(id, "00:00_20260301", "00:00_20260401", interval="1month")
        assert [stamp % (30 * 86_400) for _, stamp in points] == [0, 0]
        assert points[0][1] * 1000 < local("2026-03-01") < points[1][1] * 1000
        assert sum(value for value, _ in points) == 1000 * 12 * (31 * 24 - 1)


async def test_buckets_of_an_hour() -> None:
    """A bucket holds the steps that begin in it; one without a point is null."""
    async with platform(Knobs(timezone="UTC"), at=T0 + 3 * HOUR) as one:
        id = scripted(one, T0 + HOUR, T0 + 3 * HOUR)
        one.app.faults.hide(start=T0 + HOUR, end=T0 + HOUR + STEP, vm=id)
        points = await one.points(id, "00:00_20260315", "04:00_20260315", interval="1h")
        stamps = [(T0 + n * HOUR) // 1000 for n in range(4)]
        assert points == [[value, stamp] for value, stamp in zip([None, 11_000.0, 12_000.0, None], stamps, strict=True)]


async def test_the_newest_point_lags() -> None:
    """A step that is not over has no point, and a finished one only after the lag."""
    async with platform(Knobs(timezone="UTC", lag_ms=2 * MINUTE), at=T0 + STEP + 2 * MINUTE - 1) as one:
        id = scripted(one, T0, T0 + HOUR)
        assert await one.points(id, "00:00_20260315", "now") == []
        one.now.ms += 1
        assert await one.points(id, "00:00_20260315", "now") == [[1000.0, T0 // 1000], [None, (T0 + STEP) // 1000]]


async def test_points_may_come_late() -> None:
    """By the knob, some points of every hundred show up later, and then all are there."""
    async with platform(Knobs(timezone="UTC", late_percent=30, late_ms=6 * HOUR), at=T0 + 6 * HOUR) as one:
        id = scripted(one, T0, T0 + 6 * HOUR)
        asked = "00:00_20260315", "06:00_20260315"
        missing = [n for n, (value, _) in enumerate(await one.points(id, *asked)) if value is None]
        assert 10 < len(missing) < 35
        one.now.ms += 6 * HOUR - STEP * (72 - max(missing))
        assert [n for n, (value, _) in enumerate(await one.points(id, *asked)) if value is None] == missing[-1:]
        one.now.ms += STEP
        assert await one.points(id, *asked) == [[1000.0, (T0 + n * STEP) // 1000] for n in range(72)]


async def test_points_can_be_hidden() -> None:
    """A fault holds back one VM's points of an interval until it is over; another VM's are there."""
    async with platform(Knobs(timezone="UTC"), at=T0 + HOUR) as one:
        held, other = scripted(one, T0, T0 + HOUR), scripted(one, T0, T0 + HOUR)
        one.app.faults.hide(start=T0 + STEP, end=T0 + 3 * STEP, until=T0 + 2 * HOUR, vm=held)
        values = [value for value, _ in await one.points(held, "00:00_20260315", "00:20_20260315")]
        assert values == [1000.0, None, None, 1000.0]
        assert None not in [value for value, _ in await one.points(other, "00:00_20260315", "00:20_20260315")]
        one.now.ms = T0 + 2 * HOUR
        assert None not in [value for value, _ in await one.points(held, "00:00_20260315", "00:20_20260315")]


@pytest.mark.parametrize(("knobs", "reply"), [(Knobs(), []), (Knobs(no_data="datapoints"), [{"datapoints": []}])])
async def test_no_data_is_not_zero(knobs: Knobs, reply: object) -> None:
    """A VM without a point, or a time without one, gives an empty reply of one of two kinds."""
    async with platform(knobs) as one:
        id = one.world.create(habit="busy")
        for start, end in (("-1d", "now"), ("00:00_20250101", "00:00_20250102"), ("now", "-1d")):
            query = {"target": "net_tx_summary", "from": start, "until": end}
            assert (await one.client.get(f"/vm/v3/host/{id}/metrics", params=query)).json() == reply


@pytest.mark.parametrize(("stopped", "value"), [("null", None), ("zero", 0.0)])
async def test_a_stopped_vm_has_nulls_or_zeros(stopped: str, value: float | None) -> None:
    """Points of the time when it was stopped: null or zero, as the knob says."""
    async with platform(Knobs(timezone="UTC", stopped="zero" if stopped == "zero" else "null"), at=T0 + STEP) as one:
        id = scripted(one, T0, T0 + HOUR)
        one.world.stop(id)
        one.now.ms = T0 + 3 * STEP
        points = await one.points(id, "00:00_20260315", "00:15_20260315")
        assert [one[0] for one in points] == [1000.0, value, value]


async def test_old_points_are_gone() -> None:
    """Retention: older points are no longer in any answer."""
    async with platform(Knobs(retention_ms=2 * DAY), at=T0 + 10 * DAY) as one:
        id = scripted(one, T0, T0 + 10 * DAY)
        points = await one.points(id, "-9d", "now", interval="1month")
        assert sum(value for value, _ in points) == 1000 * 2 * 288


@pytest.mark.parametrize(
    ("start", "steps"),
    [("-1d", 288), ("-90min", 18), ("-3600s", 12), ("-2h", 24), ("-1w", 7 * 288), ("-1mon", 30 * 288)],
)
async def test_relative_times(start: str, steps: int) -> None:
    """`-1d` and its like, in each unit."""
    async with platform(at=T0 + 400 * DAY) as one:
        id = scripted(one, T0 + 360 * DAY, T0 + 400 * DAY)
        points = await one.points(id, start, "now", interval="1y")
        assert sum(value or 0 for value, _ in points) == 1000 * steps


async def test_epoch_seconds_if_they_are_passed_on() -> None:
    """Seconds since the epoch work, or are refused, as the knob says."""
    query = {"target": "net_rx_summary", "from": str(T0 // 1000), "until": str(END // 1000)}
    async with platform(at=END) as one:
        id = scripted(one, T0, END)
        assert len(await one.points(id, T0 // 1000, END // 1000)) == 288
    async with platform(Knobs(epoch_seconds=False), at=END) as one:
        id = scripted(one, T0, END)
        assert (await one.client.get(f"/vm/v3/host/{id}/metrics", params=query)).status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        {"target": "cpu"},
        {"from": "yesterday"},
        {"from": "25:00_20260315"},
        {"until": "00:00_2026031"},
        {"interval": "5 parsecs"},
        {"interval": "0h"},
        {"interval": "10001y"},
        {"interval": "9" * 5000 + "s"},
        {"from": "-" + "9" * 12 + "y"},
        {"from": "00:00_20000101"},
    ],
)
async def test_senseless_questions_are_refused(query: dict[str, str]) -> None:
    """An unknown target, time or interval, and an answer of a million points: an error in the platform's shape."""
    async with platform() as one:
        id = one.world.create()
        asked = {"target": "net_rx_summary", "from": "-1d", "until": "now"} | query
        reply = await one.client.get(f"/vm/v3/host/{id}/metrics", params=asked)
        assert reply.status_code == 400
        assert set(reply.json()["error"]) == {"code", "msg", "value"}


async def test_a_time_long_before_anything_costs_nothing() -> None:
    """Ten thousand years in one point: what there is, and memory for what there is."""
    async with platform(at=END) as one:
        id = scripted(one, T0, END)
        tracemalloc.start()
        points = await one.points(id, "12:00_00010101", "12:00_99991231", interval="10000y")
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sum(value or 0 for value, _ in points) == 1000 * (DAY // STEP)
        assert peak_bytes < 4_000_000


@pytest.mark.parametrize(("view", "received"), [("vm", "rx"), ("tap", "tx")])
async def test_whose_view_it_is(view: str, received: str) -> None:
    """What the VM receives is rx in its own view and tx in the tap's."""
    async with platform(Knobs(view="vm" if view == "vm" else "tap"), at=END) as one:
        id = scripted(one, T0, END)
        for target in ("rx", "tx"):
            points = await one.points(id, "-1h", "now", target=f"net_{target}_summary", interval="1y")
            assert points[0][0] == (12_000.0 if target == received else 0.0)


@pytest.mark.parametrize(("reused_id", "total"), [("fresh", 12_000), ("continued", 24_000)])
async def test_an_id_that_is_used_again(reused_id: str, total: int) -> None:
    """The new VM's series begins anew or goes on with the old one's, as the knob says."""
    knobs = Knobs(reused_id="fresh" if reused_id == "fresh" else "continued")
    async with platform(knobs, at=T0 + HOUR) as one:
        id = scripted(one, T0, T0 + HOUR)
        one.world.delete(id)
        one.world.create(id=id, habit="silent")
        one.world.script(id, T0 + HOUR, T0 + 2 * HOUR, 12_000, 0)
        one.now.ms = T0 + 2 * HOUR
        points = await one.points(id, "-1d", "now", interval="1y")
        assert sum(value for value, _ in points) == total
        assert one.world.bytes_between(id, T0, T0 + 2 * HOUR) == (24_000, 0)


async def test_limits_show_in_the_metrics() -> None:
    """A throttled VM's points obey the new limit from the task's end on."""
    async with platform(Knobs(timezone="UTC", task_ms=2 * MINUTE, task_absent_ms=0)) as one:
        id = one.world.create(habit="silent", limits=(100, 100))
        one.world.follow(id, lambda start: (80_000_000, 0))
        await one.order(id, net_in_mbitps=8)
        one.now.ms = T0 + 2 * STEP
        points = await one.points(id, "00:00_20260315", "00:10_20260315")
        assert [value for value, _ in points] == [10_000_000.0 * 120 + 1_000_000 * 180, 1_000_000.0 * 300]
