"""The enforcer: what is due, made so on the platforms, by whoever owns the partition now.

quota.state ------------ what is due at the start ---+
quota.profile-changes -- decisions, controls --------+--> service --- one errand at a time ---> platform
platform's list -------- every few minutes ----------+                    |  ^
                                                      intent before, receipt after: quota.enforcements
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import TypeAlias

from stream.core.enforcement import Due
from stream.core.errors import Unavailable
from stream.core.model import Decision
from stream.core.speed import Speed
from stream.ports import CHANGES, ENFORCEMENTS, STATE, Clock, Log
from stream.runtime.deadlines import taken_over
from stream.runtime.ledger import Ledger, read
from stream.runtime.orders import newest_decision
from stream.runtime.site import EnforcementObserver, Site
from stream.runtime.tenure import Tenure

DEADLINE_S = 30.0
"""For each call on the log; then the partition is dropped and taken over anew."""
RESTORE_S = 300.0

LoadDue: TypeAlias = Callable[[int], Awaitable[Iterable[tuple[str, int, int, Speed]]]]
"""What is due on a partition, as of a checkpoint not older than the call: (service, incarnation, revision, speed)."""


class Enforcer:
    """Serves partitions; all of them share the sites, one for each platform."""

    def __init__(
        self,
        log: Log,
        sites: Iterable[Site],
        due: LoadDue,
        *,
        clock: Clock,
        rng: random.Random,
        observer: EnforcementObserver,
    ) -> None:
        self._log, self._due = log, due
        self._sites = {site.name: site for site in sites}
        self._clock, self._random, self._observer = clock, rng, observer

    def assigned(self, partitions: Collection[int]) -> None:
        """Which partitions this process serves from now on: its share of each platform's brake."""
        for site in self._sites.values():
            site.brake.share = (len(partitions), self._log.partitions)

    async def serve(self, partition: int, stop: asyncio.Event) -> None:
        """Own a partition until `stop` is set.

        Raises Fenced when another owner took over, Unavailable or TimeoutError when the log does not answer: drop
        everything and call it again.  A platform that does not answer is waited for, and holds up nobody else.
        """
        async with taken_over(self._log, "enforcer", partition, deadline_s=DEADLINE_S) as lease:  # 1 fences the former
            async with asyncio.timeout(RESTORE_S):
                states, switches = read(await lease.snapshot(ENFORCEMENTS))  # 2 all that it may have done
                first, end = await self._log.bounds(CHANGES, partition)  # 3 before the state: nothing falls between
                shown = await newest_decision(self._log, partition, first, end)
                due = _by_service(await self._due(partition))  # 4 what is due
                _check_age(partition, due, shown)
            ledger = Ledger(lease, switches, deadline_s=DEADLINE_S)
            tenure = Tenure(partition, ledger, self._sites, self._clock, self._random, self._observer)
            tenure.begin(states, due)
            await tenure.run(self._log, first, end, stop)  # 5 list the platforms, and follow


def _check_age(partition: int, due: Mapping[str, Due], shown: Decision | None) -> None:
    """A decision is durable before it is shown, and those before it were: a state that lacks it is an old one, from a
    broker that has lost the lead and does not know it yet.  Raises Unavailable."""
    if shown is None:
        return
    known = due.get(shown.service)
    gone = shown.reason == "deregistered"
    if (known is None and not gone) or (known is not None and known[:2] < (shown.incarnation, shown.revision)):
        raise Unavailable(
            f"{STATE}/{partition} lacks a decision that is shown already (of {shown.service}, revision "
            f"{shown.revision}): a broker gave an old state, or a later one is not shown yet"
        )


def _by_service(due: Iterable[tuple[str, int, int, Speed]]) -> dict[str, Due]:
    return {service: Due(incarnation, revision, speed) for service, incarnation, revision, speed in due}
