"""`python -m tests.bench [name ...]`: run benches one after the other, then show one table."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from tests.bench import checkpoint, collector, engine, log, size
from tests.bench.measuring import Result

BENCHES: Mapping[str, Callable[[], Iterator[Result]]] = {
    "engine": engine.run,
    "size": size.run,
    "log": log.run,
    "checkpoint": checkpoint.run,
    "collector": collector.run,
}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=_DESCRIPTION)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of a bench: {', '.join(BENCHES)} (all by default)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line on standard output, and no table")
    chosen = parser.parse_args(arguments)
    if unknown := [name for name in chosen.names if name not in BENCHES]:
        parser.error(f"no such bench: {', '.join(unknown)}; there are {', '.join(BENCHES)}")
    results: list[Result] = []
    for name in chosen.names or BENCHES:
        for result in BENCHES[name]():
            results.append(result)
            print(f"{result.bench}: {result.case}: {result.ours:,.4g} {result.unit}", file=sys.stderr, flush=True)
            if chosen.json:
                print(json.dumps(result._asdict()), flush=True)
    if not chosen.json:
        Console(width=None if sys.stdout.isatty() else 160).print(table(results))


_DESCRIPTION = (
    "Measure what things cost beside what they cost without us, in one run.  CPU time unless a case says otherwise; "
    "medians over several stretches.  Close to idle machines give the truest figures; ratios bear some company."
)


def table(results: Sequence[Result]) -> Table:
    table = Table(box=None, header_style="bold")
    for title in ("bench", "case"):
        table.add_column(title, no_wrap=True)
    for title in ("ours", "bare", "ratio", "target"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("unit", "note"):
        table.add_column(title, no_wrap=True)
    for result in results:
        numbers = (result.ours, result.bare, result.ratio)
        shown = (
            "" if number is None else f"{number:,.3g}" if number < 1000 else f"{number:,.0f}" for number in numbers
        )
        table.add_row(result.bench, result.case, *shown, result.target, result.unit, result.note)
    return table


if __name__ == "__main__":
    main(sys.argv[1:])
