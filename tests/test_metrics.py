"""Metrics are public API: documented, well named, readable by Prometheus, and never about a single service."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from stream.adapters.memory import MemoryLog
from stream.core.model import Decision, Position, QuotaWarning, Watermark
from stream.core.speed import ORIGINAL
from stream.core.tracker import Tracker
from stream.metrics import Metrics
from stream.ports import DELTAS, Message, Role
from stream.runtime.comparison import Comparison
from stream.runtime.lag import look
from stream.runtime.source import Cycle

README = Path(__file__).parent.parent / "README.md"
SUFFIXES = {"counter": "_total", "info": "_info"}
UNITS = ("_seconds", "_bytes", "_total", "_info")
COUNTS = {
    "quota_stream_services",
    "quota_stream_platform_services",
    "quota_stream_enforcement_troubled_services",
    "quota_stream_assigned_partitions",
    "quota_stream_input_behind_records",
    "quota_stream_web_live_connections",
    "quota_stream_notices_undelivered",
}
STATES = {"quota_stream_collector_alarm", "quota_stream_platform_breaker", "quota_stream_brake_engaged"}


class Clock:
    """Stands where it is put."""

    def __init__(self) -> None:
        self.instant = 1_764_547_200_000

    def now(self) -> int:
        return self.instant


def families(metrics: Metrics) -> dict[str, Metric]:
    """Every metric that is defined, by its exposed name."""
    return {family.name + SUFFIXES.get(family.type, ""): family for family in metrics.registry.collect()}


def busy() -> Metrics:
    """Metrics of a process to which everything has happened once."""
    metrics = Metrics(Clock())
    tracker = Tracker(0, lambda _: 0)
    metrics.assigned("tracker", frozenset({0}))
    metrics.tracker.restored(0, tracker)
    tracker.apply([Watermark(Position(0), 5, "vm1"), Watermark(Position(1), 5, "vm1")], 2)
    metrics.tracker.applied(0, tracker, 1_764_547_100_000)
    decision = Decision(
        service="vm1/101", incarnation=1, revision=2, at=5, reason="exceeded", speed=ORIGINAL, plans_version=1,
        input=Position(1), partition=0, plan="vpn",
    )  # fmt: skip
    metrics.tracker.decided(decision)
    metrics.tracker.decided(QuotaWarning("vm1/101", 1, "vpn", "default", 5, 80, 8, 10, (), 1, Position(1), 0))
    metrics.tracker.rejected("not registered: vm1/999")
    metrics.tracker.checkpointed(0, 2, 0.01, 3)
    metrics.collection.published("vm1", 5)
    metrics.collection.append_failed("vm1", 0)
    metrics.collection.read("vm1", "ok")
    metrics.collection.cycle("vm1", Cycle(stalest_at=1))
    metrics.collection.alarm("vm1", "unavailable", True)
    metrics.collection.compared("vm1", 0, [Comparison("vm1/101", 0, 1, 5, 5, 6, 6)])
    metrics.enforcement.enforced("vm1", "applied")
    metrics.enforcement.told("vm1", 1.5)
    metrics.enforcement.found("vm1", "foreign")
    metrics.enforcement.standing("vm1", 0, {"braked": 2})
    metrics.enforcement.breaker("vm1", "open")
    metrics.platforms.requested("vm1", "list", "ok", 0.1)
    metrics.platforms.dated("vm1", "Mon, 01 Dec 2025 00:00:05 GMT")
    metrics.tracker.behind(0, 7)
    metrics.notices.notified("change", "delivered")
    metrics.web.answered("/api/v1/services/{service}", 200, 0.01)
    return metrics


def test_the_oldest_notice() -> None:
    """Its age grows with the clock; of several partitions the oldest counts, and none is 0."""
    clock = Clock()
    metrics = Metrics(clock)

    def oldest() -> float | None:
        return metrics.registry.get_sample_value("quota_stream_notices_oldest_seconds")

    assert oldest() == 0
    metrics.notices.undelivered(0, 1, clock.instant - 5000)
    metrics.notices.undelivered(1, 1, clock.instant - 9000)
    clock.instant += 1000
    assert oldest() == 10
    metrics.notices.undelivered(1, 0, None)
    assert oldest() == 6


def test_each_metric_is_documented() -> None:
    """Its name, type and help text stand in the README's table, and the table names no other."""
    rows = re.findall(r"^\| `(quota_stream_\w+)` \| (\w+) \| (.*?) \| (.*) \|$", README.read_text(), flags=re.MULTILINE)
    documented = {name: (type_, help_) for name, type_, _, help_ in rows}
    defined = {name: (family.type, family.documentation) for name, family in families(Metrics(Clock())).items()}
    assert documented == defined


def documented_labels() -> dict[str, set[str]]:
    """By the name of each sample, as the README's table has them."""
    found: dict[str, set[str]] = {}
    for name, type_, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) \|", README.read_text(), flags=re.MULTILINE):
        names = set(labels.split(", ")) - {""}
        if type_ == "histogram":
            found |= {f"{name}_bucket": names | {"le"}, f"{name}_count": names, f"{name}_sum": names}
        else:
            found[name] = names | ({"version"} if type_ == "info" else set())
    return found


def test_each_label_is_documented() -> None:
    """The labels of each sample are those of its row in the README's table."""
    metrics = busy()
    metrics.refresh()
    for family in metrics.registry.collect():
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                assert set(sample.labels) == documented_labels()[sample.name], sample.name


def test_names_follow_the_rules() -> None:
    """One prefix, base units at the end; what has no unit counts services or is a state."""
    for name in families(Metrics(Clock())):
        assert name.startswith("quota_stream_")
        assert name.endswith(UNITS) or name in COUNTS | STATES, name


def test_prometheus_reads_them_and_no_label_is_a_service() -> None:
    """The exposition parses, every defined family is in it, and no label's value is a service id."""
    metrics = busy()
    metrics.refresh()
    text = generate_latest(metrics.registry).decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    assert samples
    for sample in samples:
        values = [value for label, value in sample.labels.items() if label != "route" or "{" not in value]
        assert not [value for value in values if "/" in value], sample
    exposed = {sample.name for sample in samples}
    for name, family in families(metrics).items():
        assert {name, f"{name}_count"} & exposed or family.type == "gauge", name


def test_the_reason_of_a_dead_letter_is_cut_to_its_kind() -> None:
    """Names and numbers in a reason make no new series."""
    metrics = busy()
    metrics.tracker.rejected("not registered: vm1/1000")
    assert metrics.registry.get_sample_value("quota_stream_dead_letters_total", {"reason": "not registered"}) == 2


@pytest.mark.parametrize(
    ("date", "offset_s"),
    [
        ("Mon, 01 Dec 2025 00:00:05 GMT", 5),
        ("Mon, 01 Dec 2025 01:00:00 +0200", -3600),
        ("Mon, 01 Dec 2025 00:00:00 GMT", 0),
        ("Sun, 30 Nov 2025 23:59:59 GMT", -1),
        ("yesterday", None),
    ],
)
def test_a_platform_s_clock_is_compared_with_ours(date: str, offset_s: float | None) -> None:
    """By the date of its answers, which has whole seconds; a date that is none says nothing."""
    metrics = Metrics(Clock())
    metrics.platforms.dated("vm1", date)
    found = metrics.registry.get_sample_value("quota_stream_platform_clock_offset_seconds", {"platform": "vm1"})
    assert found == offset_s


async def test_what_waits_behind_a_tracker_is_told() -> None:
    """Offsets between what it has applied and the end of the input, and nothing of partitions that others serve."""
    metrics, log = Metrics(Clock()), MemoryLog(clock=Clock(), partitions=2)
    metrics.assigned("tracker", frozenset({1}))
    metrics.tracker.restored(1, Tracker(1, lambda _: 1))
    for partition in (0, 1):
        await log.append(DELTAS, partition, [Message(b"vm1", b"{}")] * 3)
    await look(log, metrics.tracker)
    behind = [
        metrics.registry.get_sample_value("quota_stream_input_behind_records", {"partition": str(partition)})
        for partition in (0, 1)
    ]
    assert behind == [None, 3]


@pytest.mark.parametrize(("age_ms", "ready"), [(0, True), (119_000, True), (121_000, False)])
def test_what_waits_long_for_its_checkpoint_makes_unready(age_ms: int, ready: bool) -> None:
    """Silence is no illness; counted input that does not become durable is."""
    clock = Clock()
    metrics = Metrics(clock)
    tracker = Tracker(0, lambda _: 0)
    metrics.assigned("tracker", frozenset({0}))
    metrics.tracker.restored(0, tracker)
    assert metrics.tracker.problems(120) == {}
    metrics.tracker.applied(0, tracker, clock.now())
    clock.instant += age_ms
    assert (metrics.tracker.problems(120) == {}) == ready
    metrics.tracker.checkpointed(0, 0, 0.01, 1)
    assert metrics.tracker.problems(120) == {}


def test_what_is_counted_during_a_checkpoint_waits_for_the_next() -> None:
    """It is at most as old as the checkpoint."""
    clock = Clock()
    metrics, tracker = Metrics(clock), Tracker(0, lambda _: 0)
    for next_offset in (5, 7):
        tracker.apply((), next_offset)
        metrics.tracker.applied(0, tracker, clock.now())
        clock.instant += 100_000

    def age_s() -> float | None:
        return metrics.registry.get_sample_value("quota_stream_checkpoint_age_seconds")

    assert age_s() == 200
    metrics.tracker.checkpointed(0, 5, 90.0, 1)
    assert age_s() == 90
    metrics.tracker.checkpointed(0, 7, 1.0, 1)
    assert age_s() == 0


async def test_a_process_is_ready_when_it_serves_its_share() -> None:
    """Which it has to know, and which may be nothing; partitions of others are not waited for."""
    metrics = Metrics(Clock())
    ready = asyncio.create_task(metrics.tracker.all_restored())

    async def is_ready() -> bool:
        for _ in range(3):
            await asyncio.sleep(0)
        return ready.done()

    assert metrics.tracker.problems(120) == {"tracker": "it is not known yet which partitions are to be served here"}
    metrics.tracker.restored(7, Tracker(7, lambda _: 7))
    assert not await is_ready()
    metrics.assigned("enforcer", frozenset())
    metrics.assigned("tracker", frozenset({1, 2, 7}))
    assert metrics.tracker.problems(120) == {"tracker": "not taken over yet: partitions 1, 2"}
    metrics.tracker.restored(1, Tracker(1, lambda _: 1))
    assert not await is_ready()
    metrics.tracker.restored(2, Tracker(2, lambda _: 2))
    assert await is_ready()
    assert metrics.tracker.problems(120) == {}
    without = Metrics(Clock())
    without.assigned("tracker", frozenset())
    await without.tracker.all_restored()
    assert without.tracker.problems(120) == {}


def test_what_others_serve_is_theirs_to_measure() -> None:
    """A partition that went away takes its services, its age, its troubles and its differences along."""
    metrics = busy()
    tracker = Tracker(0, lambda _: 0)
    for partition in (0, 1):
        metrics.tracker.restored(partition, tracker)
        metrics.tracker.applied(partition, tracker, 5)
        metrics.collection.compared("vm1", partition, [Comparison("vm1/101", 0, 1, 5, 5, 6, 6)])
        metrics.enforcement.standing("vm1", partition, {"braked": 2, "drifted": 1})
    roles: tuple[Role, ...] = ("tracker", "collector", "enforcer")
    for role in roles:
        metrics.assigned(role, frozenset({0, 1}))
        metrics.assigned(role, frozenset({1}))
        assert metrics.registry.get_sample_value("quota_stream_assigned_partitions", {"role": role}) == 1
    assert list(metrics.tracker.trackers) == [1]
    metrics.tracker.checkpointed(1, 0, 0.1, 1)

    def sample(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"quota_stream_{name}", labels)

    assert sample("checkpoint_age_seconds") == 0
    assert sample("input_lag_seconds", partition="0") is None
    assert sample("input_lag_seconds", partition="1") is not None
    assert sample("month_difference_bytes", platform="vm1", partition="0") is None
    assert sample("month_difference_bytes", platform="vm1", partition="1") is not None
    assert sample("enforcement_troubled_services", platform="vm1", trouble="drifted") == 1
    metrics.assigned("enforcer", frozenset())
    assert sample("brake_engaged", platform="vm1") == 0
