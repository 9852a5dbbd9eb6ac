"""The auditor of a whole world: one sentence for everything that is not as it must be.

It knows what the VMs really sent, who set which limits when, what each process asked the platform for, and what is in
the log; of the product it believes nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain

from stream.core.view import ServiceView
from stream.runtime.checkpoint import load
from tests.day.books import MBIT, least
from tests.simulation.auditor import Auditor as LogAuditor
from tests.simulation.platforms import Network
from tests.simulation.whole_books import Incarnation, WholeBooks
from tests.simulation.whole_enforcing import wrong_enforcing
from tests.simulation.whole_operator import Operator
from tests.simulation.whole_plot import Plot
from tests.simulation.whole_provider import Limits, Provider
from tests.simulation.world import World

DEADLINE_MS = 2 * 3_600_000
"""After calm everything has to be right by then, or within thirty sampling steps if these are longer."""
REGISTERING_MS = 1_800_000
"""A registration may be under way, or the newest numbers late, for so long."""
UNKNOWN_POLLS = 10
"""A collector that does not know how far another one, which still wrote to its partition, has come makes up for it
within so many, even if the platform fails again and again."""
SOON_S = 60.0
"""After calm a decision has to be on the platform within this and the time of the platform's task."""


class Auditor:
    def __init__(self, plot: Plot, world: World, provider: Provider, network: Network) -> None:
        self._plot, self._world, self._provider, self._network = plot, world, provider, network
        self.books = WholeBooks(world.broker)
        self._now = world.clock.now
        self.happened: Counter[str] = Counter()

    # ------------------------------------------------------------ calm

    async def settle(self, operator: Operator) -> None:
        """Wait until all is right; what is not by the deadline is a violation."""
        if self._plot.kind == "brake":
            await operator.allow()
        step_s = max(60.0, self._plot.step_ms / 1000)
        deadline = self._now() + max(DEADLINE_MS, 30 * self._plot.step_ms)
        while True:
            await asyncio.sleep(step_s)
            mistakes = await self._mistakes(operator)
            if not mistakes:
                break
            if self._now() > deadline:
                for sentence in mistakes:
                    self._world.accuse(sentence)
                return
        if self._plot.kind != "shadow" and not operator.released:
            await self._probe(operator)

    async def _mistakes(self, operator: Operator) -> list[str]:
        self.books.read()
        counted = await self._counted()
        return [
            *self._wrong_services(counted),
            *self._wrong_bytes(counted),
            *self.books.unshown(),
            *self._wrong_limits(operator.released),
            *self._unfinished(),
        ]

    async def _counted(self) -> dict[str, ServiceView]:
        """As the trackers have stored it."""
        found: dict[str, ServiceView] = {}
        for number in range(self._world.broker.partitions):
            tracker = await load(self._world.broker, number, self.books.partition_of)
            found |= {name: view for name in tracker.names() if (view := tracker.service(name)) is not None}
        return found

    def _wrong_services(self, counted: dict[str, ServiceView]) -> Iterable[str]:
        groups = self._provider.group
        alive = {f"vm1/{one.id}": groups[one.id] for one in self._provider.world.machines()}
        if missing := sorted(name for name, group in alive.items() if group != "free" and name not in counted):
            yield f"{', '.join(missing)}: not registered"
        for name, view in counted.items():
            if view.plans and alive.get(name) == "free":
                yield f"{name}: no rule is about it any more, and it has {[plan.plan for plan in view.plans]}"
        if (gone := sorted(counted.keys() - alive)) and not self._list_is_short():  # one may be known and free by now
            yield f"{', '.join(gone)}: gone for long, and still registered"

    def _unfinished(self) -> Iterable[str]:
        """What was asked for while everything failed may still wait at the platform, before what is asked for next."""
        world = self._provider.world
        for machine in world.machines():
            if world.busy_until(machine.id) is not None:
                yield f"vm1/{machine.id}: the platform is still at work on former tasks"

    def _list_is_short(self) -> bool:
        """Whether somebody has the alarm that so many services are absent that none is deregistered."""
        said: dict[str, str] = {}
        for event in self._world.trace.events:
            if "platform.short_list" in event.what:
                said[event.who] = event.what
        short = any(not what.endswith(".over") for what in said.values())
        self.happened["short list to the end"] += short
        return short

    # ------------------------------------------------------------ bytes

    def _wrong_bytes(self, counted: dict[str, ServiceView]) -> Iterable[str]:
        """Every byte since a service's first anchor must be counted, and only once."""
        for name, view in counted.items():
            service = self.books.service(name)
            if service is None:
                continue
            if stale := self.books.stale_bytes(service, unknown_ms=UNKNOWN_POLLS * self._plot.poll_ms):
                yield f"{name}: {stale} bytes were told when they were stale"
            accepted = view.accepted_in, view.accepted_out
            if accepted != service.accepted:
                yield f"{name}: {accepted} bytes are accepted, the oracle has {service.accepted}"
            for plan in view.plans:
                ledger = plan.ledger
                if ledger.accepted != ledger.counted + ledger.late + ledger.clipped:
                    yield f"{name}: bytes of plan {plan.plan} do not add up: {ledger}"
            yield from self._wrong_life(self.books.incarnations[name][-1], self._now())

    def _wrong_life(self, one: Incarnation, until: int) -> Iterable[str]:
        """What one incarnation was given, beside what its VM sent up to an instant."""
        name, accepted = one.service.name, one.service.accepted
        if one.first is None:
            return
        truth, exact = self._truth(one, until)
        for direction, ours, theirs in zip(("in", "out"), accepted, truth, strict=True):
            if ours > theirs:
                yield f"{name}: {ours - theirs} bytes {direction} are counted more than once: {ours} of {theirs}"
            elif exact and ours < theirs:
                yield f"{name}: {theirs - ours} bytes {direction} are lost: {ours} of {theirs} are counted"

    def _truth(self, one: Incarnation, until: int) -> tuple[tuple[int, int], bool]:
        """Bytes in and out of its VM; and whether they are known exactly, which they are not where another VM of the
        same id begins a series of its own while the service goes on."""
        id = int(one.service.name.removeprefix("vm1/"))
        assert one.first is not None
        lives = self._provider.world.lives(id)
        ended = until if one.ended is None else one.ended
        around = [
            life
            for life in lives
            if life.created < ended and (life.deleted is None or life.deleted > one.since - 10 * self._plot.step_ms)
        ]
        exact = True
        if self._plot.knobs.reused_id == "fresh":
            lives, exact = around, len(around) == 1
        exact = exact and (one.ended is not None or bool(one.service.ladders))  # without plans it is not read any more
        known = [life for life in lives if life.created < ended]
        exact = exact and known[-1].deleted is None  # of one that is gone the last numbers cannot be had
        in_, out = (
            sum(life.bytes_between(direction, one.first, until) for life in known) for direction in ("in", "out")
        )
        return (in_, out), exact

    def wrong_ends(self) -> Iterable[str]:
        """Services are deregistered that are gone, and no others; and what was counted until then was sent."""
        gone_ms = 10 * self._plot.step_ms - 2 * self._plot.skew_ms
        for name, incarnations in self.books.incarnations.items():
            for one in incarnations:
                if one.ended is None:
                    continue
                self.happened["deregistered"] += 1
                since, until = one.said_gone - gone_ms, one.said_gone - self._plot.skew_ms
                for life in self._provider.world.lives(int(name.removeprefix("vm1/"))):
                    if life.created <= since and (life.deleted is None or life.deleted >= until):
                        yield f"{name} was deregistered although its VM was there all the time"
                if one.service.current is not None:
                    yield from self._wrong_life(one, one.service.current.end)

    def wrong_backfills(self) -> Iterable[str]:
        """Nobody is judged for what lies before his first registration: it is told as a backfill.  (A successor may be
        judged for the last numbers of his predecessor, which the platform shows first.)"""
        plot = self._plot
        before_ms = plot.settle_ms + 2 * plot.step_ms + 2 * plot.skew_ms + REGISTERING_MS
        for name, (first, *_) in self.books.incarnations.items():
            for said in self.books.outcomes[name]:
                if said["incarnation"] == first.service.incarnation and said["at"] < first.since - before_ms:
                    yield f"{name} was judged as of {said['at']}, and was registered at {first.since}"

    # ------------------------------------------------------------ limits

    def _wrong_limits(self, released: bool) -> Iterator[str]:
        """Each VM must be limited to the lesser of what is due and what it had of others."""
        world = self._provider.world
        for machine in world.machines():
            name = f"vm1/{machine.id}"
            shown, due = world.limits(machine.id), self._due(name)
            if released or self._plot.kind == "shadow":
                due = (None, None)
            originals = self._originals(machine.id)
            fitting = [
                any(limit == least((original,), (due[way],))[0] for original in originals[way])
                for way, limit in enumerate(shown)
            ]
            if not all(fitting) and not self._is_left(name):
                yield f"{name}: its speed is {shown}, due is {due}, and its original is one of {originals}"

    def _due(self, name: str) -> Limits:
        """Whole Mbit/s in and out that the oracle's ladders allow."""
        service = self.books.service(name)
        in_, out = service.speed() if service is not None else (None, None)
        return in_ and max(1, in_ // MBIT), out and max(1, out // MBIT)

    def _originals(self, id: int) -> tuple[set[int | None], set[int | None]]:
        """Per direction, what may be its original: what others set last, and, where we were just about to set another
        limit and so may never have seen it, what they had set before."""
        found: list[set[int | None]] = []
        posts = [post.at for post in self._network.posts if post.service == f"vm1/{id}"]
        born = self._born(id)
        for key in ("net_in_mbitps", "net_out_mbitps"):
            shown: int | None = -1
            theirs: list[tuple[int, int | None]] = []
            for change in sorted(self._provider.changes[id], key=lambda one: one.at):
                if key in change.limits and not change.ours and change.limits[key] != shown and change.at >= born:
                    theirs.append((change.at, change.limits[key]))
                shown = change.limits.get(key, shown)
            possible: set[int | None] = set()
            for at, limit in reversed(theirs):
                possible.add(limit)
                if not any(at - 3_600_000 < posted < at + 120_000 for posted in posts):
                    break
            found.append(possible)
        return found[0], found[1]

    def _born(self, id: int) -> int:
        """When the newest of its VMs came that a registration is about: no former one's limits are its original."""
        known = self.books.incarnations.get(f"vm1/{id}")
        since = known[-1].since if known else 0
        changes = self._provider.changes[id]
        return max((change.at for change in changes if change.created and change.at <= since), default=0)

    def _is_left(self, name: str) -> bool:
        """Whether it was said, and rightly, that it stays as it is: its repairs are used up, or somebody else's word
        holds because the configuration yields."""
        about = f"service='{name}'"
        said = [event.what for event in self._world.trace.events if about in str(event.about)]
        newest = next((what for what in reversed(said) if "enforcement." in what), "")
        yields = self._plot.kind == "yield" and newest.endswith("enforcement.yielded")
        left = yields or (newest.endswith(("enforcement.left", "enforcement.yielded")) and self._repairs(name) >= 3)
        self.happened["left as it is"] += left
        return left

    def _repairs(self, name: str) -> int:
        """How many its enforcer has noted within the day before its last word."""
        document = self.books.kept[name][-1].document if self.books.kept[name] else None
        return len(document["repairs"]) if document else 0

    # ------------------------------------------------------------ at the end

    async def _probe(self, operator: Operator) -> None:
        """When all is calm, what is decided about each service has to be on the platform soon."""
        plot, world, group = self._plot, self._provider.world, self._provider.group
        before = {one.id: world.limits(one.id) for one in world.machines() if group[one.id] != "free"}
        for id in before:
            name, plan = f"vm1/{id}", "hourly" if group[id] == "hourly" else "ladder"
            profile = "half" if self._due(name) == (8, 3) else "slow"
            if not self._is_left(name):
                await operator.adjust(name, "pin", plan=plan, profile=profile)
        began = self._now()
        while self._now() - max(began, *self.books.shown_at.values()) < 1000 * SOON_S + 2 * plot.knobs.task_ms:
            await asyncio.sleep(1.0)
            self.books.read()
            if not list(self._wrong_limits(released=False)):
                self.happened["pinned"] += sum(world.limits(id) != former for id, former in before.items())
                self.happened["seconds from pin to platform"] += (self._now() - began) // 1000
                return
        for sentence in self._wrong_limits(released=False):
            self._world.accuse(
                f"not within {(self._now() - began) / 1000:.0f} s of a decision when all is calm: {sentence}"
            )

    async def audit(self) -> None:
        """Of all that happened on the way."""
        self.books.read()
        log_auditor = LogAuditor(self._world.broker.partitions)
        log_auditor.note(self._world.broker.journal)
        for sentence in chain(
            log_auditor.end({}, truncated=True),
            self.wrong_ends(),
            self.wrong_backfills(),
            wrong_enforcing(self._plot, self.books, self._provider, self._network),
        ):
            self._world.accuse(sentence)
        self.happened += log_auditor.happened
        self._count()

    def _count(self) -> None:
        happened = self.happened
        happened["VMs"] = len(self._provider.world.ids())
        happened["posts"] = len(self._network.posts)
        happened["foreign writes"] = sum(
            not change.ours for changes in self._provider.changes.values() for change in changes[1:]
        )
        happened[f"world {self._plot.kind}"] = 1
