"""What the receiver of notices is told."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class NoticeMetrics:
    """Implements NoticeObserver."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._notices = Counter(
            "quota_stream_notices",
            "Attempts to tell the receiver, by kind (change, return, warning, alarm) and result (delivered, "
            "unavailable, refused, dropped: refused for a day).",
            ["kind", "result"],
            registry=registry,
        )
        self._undelivered = Gauge(
            "quota_stream_notices_undelivered",
            "Notices that wait for the receiver.",
            registry=registry,
        )
        self._by_partition: dict[int, int] = {}

    def notified(self, kind: str, result: str) -> None:
        self._notices.labels(kind, result).inc()

    def undelivered(self, partition: int, count: int) -> None:
        self._by_partition[partition] = count
        self._undelivered.set(sum(self._by_partition.values()))
