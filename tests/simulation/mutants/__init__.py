"""Deliberate bugs, by which the auditor is checked: each has to be found in the books within a few seeds.

python -m tests.simulation.mutants            all of them
python -m tests.simulation.mutants NAME ...   some of them
"""

from __future__ import annotations

from tests.simulation.mutants.collector import COLLECTOR_MUTANTS
from tests.simulation.mutants.enforcer import ENFORCER_MUTANTS
from tests.simulation.mutants.mutant import Mutant
from tests.simulation.mutants.tracker import TRACKER_MUTANTS

MUTANTS: tuple[Mutant, ...] = (*TRACKER_MUTANTS, *COLLECTOR_MUTANTS, *ENFORCER_MUTANTS)
