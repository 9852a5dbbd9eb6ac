"""`python -m tests.torture --kills 25 [--seed N]`: torture the real thing, then show what was found."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.torture.play import Play, Report
from tests.torture.troubles import Trouble


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 if there is any mistake."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=_DESCRIPTION)
    parser.add_argument("--kills", type=int, default=25, help="how often something is killed (25)")
    parser.add_argument("--seed", type=int, help="what happens when is drawn from it (a random one)")
    chosen = parser.parse_args(arguments)
    seed = random.randrange(1 << 32) if chosen.seed is None else chosen.seed
    print(f"seed {seed}", file=sys.stderr)
    folder = Path(tempfile.mkdtemp(prefix="quota-stream-torture-"))
    report = asyncio.run(_watched(seed, chosen.kills, folder))
    Console(width=None if sys.stdout.isatty() else 120).print(_table(report))
    if not report.mistakes:
        shutil.rmtree(folder)
        return 0
    for what, wrong in report.mistakes.items():
        print(f"{what}: {wrong}", file=sys.stderr)
    print(
        f"Everything lies in {folder}.  To have the same troubles again, though not to the instant, as processes are\n"
        f"never twice the same: python -m tests.torture --kills {chosen.kills} --seed {seed}",
        file=sys.stderr,
    )
    return 1


_DESCRIPTION = (
    "Kill, stop and starve `quota-stream run`, the simulator and a publisher; then audit bytes, decisions and limits."
)


async def _watched(seed: int, kills: int, folder: Path) -> Report:
    columns = (TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("starting", total=kills)

        def tell(trouble: Trouble) -> None:
            progress.update(task, description=trouble.name, advance=trouble.kind == "kill")

        play = Play(seed, kills, folder, tell)
        try:
            report = await play.perform()
            if report.mistakes:
                play.disk.rescue()
            return report
        finally:
            play.close()


def _table(report: Report) -> Table:
    troubles = [(name, f"{count:,}") for name, count in sorted(report.troubles.items())]
    return report.table(troubles, [("longest start of run, seconds", f"{report.longest_start_s:.1f}")])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
