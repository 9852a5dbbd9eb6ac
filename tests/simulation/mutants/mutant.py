"""One deliberate bug, as a change of one text in one file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from tests.simulation.report import Kind
from tests.simulation.whole_plot import Kind as Plot
from tests.simulation.whole_plot import draw

CRASHED = "ended by itself"
"""Says a host of a process that broke: that alone is not enough."""


class Inapplicable(Exception):
    """The text that a mutant changes is not what it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """`old` stands exactly once in the file; `new` in its place is the bug."""

    name: str
    breaks: str
    """What is wrong then, in one sentence."""
    file: str
    """From the root of the project on."""
    old: str
    new: str
    kind: Kind
    within: int
    """It is caught in one of so many worlds: three times as many as were needed from seed 1 on, and ten at least."""
    first: int = 1
    """The seed from which it is hunted: of one that hides in many worlds, shortly before it is seen."""
    plots: tuple[Plot, ...] = ()
    """Of whole worlds, only those of these kinds; none: of any."""
    says: str
    """A regular expression: a sentence of the auditor in which it is found."""

    @property
    def seeds(self) -> Iterator[int]:
        """Of these worlds."""
        fitting = (seed for seed in count(self.first) if not self.plots or draw(seed).kind in self.plots)
        return islice(fitting, self.within)

    def is_caught_by(self, violations: Iterable[str]) -> bool:
        """Whether the auditor has found it: it is not enough that something broke."""
        return any(re.search(self.says, violation) and CRASHED not in violation for violation in violations)

    def mutated(self, text: str) -> str:
        """The text of the file with the bug in it.  Raises Inapplicable."""
        found = text.count(self.old)
        if found != 1:
            raise Inapplicable(f"{self.name}: what it changes stands {found} times in {self.file}, not once")
        if self.new == self.old:
            raise Inapplicable(f"{self.name}: changes nothing")
        mutated = text.replace(self.old, self.new)
        try:
            compile(mutated, self.file, "exec")
        except SyntaxError as error:
            raise Inapplicable(f"{self.name}: {self.file} does not compile with it: {error}") from error
        return mutated

    def apply(self, root: Path) -> None:
        """Change the file under a root.  Raises Inapplicable."""
        path = root / self.file
        path.write_text(self.mutated(path.read_text()))
