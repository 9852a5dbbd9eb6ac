"""What every log owes to the owner of a partition, as tests; part of `LogContract`."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing

import pytest

from stream.core.errors import Fenced, Unavailable
from stream.ports import CHANGES, DELTAS, ENFORCEMENTS, STATE, Message
from tests.adapters.world import DEADLINE_S, PARTITIONS, World, messages, read_all, values


class OwnershipContract:
    """Take-over, fence, and writes that are whole.  The fixture `world` comes from the adapter's test class."""

    async def test_lease(self, world: World) -> None:
        """An owner writes its partition of any topic, in order, and finds it again."""
        async with world.log.take_over("tracker", 1) as lease:
            assert lease.partition == 1
            await lease.write(STATE, [Message(b"a", b"1"), Message(b"b", b"1"), Message(b"a", b"2")])
            await lease.write(CHANGES, messages("first", "second"))
            await lease.write(CHANGES, messages("third"))
            assert await lease.snapshot(STATE) == {b"a": b"2", b"b": b"1"}
        assert values(await read_all(world.other, CHANGES, 1)) == ["first", "second", "third"]

    async def test_a_write_is_whole(self, world: World) -> None:
        """Nobody sees half of a write."""
        keys = [str(number).encode() for number in range(20)]
        seen: list[dict[bytes, bytes]] = []
        async with world.log.take_over("tracker", 0) as lease:
            for generation in range(15):
                write = lease.write(STATE, [Message(key, str(generation).encode()) for key in keys])
                _, snapshot = await asyncio.gather(write, world.other.snapshot(STATE, 0))
                seen.append(dict(snapshot))
        assert all(len(set(snapshot.values())) <= 1 and len(snapshot) in (0, 20) for snapshot in seen)
        assert set((await world.other.snapshot(STATE, 0)).values()) == {b"14"}

    async def test_fence(self, world: World) -> None:
        """Once another has taken over, a former owner is refused on every topic and leaves no trace."""
        async with world.log.take_over("tracker", 0) as former:
            await former.write(STATE, [Message(b"meta", b"former")])
            async with world.other.take_over("tracker", 0) as lease:
                assert await lease.snapshot(STATE) == {b"meta": b"former"}
                await lease.write(STATE, [Message(b"meta", b"latter")])
                for topic in (STATE, CHANGES):
                    with pytest.raises(Fenced):
                        await former.write(topic, [Message(b"meta", b"zombie")])
                await lease.write(CHANGES, messages("decided"))
            with pytest.raises(Fenced):
                await former.write(STATE, [Message(b"meta", b"zombie")])
        assert await world.log.snapshot(STATE, 0) == {b"meta": b"latter"}
        assert values(await read_all(world.log, CHANGES, 0)) == ["decided"]

    async def test_orphan_in_the_same_process(self, world: World) -> None:
        """A lease that was taken over through the very same log is fenced just so."""
        async with world.log.take_over("enforcer", 0) as orphan, world.log.take_over("enforcer", 0) as lease:
            with pytest.raises(Fenced):
                await orphan.write(ENFORCEMENTS, [Message(b"vm1/1", b"orphan")])
            await lease.write(ENFORCEMENTS, [Message(b"vm1/1", b"owner")])
        assert await world.log.snapshot(ENFORCEMENTS, 0) == {b"vm1/1": b"owner"}

    async def test_writes_race_with_a_take_over(self, world: World) -> None:
        """Of writes that race with a take-over, those that came late are refused; none is lost, none slips in.  Of one
        whose end a broker could not tell in the midst of that, either may be."""
        async with world.log.take_over("tracker", 0) as former:
            doubtful = list[str]()

            async def write(number: int) -> bool:
                try:
                    await former.write(CHANGES, messages(str(number)))
                except Unavailable:
                    doubtful.append(str(number))  # all after the first one were not tried
                    return False
                except Fenced:
                    return False
                return True

            racing = [asyncio.create_task(write(number)) for number in range(20)]
            async with world.other.take_over("tracker", 0) as lease:
                after = values(await read_all(world.other, CHANGES, 0))
                await lease.write(CHANGES, messages("latter"))
                written = [str(number) for number, task in enumerate(racing) if await task]
        assert set(written) <= set(after) <= {*written, *doubtful[:1]}
        assert len(after) == len(set(after))
        assert values(await read_all(world.log, CHANGES, 0)) == [*after, "latter"]

    async def test_the_fenced_spoil_nothing(self, world: World) -> None:
        """Appends and writes made at the same moment as a fenced one succeed, and it alone is refused."""
        async with world.log.take_over("tracker", 0) as former, world.log.take_over("tracker", 0) as lease:
            outcomes = await asyncio.gather(
                world.log.append(DELTAS, 0, messages("before")),
                former.write(DELTAS, messages("zombie")),
                lease.write(DELTAS, messages("owner")),
                world.log.append(DELTAS, 0, messages("after")),
                return_exceptions=True,
            )
        assert [isinstance(outcome, Fenced) for outcome in outcomes] == [False, True, False, False]
        assert sorted(values(await read_all(world.log, DELTAS, 0))) == ["after", "before", "owner"]

    async def test_leases_of_others(self, world: World) -> None:
        """Taking over one role of one partition leaves the other roles and partitions alone."""
        async with (
            world.log.take_over("tracker", 0) as lease,
            world.other.take_over("enforcer", 0),
            world.other.take_over("tracker", 1),
        ):
            await lease.write(CHANGES, messages("still mine"))
        assert values(await read_all(world.log, CHANGES, 0)) == ["still mine"]

    async def test_an_ended_lease(self, world: World) -> None:
        """A lease ends with its context: what is written through it later is refused, without anybody taking over."""
        async with world.log.take_over("tracker", 0) as lease:
            pass
        with pytest.raises(Fenced):
            await lease.write(CHANGES, messages("late"))
        assert values(await read_all(world.log, CHANGES, 0)) == []

    async def test_duel(self, world: World) -> None:
        """However many take over at once, one is left who can write."""
        async with AsyncExitStack() as stack, asyncio.timeout(2 * DEADLINE_S):
            leases = await asyncio.gather(
                *(stack.enter_async_context(log.take_over("tracker", 2)) for log in [world.log, world.other] * 4)
            )
            outcomes = await asyncio.gather(
                *(lease.write(CHANGES, messages(str(number))) for number, lease in enumerate(leases)),
                return_exceptions=True,
            )
        winners = [str(number) for number, outcome in enumerate(outcomes) if outcome is None]
        assert len(winners) == 1
        assert all(isinstance(outcome, Fenced) for outcome in outcomes if outcome is not None)
        assert values(await read_all(world.log, CHANGES, 2)) == winners

    async def test_assignments(self, world: World) -> None:
        """A process that is alone in its role is told, in the end, to serve all partitions."""
        async with asyncio.timeout(DEADLINE_S), aclosing(world.log.assignments("tracker")) as assignments:
            async for assigned in assignments:
                if assigned == frozenset(range(PARTITIONS)):
                    return
