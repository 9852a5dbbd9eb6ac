"""One process that serves: its roles, its metrics, and what the operating system wants to hear of it."""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

import structlog

from stream.adapters import systemd
from stream.adapters.clock import SystemClock
from stream.adapters.sqlite import SqliteLog
from stream.bootstrap.logs import open_log, own_log
from stream.bootstrap.notifying import notifying
from stream.bootstrap.parts import Parts, client_secret, make_platform
from stream.bootstrap.roles import ALL_ROLES, drain, work_together
from stream.bootstrap.web import shown, web_section
from stream.config.model import Config
from stream.config.web import PORT
from stream.core.errors import Misconfigured
from stream.metrics import Metrics
from stream.ports import Role
from stream.replica import Replica
from stream.runtime import lag
from stream.web.health import health_app
from stream.web.serving import serving

log_ = structlog.get_logger()

UNREADY_AFTER_S = 120.0


async def run(
    config: Config, *, roles: Collection[Role] = ALL_ROLES, drained: bool = False, accept_loss: bool = False
) -> None:
    """These roles in this process until SIGTERM or SIGINT; `drained`: until what is in the log is worked off."""
    _check_roles(config, roles)
    _use_all_files()
    collect_rarely()
    clock = SystemClock()
    metrics = Metrics(clock)
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(own_log(config, clock))
        parts = Parts(config=config, log=log, clock=clock, metrics=metrics, accept_loss=accept_loss)
        if isinstance(log, SqliteLog):
            metrics.measure_log(log.size_bytes, log.free_bytes)
        if drained:
            await drain(parts, roles)
            return
        if set(roles) != {"tracker"}:
            await _bring_platforms(parts, stack)
        await stack.enter_async_context(_measured(parts, lambda: _problems(metrics, roles)))
        if set(roles) == set(ALL_ROLES):
            web = await stack.enter_async_context(shown(parts, beside=True))
            await stack.enter_async_context(notifying(parts, web and web.replica))
        await _run(parts, roles)


async def serve(config: Config) -> None:
    """The API and the pages in this process, beside whatever else works on the log, until SIGTERM or SIGINT."""
    if web_section(config).listen is None:
        raise Misconfigured(f"{config.file}: under web, listen is off; write `listen: 127.0.0.1:{PORT}`, or use --web")
    _use_all_files()
    collect_rarely()
    clock = SystemClock()
    metrics = Metrics(clock)
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(open_log(config))
        parts = Parts(config=config, log=log, clock=clock, metrics=metrics)
        web = await stack.enter_async_context(shown(parts, beside=False))
        assert web is not None, "the configuration says where"
        if config.log.kind == "kafka":  # else `run` tells
            await stack.enter_async_context(notifying(parts, web.replica))
        await stack.enter_async_context(_measured(parts, lambda: _unread(web.replica)))
        stop = asyncio.Event()
        with _signals(stop):
            async with _telling(parts, web.replica.caught_up):
                await stop.wait()
    log_.info("stopped")


@asynccontextmanager
async def _measured(parts: Parts, problems: Callable[[], Mapping[str, str]]) -> AsyncIterator[None]:
    """Metrics and health, where the configuration says."""
    listen, metrics = parts.config.listen, parts.metrics
    if listen is None:
        yield
        return
    app = health_app(metrics, problems, partial(lag.look, parts.log, metrics.tracker))
    async with serving(app, *listen) as url:
        log_.info("listening", url=url)
        yield


def _use_all_files() -> None:
    """Each partition on Kafka takes several connections: 64 of them more than the 1,024 files that most systems allow
    at first, and less than they allow to whoever asks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # then with as many as there are
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def collect_rarely() -> None:
    """Records and deltas are made by the thousand and are in no cycles; looking for cycles after each 700 of them, as
    Python does, took a quarter of the CPU of reading single deltas.  Tasks and errors do make cycles."""
    gc.set_threshold(50_000, 20, 100)


def _check_roles(config: Config, roles: Collection[Role]) -> None:
    """Raises Misconfigured for a role alone where it cannot be."""
    if set(roles) == set(ALL_ROLES):
        return
    if config.log.kind != "kafka":
        raise Misconfigured(
            f"{config.file}: the log is {config.log}, on which one process does everything: use `quota-stream run`; "
            "several processes need log: kafka://HOST:9092"
        )
    if "tracker" not in roles and not config.platforms:
        raise Misconfigured(f"{config.file}: there are no platforms, so there is nothing to do; add one")


async def _bring_platforms(parts: Parts, stack: AsyncExitStack) -> None:
    for settings in parts.config.platforms.values():
        client_secret(settings).read()  # wrong from the start: somebody is there to see it
    parts.platforms = {
        name: make_platform(name, settings, parts.clock, parts.metrics)
        for name, settings in parts.config.platforms.items()
    }
    for platform in parts.platforms.values():
        stack.push_async_callback(platform.close)


def _problems(metrics: Metrics, roles: Collection[Role]) -> dict[str, str]:
    return metrics.tracker.problems(UNREADY_AFTER_S) if "tracker" in roles else {}


def _unread(replica: Replica) -> dict[str, str]:
    known = replica.freshness()
    if known.as_of is not None:
        return {}
    return {"replica": f"read to its end so far: {known.restored} of {known.partitions} partitions"}


async def _run(parts: Parts, roles: Collection[Role]) -> None:
    """The roles, and what the operating system wants to hear of them.  A tracker is ready when every partition that is
    assigned to it is restored."""
    stop = asyncio.Event()

    async def ready() -> None:
        if "tracker" in roles:
            await parts.metrics.tracker.all_restored()

    with _signals(stop):
        async with _telling(parts, ready):
            await work_together(parts, stop, roles)
    log_.info("stopped")


@asynccontextmanager
async def _telling(parts: Parts, ready: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Tell the operating system when it is ready, that it lives, and when it ends."""
    telling = [asyncio.create_task(_announce(parts, ready)), asyncio.create_task(_feed_watchdog())]
    try:
        yield
    finally:
        systemd.notify("STOPPING=1")
        for task in telling:
            task.cancel()


async def _announce(parts: Parts, ready: Callable[[], Awaitable[None]]) -> None:
    await ready()
    systemd.notify("READY=1")
    shadow = parts.config.shadow
    log_.info("started", platforms=list(parts.platforms), partitions=parts.log.partitions, shadow=shadow)


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
