"""Within a mutated copy of the project: one world after another, until the mutant is caught.

One JSON object a line on standard output: the seed, and what the auditor said.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

from tests.simulation.campaign import Case, run
from tests.simulation.mutants import MUTANTS
from tests.simulation.mutants.mutant import Mutant


def hunt(mutant: Mutant) -> None:
    check_import(mutant)
    for seed in mutant.seeds:
        violations = tell(Case(mutant.kind, seed))
        if mutant.is_caught_by(violations):
            return


def check_import(mutant: Mutant) -> None:
    """The code that runs here is the mutated one."""
    imported = import_module(mutant.file.removesuffix(".py").replace("/", ".")).__file__
    expected = Path.cwd() / mutant.file
    if imported is None or not expected.samefile(imported):
        raise SystemExit(f"{mutant.name}: THE MUTANT IS NOT WHAT RUNS: {imported} was imported, not {expected}")
    if mutant.new not in expected.read_text():
        raise SystemExit(f"{mutant.name}: THE MUTANT IS NOT WHAT RUNS: {expected} is not changed")


def tell(case: Case) -> tuple[str, ...]:
    violations = run(case).violations
    print(json.dumps({"seed": case.seed, "violations": violations}), flush=True)
    return violations


def main(name: str, *seeds: str) -> None:
    """The mutant of that name; or, of a kind of world, those of the seeds."""
    mutant = next((one for one in MUTANTS if one.name == name), None)
    if mutant is not None:
        hunt(mutant)
    else:
        for seed in seeds:
            tell(Case("log" if name == "log" else "whole", int(seed)))


if __name__ == "__main__":
    main(*sys.argv[1:])
