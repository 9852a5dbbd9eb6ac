"""What the API and the pages are asked, and how fresh what they show is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class WebMetrics:
    """Of one process that serves the web."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "quota_stream_web_requests",
            "Answers of the API and the pages, by route (`none`: there is no such one) and status.",
            ["route", "status"],
            registry=registry,
        )
        self._request_seconds = Histogram(
            "quota_stream_web_request_duration_seconds",
            "Time to answer, by route; live connections are not among them.",
            ["route"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
            registry=registry,
        )
        self._live = Gauge(
            "quota_stream_web_live_connections", "Pages and programs that are told what changes.", registry=registry
        )
        self._age = Gauge(
            "quota_stream_replica_age_seconds",
            "How old what the API and the pages show is (NaN: not everything was read yet).",
            registry=registry,
        )
        self._behind = Gauge(
            "quota_stream_replica_behind_seconds",
            "How long the oldest record waits that no tracker has counted (0: none waits, as far as is known).",
            registry=registry,
        )

    def answered(self, route: str, status: int, seconds: float | None) -> None:
        """`route`: its template.  `seconds`: None of a live connection."""
        self._requests.labels(route, str(status)).inc()
        if seconds is not None:
            self._request_seconds.labels(route).observe(seconds)

    @contextmanager
    def live(self) -> Iterator[None]:
        """While it lasts one more is told what changes."""
        with self._live.track_inprogress():
            yield

    def measure(self, age_ms: Callable[[], int | None], behind_ms: Callable[[], int]) -> None:
        """Let the replica's freshness be asked for at each scrape."""

        def age_s() -> float:
            age = age_ms()
            return math.nan if age is None else age / 1000

        self._age.set_function(age_s)
        self._behind.set_function(lambda: behind_ms() / 1000)
