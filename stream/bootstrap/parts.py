"""From a configuration to its platforms, as the adapter, the collector and the enforcers want them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from stream import wire
from stream.adapters.vmmanager import Credentials, LongLivedToken, Vmmanager, VmmanagerSettings
from stream.config import platforms
from stream.config.model import Config
from stream.core.brake import BrakeRule
from stream.core.enforcement import Rules, slower_speeds
from stream.metrics import Metrics
from stream.ports import Clock, Log, Machine, Platform
from stream.runtime.enrolment import Enrolment, Match
from stream.runtime.listings import Listings
from stream.runtime.site import Pace, Site
from stream.runtime.source import CollectorSettings, Source


@dataclass(slots=True, kw_only=True)
class Parts:
    """What one process is made of."""

    config: Config
    log: Log
    clock: Clock
    metrics: Metrics
    platforms: Mapping[str, Platform] = field(default_factory=dict)
    random: random.Random = field(default_factory=random.Random)
    accept_loss: bool = False
    """Trackers go on where the log begins, although it no longer has all that is to be counted."""

    def partition_of(self, service: str) -> int:
        return wire.partition_of(service, self.log.partitions)


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
        dated=metrics.platforms.dated,
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
