"""A read model of one installation: what its trackers and enforcers have made durable, as it is asked for."""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import structlog

from stream import wire
from stream.core.errors import Misconfigured, Truncated, Unavailable
from stream.core.remembered import KEPT_MS
from stream.core.services import PAGE_ROWS
from stream.core.view import ServiceView
from stream.ports import CHANGES, DEAD_LETTERS, Clock, Log
from stream.replica import search as searching
from stream.replica.columns import Columns
from stream.replica.enforced import EnforcementReader
from stream.replica.follow import Progress, Reader, follow
from stream.replica.history import DAY_MS, History, LetterReader, OutcomeReader
from stream.replica.index import Index
from stream.replica.lag import Lag
from stream.replica.model import (
    Entries,
    Entry,
    Found,
    Freshness,
    Letters,
    News,
    PlansInForce,
    PlatformStatus,
    Population,
    Problem,
    Query,
    SourceStatus,
    Standing,
    Status,
)
from stream.replica.news import Gazette
from stream.replica.pages import Decoded
from stream.replica.problems import Known, notes_of, problems_of, waiting
from stream.replica.settings import ReplicaSettings
from stream.replica.state import StateReader
from stream.runtime.controls import merged
from stream.runtime.plans import InForce
from stream.runtime.worker import Backoff

log_ = structlog.get_logger()

PROBE_S = 2.0
"""How often to ask the log how far it goes."""
SWEEP_S = 3600.0
MOST_DECODED = 64
"""Pages that are kept decoded: about 100 kB each."""
KINDS = ("braked", "suspect", "left", "yielded", "unreturned")
"""What waits for somebody, in the order in which it is shown."""


class Replica:
    """`follow` fills it, for as long as that runs; everything else can be asked at any time, of what is known then."""

    def __init__(self, log: Log, *, index: Path | None, clock: Clock, settings: ReplicaSettings) -> None:
        """`index`: the file of the history, which may be deleted at any time; None keeps it in memory."""
        self._log, self._clock, self._settings = log, clock, settings
        self._gazette = Gazette()
        self._columns = Columns()
        self._index = Index(index)
        self._history = History(self._index)
        tell, now = self._gazette.tell, clock.now
        partitions = range(log.partitions)
        self._states = [StateReader(log, partition, self._columns, self._told) for partition in partitions]
        self._enforcements = [EnforcementReader(each, self._history, tell, now) for each in partitions]
        outcomes = [OutcomeReader(each, self._history, tell, now) for each in partitions if settings.history]
        letters = [LetterReader(each, self._history, tell, now) for each in partitions]
        readers: list[Reader] = [*self._states, *self._enforcements, *outcomes, *letters]
        self._readers = [(reader, Progress()) for reader in readers]
        self._lag = Lag(log)
        self._decoded: OrderedDict[tuple[int, int], Decoded] = OrderedDict()
        self._probes = 0
        self._probe_now = asyncio.Event()
        self._silence = ""  # why the log does not say how far it goes
        self._sampled_at = -1

    # ------------------------------------------------------------ following

    async def follow(self, stop: asyncio.Event) -> None:
        """Read the log until `stop`.  Trouble with the log or the index, and defects of ours, are waited for, and told
        as a problem.  Raises Misconfigured: what somebody must mend does not pass."""
        rng = random.Random()
        work = [follow(self._log, reader, progress, rng) for reader, progress in self._readers]
        work += [self._for_ever(each, rng) for each in (self._probe_ever, self._sweep_ever)]
        tasks = [asyncio.create_task(each) for each in work]
        stopped = asyncio.create_task(_set(stop))
        try:
            await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()  # none of them ends by itself
        finally:
            for task in (stopped, *tasks):
                task.cancel()
            await asyncio.wait({stopped, *tasks})
            await self._index.close()

    async def caught_up(self) -> None:
        """Returns once everything is read that was in the log at the call.  Somebody else runs `follow`."""
        wanted = self._probes + 1
        while not (self._has_shown and all(progress.seen >= wanted for _, progress in self._readers)):
            self._probe_now.set()
            moved = [asyncio.create_task(progress.moved.wait()) for _, progress in self._readers]
            await asyncio.wait(moved, return_when=asyncio.FIRST_COMPLETED)
            for task in moved:
                task.cancel()
            for _, progress in self._readers:
                progress.moved.clear()
        await self._look()

    async def _for_ever(self, work: Callable[[], Awaitable[None]], rng: random.Random) -> None:
        """Begun anew after each defect of ours."""
        backoff = Backoff(random=rng)
        while True:
            try:
                await work()
            except Misconfigured:
                raise
            except Exception as error:
                wait_s = backoff.next_s()
                log_.exception("replica.defect", retry_in_s=round(wait_s, 1))
                self._silence = f"a defect of quota-stream, please report it: {error!r}"
                await asyncio.sleep(wait_s)

    async def _probe_ever(self) -> None:
        while True:
            await self._probe()
            await self._sample()
            try:
                async with asyncio.timeout(PROBE_S):
                    await self._probe_now.wait()
            except TimeoutError:
                pass
            self._probe_now.clear()

    async def _probe(self) -> None:
        """Ask how far the log goes now: what is read up to there is as of now."""
        at = self._clock.now()
        self._probes += 1
        number = self._probes
        for reader, progress in self._readers:
            try:
                _, end = await self._log.bounds(reader.topic, reader.partition)
            except (Unavailable, TimeoutError) as error:
                self._silence = str(error) or "it does not say where it ends"
                return
            progress.probe(number, at, end)
        self._silence = ""
        await self._look()

    async def _look(self) -> None:
        """How much is not counted yet."""
        for state in self._states:
            if state.is_restored:
                with suppress(Unavailable, Truncated, TimeoutError):
                    await self._lag.look(state.partition, state.shown.current.next_offset, self._clock.now())

    async def _sample(self) -> None:
        at, every = self._clock.now(), self._settings.sample_every_ms
        if at // every == self._sampled_at // every or self.freshness().as_of is None:
            return
        try:
            await self._index.note_population(at, self.population(), since=at // every * every)
            self._sampled_at = at
        except Unavailable:
            return

    async def _sweep_ever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now, kept_ms = self._clock.now(), self._settings.retention_ms
            try:
                await self._index.sweep(now - kept_ms[CHANGES], now - kept_ms[DEAD_LETTERS])
            except Unavailable:
                continue

    def _told(self, news: News) -> None:
        self._decoded.clear()
        self._gazette.tell(news)

    # ------------------------------------------------------------ now

    @property
    def version(self) -> int:
        """Grows with whatever changes."""
        return self._gazette.version

    def news(self) -> AsyncGenerator[News, None]:
        """What changes from the first `anext` on.  Close it with `aclose()`."""
        return self._gazette.listen()

    def freshness(self) -> Freshness:
        instants = [progress.as_of for _, progress in self._readers]
        known = [at for at in instants if at is not None]
        as_of = min(known) if known and len(known) == len(instants) and self._has_shown else None
        now = self._clock.now()
        restored = sum(state.is_restored for state in self._states)
        oldest = min(self._lag.since.values(), default=None)
        return Freshness(
            as_of=as_of,
            age_ms=None if as_of is None else max(0, now - as_of),
            restored=restored,
            partitions=self._log.partitions,
            behind_ms=0 if oldest is None else max(0, now - oldest),
        )

    @property
    def _has_shown(self) -> bool:
        """A checkpoint of each partition, if there is one that is whole."""
        return all(state.is_restored or state.damage for state in self._states)

    def shows(self, partition: int, offset: int) -> bool:
        """Whether the record of `traffic.deltas` at this offset is counted in what is shown."""
        return self._states[partition].shown.current.next_offset > offset

    def service(self, service: str) -> Status | None:
        """None if there is none of this id."""
        row = self._columns.names.row(service)
        if row < 0:
            return None
        view = self._view(row)
        partition = wire.partition_of(service, self._log.partitions)
        pages = self._states[self._columns.pages[row // PAGE_ROWS][0]].shown
        plans = {each.plan: pages.fixed.plans[each.plan] for each in view.plans}
        enforcement = self._enforcements[partition].enforcement(service)
        return Status(view, plans, enforcement, pages.comparison(service))

    def search(self, query: Query) -> Found:
        rows, total = searching.search(self._columns, query)
        return Found([self._columns.line(row) for row in rows], total)

    def _view(self, row: int) -> ServiceView:
        place = self._columns.pages[row // PAGE_ROWS]
        decoded = self._decoded.get(place)
        if decoded is None:
            partition, number = place
            decoded = self._decoded[place] = self._states[partition].shown.page(number)
            if len(self._decoded) > MOST_DECODED:
                self._decoded.popitem(last=False)
        self._decoded.move_to_end(place)
        return decoded.view(row % PAGE_ROWS)

    def population(self) -> Mapping[tuple[str, str], int]:
        """(plan, profile) -> how many services are in it; all profiles of plans that any service has."""
        found = self._columns.population()
        for plan in {plan for plan, _ in found}:
            for state in self._states:
                if plan in state.shown.fixed.plans:
                    found |= {
                        (plan, profile.name): found.get((plan, profile.name), 0)
                        for profile in state.shown.fixed.plans[plan].profiles
                    }
        return found

    def sources(self) -> Sequence[SourceStatus]:
        return sorted((SourceStatus(*each) for each in self._columns.counted()), key=lambda source: source.name)

    def platforms(self) -> Sequence[PlatformStatus]:
        switches = [each.switches for each in self._enforcements]
        set_ = merged(switches)
        configured = self._settings.platforms
        found = []
        for name in sorted({*set_, *configured}):
            switch = set_.get(name)
            standing = {kind: waiting(switches, name, kind) for kind in KINDS}
            found.append(
                PlatformStatus(
                    name=name,
                    released=switch is not None and switch.released,
                    braked=switch is not None and switch.braked,
                    allowed_until=0 if switch is None else switch.allowed_until,
                    shadow=self._settings.shadow and name in configured,
                    configured=name in configured,
                    standing={kind: Standing(it.services, it.some) for kind, it in standing.items() if it.services},
                )
            )
        return found

    def plans(self) -> PlansInForce:
        fixed = [state.shown.fixed for state in self._states]
        newest = max(fixed, key=lambda each: each.plans_version)
        return PlansInForce(newest.plans_version, newest.plans, [each.plans_version for each in fixed])

    # ------------------------------------------------------------ judgements

    def known(self) -> Known:
        """What `problems` is judged from."""
        shown = [state.shown for state in self._states]
        checkpointed = [pages.current.appended for pages in shown if pages.current.number]
        counted = [pages for pages in shown if pages.partition not in self._lag.since]
        damaged = [reader.damage for reader, _ in self._readers if reader.damage]
        return Known(
            now=self._clock.now(),
            sources={source.name: source for source in self.sources()},
            uncounted=dict(self._lag.since),
            checkpointed_at=max(checkpointed, default=None),
            in_force=[InForce(it.fixed.plans_version, it.fixed.plans, it.fixed.mappings) for it in counted],
            switches=[each.switches for each in self._enforcements],
            unsettled=[each for reader in self._enforcements for each in reader.unsettled.values()],
            letters=self._history.letters_since(self._clock.now() - DAY_MS),
            damaged=damaged,
            is_complete=all(progress.as_of is not None or reader.damage for reader, progress in self._readers),
            unreachable=next((progress.trouble for _, progress in self._readers if progress.trouble), self._silence),
        )

    def problems(self) -> Sequence[Problem]:
        """What a person should mend; of what is not read yet, nothing."""
        return problems_of(self.known(), self._settings)

    def notes(self) -> Sequence[Problem]:
        """What one should know and need not mend."""
        return notes_of(self.known())

    # ------------------------------------------------------------ what was

    async def history(
        self, service: str, *, before: str | None = None, limit: int = 100, since: int | None = None
    ) -> Entries:
        """Newest first; `since`: what became known at this instant or later."""
        await self._history.open(self._clock.now())
        return await self._index.entries(service, before, since, limit)

    async def recent(self, *, since: int | None = None, before: str | None = None, limit: int = 100) -> Entries:
        """As `history`, of all services."""
        await self._history.open(self._clock.now())
        return await self._index.entries(None, before, since, limit)

    async def adjusted(self, identity: str) -> Sequence[Entry]:
        """What the adjustments of that id have caused, the oldest first, for as long as trackers remember the id."""
        now = self._clock.now()
        await self._history.open(now)
        return await self._index.adjusted(identity, now - KEPT_MS)

    async def population_over_time(self, since: int, until: int) -> Sequence[Population]:
        """As it was noted while a replica was running; thinned out evenly over long times."""
        await self._history.open(self._clock.now())
        return await self._index.population(since, until)

    async def letters(self, *, before: str | None = None, limit: int = 50) -> Letters:
        await self._history.open(self._clock.now())
        return await self._index.letters(before, limit)


async def _set(event: asyncio.Event) -> None:
    await event.wait()
