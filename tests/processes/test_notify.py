"""`run` tells a program of this machine what happens, and forgets whom it is to forget."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.calling import CONFIG, delta, registration
from tests.processes.running import DEADLINE_S, called, objects, running

PROGRAM = """
import sys
line = sys.stdin.read() + "\\n"
with open("told", "a") as file:
    file.write(line)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a configuration whose program appends each event to the file `told`."""
    (tmp_path / "tell.py").write_text(PROGRAM)
    command = f"notify: {{command: [{sys.executable}, tell.py], alarm_after: 1s}}\n"
    (tmp_path / "quota-stream.yaml").write_text(f"listen: off\n{command}{CONFIG}")
    return tmp_path


def told(folder: Path) -> list[dict[str, Any]]:
    file = folder / "told"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def heard(folder: Path, count: int) -> list[dict[str, Any]]:
    """Wait until so many events are told."""
    async with asyncio.timeout(DEADLINE_S):
        while len(told(folder)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return told(folder)


async def test_changes_alarms_and_whom_to_forget(folder: Path) -> None:
    """Nothing from before; then each decision, a dead letter as an alarm, a test; after a restart nothing again."""
    await called(folder, "publish", stdin=registration("vm1/1"))
    await called(folder, "run", "--drain")
    async with running(folder, "run") as run:
        for _ in range(4):
            await run.line("event=notices.begin")
        assert "taken" in await called(folder, "notify", "test")
        await heard(folder, 1)
        await called(folder, "publish", stdin=delta("vm1/1", 0, 900) + delta("vm1/1", 1, 200))
        await heard(folder, 3)
        await called(folder, "publish", stdin=delta("vm1/7", 0, 1))
        events = await heard(folder, 4)
        assert sorted((one["type"], one["subject"]) for one in events[:3]) == [
            ("quota-stream.change", "vm1/1"),
            ("quota-stream.test", "test"),
            ("quota-stream.warning", "vm1/1"),
        ]
        assert events[3]["type"] == "quota-stream.alarm"
        assert (events[3]["data"]["state"], "not registered" in events[3]["data"]["text"]) == ("raised", True)
        assert (await called(folder, "service", "forget", "--yes", "vm1/1")).startswith(
            "vm1/1: forgotten; if its platform"
        )
        (gone,) = (await heard(folder, 5))[4:]
        assert (gone["subject"], gone["data"]["reason"]) == ("vm1/1", "deregistered")
        assert await run.stop() == 0
    assert await objects(folder, "service", "list", "--json") == []
    async with running(folder, "run") as run:
        await run.line("event=started")
        await called(folder, "publish", stdin=registration("vm1/2"))
        events = await heard(folder, 6)
        assert await run.stop() == 0
    assert [one["subject"] for one in events[5:]] == ["vm1/2"]
