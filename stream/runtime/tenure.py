"""One partition while the enforcer owns it: who is due what, whose errand is under way, and the regular comparison."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace

import structlog

from stream.core.control import Control
from stream.core.enforced import Enforcement, Standing, Switch
from stream.core.enforcement import Due, Verdict, imported
from stream.core.errors import Fenced, Refused, Unavailable
from stream.core.model import Decision
from stream.core.speed import ORIGINAL
from stream.ports import Clock, Log
from stream.runtime.errands import Errands, Service
from stream.runtime.ledger import Ledger
from stream.runtime.orders import orders
from stream.runtime.site import EnforcementObserver, Seen, Site
from stream.runtime.worker import Backoff

log = structlog.get_logger()

AT_ONCE = 500
"""How many services are looked at before others may run."""
MOST_NAMED = 20
"""How many of the services in one trouble are named."""
MORE_S = 10.0
"""A service that waits for the brake is seldom the only one: so long later all of them are noted at once."""


class Tenure:
    """Its services, each with at most one errand, on the sites that all partitions of this process share."""

    def __init__(
        self,
        partition: int,
        ledger: Ledger,
        sites: Mapping[str, Site],
        clock: Clock,
        rng: random.Random,
        observer: EnforcementObserver,
    ) -> None:
        self._partition, self._ledger, self._sites, self._observer = partition, ledger, sites, observer
        self._random = rng
        self._errands = Errands(ledger, clock, rng=rng, observer=observer)
        self._services: dict[str, Service] = {}
        self._since = {name: site.tick() for name, site in sites.items()}  # no list of before the take-over is used
        self._hurry = {name: asyncio.Event() for name in sites}  # set: do not wait for the next comparison
        self._obeyed: int | None = None
        standing = ledger.switches.standing
        self._standing = {name: standing[name] for name in sites if name in standing}  # until it is compared anew
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, states: Mapping[str, Enforcement], due: Mapping[str, Due]) -> None:
        """With what is known.  Whom we touched and the tracker does not know any more is deregistered."""
        for site in self._sites.values():
            switch = self._ledger.switches.of(site.name)
            site.brake.restore(switch.braked, switch.allowed_until)
        for name, state in states.items():
            service = self._service(name)
            if service is not None:
                service.state = state
                service.site.brake.remember(name, state.slowed_at)
                if name not in due and state.intent is not None:
                    self._is_due(service, Due(*state.position, ORIGINAL, gone=True))
        for name, newest in due.items():
            service = self._service(name)
            if service is not None:
                self._is_due(service, newest)

    async def run(self, log_: Log, first: int, end: int, stop: asyncio.Event) -> None:
        """Until `stop` is set.  Controls are kept from offset `first` on; decisions are news from `end` on."""
        try:
            async with self._group:
                self._start(self._ledger.run(), "ledger")
                self._start(self._tail(log_, first, end), "tail")
                self._start(self._note_braked(), "braked")
                for site in self._sites.values():
                    self._start(self._compare_regularly(site), f"compare-{site.name}")
                await stop.wait()
                for task in self._tasks:
                    task.cancel()
        except BaseExceptionGroup as errors:
            raise _gravest(errors) from errors
        finally:
            for service in self._services.values():
                service.site.brake.forget(service.name)

    # ------------------------------------------------ decisions and controls

    async def _tail(self, log_: Log, first: int, end: int) -> None:
        """Follow the decisions from `end` on, and the controls from where they were obeyed last."""
        obeyed = self._ledger.switches.next
        if obeyed is not None and obeyed < first:
            log.warning("controls.lost", partition=self._partition, obeyed_to=obeyed, kept_from=first)
        self._obeyed = first if obeyed is None else max(first, obeyed)
        async with aclosing(orders(log_, self._partition, self._obeyed, end)) as fetches:
            async for next_offset, found in fetches:
                for order, appended in found:
                    if isinstance(order, Decision):
                        self._decided(order, appended)
                    else:
                        await self._obey(order)
                self._obeyed = next_offset

    def _decided(self, decision: Decision, appended: int) -> None:
        service = self._service(decision.service)
        due = Due(decision.incarnation, decision.revision, decision.speed, decision.reason == "deregistered")
        if service is not None and (service.due is None or due[:2] > service.due[:2]):
            self._is_due(service, due)
            service.appended = appended
            service.barred_until_s = 0.0
            self._send(service)

    async def _obey(self, control: Control) -> None:
        """What comes of it is durable when it returns."""
        told = {"platform": control.platform, "service": control.service, "by": control.by, "why": control.why}
        site = self._sites.get(control.platform)
        if site is None:
            log.warning("control.skipped", verb=control.verb, cause="no such platform here", **told)
            return
        log.warning(f"control.{control.verb}", partition=self._partition, **told)
        switch = self._ledger.switches.of(site.name)
        match control.verb:
            case "allow":
                site.brake.open(control.until or 0)
                self._set_standing(site, self._standing.get(site.name, {}))
                await self._set_switch(site, Switch(allowed_until=control.until or 0))
            case "release":
                site.brake.waiting.clear()
                self._set_standing(site, {**self._standing.get(site.name, {}), "unreturned": self._touched(site)})
                await self._set_switch(site, replace(switch, released=True))
            case "original":
                await self._obey_original(site, control)
        self._hurry[site.name].set()

    def _touched(self, site: Site) -> Standing:
        """Until a released platform is looked at, whatever we have touched counts as not yet returned."""
        return _standing([one.name for one in self._services.values() if one.site is site and one.state is not None])

    async def _set_switch(self, site: Site, switch: Switch) -> None:
        """Together with what waits for somebody."""
        switches = self._ledger.switches.with_switch(site.name, switch)
        await self._ledger.set_switches(replace(switches, standing=dict(self._standing)))

    async def _obey_original(self, site: Site, control: Control) -> None:
        service = self._service(control.service or "")
        if service is not None and control.original is not None:
            original = site.rules.express(control.original)
            service.state = imported(service.name, service.state, service.due, original)
            service.wake()
            await self._ledger.write(service.state)

    # ------------------------------------------------ services and their errands

    def _service(self, name: str) -> Service | None:
        """None if it is of no platform that is enforced here."""
        site = self._sites.get(name.partition("/")[0])
        if site is not None and name not in self._services:
            self._services[name] = Service(name, site, after=self._since[site.name])
        return self._services.get(name)

    def _is_due(self, service: Service, due: Due) -> None:
        service.due = due
        service.gone_since_s = asyncio.get_running_loop().time() if due.gone else None

    def _send(self, service: Service) -> None:
        """See to it that it is looked at, by the one errand that it has."""
        service.wake()
        if not service.busy:
            service.busy = True
            self._start(self._run(service), f"enforce-{service.name}")

    async def _run(self, service: Service) -> None:
        try:
            while service.news:
                await self._errands.run(service)
        finally:
            service.busy = False

    def _start(self, way: Coroutine[None, None, None], name: str) -> None:
        task = self._group.create_task(way, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ------------------------------------------------ the regular comparison

    async def _compare_regularly(self, site: Site) -> None:
        """At the start, at each multiple of the period, so that all partitions share a list, and when told to.

        Without a list it is tried again soon, and then less and less often.
        """
        loop, hurry, period_s = asyncio.get_running_loop(), self._hurry[site.name], site.pace.reconcile_s
        backoff = Backoff(random=self._random, first_s=1.0, limit_s=period_s)
        while True:
            hurry.clear()
            try:
                await self._compare(site, await site.observe(self._since[site.name]))
            except (Unavailable, Refused) as error:
                log.warning("platform.unlisted", platform=site.name, partition=self._partition, cause=str(error))
                wait_s = backoff.next_s()
            else:
                backoff.reset()
                wait_s = period_s - loop.time() % period_s
                wait_s += 0 if wait_s > period_s / 100 else period_s
            await self._ledger.note(self._obeyed, self._standing)
            try:
                async with asyncio.timeout(wait_s):
                    await hurry.wait()
            except TimeoutError:
                continue

    async def _compare(self, site: Site, seen: Seen) -> None:
        """Send an errand to each service that is not as it is due, and say how many are in trouble."""
        troubled: dict[str, list[str]] = {}
        released = self._ledger.switches.of(site.name).released
        loop = asyncio.get_running_loop()
        for number, service in enumerate([known for known in self._services.values() if known.site is site]):
            if number % AT_ONCE == AT_ONCE - 1:
                await asyncio.sleep(0)
            if service.busy:
                if released and service.state is not None:
                    troubled.setdefault("unreturned", []).append(service.name)
                continue
            verdict = self._errands.look(service, seen)
            for trouble in _troubles(service, verdict, released):
                troubled.setdefault(trouble, []).append(service.name)
            if verdict.act != "nothing" and not site.shadow and loop.time() >= service.barred_until_s:
                self._send(service)
            elif self._is_over(service):
                del self._services[service.name]
        if counts := self._set_standing(site, {trouble: _standing(names) for trouble, names in troubled.items()}):
            log.warning("platform.standing", platform=site.name, partition=self._partition, **counts)

    def _set_standing(self, site: Site, troubles: Mapping[str, Standing]) -> dict[str, int]:
        """What waits for somebody there, and whom the brake holds now.  To be noted; returns how many they are."""
        waiting = _standing(sorted(name for name in site.brake.waiting if name in self._services))
        standing = {kind: each for kind, each in {**troubles, "braked": waiting}.items() if each.services}
        counts = {kind: each.services for kind, each in standing.items()}
        self._standing[site.name] = standing
        self._observer.standing(site.name, self._partition, counts)
        return counts

    async def _note_braked(self) -> None:
        """Soon after there are more of them, for ever."""
        while True:
            await self._errands.braked.wait()
            await asyncio.sleep(MORE_S)
            self._errands.braked.clear()
            for site in self._sites.values():
                self._set_standing(site, self._standing.get(site.name, {}))
            await self._ledger.note(self._obeyed, self._standing)

    def _is_over(self, service: Service) -> bool:
        """Gone for so long, with nothing left to give back, that no old news of it can come."""
        if service.gone_since_s is None or service.state is not None:
            return False
        gone_ms = 1000 * (asyncio.get_running_loop().time() - service.gone_since_s)
        return gone_ms >= service.site.rules.forget_after_ms


def _troubles(service: Service, verdict: Verdict, released: bool) -> Iterator[str]:
    """Under which names it counts for `EnforcementObserver.standing`, besides `braked`."""
    if verdict.finding is not None:
        yield verdict.finding
    if released and verdict.act == "intend":
        yield "unreturned"


def _standing(names: Sequence[str]) -> Standing:
    return Standing(len(names), tuple(names[:MOST_NAMED]))


def _gravest(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one that says most: trouble that passes comes last."""
    leaves = [_gravest(error) if isinstance(error, BaseExceptionGroup) else error for error in errors.exceptions]
    return min(leaves, key=lambda error: isinstance(error, Fenced | Unavailable | TimeoutError))
