"""Who serves which partition: a consumer group as Kafka's, seen from the coordinator.

member        joins ---------- told {0, 2} ----------------- told {2} -------
coordinator         {0, 2} ------------------> {2} (another one joined)
                                               | the member still believes in {0, 2}: it may not take over 0
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable

from stream.core.errors import Unavailable
from stream.ports import Role
from tests.simulation.process import Process, outside
from tests.simulation.weather import Weather

SESSION_S = 6.0
"""A member that is not heard of for so long is out."""

NEVER = 0.2
"""So many of those who are not told soon are not told at all."""


class Member:
    """A process in a group.  `news` are assignments that have reached it."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.news: asyncio.Queue[frozenset[int]] = asyncio.Queue()
        self.heard = 0
        """The generation of the last of them."""
        self.left = False


class Coordinator:
    """Assigns the partitions of each role to those processes that take part in it."""

    def __init__(
        self, weather: Weather, *, partitions: int, tell: Callable[[Role, int, str], None] | None = None
    ) -> None:
        """`tell` is told the process of each new owner."""
        self._weather = weather
        self._partitions = partitions
        self._tell_owner = tell or (lambda *_: None)
        self._generation = 0
        self._members: dict[Role, list[Member]] = {}
        self._expelled: list[tuple[Role, Member]] = []
        self._joined: set[tuple[Role, Process]] = set()
        self._owners: dict[tuple[Role, int], Member] = {}

    async def assignments(self, role: Role, process: Process) -> AsyncGenerator[frozenset[int], None]:
        """What the process is told, for as long as it asks."""
        member = Member(process)
        self._join(role, member)
        try:
            while True:
                yield await member.news.get()
        finally:
            self._leave(role, member)

    def admit(self, role: Role, partition: int, process: Process) -> None:
        """The group commit with which a take-over begins.  Raises Unavailable for a process that has joined and is not
        the one that the partition is assigned to now."""
        owner = self._owners.get((role, partition))
        if (role, process) in self._joined and (owner is None or owner.process is not process):
            self._weather.happened["take-over by a former member"] += 1
            raise Unavailable(f"{role} of partition {partition}: not assigned to this member any more")

    def rebalance(self, role: Role) -> None:
        """Assign all partitions anew, and tell everybody: soon, late or never."""
        members, rng = self._members.get(role, []), self._weather.rng
        self._weather.happened["rebalance"] += 1
        self._generation += 1
        for partition in range(self._partitions):
            if members:
                owner = self._owners[role, partition] = rng.choice(members)
                self._tell_owner(role, partition, owner.process.name)
            else:
                self._owners.pop((role, partition), None)
        for member in members:
            owned = frozenset(number for number in range(self._partitions) if self._owners[role, number] is member)
            delay_s = self._delay_s()
            if delay_s is not None:
                _call_later(delay_s, self._tell, member, self._generation, owned)

    def calm(self) -> None:
        """Everybody hears of an assignment at last."""
        for role in self._members:
            self.rebalance(role)

    def lost(self, process: Process) -> None:
        """Nothing is heard of a process: if that lasts, its members are out."""
        _call_later(SESSION_S, self._expel, process)

    def found(self, process: Process) -> None:
        """It is heard of again.  If it is out, it learns that after a while, and joins again."""
        for role, member in [one for one in self._expelled if one[1].process is process]:
            self._expelled.remove((role, member))
            _call_later(self._weather.rng.expovariate(1 / 3), self._join, role, member)

    def _expel(self, process: Process) -> None:
        if process.state == "runs":
            return
        for role, members in self._members.items():
            for member in [one for one in members if one.process is process]:
                self._weather.happened["member expelled"] += 1
                members.remove(member)
                self._expelled.append((role, member))
                self.rebalance(role)

    def _join(self, role: Role, member: Member) -> None:
        if member.left or member.process.state == "dead":
            return
        self._members.setdefault(role, []).append(member)
        self._joined.add((role, member.process))
        self.rebalance(role)

    def _leave(self, role: Role, member: Member) -> None:
        member.left = True
        if member in self._members.get(role, []):
            self._members[role].remove(member)
            self.rebalance(role)

    def _delay_s(self) -> float | None:
        """Until a member is told of an assignment; None: it never is, and goes on with what it had."""
        rng = self._weather.rng
        if not self._weather.strikes("deaf"):
            return rng.random() * 0.5
        if rng.random() < NEVER:
            self._weather.happened["assignment never told"] += 1
            return None
        self._weather.happened["assignment told late"] += 1
        return rng.expovariate(1 / 10)

    def _tell(self, member: Member, generation: int, assigned: frozenset[int]) -> None:
        if generation > member.heard:
            member.heard = generation
            member.news.put_nowait(assigned)


def _call_later(delay_s: float, callback: Callable[..., None], *arguments: object) -> None:
    """In a context of the world itself."""
    asyncio.get_running_loop().call_later(delay_s, callback, *arguments, context=outside())
