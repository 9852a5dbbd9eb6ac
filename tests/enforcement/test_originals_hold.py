"""Whatever happens in whatever order: no slow speed becomes an original, and in the end the platform is as due."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stream.core.enforced import DAY_MS, Enforcement
from stream.core.enforcement import Due, Verdict, decide
from stream.core.speed import ORIGINAL, Speed
from tests.enforcement.speeds import RULES, SLOWER, express, mbit

SUSPECT = {limit for speed in SLOWER for limit in speed}
HOUR_MS = 3_600_000
PLANNED = [mbit(100), mbit(50), mbit(25), mbit(10), mbit(25, None), mbit(None, 10), ORIGINAL]
ORIGINALS = [mbit(1000), mbit(200, 300), mbit(None), mbit(40), mbit(7)]
FOREIGN = [mbit(500), mbit(333, 77), mbit(5), mbit(None, 80), mbit(25), mbit(600, 10)]


class OneService(RuleBasedStateMachine):
    """A platform with one machine; an enforcer that may die at any moment; posts that take effect when they like."""

    foreign_writes = False

    @initialize(original=st.sampled_from(ORIGINALS))
    def begin(self, original: Speed) -> None:
        self.now = 1_000 * DAY_MS
        self.stored: Enforcement | None = None
        self.told = self.braked = False
        self.limits = original
        self.true_original = original
        self.late: list[tuple[int, Speed]] = []
        self.genuine: tuple[set[int | None], set[int | None]] = {original.in_}, {original.out}
        self.due = Due(1, 1, ORIGINAL)

    def _look(self, may_slow: bool = True) -> Verdict:
        told = self.told
        return decide("vm1/1", self.stored, self.due, self.limits, RULES, self.now, told=told, may_slow=may_slow)

    def _act(self, verdict: Verdict, fate: str) -> None:
        """Do as the verdict says.  `fate` is what becomes of the post."""
        if verdict.act == "forget":
            self.stored = None
        if verdict.act in ("record", "intend"):
            assert verdict.state is not None
            self.stored = Enforcement.from_json(verdict.state.to_json())
        if verdict.act != "intend":
            return
        assert verdict.state is not None
        assert verdict.state.intent is not None
        intent = verdict.state.intent
        wanted = express(self.due.speed).least(verdict.state.original)
        if self.braked:
            assert intent.wanted.least(self.limits) == self.limits
        else:
            assert intent.wanted == wanted
        self.told = False
        if fate in ("done", "done, but no answer"):
            self.limits = intent.wanted
        if fate == "later":
            self.late.append((self.now, intent.wanted))
        self.told = fate == "done"

    @rule(fate=st.sampled_from(["done", "done, but no answer", "lost", "later"]), braked=st.booleans())
    def enforce(self, fate: str, braked: bool) -> None:
        self.braked = braked
        self._act(self._look(may_slow=not braked), fate)

    @rule(speed=st.sampled_from(PLANNED))
    def decision(self, speed: Speed) -> None:
        gone = self.due.gone
        incarnation = self.due.incarnation + gone
        self.due = Due(incarnation, 1 if gone else self.due.revision + 1, speed)

    @rule(speed=st.sampled_from(PLANNED))
    def registered_anew(self, speed: Speed) -> None:
        self.due = Due(self.due.incarnation + 1, 1, speed)

    @rule()
    def deregistered(self) -> None:
        self.due = replace_due(self.due)

    @rule()
    def crash(self) -> None:
        self.told = False

    @precondition(lambda self: self.late)
    @rule(data=st.data())
    def late_effect(self, data: st.DataObject) -> None:
        place = data.draw(st.integers(0, len(self.late) - 1))
        self.limits = self.late.pop(place)[1]

    @rule(hours=st.sampled_from([0, 1, 9, 25]))
    def time_passes(self, hours: int) -> None:
        """A post takes effect within an hour or never."""
        self.now += 60_000 + hours * HOUR_MS
        for at, wanted in list(self.late):
            if self.now - at > HOUR_MS:
                self.late.remove((at, wanted))
                self.limits = wanted

    @precondition(lambda self: self.foreign_writes)
    @rule(speed=st.sampled_from(FOREIGN))
    def somebody_else_writes(self, speed: Speed) -> None:
        self.limits = speed
        for direction in (0, 1):
            if speed[direction] not in SUSPECT:  # that might be anybody's
                self.genuine[direction].add(speed[direction])

    @invariant()
    def no_speed_of_ours_is_taken_for_an_original(self) -> None:
        """What is stored as the original, the machine had from others."""
        if self.stored is not None:
            for direction in (0, 1):
                assert self.stored.original[direction] in self.genuine[direction], self.stored

    @invariant()
    def nothing_is_faster_than_its_original(self) -> None:
        """No plan makes a service faster than it was."""
        if self.stored is not None and self.stored.intent is not None and self.stored.intent.revision:
            assert (
                self.stored.intent.wanted.least(self.stored.original) == self.stored.intent.wanted
                or self.foreign_writes
            )

    def teardown(self) -> None:
        """When things are quiet, the platform shows what is due."""
        if not hasattr(self, "now"):
            return
        for _, wanted in self.late:
            self.limits = wanted
        self.braked = False
        for _ in range(12):
            self.now += DAY_MS // 2
            self._act(self._look(), "done")
        verdict = self._look()
        assert verdict.act == "nothing", verdict
        if self.foreign_writes:
            if verdict.finding != "suspect" and self.stored is not None:
                assert self.limits == express(self.due.speed).least(self.stored.original)
        else:
            assert self.limits == express(self.due.speed).least(self.true_original)
            assert verdict.finding is None


def replace_due(due: Due) -> Due:
    return due if due.gone else Due(due.incarnation, due.revision + 1, ORIGINAL, gone=True)


class OneServiceAndOthers(OneService):
    """The same, and somebody else writes limits as well."""

    foreign_writes = True


HARD = settings(stateful_step_count=50, max_examples=max(150, settings().max_examples))

TestOneService = OneService.TestCase
TestOneService.settings = HARD
TestOneServiceAndOthers = OneServiceAndOthers.TestCase
TestOneServiceAndOthers.settings = HARD
