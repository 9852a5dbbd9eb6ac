"""`python -m tests.soak days|http`: a long run with its time warped, then a table and a verdict.

Exit status 0 if every byte is counted once, memory and file stay flat, and it starts again quickly.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import structlog

from stream.adapters.clock import WarpClock, run_warped
from tests.soak import days, http
from tests.soak.diary import Diary, Size


class Soak(NamedTuple):
    run: Callable[[Size, WarpClock, Path, Diary], Coroutine[Any, Any, None]]
    size: Size
    start_ms: int
    title: str


SOAKS: Mapping[str, Soak] = {
    "days": Soak(days.run, Size(30, 5_000), days.START_MS, "services at five minutes"),
    "http": Soak(http.run, Size(7, 50), http.START_MS, "VMs over HTTP"),
}


def soak(name: str, size: Size, folder: Path) -> Diary:
    chosen = SOAKS[name]
    diary = Diary(f"{size.days} days of {size.services:,} {chosen.title}, seed {size.seed}", size.days)
    # Both ends of each socket are in this loop, so nothing is under way while it is idle.
    run_warped(lambda clock: chosen.run(size, clock, folder, diary), start_ms=chosen.start_ms, grace_s=0.0)
    return diary


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("name", choices=SOAKS, help="; ".join(f"{name}: {one.title}" for name, one in SOAKS.items()))
    parser.add_argument("--days", type=int)
    parser.add_argument("--services", type=int)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    usual = SOAKS[chosen.name].size
    size = Size(chosen.days or usual.days, chosen.services or usual.services, chosen.seed)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with TemporaryDirectory() as folder:
        return soak(chosen.name, size, Path(folder)).close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
