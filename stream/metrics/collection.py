"""What collectors read and publish."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge

from stream.ports import Clock
from stream.runtime.comparison import Comparison
from stream.runtime.source import Cycle


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
