"""What enforcers do to platforms, and what platforms answer."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from stream.ports import Clock

LATENCY_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)


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

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._clock = clock
        self._dates: dict[str, str] = {}
        self._requests = Histogram(
            "quota_stream_platform_request_duration_seconds",
            "Requests to a platform, by what they are for and by outcome (ok, suspended, unauthorized, refused, "
            "unavailable).",
            ["platform", "kind", "outcome"],
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )

        self._clock_offset = Gauge(
            "quota_stream_platform_clock_offset_seconds",
            "By how much a platform's clock is ahead of ours, by the date of its last answer (to a second).",
            ["platform"],
            registry=registry,
        )

    def requested(self, platform: str, kind: str, outcome: str, seconds: float) -> None:
        self._requests.labels(platform, kind, outcome).observe(seconds)

    def dated(self, platform: str, date: str) -> None:
        """`date`: as in HTTP.  What is none says nothing."""
        if self._dates.get(platform) == date:  # many answers of one second
            return
        self._dates[platform] = date
        try:
            shown_ms = round(1000 * parsedate_to_datetime(date).timestamp())
        except (ValueError, OverflowError):
            return
        offset_ms = shown_ms - self._clock.now()  # the date is cut to the second: of -1 s to 0 nothing is known
        self._clock_offset.labels(platform).set(0 if -1000 < offset_ms <= 0 else offset_ms / 1000)
