"""Every metric of quota-stream, with its help text.  Public API: names change only additively.

Base units, Prometheus naming, and never a service id as a label.  One `Metrics` object observes all roles of a
process; it implements the observer protocols of the runtime, which does not know Prometheus.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from stream import __version__
from stream.core.model import Decision, QuotaWarning
from stream.core.tracker import Tracker

LATENCY_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900)


class Metrics:
    """The registry of one process and everything that is counted in it."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry(auto_describe=True)
        r = self.registry
        Info("quota_stream_build", "Version of this program.", registry=r).info({"version": __version__})
