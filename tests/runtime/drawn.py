"""A history of several partitions, drawn from a seed: all that `tests.core.strategies` has words for, and garbage."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

from stream import wire
from stream.ports import Message
from tests.core.histories import Author
from tests.core.strategies import (
    BEGINNINGS,
    HOSTILE,
    PROFILES,
    QUOTA,
    SECOND,
    SHAPES,
    Adjust,
    Apply,
    Batch,
    Delta,
    Deregister,
    Draft,
    Hostile,
    Poll,
    Register,
    Shape,
    Span,
    Step,
    Watermark,
)
from tests.core.test_equal_fleet import calendar, plan, profile

PARTITIONS = 3
SERVICES = 12
"""Of each partition."""
STEPS = 400

MINUTE = 60 * SECOND
UP = {"below": [], "else": "p"}
LADDER = (
    profile("p", None, quota=QUOTA, down="q"),
    profile("q", 50, quota=QUOTA, down="r", stay=30 * MINUTE, up=UP),
    profile("r", 10, stay=60 * MINUTE, up={"below": [[QUOTA // 2, "p"]], "else": "q"}),
)
PERIOD = (
    profile("p", None, quota=3 * QUOTA, at="reached", down="s"),
    profile("s", 20, stay="period", up=UP),
)
OWN = (profile("p", None, quota="service", down="r"), profile("r", 30, stay="period", up=UP))
TEN_MINUTES = {"kind": "sliding", "slice_ms": 10 * MINUTE, "slices": 6}
HALF_HOURS = {"kind": "sliding", "slice_ms": 30 * MINUTE, "slices": 3}
PLAN_SETS: tuple[dict[str, Any], ...] = (
    {
        "a": plan(TEN_MINUTES, "reset", *LADDER),
        "b": plan(calendar("day"), "keep", *PERIOD),
        "c": plan(calendar("month", anchor_day="service"), "keep", *OWN),
    },
    {
        "a": plan(HALF_HOURS, "keep", LADDER[0] | {"down": "r"}, LADDER[2] | {"up": UP}),
        "b": plan(calendar("day"), "reset", *PERIOD),
    },
    {
        "a": plan(TEN_MINUTES, "keep", *LADDER),
        "b": plan(calendar("hour", slices=3, timezone="Asia/Kolkata"), "reset", *PERIOD),
        "c": plan(calendar("week"), "keep", *OWN),
    },
)
"""Plans that follow one another: windows change shape, profiles and plans disappear and come back."""

RAW = (b"no JSON", b"", b"\xff\xfe", b"{}", b'{"type":"batch"}', b"[" * 5000)


class Entry(NamedTuple):
    """One record, and when it is appended."""

    at_ms: int
    message: Message


def history(seed: int) -> list[list[Entry]]:
    """By partition, in order."""
    random = Random(seed)
    beginning = random.choice(BEGINNINGS[:-1])
    return [_partition(random, beginning, services) for services in _services()]


def _services() -> list[list[str]]:
    """Two sources, whose services fall to the partitions by their names."""
    found: list[list[str]] = [[] for _ in range(PARTITIONS)]
    number = 0
    while any(len(services) < SERVICES for services in found):
        number += 1
        name = f"vm{number % 2 + 1}/{number}"
        services = found[wire.partition_of(name, PARTITIONS)]
        if len(services) < SERVICES:
            services.append(name)
    return found


def _partition(random: Random, beginning: int, services: list[str]) -> list[Entry]:
    draw = Draw(random)
    registrations = tuple(draw.registration(service) for service in range(len(services)))
    steps = tuple(draw.step() for _ in range(STEPS))
    records = Author(Draft(PLAN_SETS, beginning, registrations, steps), services).write()
    entries = [Entry(record.appended, Message(None, record.encoded())) for record in records]
    for _ in range(STEPS // 40):
        place = random.randrange(1, len(entries))
        entries.insert(place, Entry(entries[place - 1].at_ms, Message(b"any", random.choice((*RAW, None)))))
    return entries


class Draw:
    """Single steps, each kind about as often as Hypothesis would take it; time passes more slowly."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._adjusted = 0

    def step(self) -> Step:
        kinds: dict[Callable[[], Step], int] = {
            self.delta: 30, self.poll: 25, self.batch: 15, self.watermark: 4, self.adjustment: 14,
            self.any_registration: 8, self.deregistration: 2, self.apply: 2, self.hostile: 6,
        }  # fmt: skip
        [kind] = self._random.choices(list(kinds), list(kinds.values()))
        return kind()

    def span(self) -> Span:
        off = self._random.choice((-1, 0, 0, 1))
        return self._random.choices(
            (
                Span("edge", self._random.choice((1, 1, 1, 2, 5)), 0, off),
                Span("edge", 1, self._random.randrange(3), off),
                Span("stay", self._random.randrange(1, 4), self._random.randrange(2), off),
                Span("ms", self._random.choice((1, 1000, 10_000, 700_000, 3_600_000))),
            ),
            (40, 4, 10, 46),
        )[0]

    def maybe(self) -> Span | None:
        return self._random.choice((None, None, self.span()))

    def bytes(self) -> tuple[int, int]:
        amounts = (0, 0, 1, QUOTA // 4, QUOTA // 2, QUOTA - 1, QUOTA, QUOTA + 1, 3 * QUOTA)
        return self._random.choice(amounts), self._random.choice((0, 0, QUOTA // 3))

    def service(self) -> int:
        return self._random.randrange(SERVICES)

    def rarely(self) -> bool:
        return self._random.random() < 0.1

    def delta(self) -> Delta:
        return Delta(self.service(), self.shape(), self.span(), self.bytes(), self.rarely())

    def shape(self) -> Shape:
        return self._random.choice(SHAPES)

    def batch(self) -> Batch:
        deltas = tuple(self.delta() for _ in range(self._random.randrange(1, 20)))
        return Batch(deltas, self._random.random() < 0.5)

    def poll(self) -> Poll:
        bytes_ = tuple(self.bytes() for _ in range(SERVICES))
        grows = self._random.random() < 0.7
        return Poll(self._random.randrange(2), grows, self.span(), bytes_, self._random.random() < 0.5, self.rarely())

    def registration(self, service: int) -> Register:
        plans = self._random.choice(((0,), (0, 1), (1, 0), (1,), (2, 0, 1), (0, 2)))
        own = self._random.choice(((QUOTA, 1), (7, 31), (4 * QUOTA, 15)))
        return Register(service, plans, self._random.choice((None, None, 0, 1)), own, self.maybe())

    def any_registration(self) -> Register:
        """Of one that is known or that is gone, which then returns."""
        return self.registration(self.service())

    def deregistration(self) -> Deregister:
        return Deregister(self.service(), self.maybe())

    def watermark(self) -> Watermark:
        return Watermark(self._random.randrange(3), self.span())

    def adjustment(self) -> Adjust:
        repeats = self._random.random() < 0.2
        self._adjusted = self._adjusted if repeats else self.service()
        return Adjust(
            self._adjusted,
            self._random.choice(("credit", "credit", "exempt", "exempt", "pin", "pin", "unpin", "reset")),
            self._random.choice((None, 0, 1, 2)),
            self._random.randrange(len(PROFILES)),
            self._random.choice((1, QUOTA // 2, QUOTA)),
            self.maybe(),
            self.maybe(),
            self._random.choice((None, None, None, self.span())),
            repeats,
        )

    def apply(self) -> Apply:
        return Apply(self._random.randrange(len(PLAN_SETS)), self._random.random() < 0.7)

    def hostile(self) -> Hostile:
        return Hostile(self.service(), self._random.choice(HOSTILE), self._random.random() < 0.5)
