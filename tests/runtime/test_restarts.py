"""Owners that die, are refused, get no answer, are torn or wake up late: always the same decisions and totals."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import orjson
import pytest

from stream.ports import CHANGES, DEAD_LETTERS, STATE
from tests.runtime.history import history
from tests.runtime.lives import Ran, audit, lives
from tests.runtime.watched import Kind, Torn, Trouble

APPENDS = history()


@cache
def undisturbed() -> Ran:
    ran = lives(APPENDS)
    assert ran.endings == ["done"]
    return ran


@contextmanager
def noting(*troubles: Trouble | Torn) -> Iterator[None]:
    """A failure names the troubles that it needs."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"{troubles}")
        raise


def endings(runs: Iterable[Sequence[Trouble | Torn]]) -> Counter[str]:
    """Audit a run with each of these troubles; how often the first owner ended how."""
    found: Counter[str] = Counter()
    for troubles in runs:
        with noting(*troubles):
            ran = lives(APPENDS, *troubles)
            audit(ran, undisturbed())
            found[ran.endings[0]] += 1
    return found


def points() -> range:
    return range(undisturbed().owners[0].points)


def test_the_history_has_everything() -> None:
    """Proofs with it would mean little otherwise: all kinds of decisions, warnings and letters; and nothing twice."""
    ran = undisturbed()
    audit(ran, ran)
    outcomes = [orjson.loads(message.value or b"") for message in ran.said(CHANGES)]
    reasons = {outcome.get("reason", "warning") for outcome in outcomes}
    told = {"registered", "exceeded", "stay_over", "warning", "credit", "pin", "unpinned", "reset", "deregistered"}
    assert told <= reasons
    assert len(ran.said(DEAD_LETTERS)) == 4
    assert [len(set(batch)) for batch in ran.writes(CHANGES)] == [len(batch) for batch in ran.writes(CHANGES)]
    assert sum(map(len, ran.writes(CHANGES))) == len(outcomes)
    assert max(map(len, ran.writes(CHANGES))) > 3


@pytest.mark.parametrize(
    ("kind", "ends"), [("killed", "killed"), ("refused", "Unavailable"), ("unanswered", "TimeoutError")]
)
def test_trouble_at_every_call(kind: Kind, ends: str) -> None:
    """Before and after each effect on the log: whoever comes next goes on as if nothing had been."""
    assert endings([Trouble(kind, at)] for at in points()) == {ends: len(points())}


def test_troubles_in_a_row() -> None:
    """Owners that get not far, one after the other."""
    rng = random.Random(1)
    kinds: Sequence[Kind] = ("killed", "refused", "unanswered")

    def early() -> int:
        return min(rng.choice(points()), rng.choice(points()))

    endings([Trouble(rng.choice(kinds), early()) for _ in range(4)] for _ in range(40))


def test_torn_checkpoints() -> None:
    """Of each checkpoint any number of records survives: the former one is whole until the new one is."""
    sizes = [len(messages) for messages in undisturbed().writes(STATE)]
    torn = [[Torn(number, records)] for number, size in enumerate(sizes) for records in range(size + 1)]
    assert len(torn) > 80
    assert endings(torn) == {"killed": len(torn)}


def test_checkpoints_torn_again() -> None:
    """What a torn checkpoint left behind, and what the next one leaves of the same pages, is never mixed."""
    rng = random.Random(2)
    sizes = [len(messages) for messages in undisturbed().writes(STATE)]
    pairs = [rng.sample(range(size + 1), 2) for size in sizes for _ in range(3) if size > 1]
    endings([Torn(rng.randrange(len(sizes)), first), Torn(0, second), Torn(0, first)] for first, second in pairs)


def test_zombies() -> None:
    """An owner stands still at any call while another does all the work; woken up, it is fenced and changes nothing."""
    ends: Counter[str] = Counter()
    for at in points():
        trouble = Trouble("frozen", at)
        with noting(trouble):
            ran = lives(APPENDS, trouble)
            audit(ran, undisturbed())
            first, second, woken = ran.endings
            assert (first, second) == ("frozen", "done")
            assert woken in ("Fenced", "done")
            ends[woken] += 1
    assert ends["Fenced"] > 0.8 * len(points())
