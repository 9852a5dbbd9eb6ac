"""What the machine itself finds wrong, as a running notifier tells it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from stream import bootstrap
from stream.adapters.clock import SystemClock
from stream.bootstrap import notifying
from stream.config.load import load
from stream.metrics import Metrics
from tests.cli.calling import CONFIG
from tests.replica.stage import until

APPEND = "import sys; open('told', 'a').write(sys.stdin.read() + chr(10))"


async def test_little_room_on_the_disk_is_an_alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is raised when less is left than should be, and over when there is enough."""
    command = json.dumps([sys.executable, "-c", APPEND])
    file = tmp_path / "quota-stream.yaml"
    file.write_text(f"notify: {{command: {command}, alarm_after: 1s, events: [alarm]}}\n{CONFIG}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(notifying, "LEAST_FREE_BYTES", 1 << 62)
    clock = SystemClock()
    config = load(file)
    async with bootstrap.own_log(config, clock) as log:
        parts = bootstrap.Parts(config=config, log=log, clock=clock, metrics=Metrics(clock))
        async with notifying.notifying(parts, None):
            await until(lambda: bool(alarms("raised")), "the alarm is told")
            monkeypatch.setattr(notifying, "LEAST_FREE_BYTES", 0)
            await until(lambda: bool(alarms("over")), "it is told to be over")
    (raised,), (over,) = alarms("raised"), alarms("over")
    assert "MiB are left on the disk of the log; make room" in raised["text"]
    assert over["since"] == raised["since"]


def alarms(state: str) -> list[dict[str, Any]]:
    """Those about the disk that were told so far."""
    told = Path("told")
    events = [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []
    return [one["data"] for one in events if (one["data"]["problem"], one["data"]["state"]) == ("disk", state)]
