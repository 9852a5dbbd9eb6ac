"""`quota-stream check --live` as it is called, against a simulator behind a real socket; and the log it tries."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stream.adapters.clock import SystemClock
from stream.adapters.sqlite import SqliteLog
from stream.cli import cli
from stream.config.load import loads
from stream.simulator import Knobs, World, create_app
from stream.simulator.server import serve
from stream.survey import survey
from tests.survey.rig import DAY, PASSWORD

CONFIG = """\
log: sqlite:q.db
platforms:
  vm1:
    type: vmmanager
    url: {url}
    timezone: {timezone}
    email: admin@example.com
    password_env: VM1_PASSWORD
    max_requests_per_second: 1000
"""


@contextmanager
def served(knobs: Knobs) -> Iterator[str]:
    """The URL of a simulator that runs in a thread of its own."""
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()
    urls: list[str] = []

    async def main() -> None:
        clock = SystemClock()
        world = World(clock.now, seed=3)
        for number in range(3):
            world.create(habit="steady", limits=(100, None), since=clock.now() - (40 + number) * DAY)
        async with serve(create_app(world, knobs, password=PASSWORD), "127.0.0.1", 0) as address:
            urls.append(address.url)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    assert ready.wait(20)
    try:
        yield urls[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


def check(folder: Path, text: str, *arguments: str) -> Result:
    file = folder / "quota-stream.yaml"
    file.write_text(text)
    return CliRunner().invoke(cli, ["check", "--live", "--no-watch", "--config", str(file), *arguments])


def test_all_is_well(tmp_path: Path) -> None:
    """Exit status 0, with the configuration first and the platform after it."""
    with served(Knobs()) as url:
        result = check(tmp_path, CONFIG.format(url=url, timezone="Europe/Berlin"))
    lines = result.stdout.splitlines()
    assert result.exit_code == 0, result.output
    assert lines[-1] == "all is well"
    assert lines.index("quota-stream.yaml is correct") < lines.index(
        "  ok      login       e-mail and password are taken"
    )
    assert any(line.startswith("  ok      clock ") for line in lines)
    assert list(tmp_path.iterdir()) == [tmp_path / "quota-stream.yaml"]


def test_something_to_change(tmp_path: Path) -> None:
    """Exit status 1, and what to write; with --json one object on one line."""
    with served(Knobs(timezone="Asia/Tokyo")) as url:
        result = check(tmp_path, CONFIG.format(url=url, timezone="Europe/Berlin"))
        as_json = check(tmp_path, CONFIG.format(url=url, timezone="Europe/Berlin"), "--json")
    assert (result.exit_code, as_json.exit_code) == (1, 1)
    assert "write into quota-stream.yaml:\nplatforms:\n  vm1:\n    timezone: Asia/Tokyo" in result.stdout
    (line,) = as_json.stdout.splitlines()
    told = json.loads(line)
    assert told["correct"]
    assert told["live"]["platforms"][0]["settings"]["timezone"].startswith("Asia/Tokyo ")


def test_nobody_there(tmp_path: Path) -> None:
    """Exit status 1, in words."""
    with served(Knobs()) as url:
        pass
    result = check(tmp_path, CONFIG.format(url=url, timezone="Europe/Berlin"))
    assert result.exit_code == 1
    assert "  CHANGE  answer      vm1: login: All connection attempts failed (ConnectError)" in result.stdout
    assert result.stderr == ""


def test_says_that_it_waits(tmp_path: Path) -> None:
    """Whoever waits for a new number is told so, and how not to; a script is not."""
    with served(Knobs()) as url:
        pass
    file = tmp_path / "quota-stream.yaml"
    file.write_text(CONFIG.format(url=url, timezone="Europe/Berlin"))
    told, as_json = (
        CliRunner().invoke(cli, ["check", "--live", "--config", str(file), *more]) for more in ([], ["--json"])
    )
    assert "waiting for a new number" in told.stderr
    assert "--no-watch" in told.stderr
    assert as_json.stderr == ""


def test_wrong_configuration(tmp_path: Path) -> None:
    """Exit status 2, and nobody is asked."""
    result = check(tmp_path, CONFIG.format(url="ftp://x", timezone="Mars/Base"))
    assert result.exit_code == 2


# ---------------------------------------------------------------- the log


async def log_told(folder: Path, log: str) -> tuple[str, str]:
    found = await survey(loads(f"log: {log}\n", folder / "q.yaml"))
    return found.log.level, found.log.text


async def test_the_log_is_tried(tmp_path: Path) -> None:
    """A file that is there is opened, one that is not is not made; trouble is said."""
    assert await log_told(tmp_path, "sqlite:q.db") == ("ok", f"{tmp_path}/q.db is not there yet and can be made")
    assert not (tmp_path / "q.db").exists()
    log = await SqliteLog.open(tmp_path / "q.db", clock=SystemClock(), partitions=4)
    assert await log_told(tmp_path, "sqlite:q.db") == ("ok", f"{tmp_path}/q.db can be opened")
    await log.close()
    (tmp_path / "bad.db").write_bytes(b"no database at all" * 100)
    level, text = await log_told(tmp_path, "sqlite:bad.db")
    assert level == "change"
    assert "bad.db" in text
    level, text = await log_told(tmp_path, "sqlite:nowhere/q.db")
    assert (level, text.partition(":")[0]) == ("change", f"{tmp_path}/nowhere/q.db cannot be made")


@pytest.fixture(autouse=True)
def no_configuration_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUOTA_STREAM_CONFIG", raising=False)
