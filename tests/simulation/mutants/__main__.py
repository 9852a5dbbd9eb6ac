"""Make each deliberate bug in a copy of the project, and see the auditor find it.

After that the unchanged project passes the same worlds: what was found was the bug.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console
from rich.table import Table

from tests.simulation.campaign import Case, run_all
from tests.simulation.mutants import MUTANTS
from tests.simulation.mutants.mutant import Mutant

ROOT = Path(__file__).parents[3]
COPIED = ("stream", "tests")
MOST_SHOWN = 110
"""Characters of what the auditor said."""


@dataclass(frozen=True, slots=True)
class Hunt:
    """What came of one mutant."""

    mutant: Mutant
    seeds: tuple[int, ...]
    """Those that were tried; it was caught at the last one, or never."""
    violations: tuple[str, ...]
    """Of the last one."""

    @property
    def is_caught(self) -> bool:
        return self.mutant.is_caught_by(self.violations)

    @property
    def said(self) -> str:
        """The sentence by which it was caught; else something of what was said, if anything was."""
        fitting = [each for each in self.violations if self.mutant.is_caught_by((each,))]
        return next(iter((*fitting, *self.violations)), "nothing").strip().splitlines()[-1]


@click.command()
@click.argument("names", nargs=-1)
def main(names: tuple[str, ...]) -> None:
    """Hunt all mutants, or those of the given names.  Exit status 1 if one survives."""
    unknown = set(names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        raise click.UsageError(f"no such mutant: {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    chosen.sort(key=_takes_long, reverse=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        hunts = list(pool.map(hunt, chosen))
    innocent = passes(controls(hunts))
    Console(width=200).print(table(hunts))
    survivors = [each.mutant.name for each in hunts if not each.is_caught]
    if survivors:
        click.echo(f"not caught: {', '.join(survivors)}", err=True)
    if not innocent:
        click.echo("the unchanged project fails some of these worlds", err=True)
    raise SystemExit(1 if survivors or not innocent else 0)


def _takes_long(mutant: Mutant) -> tuple[bool, int]:
    """What takes longest comes first, so that all cores have something to do until the end."""
    return mutant.kind == "whole", mutant.within


def hunt(mutant: Mutant) -> Hunt:
    """World after world on a mutated copy, until it is caught."""
    with copy() as root:
        mutant.apply(root)
        tried = dict(worlds(root, mutant))
    hunted = Hunt(mutant, tuple(tried), list(tried.values())[-1])
    verdict = f"caught at seed {hunted.seeds[-1]}" if hunted.is_caught else "NOT CAUGHT"
    click.echo(f"{mutant.name}: {verdict} ({len(tried)} worlds): {hunted.said[:MOST_SHOWN]}", err=True)
    return hunted


def controls(hunts: Iterable[Hunt]) -> list[Case]:
    """All worlds that any mutant was tried in, whole ones first."""
    return sorted({Case(each.mutant.kind, seed) for each in hunts for seed in each.seeds}, reverse=True)


def passes(cases: Sequence[Case]) -> bool:
    """Whether the unchanged project does what it should in these worlds."""
    failed = [ran.report for ran in run_all(iter(cases)) if ran.report.violations]
    for report in failed:
        click.echo(f"without any mutant: {report.kind} world {report.seed}: {report.violations[0]}", err=True)
    click.echo(f"without any mutant: {len(failed)} of {len(cases)} worlds fail", err=True)
    return not failed


@contextmanager
def copy() -> Iterator[Path]:
    """As much of the project as runs worlds."""
    with TemporaryDirectory(prefix="mutant-") as root:
        for name in COPIED:
            shutil.copytree(ROOT / name, Path(root, name), ignore=shutil.ignore_patterns("*.pyc.*"))
        yield Path(root).resolve()


def worlds(root: Path, mutant: Mutant) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Seeds and violations, as they come from a process that runs in this copy of the project."""
    command = [sys.executable, "-m", "tests.simulation.mutants.alone", mutant.name]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            told = json.loads(line)
            yield told["seed"], tuple(told["violations"])
    if process.returncode:
        raise SystemExit(f"{mutant.name}: the process that runs its worlds failed")


def table(hunts: Iterable[Hunt]) -> Table:
    shown = Table("mutant", "kind", "caught at", "worlds", "within", "what the auditor said", box=None)
    for each in hunts:
        mutant, caught = each.mutant, str(each.seeds[-1]) if each.is_caught else "NEVER"
        shown.add_row(
            mutant.name, mutant.kind, caught, str(len(each.seeds)), str(mutant.within), each.said[:MOST_SHOWN]
        )
    return shown


if __name__ == "__main__":
    main()
