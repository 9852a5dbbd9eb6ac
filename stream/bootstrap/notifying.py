"""Who is told of what happens: the receiver of a configuration, and the notifiers that tell it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import structlog

from stream.adapters.command import Command
from stream.adapters.sqlite import SqliteLog
from stream.adapters.webhook import Webhook
from stream.bootstrap.parts import Parts
from stream.bootstrap.roles import first_of
from stream.bootstrap.web import follow, replica_settings
from stream.config.model import Config
from stream.config.notify import Notify
from stream.config.secrets import Secret
from stream.core.errors import Misconfigured
from stream.core.notices import Notice
from stream.ports import Clock, Receiver
from stream.replica import Replica
from stream.runtime.notifier import Notifier
from stream.runtime.worker import work
from stream.wire import encode_notice

log_ = structlog.get_logger()

LEAST_FREE_BYTES = 512 << 20
"""Less room on the disk of the embedded log is an alarm."""


def make_receiver(notify: Notify, clock: Clock) -> Receiver:
    """Raises Misconfigured."""
    webhook = notify.webhook
    if webhook is None:
        return Command(notify.command, timeout_s=notify.timeout / 1000)
    secret = Secret(file=webhook.secret_file)
    secret.read()  # wrong from the start: somebody is there to see it
    return Webhook(webhook.url, secret.read, clock=clock, timeout_s=webhook.timeout / 1000, ca_file=webhook.ca_file)


@asynccontextmanager
async def notifying(parts: Parts, replica: Replica | None) -> AsyncIterator[None]:
    """Notifiers are at work within it, where the configuration says so; `replica`: one that is followed, if any."""
    notify, stop = parts.config.notify, asyncio.Event()
    if notify is None:
        yield
        return
    kinds = {"alarm"} & set(notify.events) if parts.config.shadow else set(notify.events)
    try:
        async with AsyncExitStack() as stack:
            receiver = make_receiver(notify, parts.clock)
            stack.push_async_callback(receiver.close)
            group = await stack.enter_async_context(asyncio.TaskGroup())
            stack.callback(stop.set)
            if replica is None and "alarm" in kinds:
                settings = replace(replica_settings(parts.config), history=False)
                replica = Replica(parts.log, index=None, clock=parts.clock, settings=settings)
                group.create_task(follow(replica, stop, beside=True))
            notifier = Notifier(
                parts.log,
                receiver,
                _problems(parts, replica) if replica is not None and "alarm" in kinds else None,
                kinds=kinds,
                alarm_after_ms=notify.alarm_after,
                clock=parts.clock,
                rng=parts.random,
                observer=parts.metrics.notices,
            )
            group.create_task(work("notifier", parts.log, notifier.serve, stop, parts.random, parts.metrics.assigned))
            yield
    except BaseExceptionGroup as errors:
        raise first_of(errors) from errors


def _problems(parts: Parts, replica: Replica) -> Callable[[], Mapping[str, str] | None]:
    """What a replica finds wrong, and what only this machine knows; None before the replica knows anything."""

    def found() -> Mapping[str, str] | None:
        if replica.freshness().as_of is None:
            return None
        problems = {problem.id: problem.text for problem in replica.problems()}
        if isinstance(parts.log, SqliteLog) and (free := parts.log.free_bytes()) < LEAST_FREE_BYTES:
            problems["disk"] = f"{free >> 20} MiB are left on the disk of the log; make room before nothing is counted"
        return problems

    return found


async def tell_test(config: Config, clock: Clock) -> None:
    """Send one event that says nothing.  Raises Misconfigured, Unavailable, Refused."""
    if config.notify is None:
        raise Misconfigured(f"{config.file}: there is no section `notify`; write `notify: {{webhook: ...}}` first")
    receiver = make_receiver(config.notify, clock)
    try:
        now = clock.now()
        await receiver.deliver(encode_notice(Notice("test", "quota-stream/notifier", f"test/{now}", now, "test", {})))
    finally:
        await receiver.close()
