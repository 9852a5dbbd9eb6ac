"""One plan of one service: its bytes, its profile, and the questions that are put to it: up?  down?  a warning?

Nothing is kept as a running sum.  What was added is kept as it came, `(amount, start, end)`, and every sum is worked
out anew from that with the exact formula of a part.  Amounts are in hundredths of a byte, instants in ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

from tests.oracle.slicing import Slicing, slicing

Speed: TypeAlias = tuple[int | None, int | None]
"""(in, out), bit/s; None is `original`, faster than any number."""

LONG_AGO = -(1 << 60)
NEVER = 1 << 60


def part(amount: int, start: int, end: int, from_: int, to: int) -> int:
    """What of an amount spread over `[start, end)` lies in `[from_, to)`."""
    from_, to = max(from_, start), min(to, end)
    if from_ >= to:
        return 0
    return amount * (to - start) // (end - start) - amount * (from_ - start) // (end - start)


def least(*speeds: Speed) -> Speed:
    in_ = min((speed[0] for speed in speeds if speed[0] is not None), default=None)
    out = min((speed[1] for speed in speeds if speed[1] is not None), default=None)
    return in_, out


@dataclass(eq=False)
class Ladder:
    name: str
    plan: dict[str, Any]
    service_quota: int | None
    """The registration's, for `quota: service`; likewise its anchor day."""
    anchor_day: int | None
    entered_at: int
    since: int | None = None
    """Set where the plan came to a running service: what lies before is clipped."""

    def __post_init__(self) -> None:
        self.clip = LONG_AGO if self.since is None else self.since
        self.profile = self.first
        self.added: list[tuple[int, int, int]] = []
        self.ledger = {"accepted": 0, "counted": 0, "late": 0, "clipped": 0}
        self.credits: list[tuple[int, int]] = []
        """(the instant at which it ends, bytes)"""
        self.exempt_until: int | None = None
        self.pin: tuple[str, int] | None = None
        """(profile, until)"""
        self.warned_in: int | None = None
        """Start of the slice in which the warning was given (sliding windows: 0)."""
        self.up_judged = LONG_AGO
        """The last instant since the entry at which the way up was judged."""
        self.entered_as_of = self.entered_at

    # ------------------------------------------------------------ the plan's words

    @property
    def slices(self) -> Slicing:
        return slicing(self.plan["window"], self.anchor_day)

    @property
    def count(self) -> int:
        return int(self.plan["window"]["slices"])

    @property
    def first(self) -> str:
        return str(self.plan["profiles"][0]["name"])

    @property
    def keeps(self) -> bool:
        return bool(self.plan["on_change"] == "keep")

    def has(self, profile: str) -> bool:
        return any(each["name"] == profile for each in self.plan["profiles"])

    def described(self, profile: str | None = None) -> dict[str, Any]:
        """A profile's words, by default those of the one it stands in."""
        return next(each for each in self.plan["profiles"] if each["name"] == (profile or self.profile))

    def speed(self, profile: str | None = None) -> Speed:
        """A profile's speed, by default what this ladder has the service due."""
        if profile is None and self.pin is None and self.exempt_until is not None:
            return None, None
        speed = self.described(profile or (self.pin and self.pin[0]))["speed"]
        return speed["in"], speed["out"]

    @property
    def resting(self) -> bool:
        return self.pin is not None or self.exempt_until is not None

    # ------------------------------------------------------------ bytes

    def window_start(self, instant: int) -> int:
        """Where the window begins, as of an instant."""
        return self.slices.start(instant, 1 - self.count)

    def amount(self, in_: int, out: int) -> int:
        return int(self.plan["count"]["in"] * in_ + self.plan["count"]["out"] * out)

    def add(self, amount: int, start: int, end: int, before: int | None) -> None:
        """`before` is the service's time before the delta that brings this."""
        window_start = LONG_AGO if before is None else self.window_start(before - 1)
        clipped = part(amount, start, end, LONG_AGO, self.clip)
        late = part(amount, start, end, self.clip, window_start)
        brought = {"accepted": amount, "counted": amount - clipped - late, "late": late, "clipped": clipped}
        self.ledger = {column: total + brought[column] for column, total in self.ledger.items()}
        still_counts = max(self.clip, window_start)  # what lies before is only dropped for speed
        self.added = [added for added in self.added if added[2] > still_counts] + [(amount, start, end)]

    def between(self, start: int, end: int) -> int:
        """What counts of `[start, end)`."""
        return sum(part(*added, max(start, self.clip), end) for added in self.added)

    def usage(self, at: int, as_of: int) -> int:
        """The window's sum at instant `at` (that is, of the bytes before it), the window lying as of `as_of`."""
        return self.between(self.window_start(as_of), at)

    def window(self, at: int, as_of: int) -> list[tuple[int, int, int]]:
        """The same slice by slice, oldest first: (start, end, amount)."""
        edges = [self.slices.start(as_of, shift) for shift in range(1 - self.count, 2)]
        return [(start, end, self.between(start, min(end, at))) for start, end in pairwise(edges)]

    def account(self, at: int, as_of: int) -> dict[str, Any]:
        """How a decision or a warning explains itself."""
        return {
            "usage_bytes": self.usage(at, as_of) // 100,
            "quota_bytes": self.quota(as_of),
            "window": [(start, end, amount // 100) for start, end, amount in self.window(at, as_of)],
        }

    # ------------------------------------------------------------ the questions

    def quota(self, as_of: int, profile: str | None = None) -> int | None:
        """Quota of a profile (this one by default) with the credits that have not ended."""
        quota = self.described(profile)["quota"]
        quota = self.service_quota if quota == "service" else quota
        return None if quota is None else int(quota + sum(bytes_ for end, bytes_ in self.credits if end > as_of))

    def over(self, usage: int, as_of: int, profile: str | None = None) -> bool:
        quota = self.quota(as_of, profile)
        if quota is None:
            return False
        return usage >= 100 * quota if self.described(profile)["at"] == "reached" else usage > 100 * quota

    def step_down(self, usage: int, as_of: int, profile: str | None = None) -> str | None:
        """The profile to go down to from one (by default from this)."""
        down: str | None = self.described(profile)["down"]
        return down if self.over(usage, as_of, profile) else None

    def step_up(self, at: int) -> str | None:
        """The profile to go up to, the stay being over."""
        usage, quota, up = self.usage(at, at), self.quota(at), self.described()["up"]
        if not up or (quota is not None and usage >= 100 * quota):
            return None
        target: str | None = next((name for limit, name in up["below"] if usage < 100 * limit), up["else"])
        return None if target and self.keeps and self.over(usage, at, target) else target

    def warns(self, at: int, as_of: int) -> bool:
        """Whether a warning is due now; asking counts as giving it."""
        quota, percent = self.quota(as_of), self.plan["warn"]
        if percent is None or quota is None or self.usage(at, as_of) < percent * quota:
            return False
        warned_in, self.warned_in = self.warned_in, self.warning_period(as_of)
        return warned_in != self.warned_in

    def warning_period(self, as_of: int) -> int:
        """One warning is given in each: calendar windows begin a new one with every slice."""
        return 0 if self.plan["window"]["kind"] == "sliding" else self.slices.start(as_of)

    # ------------------------------------------------------------ instants

    def enter(self, profile: str, at: int, as_of: int) -> None:
        self.profile, self.entered_at = profile, at
        self.entered_as_of, self.warned_in, self.up_judged = as_of, None, LONG_AGO

    @property
    def stay_end(self) -> int:
        """A period is the one that `entered_as_of` lies in."""
        stay = self.described()["stay"]
        if stay == "period":
            return self.slices.start(self.entered_as_of, 1)
        return NEVER if stay is None else int(self.entered_at + stay)

    def next_up(self) -> int:
        """The next instant at which the way up is judged: the end of the stay, then every edge of a slice."""
        if self.resting or not self.described()["up"]:
            return NEVER
        return self.stay_end if self.up_judged < self.stay_end else self.slices.start(self.up_judged, 1)

    def next_due(self) -> int:
        """The next instant at which this ladder is to be judged without traffic."""
        exempt_until = NEVER if self.exempt_until is None else self.exempt_until
        return min(self.next_up(), exempt_until, self.pin[1] if self.pin else NEVER, *(end for end, _ in self.credits))

    def rest_ends(self, at: int) -> bool:
        """Whether a pin or an exemption ends by itself now."""
        return (self.pin is not None and self.pin[1] <= at) or self.exemption_ends(at)

    def exemption_ends(self, at: int) -> bool:
        return self.exempt_until is not None and self.exempt_until <= at

    def end_rest(self, *, pin: bool = False, exemption: bool = False) -> None:
        """However long the stay has been over, the way up is judged again at the end of a rest."""
        self.pin = None if pin else self.pin
        self.exempt_until = None if exemption else self.exempt_until
        self.up_judged = LONG_AGO

    def credit_end(self, at: int) -> int:
        """When a credit of instant `at` ends: its slice leaves the window."""
        return self.slices.start(at, self.count)

    # ------------------------------------------------------------ another plan of the same name

    def replan(self, plan: dict[str, Any], now: int) -> None:
        """A changed plan, at the service's time: the bytes go over slice by slice, the way up is looked at afresh."""
        old_slices, old_window = self.window(now, now), self.plan["window"]
        warned = self.warned_in == self.warning_period(now)
        self.plan, self.up_judged = plan, LONG_AGO
        self.warned_in = self.warning_period(now) if warned else None
        if not self.has(self.profile):
            self.enter(self.first, now, now)
        if self.pin is not None and not self.has(self.pin[0]):
            self.pin = None
        if plan["window"] != old_window:
            self.added = []
            for start, end, amount in old_slices:
                first, last = max(start, self.clip), min(end, max(now, start + 1))
                self.added.append((amount, first, max(last, first + 1)))
