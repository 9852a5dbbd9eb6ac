"""Where everything is put together: from a configuration to things that run.

`run` is for users; `Parts` and `work_together` are for those who bring a log, platforms or a clock of their own.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import orjson
import structlog

from stream import wire
from stream.adapters import systemd
from stream.adapters.clock import SystemClock
from stream.adapters.memory import MemoryLog
from stream.adapters.sqlite import SqliteLog
from stream.adapters.vmmanager import Credentials, LongLivedToken, Vmmanager, VmmanagerSettings
from stream.config import platforms
from stream.config.model import Config
from stream.core.brake import BrakeRule
from stream.core.enforcement import Rules, slower_speeds
from stream.core.errors import Misconfigured
from stream.core.speed import Speed
from stream.core.view import Counted
from stream.metrics import Metrics
from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, STATE, Clock, Log, Machine, Message, Platform
from stream.runtime import partition, plans
from stream.runtime.checkpoint import load
from stream.runtime.collector import Collector
from stream.runtime.comparison import Comparison
from stream.runtime.enforcer import Enforcer
from stream.runtime.enrolment import Enrolment, Match
from stream.runtime.listings import Listings
from stream.runtime.site import Pace, Site
from stream.runtime.source import CollectorSettings, Source
from stream.runtime.worker import work
from stream.web.health import health_app
from stream.web.serving import serving

log_ = structlog.get_logger()

UNREADY_AFTER_S = 120.0


@dataclass(slots=True, kw_only=True)
class Parts:
    """What one process is made of."""

    config: Config
    log: Log
    clock: Clock
    metrics: Metrics
    platforms: Mapping[str, Platform] = field(default_factory=dict)
    random: random.Random = field(default_factory=random.Random)

    def partition_of(self, service: str) -> int:
        return wire.partition_of(service, self.log.partitions)


# ---------------------------------------------------------------- the log


@asynccontextmanager
async def open_log(config: Config, *, create: bool = False) -> AsyncGenerator[Log, None]:
    """The log, for commands that work beside a running `run`.  `create`: make it if it is not there."""
    path = config.log.path
    if path is None:
        raise Misconfigured(f"{config.file}: no other command sees a log in memory; write log: sqlite:quota-stream.db")
    if not create and not path.exists():
        raise Misconfigured(f"{path}: there is no log yet; `quota-stream run` or `quota-stream publish` makes it")
    log = await _open_sqlite(config, SystemClock(), exclusive=False)
    try:
        yield log
    finally:
        await log.close()


async def _open_sqlite(config: Config, clock: Clock, *, exclusive: bool) -> SqliteLog:
    kept = config.retention
    retention_ms = {DELTAS: kept.deltas, CHANGES: kept.changes, DEAD_LETTERS: kept.dead_letters}
    path = config.log.path
    assert path is not None
    partitions = None if path.exists() else config.partitions  # an existing log keeps its own
    return await SqliteLog.open(
        path, clock=clock, exclusive=exclusive, partitions=partitions, retention_ms=retention_ms
    )


@asynccontextmanager
async def own_log(config: Config, clock: Clock) -> AsyncIterator[Log]:
    """The log as its one `run` holds it.  Raises InUse when another process has it."""
    log: SqliteLog | MemoryLog
    if config.log.path is None:
        log = MemoryLog(clock=clock, partitions=config.partitions)
    else:
        log = await _open_sqlite(config, clock, exclusive=True)
        if log.partitions != config.partitions:
            log_.warning("log.partitions_kept", log=str(config.log), has=log.partitions, configured=config.partitions)
    try:
        yield log
    finally:
        await log.close()


# ---------------------------------------------------------------- platforms


def make_platform(
    name: str,
    settings: platforms.Vmmanager,
    clock: Clock,
    metrics: Metrics,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Vmmanager:
    """The adapter of one configured platform; `transport` leads elsewhere than its URL."""
    return Vmmanager(
        name,
        client_settings(settings),
        client_secret(settings),
        clock=clock,
        observe=metrics.platforms.requested,
        transport=transport,
    )


def client_settings(settings: platforms.Vmmanager) -> VmmanagerSettings:
    """What the adapter is to know of a platform."""
    return VmmanagerSettings(
        url=settings.url,
        timezone=str(settings.timezone),
        sampling_ms=settings.sampling,
        stamp=settings.stamp,
        unlimited=settings.unlimited,
        timeout_s=settings.timeout / 1000,
        suspended_s=settings.suspended / 1000,
        concurrency=settings.concurrency,
        max_requests_per_second=settings.max_requests_per_second,
        ca_file=settings.ca_file,
        verify=settings.verify,
    )


def client_secret(settings: platforms.Vmmanager) -> Credentials | LongLivedToken:
    """How the adapter logs in."""
    if settings.email is None:
        return LongLivedToken(settings.secret.read, place=str(settings.secret))
    return Credentials(email=settings.email, password=settings.secret.read, place=str(settings.secret))


def make_match(config: Config, platform: str) -> Match:
    """What the configured rules say of a platform's machines."""
    labels = config.platforms[platform].labels

    def match(machine: Machine) -> Enrolment | None:
        rule = config.services.match(machine, platform)
        if rule is None:
            return None
        told = {label: ",".join(machine.attributes.get(label, ())) for label in labels}
        return Enrolment(rule.plans, rule.quota, rule.anchor_day, {key: text for key, text in told.items() if text})

    return match


def make_source(config: Config, platform: Platform, listings: Listings) -> Source:
    """A platform as the collector sees it."""
    settings = config.platforms[platform.name]
    keeps = {} if settings.keeps is None else {"keeps_ms": settings.keeps}
    polled = CollectorSettings(
        timezone=str(settings.timezone),
        poll_s=settings.poll / 1000,
        settle_ms=settings.settle,
        final_after_ms=settings.final_after,
        reread_ms=settings.reread,
        gone_after_ms=settings.gone_after,
        month_check=settings.month_check,
        workers=settings.concurrency,
        **keeps,
    )
    match = make_match(config, platform.name)
    return Source(platform=platform, listings=listings, settings=polled, match=match, plans=config.plans)


def make_site(parts: Parts, platform: Platform, listings: Listings) -> Site:
    """A platform as the enforcers see it."""
    settings = parts.config.platforms[platform.name]
    brake = settings.max_slowed_at_once
    return Site(
        platform,
        listings,
        Rules(
            express=platform.express,
            slower=slower_speeds(parts.config.plans.values()),
            adopt=tuple(f"{platform.name}/{glob}" for glob in settings.adopt),
            foreign=settings.foreign,
        ),
        brake=BrakeRule(percent=brake.percent, at_least=brake.least, within_ms=brake.within),
        pace=Pace(
            reconcile_s=settings.reconcile / 1000,
            task_poll_s=settings.task_poll / 1000,
            task_timeout_s=settings.task_timeout / 1000,
            call_s=(settings.suspended + settings.timeout) / 1000 + 30,
            concurrency=settings.concurrency,
        ),
        shadow=parts.config.shadow,
        rng=parts.random,
        observer=parts.metrics.enforcement,
    )


# ---------------------------------------------------------------- roles


def tracking(parts: Parts, stop: asyncio.Event, until: Mapping[int, int] | None = None) -> Coroutine[Any, Any, None]:
    """The trackers of the assigned partitions; with `until` each ends when it has read up to that offset."""
    settings = partition.TrackerSettings(
        checkpoint_every_s=parts.config.checkpoint / 1000,
        max_ahead_ms=parts.config.max_ahead,
        plans=parts.config.plans,
    )

    async def serve(number: int, ended: asyncio.Event) -> None:
        end = None if until is None else until[number]
        await partition.own(parts.log, number, settings=settings, observer=parts.metrics.tracker, stop=ended, until=end)

    return work("tracker", parts.log, serve, stop, parts.random)


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
    return work("enforcer", parts.log, enforcer.serve, stop, parts.random)


def comparison_records(compared: Sequence[Comparison], gone: Sequence[str]) -> list[Message]:
    """The daily comparisons, one compacted record a service, beside the pages of `quota.state`; none of who is gone."""
    return [
        *(Message(f"comparison/{one.service}".encode(), orjson.dumps(one._asdict())) for one in compared),
        *(Message(f"comparison/{service}".encode(), None) for service in gone),
    ]


async def bring_plans(parts: Parts) -> None:
    """Put the configuration's plans in force, if it has any; those that are in the log stay otherwise."""
    if parts.config.plans:
        version = await plans.apply(parts.log, parts.config.plans)
        log_.info("plans.in_force", version=version, plans=list(parts.config.plans))


async def work_together(parts: Parts, stop: asyncio.Event) -> None:
    """All roles until `stop`; what one of them cannot get over ends all of them, and is raised."""
    await bring_plans(parts)
    listings = {name: Listings(platform) for name, platform in parts.platforms.items()}
    roles = [tracking(parts, stop)]
    if parts.platforms:
        roles += [collecting(parts, listings, stop), enforcing(parts, listings, stop)]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(role) for role in roles]
            for task in tasks:
                task.add_done_callback(lambda _: stop.set())
    except BaseExceptionGroup as errors:
        raise _first(errors) from errors


async def drain(parts: Parts) -> None:
    """Track what is in the log now, then return."""
    await bring_plans(parts)
    ends = {number: (await parts.log.bounds(DELTAS, number))[1] for number in range(parts.log.partitions)}
    await tracking(parts, asyncio.Event(), ends)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


# ---------------------------------------------------------------- commands


async def run(config: Config, *, drain: bool) -> None:
    """All roles in this process until SIGTERM or SIGINT; with `drain` until what is in the log is worked off."""
    clock = SystemClock()
    metrics = Metrics(clock)
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(own_log(config, clock))
        parts = Parts(config=config, log=log, clock=clock, metrics=metrics)
        if isinstance(log, SqliteLog):
            metrics.measure_log(log.size_bytes)
        if drain:
            await _drain(parts)
            return
        for settings in config.platforms.values():
            client_secret(settings).read()  # wrong from the start: somebody is there to see it
        parts.platforms = {
            name: make_platform(name, settings, clock, metrics) for name, settings in config.platforms.items()
        }
        for platform in parts.platforms.values():
            stack.push_async_callback(platform.close)
        if config.listen is not None:
            app = health_app(metrics, lambda: metrics.tracker.problems(UNREADY_AFTER_S))
            url = await stack.enter_async_context(serving(app, config.listen.host, config.listen.port))
            log_.info("listening", url=url)
        await _run(parts)


_drain = drain


async def _run(parts: Parts) -> None:
    """The roles, and what the operating system wants to hear of them."""
    stop = asyncio.Event()
    with _signals(stop):
        telling = [asyncio.create_task(_announce(parts)), asyncio.create_task(_feed_watchdog())]
        try:
            await work_together(parts, stop)
        finally:
            systemd.notify("STOPPING=1")
            for task in telling:
                task.cancel()
    log_.info("stopped")


async def _announce(parts: Parts) -> None:
    """Say that it is ready once every partition is restored."""
    await parts.metrics.tracker.all_restored(parts.log.partitions)
    systemd.notify("READY=1")
    log_.info("started", platforms=list(parts.platforms), partitions=parts.log.partitions, shadow=parts.config.shadow)


async def _feed_watchdog() -> None:
    every_s = systemd.watchdog_s()
    while every_s is not None:
        systemd.notify("WATCHDOG=1")
        await asyncio.sleep(every_s)


class _signals:
    """Within it SIGTERM and SIGINT set the event; a second one has its usual effect."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def __enter__(self) -> None:
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopping, number)

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.remove_signal_handler(number)

    def _stopping(self, number: signal.Signals) -> None:
        log_.info("stopping", signal=signal.Signals(number).name)
        self._stop.set()
        self._loop.remove_signal_handler(number)
