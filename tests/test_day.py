"""A whole day of a hundred VMs over the month's end: real collector, trackers, enforcers, adapter, log; a bad platform.

Only time is warped, and the platform is the simulator in this process.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import httpx
import pytest

from stream.adapters.clock import WarpClock, run_warped
from stream.adapters.sqlite import SqliteLog
from stream.bootstrap import Parts, make_platform, work_together
from stream.config.model import Config
from stream.metrics import Metrics
from tests.day.books import ProvidersBooks
from tests.day.provider import CRASH_MS, DEADLINE_MS, END_MS, START_MS, STEP_MS, Provider, configure

SEEDS = (1,)
EFFECTS = ("unavailable", "unanswered", "lose_tokens", "server_error", "task_fails", "task_forgotten")
REASONS = ("registered", "exceeded", "reached", "stay_over", "period", "deregistered", "warning")
SLOWED = ("vpn", "both")
"""At the end; a new month is too young to be used up."""


async def one_life(
    config: Config, provider: Provider, clock: WarpClock, seed: int, until: int
) -> ProvidersBooks | None:
    """All roles on the log from its opening: until a power cut, or, after the day, until everything is settled."""
    assert config.log.path is not None
    log = await SqliteLog.open(config.log.path, clock=clock, exclusive=True, partitions=config.partitions, poll_s=None)
    metrics = Metrics(clock)
    transport = httpx.ASGITransport(app=provider.simulator)
    platform = make_platform("vm1", config.platforms["vm1"], clock, metrics, transport)
    parts = Parts(
        config=config, log=log, clock=clock, metrics=metrics, platforms={"vm1": platform}, random=random.Random(seed)
    )
    stop = asyncio.Event()
    roles = asyncio.create_task(work_together(parts, stop))
    try:
        await asyncio.wait({roles}, timeout=(until - clock.now()) / 1000)
        assert not roles.done(), f"seed {seed}: the roles ended: {roles.exception()}"
        if until < END_MS:
            return None
        books = await settled(ProvidersBooks(log, provider), clock)
        stop.set()
        await roles
        return books
    finally:
        await log.close()  # first of all: nothing that they do now reaches it
        roles.cancel()
        await asyncio.gather(roles, return_exceptions=True)
        await platform.close()


async def settled(books: ProvidersBooks, clock: WarpClock) -> ProvidersBooks:
    """The books once there are no mistakes left in them, or no time."""
    for instant in range(END_MS, DEADLINE_MS, STEP_MS):
        await asyncio.sleep((instant - clock.now()) / 1000)
        if not await books.compare():
            break
    return books


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_day_with_a_bad_platform_ends_with_every_byte_counted_and_every_limit_right(
    tmp_path: Path, seed: int
) -> None:
    """After 24 hours of trouble all bytes, outcomes and limits are those of the world and of the oracle."""

    async def day(clock: WarpClock) -> None:
        provider = Provider(seed, clock)
        config = configure(tmp_path, provider.simulator.access.password)
        events = asyncio.create_task(provider.live())
        await one_life(config, provider, clock, seed, CRASH_MS)
        books = await one_life(config, provider, clock, seed, END_MS)
        await events
        assert books is not None
        assert not books.mistakes, f"seed {seed}: {books.mistakes}"
        assert not missed(provider, books), f"seed {seed}: this day did not have {missed(provider, books)}"

    run_warped(day, start_ms=START_MS, grace_s=0.0)


def missed(provider: Provider, books: ProvidersBooks) -> set[str]:
    """What a day must have had to prove anything, and this one had not: faults, reasons, groups slowed at its end."""
    told = [outcome for outcomes in books.outcomes.values() for outcome in outcomes]
    reasons = {str(outcome.get("reason", outcome["type"])) for outcome in told}
    slowed = {
        provider.group[machine.id]
        for machine in provider.world.machines()
        if provider.world.limits(machine.id) != provider.original[machine.id]
    }
    by_service = {name: {outcome.get("reason") for outcome in outcomes} for name, outcomes in books.outcomes.items()}
    lives = {
        "appeared" if "registered" in by_service.get(f"vm1/{provider.appeared}", ()) else "",
        "deleted" if "deregistered" in by_service.get(f"vm1/{provider.deleted}", ()) else "",
    }
    return (
        {*EFFECTS, *REASONS, *SLOWED, "appeared", "deleted"} - provider.faults.struck.keys() - reasons - slowed - lives
    )
