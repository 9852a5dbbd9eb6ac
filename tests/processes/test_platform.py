"""`run` against `quota-stream simulator`: two processes, real HTTP, and limits that are really set."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.processes.running import running, telling

CONFIGURATION = """\
log: sqlite:q.db
listen: off
platforms:
  vm1:
    type: vmmanager
    url: URL
    timezone: ZONE
    token_file: vm1.token
    poll: 1s
    settle: 1s
    sampling: 1s
    task_poll: 1s
    max_requests_per_second: 100
    max_slowed_at_once: {percent: 100%, least: 5, within: 10m}
plans:
  vpn:
    window: {slide: 1h}
    profiles:
      full: {speed: original, quota: 1000, down: slow}
      slow: {speed: 3 Mbit/s, stay: 1h, up: full}
services:
  - {match: {platform: vm1}, plans: [vpn]}
"""
SLOW = 3


def zone_after_midnight() -> str:
    """Where the day is young now: each read asks for all of its seconds, which would cost much in the evening."""
    hour = datetime.now(UTC).hour
    return f"Etc/GMT+{hour}" if hour <= 12 else f"Etc/GMT-{24 - hour}"


@pytest.mark.parametrize(
    ("shadow", "event"), [("", "event=enforcement.applied"), ("shadow: true\n", "event=enforcement.shadow")]
)
async def test_a_limit_is_set(tmp_path: Path, shadow: str, event: str) -> None:
    """A VM that overuses it gets the slow speed on the platform itself; in shadow it is said, and nothing is posted."""
    zone = zone_after_midnight()
    world = ("--timezone", zone, "--vms", "3", "--step", "1", "--history", "1", "--speed", "2", "--truth", "truth.json")
    quick = ("--knob", "task_ms=1000", "--knob", "task_absent_ms=0")  # a task of the platform takes 20 s otherwise
    async with telling(tmp_path, "simulator", "--json", *world, *quick) as simulator:
        address = await simulator.object()
        token = tmp_path / "vm1.token"
        token.touch(mode=0o600)
        token.write_text(address["token"])
        configuration = shadow + CONFIGURATION.replace("URL", address["url"]).replace("ZONE", zone)
        (tmp_path / "quota-stream.yaml").write_text(configuration)
        async with running(tmp_path, "run") as run:
            line = await run.line(event)
            assert await run.stop() == 0
        assert await simulator.stop() == 0
    service = next(word for word in line.split() if word.startswith("service=")).removeprefix("service=")
    machines = {f"vm1/{one['id']}": one for one in json.loads((tmp_path / "truth.json").read_text())["machines"]}
    set_ = [(in_, out) for _, _, in_, out in machines[service]["limits"]][1:]
    assert set_ == ([] if shadow else [(SLOW, SLOW)])
    if shadow:
        assert all(len(one["limits"]) == 1 for one in machines.values())
