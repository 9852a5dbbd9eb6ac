"""What a long run notes every day, and what it says of it at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

MB = 1_000_000
BAR = 24
MOST_GROWTH = 1.05
"""The highest figure of the second half may be so many times that of the first."""
MOST_RESTART_S = 10.0


class Size(NamedTuple):
    days: int
    services: int
    seed: int = 1


class Day(NamedTuple):
    """How things stood when it was over."""

    number: int
    deltas: int
    decisions: int
    memory_bytes: int
    file_bytes: int


class Restart(NamedTuple):
    """After a power cut: from opening the file until all that it held was counted."""

    day: int
    seconds: float


@dataclass
class Diary:
    title: str
    length: int
    """In days."""
    days: list[Day] = field(default_factory=list)
    restarts: list[Restart] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)
    """What was not as it must be."""
    notes: list[str] = field(default_factory=list)
    """What else is worth a line at the end."""

    def __post_init__(self) -> None:
        self._began_s = time.monotonic()
        columns = TextColumn(self.title), BarColumn(), TextColumn("day {task.completed:.1f}"), TimeElapsedColumn()
        self._progress = Progress(
            *columns, TimeRemainingColumn(), console=Console(stderr=True), disable=not sys.stderr.isatty()
        )
        self._task = self._progress.add_task("", total=self.length)
        self._progress.start()

    def passed(self, days: float) -> None:
        """So much is over."""
        self._progress.update(self._task, completed=days)

    def note(self, day: Day) -> None:
        self.days.append(day)
        if not sys.stderr.isatty():
            memory, file = day.memory_bytes / MB, day.file_bytes / MB
            print(
                f"day {day.number}: {day.deltas:,} deltas, {memory:.1f} MB in memory, {file:.1f} MB of file",
                file=sys.stderr,
            )

    def close(self) -> int:
        """Print all of it.  Returns the exit status: 0 if everything is as it must be."""
        self._progress.stop()
        console = Console(width=None if sys.stdout.isatty() else 140)
        console.print(self._table())
        said = [*self._judged()]
        for good, words in said:
            console.print(f"{'good' if good else 'BAD'}: {words}", highlight=False)
        for words in (*self.notes, f"took {time.monotonic() - self._began_s:.0f} s"):
            console.print(words, highlight=False)
        return 0 if all(good for good, _ in said) else 1

    def _table(self) -> Table:
        table = Table(box=None, title=self.title, title_justify="left", header_style="bold")
        for head in ("day", "deltas", "decisions", "memory MB"):
            table.add_column(head, justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        table.add_column("file MB", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        memory, file = (max(column) for column in (self._memory(), self._file()))
        for day in self.days:
            table.add_row(
                str(day.number), f"{day.deltas:,}", f"{day.decisions:,}",
                f"{day.memory_bytes / MB:.1f}", "#" * (BAR * day.memory_bytes // memory),
                f"{day.file_bytes / MB:.1f}", "#" * (BAR * day.file_bytes // file),
            )  # fmt: skip
        return table

    def _memory(self) -> list[int]:
        return [day.memory_bytes for day in self.days]

    def _file(self) -> list[int]:
        return [day.file_bytes for day in self.days]

    def _judged(self) -> Iterator[tuple[bool, str]]:
        yield not self.mistakes, "; ".join(self.mistakes[:5]) or "every byte that was sent is counted, once"
        for what, figures in (("memory", self._memory()), ("file", self._file())):
            first, second = highest_of_halves(figures)
            words = f"{what}: at most {first / MB:.1f} MB in the first half, {second / MB:.1f} MB in the second"
            yield second <= MOST_GROWTH * first, f"{words} (x {second / first:.3f}; up to x {MOST_GROWTH} is flat)"
        took = ", ".join(f"{seconds:.2f} s on day {day}" for day, seconds in self.restarts)
        yield all(seconds < MOST_RESTART_S for _, seconds in self.restarts), f"restarts: {took}"


def highest_of_halves(figures: Sequence[int]) -> tuple[int, int]:
    """Of the first half, the first day among it, and of the second."""
    middle = (len(figures) + 1) // 2
    return max(figures[:middle]), max(figures[middle:], default=0)
