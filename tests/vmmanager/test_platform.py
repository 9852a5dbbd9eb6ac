"""Traffic to the byte whatever the platform's unknowns are, lists, limits, and the tasks that change them."""

from __future__ import annotations

import asyncio
from itertools import product
from typing import Literal

import orjson
import pytest
import structlog

from stream.adapters.clock import WarpClock
from stream.core.errors import Refused, Unavailable
from stream.core.speed import Speed
from stream.ports import Traffic
from stream.simulator import Knobs
from tests.collector.rig import local
from tests.vmmanager.rig import HOUR, MINUTE, STEP, T0, Parrot, Rig, warped

SPRING, AUTUMN = "2026-03-29", "2026-10-25"
STAMPS: list[Literal["start", "end"]] = ["start", "end"]
AMBIGUOUS: list[Literal["first", "second"]] = ["first", "second"]
KNOBS = [
    Knobs(stamp=stamp, from_included=from_included, until_included=until_included, ambiguous=ambiguous)
    for stamp, ambiguous, from_included, until_included in product(STAMPS, AMBIGUOUS, (True, False), (True, False))
]


def knobs_name(knobs: Knobs) -> str:
    included = f"{'from' if knobs.from_included else ''}{'until' if knobs.until_included else ''}" or "neither"
    return f"{knobs.stamp}-{included}-{knobs.ambiguous}"


@pytest.mark.parametrize("knobs", KNOBS, ids=knobs_name)
@pytest.mark.parametrize("midnight", [SPRING, AUTUMN])
def test_totals_are_exact_whatever_the_boundary_rule(knobs: Knobs, midnight: str) -> None:
    """Both changes of the clocks; points at `from` and `until` belong to the answer or not; either stamp."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock, knobs, stamp=knobs.stamp)
        machine = rig.world.create(habit="steady", since=local("2026-03-01"))
        start = local(midnight)
        ends = [start + minutes * MINUTE for minutes in (5, 120, 125, 180, 185, 240, 600)]
        totals = await rig.platform.traffic(f"vm1/{machine}", start, ends)
        assert totals == [Traffic(end, *rig.world.bytes_between(machine, start, end)) for end in ends]

    warped(main, local(midnight) + 20 * HOUR)


def test_only_what_is_closed_is_known() -> None:
    """Shortly after midnight nothing is; then the newest closed point is the end, and no end comes twice."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock, Knobs(timezone="UTC", lag_ms=MINUTE), timezone="UTC")
        machine = rig.world.create(since=T0 - HOUR)
        service = f"vm1/{machine}"
        ends = [T0 + STEP, T0 + 2 * STEP, T0 + 3 * STEP]
        assert await rig.platform.traffic(service, T0, ends) is None
        await asyncio.sleep(11 * 60)
        totals = await rig.platform.traffic(service, T0, ends)
        assert totals == [Traffic(end, *rig.world.bytes_between(machine, T0, end)) for end in ends[:2]]

    warped(main)


@pytest.mark.parametrize("shape", ["list", "datapoints"])
def test_no_data_is_not_zero(shape: Literal["list", "datapoints"]) -> None:
    """`[]`, no datapoints, nothing but nulls, or one direction without any: None."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock, Knobs(no_data=shape))
        machine = rig.world.create(since=T0)
        service = f"vm1/{machine}"
        assert await rig.platform.traffic(service, T0 - HOUR, [T0]) is None
        assert await rig.platform.total(service, T0 - HOUR, T0) is None

    warped(main)


def test_a_direction_that_lags_holds_the_other_back() -> None:
    """Known is what both directions have; a gap before that is left out until it is filled."""

    def series(*values: float | None) -> bytes:
        pairs = [[value, T0 // 1000 + place * STEP // 1000] for place, value in enumerate(values)]
        return orjson.dumps([{"datapoints": pairs}])

    async def main(clock: WarpClock) -> None:
        said = {"net_rx_summary": series(1.0, 2.0, 4.0), "net_tx_summary": series(8.0, None, None)}
        platform = Parrot(said).platform(clock)
        ends = [T0 + STEP, T0 + 3 * STEP]
        assert await platform.traffic("vm1/1", T0, ends) == [Traffic(T0 + STEP, 1, 8)]
        said["net_tx_summary"] = series(8.0, None, 16.0)
        assert await platform.traffic("vm1/1", T0, ends) == [Traffic(T0 + STEP, 1, 8), Traffic(T0 + 3 * STEP, 7, 24)]
        said["net_tx_summary"] = series(None, None)
        assert await platform.traffic("vm1/1", T0, ends) is None

    warped(main)


def test_the_month_is_asked_as_the_vendor_does() -> None:
    """In steps of thirty days, in local time, and all points that come are added up."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock)
        machine = rig.world.create(habit="steady", since=local("2026-02-01"))
        start, end = local("2026-03-01"), local("2026-03-15")
        total = await rig.platform.total(f"vm1/{machine}", start, end)
        assert total == Traffic(end, *rig.world.bytes_between(machine, start, end))
        _, call, _ = rig.app.calls[-1]
        assert dict(call.query) == {
            "target": "net_tx_summary",
            "from": "00:00_20260301",
            "until": "00:00_20260315",
            "output": "single",
            "interval": "1month",
        }

    warped(main)


def test_the_list_is_one_request() -> None:
    """Limits, owners and states of all; `began_at` lies before anything that the list shows."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock, Knobs(unlimited=0, latency_s=3))
        runs = rig.world.create(limits=(100, None), name="a", account="7", since=T0)
        stops = rig.world.create(limits=(1, 2), since=T0)
        rig.world.stop(stops)
        began = clock.now()
        listing = await rig.platform.list()
        assert listing.began_at == began
        assert {name: (machine.running, machine.limits) for name, machine in listing.machines.items()} == {
            f"vm1/{runs}": (True, Speed(100_000_000, None)),
            f"vm1/{stops}": (False, Speed(1_000_000, 2_000_000)),
        }
        assert len(rig.called("/vm/v3/host")) == 1

    warped(main)


def test_a_broken_row_is_reported_once() -> None:
    """With its cause, and not again in the next list, unless the cause is another one."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock, Knobs(unlimited=None))
        rig.world.create(since=T0)
        broken = rig.world.create(limits=(None, 5), since=T0)
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                listing = await rig.platform.list()
        assert listing.unreadable == {f"vm1/{broken}"}
        assert len(listing.machines) == 1
        (line,) = [line for line in logs if line["event"] == "platform.row_unreadable"]
        assert (line["row"], line["cause"]) == (f"vm1/{broken}", "net_in_mbitps is no speed: None")

    warped(main)


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        (Speed(10_000_000, 20_000_000), (10, 20)),
        (Speed(None, 5_000_000), (None, 5)),
        (Speed(None, None), (None, None)),
    ],
)
@pytest.mark.parametrize("unlimited", [0, None, -1])
def test_speeds_are_set_in_whole_megabits(
    wanted: Speed, shown: tuple[int | None, int | None], unlimited: int | None
) -> None:
    """Two fields and nothing else, "no limit" as the platform writes it; a task that can be followed."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock, Knobs(unlimited=unlimited, task_ms=20_000, task_absent_ms=2000), unlimited=unlimited)
        machine = rig.world.create(since=T0)
        task = await rig.platform.set_speed(f"vm1/{machine}", wanted)
        _, call, _ = rig.app.calls[-1]
        assert call.body is None or set(call.body) == {"net_in_mbitps", "net_out_mbitps"}
        assert task is not None
        states = []
        for _ in range(4):
            states.append(await rig.platform.task(task))
            await asyncio.sleep(8)
        assert states == ["unknown", "running", "running", "complete"]
        assert rig.world.limits(machine) == shown
        listing = await rig.platform.list()
        assert listing.machines[f"vm1/{machine}"].limits == wanted

    warped(main)


def test_a_change_that_is_done_at_once_has_no_task() -> None:
    """A reply without a task."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock, Knobs(immediate=True))
        machine = rig.world.create(since=T0)
        assert await rig.platform.set_speed(f"vm1/{machine}", Speed(10_000_000, 10_000_000)) is None
        assert rig.world.limits(machine) == (10, 10)

    warped(main)


def test_a_list_of_nothing_but_unreadable_rows() -> None:
    """The first of them are logged, the others only counted; at the next list nothing is said again."""

    async def main(clock: WarpClock) -> None:
        platform = Parrot(b'{"list":[' + b"{}," * 4999 + b"{}]}").platform(clock)
        with structlog.testing.capture_logs() as logs:
            assert not (await platform.list()).machines
            await platform.list()
        assert [line["event"] for line in logs] == ["platform.row_unreadable"] * 20 + ["platform.rows_unreadable"]
        assert logs[-1]["more"] == 4980

    warped(main)


@pytest.mark.parametrize("word", ["fail", "failed"])
def test_a_task_that_fails(word: Literal["fail", "failed"]) -> None:
    """Both words that are known for it."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock, Knobs(failed=word))
        rig.app.faults.inject("task_fails")
        machine = rig.world.create(since=T0)
        task = await rig.platform.set_speed(f"vm1/{machine}", Speed(10_000_000, 10_000_000))
        assert task is not None
        await asyncio.sleep(60)
        assert await rig.platform.task(task) == "failed"

    warped(main)


@pytest.mark.parametrize(
    ("speed", "expressed"),
    [
        (Speed(10_999_999, 10_000_000), Speed(10_000_000, 10_000_000)),
        (Speed(999_999, 1), Speed(1_000_000, 1_000_000)),
        (Speed(None, 25_500_000), Speed(None, 25_000_000)),
    ],
)
def test_a_speed_is_never_shown_faster(speed: Speed, expressed: Speed) -> None:
    """Whole Mbit/s, at least 1, rounded down."""

    async def main(clock: WarpClock) -> None:
        assert Rig(clock).platform.express(speed) == expressed

    warped(main)


@pytest.mark.parametrize("task", ["", "1'", "1+OR+1", "a b", "é", "x" * 201])
def test_a_task_id_cannot_change_the_question(task: str) -> None:
    """What is no id is refused before anything is asked."""

    async def main(clock: WarpClock) -> None:
        rig = Rig(clock)
        with pytest.raises(Refused, match="is not the id of a task"):
            await rig.platform.task(task)
        assert not rig.app.calls

    warped(main)


@pytest.mark.parametrize("service", ["vm2/1", "vm1/", "vm1/a", "1", "vm1/../1", "vm1/1/2", "vm1/01", "vm1/٣"])
def test_other_services_are_refused(service: str) -> None:
    """Neither another platform's nor anything that is not a number becomes a part of a path, nor a number written in
    another way: that would be a second service on the same machine."""

    async def main(clock: WarpClock) -> None:
        with pytest.raises(Refused, match="is none of its machines"):
            await Rig(clock).platform.traffic(service, T0, [T0 + STEP])

    warped(main)


def test_a_deleted_machine_is_refused() -> None:
    """Code 3080, or whatever the platform says of one that it does not have."""

    async def main(clock: WarpClock) -> None:
        with pytest.raises((Refused, Unavailable), match="vm1: GET /vm/v3/host/77/metrics: HTTP "):
            await Rig(clock).platform.traffic("vm1/77", T0, [T0 + STEP])

    warped(main)


def test_too_many_bytes_for_a_day_are_not_believed() -> None:
    """Each point may be possible and their sum not."""

    async def main(clock: WarpClock) -> None:
        first = T0 // 1000
        pairs = ",".join(f"[{1 << 50}.0,{first + place * 300}]" for place in range(3))
        platform = Parrot(b'[{"datapoints":[%s]}]' % pairs.encode()).platform(clock)
        with pytest.raises(Unavailable, match="an impossible number of bytes within a day"):
            await platform.traffic("vm1/1", T0, [T0 + 3 * STEP])

    warped(main)
