"""Metrics are public API: documented, well named, readable by Prometheus, and never about a single service."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from stream.core.model import Decision, Position, QuotaWarning, Watermark
from stream.core.speed import ORIGINAL
from stream.core.tracker import Tracker
from stream.metrics import Metrics
from stream.runtime.comparison import Comparison
from stream.runtime.source import Cycle

README = Path(__file__).parent.parent / "README.md"
SUFFIXES = {"counter": "_total", "info": "_info"}
UNITS = ("_seconds", "_bytes", "_total", "_info")
COUNTS = {"quota_stream_services", "quota_stream_platform_services", "quota_stream_enforcement_troubled_services"}
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
    metrics.tracker.checkpointed(0, 0.01, 3)
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
    return metrics


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
        assert not [value for value in sample.labels.values() if "/" in value], sample
    exposed = {sample.name for sample in samples}
    for name, family in families(metrics).items():
        assert {name, f"{name}_count"} & exposed or family.type == "gauge", name


def test_the_reason_of_a_dead_letter_is_cut_to_its_kind() -> None:
    """Names and numbers in a reason make no new series."""
    metrics = busy()
    metrics.tracker.rejected("not registered: vm1/1000")
    assert metrics.registry.get_sample_value("quota_stream_dead_letters_total", {"reason": "not registered"}) == 2


@pytest.mark.parametrize(("age_ms", "ready"), [(0, True), (119_000, True), (121_000, False)])
def test_what_waits_long_for_its_checkpoint_makes_unready(age_ms: int, ready: bool) -> None:
    """Silence is no illness; counted input that does not become durable is."""
    clock = Clock()
    metrics = Metrics(clock)
    assert metrics.tracker.problems(120) == {"tracker": "no partition has been taken over yet"}
    tracker = Tracker(0, lambda _: 0)
    metrics.tracker.restored(0, tracker)
    assert metrics.tracker.problems(120) == {}
    metrics.tracker.applied(0, tracker, clock.now())
    clock.instant += age_ms
    assert (metrics.tracker.problems(120) == {}) == ready
    metrics.tracker.checkpointed(0, 0.01, 1)
    assert metrics.tracker.problems(120) == {}
