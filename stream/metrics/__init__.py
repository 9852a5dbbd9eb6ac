"""Every metric of quota-stream, with its help text.  Public API: names change only additively.

Base units, Prometheus naming, and never a service id as a label.  One `Metrics` observes all roles of a process: it
implements the observer protocols of the runtime, which itself does not know Prometheus.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge, Info

from stream import __version__
from stream.metrics.collection import CollectionMetrics
from stream.metrics.enforcement import EnforcementMetrics, PlatformMetrics
from stream.metrics.notifying import NoticeMetrics
from stream.metrics.tracking import TrackerMetrics
from stream.metrics.web import WebMetrics
from stream.ports import Clock, Role


class Metrics:
    """The registry of one process and everything that is counted in it."""

    def __init__(self, clock: Clock) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        Info("quota_stream_build", "Version of this program.", registry=self.registry).info({"version": __version__})
        self.tracker = TrackerMetrics(self.registry, clock)
        self.collection = CollectionMetrics(self.registry, clock)
        self.enforcement = EnforcementMetrics(self.registry)
        self.platforms = PlatformMetrics(self.registry, clock)
        self.web = WebMetrics(self.registry)
        self.notices = NoticeMetrics(self.registry, clock)
        self._assigned = Gauge(
            "quota_stream_assigned_partitions",
            "How many partitions this process is to serve in each of its roles.",
            ["role"],
            registry=self.registry,
        )
        self._log_bytes = Gauge("quota_stream_log_bytes", "Size of the embedded log's file.", registry=self.registry)
        self._log_free_bytes = Gauge(
            "quota_stream_log_free_bytes",
            "Room that is left where the embedded log's file lies.",
            registry=self.registry,
        )

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

    def measure_log(self, size_bytes: Callable[[], int], free_bytes: Callable[[], int]) -> None:
        """Let the size of the embedded log, and the room that it has left, be asked for at each scrape."""
        self._log_bytes.set_function(size_bytes)
        self._log_free_bytes.set_function(free_bytes)
