"""A platform as the collector sees it: its settings, its rules, and what there is to be observed of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from stream.core.errors import Misconfigured
from stream.core.plan import Plan
from stream.ports import Platform
from stream.runtime.enrolment import Match
from stream.runtime.listings import Listings
from stream.runtime.publisher import PublisherObserver

Outcome: TypeAlias = Literal["ok", "no_data", "failed"]
Alarm: TypeAlias = Literal["unavailable", "short_list", "overrun"]

DAY_MS = 86_400_000
CURES: Mapping[Alarm, str] = {
    "unavailable": "nothing of this platform is counted until it answers; then all of it is made up for",
    "short_list": "nothing is deregistered; if they are gone for good, publish their deregistrations, then restart",
    "overrun": "allow more max_requests_per_second or concurrency, or poll less often",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectorSettings:
    """How one platform is polled.  Raises Misconfigured."""

    timezone: str
    """The platform's own: its local midnights are the anchors."""
    poll_s: float = 60.0
    settle_ms: int = 120_000
    """The newest numbers are left alone for so long."""
    final_after_ms: int = 6 * 3_600_000
    """Late numbers of a finished day are taken for so long."""
    reread_ms: int = 1_800_000
    gone_after_ms: int = DAY_MS
    keeps_ms: int = 400 * DAY_MS
    """How far back the platform has numbers."""
    month_check: bool = True
    """Compare the month with the platform's own figure once a day."""
    workers: int = 8
    """So many services are read at once."""

    def __post_init__(self) -> None:
        lengths = (self.poll_s, self.reread_ms, self.gone_after_ms, self.keeps_ms, self.workers)
        problems = []
        if min(lengths) <= 0 or min(self.settle_ms, self.final_after_ms) < 0:
            problems.append(
                "poll, reread, gone_after, keeps and workers must be above 0, settle and final_after not below"
            )
        if self.final_after_ms + self.reread_ms > 23 * 3_600_000:
            problems.append("final_after and reread together must be at most 23h: then the next day is over")
        if problems:
            raise Misconfigured(*problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A platform, and what the configuration says of it."""

    platform: Platform
    listings: Listings
    settings: CollectorSettings
    match: Match
    plans: Mapping[str, Plan]


@dataclass(slots=True)
class Cycle:
    """What came of a cycle, for metrics and pages.  Instants in ms."""

    listed_at: int = 0
    machines: int = 0
    services: int = 0
    unreadable: int = 0
    absent: int = 0
    behind: int = 0
    """Services that lie days behind: new ones, and after an outage."""
    failing: int = 0
    stalest_at: int = 0
    """The oldest last success of a service; 0: none was read yet."""
    seconds: float = 0.0
    complete: bool = False


class PollerObserver(PublisherObserver, Protocol):
    """What metrics want to know of polling."""

    def read(self, platform: str, outcome: Outcome) -> None:
        """One service and anchor."""
        ...

    def cycle(self, platform: str, cycle: Cycle) -> None:
        """Everything that was due is read, or has failed."""
        ...

    def alarm(self, platform: str, alarm: Alarm, raised: bool) -> None:
        """It begins, or it is over."""
        ...
