"""Decode and apply, against bare `orjson.loads` of the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import orjson

from stream.core.model import Deltas, Record
from stream.core.tracker import Tracker
from stream.wire import Decoder
from tests.bench.measuring import Block, Result, Stopwatch, alone, compared
from tests.bench.traffic import POLLS_A_SLICE, Fleet, fetches, names_of, registered, shipped

WARM_UP = 1
"""Blocks that are not counted."""

Poll = Callable[[Fleet], list[Record]]


class Case(NamedTuple):
    name: str
    services: int
    plans: tuple[str, ...]
    poll: Poll
    blocks: int
    """Of ten polls each: a slice of the ladder, with one edge in it."""
    target: str = ""
    heavy: float = 0.0


VPN, BOTH = ("vpn",), ("vpn", "month")
CASES = (
    *(
        Case(f"poll, {plans}, {services:,} services", services, chosen, Fleet.poll, blocks, "<= 3")
        for plans, chosen in (("vpn", VPN), ("vpn + month", BOTH))
        for services, blocks in ((2_000, 60), (200_000, 3))
    ),
    *(
        Case(f"general, vpn, {services:,} services", services, VPN, Fleet.scattered, blocks, "<= 10")
        for services, blocks in ((2_000, 20), (200_000, 1))
    ),
    Case("general, vpn + month, 2,000 services", 2_000, BOTH, Fleet.scattered, 20, "<= 10"),
    *(
        Case(f"poll with moves, vpn, {services:,} services", services, VPN, Fleet.poll, blocks, "", heavy)
        for services, blocks, heavy in ((2_000, 40, 0.003), (200_000, 4, 0.005))
    ),
    Case("single deltas, vpn, 2,000 services", 2_000, VPN, Fleet.singles, 6),
)


def run() -> Iterator[Result]:
    for case in CASES:
        yield alone(measure, case)


def measure(case: Case) -> Result:
    services = names_of(case.services)
    tracker, decoder = registered(services, shipped(*case.plans)), Decoder()
    fleet = Fleet(services, case.heavy)
    blocks: list[Block] = []
    moves = counted = 0
    for number in range(WARM_UP + case.blocks):
        ours, bare = Stopwatch(), Stopwatch()
        deltas = outcomes = 0
        for _ in range(POLLS_A_SLICE):
            for fetch in fetches(case.poll(fleet)):
                with bare.running():
                    load(fetch)
                with ours.running():
                    deltas_here, outcomes_here = count(decoder, tracker, fetch)
                deltas, outcomes = deltas + deltas_here, outcomes + outcomes_here
        if number >= WARM_UP:
            blocks.append(Block(ours.cpu_s / deltas, bare.cpu_s / deltas))
            moves, counted = moves + outcomes, counted + deltas
    note = f"{moves / counted:.2%} of the deltas cause a move" if moves else ""
    return compared("engine", case.name, blocks, 1e9, "ns a delta", target=case.target, note=note)


def load(records: Sequence[Record]) -> None:
    for record in records:
        orjson.loads(record.value or b"")


def count(decoder: Decoder, tracker: Tracker, records: Sequence[Record]) -> tuple[int, int]:
    """Returns how many deltas and how many decisions."""
    events = decoder.decode(records)
    tracker.apply(events, records[-1].offset + 1)
    drained = tracker.drain()
    assert not drained.dead_letters, drained.dead_letters[0]
    return sum(len(event.in_) for event in events if isinstance(event, Deltas)), len(drained.outcomes)
