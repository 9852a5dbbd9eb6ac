"""One platform's collector: each cycle one list, and of each service what can newly be known.

    cycle      list --> roster: registrations, deregistrations --> lane of what is due
    workers    lane --> meter.next --> platform.traffic --> meter.took --> publisher of the service's partition

A service is in the hands of one worker at a time.  One that is slow, fails or lies far behind costs the others at most
a worker for a while; a cycle that takes longer than its time does not pile up, as nothing stands in a lane twice.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

import structlog

from stream import wire
from stream.core.errors import QuotaStreamError
from stream.core.view import Counted
from stream.ports import Clock, Traffic
from stream.runtime.anchors import Anchors, Windows
from stream.runtime.lanes import Lanes
from stream.runtime.meter import Calendar, Reading
from stream.runtime.publisher import Publisher
from stream.runtime.roster import Changes, Roster, Service
from stream.runtime.source import CURES, Alarm, Cycle, PollerObserver, Source
from stream.runtime.worker import Backoff

log = structlog.get_logger()

READ_DEADLINE_S = 900.0
"""Over all; a platform has deadlines of its own, but its pace may be slow."""
ANCHORS_AT_ONCE = 4
"""So many days of one service are read before others have their turn."""
SLOWEST_RETRY_MS = 300_000
"""A service that cannot be read is tried again after this at the latest."""
STRAGGLERS = 0.1
"""A cycle is over when all but this part of the services are read: those that hang do not make it long."""
UNSEEN_MS = 600_000
"""A registration may take so long until the tracker's state shows it."""


class Poller:
    """Polls one platform for the partitions that it is given, as long as `run` runs."""

    def __init__(
        self,
        source: Source,
        *,
        partition_of: Callable[[str], int],
        clock: Clock,
        rng: random.Random,
        observer: PollerObserver,
    ) -> None:
        settings = source.settings
        sampling_ms = source.platform.sampling_ms
        self.source = source
        self.name = source.platform.name
        self._settings = settings
        self._clock = clock
        self._random = rng
        self._observer = observer
        self.calendar = Calendar(
            anchors=Anchors(settings.timezone, sampling_ms),
            windows=Windows(source.plans, sampling_ms),
            final_after_ms=settings.final_after_ms,
            reread_ms=settings.reread_ms,
            keeps_ms=settings.keeps_ms,
            random=rng,
        )
        self.roster = Roster(source.match, partition_of, self.calendar, settings.gone_after_ms)
        self._lanes = Lanes()
        self._publishers: dict[int, Publisher] = {}
        self._alarms: set[Alarm] = set()
        self._cycle = Cycle(complete=True)
        self._began_s = 0.0

    async def run(self) -> None:
        """Cycles and workers, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._cycles(), name=f"cycles-{self.name}")
            for number in range(self._settings.workers):
                tasks.create_task(self._work(), name=f"reads-{self.name}-{number}")

    # ------------------------------------------------------------ partitions

    def take(self, partition: int, known: Sequence[Counted], publisher: Publisher) -> None:
        """Poll the services of a partition from the next cycle on."""
        now = self._clock.now()
        prefix = self.name + "/"
        ours = [counted for counted in known if counted.service.startswith(prefix)]
        self.roster.take(partition, ours, self._upto(now), now)
        self._publishers[partition] = publisher

    def release(self, partition: int) -> None:
        self.roster.release(partition)
        self._publishers.pop(partition, None)

    def refresh(self, partition: int, known: Sequence[Counted], as_of: int) -> None:
        """The state of `as_of` (ms) lacks some of our services: they are registered anew.

        Their registration became a dead letter (plans that came later, say), or somebody deregistered them.
        """
        names = {counted.service for counted in known}
        for name, service in list(self.roster.services.items()):
            if service.partition == partition and name not in names and service.registered_at < as_of - UNSEEN_MS:
                log.warning("service.not_in_state", platform=self.name, service=name)
                self.roster.forget(name)

    # ------------------------------------------------------------ cycles

    async def _cycles(self) -> None:
        loop = asyncio.get_running_loop()
        backoff = Backoff(random=self._random, first_s=1.0, limit_s=min(300.0, self._settings.poll_s))
        while True:
            began_s = loop.time()
            try:
                await self._poll(began_s)
            except QuotaStreamError as error:
                self._alarm("unavailable", raised=True, cause=str(error))
                wait_s = backoff.next_s()
            except Exception:  # a bulkhead: what breaks here must not stop the other platforms
                log.exception("cycle.failed", platform=self.name)
                wait_s = backoff.next_s()
            else:
                self._alarm("unavailable", raised=False)
                backoff.reset()
                wait_s = began_s + self._settings.poll_s - loop.time()
            await asyncio.sleep(max(0.0, wait_s))

    async def _poll(self, began_s: float) -> None:
        """Compare the platform's list with what is known, and queue what can newly be read."""
        listing = await self.source.listings.now()
        now = self._clock.now()
        upto = self._upto(now)
        changes = self.roster.compare(listing, upto, now)
        self._publish(changes, now)
        self._alarm(
            "short_list", raised=changes.is_short, listed=len(listing.machines), known=len(self.roster.services),
            absent=changes.absent, absent_elsewhere=changes.absent_elsewhere,
        )  # fmt: skip
        if not self._cycle.complete:
            self._complete()  # in vain: the next one begins
        self._began_s = began_s
        self._cycle = Cycle(
            listed_at=listing.began_at,
            machines=len(listing.machines),
            services=len(self.roster.services),
            unreadable=len(listing.unreadable),
            absent=changes.absent,
        )
        for service in changes.present:
            if self._is_due(service, upto, now):
                self._lanes.put(service)
        self._settle()

    def _is_due(self, service: Service, upto: int, now: int) -> bool:
        return (
            not service.busy
            and now >= service.retry_at
            and not self._publishers[service.partition].is_full
            and service.meter.next(self.calendar, upto, now) is not None
        )

    def _publish(self, changes: Changes, now: int) -> None:
        for service in changes.registered:
            enrolment = service.enrolment
            message = wire.encode_registration(
                service.meter.service, enrolment.plans, source=self.name, quota=enrolment.quota,
                anchor_day=enrolment.anchor_day, labels=enrolment.labels, at=now,
            )  # fmt: skip
            self._publishers[service.partition].register(message)
        if changes.kept:
            cure = f'publish {{"type":"deregistration","service":"{changes.kept[0]}"}}: it is registered anew'
            log.warning(
                "services.quota_kept", platform=self.name, services=len(changes.kept), first=changes.kept[0],
                what="quota and anchor_day stay as they were at the first registration", cure=cure,
            )  # fmt: skip
        for service in changes.gone:
            log.info("service.gone", platform=self.name, service=service.meter.service)
            message = wire.encode_deregistration(service.meter.service, at=now)
            self._publishers[service.partition].deregister(message)

    def _settle(self) -> None:
        """When what was due is read, publish it without further waiting."""
        if self._lanes.open > STRAGGLERS * len(self.roster.services):
            return
        if not self._cycle.complete:
            self._complete()
        elif self._lanes.open or self._lanes.behind:
            return  # they come in batches
        for publisher in self._publishers.values():
            publisher.flush()

    def _complete(self) -> None:
        """Say what came of the cycle."""
        cycle, services = self._cycle, self.roster.services.values()
        cycle.complete = True
        cycle.seconds = asyncio.get_running_loop().time() - self._began_s
        cycle.behind = self._lanes.behind
        cycle.failing = sum(service.failures > 0 for service in services)
        cycle.stalest_at = min((service.read_at for service in services if service.read_at), default=0)
        self._observer.cycle(self.name, cycle)
        self._alarm("overrun", raised=cycle.seconds > self._settings.poll_s, seconds=round(cycle.seconds))

    # ------------------------------------------------------------ reading

    async def _work(self) -> None:
        while True:
            service = await self._lanes.get()
            more = False
            try:
                more = await self._turn(service)
            except (QuotaStreamError, TimeoutError) as error:
                self._failed(service, str(error) or f"no answer within {READ_DEADLINE_S:g} s")
            except Exception:  # a bulkhead: what breaks for one service must not stop the others
                log.exception("read.failed", platform=self.name, service=service.meter.service)
                self._failed(service, "an error of ours; the log has it")
            finally:
                self._lanes.done(service)
            if more:
                self._lanes.again(service)
            self._settle()

    async def _turn(self, service: Service) -> bool:
        """Read what can newly be known of a service, a few days at most.  True: there is more."""
        meter, publisher = service.meter, self._publishers.get(service.partition)
        now = self._clock.now()
        upto = self._upto(now)
        for _ in range(ANCHORS_AT_ONCE):
            reading = meter.next(self.calendar, upto, now)
            if reading is None or publisher is None:
                return False
            totals = await self._totals(service, reading, now)
            stopped = service.stopped_since is not None
            deltas = meter.took(self.calendar, reading, totals, now, stopped=stopped)
            if deltas is None:
                self._observer.read(self.name, "no_data")
                return False
            publisher.add(deltas)
            self._succeeded(service, now)
            if not reading.finished:
                return False
        return meter.next(self.calendar, upto, now) is not None

    async def _totals(self, service: Service, reading: Reading, now: int) -> Sequence[Traffic] | None:
        """What the platform says; a machine that has long been stopped is asked about less often."""
        stopped_since = service.stopped_since
        if (
            stopped_since is not None
            and now - stopped_since > self._settings.final_after_ms
            and now - service.asked_at < self._settings.reread_ms
        ):
            return None
        async with asyncio.timeout(READ_DEADLINE_S):
            totals = await self.source.platform.traffic(service.meter.service, reading.start, reading.ends)
        service.asked_at = now
        return totals

    def _succeeded(self, service: Service, now: int) -> None:
        if service.failures:
            log.info("service.readable", platform=self.name, service=service.meter.service, failures=service.failures)
        service.failures, service.retry_at, service.cause, service.read_at = 0, 0, "", now
        self._observer.read(self.name, "ok")

    def _failed(self, service: Service, cause: str) -> None:
        """Try again, less and less often."""
        if service.failures == 0:
            log.warning("service.unreadable", platform=self.name, service=service.meter.service, cause=cause)
        poll_ms = round(self._settings.poll_s * 1000)
        wait_ms = min(poll_ms << min(service.failures, 10), max(poll_ms, SLOWEST_RETRY_MS))
        service.failures += 1
        service.retry_at = self._clock.now() + wait_ms - poll_ms // 2  # a cycle later, then two, four, ...
        service.cause = cause
        self._observer.read(self.name, "failed")

    def _upto(self, now: int) -> int:
        """The newest instant up to which numbers can be known: settled, and on the sampling grid."""
        sampling_ms = self.source.platform.sampling_ms
        return (now - self._settings.settle_ms) // sampling_ms * sampling_ms

    def _alarm(self, alarm: Alarm, *, raised: bool, **details: object) -> None:
        """Say so when it begins and when it is over."""
        if raised == (alarm in self._alarms):
            return
        if raised:
            self._alarms.add(alarm)
            log.warning(f"platform.{alarm}", platform=self.name, cure=CURES[alarm], **details)
        else:
            self._alarms.discard(alarm)
            log.info(f"platform.{alarm}.over", platform=self.name)
        self._observer.alarm(self.name, alarm, raised)
