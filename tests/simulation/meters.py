"""What services truly use, and how a publisher that keeps the rules tells it (design, section 4).

ticks      0    1    2    3    4    5    6
growing    |----|----|----|                    each poll gives the total since the anchor
           |---------|    :
           |--------------|
                          |----|               the next anchor; the one before may still get late numbers
separate   |----|----|         |----|          each gives what came since the last; zeros may be left out
lost polls |--------------|                    the next one makes them good
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple, TypeAlias

Bytes: TypeAlias = tuple[int, int]
"""(in, out)"""


class Said(NamedTuple):
    """A delta; instants are ticks."""

    service: str
    start: int
    end: int
    in_: int
    out: int


def traffic(rng: Random, ticks: int, rate: int, rushes: Sequence[int]) -> list[Bytes]:
    """Of one service, tick by tick: idle, quiet, steady or bursting, and more when all others rush as well."""
    habit = rng.choice(("idle", "quiet", "steady", "steady", "bursting", "bursting"))
    mean = {"idle": 0.0, "quiet": 0.1, "steady": rng.uniform(0.5, 1.6), "bursting": 0.0}[habit]
    used, burst = [], 0
    for tick in range(ticks):
        burst = max(burst - 1, rng.randint(2, 4) if habit == "bursting" and rng.random() < 0.15 else 0)
        level = rng.uniform(2, 6) if burst or tick in rushes else mean * rng.choice((0, 0.5, 1, 1, 2))
        share = rng.choice((0.0, 0.5, 0.9, 1.0))
        used.append((round(level * rate * share), round(level * rate * (1 - share))))
    return used


class Meter:
    """One service as its publisher tells of it, from the tick at which it was registered."""

    def __init__(
        self, service: str, used: Sequence[Bytes], registered: int, rng: Random, *, anchor: int | None, zeros: bool
    ) -> None:
        """`anchor`: so many ticks share one anchor; None: separate deltas.  `zeros`: they are told as well."""
        self.service = service
        self.registered = registered
        self.told = registered
        """Up to which tick everything is told, save late numbers."""
        self._used, self._rng, self._anchor, self._zeros = used, rng, anchor, zeros
        self._last: Said | None = None
        self._owed: tuple[int, int] | None = None
        """A finished anchor whose last numbers were not told yet."""

    def used(self, start: int, end: int) -> Bytes:
        """Truly, in these ticks."""
        ins, outs = zip((0, 0), *self._used[start:end], strict=True)
        return sum(ins), sum(outs)

    def poll(self, tick: int) -> Iterator[Said]:
        """What is told at a tick, oldest first."""
        if self._anchor is None:
            yield from self._separate(tick)
        else:
            if self._owed and self._rng.random() < 0.5:
                yield from self.settle()
            elif self._last and self._rng.random() < 0.1:
                yield self._last
            yield from self._growing(tick, self._anchor)

    def finish(self) -> Iterator[Said]:
        """At the end: whatever the numbers so far have left out."""
        yield from self.settle()
        if self._anchor is not None and self.told > self.registered:
            start = max(self.registered, (self.told - 1) // self._anchor * self._anchor)
            yield Said(self.service, start, self.told, *self.used(start, self.told))

    def settle(self) -> Iterator[Said]:
        """Late numbers, if there are any left."""
        if self._owed is not None:
            yield Said(self.service, *self._owed, *self.used(*self._owed))
        self._owed = None

    def _separate(self, tick: int) -> Iterator[Said]:
        in_, out = self.used(self.told, tick)
        if tick > self.told and (in_ or out or self._zeros):
            yield Said(self.service, self.told, tick, in_, out)
        self.told = tick

    def _growing(self, tick: int, size: int) -> Iterator[Said]:
        while self.told < tick:
            start = max(self.registered, self.told // size * size)
            end = min(tick, (self.told // size + 1) * size)
            if start == self.told:
                yield from self.settle()  # as long as that anchor is the previous one
            in_, out = self.used(start, end)
            if self._rng.random() < (0.4 if end % size == 0 else 0.15):
                hidden_in, hidden_out = self.used(end - 1, end)
                in_, out = in_ - hidden_in, out - hidden_out
                if end % size == 0:
                    self._owed = start, end
            self._last = Said(self.service, start, end, in_, out)
            yield self._last
            self.told = end
