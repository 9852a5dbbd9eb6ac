"""One service's way from a decision to a receipt, and all the waiting and retrying on it."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace
from typing import NamedTuple

import structlog

from stream.core.enforced import Enforcement, Result
from stream.core.enforcement import ALARMS, NOTHING, Due, Verdict, decide
from stream.core.errors import Busy, Refused, Unavailable
from stream.core.speed import ORIGINAL, Speed
from stream.ports import Clock
from stream.runtime.ledger import Ledger
from stream.runtime.site import EnforcementObserver, Seen, Site
from stream.runtime.telling import fields_of
from stream.runtime.worker import Backoff

log = structlog.get_logger()

INTENT_S = 30.0
"""An intent that took longer to become durable is not carried out: somebody else may own the partition by now."""
LAG_S = 8.0
"""How long a list may lag behind what the platform says is done."""


@dataclass(slots=True, eq=False)
class Service:
    """A service while this process is its enforcer."""

    name: str
    site: Site
    after: int
    """Lists that began before this tick of the site tell nothing of it any more."""
    due: Due | None = None
    state: Enforcement | None = None
    appended: int | None = None
    """When the input of its newest decision was appended (ms), until the platform is told."""
    told: bool = False
    """The platform has said that the state's intent is carried out."""
    said: object = None
    """What was reported of it last."""
    absent_since_s: float | None = None
    gone_since_s: float | None = None
    barred_until_s: float = 0.0
    busy: bool = False
    """It has an errand."""
    news: bool = False
    """It should be looked at (again)."""
    waiter: asyncio.Future[None] | None = None

    def wake(self) -> None:
        """There is something new: end the wait that its errand may be in."""
        self.news = True
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def news_within(self, seconds: float) -> bool:
        """Wait, but not when there is something new."""
        if not self.news and seconds > 0:
            self.waiter = asyncio.get_running_loop().create_future()
            try:
                await asyncio.wait({self.waiter}, timeout=seconds)
            finally:
                self.waiter = None
        return self.news


class Posted(NamedTuple):
    """The platform has taken what we asked for; `task` is its own, if it is not done yet."""

    task: str | None


class Errands:
    """Carries out decisions on the services of one partition."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        *,
        rng: random.Random,
        observer: EnforcementObserver,
    ) -> None:
        self._ledger, self._clock, self._random, self._observer = ledger, clock, rng, observer
        self.braked = asyncio.Event()
        """Set when one more service waits for a brake."""

    async def run(self, service: Service) -> None:
        """Until the platform shows what is due, nothing can be done about it, or the attempts are used up."""
        backoff = Backoff(random=self._random, first_s=1.0, limit_s=60.0)
        loop, attempts, patient_until_s = asyncio.get_running_loop(), 0, 0.0
        while True:
            if service.news:
                service.news = False
                attempts, patient_until_s = 0, loop.time() + service.site.pace.task_timeout_s
                backoff.reset()
            try:
                if await self._attempt(service):
                    return
                cause = "the platform does not show it"
            except Busy as error:
                cause = str(error)
                attempts -= loop.time() < patient_until_s  # it counts for none as long as a task may take
            except Unavailable as error:
                cause = str(error)
            except Refused as error:
                await self._give_up(service, "refused", str(error))
                return
            attempts += 1
            if attempts >= service.site.pace.attempts and not service.news:
                await self._give_up(service, "failed", cause)
                return
            await service.news_within(backoff.next_s())

    def look(self, service: Service, seen: Seen, *, may_slow: bool = True) -> Verdict:
        """What is to be done about it, given this list; nothing if the list is too old for it."""
        due, listing = service.due, seen.listing
        if due is None or seen.mark < service.after or service.name in listing.unreadable:
            return NOTHING
        machine = listing.machines.get(service.name)
        now_s = asyncio.get_running_loop().time()
        if machine is not None:
            service.absent_since_s = None
        elif service.absent_since_s is None:
            service.absent_since_s = now_s
        if self._ledger.switches.of(service.site.name).released:
            service.site.brake.waiting.discard(service.name)
            if service.state is None:
                return NOTHING
            due = due._replace(speed=ORIGINAL)
        verdict = decide(
            service.name,
            service.state,
            due,
            None if machine is None else machine.limits,
            service.site.rules,
            self._clock.now(),
            told=service.told,
            absent_ms=round(1000 * (now_s - (service.absent_since_s or now_s))),
            may_slow=may_slow,
        )
        service.after = max(service.after, seen.mark)
        if may_slow and not verdict.slows:
            service.site.brake.waiting.discard(service.name)
        self._report(service, verdict, machine.limits if machine else None)
        return verdict

    # ------------------------------------------------ the way, step by step

    async def _attempt(self, service: Service) -> bool:
        """One way from the platform's list to the platform's list.  True if nothing is left to be done."""
        site = service.site
        verdict = await self._judge(service)
        if verdict.act != "intend" or site.shadow:
            return True
        async with site.gate:
            verdict = await self._judge(service)  # it may have waited long at the gate
            if verdict.slows and not await self._may_slow(service):
                verdict = await self._judge(service, may_slow=False)
            if verdict.act != "intend":
                return True
            posted = await site.call(lambda: self._post(service, verdict))
        if posted is None:
            return False
        await self._follow(service, posted.task)
        return (await self._judge(service)).act != "intend"

    async def _judge(self, service: Service, *, may_slow: bool = True) -> Verdict:
        """Look at a list that is young enough, and do whatever does not concern the platform."""
        seen = await service.site.observe(service.after)
        verdict = self.look(service, seen, may_slow=may_slow)
        if service.site.shadow:
            return verdict
        if verdict.act == "forget":
            service.state = None
            await self._ledger.forget(service.name)
        elif verdict.act == "record":
            assert verdict.state is not None
            await self._keep(service, verdict.state)
        return verdict

    async def _may_slow(self, service: Service) -> bool:
        """Ask the brake; that it holds is remembered."""
        site = service.site
        waited = service.name in site.brake.waiting
        if site.brake.admits(service.name, site.population, self._clock.now()):
            return True
        if not waited:
            self.braked.set()
        switch = self._ledger.switches.of(site.name)
        if not switch.braked:
            log.error("platform.braked", platform=site.name, service=service.name, cure=f"platform allow {site.name}")
            await self._ledger.set_switch(site.name, replace(switch, braked=True))
        return False

    async def _post(self, service: Service, verdict: Verdict) -> Posted | None:
        """Ask the platform for what the verdict's intent wants; None if something newer came before that."""
        loop, site = asyncio.get_running_loop(), service.site
        assert verdict.state is not None
        assert verdict.state.intent is not None
        if service.news:
            return None
        began_s = loop.time()
        service.told = False
        await self._keep(service, verdict.state)  # 1 durable, or nothing is posted; a crash here: posted later
        if service.news or loop.time() - began_s > INTENT_S:
            return None
        try:
            task = await site.platform.set_speed(service.name, verdict.state.intent.wanted)  # 2 a crash here: once more
        except Refused:
            service.barred_until_s = loop.time() + site.pace.refused_s
            raise
        finally:
            service.after = site.tick()
        if service.appended is not None:
            self._observer.told(site.name, max(0, self._clock.now() - service.appended) / 1000)
            service.appended = None
        return Posted(task)

    async def _follow(self, service: Service, task: str | None) -> None:
        """3 Until the platform shows what we asked for, or says that it is done and yet does not show it.

        A crash here: the next list tells.  All services share the lists, so a list is asked for before the task is.
        """
        site, loop = service.site, asyncio.get_running_loop()
        service.told = task is None
        wait_s, deadline_s = (
            (0.0, loop.time() + LAG_S) if task is None else (1.0, loop.time() + site.pace.task_timeout_s)
        )
        while loop.time() <= deadline_s and not await service.news_within(wait_s):
            wait_s = min(max(1.0, 2 * wait_s), site.pace.task_poll_s)
            service.after = site.tick()
            machine = (await site.observe(service.after)).listing.machines.get(service.name)
            wanted = service.state.intent.wanted if service.state and service.state.intent else None
            if machine is None or machine.limits == wanted:
                return
            if task is not None and not service.told and await self._is_done(service, task):
                service.told = True
                service.after = site.tick()
                deadline_s = loop.time() + LAG_S

    async def _is_done(self, service: Service, task: str) -> bool:
        """Ask for the platform's task.  Raises Unavailable if it failed."""
        async with service.site.gate:
            state = await service.site.call(lambda: service.site.platform.task(task))
        if state == "failed":
            raise Unavailable(f"{service.name}: the platform's task {task} failed")
        return state == "complete"

    # ------------------------------------------------ what is remembered and said

    async def _keep(self, service: Service, state: Enforcement) -> None:
        """Make a state durable; it is this service's from now on."""
        former, service.state = service.state, state
        await self._ledger.write(state)
        if state.settled and state.receipts and (former is None or state.receipts != former.receipts):
            self._ended(service, "applied")

    async def _give_up(self, service: Service, result: Result, cause: str) -> None:
        """Until the next decision or reconciliation."""
        state = service.state
        self._ended(service, result, cause=cause)
        if state is not None and state.intent is not None and not state.settled:
            failed = state.with_receipt(result, None, self._clock.now())
            if failed != state:
                await self._keep(service, failed)

    def _ended(self, service: Service, result: Result, **more: str) -> None:
        self._observer.enforced(service.site.name, result)
        tell = log.info if result == "applied" else log.warning
        tell(f"enforcement.{result}", **_explained(service, service.state), **more)

    def _report(self, service: Service, verdict: Verdict, shown: Speed | None) -> None:
        """Say what is new."""
        shadowed = verdict.act == "intend" and service.site.shadow
        intent = verdict.state.intent if shadowed and verdict.state else None
        said = (verdict.finding, shown, service.due, intent.wanted if intent else None)
        if (verdict.finding or shadowed) and said != service.said:
            explained = _explained(service, verdict.state or service.state)
            if shadowed:
                log.info("enforcement.shadow", **fields_of("shown", shown), **explained)
            if verdict.finding:
                self._observer.found(service.site.name, verdict.finding)
                tell = log.error if verdict.finding in ALARMS else log.warning
                tell(f"enforcement.{verdict.finding}", **fields_of("shown", shown), **explained)
        service.said = said


def _explained(service: Service, state: Enforcement | None) -> dict[str, object]:
    """What is known of a service's enforcement, for the log."""
    due, known = service.due, dict[str, object](service=service.name)
    if due is not None:
        known |= {"incarnation": due.incarnation, "revision": due.revision, **fields_of("due", due.speed)}
    if state is not None:
        known |= fields_of("original", state.original)
    if state is not None and state.intent is not None:
        known |= fields_of("wanted", state.intent.wanted)
    return known
