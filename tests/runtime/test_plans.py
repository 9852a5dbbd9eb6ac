"""Plans on their way through the log: every partition gets the same ones, whatever happens on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from itertools import count
from typing import Any

import orjson
import pytest
import structlog

from stream.adapters.clock import WarpClock, run_warped
from stream.adapters.memory import MemoryLog
from stream.core.errors import Unavailable
from stream.core.mapping import FieldMapping
from stream.core.plan import Plan
from stream.ports import DEAD_LETTERS, DELTAS, Fetch, Message
from stream.runtime import plans
from stream.runtime.checkpoint import load
from stream.runtime.partition import own
from stream.wire import encode_plans, encode_registration, partition_of
from tests.runtime.history import START_MS, ladder
from tests.runtime.lives import SETTINGS, Punctual, Unseen
from tests.runtime.watched import Trouble, WatchedLog

PARTITIONS = 3
SMALL: Mapping[str, Plan] = {"a": Plan.from_json("a", ladder(1000)), "b": Plan.from_json("b", ladder(2000))}
LARGE: Mapping[str, Plan] = {"a": Plan.from_json("a", ladder(9000)), "b": SMALL["b"]}


def on_a_log(main: Callable[[MemoryLog], Coroutine[Any, Any, None]]) -> None:
    async def with_log(clock: WarpClock) -> None:
        await main(MemoryLog(clock, partitions=PARTITIONS))

    run_warped(with_log, start_ms=START_MS)


async def apply(log: MemoryLog | WatchedLog, wanted: Mapping[str, Plan]) -> int:
    return await plans.apply(log, wanted)


async def versions(log: MemoryLog) -> list[int]:
    return [each.version for each in await plans.in_force(log)]


async def sizes(log: MemoryLog) -> list[int]:
    """How many records each partition has."""
    return [(await log.bounds(DELTAS, partition))[1] for partition in range(PARTITIONS)]


async def track(log: MemoryLog, partitions: Sequence[int] = range(PARTITIONS)) -> None:
    """Let trackers read what is there."""
    for partition in partitions:
        _, end = await log.bounds(DELTAS, partition)
        await own(
            log, partition, settings=SETTINGS, clock=Punctual(), observer=Unseen(), stop=asyncio.Event(), until=end
        )


class SlowLog(WatchedLog):
    """A log whose first fetches are empty, because it is late."""

    async def read(self, topic: str, partition: int, offset: int, *, wait_s: float) -> AsyncGenerator[Fetch, None]:
        for _ in range(3):
            await asyncio.sleep(wait_s)
            yield Fetch((), offset)
        async with aclosing(super().read(topic, partition, offset, wait_s=wait_s)) as fetches:
            async for fetch in fetches:
                yield fetch


def test_new_plans_go_everywhere_once() -> None:
    """One record to each partition, and none when they are the same, read by the trackers or not."""

    async def main(log: MemoryLog) -> None:
        assert await versions(log) == [0, 0, 0]
        assert await apply(log, SMALL) == 1
        assert await apply(log, SMALL) == 1
        await track(log, [0])
        assert await apply(log, SMALL) == 1
        await track(log)
        assert await apply(log, SMALL) == 1
        assert await sizes(log) == [1, 1, 1]
        assert await apply(log, LARGE) == 2
        assert [each.plans for each in await plans.in_force(log)] == [LARGE] * PARTITIONS
        assert await sizes(log) == [2, 2, 2]

    on_a_log(main)


def test_others_than_the_configured_ones_are_told() -> None:
    """Once, when they come into force; not those of the configuration."""

    async def main(log: MemoryLog) -> None:
        with structlog.testing.capture_logs() as logs:
            for version, (wanted, told) in enumerate([(SMALL, 0), (LARGE, 1), (SMALL, 1)], start=1):
                await apply(log, wanted)
                settings = replace(SETTINGS, configured=plans.Configured(SMALL))
                await own(
                    log, 0, settings=settings, clock=Punctual(), observer=Unseen(), stop=asyncio.Event(), until=version
                )
                assert [each["version"] for each in logs if each["event"] == "plans.differ"] == [2] * told

    on_a_log(main)


def test_a_tracker_says_at_its_start_that_its_plans_are_others() -> None:
    """Once for all partitions, though nothing new comes into force; plans that are on their way count already."""

    async def main(log: MemoryLog) -> None:
        async def told(configured: Mapping[str, Plan]) -> list[int]:
            settings = replace(SETTINGS, configured=plans.Configured(configured))
            with structlog.testing.capture_logs() as logs:
                for partition in range(PARTITIONS):
                    _, end = await log.bounds(DELTAS, partition)
                    await own(
                        log,
                        partition,
                        settings=settings,
                        clock=Punctual(),
                        observer=Unseen(),
                        stop=asyncio.Event(),
                        until=end,
                    )
            return [each["version"] for each in logs if each["event"] == "plans.differ"]

        assert await told(SMALL) == [0]
        await apply(log, SMALL)
        assert await told(SMALL) == []
        assert await told(LARGE) == [1]
        assert await told({}) == []
        await apply(log, LARGE)
        await apply(log, SMALL)
        assert await told(SMALL) == []
        await apply(log, LARGE)
        await apply(log, SMALL)
        assert await told(LARGE) == [5]

    on_a_log(main)


def test_the_order_of_plans_is_theirs() -> None:
    """The same plans in another order are others: the order decides between moves of one instant."""

    async def main(log: MemoryLog) -> None:
        await apply(log, SMALL)
        assert await apply(log, {"b": SMALL["b"], "a": SMALL["a"]}) == 2

    on_a_log(main)


def test_versions_are_brought_together() -> None:
    """The same plans under different versions are published once more, under one."""

    async def main(log: MemoryLog) -> None:
        await apply(log, SMALL)
        await log.append(DELTAS, 1, [encode_plans(7, SMALL)])
        assert await versions(log) == [1, 7, 1]
        assert await apply(log, SMALL) == 8
        assert await versions(log) == [8, 8, 8]

    on_a_log(main)


@pytest.mark.parametrize("tracked", [False, True], ids=["unread", "read"])
@pytest.mark.parametrize("wanted", [SMALL, LARGE], ids=["the old ones", "the new ones"])
def test_half_a_broadcast_is_mended(wanted: Mapping[str, Plan], tracked: bool) -> None:
    """Wherever a broadcast broke off: the next one gives every partition the same plans under the same version."""

    async def main(log: MemoryLog) -> None:
        halves = 0
        for at in count():
            await apply(log, SMALL)
            broken = WatchedLog(log, Trouble("refused", at))
            with suppress(Unavailable):
                await apply(broken, LARGE)
            halves += len(set(await versions(log))) > 1
            if tracked:
                await track(log)
            version = await apply(log, wanted)
            assert await versions(log) == [version] * PARTITIONS
            assert [each.plans for each in await plans.in_force(log)] == [wanted] * PARTITIONS
            if not broken.gone:
                break
        assert halves >= 2 * (PARTITIONS - 1), "before each append but the first, and after each but the last"

    on_a_log(main)


class SilentLog(MemoryLog):
    """From a certain step on it does not answer any more."""

    steps = 0
    answers = 1 << 30

    async def _delay(self) -> None:
        self.steps += 1
        if self.steps > self.answers:
            await asyncio.Event().wait()


def test_a_log_that_does_not_answer_is_unavailable_soon() -> None:
    """Whichever answer it is that never comes: whoever starts with the plans must not hang there for ever."""

    async def main(clock: WarpClock) -> None:
        steps = SilentLog.answers
        for answers in count():
            log = SilentLog(clock, partitions=PARTITIONS)
            await log.append(DELTAS, 0, [Message(*encode_plans(7, LARGE))])
            log.steps, log.answers = 0, answers
            if answers >= steps:
                break
            began = clock.now()
            with suppress(Unavailable):
                await apply(log, SMALL)
                steps = log.steps
            assert clock.now() - began == (0 if answers == steps else 60_000)
        assert steps > 3 * PARTITIONS

    run_warped(main, start_ms=START_MS)


def test_a_slow_log_is_waited_for() -> None:
    """Plans that come late are found all the same: nothing within a second is not the end."""

    async def main(log: MemoryLog) -> None:
        await apply(log, SMALL)
        slow = SlowLog(log)
        assert [each.version for each in await plans.in_force(slow)] == [1] * PARTITIONS

    on_a_log(main)


def test_plans_that_are_no_longer_kept() -> None:
    """They tell nobody anything: who asks reads from what is kept on, and plans are applied anew."""

    async def main(log: MemoryLog) -> None:
        await apply(log, SMALL)
        for partition in range(PARTITIONS):
            stream = log._stream(DELTAS, partition)
            stream.expire(2 * START_MS, stream.end)
        assert await versions(log) == [0] * PARTITIONS
        assert await apply(log, SMALL) == 1
        assert await versions(log) == [1] * PARTITIONS

    on_a_log(main)


def test_mappings_are_durable_and_come_from_the_log_alone() -> None:
    """A tracker that takes over reads foreign records by the mappings that its predecessor had, whatever its own
    configuration says, and says that they differ."""
    mapping, other = (
        FieldMapping.from_json("m", {"service": "vm1/{id}", "end": {"field": "t", "format": "ms"}, "duration": 1000,
                                     "in": {"field": "rx", "factor": factor}})
        for factor in (1, 1000)
    )  # fmt: skip

    id_ = next(number for number in count() if partition_of(f"vm1/{number}", PARTITIONS) == 0)

    async def main(log: MemoryLog) -> None:
        await plans.apply(log, SMALL, {"m": mapping})
        await log.append(DELTAS, 0, [encode_registration(f"vm1/{id_}", ["a"], at=START_MS)])
        settings = replace(SETTINGS, configured=plans.Configured(SMALL, {"m": other}))
        with structlog.testing.capture_logs() as logs:
            for number in range(3):
                flow = {"id": id_, "t": START_MS + 1000 * number, "rx": 7}
                await log.append(DELTAS, 0, [Message(None, orjson.dumps(flow))])
                _, end = await log.bounds(DELTAS, 0)
                await own(
                    log, 0, settings=settings, clock=Punctual(), observer=Unseen(), stop=asyncio.Event(), until=end
                )
        tracker = await load(log, 0, lambda _: 0)
        view = tracker.service(f"vm1/{id_}")
        assert view is not None
        assert (view.accepted_in, tracker.mappings) == (21, {"m": mapping})
        assert [each["event"] for each in logs if each["event"].startswith("plans.")] == ["plans.differ"]
        assert await log.bounds(DEAD_LETTERS, 0) == (0, 0)
        assert await plans.apply(log, SMALL, {"m": mapping}) == 1
        assert await plans.apply(log, SMALL, {"m": other}) == 2
        assert [each.mappings for each in await plans.in_force(log)] == [{"m": other}] * PARTITIONS

    on_a_log(main)
