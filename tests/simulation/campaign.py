"""Many worlds, over all cores, and the sum of what happened in them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from multiprocessing import get_context
from typing import NamedTuple

from tests.simulation.report import Kind, Report

KINDS: dict[Kind, str] = {"log": "tests.simulation.log_world", "whole": "tests.simulation.whole_world"}
"""Where `run(seed) -> Report` is."""

WORKERS = 2
WHOLE_EVERY = 20
AHEAD = 4
"""So many worlds wait for each worker."""


class Case(NamedTuple):
    kind: Kind
    seed: int


class Ran(NamedTuple):
    report: Report
    """Without its trace, which is long."""
    cpu_s: float


@dataclass
class Sum:
    """Over all worlds so far."""

    worlds: Counter[str] = field(default_factory=Counter)
    cpu_s: dict[str, float] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    failed: list[Report] = field(default_factory=list)

    def add(self, ran: Ran) -> None:
        report = ran.report
        self.worlds[report.kind] += 1
        self.cpu_s[report.kind] = self.cpu_s.get(report.kind, 0.0) + ran.cpu_s
        self.faults += report.faults
        self.happened += report.happened
        self.seconds += report.seconds
        if report.violations:
            self.failed.append(report)


def cases(seeds: Sequence[int], kind: Kind | None) -> Iterator[Case]:
    """One for each seed; without a kind every twentieth is a whole world, as far as there are any."""
    for seed in seeds:
        default: Kind = "whole" if seed % WHOLE_EVERY == 0 and find_spec(KINDS["whole"]) else "log"
        yield Case(kind or default, seed)


def run(case: Case) -> Report:
    """One world, in this process."""
    world: Callable[[int], Report] = import_module(KINDS[case.kind]).run
    return world(case.seed)


def run_all(todo: Iterator[Case]) -> Generator[Ran, None, None]:
    """In the order in which they end.  Close it to end early."""
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        running: set[Future[Ran]] = set()
        try:
            while running or (running := _begun(pool, todo, WORKERS * AHEAD)):
                done, running = wait(running, return_when=FIRST_COMPLETED)
                running |= _begun(pool, todo, len(done))
                for each in done:
                    yield each.result()
        finally:
            for each in running:
                each.cancel()


def _begun(pool: ProcessPoolExecutor, todo: Iterator[Case], count: int) -> set[Future[Ran]]:
    return {pool.submit(_timed, case) for case in islice(todo, count)}


def _timed(case: Case) -> Ran:
    began = time.process_time()
    report = run(case)
    return Ran(replace(report, trace=()), time.process_time() - began)
