"""Every metric of quota-stream, with its help text.  Public API: names change only additively.

Base units, Prometheus naming, and never a service id as a label.  One `Metrics` observes all roles of a process: it
implements the observer protocols of the runtime, which itself does not know Prometheus.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from stream import __version__
from stream.core.model import Decision, QuotaWarning
from stream.core.tracker import Tracker
from stream.ports import Clock

LATENCY_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
DOWN = frozenset({"exceeded", "reached"})
UP = frozenset({"stay_over", "period"})


class TrackerMetrics:
    """What the trackers of this process count and decide."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._clock = clock
        self._trackers: dict[int, Tracker] = {}
        self._counted: dict[tuple[int, str], int] = {}
        self._checkpointed_at: dict[int, int] = {}
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
        self._checkpoint_seconds = Histogram(
            "quota_stream_checkpoint_duration_seconds",
            "Time to make what was counted durable.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )
        self._lag_seconds = Gauge(
            "quota_stream_input_lag_seconds",
            "Age of the newest record that the tracker has applied, when it applied it.",
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
            "Time since the last checkpoint of the partition that waits longest for one.",
            registry=registry,
        )
        checkpoint_age.set_function(self._checkpoint_age_s)

    # ------------------------------------------------ the tracker's observer

    def restored(self, partition: int, tracker: Tracker) -> None:
        self._trackers[partition] = tracker
        self._checkpointed_at[partition] = self._clock.now()
        for outcome in tracker.counters:
            self._counted[partition, outcome] = tracker.counters[outcome]

    def applied(self, partition: int, tracker: Tracker, fetched_at_ms: int) -> None:
        self._lag_seconds.labels(str(partition)).set(max(0, self._clock.now() - fetched_at_ms) / 1000)
        for outcome, total in tracker.counters.items():
            before = self._counted.get((partition, outcome), 0)
            if total != before:
                self._totals.labels(outcome).inc(total - before)
                self._counted[partition, outcome] = total

    def checkpointed(self, partition: int, seconds: float, records: int) -> None:
        self._checkpoint_seconds.observe(seconds)
        self._checkpointed_at[partition] = self._clock.now()

    def decided(self, outcome: Decision | QuotaWarning) -> None:
        if isinstance(outcome, QuotaWarning):
            self._warnings.labels(outcome.plan).inc()
            return
        direction = "down" if outcome.reason in DOWN else "up" if outcome.reason in UP else "other"
        self._decisions.labels(outcome.plan or "", direction, outcome.reason).inc()

    def rejected(self, reason: str) -> None:
        self._dead_letters.labels(reason.partition(": ")[0]).inc()

    # ------------------------------------------------ at scrape time

    def refresh(self) -> None:
        """Bring the gauges up to date that are read off the trackers' tables."""
        population: dict[tuple[str, str], int] = {}
        ends: dict[str, int] = {}
        for tracker in self._trackers.values():
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

    def _checkpoint_age_s(self) -> float:
        return max((self._clock.now() - at for at in self._checkpointed_at.values()), default=0) / 1000


class Metrics:
    """The registry of one process and everything that is counted in it."""

    def __init__(self, clock: Clock) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        Info("quota_stream_build", "Version of this program.", registry=self.registry).info({"version": __version__})
        self.tracker = TrackerMetrics(self.registry, clock)
        self._log_bytes = Gauge("quota_stream_log_bytes", "Size of the embedded log's file.", registry=self.registry)

    def refresh(self) -> None:
        """Called before each scrape."""
        self.tracker.refresh()

    def measure_log(self, size_bytes: Callable[[], int]) -> None:
        """Let the size of the embedded log be asked for at each scrape."""
        self._log_bytes.set_function(size_bytes)
