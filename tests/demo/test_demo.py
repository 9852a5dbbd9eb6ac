"""The demo by itself, and with somebody at work between its parts."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from stream import demo as package
from stream.cli import cli
from stream.demo import demo, model
from stream.demo.play import Tampering
from stream.demo.scenario import STEP_MS, Scenario
from tests.demo.tampering import Element, never_lifting, rewriting

SERVICES, HOURS, SEED = 4, 8, 1
SCENARIO = Scenario(SERVICES, HOURS, SEED)
TOLD = ("services", "deltas", "bytes_sent", "bytes_counted", "decisions", "applied", "lifted", "mismatches", "seconds")


def played(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Play it: it must end well.  The summary."""
    assert demo(services=SERVICES, hours=HOURS, seed=SEED, as_json=True)
    summary: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return summary


def test_the_audit_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    """Everything is counted and every limit is right, and the summary holds what it promises."""
    first = played(capsys)
    assert tuple(first) == TOLD
    assert first["services"] == SERVICES
    assert first["mismatches"] == 0
    assert first["bytes_sent"] == first["bytes_counted"] > 0
    assert first["decisions"] > first["lifted"] > 0
    assert min(first["deltas"], first["applied"]) > 0


def lose_the_last(delta: Element) -> list[Element]:
    """Of growing totals a lost one is made good by the next; so these are the last ones."""
    return [] if delta.end > SCENARIO.end_ms - 10 * STEP_MS else [delta]


def count_one_twice(delta: Element) -> list[Element]:
    """In its own right what is in the day's total as well: the bytes since midnight, as those of one step."""
    twice = SCENARIO.start_ms + 60 * STEP_MS
    return [delta._replace(start=delta.end - STEP_MS)] if delta.end == twice else [delta]


def sent_and_counted(line: str) -> tuple[int, int]:
    found = re.search(r": (\d+) bytes were sent, (\d+) counted$", line)
    assert found, line
    return int(found[1]), int(found[2])


def too_few(line: str) -> bool:
    sent, counted = sent_and_counted(line)
    return 0 < counted < sent


def too_many(line: str) -> bool:
    sent, counted = sent_and_counted(line)
    return 0 < sent < counted


def too_slow(line: str) -> bool:
    return re.search(r": its limit is \((10|25|50), \1\) Mbit/s \(in, out\), due is \(100, 100\)$", line) is not None


@pytest.mark.parametrize(
    ("service", "tampering", "wrong"),
    [
        ("vm1/102", rewriting("vm1/102", lose_the_last), too_few),
        ("vm1/103", rewriting("vm1/103", count_one_twice), too_many),
        ("vm1/104", never_lifting("vm1/104"), too_slow),
    ],
    ids=["a delta is lost", "one is counted twice", "a lift is skipped"],
)
def test_the_audit_notices(
    service: str, tampering: Tampering, wrong: Callable[[str], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One service is wronged: the command fails, and says which one, what and how much, and no other."""
    monkeypatch.setattr(package, "demo", partial(demo, tampering=tampering))
    words = ["demo", "--services", str(SERVICES), "--hours", str(HOURS), "--seed", str(SEED), "--json"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 1, result.output
    audit = [line for line in result.stderr.splitlines() if line.startswith("audit: ")]
    assert len(audit) == 1
    assert audit[0].startswith(f"audit: {service}: ")
    assert wrong(audit[0]), audit[0]
    assert json.loads(result.stdout.splitlines()[-1])["mismatches"] == 1


def test_the_model_stands_alone() -> None:
    """The auditor's own idea of a ladder shares no line with what it audits."""
    assert model.__file__ is not None
    imported = set()
    for node in ast.walk(ast.parse(Path(model.__file__).read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            imported.add(str(node.module))
    assert imported
    assert not {name for name in imported if name.split(".")[0] == "stream"}
