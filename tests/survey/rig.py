"""A simulated platform, a configuration of it, and a survey of both in warped time."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import httpx

from stream.adapters.clock import WarpClock, run_warped
from stream.config.load import loads
from stream.config.model import Config
from stream.simulator import Faults, Knobs, Simulator, World, create_app
from stream.survey import Survey, survey
from stream.survey.findings import Finding, PlatformReport

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
PASSWORD = "correct horse"
NOW = 1_773_565_387_000
"""2026-03-15 09:03:07 UTC: winter in Berlin, since October."""

TEXT = """\
log: "memory:"
platforms:
  vm1:
    type: vmmanager
    url: http://vm1
    timezone: Europe/Berlin
    email: admin@example.com
    password_env: VM1_PASSWORD
    max_requests_per_second: 1000
"""
PLANS = """\
plans:
  month:
    window: {calendar: month, timezone: Europe/Berlin}
    on_change: keep
    profiles:
      full: {speed: original, quota: 1 TiB, down: slow}
      slow: {speed: 10 Mbit/s, stay: period, up: full}
"""
RULES = """\
services:
  - {match: {platform: vm1}, plans: [month]}
"""


def config(*settings: str, rules: str = RULES, plans: str = PLANS) -> Config:
    """One platform with these settings beside those that it must have."""
    text = TEXT + "".join(f"    {line}\n" for line in settings) + plans + rules
    overridden = {line.partition(":")[0] for line in settings}
    kept = [line for line in TEXT.splitlines() if line.strip().partition(":")[0] not in overridden]
    return loads(text.replace(TEXT, "\n".join(kept) + "\n"), Path("/etc/quota-stream/quota-stream.yaml"))


@dataclass
class Rig:
    """What a test may change before the survey, and look at after it."""

    world: World
    app: Simulator
    transport: httpx.AsyncBaseTransport
    now: int


Setting = Callable[[Rig], None]


def some(rig: Rig, *, days: int = 40) -> None:
    """Four machines of different ages with traffic that varies; one of them without a limit."""
    for number in range(4):
        since = rig.now - days * DAY - number * 7 * DAY - number * HOUR
        rig.world.create(habit="steady", limits=(100, None if number == 3 else 100), since=since)


def old(rig: Rig) -> None:
    """As `some`, and old enough for both halves of a year."""
    some(rig, days=300)


def surveyed(
    knobs: Knobs | None = None,
    settled: Config | None = None,
    populate: Setting = some,
    *,
    step_ms: int = 5 * MINUTE,
    watch: bool = True,
    most_judged: int = 3,
    wrap: Callable[[httpx.AsyncBaseTransport], httpx.AsyncBaseTransport] = lambda inner: inner,
    now: int = NOW,
    ahead_ms: int = 0,
) -> tuple[Survey, Rig]:
    """Survey a platform of these knobs, whose clock is ahead by so much, with that configuration."""

    async def main(clock: WarpClock) -> tuple[Survey, Rig]:
        world = World(lambda: clock.now() + ahead_ms, seed=3, step_ms=step_ms)
        app = create_app(world, knobs or Knobs(), Faults(3), password=PASSWORD)
        rig = Rig(world, app, wrap(httpx.ASGITransport(app=app)), now)
        populate(rig)
        transports = {"vm1": rig.transport}
        found = await survey(
            settled or config(), watch=watch, most_judged=most_judged, clock=clock, transports=transports
        )
        return found, rig

    return run_warped(main, start_ms=now, grace_s=0.0)


def finding(report: PlatformReport, topic: str) -> Finding:
    """The only one of that topic."""
    found = [one for one in report.findings if one.topic == topic]
    assert len(found) == 1, (topic, report.findings)
    return found[0]


class Dated(httpx.AsyncBaseTransport):
    """A platform whose replies say when they were made, by a clock that is wrong by so much."""

    def __init__(self, inner: httpx.AsyncBaseTransport, clock: Callable[[], int], ahead_ms: int) -> None:
        self._inner = inner
        self._clock = clock
        self._ahead_ms = ahead_ms

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        response.headers["date"] = formatdate((self._clock() + self._ahead_ms) / 1000, usegmt=True)
        return response


class Broken(httpx.AsyncBaseTransport):
    """No connection comes about, for this reason."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(self._reason)


class Running(httpx.AsyncBaseTransport):
    """A platform that also shows the step that is not over, with what there is of it so far."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self._seen = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        if request.url.path.endswith("/metrics"):
            reply = json.loads(await response.aread())
            points = reply[0]["datapoints"] if reply else []
            seen = [place for place, (value, _) in enumerate(points) if value is not None]
            if seen and seen[-1] + 1 < len(points):
                self._seen += 1000
                points[seen[-1] + 1][0] = float(self._seen)
            return httpx.Response(200, json=reply)
        return response
