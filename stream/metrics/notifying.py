"""What the receiver of notices is told."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from stream.ports import Clock


class NoticeMetrics:
    """Implements NoticeObserver."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._clock = clock
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
        self._oldest = Gauge(
            "quota_stream_notices_oldest_seconds",
            "How long the oldest notice has waited that the receiver has not taken (0: none waits).",
            registry=registry,
        )
        self._oldest.set_function(self._oldest_s)
        self._by_partition: dict[int, int] = {}
        self._since: dict[int, int] = {}

    def notified(self, kind: str, result: str) -> None:
        self._notices.labels(kind, result).inc()

    def undelivered(self, partition: int, count: int, since: int | None) -> None:
        self._by_partition[partition] = count
        self._undelivered.set(sum(self._by_partition.values()))
        self._since.pop(partition, None)
        if since is not None:
            self._since[partition] = since

    def _oldest_s(self) -> float:
        now = self._clock.now()
        return max(0, now - min(self._since.values(), default=now)) / 1000
