"""Which partitions are served when, and what becomes of those that fail."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
import structlog

from stream.adapters.clock import WarpClock, run_warped
from stream.adapters.memory import MemoryLog
from stream.core.errors import Corrupt, Fenced, Misconfigured, QuotaStreamError, Truncated, Unavailable
from stream.ports import Clock, Role
from stream.runtime.worker import STOP_DEADLINE_S, Serve, work
from tests.runtime.history import START_MS


class Assigning(MemoryLog):
    """A log whose assignments the test gives, one set after the other; None breaks them."""

    def __init__(self, clock: Clock, *partitions: int) -> None:
        super().__init__(clock, partitions=9)
        self.assigned: asyncio.Queue[set[int] | None] = asyncio.Queue()
        self.assigned.put_nowait(set(partitions))
        self.left_at: float | None = None
        """When the process gave its assignments back (s)."""

    async def assignments(self, role: Role) -> AsyncGenerator[frozenset[int], None]:
        try:
            while True:
                partitions = await self.assigned.get()
                if partitions is None:
                    raise Unavailable("no group coordinator")
                yield frozenset(partitions)
        finally:
            self.left_at = asyncio.get_running_loop().time()


class Served:
    """Serves whatever it is given and writes down when it began and ended: (second, "+" or "-", partition)."""

    def __init__(self) -> None:
        self.happened: list[tuple[int, str, int]] = []
        self.fails: defaultdict[int, list[Exception | float]] = defaultdict(list)
        """By partition: what the next tries raise; a number of seconds that they go well before the next raises."""
        self.lingers_s: defaultdict[int, float] = defaultdict(float)
        """How long a partition needs to end once it is told so."""

    async def __call__(self, partition: int, stop: asyncio.Event) -> None:
        self._note("+", partition)
        try:
            while self.fails[partition]:
                trouble = self.fails[partition].pop(0)
                if isinstance(trouble, Exception):
                    raise trouble
                await asyncio.sleep(trouble)
            await stop.wait()
            await asyncio.sleep(self.lingers_s[partition])
        finally:
            self._note("-", partition)

    def _note(self, what: str, partition: int) -> None:
        self.happened.append((round(asyncio.get_running_loop().time()), what, partition))


def warped(main: Callable[[WarpClock], Coroutine[Any, Any, None]]) -> None:
    with structlog.testing.capture_logs():
        run_warped(main, start_ms=START_MS)


@asynccontextmanager
async def working(log: MemoryLog, serve: Serve) -> AsyncIterator[tuple[asyncio.Task[None], asyncio.Event]]:
    stop = asyncio.Event()
    task = asyncio.create_task(work("tracker", log, serve, stop, random.Random(1)))
    try:
        yield task, stop
    finally:
        stop.set()
        await asyncio.wait({task})


# ---------------------------------------------------------------- assignments


def test_assignments_change() -> None:
    """What is taken away ends before anything new begins; what stays is left alone."""

    async def main(clock: WarpClock) -> None:
        log, served = Assigning(clock, 1, 2), Served()
        served.lingers_s[1] = 5
        async with working(log, served):
            await asyncio.sleep(10)
            log.assigned.put_nowait({2, 3})
            await asyncio.sleep(10)
            log.assigned.put_nowait(set())
            await asyncio.sleep(10)
            log.assigned.put_nowait({1})
            await asyncio.sleep(10)
            assert served.happened == [
                *[(0, "+", 1), (0, "+", 2)],
                *[(15, "-", 1), (15, "+", 3)],
                *[(20, "-", 2), (20, "-", 3)],
                (30, "+", 1),
            ]

    warped(main)


def test_a_partition_that_does_not_let_go_is_cut_off() -> None:
    """After the deadline a task is cancelled, whether its partition went away or everything is to stop."""

    async def main(clock: WarpClock) -> None:
        log, served = Assigning(clock, 1, 2), Served()
        served.lingers_s |= {1: 1e6, 2: 1e6}
        async with working(log, served) as (task, stop):
            await asyncio.sleep(10)
            log.assigned.put_nowait({2})
            await asyncio.sleep(90)
            stop.set()
            await task
            late = round(STOP_DEADLINE_S)
            assert served.happened == [(0, "+", 1), (0, "+", 2), (10 + late, "-", 1), (100 + late, "-", 2)]

    warped(main)


def test_a_stop_waits_for_all() -> None:
    """All partitions are told at once; the worker returns when the last has ended."""

    async def main(clock: WarpClock) -> None:
        log, served = Assigning(clock, 1, 2, 3), Served()
        served.lingers_s |= {1: 1, 2: 7, 3: 3}
        async with working(log, served) as (task, stop):
            await asyncio.sleep(10)
            stop.set()
            await task
            assert served.happened[3:] == [(11, "-", 1), (13, "-", 3), (17, "-", 2)]

    warped(main)


def test_a_stop_waits_for_what_was_just_taken_away() -> None:
    """A partition that is on its way out when everything is to stop keeps its time to end, and then is cut off."""

    async def main(clock: WarpClock) -> None:
        log, served = Assigning(clock, 1, 2, 3), Served()
        served.lingers_s |= {1: 7, 2: 1e6}
        async with working(log, served) as (task, stop):
            await asyncio.sleep(10)
            log.assigned.put_nowait({3})
            await asyncio.sleep(5)
            stop.set()
            await task
            assert served.happened[3:] == [(15, "-", 3), (17, "-", 1), (10 + round(STOP_DEADLINE_S), "-", 2)]

    warped(main)


@pytest.mark.parametrize("reason", ["stop", "failure", "cancelled"])
def test_assignments_are_given_back_last(reason: str) -> None:
    """Others take over only what has ended: the group is left after the last partition, and before `work` returns."""

    async def main(clock: WarpClock) -> None:
        log, served = Assigning(clock, 1, 2), Served()
        served.lingers_s[1] = 7
        served.fails[2] = [10.0, Corrupt("damaged")] if reason == "failure" else []
        async with working(log, served) as (task, stop):
            await asyncio.sleep(10)
            if reason == "stop":
                stop.set()
            elif reason == "cancelled":
                task.cancel()
            await asyncio.wait({task})
            assert served.happened[2:] == [(10, "-", 2), (17, "-", 1)]
            assert log.left_at is not None
            assert round(log.left_at) == 17

    warped(main)


def test_who_is_cancelled_twice_leaves_all_the_same() -> None:
    """Then nobody waits for the partitions any more."""

    async def main(clock: WarpClock) -> None:
        log, served = Assigning(clock, 1), Served()
        served.lingers_s[1] = 7
        async with working(log, served) as (task, _):
            await asyncio.sleep(10)
            task.cancel()
            await asyncio.sleep(2)
            task.cancel()
            await asyncio.wait({task})
            assert log.left_at is not None
            assert round(log.left_at) == 12

    warped(main)


def test_nothing_is_taken_on_while_all_are_ending() -> None:
    """What is assigned then is nobody's until the group is left; what is taken away ends anyway."""

    async def main(clock: WarpClock) -> None:
        log, served = Assigning(clock, 1, 2), Served()
        served.lingers_s |= {1: 7, 2: 5}
        async with working(log, served) as (task, stop):
            await asyncio.sleep(10)
            log.assigned.put_nowait({1, 3})  # 3 is to begin when 2 has ended
            await asyncio.sleep(1)
            stop.set()
            await asyncio.sleep(1)
            log.assigned.put_nowait({4})
            await task
            assert served.happened[2:] == [(15, "-", 2), (18, "-", 1)]
            assert log.left_at is not None
            assert round(log.left_at) == 18

    warped(main)


def test_who_has_no_partition_waits() -> None:
    """From the start, or when all were taken away: neither is an end."""

    async def main(clock: WarpClock) -> None:
        log, served = Assigning(clock), Served()
        async with working(log, served) as (task, _):
            await asyncio.sleep(1000)
            log.assigned.put_nowait({1})
            await asyncio.sleep(1000)
            log.assigned.put_nowait(set())
            await asyncio.sleep(1000)
            assert not task.done()
            assert served.happened == [(1000, "+", 1), (2000, "-", 1)]

    warped(main)


def test_what_is_to_begin_is_not_forgotten() -> None:
    """Partitions that have ended by themselves are not the end while others are about to begin."""

    async def main(clock: WarpClock) -> None:
        happened: list[tuple[int, int]] = []

        async def serve(partition: int, stop: asyncio.Event) -> None:
            if partition == 2:
                await stop.wait()
            await asyncio.sleep(5)
            happened.append((round(asyncio.get_running_loop().time()), partition))

        log = Assigning(clock, 1, 2)
        async with working(log, serve) as (task, _):
            await asyncio.sleep(10)
            log.assigned.put_nowait({1, 3})
            await task
            assert happened == [(5, 1), (15, 2), (20, 3)]

    warped(main)


def test_assignments_are_told() -> None:
    """Once what was taken away has ended, and before what is new begins."""

    async def main(clock: WarpClock) -> None:
        log, served = Assigning(clock, 1, 2), Served()
        served.lingers_s[1] = 5
        told: list[tuple[int, Role, frozenset[int], int]] = []

        def assigned(role: Role, partitions: frozenset[int]) -> None:
            told.append((round(asyncio.get_running_loop().time()), role, partitions, len(served.happened)))

        stop = asyncio.Event()
        task = asyncio.create_task(work("enforcer", log, served, stop, random.Random(1), assigned))
        await asyncio.sleep(10)
        log.assigned.put_nowait({2, 3})
        await asyncio.sleep(10)
        log.assigned.put_nowait(set())
        await asyncio.sleep(10)
        stop.set()
        await task
        assert told == [
            (0, "enforcer", frozenset({1, 2}), 0),
            (15, "enforcer", frozenset({2, 3}), 3),
            (20, "enforcer", frozenset(), 6),
        ]

    warped(main)


def test_it_ends_when_there_is_nothing_more_to_do() -> None:
    """As a drain does: when every partition has ended by itself."""

    async def main(clock: WarpClock) -> None:
        async def serve(partition: int, stop: asyncio.Event) -> None:
            await asyncio.sleep(partition)

        async with working(Assigning(clock, 1, 2, 3), serve) as (task, _):
            await task
        assert round(asyncio.get_running_loop().time()) == 3

    warped(main)


def test_assignments_that_break_end_the_worker() -> None:
    """Who does not know what is theirs serves nothing."""

    async def main(clock: WarpClock) -> None:
        none = Assigning(clock)
        none.assigned.get_nowait()
        none.assigned.put_nowait(None)
        async with working(none, Served()) as (task, _):
            with pytest.raises(Unavailable, match="coordinator"):
                await task
        log, served = Assigning(clock, 1), Served()
        async with working(log, served) as (task, _):
            await asyncio.sleep(10)
            log.assigned.put_nowait(None)
            with pytest.raises(Unavailable, match="coordinator"):
                await task
            assert served.happened == [(0, "+", 1), (10, "-", 1)]

    warped(main)


# ---------------------------------------------------------------- failures

PASSES = [Unavailable("broker"), Fenced("other"), TimeoutError(), ValueError("a defect"), KeyError("another")]


@pytest.mark.parametrize("error", PASSES, ids=lambda error: type(error).__name__)
def test_what_passes_is_tried_again(error: Exception) -> None:
    """After any error, a defect of ours included, a partition begins anew; the others do not notice."""

    async def main(clock: WarpClock) -> None:
        served = Served()
        served.fails[1] = [error]
        async with working(Assigning(clock, 1, 2), served) as (task, _):
            await asyncio.sleep(10)
            assert served.happened == [(0, "+", 1), (0, "-", 1), (0, "+", 2), (0, "+", 1)]
            assert not task.done()

    warped(main)


@pytest.mark.parametrize(
    ("error", "levels"),
    [
        (Fenced("other"), ["info", "info", "warning"]),
        (Unavailable("broker"), ["warning"] * 3),
        (ValueError("a defect"), ["error"] * 3),
    ],
    ids=["Fenced", "Unavailable", "ValueError"],
)
def test_a_partition_that_is_handed_over_is_no_alarm(error: Exception, levels: list[str]) -> None:
    """Until it happens again and again, as when two installations go by the same names."""

    async def main(clock: WarpClock) -> None:
        served = Served()
        served.fails[1] = [error] * 3
        async with working(Assigning(clock, 1), served):
            await asyncio.sleep(60)

    with structlog.testing.capture_logs() as logs:
        run_warped(main, start_ms=START_MS)
    assert [each["log_level"] for each in logs if each["event"] == "partition.dropped"] == levels


def test_waits_grow_with_jitter() -> None:
    """From 0.2 s they double up to 30 s, each of them between a half and the whole; after a long success anew."""

    async def main(clock: WarpClock) -> None:
        tries: list[float] = []
        enough = asyncio.Event()
        loop = asyncio.get_running_loop()

        async def serve(partition: int, stop: asyncio.Event) -> None:
            tries.append(loop.time())
            if len(tries) == 13:
                await asyncio.sleep(31)
            if len(tries) == 15:
                enough.set()
            raise Unavailable("broker")

        async with working(Assigning(clock, 1), serve):
            await enough.wait()
        waits = [later - earlier for earlier, later in pairwise(tries)]
        waits[12] -= 31
        wholes = [*(min(30.0, 0.2 * 2**failures) for failures in range(12)), 0.2, 0.4]
        shares = [wait / whole for wait, whole in zip(waits, wholes, strict=True)]
        assert all(0.49 <= share <= 1.01 for share in shares), shares
        assert len({round(share, 2) for share in shares}) > 8

    warped(main)


def test_a_stop_ends_a_wait() -> None:
    """Nobody waits for the next try of a partition that is to end."""

    async def main(clock: WarpClock) -> None:
        served = Served()
        served.fails[1] = [Unavailable("broker")] * 100
        async with working(Assigning(clock, 1), served) as (task, stop):
            await asyncio.sleep(100)
            stop.set()
            async with asyncio.timeout(0.1):
                await task

    warped(main)


@pytest.mark.parametrize("error", [Corrupt("damaged"), Truncated("gone"), Misconfigured("wrong")])
@pytest.mark.parametrize("after_s", [None, 0.0, 10.0], ids=["at once", "soon", "later"])
def test_what_cannot_pass_stops_everything(error: QuotaStreamError, after_s: float | None) -> None:
    """It is raised, however early it comes; the other partitions are told to stop, and end in order."""

    async def main(clock: WarpClock) -> None:
        served = Served()
        served.fails[2] = [error] if after_s is None else [after_s, error]
        served.lingers_s[1] = 1
        async with working(Assigning(clock, 1, 2), served) as (task, _):
            with pytest.raises(type(error), match=str(error)):
                await task
            at = round(after_s or 0)
            assert served.happened == [(0, "+", 1), (0, "+", 2), (at, "-", 2), (at + 1, "-", 1)]

    warped(main)


def test_what_comes_to_light_at_the_end_is_raised() -> None:
    """What a partition cannot get over is told even if everything is to stop, or the partition to go, anyway."""

    async def main(clock: WarpClock) -> None:
        async def serve(partition: int, stop: asyncio.Event) -> None:
            await stop.wait()
            raise Corrupt(f"damaged: {partition}")

        async with working(Assigning(clock, 1, 2), serve) as (task, stop):
            await asyncio.sleep(10)
            stop.set()
            with pytest.raises(Corrupt, match="damaged: 1"):
                await task
        log = Assigning(clock, 1, 2)
        async with working(log, serve) as (task, _):
            await asyncio.sleep(10)
            log.assigned.put_nowait({1})
            with pytest.raises(Corrupt, match="damaged: 2"):
                await task

    warped(main)


def test_the_only_partition_stops_everything_too() -> None:
    """Also when nothing is left to wait for: an error is not taken for an end."""

    async def main(clock: WarpClock) -> None:
        served = Served()
        served.fails[1] = [Corrupt("damaged")]
        async with working(Assigning(clock, 1), served) as (task, _):
            with pytest.raises(Corrupt):
                await task

    warped(main)
