"""One plan of one service: its window, its profile, and how both are judged.  Plain integers, one step at a time.

This is what the words mean; the vector path in `counting` only takes what provably changes no profile here.
Amounts are in hundredths of a byte.  `at` is the instant at which something happens, `as_of` the instant that fixes
the window (and what credit counts): a delta's end is judged as of its last millisecond.

    slices     | ... | h-2 | h-1 |  h  |        h = head: the newest slice that something was added to
                 [------ N slices ------)       as of an instant beyond it, the oldest have slid out
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from stream.core.model import Reason, Slice
from stream.core.plan import CalendarWindow, Plan, Profile
from stream.core.speed import ORIGINAL, Speed
from stream.core.window import FixedSlicer, Slicer, part, spans

NO_HEAD: Final = -(1 << 60)
"""Head of a window that nothing was added to."""

LONG_AGO: Final = -(1 << 60)
NEVER: Final = 1 << 60
MOST_IN_WINDOW: Final = 1 << 61


@lru_cache(maxsize=256)
def _edges(slicer: Slicer, newest: int, count: int) -> tuple[Sequence[int], Sequence[int]]:
    """Where so many slices start, and where they end: the same for all who are judged at one instant."""
    edges = tuple([slicer.edge(each) for each in range(newest - count + 1, newest + 2)])
    return edges[:-1], edges[1:]


def values_of(slices: Sequence[int], head: int, newest: int) -> list[int]:
    """The sums of a window whose last slice is `newest`, oldest first; `slices` as in a ladder."""
    count = len(slices)
    first = (head + 1) % count
    values = [*slices[first:], *slices[:first]]
    gone = newest - head
    return (values[gone:] + [0] * min(gone, count)) if gone > 0 else values


def shown(slicer: Slicer, newest: int, values: Sequence[int]) -> tuple[Slice, ...]:
    """A window in whole bytes, oldest first."""
    return tuple(map(Slice, *_edges(slicer, newest, len(values)), [value // 100 for value in values]))


def way_up(profile: Profile, quota: int | None, total: int) -> int | None:
    """To which profile the sum lets it, where the window is emptied then."""
    up = profile.up
    if up is None or (quota is not None and total >= 100 * quota):
        return None
    return next((number for limit, number in up.below if total < 100 * limit), up.otherwise)


def most_within(profile: Profile, quota: int | None) -> int:
    """Above this sum it goes down."""
    if quota is None or profile.down is None:
        return MOST_IN_WINDOW
    return min(MOST_IN_WINDOW, 100 * quota - (profile.at == "reached"))


class Amount(NamedTuple):
    """Hundredths of a byte over `[start, end)`."""

    value: int
    start: int
    end: int


class Credit(NamedTuple):
    expires_at: int
    bytes: int


class Pin(NamedTuple):
    profile: int
    until: int | None


class Step(NamedTuple):
    """A move from profile to profile (or, from a profile to itself, a warning), as it explains itself."""

    reason: Reason
    from_: Profile
    to: Profile
    usage_bytes: int
    quota_bytes: int | None
    window: tuple[Slice, ...]


@dataclass(slots=True, eq=False)
class Ladder:
    plan: Plan
    slicer: Slicer
    quota: int | None
    """The service's own quota in bytes, for profiles that ask for it."""
    entered_at: int
    profile: int = 0
    entered_as_of_before: bool = False
    """Entered as of the millisecond before `entered_at`: a period's stay is that of the slice before the edge."""
    since: int | None = None
    """When the plan came to a running service."""
    clip: int = LONG_AGO
    """Nothing before it is counted in this window."""
    slices: list[int] = field(default_factory=list)
    """N sums; the slice with ordinal o is at o % N."""
    head: int = NO_HEAD
    warned: bool = False
    next_up: int | None = None
    """When the way up is judged next; None while it rests or has none."""
    credits: list[Credit] = field(default_factory=list)
    exempt_until: int | None = None
    pin: Pin | None = None
    late: int = 0
    clipped: int = 0
    base: int = 0
    """The ledger's accepted amount is the service's accepted bytes, weighted, plus this."""

    def __post_init__(self) -> None:
        self.slices = self.slices or [0] * self.plan.slices

    @classmethod
    def begin(cls, plan: Plan, slicer: Slicer, quota: int | None, at: int, since: int | None = None) -> Ladder:
        """In its first profile, with an empty window; `since` the service's time if it runs already."""
        ladder = cls(plan, slicer, quota, at, since=since, clip=LONG_AGO if since is None else since)
        ladder.next_up = ladder.stay_end()
        return ladder

    # ------------------------------------------------------------ what holds

    @property
    def here(self) -> Profile:
        return self.plan.profiles[self.profile]

    def accepted(self, in_: int, out: int) -> int:
        """The ledger: what the service's accepted bytes amount to here."""
        return self.plan.weight_in * in_ + self.plan.weight_out * out + self.base

    @property
    def resting(self) -> bool:
        return self.pin is not None or self.exempt_until is not None

    @property
    def adjusted(self) -> bool:
        """Has credits, or is at rest."""
        return bool(self.credits) or self.pin is not None or self.exempt_until is not None

    @property
    def due(self) -> Speed:
        if self.pin is not None:
            return self.plan.profiles[self.pin.profile].speed
        return ORIGINAL if self.exempt_until is not None else self.here.speed

    def stay_end(self) -> int | None:
        """When the way up opens; None without a way up."""
        stay = self.here.stay if self.here.up else None
        if stay != "period":
            return None if stay is None else self.entered_at + stay
        return self.edge_after(self.entered_at - self.entered_as_of_before)

    def next_due(self) -> int:
        """The next instant at which anything is to be judged without traffic, or NEVER."""
        if not self.adjusted:
            return NEVER if self.next_up is None else self.next_up
        instants = [self.next_up, self.exempt_until, self.pin and self.pin.until]
        instants += [credit.expires_at for credit in self.credits]
        return min((instant for instant in instants if instant is not None), default=NEVER)

    def sum_at(self, as_of: int) -> int:
        gone = self.slicer.ordinal(as_of) - self.head
        if gone <= 0:
            return sum(self.slices)
        return sum(self.slices) - sum(self._oldest(gone)) if gone < len(self.slices) else 0

    def window_at(self, as_of: int) -> tuple[Slice, ...]:
        """In whole bytes, oldest first."""
        newest = self._newest(as_of)
        return shown(self.slicer, newest, values_of(self.slices, self.head, newest))

    def amounts_at(self, as_of: int) -> list[tuple[int, int, int]]:
        """The window slice by slice: (start, end, hundredths of a byte), oldest first."""
        newest = self._newest(as_of)
        edges, values = _edges(self.slicer, newest, len(self.slices)), values_of(self.slices, self.head, newest)
        return list(zip(*edges, values, strict=True))

    def _newest(self, as_of: int) -> int:
        return max(self.slicer.ordinal(as_of), self.head)

    def quota_at(self, as_of: int, profile: Profile | None = None) -> int | None:
        """Quota of a profile (this one) with the credit that has not expired, in bytes."""
        quota = (profile or self.here).quota
        quota = self.quota if quota == "service" else quota
        if quota is None or not self.credits:
            return quota
        return quota + sum(credit.bytes for credit in self.credits if credit.expires_at > as_of)

    def over(self, total: int, as_of: int, profile: Profile | None = None) -> bool:
        quota, profile = self.quota_at(as_of, profile), profile or self.here
        if quota is None:
            return False
        return total > 100 * quota or (profile.at == "reached" and total == 100 * quota)

    def step(self, reason: Reason, to: Profile, as_of: int) -> Step:
        return Step(reason, self.here, to, self.sum_at(as_of) // 100, self.quota_at(as_of), self.window_at(as_of))

    def harmless_below(self) -> int:
        """Up to this sum, a delta's end changes nothing."""
        if self.resting:
            return MOST_IN_WINDOW
        quota = self.quota_at(LONG_AGO)
        limit = most_within(self.here, quota)
        if quota is not None and self.plan.warn is not None and not self.warned:
            limit = min(limit, self.plan.warn * quota - 1)
        return limit

    # ------------------------------------------------------------ bytes

    def fits(self, value: int, as_of: int) -> bool:
        return self.sum_at(as_of) + value <= MOST_IN_WINDOW

    def add(self, amount: Amount, from_: int, to: int, before: int | None) -> None:
        """Count the part `[from_, to)` of an amount; `before` is the service's time before the delta that brings it."""
        if from_ >= to:
            return
        value, start, end = amount
        fresh = LONG_AGO if before is None else self._edge(self.slicer.ordinal(before - 1) - len(self.slices) + 1)
        self.clipped += part(value, start, end, from_, min(to, self.clip))
        self.late += part(value, start, end, max(from_, self.clip), min(to, fresh))
        self.pour(amount, max(from_, self.clip, fresh), to)

    def pour(self, amount: Amount, from_: int, to: int) -> None:
        """Into the slices that are in the window then."""
        value, start, end = amount
        self.advance(to - 1)
        lo = max(from_, self._edge(self.head - len(self.slices) + 1))
        for ordinal, since, until in spans(self.slicer, lo, to) if lo < to else ():
            self.slices[ordinal % len(self.slices)] += part(value, start, end, since, until)

    def empty(self, at: int) -> None:
        """Nothing before `at` counts any more."""
        self.slices = [0] * len(self.slices)
        self.clip = at

    # ------------------------------------------------------------ judging

    def rise(self, at: int) -> Step | None:
        """The way up, if it is to be judged now; at most one step."""
        if self.next_up is None or self.next_up > at:
            return None
        target = self._way_up(self.sum_at(at), at)
        if target is None:
            self.next_up = self.edge_after(at)
            return None
        step = self.step("period" if self.here.stay == "period" else "stay_over", self.plan.profiles[target], at)
        self._enter(target, at, at)
        return step

    def _way_up(self, total: int, at: int) -> int | None:
        target = way_up(self.here, self.quota_at(at), total)
        if target is not None and self.plan.keep and self.over(total, at, self.plan.profiles[target]):
            return None
        return target

    def pass_over(self, amount: Amount) -> None:
        """Leaves out slice edges at which the way up is certain to stay shut, so that no delta takes for ever.

        While one long amount alone fills the window, the sum at each edge is the same but for a hundredth of a byte.
        """
        if self.next_up is None or not isinstance(self.slicer, FixedSlicer):
            return
        size_ms = self.slicer.size_ms
        span_ms = size_ms * (len(self.slices) - 1)
        last_edge = -(-amount.end // size_ms) * size_ms
        begins = self.next_up - span_ms
        if self.next_up % size_ms or begins < max(amount.start, self.clip) or self.next_up >= last_edge:
            return
        least = amount.value * span_ms // (amount.end - amount.start)
        if all(self._way_up(total, self.next_up) is None for total in (least, least + 1)):
            self.next_up = last_edge

    def fall(self, at: int, as_of: int) -> Iterator[Step]:
        """The way down: one step, or, where the window is kept, as many as it takes."""
        while self.here.down is not None and self.over(self.sum_at(as_of), as_of):
            step = self.step(self.here.at, self.plan.profiles[self.here.down], as_of)
            self._enter(self.here.down, at, as_of)
            yield step
            if not self.plan.keep:
                return

    def warn(self, as_of: int) -> Step | None:
        """The warning, once per entry into a profile, in calendar windows once more in each new slice."""
        percent = self.plan.warn
        if percent is None or self.warned:
            return None
        quota = self.quota_at(as_of)
        if quota is None or self.sum_at(as_of) < percent * quota:
            return None
        self.warned = True
        return self.step(self.here.at, self.here, as_of)

    def _enter(self, profile: int, at: int, as_of: int) -> None:
        self.profile, self.entered_at, self.entered_as_of_before = profile, at, as_of < at
        self.warned = False
        if not self.plan.keep:
            self.empty(at)
        self.await_way_up()

    def await_way_up(self) -> None:
        """Look at the way up afresh: at the end of the stay, and if that is past, as soon as anything is judged."""
        self.next_up = None if self.resting else self.stay_end()

    # ------------------------------------------------------------ rests

    def rest_ends(self, at: int) -> bool:
        return self.pin_ends(at) or self.exemption_ends(at)

    def pin_ends(self, at: int) -> bool:
        return self.pin is not None and self.pin.until is not None and self.pin.until <= at

    def exemption_ends(self, at: int) -> bool:
        return self.exempt_until is not None and self.exempt_until <= at

    def set_pin(self, pin: Pin | None) -> None:
        self.pin = pin
        self.await_way_up()

    def set_exemption(self, until: int | None) -> None:
        self.exempt_until = until
        self.await_way_up()

    # ------------------------------------------------------------ an operator's hand

    def credit_end(self, at: int) -> int:
        """When a credit of instant `at` expires: its slice leaves the window."""
        return self.slicer.edge(self.slicer.ordinal(at) + len(self.slices))

    def credit_ends(self, at: int) -> bool:
        return any(credit.expires_at <= at for credit in self.credits)

    def drop_credits(self, at: int) -> None:
        """Those that have expired."""
        if self.credits:
            self.credits = [credit for credit in self.credits if credit.expires_at > at]

    def start_over(self, at: int) -> Step:
        """Back to the first profile with an empty window."""
        step = self.step("reset", self.plan.profiles[0], at)
        self._enter(0, at, at)
        self.empty(at)
        return step

    def judge_anew(self, at: int) -> Step | None:
        """After a credit, where the window is kept: to the profile that is reached from the first one, stay or not."""
        if not self.plan.keep or self.profile == 0 or self.resting:
            return None
        target, profiles, total = 0, self.plan.profiles, self.sum_at(at)
        while (down := profiles[target].down) is not None and self.over(total, at, profiles[target]):
            target = down
        if target == self.profile:
            return None
        step = self.step("credit", profiles[target], at)
        self._enter(target, at, at)
        return step

    # ------------------------------------------------------------ slices

    def _edge(self, ordinal: int) -> int:
        return LONG_AGO if ordinal < NO_HEAD // 2 else self.slicer.edge(ordinal)

    def edge_after(self, instant: int) -> int:
        """The next instant at which a slice begins."""
        return self.slicer.edge(self.slicer.ordinal(instant) + 1)

    def _oldest(self, count: int) -> list[int]:
        """Sums of the oldest slices up to the head's, oldest first."""
        first = (self.head + 1) % len(self.slices)
        return (self.slices[first:] + self.slices[:first])[:count]

    def advance(self, instant: int) -> None:
        """Let the window reach the slice of `instant`; in a calendar window a new slice may be warned of again."""
        ordinal = self.slicer.ordinal(instant)
        if ordinal <= self.head:
            return
        for place in range(min(ordinal - self.head, len(self.slices))):
            self.slices[(self.head + 1 + place) % len(self.slices)] = 0
        self.warned = self.warned and not self.rolled_over(instant)
        self.head = ordinal

    def begins_anew(self, instant: int) -> bool:
        """Whether a window of one slice begins there: nothing before counts."""
        return len(self.slices) == 1 and self.slicer.edge(self.slicer.ordinal(instant)) == instant

    def rolled_over(self, instant: int) -> bool:
        """Whether a calendar window has begun a new slice since something was added."""
        return isinstance(self.plan.window, CalendarWindow) and self.slicer.ordinal(instant) > self.head
