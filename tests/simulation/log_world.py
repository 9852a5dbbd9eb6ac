"""A world of publishers, trackers and a log, under trouble for a while; then calm, and the audit.

operator    applies plans, and applies them again where it was killed half-way
publishers  append what the script says until it is acknowledged, from the place on that they remember
trackers    the product: `work` and `own`, as they are
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

import orjson

from stream import wire
from stream.adapters.clock import WarpClock
from stream.core.errors import Unavailable
from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, STATE, Message
from stream.runtime.checkpoint import META
from stream.runtime.partition import TrackerSettings, own
from stream.runtime.plans import apply
from stream.runtime.worker import Backoff, work
from tests.runtime.lives import Unseen
from tests.simulation.auditor import Auditor
from tests.simulation.broker import Entry
from tests.simulation.client import GIVEN_UP_S, Client
from tests.simulation.host import Host, Main
from tests.simulation.ladders import PlanSet
from tests.simulation.report import Report, reported
from tests.simulation.script import Script, Step, written
from tests.simulation.waiting import held
from tests.simulation.weather import Weather
from tests.simulation.world import Climate, World

APPEND_S = 30.0
APPLY_S = 60.0
FOR_EVER_S = 1e6
SETTLED_S = 900.0
"""After calm: the longest that is waited for anywhere is the restore's deadline, 300 s."""
QUIET_S = 400.0
"""After that everybody has heard of the last assignment, and given up what will never be answered."""
PROBED_S = 60.0


def run(seed: int) -> Report:
    script = written(seed)
    rng = random.Random(f"{seed} world")

    def make(clock: WarpClock) -> World:
        kept = {DELTAS: 60_000, CHANGES: 60_000, DEAD_LETTERS: 60_000} if script.special == "expired" else None
        return World(seed, clock, weather(script, rng), partitions=script.partitions, retention_ms=kept)

    return reported(seed, "log", make, lambda world: _Play(world, script, rng).play(), start_ms=script.start_ms)


def weather(script: Script, rng: random.Random) -> Weather:
    return Weather(
        random.Random(rng.random()),
        trouble=rng.choice((0.0, 0.01, 0.03, 0.1)),
        slowness=rng.choice((0.0, 0.05)),
        torn=0.7 if script.special == "torn" else rng.choice((0.0, 0.1, 0.3)),
        repeated=rng.choice((0.0, 0.1)),
        gaps=rng.choice((0.0, 0.1)),
        deaf=rng.choice((0.0, 0.2)),
    )


def climate(script: Script, rng: random.Random) -> Climate:
    """Where a script takes longer, troubles come less often."""
    pace = script.until_s / 60 * rng.choice((0.7, 1.4, 2.8))
    return Climate(
        kill_s=6 * pace,
        stop_s=10 * pace,
        end_s=20 * pace,
        rebalance_s=15 * pace,
        compaction_s=15 * pace,
        still_s=rng.choice((2.0, 12.0)),
        down_s=rng.choice((0.5, 3.0)),
    )


# ---------------------------------------------------------------- processes


class Agenda:
    """What several processes, one after the other, have to do in order.  `done` is on their disk."""

    def __init__(self, things: int) -> None:
        self.things = things
        self.done = 0
        self.lives = 0

    @property
    def is_done(self) -> bool:
        return self.done == self.things


def operator(plans: Sequence[tuple[float, PlanSet]], agenda: Agenda) -> Main:
    """Applies one set of plans after the other, each until that has succeeded."""

    async def main(log: Client, rng: random.Random, stop: asyncio.Event) -> None:
        backoff = Backoff(random=rng, limit_s=5.0)
        while not agenda.is_done:
            at_s, wanted = plans[agenda.done]
            if await stopped_before(at_s, stop):
                return
            try:
                async with asyncio.timeout(APPLY_S):
                    await apply(log, wanted)
            except (Unavailable, TimeoutError):
                await asyncio.sleep(backoff.next_s())
            else:
                agenda.done += 1
        await stop.wait()

    return main


def publisher(steps: Sequence[Step], agenda: Agenda) -> Main:
    """Appends one step after the other, each until it is acknowledged.

    Whoever comes after one that was killed does not know for certain how far that one was, and begins a little before;
    and registers or deregisters nothing as long as something of the former may still be on its way.
    """

    async def main(log: Client, rng: random.Random, stop: asyncio.Event) -> None:
        loop, backoff = asyncio.get_running_loop(), Backoff(random=rng, limit_s=5.0)
        agenda.lives += 1
        clear_s = loop.time() + GIVEN_UP_S if agenda.lives > 1 else 0.0
        agenda.done = max(0, agenda.done - rng.choice((0, 0, 1, 3)))
        while not agenda.is_done:
            step = steps[agenda.done]
            if await stopped_before(max(step.at_s, clear_s if step.enrols else 0.0), stop):
                return
            try:
                async with asyncio.timeout(APPEND_S):
                    await log.append(DELTAS, step.partition, step.messages)
            except (Unavailable, TimeoutError):
                await asyncio.sleep(backoff.next_s())
            else:
                agenda.done += 1
        await stop.wait()

    return main


async def stopped_before(at_s: float, stop: asyncio.Event) -> bool:
    """Wait until an instant of the loop, or until told to stop."""
    try:
        async with asyncio.timeout_at(at_s):
            return await stop.wait()
    except TimeoutError:
        return False


# ---------------------------------------------------------------- the world


class _Play:
    def __init__(self, world: World, script: Script, rng: random.Random) -> None:
        self._world, self._script, self._rng = world, script, rng
        things = [len(script.changes), *map(len, script.publishers.values())]
        self._agendas = [Agenda(count) for count in things]
        self._zombie: Host | None = None
        self._cut_off: set[int] = set()
        """Partitions that have lost what nobody had read."""
        self._woken = False
        """Whether the zombie woke up when all others were through."""
        self._settings = TrackerSettings(
            checkpoint_every_s=rng.choice((0.5, 2.0, 5.0)), deadline_s=rng.choice((5.0, 30.0))
        )

    async def play(self) -> Counter[str]:
        world, script = self._world, self._script
        self._append_to_all(wire.encode_plans(1, script.plans))
        plans, *others = self._agendas
        if script.changes:
            world.host("operator", operator(script.changes, plans))
        for (name, steps), agenda in zip(script.publishers.items(), others, strict=True):
            if steps:
                world.host(name, publisher(steps, agenda))
        count = 2 if script.special == "restores" else self._rng.choice((2, 2, 3, 3, 4, 5))
        trackers = [world.host(f"tracker{number}", self._track) for number in range(count)]
        special = asyncio.create_task(self._special(trackers))
        await world.trouble(climate(script, self._rng), until_s=script.until_s)
        special.cancel()
        self._calm()
        if not await self._within(SETTLED_S, self._is_settled):
            world.accuse(f"{SETTLED_S} s after calm {self._unsettled()}")
        if self._zombie and self._zombie.process:
            self._woken = self._zombie.process.state == "stands"
            self._zombie.calm()
        if not self._is_truncated():
            await self._probe()  # by which an owner finds out that its own former take-over came late
            for entry in await self._probe():
                world.accuse(f"{entry.who} took over partition {entry.partition} when all was quiet")
        await world.close()
        return self._audit()

    async def _track(self, log: Client, rng: random.Random, stop: asyncio.Event) -> None:
        async def serve(partition: int, ended: asyncio.Event) -> None:
            await own(log, partition, settings=self._settings, clock=self._world.clock, observer=Unseen(), stop=ended)

        await work("tracker", log, serve, stop, rng)

    # ------------------------------------------------------------ what is special

    async def _special(self, trackers: Sequence[Host]) -> None:
        match self._script.special:
            case "restores":
                await asyncio.gather(*(killed_ever_later(host) for host in trackers))
            case "zombie":
                await asyncio.sleep(self._rng.uniform(0.2, 0.8) * self._script.until_s)
                self._zombie = self._rng.choice(trackers)
                self._zombie.stop_soon(self._rng.randint(1, 60), FOR_EVER_S)
            case "truncated":
                await asyncio.sleep(self._rng.uniform(0.2, 0.6) * self._script.until_s)
                while not self._is_truncated():
                    await self._truncate(trackers)

    async def _truncate(self, trackers: Sequence[Host]) -> None:
        """Nobody has made durable what came last, and the log no longer has it."""
        if await held(self._behind, within_s=FOR_EVER_S, look_s=0.05):
            for host in trackers:
                host.kill_soon(1)
            partition = self._behind()[0]
            self._cut_off.add(partition)
            self._world.broker.cut_off(DELTAS, partition)
            await asyncio.sleep(5)

    def _is_truncated(self) -> bool:
        return self._script.special == "truncated" and any(map(self._is_of_truncation, self._world.violations))

    def _is_of_truncation(self, violation: str) -> bool:
        """The one proper end for who finds that his input is gone."""
        ends = [f"ended by itself: Truncated('{DELTAS}/{partition}:" for partition in self._cut_off]
        return any(end in violation for end in ends)

    def _calm(self) -> None:
        """But the zombie stands still until all others are through."""
        hosts = self._world.hosts
        if self._zombie:
            hosts.remove(self._zombie)
        self._world.calm()
        if self._zombie:
            hosts.append(self._zombie)

    # ------------------------------------------------------------ the end

    async def _within(self, seconds: float, holds: Callable[[], bool]) -> bool:
        """Whether a condition holds in time, or there is nothing more to wait for."""
        return await held(lambda: holds() or self._is_truncated(), within_s=seconds, look_s=1.0)

    def _is_settled(self) -> bool:
        return all(agenda.is_done for agenda in self._agendas) and not self._behind()

    def _unsettled(self) -> str:
        undone = sum(agenda.things - agenda.done for agenda in self._agendas)
        return f"{undone} things are not said yet, and partitions {self._behind()} are not read, durable and shown"

    def _behind(self) -> list[int]:
        """Partitions of which something is not read, not durable or not shown."""
        ends: dict[int, int] = {}
        for entry in self._world.broker.journal:
            if entry.topic == DELTAS and entry.messages:
                ends[entry.partition] = entry.offset
        return [number for number, end in ends.items() if not self._is_through(number, end)]

    def _is_through(self, partition: int, end: int) -> bool:
        raw = self._world.broker.latest(STATE, partition).get(META)
        if raw is None:
            return False
        meta = orjson.loads(raw)
        shown, decided = meta["outbox"]
        return bool(meta["next_offset"] >= end and shown == decided)

    async def _probe(self) -> list[Entry]:
        """Each partition has an owner.  Returns the take-overs that it brought about."""
        world = self._world
        await asyncio.sleep(QUIET_S)
        quiet = len(world.broker.journal)
        self._append_to_all(wire.encode_plans(1, {}))
        if not await self._within(PROBED_S, lambda: not self._behind()):
            world.accuse(f"what was appended {PROBED_S} s ago to {self._behind()} is not durable: nobody owns them")
        return [entry for entry in world.broker.journal[quiet:] if entry.deed == "take over"]

    def _append_to_all(self, message: Message) -> None:
        broker = self._world.broker
        for partition in range(broker.partitions):
            with broker.by("world"):
                broker.appended(DELTAS, partition, [message])

    def _audit(self) -> Counter[str]:
        world, truncated = self._world, self._is_truncated()
        auditor = Auditor(world.broker.partitions)
        auditor.note(world.broker.journal)
        if truncated:
            world.violations = [each for each in world.violations if not self._is_of_truncation(each)]
        world.violations += auditor.end(self._script.totals, truncated=truncated)
        special = {"truncated": truncated, "zombie": self._woken, "expired": self._is_expired()}
        return auditor.happened + Counter({f"world: {self._script.special or 'ordinary'}": 1, **special})

    def _is_expired(self) -> bool:
        broker = self._world.broker
        return any(broker.extent(DELTAS, number)[0] for number in range(broker.partitions))


async def killed_ever_later(host: Host) -> None:
    """Each of its processes takes one step more than the one before, until they get as far as to a checkpoint."""
    for steps in range(1, 80):
        lives = len(host.processes)
        host.down_s = 0.2
        host.kill_soon(steps)
        await held(partial(has_lived, host, lives + 1), within_s=FOR_EVER_S, look_s=0.1)


def has_lived(host: Host, lives: int) -> bool:
    return len(host.processes) >= lives
