"""What is decided about one service, sentence by sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stream.core.enforced import DAY_MS, Enforcement
from stream.core.enforcement import Due, Finding, Rules, Verdict, decide, imported
from stream.core.speed import ORIGINAL, Speed
from tests.enforcement.speeds import RULES, mbit

YIELDING = replace(RULES, foreign="yield")
ADOPTING = replace(RULES, adopt=("vm1/*",))


class Machine:
    """One machine, and an enforcer that does at once whatever is decided."""

    def __init__(self, limits: Speed, rules: Rules = RULES) -> None:
        self.limits, self.rules = limits, rules
        self.now = 1_000 * DAY_MS
        self.due = Due(1, 1, ORIGINAL)
        self.state: Enforcement | None = None
        self.posts: list[Speed] = []

    def decided(self, speed: Speed) -> Machine:
        """A decision, carried out until nothing is left to do."""
        self.due = self.due._replace(revision=self.due.revision + 1, speed=speed)
        return self.settle()

    def registered_anew(self, speed: Speed) -> Machine:
        self.due = Due(self.due.incarnation + 1, 1, speed)
        return self.settle()

    def deregistered(self) -> Machine:
        self.due = Due(self.due.incarnation, self.due.revision + 1, ORIGINAL, gone=True)
        return self.settle()

    def set(self, limits: Speed) -> Machine:
        """Somebody sets limits."""
        self.limits = limits
        return self

    def later(self, ms: int) -> Machine:
        self.now += ms
        return self

    def look(self, *, listed: bool = True, absent_ms: int = 0, told: bool = False, may_slow: bool = True) -> Verdict:
        return decide(
            "vm1/1",
            self.state,
            self.due,
            self.limits if listed else None,
            self.rules,
            self.now,
            told=told,
            absent_ms=absent_ms,
            may_slow=may_slow,
        )

    def intend(self) -> Machine:
        """Write the intent and die before the post."""
        verdict = self.look()
        assert verdict.act == "intend"
        self.state = verdict.state
        return self

    def settle(self) -> Machine:
        for _ in range(10):
            verdict = self.look()
            if verdict.act == "nothing":
                return self
            self.now += 1000
            self.state = None if verdict.act == "forget" else verdict.state
            if verdict.act == "intend":
                assert verdict.state is not None
                assert verdict.state.intent is not None
                self.limits = verdict.state.intent.wanted
                self.posts.append(self.limits)
        raise AssertionError("it never comes to rest")

    @property
    def finding(self) -> Finding | None:
        return self.look().finding

    @property
    def original(self) -> Speed | None:
        return self.state.original if self.state else None


@pytest.mark.parametrize(
    ("original", "due", "wanted"),
    [
        (mbit(1000), mbit(50), mbit(50)),
        (mbit(1000, 40), mbit(50), mbit(50, 40)),
        (mbit(1000, None), mbit(50), mbit(50)),
        (mbit(None), mbit(50, None), mbit(50, None)),
        (mbit(1000), mbit(None, 50), mbit(1000, 50)),
        (mbit(1000), Speed(50_999_999, 300_000), mbit(50, 1)),
    ],
)
def test_the_lesser_of_due_and_original_is_set_in_each_direction(original: Speed, due: Speed, wanted: Speed) -> None:
    """A plan never makes a service faster than it was; speeds are rounded down to what the platform can show."""
    assert Machine(original).decided(due).limits == wanted


@pytest.mark.parametrize("due", [mbit(1000), mbit(2000), mbit(None), ORIGINAL])
def test_a_speed_that_is_not_slower_than_the_original_is_not_posted(due: Speed) -> None:
    """Only a difference is posted."""
    machine = Machine(mbit(1000)).decided(due)
    assert (machine.posts, machine.state) == ([], None)


def test_the_original_is_carried_from_the_first_intent_to_the_return() -> None:
    """Steps in between change nothing of it."""
    machine = Machine(mbit(1000, None))
    for speed in (mbit(50), mbit(10), mbit(25)):
        machine.decided(speed)
        assert machine.original == mbit(1000, None)
    assert machine.decided(ORIGINAL).limits == mbit(1000, None)


def test_an_intent_that_was_never_posted_is_no_lie_about_the_original() -> None:
    """After a crash between intent and post the same original is kept, and the post is made up for."""
    machine = Machine(mbit(1000)).decided(mbit(50))
    machine.due = machine.due._replace(revision=3, speed=mbit(10))
    machine.intend().settle()
    assert (machine.limits, machine.original) == (mbit(10), mbit(1000))


def test_after_a_confirmed_return_the_next_original_is_what_is_shown_then() -> None:
    """At original speed a foreign limit becomes the new original."""
    machine = Machine(mbit(1000)).decided(mbit(50)).decided(ORIGINAL).set(mbit(300))
    assert machine.finding == "foreign"
    machine.settle().decided(mbit(50)).decided(ORIGINAL)
    assert machine.limits == mbit(300)


def test_a_new_incarnation_inherits_the_original_if_the_former_intent_still_shows() -> None:
    """It is the same machine, still slow by our doing."""
    machine = Machine(mbit(1000)).decided(mbit(10)).registered_anew(mbit(100))
    assert (machine.limits, machine.original) == (mbit(100), mbit(1000))


def test_a_new_incarnation_begins_with_what_is_shown_if_that_is_something_else() -> None:
    """It is another machine under the same id."""
    machine = Machine(mbit(1000)).decided(mbit(10)).set(mbit(200)).registered_anew(mbit(100))
    assert (machine.limits, machine.original) == (mbit(100), mbit(200))


def test_a_new_incarnation_inherits_from_an_intent_of_which_nobody_knows_the_end() -> None:
    """Whether it was posted or not: what is shown is the former one's doing, or its original."""
    for shown in (mbit(50), mbit(10)):
        machine = Machine(mbit(1000)).decided(mbit(50))
        machine.due = machine.due._replace(revision=3, speed=mbit(10))
        machine.intend().set(shown).registered_anew(mbit(100))
        assert (machine.limits, machine.original) == (mbit(100), mbit(1000))


def test_a_post_that_takes_effect_late_is_recognised_by_the_next_incarnation() -> None:
    """An intent that was superseded before it was seen to work is not forgotten."""
    machine = Machine(mbit(1000))
    machine.due = machine.due._replace(revision=2, speed=mbit(100))
    machine.intend().decided(ORIGINAL).set(mbit(100)).registered_anew(ORIGINAL)
    assert (machine.limits, machine.original) == (mbit(1000), mbit(1000))


@pytest.mark.parametrize("due", [mbit(100), ORIGINAL])
def test_a_post_for_a_former_incarnation_that_takes_effect_late_is_not_a_foreign_writer(due: Speed) -> None:
    """Although the new one began with what was shown: what the old one asked for within a day may still come."""
    machine = Machine(mbit(1000))
    machine.due = machine.due._replace(revision=2, speed=mbit(90))
    machine.intend().set(mbit(333, 77)).registered_anew(due)
    before = machine.limits
    machine.set(mbit(90)).settle()
    assert (machine.limits, machine.original) == (before, mbit(333, 77))


@pytest.mark.parametrize("due", [mbit(10), mbit(25), mbit(100), ORIGINAL])
@pytest.mark.parametrize("shown", [mbit(25), mbit(25, 1000), mbit(None, 10)])
def test_a_slower_speed_of_the_plans_is_never_adopted(shown: Speed, due: Speed) -> None:
    """It is reported and left alone, whatever is due, until somebody says what it is."""
    machine = Machine(shown).decided(due)
    assert (machine.finding, machine.posts, machine.state) == ("suspect", [], None)


def test_configuration_settles_a_suspect() -> None:
    """`adopt` says that such a limit is this service's original."""
    machine = Machine(mbit(25), ADOPTING).decided(mbit(10)).decided(ORIGINAL)
    assert (machine.limits, machine.posts) == (mbit(25), [mbit(10), mbit(25)])
    other = Machine(mbit(25), replace(RULES, adopt=("vm2/*", "vm1/2"))).decided(mbit(10))
    assert other.finding == "suspect"


def test_what_is_ours_is_repaired_three_times_a_day_and_then_left_with_an_alarm() -> None:
    """It never becomes the original, and a day later it is repaired again."""
    machine = Machine(mbit(1000)).decided(mbit(50)).decided(mbit(25))
    for _ in range(3):
        machine.set(mbit(50))
        assert machine.finding == "drifted"
        assert machine.settle().limits == mbit(25)
    machine.set(mbit(50)).settle()
    assert (machine.limits, machine.finding, machine.original) == (mbit(50), "left", mbit(1000))
    assert machine.later(DAY_MS).settle().limits == mbit(25)


def test_what_was_left_does_not_hinder_the_next_decision() -> None:
    """Only repairs are counted."""
    machine = Machine(mbit(1000)).decided(mbit(50)).decided(mbit(25))
    for _ in range(4):
        machine.set(mbit(50)).settle()
    assert machine.decided(mbit(10)).limits == mbit(10)
    assert machine.decided(ORIGINAL).limits == mbit(1000)


def test_a_slow_value_of_ours_at_original_speed_is_repaired_to_the_original() -> None:
    """A post that was thought lost comes late: it is ours, and never the new original."""
    machine = Machine(mbit(1000)).decided(mbit(10)).decided(ORIGINAL).set(mbit(10)).settle()
    assert (machine.limits, machine.original) == (mbit(1000), mbit(1000))


def test_a_foreign_limit_while_throttled_becomes_the_original_to_return_to_and_is_repaired() -> None:
    """The plan goes on to hold; what somebody else wants comes with the return."""
    machine = Machine(mbit(1000)).decided(mbit(10)).set(mbit(300))
    assert machine.finding == "foreign"
    assert machine.settle().limits == mbit(10)
    assert machine.decided(ORIGINAL).limits == mbit(300)


def test_a_foreign_writer_is_repaired_three_times_a_day_then_it_has_its_way_with_an_alarm() -> None:
    """No fight in a loop."""
    machine = Machine(mbit(1000)).decided(mbit(10))
    for _ in range(3):
        assert machine.set(mbit(300)).settle().limits == mbit(10)
    machine.set(mbit(300)).settle()
    assert (machine.limits, machine.finding) == (mbit(300), "yielded")
    assert machine.later(DAY_MS).settle().limits == mbit(10)


def test_yield_leaves_a_foreign_limit_until_the_next_decision() -> None:
    """It is reported, kept as the original, and the next change of speed holds again."""
    machine = Machine(mbit(1000), YIELDING).decided(mbit(10)).set(mbit(300)).settle()
    assert (machine.limits, machine.finding, machine.original) == (mbit(300), "yielded", mbit(300))
    assert machine.decided(mbit(25)).limits == mbit(25)
    assert machine.decided(ORIGINAL).limits == mbit(300)


def test_yield_does_not_yield_to_ourselves() -> None:
    """A value of ours that comes back is repaired under either policy."""
    machine = Machine(mbit(1000), YIELDING).decided(mbit(50)).decided(mbit(25)).set(mbit(50)).settle()
    assert machine.limits == mbit(25)


def test_only_the_direction_that_somebody_wrote_is_adopted() -> None:
    """The other one keeps its original."""
    machine = Machine(mbit(1000)).decided(mbit(10)).set(mbit(10, 300)).settle()
    assert (machine.limits, machine.original) == (mbit(10), mbit(1000, 300))


def test_a_foreign_limit_below_the_one_that_is_due_is_simply_the_lesser() -> None:
    """The new original is slower than the plan: nothing is posted."""
    machine = Machine(mbit(1000)).decided(mbit(25)).set(mbit(7)).settle()
    assert (machine.posts, machine.original) == ([mbit(25)], mbit(7))


def test_a_foreign_limit_that_equals_a_slower_speed_does_not_become_the_original() -> None:
    """While throttled it is repaired; at original speed it is reported and left."""
    throttled = Machine(mbit(1000)).decided(mbit(50)).set(mbit(10)).settle()
    assert (throttled.limits, throttled.original) == (mbit(50), mbit(1000))
    returned = Machine(mbit(1000)).decided(mbit(50)).decided(ORIGINAL).set(mbit(10)).settle()
    assert (returned.limits, returned.original, returned.finding) == (mbit(10), mbit(1000), "suspect")


def test_a_deregistered_service_gets_its_original_back_and_is_forgotten_a_day_later() -> None:
    """Until then a late effect of ours is still repaired."""
    machine = Machine(mbit(1000)).decided(mbit(10)).deregistered()
    assert machine.limits == mbit(1000)
    assert machine.set(mbit(10)).settle().limits == mbit(1000)
    assert machine.later(DAY_MS).settle().state is None


def test_a_deregistered_service_that_is_not_listed_is_forgotten_after_a_day() -> None:
    """One list without it proves nothing."""
    machine = Machine(mbit(1000)).decided(mbit(10))
    machine.due = machine.due._replace(revision=9, speed=ORIGINAL, gone=True)
    assert machine.look(listed=False, absent_ms=DAY_MS - 1).act == "nothing"
    assert machine.look(listed=False, absent_ms=DAY_MS).act == "forget"
    assert machine.look().act == "intend"


def test_nothing_is_done_to_a_registered_service_that_is_not_listed() -> None:
    """It may come back."""
    machine = Machine(mbit(1000)).decided(mbit(10))
    machine.due = machine.due._replace(revision=9, speed=mbit(25))
    assert machine.look(listed=False, absent_ms=100 * DAY_MS).act == "nothing"


def test_a_decision_older_than_the_last_intent_is_not_carried_out() -> None:
    """Neither an older revision nor an older incarnation."""
    machine = Machine(mbit(1000)).decided(mbit(50)).decided(mbit(25))
    for due in (Due(1, 2, mbit(10)), Due(0, 99, mbit(10))):
        machine.due = due
        assert machine.look() == Verdict("nothing", finding="outdated")


def test_what_the_platform_called_done_and_does_not_show_is_a_repair() -> None:
    """A platform that lies is not asked for ever."""
    machine = Machine(mbit(1000))
    machine.due = machine.due._replace(revision=2, speed=mbit(10))
    machine.intend()
    acts = []
    for _ in range(5):
        verdict = machine.look(told=True)
        acts.append((verdict.act, verdict.finding))
        machine.state = verdict.state
    assert acts == [("intend", "drifted")] * 3 + [("nothing", "left")] * 2


@pytest.mark.parametrize(
    ("due", "slows"), [(mbit(10), True), (mbit(10, None), True), (mbit(100), False), (ORIGINAL, False)]
)
def test_a_verdict_says_whether_it_slows_in_any_direction(due: Speed, slows: bool) -> None:
    """The brake is asked only about what becomes slower."""
    machine = Machine(mbit(1000)).decided(mbit(50))
    machine.due = machine.due._replace(revision=9, speed=due)
    verdict = machine.look()
    assert (verdict.act, verdict.slows) == ("intend", slows)


def test_what_may_not_be_slowed_now_is_given_back_all_the_same() -> None:
    """Direction by direction, and what waits is not forgotten."""
    machine = Machine(mbit(1000)).decided(mbit(10, 100))
    machine.due = machine.due._replace(revision=9, speed=mbit(100, 10))
    verdict = machine.look(may_slow=False)
    assert verdict.state is not None
    assert verdict.state.intent is not None
    assert (verdict.state.intent.wanted, verdict.slows) == (mbit(100, 100), False)
    machine.state = verdict.state
    machine.set(mbit(100, 100))
    verdict = machine.look(may_slow=False)
    assert verdict.act == "record"
    machine.state = verdict.state
    assert machine.look(may_slow=False).act == "nothing"
    assert machine.settle().limits == mbit(100, 10)
    assert machine.original == mbit(1000)


def test_an_imported_original_settles_a_suspect() -> None:
    """What is shown was not the original then: it counts as ours."""
    machine = Machine(mbit(10))
    assert machine.finding == "suspect"
    machine.state = imported("vm1/1", None, machine.due, mbit(1000))
    assert machine.settle().limits == mbit(1000)
    assert machine.decided(mbit(25)).decided(ORIGINAL).limits == mbit(1000)


def test_an_imported_original_may_be_what_is_shown() -> None:
    """Then nothing is posted, and a later upgrade is adopted as ever."""
    machine = Machine(mbit(10))
    machine.state = imported("vm1/1", None, None, mbit(10))
    assert machine.settle().posts == []
    machine.set(mbit(300)).settle().decided(mbit(25)).decided(ORIGINAL)
    assert machine.limits == mbit(300)


def test_an_imported_original_replaces_the_one_that_is_known() -> None:
    """And holds for an incarnation that did not inherit."""
    machine = Machine(mbit(1000)).decided(mbit(50))
    machine.state = imported("vm1/1", machine.state, machine.due, mbit(200))
    assert machine.settle().decided(ORIGINAL).limits == mbit(200)
    other = Machine(mbit(1000)).decided(mbit(50)).set(mbit(10)).registered_anew(mbit(100))
    assert other.finding == "suspect"
    other.state = imported("vm1/1", other.state, other.due, mbit(700))
    assert other.settle().limits == mbit(100)
    assert other.decided(ORIGINAL).limits == mbit(700)
