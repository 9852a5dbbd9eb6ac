"""`python -m tests.bench.web`: a million services, 20 requests a second, 200 live pages, beside a running tracker."""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from rich.console import Console

from tests.bench.__main__ import table
from tests.bench.measuring import Result
from tests.bench.traffic import name_of

PER_SECOND = 20
LIVE_PAGES = 200
TARGETS = {"service": 50, "search": 100}
"""Milliseconds, p99."""


def asked(services: int, rng: random.Random) -> Iterator[tuple[str, str]]:
    """(kind, path) for ever: pages and API, services and searches of all kinds."""
    while True:
        name = name_of(rng.randrange(services))
        yield "service", f"/services/{name}"
        yield "search", f"/services?q={name[:-2]}"
        yield "service", f"/api/v1/services/{name}"
        yield "search", f"/services?q={name.partition('/')[2][:3]}&sort=usage&descending=1"
        yield "service", f"/services/{name}"
        yield "search", f"/services?sort={rng.choice(['usage', 'changed', 'speed'])}&page={rng.randrange(1, 9000)}"
        yield "service", f"/api/v1/services/{name}"
        yield "search", "/services?plan=vpn&profile=default&sort=counted_to"


@asynccontextmanager
async def process(*words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """One of ours; it ends with its standard input."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 20
    )
    try:
        yield running
    finally:
        assert running.stdin is not None
        running.stdin.close()
        await running.wait()


async def line(running: asyncio.subprocess.Process) -> Any:
    assert running.stdout is not None
    told = await running.stdout.readline()
    assert told, "it has ended"
    return json.loads(told) if told.startswith(b"{") else told


async def ask(client: httpx.AsyncClient, services: int, seconds: float) -> Mapping[str, Sequence[float]]:
    """Milliseconds by kind, from when a request is due to when all of its answer is there."""
    taken: defaultdict[str, list[float]] = defaultdict(list)
    paths, began_s = asked(services, random.Random(1)), time.perf_counter()

    async def one(kind: str, path: str, due_s: float) -> None:
        answer = await client.get(path)
        assert answer.status_code == 200, (path, answer.status_code, answer.text[:200])
        taken[kind].append((time.perf_counter() - due_s) * 1000)

    async with asyncio.TaskGroup() as group:
        for number in range(round(seconds * PER_SECOND)):
            due_s = began_s + number / PER_SECOND
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            group.create_task(one(*next(paths), due_s))
    return taken


async def listen(client: httpx.AsyncClient, heard: list[int]) -> None:
    """A live page."""
    async with client.stream("GET", "/api/v1/events") as answer:
        async for text in answer.aiter_lines():
            heard[0] += text.startswith("event: state")


async def measure(services: int, seconds: float) -> list[Result]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        tracking = await stack.enter_async_context(
            process("tests.bench.web.tracking", str(Path(folder) / "q.db"), str(services))
        )
        await line(tracking)
        draining = asyncio.create_task(drain(tracking))
        showing = await stack.enter_async_context(process("tests.bench.web.showing", folder))
        found, followed = await line(showing), await line(showing)
        assert found["services"] == services
        limits = httpx.Limits(max_connections=None)
        headers = {"Authorization": f"Bearer {found['token']}"}
        client = await stack.enter_async_context(
            httpx.AsyncClient(base_url=found["url"], headers=headers, limits=limits, timeout=60.0)
        )
        await ask(client, services, 3.0)
        alone = await ask(client, services, seconds)
        heard = [0]
        pages = [asyncio.create_task(listen(client, heard)) for _ in range(LIVE_PAGES)]
        await ask(client, services, 5.0)  # until all are there
        live = await ask(client, services, seconds)
        for page in pages:
            page.cancel()
        await asyncio.wait(pages)
        draining.cancel()
    return [*_cost(services, found, followed), *_times(alone, ""), *_times(live, f", {LIVE_PAGES} live pages"),
            Result("web", "events heard by a live page", heard[0] / LIVE_PAGES / seconds, "a second")]  # fmt: skip


async def drain(running: asyncio.subprocess.Process) -> None:
    """So that it is not held up by what it tells."""
    while True:
        await line(running)


def _cost(services: int, found: Mapping[str, Any], followed: Mapping[str, Any]) -> Iterator[Result]:
    yield Result("web", f"memory, {services:,} services", followed["bytes_each"], "bytes a service", target="<= 300")
    yield Result("web", "following, every service polled once a minute", followed["follow_cpu_s"], "s CPU a minute")
    yield Result("web", "reading it all at the start", found["read_s"], "s")
    for what, told in (("reading it all", found), ("following", followed)):
        case = f"{what}, longest that nobody else had a turn"
        yield Result("web", case, told["longest_ms"], "ms CPU", target="<= 100")


def _times(taken: Mapping[str, Sequence[float]], beside: str) -> Iterator[Result]:
    for kind, target in TARGETS.items():
        times = sorted(taken[kind])
        p99, median = times[int(0.99 * (len(times) - 1))], times[len(times) // 2]
        note = f"median {median:.0f}, longest {times[-1]:.0f}, of {len(times)}"
        case = f"{kind}, p99 at {PER_SECOND} requests/s on one core{beside}"
        yield Result("web", case, p99, "ms", target=f"<= {target}", note=note)


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.web", description=__doc__)
    parser.add_argument("--services", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each of the two stretches")
    chosen = parser.parse_args(arguments)
    results = asyncio.run(measure(chosen.services, chosen.seconds))
    Console(width=None if sys.stdout.isatty() else 160).print(table(results))


if __name__ == "__main__":
    main(sys.argv[1:])
