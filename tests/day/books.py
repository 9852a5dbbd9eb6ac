"""What must have come of it: told by the oracle, which hears what the log holds, and by the world itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import orjson

from stream import wire
from stream.core.view import ServiceView
from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, Log, Record
from stream.runtime.checkpoint import load
from tests.core.driving import LEFT_OUT, told
from tests.day.provider import Provider
from tests.oracle.partition import Partition

Json: TypeAlias = dict[str, Any]
MBIT = 1_000_000


class Said(NamedTuple):
    """A delta as it stands in the log."""

    start: int
    end: int
    in_: int
    out: int


class Books:
    """Reads the log as it grows, and compares it with everything else."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._offsets: dict[tuple[str, int], int] = {}
        self.oracles = [Partition(number, self._partition_of) for number in range(log.partitions)]
        self.deltas: dict[str, list[Said]] = defaultdict(list)
        self.outcomes: dict[str, list[Json]] = defaultdict(list)
        """By service, as published; what a crash made say twice is here once."""
        self._heard: set[Record] = set()
        self.dead_letters: list[Record] = []

    def _partition_of(self, service: str) -> int:
        return wire.partition_of(service, self._log.partitions)

    # ------------------------------------------------------------ reading

    async def read(self) -> None:
        """Take note of all that the log holds by now."""
        for number, oracle in enumerate(self.oracles):
            for record in await self._new(DELTAS, number):
                try:
                    value = orjson.loads(record.value or b"")
                except orjson.JSONDecodeError:  # a dead letter, which changes nothing
                    continue
                oracle.apply(record.offset, record.timestamp, value)
                self._note(value)
            for record in await self._new(CHANGES, number):
                self._hear(record)
            self.dead_letters += await self._new(DEAD_LETTERS, number)

    def _note(self, value: Json) -> None:
        if value.get("type") is None:
            self.deltas[value["service"]].append(Said(*(value[name] for name in ("start", "end", "in", "out"))))
        if value.get("type") != "batch":
            return
        names: Sequence[str] = value["services"]
        starts, ends = (_column(value[name], len(names)) for name in ("start", "end"))
        for name, *said in zip(names, starts, ends, value["in"], value["out"], strict=True):
            self.deltas[name].append(Said(*said))

    def _hear(self, record: Record) -> None:
        heard = Record(0, 0, *record[2:])
        if heard not in self._heard:
            self._heard.add(heard)
            outcome = told(wire.decode_outcome(record.value))
            self.outcomes[outcome["service"]].append(outcome)

    async def _new(self, topic: str, partition: int) -> list[Record]:
        first, end = await self._log.bounds(topic, partition)
        offset = self._offsets.setdefault((topic, partition), first)
        found: list[Record] = []
        async with aclosing(self._log.read(topic, partition, offset, wait_s=1.0)) as reader:
            while offset < end:
                records, offset = await anext(reader)
                found += records
        self._offsets[topic, partition] = offset
        return found

    # ------------------------------------------------------------ comparing

    async def counted(self) -> dict[str, ServiceView]:
        """As the trackers have stored it."""
        found: dict[str, ServiceView] = {}
        for number in range(self._log.partitions):
            tracker = await load(self._log, number, self._partition_of)
            found |= {name: view for name in tracker.names() if (view := tracker.service(name)) is not None}
        return found

    def due(self, name: str) -> tuple[int | None, int | None]:
        """Whole Mbit/s in and out that the oracle's ladders allow."""
        service = self.oracles[self._partition_of(name)].services.get(name)
        in_, out = service.speed() if service is not None else (None, None)
        return in_ and max(1, in_ // MBIT), out and max(1, out // MBIT)

    def wrong_outcomes(self) -> Iterable[tuple[str, object]]:
        """Decisions and warnings must be the oracle's, in content and order."""
        due: dict[str, list[Json]] = defaultdict(list)
        for oracle in self.oracles:
            for said in oracle.outcomes:
                due[said["service"]].append(LEFT_OUT | said if said["type"] == "decision" else said)
        for name in due.keys() | self.outcomes.keys():
            if due[name] != self.outcomes[name]:
                pairs = zip(due[name], self.outcomes[name], strict=False)
                first = next((pair for pair in pairs if pair[0] != pair[1]), None)
                yield f"{name}: outcomes", (len(due[name]), len(self.outcomes[name]), first)

    def wrong_dead_letters(self) -> Iterable[tuple[str, object]]:
        """There must be none, neither the oracle's nor in the log."""
        letters = [letter.value for letter in self.dead_letters]
        rejects = [reject for oracle in self.oracles for reject in oracle.rejects]
        if letters or rejects:
            yield "dead letters", (rejects, letters)


class ProvidersBooks(Books):
    """Those of a provider's day."""

    def __init__(self, log: Log, provider: Provider) -> None:
        super().__init__(log)
        self._provider = provider
        self.mistakes: dict[str, object] = {}
        """What was not as it must be, by what it is about: (must be, is)."""

    async def compare(self) -> dict[str, object]:
        """Bring `mistakes` up to date."""
        await self.read()
        counted = await self.counted()
        self.mistakes = dict(
            chain(self._wrong_bytes(counted), self._wrong_limits(), self.wrong_outcomes(), self.wrong_dead_letters())
        )
        return self.mistakes

    def _wrong_bytes(self, counted: Mapping[str, ServiceView]) -> Iterable[tuple[str, object]]:
        """Every byte since a service's first anchor must be counted, and only once."""
        world = self._provider.world
        alive = {f"vm1/{machine.id}" for machine in world.machines() if self._provider.group[machine.id] != "free"}
        if counted.keys() != alive:
            yield "services", (alive - counted.keys(), counted.keys() - alive)
        gone = self.deltas[f"vm1/{self._provider.deleted}"][-1]
        if gone[2:] != world.bytes_between(self._provider.deleted, gone.start, gone.end):
            yield "the last total of the deleted VM", gone
        for name in alive & counted.keys():
            first = min(said.start for said in self.deltas[name])
            sent = world.bytes_between(_id(name), first, world.now())
            accepted = counted[name].accepted_in, counted[name].accepted_out
            if sent != accepted:
                yield f"{name}: bytes", (sent, accepted)

    def _wrong_limits(self) -> Iterable[tuple[str, object]]:
        """What the VMs are limited to must be what the oracle says is due, in Mbit/s, and at most their original."""
        world = self._provider.world
        for machine in world.machines():
            original = self._provider.original[machine.id]
            due = least(original, self.due(f"vm1/{machine.id}"))
            if world.limits(machine.id) != due:
                yield f"vm1/{machine.id}: limits", (due, world.limits(machine.id))


def least(one: Sequence[int | None], two: Sequence[int | None]) -> tuple[int | None, ...]:
    """Per direction; None is no limit."""
    return tuple(
        min((limit for limit in pair if limit is not None), default=None) for pair in zip(one, two, strict=True)
    )


def _column(values: int | Sequence[int], count: int) -> Sequence[int]:
    return [values] * count if isinstance(values, int) else values


def _id(service: str) -> int:
    return int(service.removeprefix("vm1/"))
