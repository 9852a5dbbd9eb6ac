"""Which of a platform's machines are services of ours: what a list makes of those that are known.  No I/O.

A list registers what is new or changed.  What is absent from every good list for long enough is deregistered; a list
that lacks more than a fifth of what is known is not a good one.  One that is absent says nothing of the list, though:
of four services it is more than a fifth, and would never be deregistered.  An only one stays until somebody does it.

What is known are the services of our partitions by themselves, and then those of all partitions together: half a list
may lack only one of ours.  Those of other partitions are known as this process's last good list showed them; a process
that starts with half a list does not know the rest.  A list stays short until it shows again what it lacks.  If that
was really deleted, somebody has to deregister it, and to start anew who remembers services of other partitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from typing import NamedTuple

from stream.core.view import Counted
from stream.ports import Listing, Machine
from stream.runtime.enrolment import Enrolment, Match
from stream.runtime.meter import Calendar, Meter

MOST_ABSENT = 0.2
MOST_REMEMBERED = 100_000
"""Partitions of services that need not be computed again."""


@dataclass(slots=True, eq=False)
class Service:
    """A registered service of a partition that is ours."""

    partition: int
    enrolment: Enrolment
    registered_at: int
    """When we registered it last; 0: somebody did before."""
    meter: Meter
    missing_since: int | None = None
    stopped_since: int | None = None
    busy: bool = False
    """It is being read, or waits for it."""
    asked_at: int = 0
    """When the platform last told us its numbers, whatever they were."""
    read_at: int = 0
    """The last success; 0: none yet."""
    failures: int = 0
    """Since then."""
    retry_at: int = 0
    cause: str = ""


class Changes(NamedTuple):
    """What a list comes to."""

    registered: list[Service]
    """New ones and changed ones, to be published before anything else of theirs."""
    gone: list[Service]
    present: list[Service]
    """Those that have plans, to be read."""
    absent: int
    """How many of the known ones of our partitions the list lacks."""
    absent_elsewhere: int
    """How many of other partitions."""
    is_short: bool
    """So many that the list cannot be believed."""
    kept: list[str]
    """Services of which the rules now give another quota or anchor day, which a registration cannot change."""


class Roster:
    """The services of one platform in the partitions that are ours."""

    def __init__(
        self, match: Match, partition_of: Callable[[str], int], calendar: Calendar, gone_after_ms: int
    ) -> None:
        self._match = match
        self._partition_of = lru_cache(MOST_REMEMBERED)(partition_of)
        self._calendar = calendar
        self._gone_after_ms = gone_after_ms
        self._places = count()
        self._seen: dict[str, tuple[Machine, Enrolment | None]] = {}
        self._elsewhere: set[str] = set()
        """Services that were in others' partitions when a good list showed them."""
        self.partitions: set[int] = set()
        self.services: dict[str, Service] = {}

    def take(self, partition: int, known: Sequence[Counted], upto: int, now: int) -> None:
        """The partition is ours; `known` are its services of this platform."""
        self.partitions.add(partition)
        for counted in known:
            enrolment = Enrolment(tuple(counted.plans), counted.quota, counted.anchor_day, dict(counted.labels))
            service = Service(partition, enrolment, 0, self._meter(counted.service, enrolment, upto))
            if counted.current is not None and enrolment.plans:
                service.meter.resume(
                    self._calendar, counted.current, counted.previous, backfilling=counted.backfilling, now=now
                )
            self.services[counted.service] = service

    def release(self, partition: int) -> None:
        """The partition is somebody else's."""
        self.partitions.discard(partition)
        self._elsewhere |= {name for name, service in self.services.items() if service.partition == partition}
        self.services = {name: service for name, service in self.services.items() if service.partition != partition}

    def forget(self, name: str) -> None:
        """The tracker does not have this service: the next list registers it anew, if it shows it."""
        self.services.pop(name, None)

    def compare(self, listing: Listing, upto: int, now: int) -> Changes:
        """What changed; the roster has changed accordingly."""
        registered, present, kept = [], [], []
        elsewhere = set()
        for machine, enrolment in self._matched(listing):
            if self._partition_of(machine.service) not in self.partitions:
                if enrolment is not None and enrolment.plans:
                    elsewhere.add(machine.service)
                continue
            service = self.services.get(machine.service)
            if service is not None and _differs(service.enrolment, enrolment):
                kept.append(machine.service)
            if self._enrol(machine.service, service, enrolment, upto, now):
                registered.append(self.services[machine.service])
            service = self.services.get(machine.service)
            if service is not None:
                self._is_there(service, machine, now)
                if service.enrolment.plans:
                    present.append(service)
        present += self._unreadable(listing)
        lacking = [service for name, service in self.services.items() if not _shows(listing, name)]
        is_short, absent_elsewhere = self._judge(listing, len(lacking), elsewhere)
        gone = [] if is_short else list(self._depart(lacking, now))
        return Changes(registered, gone, present, len(lacking), absent_elsewhere, is_short, kept)

    def _judge(self, listing: Listing, absent: int, elsewhere: set[str]) -> tuple[bool, int]:
        """Whether it is short, and how many of other partitions it lacks; `elsewhere` are those that it shows."""
        known = {name for name in self._elsewhere if self._partition_of(name) not in self.partitions}
        lacking = {name for name in known if not _shows(listing, name)}
        ours = len(self.services)
        is_short = _is_short(absent, ours) or _is_short(absent + len(lacking), ours + len(known | elsewhere))
        self._elsewhere = elsewhere | (known if is_short else known & listing.unreadable)
        return is_short, len(lacking)

    def _matched(self, listing: Listing) -> Iterator[tuple[Machine, Enrolment | None]]:
        """All machines; rules are only asked again about those that changed."""
        seen = {}
        for name, machine in listing.machines.items():
            former, enrolment = self._seen.get(name, (None, None))
            if former is None or former.name != machine.name or former.attributes != machine.attributes:
                matched = self._match(machine)
                enrolment = matched and matched.fitting()
            seen[name] = (machine, enrolment)
            yield machine, enrolment
        self._seen = seen

    def _enrol(self, name: str, service: Service | None, wanted: Enrolment | None, upto: int, now: int) -> bool:
        """Whether the service is to be registered (again)."""
        if service is None:
            if wanted is None or not wanted.plans:
                return False  # never touched
            self.services[name] = Service(self._partition_of(name), wanted, now, self._meter(name, wanted, upto))
            return True
        if wanted is None or not wanted.plans:
            wanted = replace(service.enrolment, plans=())
        if wanted == service.enrolment:
            return False
        if not service.enrolment.plans:  # nothing was read meanwhile: as if it were new
            service.meter = self._meter(name, wanted, upto)
        service.meter.plans, service.meter.anchor_day = wanted.plans, wanted.anchor_day
        service.enrolment, service.registered_at = wanted, now
        return True

    def _is_there(self, service: Service, machine: Machine, now: int) -> None:
        service.missing_since = None
        if machine.running:
            service.stopped_since = None
        elif service.stopped_since is None:
            service.stopped_since = now

    def _unreadable(self, listing: Listing) -> Iterator[Service]:
        """They exist, whatever they are now: read on as before."""
        for name in listing.unreadable:
            service = self.services.get(name)
            if service is not None:
                service.missing_since = service.stopped_since = None
                if service.enrolment.plans:
                    yield service

    def _depart(self, lacking: list[Service], now: int) -> Iterator[Service]:
        for service in lacking:
            if service.missing_since is None:
                service.missing_since = now
            if now - service.missing_since >= self._gone_after_ms:
                del self.services[service.meter.service]
                yield service

    def _meter(self, name: str, enrolment: Enrolment, upto: int) -> Meter:
        return Meter.begin(
            self._calendar, service=name, place=next(self._places), plans=enrolment.plans,
            anchor_day=enrolment.anchor_day, upto=upto,
        )  # fmt: skip


def _shows(listing: Listing, name: str) -> bool:
    return name in listing.machines or name in listing.unreadable


def _is_short(absent: int, known: int) -> bool:
    return absent > max(1, MOST_ABSENT * known) or absent == known == 1


def _differs(known: Enrolment, wanted: Enrolment | None) -> bool:
    """In what stays as it was when the service was first registered."""
    if wanted is None or not wanted.plans:
        return False
    return (wanted.quota, wanted.anchor_day) != (known.quota, known.anchor_day)
