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
        violations = run(Case(mutant.kind, seed)).violations
        print(json.dumps({"seed": seed, "violations": violations}), flush=True)
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


if __name__ == "__main__":
    hunt(next(mutant for mutant in MUTANTS if mutant.name == sys.argv[1]))
