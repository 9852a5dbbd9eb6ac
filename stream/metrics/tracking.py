"""What trackers count and decide."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from stream.core.model import Decision, QuotaWarning
from stream.core.tracker import Tracker
from stream.ports import Clock

DOWN = frozenset({"exceeded", "reached"})
UP = frozenset({"stay_over", "period"})


class TrackerMetrics:
    """What the trackers of this process count and decide."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._clock = clock
        self.trackers: dict[int, Tracker] = {}
        """Those of this process, by partition: to look at."""
        self._assigned: frozenset[int] | None = None
        self._news = asyncio.Event()
        """Something was assigned or restored."""
        self._counted: dict[tuple[int, str], int] = {}
        self._undurable: dict[int, tuple[int, int]] = {}
        """By partition: since when (ms) something that was counted is not durable, and up to which offset it was."""
        self._totals = Counter(
            "quota_stream_tracker_events",
            "What trackers made of their input since they took over: deltas by outcome, bytes by outcome (`*_bytes`), "
            "repeats, gaps, late and stale numbers.",
            ["outcome"],
            registry=registry,
        )
        self._decisions = Counter(
            "quota_stream_decisions",
            "Profile changes by plan (empty: of no single plan), direction (down, up, other) and reason.",
            ["plan", "direction", "reason"],
            registry=registry,
        )
        self._warnings = Counter(
            "quota_stream_warnings", "Warnings that a quota is nearly used up, by plan.", ["plan"], registry=registry
        )
        self._dead_letters = Counter(
            "quota_stream_dead_letters", "Rejected records and elements, by reason.", ["reason"], registry=registry
        )
        self._foreign_keys = Counter(
            "quota_stream_foreign_keys", "Records whose key is not their service; they count too.", registry=registry
        )
        self._checkpoint_seconds = Histogram(
            "quota_stream_checkpoint_duration_seconds",
            "Time to make what was counted durable.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )
        self._define_gauges(registry)

    def _define_gauges(self, registry: CollectorRegistry) -> None:
        self._lag_seconds = Gauge(
            "quota_stream_input_lag_seconds",
            "Age of the newest record that the tracker has applied, when it applied it.",
            ["partition"],
            registry=registry,
        )
        self._behind = Gauge(
            "quota_stream_input_behind_records",
            "Offsets between what the tracker has applied and the end of its input.",
            ["partition"],
            registry=registry,
        )
        self._population = Gauge(
            "quota_stream_services", "Services by plan and profile.", ["plan", "profile"], registry=registry
        )
        self._source_age = Gauge(
            "quota_stream_source_age_seconds",
            "Age of the oldest counted end among a source's services: how far the numbers lie behind.",
            ["source"],
            registry=registry,
        )
        checkpoint_age = Gauge(
            "quota_stream_checkpoint_age_seconds",
            "How long the oldest input that is counted and not yet durable has waited for its checkpoint (0: none "
            "waits).",
            registry=registry,
        )
        checkpoint_age.set_function(self._checkpoint_age_s)

    # ------------------------------------------------ the tracker's observer

    def assigned(self, partitions: frozenset[int]) -> None:
        self._assigned = partitions
        for partition in self.trackers.keys() - partitions:
            del self.trackers[partition]
            self._undurable.pop(partition, None)
            for gauge in (self._lag_seconds, self._behind):
                with suppress(KeyError):  # nothing was applied here
                    gauge.remove(str(partition))
        self._news.set()

    def restored(self, partition: int, tracker: Tracker) -> None:
        self.trackers[partition] = tracker
        self._news.set()
        _, offset = self._undurable.get(partition, (0, 0))
        if tracker.next_offset >= offset:  # otherwise the same waits again, for as long as it has waited already
            self._undurable.pop(partition, None)
        for outcome in tracker.counters:
            self._counted[partition, outcome] = tracker.counters[outcome]

    def applied(self, partition: int, tracker: Tracker, fetched_at_ms: int) -> None:
        since, offset = self._undurable.get(partition, (self._clock.now(), 0))
        self._undurable[partition] = since, max(offset, tracker.next_offset)
        self._lag_seconds.labels(str(partition)).set(max(0, self._clock.now() - fetched_at_ms) / 1000)
        for outcome, total in tracker.counters.items():
            before = self._counted.get((partition, outcome), 0)
            if total != before:
                self._totals.labels(outcome).inc(total - before)
                self._counted[partition, outcome] = total

    def behind(self, partition: int, records: int) -> None:
        self._behind.labels(str(partition)).set(records)

    def checkpointed(self, partition: int, next_offset: int, seconds: float, records: int) -> None:
        self._checkpoint_seconds.observe(seconds)
        _, offset = self._undurable.pop(partition, (0, 0))
        if offset > next_offset:  # applied since this checkpoint was staged, at its beginning
            self._undurable[partition] = self._clock.now() - round(1000 * seconds), offset

    def decided(self, outcome: Decision | QuotaWarning) -> None:
        if isinstance(outcome, QuotaWarning):
            self._warnings.labels(outcome.plan).inc()
            return
        direction = "down" if outcome.reason in DOWN else "up" if outcome.reason in UP else "other"
        self._decisions.labels(outcome.plan or "", direction, outcome.reason).inc()

    def rejected(self, reason: str) -> None:
        self._dead_letters.labels(reason.partition(": ")[0]).inc()

    def foreign_keys(self, records: int) -> None:
        self._foreign_keys.inc(records)

    # ------------------------------------------------ at scrape time

    def refresh(self) -> None:
        """Bring the gauges up to date that are read off the trackers' tables."""
        population: dict[tuple[str, str], int] = {}
        ends: dict[str, int] = {}
        for tracker in self.trackers.values():
            for key, count in tracker.population().items():
                population[key] = population.get(key, 0) + count
            for source, (oldest, _) in tracker.sources().items():
                if oldest is not None:
                    ends[source] = min(oldest, ends.get(source, oldest))
        self._population.clear()
        for (plan, profile), count in population.items():
            self._population.labels(plan, profile).set(count)
        self._source_age.clear()
        for source, end in ends.items():
            self._source_age.labels(source).set(max(0, self._clock.now() - end) / 1000)

    async def all_restored(self) -> None:
        """Return once it is known what this process is to serve, and all of that, be it nothing, is taken over."""
        while self._missing() is None or self._missing():
            self._news.clear()
            await self._news.wait()

    def _missing(self) -> list[int] | None:
        """The assigned partitions that are not taken over yet; None until any assignment is known."""
        return None if self._assigned is None else sorted(self._assigned - self.trackers.keys())

    def problems(self, unready_after_s: float) -> dict[str, str]:
        """What is not ready, in words."""
        missing = self._missing()
        if missing is None:
            return {"tracker": "it is not known yet which partitions are to be served here"}
        if missing:
            return {"tracker": f"not taken over yet: partitions {', '.join(map(str, missing))}"}
        age_s = self._checkpoint_age_s()
        if age_s > unready_after_s:
            return {"tracker": f"what was counted {age_s:.0f} s ago is not durable yet"}
        return {}

    def _checkpoint_age_s(self) -> float:
        return max((self._clock.now() - since for since, _ in self._undurable.values()), default=0) / 1000
