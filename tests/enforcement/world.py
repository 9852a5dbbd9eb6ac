"""A small world for the enforcer: a log, a platform, and a tracker's voice; its time is warped."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import orjson

from stream import wire
from stream.adapters.clock import WarpClock, run_warped
from stream.adapters.memory import MemoryLease, MemoryLog
from stream.core.enforced import Enforcement
from stream.core.errors import Unavailable
from stream.core.model import Decision, Position, Reason
from stream.core.speed import ORIGINAL, Speed
from stream.ports import CHANGES, ENFORCEMENTS, Clock, Fetch, Message, Platform, Role
from stream.runtime.enforcer import Enforcer
from stream.runtime.ledger import read
from stream.runtime.listings import Listings
from stream.runtime.site import Pace, Site
from stream.runtime.worker import work
from tests.enforcement.platform import MemoryPlatform, Post
from tests.enforcement.speeds import NO_BRAKE, RULES

START_MS = 1_764_547_200_000


class Observed:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.results: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()
        self.latencies_s: list[float] = []
        self.standings: dict[int, Mapping[str, int]] = {}
        self.breakers: list[str] = []

    def enforced(self, platform: str, result: str) -> None:
        self.results[result] += 1

    def told(self, platform: str, latency_s: float) -> None:
        self.latencies_s.append(latency_s)

    def found(self, platform: str, finding: str) -> None:
        self.findings[finding] += 1

    def standing(self, platform: str, partition: int, services: Mapping[str, int]) -> None:
        self.standings[partition] = dict(services)

    def breaker(self, platform: str, state: str) -> None:
        self.breakers.append(state)


class AuditedLog(MemoryLog):
    """A memory log of which the audit may see at any instant what is durable."""

    def __init__(self, clock: Clock, *, partitions: int = 1) -> None:
        super().__init__(clock, partitions=partitions)
        self.enforcements: dict[str, Any] = {}
        self.writes = 0
        """How many writes `quota.enforcements` took."""
        self.intents: Counter[str] = Counter()
        """How many intents became durable, by service."""
        self.refuses: set[str] = set()
        """Topics that cannot be written to now."""
        self.shares: list[frozenset[int]] = []
        """What the next processes are assigned, each one's; all partitions when there are no more."""
        self.read_s = 0.0
        """How long each fetch takes."""
        self.write_s = 0.0
        """How long a write takes."""
        self.slow_s: list[float] = []
        """How long the next writes take before they are stored, and how long after that until they return, in turns."""

    async def assignments(self, role: Role) -> AsyncGenerator[frozenset[int], None]:
        yield self.shares.pop(0) if self.shares else frozenset(range(self.partitions))
        await asyncio.Event().wait()

    async def write(self, lease: MemoryLease, topic: str, messages: Sequence[Message]) -> None:
        if topic in self.refuses:
            raise Unavailable(f"{topic}: out of order")
        await asyncio.sleep(self.slow_s.pop(0) if self.slow_s else self.write_s)
        await super().write(lease, topic, messages)
        await asyncio.sleep(self.slow_s.pop(0) if self.slow_s else 0)

    async def read(self, topic: str, partition: int, offset: int, *, wait_s: float) -> AsyncGenerator[Fetch, None]:
        async with aclosing(super().read(topic, partition, offset, wait_s=wait_s)) as fetches:
            async for fetch in fetches:
                await asyncio.sleep(self.read_s)
                yield fetch

    def _store(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        super()._store(topic, partition, messages)
        if topic == ENFORCEMENTS:
            self.writes += 1
            for key, value, _ in messages:
                assert key is not None
                name, document = key.decode(), None if value is None else orjson.loads(value)
                former = self.enforcements.get(name)
                self.enforcements[name] = document
                if document and document.get("intent") not in (None, former and former.get("intent")):
                    self.intents[name] += 1


class TurnableClock:
    """A wall clock that somebody may set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.turned_ms = 0

    def now(self) -> int:
        return self._clock.now() + self.turned_ms


class World:
    """One platform, `vm1`, whose every post is audited: there must be a durable intent for it."""

    def __init__(self, clock: Clock, *, partitions: int = 1) -> None:
        self.clock = clock if isinstance(clock, TurnableClock) else TurnableClock(clock)
        self.log = AuditedLog(self.clock, partitions=partitions)
        self.platform = MemoryPlatform(self.clock)
        self.platform.before_post = self.audit
        self.observed = Observed()
        self.rules, self.pace, self.brake, self.shadow = RULES, Pace(), NO_BRAKE, False
        self.due: dict[str, tuple[int, int, Speed]] = {}
        """What the tracker's state holds."""
        self.violations: list[str] = []
        self.load_due = self._load_due
        self.started_at = clock.now()
        self._revisions: dict[str, tuple[int, int]] = {}
        self._running: list[tuple[asyncio.Task[None], asyncio.Event]] = []

    # ------------------------------------------------ the tracker

    async def decided(
        self, service: str, speed: Speed, reason: Reason = "exceeded", *, appended: int | None = None
    ) -> None:
        """A decision as the tracker would have it: durable first, then shown."""
        incarnation, revision = self._revisions.get(service, (0, 0))
        if reason == "registered":
            incarnation, revision = incarnation + 1, 0
        revision += 1
        self._revisions[service] = incarnation, revision
        self.due[service] = incarnation, revision, speed
        if reason == "deregistered":
            del self.due[service]
        await self.show(service, incarnation, revision, speed, reason, appended=appended)

    async def show(
        self,
        service: str,
        incarnation: int,
        revision: int,
        speed: Speed,
        reason: Reason = "exceeded",
        *,
        appended: int | None = None,
    ) -> None:
        """Append a decision to the log."""
        partition = self.partition_of(service)
        decision = Decision(
            service=service,
            incarnation=incarnation,
            revision=revision,
            at=self.clock.now(),
            reason=reason,
            speed=speed,
            plans_version=1,
            input=Position(0),
            partition=partition,
        )
        message = wire.encode_outcome(decision)
        if appended is not None:
            message = message._replace(headers=(*message.headers, ("appended", b"%d" % appended)))
        await self.log.append(CHANGES, partition, [message])

    async def append(self, value: bytes, partition: int = 0) -> None:
        """Append anything to the decisions."""
        await self.log.append(CHANGES, partition, [Message(b"anything", value)])

    async def registered(self, service: str, limits: Speed, due: Speed = ORIGINAL) -> None:
        """A machine that the platform has, under a plan."""
        self.platform.limits[service] = limits
        await self.decided(service, due, "registered")

    async def deregistered(self, service: str) -> None:
        await self.decided(service, ORIGINAL, "deregistered")

    def partition_of(self, service: str) -> int:
        return wire.partition_of(service, self.log.partitions)

    # ------------------------------------------------ the enforcer

    def start(self, platform: Platform | None = None) -> None:
        """A new process that enforces."""
        stop = asyncio.Event()
        enforcer = self._enforcer(platform or self.platform)

        def assigned(role: Role, partitions: frozenset[int]) -> None:
            enforcer.assigned(partitions)

        task = asyncio.create_task(work("enforcer", self.log, enforcer.serve, stop, random.Random(3), assigned))
        self._running.append((task, stop))

    def site(self, platform: Platform) -> Site:
        """The platform as a new process sees it."""
        return Site(
            platform,
            Listings(platform),
            self.rules,
            brake=self.brake,
            pace=self.pace,
            shadow=self.shadow,
            rng=random.Random(1),
            observer=self.observed,
        )

    def _enforcer(self, platform: Platform) -> Enforcer:
        return Enforcer(
            self.log,
            [self.site(platform)],
            lambda number: self.load_due(number),
            clock=self.clock,
            rng=random.Random(2),
            observer=self.observed,
        )

    async def stop(self) -> None:
        """End the process in an orderly way."""
        task, stop = self._running.pop()
        stop.set()
        await task

    async def kill(self) -> None:
        """End all processes at once."""
        while self._running:
            task, _ = self._running.pop()
            task.cancel()
            await asyncio.wait({task})

    async def restart(self) -> None:
        await self.kill()
        self.start()

    async def elsewhere(self) -> None:
        """Another process takes the partitions over, once, and keeps them until it is cancelled or fenced."""
        enforcer = self._enforcer(self.platform)
        await asyncio.gather(*(enforcer.serve(number, asyncio.Event()) for number in range(self.log.partitions)))

    def with_an_empty_log(self) -> World:
        """The same machines, and nothing known of them."""
        other = World(self.clock, partitions=self.log.partitions)
        other.platform.limits = self.platform.limits
        return other

    async def _load_due(self, partition: int) -> list[tuple[str, int, int, Speed]]:
        await asyncio.sleep(0)
        return [(name, *rest) for name, rest in self.due.items() if self.partition_of(name) == partition]

    # ------------------------------------------------ what one can see

    async def stored(self, service: str) -> Enforcement | None:
        """The service's record in the log."""
        states, _ = read(await self.log.snapshot(ENFORCEMENTS, self.partition_of(service)))
        return states.get(service)

    @property
    def known(self) -> set[str]:
        """The services that have a record."""
        return {name for name, value in self.log.enforcements.items() if value is not None and not name.startswith("@")}

    def population(self) -> list[tuple[int, int]]:
        """How many services each partition has."""
        return sorted(Counter(self.partition_of(service) for service in self.due).items())

    async def until(
        self, condition: Callable[[], bool] | Callable[[], Awaitable[bool]], *, within_s: float = 30.0
    ) -> None:
        """Wait until it holds; fail if it does not within so much of the world's time."""
        async with asyncio.timeout(within_s):
            while True:
                held = condition()
                if held if isinstance(held, bool) else await held:
                    return
                await asyncio.sleep(max(0.05, within_s / 1000))

    async def shows(self, service: str, speed: Speed, *, within_s: float = 30.0) -> None:
        """Wait until the platform shows the speed and that is written down, if we have a record of it."""

        async def settled() -> bool:
            state = await self.stored(service)
            return self.platform.limits[service] == speed and (state is None or state.settled)

        await self.until(settled, within_s=within_s)

    async def quiet(self, seconds: float = 30.0) -> None:
        """Let the world's time pass."""
        await asyncio.sleep(seconds)

    def audit(self, post: Post) -> None:
        """No post without a durable and recent intent for exactly this."""
        intent = (self.log.enforcements.get(post.service) or {}).get("intent")
        if intent is None or (intent["wanted"]["in"], intent["wanted"]["out"]) != post.speed:
            self.violations.append(f"posted without a durable intent: {post}")
        elif not post.at - intent["at"] <= 30_000:
            self.violations.append(f"posted on the strength of an old intent: {post}, {intent}")


def live(scenario: Callable[[World], Awaitable[None]], *, partitions: int = 1) -> None:
    """Run a scenario in a world of its own; nothing may be left running."""

    async def main(clock: WarpClock) -> None:
        world = World(clock, partitions=partitions)
        try:
            await scenario(world)
            assert world.violations == []
        finally:
            await world.kill()

    run_warped(main, start_ms=START_MS)
