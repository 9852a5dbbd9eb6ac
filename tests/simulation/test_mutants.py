"""The deliberate bugs can still be made: what they change stands where it stood."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.mutants.mutant import Mutant

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
