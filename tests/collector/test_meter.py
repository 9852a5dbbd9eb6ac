"""The meter alone, against a platform of plain lists: whatever fails, comes late or is restarted, no byte is lost."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.core.counting import Anchor
from stream.ports import Traffic
from stream.runtime.anchors import Anchors, Windows
from stream.runtime.meter import Calendar, Meter
from tests.collector.book import Amount, Book, Row
from tests.collector.rig import DAY, HOUR, MINUTE, PLANS, STEP, ZONE, local

SERVICE = "vm1/101"
FINAL_AFTER = 6 * HOUR


def calendar(seed: int) -> Calendar:
    return Calendar(
        anchors=Anchors(ZONE, STEP),
        windows=Windows(PLANS, STEP),
        final_after_ms=FINAL_AFTER,
        reread_ms=30 * MINUTE,
        keeps_ms=400 * DAY,
        random=random.Random(seed),
    )


class Steps:
    """A machine's steps: so many bytes in each, and the instant from which each can be read."""

    def __init__(self, born: int, latest_ms: int, seed: int, stopped: range) -> None:
        self.stopped = stopped
        draws = np.random.default_rng(seed)
        self._starts = np.arange(born, born + 60 * DAY, STEP)
        self._bytes = 2 * draws.integers(0, 1000, len(self._starts))
        lateness = np.maximum(0, draws.integers(-70, 31, len(self._starts)))
        self._readable_at = self._starts + STEP + latest_ms * lateness // 30
        rests = (stopped.start <= self._starts) & (self._starts < stopped.stop)
        self._bytes[rests], self._readable_at[rests] = 0, 1 << 60

    def bytes_between(self, start: int, end: int) -> int:
        return int(self._bytes[self._within(start, end)].sum())

    def traffic(self, start: int, ends: Sequence[int], now: int) -> list[Traffic] | None:
        here = self._within(start, ends[-1])
        readable = self._readable_at[here] <= now
        starts, bytes_ = self._starts[here][readable], self._bytes[here][readable]
        if len(starts) == 0:
            return None
        reached = sorted({min(end, int(starts[-1]) + STEP) for end in ends})
        sums = [int(bytes_[starts < end].sum()) for end in reached]
        return [Traffic(end, total, total // 2) for end, total in zip(reached, sums, strict=True)]

    def _within(self, start: int, end: int) -> slice:
        return slice(*np.searchsorted(self._starts, (start, end)).tolist())


class State(NamedTuple):
    """What the tracker's state says of the service."""

    current: Amount | None
    previous: Amount | None
    backfilling: bool


class Poll(NamedTuple):
    after_ms: int
    fails: bool
    restarts: bool
    lag: int
    """So many deltas does the state lack from which it restarts (but not all: that is a new service)."""
    ahead_ms: int = 0
    """So wrong is our clock; less than FINAL_AFTER, or a day is taken for complete that is not."""


class Collected:
    """A service, its meter, and what the tracker makes of what is published."""

    def __init__(self, steps: Steps, now: int, seed: int, plans: tuple[str, ...]) -> None:
        self.steps = steps
        self.now = now
        self.plans = plans
        self.calendar = calendar(seed)
        self.book = Book({SERVICE: Row(SERVICE)})
        self.states = [State(None, None, False)]
        self.meter = self._begin()

    @property
    def row(self) -> Row:
        return self.book.rows[SERVICE]

    def _begin(self) -> Meter:
        return Meter.begin(
            self.calendar, service=SERVICE, place=0, plans=self.plans, anchor_day=None, upto=self.now // STEP * STEP
        )

    def poll(self, poll: Poll) -> None:
        self.now += poll.after_ms
        if poll.restarts:
            self._restart(self.states[max(min(1, len(self.states) - 1), len(self.states) - 1 - poll.lag)])
        ours = self.now + poll.ahead_ms
        upto = ours // STEP * STEP
        while not poll.fails and (reading := self.meter.next(self.calendar, upto, ours)) is not None:
            totals = self.steps.traffic(reading.start, reading.ends, self.now)
            deltas = self.meter.took(self.calendar, reading, totals, ours, stopped=self.now in self.steps.stopped)
            for delta in deltas or ():
                self.book.count(SERVICE, Amount(delta.start, delta.end, delta.in_, delta.out), not delta.judged)
                self.states.append(State(self.row.current, self.row.previous, self.row.backfilling))
            if deltas is None or not reading.finished:
                break

    def _restart(self, state: State) -> None:
        self.meter = self._begin()
        if state.current is not None:
            current = Anchor(*state.current)
            previous = None if state.previous is None else Anchor(*state.previous)
            self.meter.resume(self.calendar, current, previous, backfilling=state.backfilling, now=self.now)


QUIET = Poll(30 * MINUTE, False, False, 0)
POLLS = st.lists(
    st.builds(
        Poll,
        st.sampled_from([STEP, 30 * MINUTE, 2 * HOUR, 9 * HOUR, 20 * HOUR, 75 * HOUR]),
        st.booleans(),
        st.booleans(),
        st.integers(0, 4),
        st.sampled_from([0, 0, 0, -2 * HOUR, 30 * MINUTE, FINAL_AFTER - MINUTE]),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(
    polls=POLLS,
    begins=st.sampled_from(["2026-03-27T23:50", "2026-03-28T12:00", "2026-10-24T05:00", "2026-10-25T03:30"]),
    born_before=st.sampled_from([0, HOUR, 40 * HOUR]),
    latest_ms=st.sampled_from([0, 30 * MINUTE, FINAL_AFTER]),
    stopped_for=st.sampled_from([0, HOUR, 40 * HOUR]),
    seed=st.integers(0, 1000),
    plans=st.sampled_from([("hour",), ("hour", "month")]),
)
def test_every_byte_is_counted_once(
    polls: list[Poll],
    begins: str,
    born_before: int,
    latest_ms: int,
    stopped_for: int,
    seed: int,
    plans: tuple[str, ...],
) -> None:
    """Failures, restarts from an older state, days away, stops, late numbers, wrong clocks: in the end all is there."""
    now = local(begins)
    stopped = range(now + 6 * HOUR, now + 6 * HOUR + stopped_for)
    collected = Collected(Steps(now - born_before, latest_ms, seed, stopped), now, seed, plans)
    for poll in [*polls, *[QUIET] * 60]:
        collected.poll(poll)
    while not 8 * HOUR <= collected.now - collected.calendar.anchors.of(collected.now) < 20 * HOUR:
        collected.poll(QUIET)  # so that the day before is final
    row = collected.row
    assert row.current is not None
    assert row.current.end >= collected.now - 12 * HOUR
    first = row.deltas[0][0]
    assert row.accepted[0] - row.current.in_ == collected.steps.bytes_between(first, row.current.start)


def a_meter(current: Anchor, previous: Anchor | None, now: int, *, backfilling: bool = False) -> tuple[Calendar, Meter]:
    """A meter that goes on from this state."""
    shared = calendar(1)
    meter = Meter.begin(shared, service=SERVICE, place=0, plans=("hour",), anchor_day=None, upto=now)
    meter.resume(shared, current, previous, backfilling=backfilling, now=now)
    return shared, meter


def test_the_day_before_is_read_before_it_is_displaced() -> None:
    """After a night away, the day before the tracker's current one is read once more, then the rest, oldest first."""
    days = [local(f"2026-03-{day}") for day in (14, 15, 16)]
    now = days[2] + HOUR
    shared, meter = a_meter(Anchor(days[1], days[1] + 3 * HOUR, 5, 5), Anchor(days[0], days[1], 7, 7), now)
    starts = []
    while (reading := meter.next(shared, now, now)) is not None:
        starts.append(reading.start)
        meter.took(shared, reading, [Traffic(reading.ends[-1], 9, 9)], now, stopped=False)
    assert starts == days


def test_a_day_without_numbers_holds_back_the_next_until_it_is_final() -> None:
    """Its numbers may come late, and could not be taken once the next day is begun."""
    yesterday, today = local("2026-03-15"), local("2026-03-16")
    for now, starts in ((today + HOUR, [yesterday]), (today + 7 * HOUR, [yesterday, today])):
        shared, meter = a_meter(Anchor(local("2026-03-14"), yesterday, 5, 5), None, now)
        meter.oldest = yesterday
        read = []
        while (reading := meter.next(shared, now, now)) is not None:
            read.append(reading.start)
            if meter.took(shared, reading, None, now, stopped=False) is None:
                break
        assert read == starts


def test_a_day_that_only_the_clock_took_for_final_is_read_again() -> None:
    """The clock was half a day ahead for one poll in the evening: what comes before midnight is counted after it."""
    evening = local("2026-03-27T20:00")
    collected = Collected(Steps(evening - HOUR, 0, 1, range(0)), evening, 1, ("hour",))
    for ahead_ms in (0, 12 * HOUR, *[0] * 60):
        collected.poll(QUIET._replace(ahead_ms=ahead_ms))
    row = collected.row
    assert row.current is not None
    first = row.deltas[0][0]
    assert row.accepted[0] - row.current.in_ == collected.steps.bytes_between(first, row.current.start)


def test_numbers_below_what_was_published_still_grow() -> None:
    """The platform has forgotten its newest points: an earlier end could add nothing, so the end stays."""
    today = local("2026-03-16")
    now = today + 5 * HOUR
    shared, meter = a_meter(Anchor(today, today + 4 * HOUR, 50, 50), None, now)
    reading = meter.next(shared, now, now)
    assert reading is not None
    deltas = meter.took(shared, reading, [Traffic(today + HOUR, 60, 60)], now, stopped=False)
    assert deltas is not None
    assert [(delta.end, delta.in_) for delta in deltas] == [(today + HOUR, 60), (today + 4 * HOUR, 60)]
