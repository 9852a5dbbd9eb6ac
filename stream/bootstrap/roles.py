"""The roles, each as something that runs until it is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from typing import Any

import orjson
import structlog

from stream.bootstrap.parts import Parts, make_site, make_source
from stream.core.errors import Unavailable
from stream.core.speed import Speed
from stream.core.view import Counted
from stream.ports import DELTAS, STATE, Log, Message, Role
from stream.runtime import partition, plans
from stream.runtime.checkpoint import check_partitions, load, until_counted
from stream.runtime.collector import Collector
from stream.runtime.comparison import Comparison
from stream.runtime.enforcer import Enforcer
from stream.runtime.listings import Listings
from stream.runtime.worker import work

log_ = structlog.get_logger()

RETRY_S = 1.0

ALL_ROLES: tuple[Role, ...] = ("tracker", "collector", "enforcer")


def tracking(parts: Parts, stop: asyncio.Event, until: Mapping[int, int] | None = None) -> Coroutine[Any, Any, None]:
    """The trackers of the assigned partitions; with `until` each reads up to that offset, and keeps its place."""
    settings = partition.TrackerSettings(
        checkpoint_every_s=parts.config.checkpoint / 1000,
        max_ahead_ms=parts.config.max_ahead,
        configured=plans.Configured(parts.config.plans, parts.config.mappings),
        accept_loss=parts.accept_loss,
    )

    async def serve(number: int, ended: asyncio.Event) -> None:
        end = None if until is None else until[number]
        await partition.own(
            parts.log,
            number,
            settings=settings,
            clock=parts.clock,
            observer=parts.metrics.tracker,
            stop=ended,
            until=end,
        )
        await ended.wait()  # still a member of the group: what others do not finish may come here

    return work("tracker", parts.log, serve, stop, parts.random, parts.metrics.assigned)


def collecting(parts: Parts, listings: Mapping[str, Listings], stop: asyncio.Event) -> Coroutine[Any, Any, None]:
    """The collector of all platforms."""

    async def known(number: int) -> Iterable[Counted]:
        return (await load(parts.log, number, parts.partition_of)).counted()

    async def report(number: int, compared: Sequence[Comparison], gone: Sequence[str]) -> None:
        await parts.log.append(STATE, number, comparison_records(compared, gone))

    sources = [make_source(parts.config, platform, listings[name]) for name, platform in parts.platforms.items()]
    collector = Collector(
        parts.log,
        sources,
        known,
        clock=parts.clock,
        rng=parts.random,
        observer=parts.metrics.collection,
        report=report,
        assigned=parts.metrics.assigned,
    )
    return collector.run(stop)


def enforcing(parts: Parts, listings: Mapping[str, Listings], stop: asyncio.Event) -> Coroutine[Any, Any, None]:
    """The enforcers of the assigned partitions."""

    async def due(number: int) -> Iterable[tuple[str, int, int, Speed]]:
        return (await load(parts.log, number, parts.partition_of)).due()

    enforcer = Enforcer(
        parts.log,
        [make_site(parts, platform, listings[name]) for name, platform in parts.platforms.items()],
        due,
        clock=parts.clock,
        rng=parts.random,
        observer=parts.metrics.enforcement,
    )

    def assigned(role: Role, partitions: frozenset[int]) -> None:
        enforcer.assigned(partitions)
        parts.metrics.assigned(role, partitions)

    return work("enforcer", parts.log, enforcer.serve, stop, parts.random, assigned)


def comparison_records(compared: Sequence[Comparison], gone: Sequence[str]) -> list[Message]:
    """The daily comparisons, one compacted record a service, beside the pages of `quota.state`; none of who is gone."""
    return [
        *(Message(f"comparison/{one.service}".encode(), orjson.dumps(one._asdict())) for one in compared),
        *(Message(f"comparison/{service}".encode(), None) for service in gone),
    ]


async def bring_plans(parts: Parts) -> None:
    """Put the configuration's plans in force, if it has any; those that are in the log stay otherwise."""
    if parts.config.plans:
        version = await plans.apply(parts.log, parts.config.plans, parts.config.mappings)
        log_.info("plans.in_force", version=version, plans=list(parts.config.plans))


async def work_together(parts: Parts, stop: asyncio.Event, roles: Collection[Role] = ALL_ROLES) -> None:
    """These roles until `stop`; what one of them cannot get over ends all of them, and is raised.

    Who has all roles brings the plans as well; a tracker alone knows them from the log.
    """
    await check_partitions(parts.log)
    if set(roles) == set(ALL_ROLES):
        await bring_plans(parts)
    listings = {name: Listings(platform) for name, platform in parts.platforms.items()}
    works = [tracking(parts, stop)] if "tracker" in roles else []
    if parts.platforms and "collector" in roles:
        works.append(collecting(parts, listings, stop))
    if parts.platforms and "enforcer" in roles:
        works.append(enforcing(parts, listings, stop))
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in works]
            for task in tasks:
                task.add_done_callback(lambda _: stop.set())
    except BaseExceptionGroup as errors:
        raise first_of(errors) from errors


async def drain(parts: Parts, roles: Collection[Role] = ALL_ROLES) -> None:
    """Track what is in the log now; return when all of it is counted, by this process or by others of its group."""
    await check_partitions(parts.log)
    if set(roles) == set(ALL_ROLES):
        await bring_plans(parts)
    ends = {number: (await parts.log.bounds(DELTAS, number))[1] for number in range(parts.log.partitions)}
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(tracking(parts, stop, ends))
            group.create_task(_stop_when_counted(parts.log, ends, stop))
    except BaseExceptionGroup as errors:
        raise first_of(errors) from errors


async def _stop_when_counted(log: Log, ends: Mapping[int, int], stop: asyncio.Event) -> None:
    for number, end in ends.items():
        while end:
            try:
                await until_counted(log, number, end)
                break
            except (Unavailable, TimeoutError) as error:
                log_.warning("drain.not_seen", partition=number, cause=str(error) or "no answer", retry_in_s=RETRY_S)
                await asyncio.sleep(RETRY_S)
    stop.set()


def first_of(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the others."""
    first = errors.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first
