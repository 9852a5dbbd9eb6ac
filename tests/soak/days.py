"""Thirty days of five thousand services at five minutes, published straight into the file; trackers count them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import yaml

from stream import wire
from stream.adapters.clock import WarpClock
from stream.config.load import load
from stream.ports import DEAD_LETTERS, DELTAS, Log, Message
from stream.runtime import checkpoint
from tests.soak.diary import Diary, Restart, Size
from tests.soak.installation import Installation

START_MS = round(datetime(2026, 1, 16, tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1000)
"""A local midnight, half a month before a rollover."""
STEP_MS = 300_000
DAY_MS = 86_400_000
STEPS = DAY_MS // STEP_MS
SETTLING_S = 60.0
SOURCE = "meter"
PLANS = (("vpn",), ("month",), ("vpn", "month"))
"""Of the services in turn."""
BURSTS = 0.003
"""The share of steps in which a service on the ladder overdoes it ..."""
BURST_BYTES = 1_200_000_000
"""... by more than the quota of any profile."""
MONTH_BYTES = 1024 << 30
RENEWED = 0.01
"""The share of services that give place to others every day."""

CONFIGURATION = """\
log: sqlite:soak.db
partitions: 2
listen: off
retention: {traffic.deltas: 3d, quota.profile-changes: 3d, quota.dead-letters: 3d}
"""


def with_plans(folder: Path, configuration: str) -> Path:
    """A configuration's file, with the plans of both examples."""
    examples = (files("stream") / "examples" / f"{name}.yaml" for name in ("vpn", "month"))
    vpn, month = (yaml.safe_load(example.read_text())["plans"] for example in examples)
    file = folder / "quota-stream.yaml"
    file.write_text(configuration + yaml.safe_dump({"plans": vpn | month}, sort_keys=False))
    return file


class Meters:
    """The services of one partition, whose totals grow from each midnight on."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self.names: list[str] = []
        self.sent = np.zeros((0, 2), np.int64)
        """In and out, since each was registered."""
        self._usual = np.zeros(0)
        """Bytes of a step, on the average."""
        self._bursts = np.zeros(0)
        """How likely a step is to be a burst."""
        self.midnight()

    def midnight(self) -> None:
        """Totals begin anew."""
        self._before = self.sent.copy()

    def join(self, name: str, plans: Sequence[str], at: int) -> Message:
        usual = self._random.uniform(0.2, 3) * MONTH_BYTES / (30 * STEPS) if plans == ("month",) else 10e6
        self.names.append(name)
        self.sent, self._before = (np.vstack([each, [0, 0]]) for each in (self.sent, self._before))
        self._usual = np.append(self._usual, usual)
        self._bursts = np.append(self._bursts, BURSTS if "vpn" in plans else 0.0)
        return wire.encode_registration(name, plans, at=at)

    def leave(self, at: int) -> Message:
        """Whoever has been there longest."""
        name = self.names.pop(0)
        self.sent, self._before = self.sent[1:], self._before[1:]
        self._usual, self._bursts = self._usual[1:], self._bursts[1:]
        return wire.encode_deregistration(name, at=at)

    def step(self, midnight: int, now: int) -> list[Message]:
        """What their collector publishes then."""
        bytes_ = self._random.uniform(0, 2, len(self.names)) * self._usual
        bytes_ += BURST_BYTES * (self._random.random(len(self.names)) < self._bursts)
        self.sent[:, 0] += (bytes_ * 0.8).astype(np.int64)
        self.sent[:, 1] += (bytes_ * 0.2).astype(np.int64)
        totals = self.sent - self._before
        return wire.encode_batches(SOURCE, midnight, now, self.names, totals[:, 0].tolist(), totals[:, 1].tolist())


class Publisher:
    """All meters, and how much they have said."""

    def __init__(self, partitions: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.meters = [Meters(random) for _ in range(partitions)]
        self.deltas = 0
        self._joined = 0

    def join(self, count: int, at: int) -> Iterator[tuple[int, Message]]:
        """New ones, by partition."""
        for _ in range(count):
            self._joined += 1
            name, plans = f"{SOURCE}/{self._joined}", PLANS[self._joined % len(PLANS)]
            partition = wire.partition_of(name, len(self.meters))
            yield partition, self.meters[partition].join(name, plans, at)

    def renew(self, at: int) -> Iterator[tuple[int, Message]]:
        """Some leave, as many others come."""
        for partition, meters in enumerate(self.meters):
            count = round(RENEWED * len(meters.names))
            yield from ((partition, meters.leave(at)) for _ in range(count))
            yield from self.join(count, at)

    async def publish(self, log: Log, midnight: int, now: int) -> None:
        for partition, meters in enumerate(self.meters):
            await log.append(DELTAS, partition, meters.step(midnight, now))
            self.deltas += len(meters.names)


async def append(log: Log, messages: Iterator[tuple[int, Message]]) -> None:
    told = list(messages)
    for number in range(log.partitions):
        await log.append(DELTAS, number, [message for partition, message in told if partition == number])


async def run(size: Size, clock: WarpClock, folder: Path, diary: Diary) -> None:
    """All of it; what was noted stands in the diary."""
    config = load(with_plans(folder, CONFIGURATION))
    installation, publisher = Installation(config, clock), Publisher(config.partitions, size.seed)
    await installation.start()
    await append(installation.log, publisher.join(size.services, clock.now()))
    for day in range(1, size.days + 1):
        midnight = START_MS + (day - 1) * DAY_MS
        for meters in publisher.meters:
            meters.midnight()
        for step in range(1, STEPS + 1):
            now = midnight + step * STEP_MS
            await installation.sleep((now - clock.now()) / 1000)
            await publisher.publish(installation.log, midnight, now)
            if step == STEPS // 2:
                await append(installation.log, publisher.renew(now))
                if day in power_cuts(size.days):
                    await installation.cut()
                    diary.restarts.append(Restart(day, await installation.start()))
            diary.passed(day - 1 + step / STEPS)
        diary.note(await installation.day(day, publisher.deltas))
    await installation.sleep(SETTLING_S)
    await installation.stop()
    diary.mistakes += await mistakes(installation.log, publisher)
    await installation.log.close()


def power_cuts(days: int) -> set[int]:
    """At noon of these, with a step published that is not durable in any state yet."""
    return {1 + days // 6, 1 + days // 2, days}


async def mistakes(log: Log, publisher: Publisher) -> list[str]:
    """What was counted otherwise than it was sent."""
    found = []
    for number, meters in enumerate(publisher.meters):
        tracker = await checkpoint.load(log, number, lambda name: wire.partition_of(name, log.partitions))
        views = {name: tracker.service(name) for name in tracker.names()}
        counted = {name: (view.accepted_in, view.accepted_out) for name, view in views.items() if view is not None}
        sent = dict(zip(meters.names, map(tuple, meters.sent.tolist()), strict=True))
        wrong = [name for name in sent.keys() | counted.keys() if sent.get(name) != counted.get(name)]
        found += [f"{name}: {sent.get(name)} bytes were sent, {counted.get(name)} counted" for name in sorted(wrong)]
        rejected = (await log.bounds(DEAD_LETTERS, number))[1]
        found += [f"{rejected} dead letters in partition {number}"] if rejected else []
    return found
