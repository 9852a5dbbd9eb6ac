"""What is said in a log world, by whom and when, and what is true: drawn from the seed before anything happens."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter, itemgetter
from random import Random
from typing import Literal, NamedTuple, TypeAlias, get_args

import orjson

from stream import wire
from stream.ports import Message
from tests.simulation.auditor import Totals
from tests.simulation.ladders import ALWAYS, HOUR_MS, UNITS, Drafter, PlanSet
from tests.simulation.meters import Bytes, Meter, Said, traffic

Special: TypeAlias = Literal[
    "all move", "many plans", "many adjustments", "expired", "truncated", "restores", "torn", "zombie"
]
SPECIALS: tuple[Special, ...] = get_args(Special)

ORDINARY = 0.6
"""So many worlds are not special."""

BEGINNINGS = (
    1_764_547_200_000,  # 2025-12-01 00:00 UTC
    1_774_738_800_000,  # 2026-03-28 23:00 UTC: two hours before Europe's change of clocks
    1_774_990_800_000,  # 2026-03-31 21:00 UTC: an hour before April in Berlin
    1_761_433_200_000,  # 2025-10-25 23:00 UTC
)
CROWDED = 0.2
"""In so many worlds there are so many services that the tracker counts them by columns."""
APPENDS = 36
"""About so many polls a world has, over all partitions."""


class Step(NamedTuple):
    """What a publisher appends at one go, not before `at_s`."""

    at_s: float
    partition: int
    messages: tuple[Message, ...]
    enrols: bool = False
    """It registers or deregisters: what comes of it depends on what is said before and after."""


@dataclass
class Script:
    special: Special | None
    partitions: int
    start_ms: int
    """When the world begins; everything that is spoken of lies before."""
    until_s: float
    """How long there is trouble."""
    plans: PlanSet
    """In force at the beginning."""
    changes: list[tuple[float, PlanSet]] = field(default_factory=list)
    """What is applied, and when."""
    publishers: dict[str, list[Step]] = field(default_factory=dict)
    totals: dict[str, Bytes] = field(default_factory=dict)
    """The truth."""


def special_of(seed: int) -> Special | None:
    rng = Random(f"{seed} special")
    return None if rng.random() < ORDINARY else rng.choice(SPECIALS)


def written(seed: int) -> Script:
    return _Writer(seed).write()


class _Writer:
    def __init__(self, seed: int) -> None:
        self._rng = rng = Random(f"{seed} script")
        special = special_of(seed)
        self._tick_ms = rng.choice(list(UNITS))
        self._rate = rng.choice((100, 1_000_000, 40_000_000_007))
        partitions, until_s = rng.choice((1, 2, 2, 3, 4)), rng.uniform(30, 90)
        self._sources = [f"vm{number}" for number in range(1, rng.choice((1, 2, 2, 3)) + 1)]
        self._services = [f"{rng.choice(self._sources)}/{number}" for number in range(rng.randint(4, 12))]
        crowd = Random(f"{seed} crowd")  # of its own: no other world changes
        if crowd.random() < CROWDED:
            self._services += [f"{crowd.choice(self._sources)}/{number}" for number in range(12, 60)]
        heard = {(self._partition(each, partitions), each.partition("/")[0]) for each in self._services}
        self._ticks = max(6, min(20, APPENDS // len(heard)))
        self._beginning = rng.choice(BEGINNINGS) // self._tick_ms * self._tick_ms
        start_ms = self._at(self._ticks) + rng.randrange(2 * HOUR_MS)
        drafter = Drafter(rng, self._tick_ms, self._rate)
        sets = drafter.sets(rng.randint(5, 8) if special == "many plans" else rng.choice((0, 1, 1, 2)))
        until_s *= 12 if special == "expired" else 1
        self._script = Script(special, partitions, start_ms, until_s, sets[0])
        self._script.changes = sorted(((rng.uniform(0, 0.8 * until_s), each) for each in sets[1:]), key=itemgetter(0))
        if special == "all move":
            self._script.changes.append((0.8 * until_s, drafter.renamed(sets[-1], 99)))

    def write(self) -> Script:
        script, rng = self._script, self._rng
        rushes = [tick for tick in range(self._ticks) if rng.random() < 0.1]
        for source in self._sources:
            services = [each for each in self._services if each.startswith(f"{source}/")]
            used = {each: traffic(rng, self._ticks, self._rate, rushes) for each in services}
            teller = _Teller(script, Random(rng.random()), source, used, self._at)
            script.publishers[source] = list(teller.steps())
            script.totals |= teller.totals()
        script.publishers["desk"] = sorted(self._adjustments(), key=attrgetter("at_s"))
        script.publishers["stranger"] = sorted(self._garbage(), key=attrgetter("at_s"))
        return script

    def _at(self, tick: int) -> int:
        return self._beginning + tick * self._tick_ms

    def _partition(self, service: str, partitions: int) -> int:
        return wire.partition_of(service, partitions)

    # ------------------------------------------------------------ the desk

    def _adjustments(self) -> Iterator[Step]:
        rng, script = self._rng, self._script
        many = script.special == "many adjustments"
        for number in range(rng.randint(20, 30) if many else rng.choice((0, 0, 2, 4, 6))):
            service, tick = rng.choice(self._services), rng.randrange(self._ticks)
            message = self._adjustment(f"{number}", service, tick)
            at_s = script.until_s * (tick + rng.random()) / self._ticks
            for _ in range(rng.randint(2, 4) if many else rng.choice((1, 1, 1, 2))):
                yield Step(at_s, self._partition(service, script.partitions), (message,))
                at_s = rng.uniform(at_s, script.until_s)

    def _adjustment(self, number: str, service: str, tick: int) -> Message:
        rng = self._rng
        kind = rng.choice(("credit", "credit", "exempt", "pin", "unpin", "reset"))
        until = self._at(tick + rng.randint(1, 6))
        return wire.encode_adjustment(
            service,
            kind,
            id=number,
            by="anna",
            why="a test",
            at=self._at(tick),
            plan=ALWAYS if kind == "pin" else rng.choice((None, ALWAYS, "b")),
            bytes=self._rate * rng.randint(1, 5) if kind == "credit" else None,
            until=until if kind == "exempt" or (kind == "pin" and rng.random() < 0.6) else None,
            profile=rng.choice("pq") if kind == "pin" else None,
        )

    # ------------------------------------------------------------ strangers

    def _garbage(self) -> Iterator[Step]:
        rng, script = self._rng, self._script
        for _ in range(rng.choice((0, 2, 4, 8))):
            service, tick = rng.choice(self._services), rng.randrange(self._ticks)
            delta = {"service": service, "start": self._at(tick), "end": self._at(tick + 1), "in": 5, "out": 5}
            partition = rng.randrange(script.partitions)
            if partition == self._partition(service, script.partitions):
                delta |= rng.choice(SPOILED)  # elsewhere it is wrong as it is
            message = Message(None, rng.choice(RAW) if rng.random() < 0.4 else orjson.dumps(delta))
            yield Step(rng.uniform(0, script.until_s), partition, (message,))


RAW = (b"no JSON", b"", b"\xff\xfe", b"{}", b'{"type":"batch"}', b"[1,2]", b"null", None)
SPOILED: tuple[dict[str, object], ...] = (
    {"end": 0},
    {"in": -1},
    {"out": 5.0},
    {"in": True},
    {"start": "yesterday"},
    {"end": 9_000_000_000_000},
    {"service": "vm1/unheard-of"},
    {"service": "nobody"},
    {"type": "wish"},
    {"type": "registration", "plans": ["unheard-of"]},
    {"type": "registration", "plans": [ALWAYS, ALWAYS]},
    {"type": "adjustment", "kind": "forgive", "id": "x", "by": "anna"},
    {"type": "adjustment", "kind": "reset", "id": "y"},
    {"type": "watermark", "source": "vm1", "at": 9_000_000_000_000},
    {"type": "batch", "services": ["vm1/1"], "in": [1, 2], "out": [1]},
)


# ---------------------------------------------------------------- publishers


class _Teller:
    """One source's publisher: its services, tick by tick."""

    def __init__(
        self, script: Script, rng: Random, source: str, used: dict[str, list[Bytes]], at: Callable[[int], int]
    ) -> None:
        self._script, self._rng, self._source, self._used, self._at = script, rng, source, used, at
        self._ticks = max((len(each) for each in used.values()), default=0)
        self._anchor = rng.choice((None, 3, 6, 12))
        self._omits_zeros = self._anchor is None and rng.random() < 0.5
        self._promises = self._omits_zeros or rng.random() < 0.5
        self._batched = rng.random() < 0.7
        self._backfilled = rng.choice((0, 0, self._ticks // 4))
        self._losses = rng.choice((0.0, 0.1, 0.3))
        self._meters: dict[str, Meter] = {}
        self._returns: dict[str, int] = {}

    def totals(self) -> Totals:
        return {name: meter.used(meter.registered, meter.told) for name, meter in self._meters.items()}

    def steps(self) -> Iterator[Step]:
        joins = {service: self._rng.choice((0, 0, 0, self._ticks // 3)) for service in self._used}
        for tick in range(self._ticks + 1):
            at_s = self._script.until_s * (tick + self._rng.random() * 0.9) / (self._ticks + 1)
            if 0 < tick < self._ticks:
                yield from self._leave(tick, at_s)
            joining = [service for service, joined in joins.items() if joined == tick]
            joining += [service for service, back in self._returns.items() if back == tick]
            for partition in range(self._script.partitions):
                yield from self._round(tick, at_s, partition, joining)

    def _leave(self, tick: int, at_s: float) -> Iterator[Step]:
        """Now and then one is gone, and perhaps comes back."""
        if not self._meters or self._rng.random() > 0.04:
            return
        service = self._rng.choice(list(self._meters))
        del self._meters[service]
        if self._rng.random() < 0.7:
            self._returns[service] = min(tick + self._rng.randint(0, 3), self._ticks)
        encode = wire.encode_forget if tick % 2 else wire.encode_deregistration
        yield Step(at_s, self._partition(service), (encode(service, at=self._at(tick)),), True)

    def _round(self, tick: int, at_s: float, partition: int, joining: Iterable[str]) -> Iterator[Step]:
        """Registrations, then what there is to tell, then the watermark: perhaps all at once."""
        mine = [service for service in joining if self._partition(service) == partition]
        messages = [self._registration(service, tick) for service in mine]
        for service in mine:
            zeros = not self._omits_zeros
            meter = Meter(service, self._used[service], tick, self._rng, anchor=self._anchor, zeros=zeros)
            self._meters[service] = meter
        known = [meter for meter in self._meters.values() if self._partition(meter.service) == partition]
        if known and not mine and self._rng.random() < 0.03:
            messages.append(self._registration(self._rng.choice(known).service, tick))
        messages += self._deltas(list(self._polled(tick, known)), backfill=tick <= self._backfilled)
        if messages and self._rng.random() < 0.2:
            yield from (Step(at_s, partition, (message,), bool(mine)) for message in messages)
        elif messages:
            yield Step(at_s, partition, tuple(messages), bool(mine))
        if self._promises and known and (tick == self._ticks or self._rng.random() < 0.4):
            promised = min(meter.told for meter in known)
            yield Step(at_s, partition, (wire.encode_watermark(self._source, self._at(promised)),))

    def _registration(self, service: str, tick: int) -> Message:
        """Only plans that are always there; others are added to a service that is known."""
        names = [ALWAYS] if service not in self._meters else self._rng.choice(([ALWAYS], [ALWAYS, "b"], ["b", ALWAYS]))
        quota = max(1, sum(map(sum, self._used[service])) // 3)
        labels = {"account": f"{tick}"}
        return wire.encode_registration(
            service, names, source=self._source, quota=quota, anchor_day=15, labels=labels, at=self._at(tick)
        )

    def _polled(self, tick: int, meters: Sequence[Meter]) -> Iterator[Said]:
        last = tick == self._ticks
        for meter in meters:
            if last or self._rng.random() >= self._losses:
                yield from meter.poll(tick)
            if last:
                yield from meter.finish()

    def _deltas(self, said: list[Said], *, backfill: bool) -> Iterator[Message]:
        if not self._batched:
            for service, start, end, in_, out in said:
                yield wire.encode_delta(
                    service, self._at(start), self._at(end), in_, out, source=self._source, backfill=backfill
                )
            return
        said.sort(key=attrgetter("start", "end"))
        for (start, end), alike in groupby(said, key=attrgetter("start", "end")):
            stray = [Said(f"{self._source}/unheard-of", start, end, 1, 1)] * (self._rng.random() < 0.05)
            services, _, _, ins, outs = zip(*alike, *stray, strict=True)
            yield from wire.encode_batches(
                self._source, self._at(start), self._at(end), services, ins, outs, backfill=backfill
            )

    def _partition(self, service: str) -> int:
        return wire.partition_of(service, self._script.partitions)
