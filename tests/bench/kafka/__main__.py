"""`python -m tests.bench.kafka [--case NAME ...]`: one broker, all cases, one table."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from tests.bench.__main__ import table
from tests.bench.kafka import contest, latency, moving, restoring, scaling
from tests.bench.measuring import Result
from tests.kafka.cluster import Cluster

CASES: Mapping[str, Callable[[str], AsyncIterator[Result]]] = {
    "scaling": scaling.run,
    "moving": moving.run,
    "restore": restoring.run,
    "latency": latency.run,
}
ALL = (*contest.CASES, *CASES)


async def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.kafka", description=_DESCRIPTION)
    parser.add_argument("--case", action="append", choices=ALL, help="repeatable (all by default)")
    parser.add_argument("--times", type=int, default=3, help="runs of each tracker that is not slow (3)")
    parser.add_argument("--only", default="", metavar="PART", help="only trackers whose name has this in it")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="of our tracker, by py-spy: stacks and samples")
    parser.add_argument("--servers", metavar="HOST:PORT", help="of a broker that runs already")
    chosen = parser.parse_args(arguments)
    results: list[Result] = []
    async with _broker(chosen.servers) as servers:
        scores = {
            case: await contest.contest(servers, case, chosen.times, only=chosen.only, profile=chosen.profile)
            for case in contest.CASES
            if case in (chosen.case or ALL)
        }
        results += contest.results(scores)
        for name, run in CASES.items():
            if name in (chosen.case or ALL):
                async for result in run(servers):
                    beside = "" if result.ratio is None else f", {result.ratio:.3g} times {result.bare:.4g}"
                    said = f"{result.case}: {result.ours:,.4g} {result.unit}{beside} {result.note}"
                    print(said, file=sys.stderr, flush=True)
                    results.append(result)
    Console(width=None if sys.stdout.isatty() else 220).print(table(results))


_DESCRIPTION = (
    "Measure our trackers on a real Kafka beside others that do the same job.  CPU seconds of the process per million "
    "deltas unless a case says otherwise; medians over several runs.  Close to idle machines give the truest figures."
)


@asynccontextmanager
async def _broker(servers: str | None) -> AsyncIterator[str]:
    if servers is not None:
        yield servers
        return
    with TemporaryDirectory() as folder:
        async with Cluster(Path(folder)) as cluster:
            yield cluster.servers()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
