"""The deliberate bugs can still be made: what they change stands where it stood."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.mutants.alone import check_import
from tests.simulation.mutants.mutant import CRASHED, Mutant
from tests.simulation.whole_plot import draw

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_applies(mutant: Mutant) -> None:
    """Its text stands exactly once in the file, and the changed file compiles."""
    text = (ROOT / mutant.file).read_text()
    assert mutant.mutated(text) != text


def test_there_are_many_mutants() -> None:
    """At least ten, each with a name of its own and a sentence that it is known by."""
    assert len(MUTANTS) >= 10
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert all(mutant.says and mutant.within > 0 for mutant in MUTANTS)


def test_a_mutant_that_hides_is_hunted_where_it_is_seen() -> None:
    """In as many worlds as are stated, from its first one on; of whole worlds only in those that are about it."""
    hidden = next(one for one in MUTANTS if one.first > 1 and not one.plots)
    assert [*hidden.seeds] == [*range(hidden.first, hidden.first + hidden.within)]
    about = next(one for one in MUTANTS if one.first > 1 and one.plots)
    assert len([*about.seeds]) == about.within
    assert min(about.seeds) >= about.first
    assert all(draw(seed).kind in about.plots for seed in about.seeds)


def test_a_crash_alone_is_no_catch() -> None:
    """The auditor has to say it, and not only a process that ends."""
    mutant = next(one for one in MUTANTS if one.name == "outbox after meta")
    said = "after a checkpoint of tracker0.2 meta names outbox entry 3, which is not there"
    assert mutant.is_caught_by([said])
    assert not mutant.is_caught_by([f"tracker0.2 {CRASHED}: Corrupt({said!r})"])


def test_unchanged_code_is_not_taken_for_a_mutant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever would hunt in the project itself is told so at once."""
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match="IS NOT WHAT RUNS"):
        check_import(MUTANTS[0])
