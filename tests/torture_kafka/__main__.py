"""`python -m tests.torture_kafka --faults 10 [--seed N]`: torture a cluster and who works on it; show what came."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.torture_kafka.play import Play, Report, Suffered

FAULTS = 10


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 if there is any mistake."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture_kafka", description=_DESCRIPTION)
    parser.add_argument("--faults", type=int, default=FAULTS, help=f"how many ({FAULTS})")
    parser.add_argument("--seed", type=int, help="what happens when is drawn from it (a random one)")
    chosen = parser.parse_args(arguments)
    seed = random.randrange(1 << 32) if chosen.seed is None else chosen.seed
    print(f"seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="quota-stream-torture-kafka-"))
    logging.basicConfig(filename=folder / "auditor.log", level=logging.WARNING)  # what its clients have to complain of
    report = asyncio.run(Play(seed, chosen.faults, folder, _tell).perform())
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(_kinds(report))
    console.print(
        report.table((f"starts of {name} after the first", f"{count:,}") for name, count in report.restarts.items())
    )
    if not report.mistakes:
        shutil.rmtree(folder)
        return 0
    for what, wrong in report.mistakes.items():
        print(f"{what}: {wrong}", file=sys.stderr)
    print(
        f"What each process said lies in {folder}/*.log, what the brokers said in {folder}/brokers/*.log.\n"
        "To have the same faults again, though not to the instant, as processes are never twice the same:\n"
        f"python -m tests.torture_kafka --faults {chosen.faults} --seed {seed}",
        file=sys.stderr,
    )
    return 1


_DESCRIPTION = (
    "Kill, stop, slow and move three brokers and all that works on them; then audit bytes, decisions and limits."
)


def _tell(suffered: Suffered) -> None:
    fault, (role, partition) = suffered.fault, suffered.mover
    began = datetime.fromtimestamp(suffered.began_ms // 1000, UTC).time()  # as the logs have it
    what = f"{fault.number:4} {began} {fault}"
    pause = f"longest pause {suffered.pause_s:.1f} s ({role}, partition {partition})"
    print(f"{what:68} all moved after {suffered.moved_s:5.1f} s, {pause}", flush=True)


def _kinds(report: Report) -> Table:
    kinds: dict[str, list[Suffered]] = defaultdict(list)
    for suffered in report.suffered:
        kinds[suffered.fault.kind].append(suffered)
    table = Table(box=None)
    for heading in ("fault", "times", "all moved after, at most", "on average", "longest pause"):
        table.add_column(heading, justify="left" if heading == "fault" else "right", no_wrap=True)
    for kind, of_kind in sorted(kinds.items()):
        moved = [suffered.moved_s for suffered in of_kind]
        pause_s = max(suffered.pause_s for suffered in of_kind)
        average_s = sum(moved) / len(moved)
        table.add_row(kind, str(len(of_kind)), f"{max(moved):.1f} s", f"{average_s:.1f} s", f"{pause_s:.1f} s")
    return table


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
