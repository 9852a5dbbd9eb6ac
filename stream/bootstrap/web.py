"""The API and the pages of a configuration: a replica that follows the log, and a server for what it knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

import structlog

from stream.bootstrap.logs import retention_ms
from stream.bootstrap.parts import Parts
from stream.bootstrap.roles import first_of
from stream.config.model import Config
from stream.config.platforms import Vmmanager
from stream.config.secrets import Secret
from stream.config.web import Web
from stream.core.errors import Misconfigured
from stream.replica import PlatformSettings, Replica, ReplicaSettings
from stream.runtime.operating import Operating
from stream.web.serving import Tls, serving
from stream.web.settings import AccessSettings, WebSettings

log_ = structlog.get_logger()

SETTING = "`--web HOST:PORT` or off, or listen: under web"
SLACK_MS = 600_000
"""What is so much later than it should be is a problem."""


class Shown(NamedTuple):
    replica: Replica
    url: str


@asynccontextmanager
async def shown(parts: Parts, *, beside: bool) -> AsyncIterator[Shown | None]:
    """A replica of the log that is followed, and served where the configuration says.  None: it says nowhere.

    `beside`: roles are at work in this process, which must not end because of what is wrong with the replica.
    """
    config, metrics = parts.config, parts.metrics
    web = config.web
    if web is None or web.listen is None:
        yield None
        return
    from stream.web.access import Access  # half a second that nobody else needs
    from stream.web.app import web_app

    settings = web_settings(config, web)
    settings.link_keys()  # wrong from the start: somebody is there to see it
    replica = Replica(parts.log, index=web.index, clock=parts.clock, settings=replica_settings(config))
    operating = Operating(parts.log, clock=parts.clock, max_ahead_ms=config.max_ahead)
    access = Access(settings.access, secure=settings.secure, clock=parts.clock)
    app = web_app(replica, operating, access, settings, clock=parts.clock, metrics=metrics.web)
    metrics.web.measure(lambda: replica.freshness().age_ms, lambda: replica.freshness().behind_ms)
    tls = None if web.tls is None else Tls(web.tls.cert_file, web.tls.key_file)
    stop = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(follow(replica, stop, beside=beside))
            try:
                async with serving(app, *web.listen, tls=tls, setting=SETTING) as url:
                    log_.info("web.listening", url=url)
                    yield Shown(replica, url)
            finally:
                stop.set()
    except BaseExceptionGroup as errors:
        raise first_of(errors) from errors


async def follow(replica: Replica, stop: asyncio.Event, *, beside: bool) -> None:
    """Until `stop`.  What somebody must mend ends it: beside roles it is said, else Misconfigured is raised."""
    try:
        await replica.follow(stop)
    except Misconfigured as error:
        if not beside:
            raise
        cure = "pages and API grow old; mend it and start this process again"
        log_.error("replica.failed", cause=str(error), cure=cure)


def web_section(config: Config) -> Web:
    """Raises Misconfigured if there is none."""
    if config.web is None:
        raise Misconfigured(f"{config.file}: there is no section `web`; write `web: {{}}` to have API and pages")
    return config.web


def web_settings(config: Config, web: Web) -> WebSettings:
    """What the web is told of the configuration; `web`: its section."""
    proxy = web.proxy
    access = AccessSettings(
        tokens_file=web.tokens_file,
        user_header=None if proxy is None else proxy.user_header,
        proxies=() if proxy is None else proxy.addresses,
        operators=frozenset(() if proxy is None else proxy.operators),
    )
    return WebSettings(
        access=access,
        public_url=web.public_url,
        secure=web.secure,
        link_keys=partial(_link_keys, web),
        frame_ancestors=web.frame_ancestors,
        timezone=web.timezone,
        shadow=config.shadow,
    )


def _link_keys(web: Web) -> Sequence[bytes]:
    return [Secret(file=file).read().encode() for file in web.link_key_files]


def replica_settings(config: Config) -> ReplicaSettings:
    """What a replica is told of the configuration."""
    return ReplicaSettings(
        shadow=config.shadow,
        platforms={name: _patience(platform) for name, platform in config.platforms.items()},
        plans=config.plans,
        mappings=config.mappings,
        retention_ms=retention_ms(config),
    )


def _patience(platform: Vmmanager) -> PlatformSettings:
    return PlatformSettings(
        patience_ms=2 * (platform.poll + platform.settle + platform.sampling) + SLACK_MS,
        shown_within_ms=platform.task_timeout + 2 * platform.reconcile,
    )
