"""Desired against observed: what the enforcer does about one service, as a function of what is known of it.

    due (the tracker's decision) --- lesser of it and the original ---> wanted
    shown (the platform's list) --- as asked | before | ours | foreign ---> adopt, repair, leave, or nothing

A plan never makes a service faster than it was, and a speed that we set is never taken for the original: whatever we
ask for is remembered before we ask (`Enforcement`), and everything here follows from that record.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

from stream.core.enforced import DAY_MS, MOST_OURS, Enforcement, Intent
from stream.core.plan import Plan
from stream.core.speed import ORIGINAL, Speed

DIRECTIONS = (0, 1)
"""Indexes of a Speed: in, out."""


class Due(NamedTuple):
    """The newest decision about a service."""

    incarnation: int
    revision: int
    speed: Speed
    gone: bool = False
    """Deregistered: it gets its original back, and then is forgotten."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What the configuration says about one platform."""

    express: Callable[[Speed], Speed]
    """As Platform.express."""
    slower: frozenset[Speed] = frozenset()
    """The plans' slower speeds (see `slower_speeds`): nobody's original, unless `adopt` says so."""
    adopt: tuple[str, ...] = ()
    """Globs of the service ids whose limit is taken for their original even if it equals one of those."""
    foreign: Literal["repair", "yield"] = "repair"
    repairs_a_day: int = 3
    forget_after_ms: int = DAY_MS
    """How long a deregistered service is remembered after its original was given back, or while it is not listed."""

    def adopts(self, service: str) -> bool:
        return any(fnmatchcase(service, glob) for glob in self.adopt)

    @cached_property
    def suspects(self) -> tuple[frozenset[int | None], frozenset[int | None]]:
        """Per direction, the values that may be a plan's doing."""
        shown = [self.express(speed) for speed in self.slower]
        return frozenset(speed.in_ for speed in shown) - {None}, frozenset(speed.out for speed in shown) - {None}


Finding: TypeAlias = Literal["foreign", "yielded", "drifted", "left", "suspect", "outdated"]
"""What an operator should know.  `foreign`: somebody else set a limit; it was adopted, or is repaired.  `yielded`: the
same, and it stays so.  `drifted`: a former value of ours came back and is repaired.  `left`: it did so too often and
stays.  `suspect`: a limit that equals a plan's slower speed and that we did not set; it is left alone.  `outdated`: the
decision is older than what was carried out."""

ALARMS = frozenset({"yielded", "left", "suspect"})
"""These wait for somebody: the service does not have the speed that is due, or its original is not known."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do.  `record`: make `state` durable.  `intend`: make it durable, then ask the platform for what its
    intent wants.  `forget`: remove the record."""

    act: Literal["nothing", "record", "intend", "forget"]
    state: Enforcement | None = None
    finding: Finding | None = None
    slows: bool = False
    """The intent makes the service slower than it is shown, in some direction: the brake has a say."""


NOTHING = Verdict("nothing")


def slower_speeds(plans: Iterable[Plan]) -> frozenset[Speed]:
    """The speeds of all profiles but each plan's first."""
    return frozenset(profile.speed for plan in plans for profile in plan.profiles[1:] if profile.speed != ORIGINAL)


def decide(
    service: str,
    state: Enforcement | None,
    due: Due,
    shown: Speed | None,
    rules: Rules,
    now: int,
    *,
    told: bool = False,
    absent_ms: int = 0,
    may_slow: bool = True,
) -> Verdict:
    """What to do about a service that is `due` a speed while the platform shows the limits `shown`.

    `shown` is None if the platform does not list it, since `absent_ms`.  `told`: the platform has said that the last
    intent is carried out.  With `may_slow` false no direction is made slower than it is shown, and what is to become
    faster does not wait for that.  `now` is in ms.
    """
    if state is not None and (due.incarnation, due.revision) < state.position:
        return Verdict("nothing", finding="outdated")
    if shown is None:
        forget = state is not None and due.gone and absent_ms >= rules.forget_after_ms
        return Verdict("forget") if forget else NOTHING
    if state is not None and _continues(state, due, shown):
        return _Case(state, due, shown, rules, now, told=told, may_slow=may_slow).verdict()
    return _first(service, state, due, shown, rules, now, may_slow=may_slow)


def imported(service: str, state: Enforcement | None, due: Due | None, original: Speed) -> Enforcement:
    """The record of a service whose original somebody has told us."""
    if state is None:
        return Enforcement(service=service, incarnation=due.incarnation if due else 0, original=original)
    if due is None or due.incarnation == state.incarnation:
        return replace(state, original=original)
    return replace(state, incarnation=due.incarnation, original=original, intent=None, settled=False)


def _continues(state: Enforcement, due: Due, shown: Speed) -> bool:
    """Is it the service that the record is about?  A later incarnation is if it still shows what we did to it."""
    if state.incarnation == due.incarnation or state.intent is None:
        return True
    ours = {state.intent.wanted, *(doubt.wanted for doubt in state.doubts)}
    return shown in ours or (not state.settled and shown in (state.original, state.intent.before))


def _first(
    service: str, former: Enforcement | None, due: Due, shown: Speed, rules: Rules, now: int, *, may_slow: bool
) -> Verdict:
    """A service of which nothing is known begins with what the platform shows."""
    doubts = former.doubtful(now) if former is not None else ()
    forgotten = NOTHING if former is None or doubts else Verdict("forget")
    if due.gone:
        return forgotten
    suspect = any(limit in slower for limit, slower in zip(shown, rules.suspects, strict=True))
    if suspect and not rules.adopts(service):
        return Verdict("nothing", finding="suspect")
    if not doubts and rules.express(due.speed).least(shown) == shown:
        return forgotten
    fresh = Enforcement(service=service, incarnation=due.incarnation, original=shown, doubts=doubts)
    return _Case(fresh, due, shown, rules, now, told=False, may_slow=may_slow).verdict()


def _at_first_sight(state: Enforcement, shown: Speed, now: int) -> Enforcement:
    """Where an original was told or is just being taken, what is shown counts as asked for: it is where we begin."""
    ours = () if shown == state.original else (shown,)
    return replace(state, intent=Intent(0, shown, shown, now), settled=True, ours=(*state.ours, *ours))


def _faster(one: Speed, two: Speed) -> Speed:
    """The faster of the two, direction by direction."""
    return Speed(*(None if a is None or b is None else max(a, b) for a, b in zip(one, two, strict=True)))


class _Case:
    """One look at a service that has a record."""

    def __init__(
        self, stored: Enforcement, due: Due, shown: Speed, rules: Rules, now: int, *, told: bool, may_slow: bool
    ) -> None:
        self.stored, self.due, self.shown, self.rules, self.now = stored, due, shown, rules, now
        self.may_slow = may_slow
        state = stored if stored.intent else _at_first_sight(stored, shown, now)
        intent = state.intent
        assert intent is not None, "at first sight there is one"
        if state.incarnation != due.incarnation:
            doubts, intent = state.doubtful(now), replace(intent, revision=0)
            state = replace(state, incarnation=due.incarnation, intent=intent, doubts=doubts)
        if not state.settled and shown == intent.wanted:
            state = state.with_receipt("applied", shown, now)
        self.intent = intent
        self.quiet = state.settled or told
        """Nothing that we asked for is still to come, as far as we know."""
        self.foreign = self._foreign(state)
        self.state = replace(state, original=self._original(state))
        self.wanted = rules.express(due.speed).least(self.state.original)
        self.differing = tuple(direction for direction in DIRECTIONS if shown[direction] != self.wanted[direction])

    def _foreign(self, state: Enforcement) -> tuple[bool, ...]:
        """Per direction: did somebody else set what is shown?"""
        expected = [self.intent.wanted, *state.ours, *(doubt.wanted for doubt in state.doubts)]
        if not state.settled:
            expected += [state.original, self.intent.before]
        return tuple(self.shown[direction] not in {speed[direction] for speed in expected} for direction in DIRECTIONS)

    def _original(self, state: Enforcement) -> Speed:
        """The original after what somebody else has set is adopted, direction by direction."""
        suspects, adopts = self.rules.suspects, self.rules.adopts(state.service)
        return Speed(
            *(
                self.shown[direction]
                if self.foreign[direction] and (adopts or self.shown[direction] not in suspects[direction])
                else state.original[direction]
                for direction in DIRECTIONS
            )
        )

    def verdict(self) -> Verdict:
        foreign: Finding | None = "foreign" if any(self.foreign) else None
        as_due = not self.differing and self.quiet
        if self.due.gone and (as_due or foreign) and self._is_old():
            return Verdict("forget")
        if as_due:
            return self._leave(foreign)
        if self._only_suspects():
            return self._leave("suspect")
        if self.quiet and all(self.wanted[direction] == self.intent.wanted[direction] for direction in self.differing):
            return self._drifted()
        return self._intend(foreign)

    def _is_old(self) -> bool:
        touched = max([self.intent.at, *(receipt.at for receipt in self.state.receipts)])
        return self.now - touched >= self.rules.forget_after_ms

    def _only_suspects(self) -> bool:
        """At original speed, somebody else's limit that equals a plan's slower speed: not ours to judge."""
        return bool(self.differing) and all(
            self.foreign[direction] and self.wanted[direction] == self.state.original[direction]
            for direction in self.differing
        )

    def _drifted(self) -> Verdict:
        """What we asked for was there, or the platform said so, and now something else is."""
        foreign = any(self.foreign)
        if foreign and self.rules.foreign == "yield":
            return self._leave("yielded")
        recent = tuple(at for at in self.state.repairs if at > self.now - DAY_MS)
        if len(recent) >= self.rules.repairs_a_day:
            return self._leave("yielded" if foreign else "left")
        return self._intend("foreign" if foreign else "drifted", (*recent, self.now))

    def _leave(self, finding: Finding | None) -> Verdict:
        return Verdict("record" if self.state != self.stored else "nothing", self.state, finding)

    def _intend(self, finding: Finding | None, repairs: tuple[int, ...] | None = None) -> Verdict:
        wanted = self.wanted if self.may_slow else _faster(self.wanted, self.shown)
        if wanted == self.shown and not self.may_slow:
            return self._leave(finding) if self.stored.intent else NOTHING
        slows = wanted.least(self.shown) != self.shown
        ours = self.state.ours if wanted in self.state.ours else (*self.state.ours, wanted)[-MOST_OURS:]
        state = replace(
            self.state,
            intent=Intent(self.due.revision, wanted, self.shown, self.now),
            settled=False,
            ours=ours,
            doubts=self.state.doubtful(self.now),
            repairs=self.state.repairs if repairs is None else repairs,
            slowed_at=self.now if slows else self.state.slowed_at,
        )
        return Verdict("intend", state, finding, slows)
