"""The core says and keeps exactly what the oracle does, however the log is cut."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.driving import Core, Json, Oracle, pieces, state_of, told_by_oracle
from tests.core.histories import written
from tests.core.strategies import Draft, drafts, narrow_drafts

cuts = st.lists(st.integers(0, 100), max_size=6)


def by_service(outcomes: Iterable[Json]) -> dict[str, list[Json]]:
    found = defaultdict(list)
    for outcome in outcomes:
        found[outcome["service"]].append(outcome)
    return dict(found)


def assert_equal(core: Core, oracle: Oracle) -> None:
    assert by_service(core.outcomes) == by_service(told_by_oracle(oracle))
    assert core.rejects == sorted((offset, index) for offset, index, _ in oracle.rejects)
    assert state_of(core) == oracle.export()["services"]
    inputs = [outcome["input"] for outcome in core.outcomes]
    assert inputs == sorted(inputs)


@given(drafts, cuts)
def test_core_equals_oracle(draft: Draft, cuts: list[int]) -> None:
    """Decisions, warnings, dead letters and state, whatever pieces the log comes in."""
    core, oracle = Core(), Oracle()
    for piece in pieces(written(draft), cuts):
        core.take(piece)
        oracle.take(piece)
        assert_equal(core, oracle)


@settings(max_examples=3 * (settings.default or settings()).max_examples)
@given(narrow_drafts, st.integers(0, 20))
def test_core_equals_oracle_at_edges(draft: Draft, cut: int) -> None:
    """One service, whose deltas, watermarks, stays and rests end at, just before or just after edges of slices."""
    core, oracle = Core(), Oracle()
    for piece in pieces(written(draft), [cut]):
        core.take(piece)
        oracle.take(piece)
        assert_equal(core, oracle)


@given(drafts, cuts, cuts)
def test_cuts_and_restores_do_not_show(draft: Draft, cuts: list[int], restores: list[int]) -> None:
    """One apply, many, one for each event, by rows or by columns, and a restore from the pages in between: the same in
    the same order."""
    records = written(draft)
    whole, cut, stored = Core(), Core(few=8), Core()
    whole.take(records)
    for piece in pieces(records, cuts):
        cut.take(piece, event_by_event=True)
    for piece in pieces(records, restores):
        stored.take(piece)
        stored.restore()
    assert whole.outcomes == cut.outcomes == stored.outcomes
    assert whole.rejects == cut.rejects == stored.rejects
    assert state_of(whole) == state_of(cut) == state_of(stored)
