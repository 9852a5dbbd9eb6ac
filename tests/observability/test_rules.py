"""Recording and alert rules, by Prometheus' own tool: each alert comes when it should and stays away when it should."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
RULES = ROOT / "compose" / "rules.yaml"
README = (ROOT / "README.md").read_text()
GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}


class Case(NamedTuple):
    """`fires` and `quiet` are series with one value a minute; `at` is when they are looked at."""

    alert: str
    fires: dict[str, str]
    quiet: dict[str, str]
    at: str
    labels: dict[str, str]
    """Of the alert that fires, beside its name and severity."""
    value: str
    """As its texts show it."""


PARTITION = {"partition": "3", "job": "tracker", "instance": "a:1"}
TRACKER = {"job": "tracker", "instance": "a:1"}
VM1 = {"platform": "vm1"}


def series(name: str, **labels: str) -> str:
    inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{inside}}}"


def alarm(kind: str) -> str:
    return series("quota_stream_collector_alarm", platform="vm1", alarm=kind)


BEHIND = series("quota_stream_input_behind_records", **PARTITION)
LAG = series("quota_stream_input_lag_seconds", **PARTITION)
AGE = series("quota_stream_checkpoint_age_seconds", **TRACKER)
SERVED = {"job": "serve", "instance": "s:1"}
SHOWN = series("quota_stream_replica_age_seconds", **SERVED)
WAITING = series("quota_stream_notices_undelivered", **SERVED)
LETTERS = series("quota_stream_dead_letters_total", reason="not registered", **TRACKER)
FREE = series("quota_stream_log_free_bytes", **TRACKER)
SOURCE = series("quota_stream_source_age_seconds", source="vm1", **TRACKER)
CLOCK = series("quota_stream_platform_clock_offset_seconds", platform="vm1", **TRACKER)
MONTH = series("quota_stream_month_difference_bytes", platform="vm1", partition="0")
APPLIED = series("quota_stream_enforcements_total", platform="vm1", result="applied")
FAILED = series("quota_stream_enforcements_total", platform="vm1", result="failed")
OPEN = series("quota_stream_platform_breaker", platform="vm1", state="open")
BRAKE = series("quota_stream_brake_engaged", platform="vm1")
FOREIGN = series("quota_stream_enforcement_findings_total", platform="vm1", finding="foreign")
DRIFTED = series("quota_stream_enforcement_findings_total", platform="vm1", finding="drifted")
SUSPECT = series("quota_stream_enforcement_troubled_services", platform="vm1", trouble="suspect")
UP = series("up", **TRACKER)
ASSIGNED = series("quota_stream_assigned_partitions", role="tracker", **TRACKER)

CASES = [
    Case("QuotaStreamDown", {UP: "1 0x9"}, {UP: "1 0 1x8"}, "4m", TRACKER, ""),
    Case("QuotaStreamNoTracker", {ASSIGNED: "4 0x9"}, {ASSIGNED: "4x9"}, "4m", {}, ""),
    Case("QuotaStreamInputNotCounted", {BEHIND: "1000x20"}, {BEHIND: "9000-400x20"}, "15m", PARTITION, "1000"),
    Case("QuotaStreamInputLag", {LAG: "90x20"}, {LAG: "50x20"}, "10m", PARTITION, "1m 30s"),
    Case("QuotaStreamCheckpointOld", {AGE: "61x9"}, {AGE: "61 5x9"}, "2m", TRACKER, "1m 1s"),
    Case("QuotaStreamReplicaStale", {SHOWN: "NaN NaN 90x9"}, {SHOWN: "NaN NaN 2x9"}, "6m", SERVED, "1m 30s"),
    Case("QuotaStreamNoticesWait", {WAITING: "5x40"}, {WAITING: "5x20 0x20"}, "35m", SERVED, "5"),
    Case("QuotaStreamDeadLetters", {LETTERS: "_x20 4x9"}, {LETTERS: "4x40"}, "25m", {"reason": "not registered"}, "4"),
    Case("QuotaStreamDiskFull", {FREE: "9e8x20"}, {FREE: "5e10x20"}, "15m", TRACKER, ""),
    Case("QuotaStreamStaleSource", {SOURCE: "3600x9"}, {SOURCE: "1700x9"}, "6m", {"source": "vm1"}, "1h 0m 0s"),
    Case("QuotaStreamPlatformUnavailable", {alarm("unavailable"): "1x20"}, {alarm("overrun"): "1x20"}, "11m", VM1, ""),
    Case("QuotaStreamShortList", {alarm("short_list"): "1x2"}, {alarm("short_list"): "0x2"}, "1m", VM1, ""),
    Case("QuotaStreamPollingTooSlow", {alarm("overrun"): "1x40"}, {alarm("overrun"): "1x25 0x20"}, "31m", VM1, ""),
    Case("QuotaStreamClockOff", {CLOCK: "-45x20"}, {CLOCK: "20x20"}, "12m", TRACKER | VM1, "45s"),
    Case("QuotaStreamMonthDiffers", {MONTH: "2147483648x1500"}, {MONTH: "9e8x1500"}, "24h30m", VM1, "2Gi"),
    Case(
        "QuotaStreamEnforcementFailing", {APPLIED: "0+3x30", FAILED: "0+1x30"}, {APPLIED: "0+30x30", FAILED: "0+1x30"},
        "25m", VM1, "25%",
    ),
    Case("QuotaStreamBreakerOpen", {OPEN: "1x20"}, {OPEN: "1x5 0x20"}, "11m", VM1, ""),
    Case("QuotaStreamBrake", {BRAKE: "0 1"}, {BRAKE: "0 0"}, "1m", VM1, ""),
    Case("QuotaStreamForeignWriter", {FOREIGN: "_x5 1x30"}, {DRIFTED: "_x5 1x30"}, "10m", VM1, ""),
    Case("QuotaStreamSuspectLimits", {SUSPECT: "3x70"}, {SUSPECT: "0x70"}, "65m", VM1, "3"),
]  # fmt: skip


def promtool(*words: str | Path) -> str:
    done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_prometheus_takes_the_rules_and_the_configuration() -> None:
    """Without an error or a warning."""
    assert "SUCCESS" in promtool("check", "rules", RULES)
    assert "SUCCESS" in promtool("check", "config", ROOT / "compose" / "prometheus.yaml")


def test_each_alert_has_a_case_and_a_line_in_the_runbook() -> None:
    """The README's table names each alert once and no other, and says what to do."""
    assert [case.alert for case in CASES] == list(ALERTS)
    rows = re.findall(r"^\| `(QuotaStream\w+)` \| (.+?) \| (.+?) \|$", README, flags=re.MULTILINE)
    assert [name for name, _, _ in rows] == list(ALERTS)


def expected(case: Case) -> dict[str, Any]:
    """The alert as it stands in the rules, its texts filled in."""
    rule = ALERTS[case.alert]

    def fill(text: str) -> str:
        text = re.sub(r"{{ \$labels\.(\w+) }}", lambda found: case.labels[found[1]], text)
        return re.sub(r"{{ \$value[^}]*}}", lambda _: case.value, text)

    annotations = {name: fill(text) for name, text in rule["annotations"].items()}
    return {"exp_labels": case.labels | rule["labels"], "exp_annotations": annotations}


@pytest.mark.parametrize("case", CASES, ids=[case.alert for case in CASES])
def test_it_fires_when_it_should_and_else_does_not(case: Case, tmp_path: Path) -> None:
    """Once with numbers that somebody must hear of, once with some that are almost as bad."""

    def test(numbers: dict[str, str], alerts: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in numbers.items()],
            "alert_rule_test": [{"eval_time": case.at, "alertname": case.alert, "exp_alerts": alerts}],
        }

    document = {"rule_files": [str(RULES)], "tests": [test(case.fires, [expected(case)]), test(case.quiet, [])]}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(document))
    promtool("test", "rules", tmp_path / "tests.yaml")


def test_records_are_what_their_names_say(tmp_path: Path) -> None:
    """Rates by the second, and shares of what there was."""
    records = {
        "quota_stream:enforcements:failed_ratio15m": ({APPLIED: "0+3x30", FAILED: "0+1x30"}, VM1, 0.25),
        "quota_stream:deltas:rate5m": (
            {series("quota_stream_tracker_events_total", outcome="deltas_new"): "0+60x30"},
            {"outcome": "deltas_new"}, 1,
        ),
        "quota_stream:decisions:rate5m": (
            {series("quota_stream_decisions_total", plan="vpn", direction="down", reason="exceeded"): "0+6x30"},
            {"plan": "vpn", "direction": "down"}, 0.1,
        ),
        "quota_stream:enforcement_latency_seconds:p99_5m": (
            {series("quota_stream_enforcement_latency_seconds_bucket", le=edge): value
             for edge, value in (("0.5", "0+0x30"), ("1", "0+10x30"), ("+Inf", "0+10x30"))},
            {}, 0.995,
        ),
        "quota_stream:platform_requests:failed_ratio5m": (
            {series("quota_stream_platform_request_duration_seconds_count", platform="vm1", outcome=outcome): value
             for outcome, value in (("ok", "0+3x30"), ("suspended", "0+4x30"), ("refused", "0+1x30"))},
            VM1, 0.125,
        ),
    }  # fmt: skip
    assert records.keys() == {rule["record"] for group in GROUPS for rule in group["rules"] if "record" in rule}
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in numbers.items()],
            "promql_expr_test": [
                {
                    "expr": record,
                    "eval_time": "20m",
                    "exp_samples": [{"labels": series(record, **labels), "value": value}],
                }
            ],
        }
        for record, (numbers, labels, value) in records.items()
    ]
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": tests}))
    promtool("test", "rules", tmp_path / "tests.yaml")
