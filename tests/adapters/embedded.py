"""What the logs of one machine promise beyond the contract, whose clock can be set."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
import structlog

from stream.adapters.admission import HOUR_MS
from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, STATE, Message
from tests.adapters.contract import LogContract
from tests.adapters.world import (
    DAY_MS,
    DEADLINE_S,
    PARTITIONS,
    START_MS,
    EmbeddedWorld,
    messages,
    read_all,
    values,
)


class EmbeddedContract(LogContract):
    """What the logs of one machine promise beyond."""

    async def test_time_is_the_clocks(self, world: EmbeddedWorld) -> None:
        """The append time is the clock's, and waits for it where the clock goes back; partitions are apart in this."""
        for at, partition in [(5000, 0), (7000, 0), (6000, 0), (6000, 1), (8000, 0)]:
            world.clock.at = START_MS + at
            await world.log.append(DELTAS, partition, messages("a"))
        found = [[record.timestamp - START_MS for record in await read_all(world.log, DELTAS, n)] for n in (0, 1)]
        assert found == [[5000, 7000, 7000, 8000], [6000]]

    async def test_a_clock_that_was_ahead(self, world: EmbeddedWorld) -> None:
        """More than an hour behind the newest append time, which stands still then, is said once an hour."""
        said: list[tuple[int, int]] = []
        for at in (10 * HOUR_MS, 9 * HOUR_MS, 1, 2, HOUR_MS, HOUR_MS + 1, 9 * HOUR_MS, 11 * HOUR_MS):
            world.clock.at = START_MS + at
            with structlog.testing.capture_logs() as lines:
                await world.log.append(DELTAS, 0, messages("a"))
            said += [(at, line["behind_s"]) for line in lines if line["event"] == "log.clock_behind"]
        assert said == [(1, 35_999), (HOUR_MS + 1, 32_399)]

    async def test_unread_deltas_stay(self, world: EmbeddedWorld) -> None:
        """Deltas that nobody has released are kept however old they are; released ones only while they are young."""
        middle = await world.log.append(DELTAS, 0, messages("read"))
        end = await world.log.append(DELTAS, 0, messages("unread"))
        await world.log.append(DELTAS, 1, messages("never released"))
        world.log.release(DELTAS, 0, middle)
        world.clock.at += 39 * DAY_MS
        await world.log.append(CHANGES, 0, messages("sweeps"))
        assert (await world.log.bounds(DELTAS, 0))[0] < middle
        await world.expire(DELTAS, 0, middle)
        await world.log.append(DELTAS, 1, messages("sweeps"))
        assert await world.log.bounds(DELTAS, 0) == (middle, end)
        assert values(await read_all(world.log, DELTAS, 1)) == ["never released", "sweeps"]

    async def test_other_topics_by_age_alone(self, world: EmbeddedWorld) -> None:
        """Decisions go after 400 days, dead letters after 30, whether or not anybody released them."""
        changes = await world.log.append(CHANGES, 0, messages("decision"))
        letters = await world.log.append(DEAD_LETTERS, 0, messages("letter"))

        async def first_after(days: int, topic: str, expected: int) -> None:
            world.clock.at = START_MS + days * DAY_MS
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    await world.log.append(topic, 0, messages("sweeps"))
                    if (await world.log.bounds(topic, 0))[0] == expected:
                        return

        await first_after(29, DEAD_LETTERS, 0)
        await first_after(31, DEAD_LETTERS, letters)
        await first_after(399, CHANGES, 0)
        await first_after(401, CHANGES, changes)

    async def test_removed_keys_are_forgotten(self, world: EmbeddedWorld) -> None:
        """The removal of a key can be read for an hour; what is live stays for ever."""
        await world.log.append(STATE, 0, [Message(b"live", b"1"), Message(b"gone", b"1")])
        await world.log.append(STATE, 0, [Message(b"gone", None)])
        assert b"gone" in {record.key for record in await read_all(world.log, STATE, 0)}
        world.clock.at += 500 * DAY_MS
        async with asyncio.timeout(DEADLINE_S):
            while b"gone" in {record.key for record in await read_all(world.log, STATE, 0)}:
                await world.log.append(STATE, 0, [Message(b"busy", b"1")] * 100)
        assert await world.log.snapshot(STATE, 0) == {b"live": b"1", b"busy": b"1"}

    async def test_assignments_do_not_change(self, world: EmbeddedWorld) -> None:
        """All partitions, once."""
        async with aclosing(world.log.assignments("collector")) as assignments:
            assert await anext(assignments) == frozenset(range(PARTITIONS))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await anext(assignments)
