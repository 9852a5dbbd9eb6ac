"""`python -m tests.simulation`: seeded worlds, each of which fails in its own way, and what must be true in all."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tests.simulation.campaign import Case, Ran, Sum, cases, run, run_all
from tests.simulation.report import Kind, Report

MOST_TOLD = 20
"""Violations of one world that are shown."""


class Seeds(click.ParamType[range]):
    name = "N | A-B"

    def convert(self, value: object, param: object, ctx: object) -> range:
        first, _, last = str(value).rpartition("-")
        try:
            seeds = range(int(first or "1"), int(last) + 1)
        except ValueError:
            self.fail(f"{value!r} is neither a number of seeds nor a range such as 4711-4720")
        return seeds or self.fail(f"there is no seed in {value!r}")


@click.command()
@click.option("--seeds", type=Seeds(), default="1000", show_default=True, help="The first N, or those from A to B.")
@click.option("--kind", type=click.Choice(["log", "whole", "both"]), default="both", help="Of worlds.")
@click.option("--trace", "traced", is_flag=True, help="Print all that happened in each world.")
@click.option("--fail-fast", is_flag=True, help="End with the first world that fails.")
@click.option("--json", "as_json", is_flag=True, help="The sum as one JSON object on standard output.")
def main(seeds: range, kind: str, traced: bool, fail_fast: bool, as_json: bool) -> None:
    """Run seeded worlds.  Exit status 1 if anything was lost, counted twice or out of order in any of them."""
    chosen: Kind | None = "log" if kind == "log" else "whole" if kind == "whole" else None
    todo = list(cases(seeds, chosen))
    began = time.perf_counter()
    total = _traced(todo) if traced else _summed(todo, fail_fast)
    if as_json:
        click.echo(json.dumps(_json(total, time.perf_counter() - began)))
    elif not traced:
        console = Console()
        for table in _tables(total, time.perf_counter() - began):
            console.print(table)
    for report in total.failed:
        _tell(report)
    if total.failed:
        if not traced:
            show(total.failed[0])
        raise SystemExit(1)


def _traced(todo: list[Case]) -> Sum:
    """In this process, one after the other."""
    total = Sum()
    for case in todo:
        report = run(case)
        for line in report.trace:
            click.echo(line)
        click.echo(f"{case.kind} world {case.seed}: {report.digest}")
        total.add(Ran(report, 0.0))
    return total


def _summed(todo: list[Case], fail_fast: bool) -> Sum:
    total = Sum()
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=len(todo))
        began = time.perf_counter()
        worlds = run_all(iter(todo))
        for ran in worlds:
            total.add(ran)
            done = sum(total.worlds.values())
            speed = done / (time.perf_counter() - began)
            progress.update(bar, completed=done, description=f"{speed:.1f} worlds/s, {len(total.failed)} failed")
            if total.failed and fail_fast:
                break
        worlds.close()
    return total


def _tell(report: Report) -> None:
    click.echo(f"\n{report.kind} world {report.seed}: {len(report.violations)} violations", err=True)
    for violation in report.violations[:MOST_TOLD]:
        click.echo(f"  {violation}", err=True)
    click.echo(f"    {replay(report)}", err=True)


def show(report: Report) -> None:
    """All that happened in a world, by playing it again."""
    click.echo(f"\nthis is {report.kind} world {report.seed}:", err=True)
    for line in run(Case(report.kind, report.seed)).trace:
        click.echo(line, err=True)


def replay(report: Report) -> str:
    """The command that shows this world again."""
    return f"python -m tests.simulation --seeds {report.seed}-{report.seed} --kind {report.kind} --trace"


def _tables(total: Sum, took_s: float) -> Iterator[Table]:
    yield _counted("what went wrong", total.faults)
    yield _counted("what happened", total.happened)
    worlds = Table("worlds", "", "CPU ms each", box=None, header_style="bold")
    for kind, count in sorted(total.worlds.items()):
        worlds.add_row(kind, f"{count:,}", f"{1000 * total.cpu_s[kind] / count:.1f}")
    everything = sum(total.worlds.values())
    worlds.add_row("all", f"{everything:,}", f"{everything / took_s:.1f} worlds/s")
    worlds.add_row("failed", f"{len(total.failed):,}", "")
    worlds.add_row("virtual time", f"{total.seconds / 3600:,.1f} h", f"{total.seconds / took_s:,.0f} times as fast")
    yield worlds


def _counted(title: str, counts: Mapping[str, int]) -> Table:
    table = Table(title, "", box=None, header_style="bold")
    for what, count in sorted(counts.items()):
        table.add_row(what, f"{count:,}")
    return table


def _json(total: Sum, took_s: float) -> dict[str, object]:
    return {
        "worlds": total.worlds,
        "took_s": round(took_s, 3),
        "cpu_s": {kind: round(spent_s, 3) for kind, spent_s in total.cpu_s.items()},
        "virtual_s": round(total.seconds, 3),
        "faults": total.faults,
        "happened": total.happened,
        "failed": [
            {"seed": each.seed, "kind": each.kind, "violations": each.violations, "replay": replay(each)}
            for each in total.failed
        ],
    }


if __name__ == "__main__":
    main()
