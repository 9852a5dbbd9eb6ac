"""Every metric of quota-stream, with its help text.  Public API: names change only additively.

Base units, Prometheus naming, and never a service id as a label.  One `Metrics` observes all roles of a process: it
implements the observer protocols of the runtime, which itself does not know Prometheus.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from stream import __version__
from stream.core.model import Decision, QuotaWarning
from stream.core.tracker import Tracker
from stream.ports import Clock, Role
from stream.runtime.comparison import Comparison
from stream.runtime.source import Cycle

LATENCY_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
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
            with suppress(KeyError):  # nothing was applied here
                self._lag_seconds.remove(str(partition))
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

    def checkpointed(self, partition: int, seconds: float, records: int) -> None:
        self._checkpoint_seconds.observe(seconds)
        self._undurable.pop(partition, None)

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


class CollectionMetrics:
    """What the collectors of this process read and publish."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._clock = clock
        self._reads = Counter(
            "quota_stream_collector_reads",
            "Totals asked of a platform, one for each service and day, by outcome (ok, no_data, failed).",
            ["platform", "outcome"],
            registry=registry,
        )
        self._published = Counter(
            "quota_stream_collector_deltas", "Deltas published to the log.", ["platform"], registry=registry
        )
        self._append_failures = Counter(
            "quota_stream_collector_append_failures",
            "Publications that the log did not take and that are tried again.",
            ["platform"],
            registry=registry,
        )
        self._cycle_seconds = Gauge(
            "quota_stream_collector_cycle_duration_seconds",
            "How long the last cycle of polling took.",
            ["platform"],
            registry=registry,
        )
        self._machines = Gauge(
            "quota_stream_platform_services",
            "Services of a platform: all that it lists (listed), those with plans (polled), those whose row cannot be "
            "read (unreadable), known ones that are not listed (absent), those days behind (behind), those whose "
            "numbers fail (failing).",
            ["platform", "state"],
            registry=registry,
        )
        self._stalest = Gauge(
            "quota_stream_collector_stalest_success_seconds",
            "Age of the oldest last successful reading among a platform's services.",
            ["platform"],
            registry=registry,
        )
        self._alarms = Gauge(
            "quota_stream_collector_alarm",
            "1 while a platform does not answer (unavailable), lists far too few services (short_list) or takes longer "
            "than the polling interval (overrun).",
            ["platform", "alarm"],
            registry=registry,
        )
        self._month_difference = Gauge(
            "quota_stream_month_difference_bytes",
            "The platform's own total less ours over the final days of the month, summed over services, in and out.",
            ["platform", "partition"],
            registry=registry,
        )
        self._month_differences: dict[tuple[str, int], dict[str, int]] = {}

    def assigned(self, partitions: frozenset[int]) -> None:
        for platform, partition in [place for place in self._month_differences if place[1] not in partitions]:
            del self._month_differences[platform, partition]
            self._month_difference.remove(platform, str(partition))

    def published(self, platform: str, deltas: int) -> None:
        self._published.labels(platform).inc(deltas)

    def append_failed(self, platform: str, partition: int) -> None:
        self._append_failures.labels(platform).inc()

    def read(self, platform: str, outcome: str) -> None:
        self._reads.labels(platform, outcome).inc()

    def cycle(self, platform: str, cycle: Cycle) -> None:
        self._cycle_seconds.labels(platform).set(cycle.seconds)
        counts = {
            "listed": cycle.machines,
            "polled": cycle.services,
            "unreadable": cycle.unreadable,
            "absent": cycle.absent,
            "behind": cycle.behind,
            "failing": cycle.failing,
        }
        for state, count in counts.items():
            self._machines.labels(platform, state).set(count)
        if cycle.stalest_at:
            self._stalest.labels(platform).set(max(0, self._clock.now() - cycle.stalest_at) / 1000)

    def alarm(self, platform: str, alarm: str, raised: bool) -> None:
        self._alarms.labels(platform, alarm).set(raised)

    def compared(self, platform: str, partition: int, compared: Sequence[Comparison], gone: Sequence[str] = ()) -> None:
        newest = self._month_differences.setdefault((platform, partition), {})
        for one in compared:
            newest[one.service] = one.theirs_in + one.theirs_out - one.ours_in - one.ours_out
        for service in gone:
            newest.pop(service, None)
        self._month_difference.labels(platform, str(partition)).set(sum(newest.values()))


class EnforcementMetrics:
    """What the enforcers of this process do to platforms."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._results = Counter(
            "quota_stream_enforcements",
            "Enforcements that ended, by result (applied, failed, refused).",
            ["platform", "result"],
            registry=registry,
        )
        self._latency = Histogram(
            "quota_stream_enforcement_latency_seconds",
            "From the append of the delta that caused a decision to the platform having taken the new speed.",
            ["platform"],
            buckets=LATENCY_S,
            registry=registry,
        )
        self._findings = Counter(
            "quota_stream_enforcement_findings",
            "What enforcers came upon: foreign (somebody else wrote a limit), yielded (we gave way to that), drifted "
            "(our value was lost and repaired), left (repaired too often, left alone), suspect (a limit that may be a "
            "plan's doing is not taken for an original), outdated.",
            ["platform", "finding"],
            registry=registry,
        )
        self._standing = Gauge(
            "quota_stream_enforcement_troubled_services",
            "Services in trouble now, by trouble: the findings, braked (slowing waits for `platform allow`), "
            "unreturned (a release that is not complete).",
            ["platform", "trouble"],
            registry=registry,
        )
        self._breaker = Gauge(
            "quota_stream_platform_breaker",
            "1 for the state that a platform's circuit breaker is in (closed: all is well).",
            ["platform", "state"],
            registry=registry,
        )
        self._braked = Gauge(
            "quota_stream_brake_engaged",
            "1 while slowing waits because too many services would be slowed at once.",
            ["platform"],
            registry=registry,
        )
        self._by_partition: dict[str, dict[int, dict[str, int]]] = {}

    def assigned(self, partitions: frozenset[int]) -> None:
        for platform, known in self._by_partition.items():
            for partition in known.keys() - partitions:
                self.standing(platform, partition, {})

    def enforced(self, platform: str, result: str) -> None:
        self._results.labels(platform, result).inc()

    def told(self, platform: str, latency_s: float) -> None:
        self._latency.labels(platform).observe(max(0.0, latency_s))

    def found(self, platform: str, finding: str) -> None:
        self._findings.labels(platform, finding).inc()

    def standing(self, platform: str, partition: int, services: Mapping[str, int]) -> None:
        partitions = self._by_partition.setdefault(platform, {})
        known = {trouble for each in partitions.values() for trouble in each} | {"braked"}
        partitions[partition] = dict(services)
        for trouble in known | services.keys():
            total = sum(each.get(trouble, 0) for each in partitions.values())
            self._standing.labels(platform, trouble).set(total)
            if trouble == "braked":
                self._braked.labels(platform).set(total > 0)

    def breaker(self, platform: str, state: str) -> None:
        for each in ("closed", "open", "half_open"):
            self._breaker.labels(platform, each).set(each == state)


class PlatformMetrics:
    """What platforms answer."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Histogram(
            "quota_stream_platform_request_duration_seconds",
            "Requests to a platform, by what they are for and by outcome (ok, suspended, unauthorized, refused, "
            "unavailable).",
            ["platform", "kind", "outcome"],
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )

    def requested(self, platform: str, kind: str, outcome: str, seconds: float) -> None:
        self._requests.labels(platform, kind, outcome).observe(seconds)


class Metrics:
    """The registry of one process and everything that is counted in it."""

    def __init__(self, clock: Clock) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        Info("quota_stream_build", "Version of this program.", registry=self.registry).info({"version": __version__})
        self.tracker = TrackerMetrics(self.registry, clock)
        self.collection = CollectionMetrics(self.registry, clock)
        self.enforcement = EnforcementMetrics(self.registry)
        self.platforms = PlatformMetrics(self.registry)
        self._assigned = Gauge(
            "quota_stream_assigned_partitions",
            "How many partitions this process is to serve in each of its roles.",
            ["role"],
            registry=self.registry,
        )
        self._log_bytes = Gauge("quota_stream_log_bytes", "Size of the embedded log's file.", registry=self.registry)

    def assigned(self, role: Role, partitions: frozenset[int]) -> None:
        """What the process serves in this role from now on; what it does not serve any more has ended."""
        self._assigned.labels(role).set(len(partitions))
        match role:
            case "tracker":
                self.tracker.assigned(partitions)
            case "collector":
                self.collection.assigned(partitions)
            case "enforcer":
                self.enforcement.assigned(partitions)

    def refresh(self) -> None:
        """Called before each scrape."""
        self.tracker.refresh()

    def measure_log(self, size_bytes: Callable[[], int]) -> None:
        """Let the size of the embedded log be asked for at each scrape."""
        self._log_bytes.set_function(size_bytes)
