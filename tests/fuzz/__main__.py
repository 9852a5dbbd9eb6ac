"""`python -m tests.fuzz --inputs N`: spoiled inputs for everything that reads what is not ours.

Input number K of a target depends on seed, target and K alone: each failure tells the command that repeats just it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from random import SystemRandom
from typing import NamedTuple

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tests.fuzz.target import MIB, Result, fuzz, limit_memory
from tests.fuzz.targets import TARGETS

PARTS = 40
"""Into so many pieces each target's inputs are cut, so that all cores have something to do until the end."""


class Piece(NamedTuple):
    share: float
    """How much of the target's inputs come before it."""
    target: str
    numbers: range


@click.command()
@click.option("--inputs", type=click.IntRange(1), default=20_000, show_default=True, help="How many, over all targets.")
@click.option("--seed", type=click.IntRange(0), help="[default: another one each time]")
@click.option("--target", "names", multiple=True, type=click.Choice(list(TARGETS)), help="Only this one; repeatable.")
@click.option("--only", type=click.IntRange(0), metavar="NUMBER", help="Only this input of the one target.")
@click.option("--list", "listing", is_flag=True, help="Show the targets, and what each promises.")
def main(inputs: int, seed: int | None, names: Sequence[str], only: int | None, listing: bool) -> None:
    """Exit status 1 if any input broke a promise."""
    console = Console(width=max(110, Console().width))
    if listing:
        console.print(_listed())
        return
    seed = SystemRandom().randrange(1 << 32) if seed is None else seed
    chosen = names or list(TARGETS)
    began = time.perf_counter()
    if only is not None:
        results = {name: fuzz(TARGETS[name], seed, [only]) for name in chosen}
    else:
        results = _all(_pieces(chosen, inputs), seed)
    console.print(_told(results, seed, time.perf_counter() - began))
    broken = [(name, each) for name, result in results.items() for each in result.violations.items()]
    for name, (place, violation) in broken:
        click.echo(f"\n{name}: {place} ({violation.times} times)\n{violation.story}")
        click.echo(f"    .venv/bin/python -m tests.fuzz --target {name} --seed {seed} --only {violation.number}")
    if broken:
        raise SystemExit(1)


def _pieces(names: Sequence[str], inputs: int) -> list[Piece]:
    weights = {name: TARGETS[name].weight for name in names}
    found: list[Piece] = []
    shared = given = 0
    for name, weight in weights.items():
        given += weight
        upto = round(inputs * given / sum(weights.values()))
        count, shared = max(1, upto - shared), upto
        size = -(-count // PARTS)
        found += (Piece(first / count, name, range(first, min(first + size, count))) for first in range(0, count, size))
    return found


def _all(pieces: Iterable[Piece], seed: int) -> dict[str, Result]:
    """Over all cores.  Ctrl-C ends it early, with what there is until then."""
    pieces = sorted(
        pieces, key=lambda piece: piece.share
    )  # all targets at a time, so that an early end has some of each
    results = {piece.target: Result() for piece in pieces}
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    pool = ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn"), initializer=limit_memory)
    with pool, Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=sum(len(piece.numbers) for piece in pieces))
        waiting: dict[Future[Result], Piece] = {
            pool.submit(fuzz, TARGETS[piece.target], seed, piece.numbers): piece for piece in pieces
        }
        try:
            for done in as_completed(waiting):
                piece = waiting[done]
                results[piece.target].add(done.result())
                broken = sum(len(result.violations) for result in results.values())
                progress.update(bar, advance=len(piece.numbers), description=f"{broken} broken" if broken else "")
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
    return results


def _told(results: dict[str, Result], seed: int, seconds: float) -> Table:
    total = sum(result.inputs for result in results.values())
    table = Table(title=f"{total:,} inputs in {seconds:.0f} s, seed {seed}")
    for head in ("target", "inputs", "accepted", "refused", "inputs/s", "slowest ms", "peak MiB", "broken"):
        table.add_column(head, justify="left" if head == "target" else "right")
    for name, each in results.items():
        rate = each.inputs / each.seconds if each.seconds else 0.0
        row = (f"{each.inputs:,}", f"{each.accepted:,}", f"{each.refused:,}", f"{rate:,.0f}")
        table.add_row(
            name, *row, f"{each.slowest_s * 1000:,.0f}", f"{each.peak_bytes / MIB:.1f}", str(len(each.violations))
        )
    return table


def _listed() -> Table:
    table = Table(show_lines=True)
    for head in ("target", "what comes in", "who reads it", "may raise", "holds", "memory"):
        table.add_column(head)
    for name, it in TARGETS.items():
        raised = ", ".join(refusal.__name__ for refusal in it.refusals) or "nothing"
        table.add_row(name, it.comes_in, it.entry, raised, it.holds, f"{it.most_mib} MiB + {it.per_byte} x input")
    return table


if __name__ == "__main__":
    main()
