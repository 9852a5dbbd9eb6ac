"""`python -m tests.bench.kafka [--case NAME ...]`: one broker, all cases, one table."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from tests.bench.__main__ import _table
from tests.bench.kafka import contest
from tests.bench.measuring import Result
from tests.kafka.cluster import Cluster


async def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.kafka", description=__doc__)
    parser.add_argument("--case", action="append", choices=["batches", "singles"])
    parser.add_argument("--servers", help="of a broker that runs already")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--only", default="")
    chosen = parser.parse_args(arguments)
    results: list[Result] = []
    async with broker(chosen.servers) as servers:
        scores = {
            form: await contest.contest(servers, form, chosen.times, chosen.only)
            for form in contest.ROUNDS
            if form in (chosen.case or contest.ROUNDS)
        }
        results += contest.results(scores)
    Console(width=None if sys.stdout.isatty() else 160).print(_table(results))


@asynccontextmanager
async def broker(servers: str | None) -> AsyncIterator[str]:
    if servers is not None:
        yield servers
        return
    with TemporaryDirectory() as folder:
        async with Cluster(Path(folder)) as cluster:
            yield cluster.servers()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
