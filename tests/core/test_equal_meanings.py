"""What must not matter does not: told of the core alone, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.core.driving import Core, Json, state_of
from tests.core.histories import Author, Record, written
from tests.core.strategies import (
    BEGINNINGS,
    PLANS,
    QUOTA,
    SERVICES,
    Draft,
    bytes_of_both,
    drafts,
    plan_sets,
    spans,
)

NAME = "vm1/1"


def run(records: Sequence[Record]) -> Core:
    core = Core()
    core.take(records)
    return core


def without(outcomes: Sequence[Json], *left_out: str) -> list[Json]:
    return [{key: value for key, value in each.items() if key not in left_out} for each in outcomes]


# ---------------------------------------------------------------- any history


@given(drafts)
def test_every_byte_is_told_once(draft: Draft) -> None:
    """In each plan what was accepted is counted, late or clipped, and a window holds nothing that was not counted."""
    for name, state in state_of(run(written(draft))).items():
        for ladder in state["ladders"]:
            ledger = ladder["ledger"]
            assert ledger["accepted"] == ledger["counted"] + ledger["late"] + ledger["clipped"], name
            assert min(ledger.values()) >= 0, name
            assert sum(amount for _, _, amount in ladder["amounts"]) <= ledger["counted"], name


@given(drafts)
def test_services_do_not_touch_each_other(draft: Draft) -> None:
    """What is told of a service is the same when no other one is registered."""
    records = written(draft)
    together = run(records)
    for name in SERVICES:
        others = [
            each
            for each in records
            if not (isinstance(each.value, dict) and each.value.get("type") == "registration")
            or each.value["service"] == name
        ]
        alone = run(others)
        assert alone.outcomes == [each for each in together.outcomes if each["service"] == name]
        assert state_of(alone).get(name) == state_of(together).get(name)


@given(drafts)
def test_a_batch_is_its_elements_one_by_one(draft: Draft) -> None:
    """Every batch taken apart into single records: the same but for the positions."""
    whole = [replaced(each, offset=each.offset * 100) for each in written(draft)]
    apart = [single for record in whole for single in elements(record)]
    in_batches, in_singles = run(whole), run(apart)
    for outcome in in_batches.outcomes:
        offset, index = outcome["input"]
        outcome["input"] = (offset + index, 0)
    assert in_batches.outcomes == in_singles.outcomes
    assert [(offset + index, 0) for offset, index in in_batches.rejects] == in_singles.rejects
    assert state_of(in_batches) == state_of(in_singles)


def replaced(record: Record, **changes: Any) -> Record:
    return record._replace(**changes)


def elements(record: Record) -> list[Record]:
    value = record.value
    if not (isinstance(value, dict) and value.get("type") == "batch") or len(value["in"]) != len(value["services"]):
        return [record]
    count = len(value["services"])
    columns = {
        name: [value[name]] * count if name in ("start", "end") and isinstance(value[name], int) else value[name]
        for name in ("start", "end", "in", "out")
    }
    mark = {"backfill": True} if value.get("backfill") else {}
    return [
        replaced(
            record,
            offset=record.offset + index,
            value={"service": service, **{name: column[index] for name, column in columns.items()}, **mark},
        )
        for index, service in enumerate(value["services"])
    ]


# ---------------------------------------------------------------- one service, in order of time


@dataclass(frozen=True)
class Life:
    """One service on up to three plans: instants and the bytes between them."""

    records: list[Record]
    instants: list[int]
    bytes: list[tuple[int, int]]

    def deltas(self, told: Sequence[Json]) -> list[Record]:
        offset = self.records[-1].offset + 1
        return [*self.records, *(Record(offset + at, self.instants[-1], value) for at, value in enumerate(told))]


modest = bytes_of_both.map(lambda both: (both[0] % (5 * QUOTA), both[1] % (5 * QUOTA)))


@st.composite
def lives(draw: st.DrawFn) -> Life:
    plans = draw(plan_sets)
    draft = Draft((plans,), draw(st.sampled_from(BEGINNINGS)), (), ())
    author = Author(draft)
    lengths = draw(st.lists(spans, min_size=6, max_size=25))
    instants = list(accumulate(lengths, lambda at, span: author.end_of_delta(at, at, span), initial=draft.beginning))
    names = [name for name in PLANS if name in plans]
    registration = {"type": "registration", "service": NAME, "plans": names, "quota": QUOTA, "anchor_day": 31}
    author.append(registration | {"at": draft.beginning})
    count = len(lengths)
    bytes_ = draw(st.lists(modest, min_size=count, max_size=count))
    return Life(author.records, instants, bytes_)


def delta(start: int, end: int, bytes_: tuple[int, int]) -> Json:
    return {"service": NAME, "start": start, "end": end, "in": bytes_[0], "out": bytes_[1]}


def moves(core: Core) -> list[Json]:
    return without(core.outcomes, "input")


@given(lives(), st.sets(st.integers(1, 24)))
def test_growing_and_separate_deltas_are_the_same(life: Life, anew: set[int]) -> None:
    """An interval sent as growing deltas from an anchor, or piece by piece."""
    spans_ = list(pairwise(life.instants))
    separate = [delta(start, end, bytes_) for (start, end), bytes_ in zip(spans_, life.bytes, strict=True)]
    growing, anchor, total = [], life.instants[0], (0, 0)
    for place, ((start, end), (in_, out)) in enumerate(zip(spans_, life.bytes, strict=True)):
        if place in anew:
            anchor, total = start, (0, 0)
        total = (total[0] + in_, total[1] + out)
        growing.append(delta(anchor, end, total))
    one, two = run(life.deltas(separate)), run(life.deltas(growing))
    assert moves(one) == moves(two)
    kept_apart = ("current", "previous")
    assert without([state_of(one)[NAME]], *kept_apart) == without([state_of(two)[NAME]], *kept_apart)


@given(lives(), st.lists(st.sampled_from(["zero", "mark", "again", "both"]), min_size=25, max_size=25))
def test_zero_deltas_and_watermarks_do_not_matter(life: Life, extras: list[str]) -> None:
    """However often a service is told to be silent, or anything is repeated: the same is decided, as of the same."""
    told, more = [], []
    silent = range(1, len(life.bytes), 2)  # every other interval has no traffic, and something may tell so
    for place, (start, end) in enumerate(pairwise(life.instants)):
        if place not in silent:
            told.append(delta(start, end, life.bytes[place]))
            more.append(told[-1])
            continue
        middle, extra = (start + end) // 2, extras[place]
        if extra in ("zero", "both") and middle > start:
            more.append(delta(start, middle, (0, 0)))
        if extra in ("mark", "both"):
            more.append({"type": "watermark", "source": "vm1", "at": middle})
        if extra == "again":
            more.append(more[-1])
    last = {"type": "watermark", "source": "vm1", "at": life.instants[-1]}
    few, many = run(life.deltas([*told, last])), run(life.deltas([*more, last]))
    assert moves(few) == moves(many)


# ---------------------------------------------------------------- ground truth


@st.composite
def collections(draw: st.DrawFn) -> tuple[list[Json], tuple[int, int]]:
    """What two collectors send, each at its own times and each repeating itself, of the same traffic; and the truth.

    The traffic grows linearly between its points; an anchor is every 10 s.  Collectors poll up to instants that grow,
    but one may lag behind the other, never by more than an anchor; each sends the anchor before as well.
    """
    anchors, step = 6, 10_000
    rates = draw(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5)), min_size=anchors, max_size=anchors))
    begin = BEGINNINGS[0]

    def total(anchor: int, until: int) -> tuple[int, int]:
        elapsed = until - begin - anchor * step
        return rates[anchor][0] * elapsed // 7, rates[anchor][1] * elapsed // 3

    polls = draw(st.lists(st.integers(1, anchors * step), min_size=4, max_size=30))
    sent: list[Json] = []
    latest = 0
    for poll in polls:
        until = max(latest - step, poll if poll < latest + 2 * step else latest + 1)
        until = min(max(until, 1), anchors * step)
        anchor = (until - 1) // step
        for each in range(max(0, min(anchor, latest // step) - 1), anchor + 1):
            end = begin + min(until, (each + 1) * step)
            sent.append(delta(begin + each * step, end, total(each, end)))
        latest = max(latest, until)
    truth = [total(each, begin + min(latest, (each + 1) * step)) for each in range((latest - 1) // step + 1)]
    return sent, (sum(in_ for in_, _ in truth), sum(out for _, out in truth))


@given(collections(), plan_sets)
def test_accepted_is_the_truth_under_repeats(sent: tuple[list[Json], tuple[int, int]], plans: Json) -> None:
    """Two collectors that send the same growing numbers, each several times and out of step, count nothing twice."""
    deltas, truth = sent
    registration = {"type": "registration", "service": NAME, "plans": list(plans), "quota": QUOTA, "anchor_day": 1}
    values = [{"type": "plans", "version": 1, "plans": plans}, registration, *deltas]
    core = run([Record(at, BEGINNINGS[0] + 100_000, value) for at, value in enumerate(values)])
    state = state_of(core)[NAME]
    assert state["accepted"] == truth
    for ladder, plan in zip(state["ladders"], plans.values(), strict=True):
        weighted = plan["count"]["in"] * truth[0] + plan["count"]["out"] * truth[1]
        assert ladder["ledger"]["accepted"] == weighted
