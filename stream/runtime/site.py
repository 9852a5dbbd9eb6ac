"""One platform, as all enforcers of this process share it: its lists, its pace, its breaker and its brake."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import structlog

from stream.core.brake import Brake, BrakeRule
from stream.core.enforcement import Rules
from stream.core.errors import Unavailable
from stream.ports import Listing, Platform
from stream.runtime.breaker import Breaker, BreakerState
from stream.runtime.listings import Listings
from stream.runtime.worker import Backoff

log = structlog.get_logger()

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast and how patiently a platform is asked."""

    reconcile_s: float = 300.0
    """How often what is due is compared with what the platform shows."""
    list_age_s: float = 5.0
    """For how long a list is good to act upon (but never one that began before our own last write)."""
    task_poll_s: float = 12.0
    """The longest wait between two looks at the platform's task; the first ones come sooner."""
    task_timeout_s: float = 300.0
    call_s: float = 120.0
    """Longer than the platform's own patience (a suspended one is waited for)."""
    attempts: int = 5
    """For each decision; then it waits for the next reconciliation."""
    refused_s: float = 3600.0
    """How long a service is left alone after the platform has said no, unless a new decision comes."""
    concurrency: int = 16
    """How many of our requests about single services the platform has to bear at once."""

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.concurrency < 1 or min(self.reconcile_s, self.task_poll_s, self.call_s) <= 0:
            raise ValueError(f"no such pace: {self}")


class EnforcementObserver(Protocol):
    """What metrics want to know of enforcement."""

    def enforced(self, platform: str, result: str) -> None:
        """An enforcement ended: applied, failed, refused."""

    def told(self, platform: str, latency_s: float) -> None:
        """A platform has taken what a decision asks for, so long after the decision's input was appended."""

    def found(self, platform: str, finding: str) -> None:
        """Something new that an operator should know; see core.enforcement.Finding."""

    def standing(self, platform: str, partition: int, services: Mapping[str, int]) -> None:
        """How many services are in which trouble now: the findings, `braked` and `unreturned` (of a release)."""

    def breaker(self, platform: str, state: str) -> None:
        """closed, open or half_open."""


class Seen(NamedTuple):
    """A listing, and its place in the order of our own acts: it began after the tick `mark`."""

    mark: int
    arrived_s: float
    listing: Listing


class Site:
    """Counts its ticks: the only order between lists and writes that no clock can upset."""

    def __init__(
        self,
        platform: Platform,
        listings: Listings,
        rules: Rules,
        *,
        brake: BrakeRule,
        pace: Pace,
        shadow: bool,
        rng: random.Random,
        observer: EnforcementObserver,
    ) -> None:
        self.platform, self.rules, self.pace, self.shadow = platform, rules, pace, shadow
        self.brake = Brake(brake)
        self.gate = asyncio.Semaphore(pace.concurrency)
        self._listings = listings
        self._observer = observer
        backoff = Backoff(random=rng, first_s=5.0, limit_s=300.0)
        self.breaker = Breaker(backoff, failures=5, changed=self._breaker_changed)
        self._ticks = 0
        self._seen: Seen | None = None

    @property
    def name(self) -> str:
        return self.platform.name

    def tick(self) -> int:
        """The next moment of our own order."""
        self._ticks += 1
        return self._ticks

    @property
    def population(self) -> int:
        """How many services the platform had in its last list."""
        listing = self._seen.listing if self._seen else None
        return 0 if listing is None else len(listing.machines) + len(listing.unreadable)

    async def observe(self, after: int) -> Seen:
        """A listing that began after the tick `after` and came at most `list_age_s` ago.

        Raises Unavailable and Refused.
        """
        loop = asyncio.get_running_loop()
        seen = self._seen
        if seen is not None and seen.mark >= after and loop.time() - seen.arrived_s <= self.pace.list_age_s:
            return seen
        mark = self.tick()
        listing = await self.call(self._listings.now)
        seen = Seen(mark, loop.time(), listing)
        if self._seen is None or mark > self._seen.mark:
            self._seen = seen
        return seen

    async def call(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Ask the platform, when the breaker lets us, within the deadline.  Raises Unavailable, Refused."""

        async def in_time() -> T:
            try:
                async with asyncio.timeout(self.pace.call_s):
                    return await operation()
            except TimeoutError as error:
                raise Unavailable(f"{self.name}: no answer within {self.pace.call_s:g} s") from error

        return await self.breaker.call(in_time)

    def _breaker_changed(self, state: BreakerState, retry_in_s: float) -> None:
        self._observer.breaker(self.name, state)
        tell = log.warning if state == "open" else log.info
        tell("platform.breaker", platform=self.name, state=state, retry_in_s=round(retry_in_s, 1))
