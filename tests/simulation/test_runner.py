"""The command that runs worlds: each gives a report, whatever becomes of it, and a failure says how to see it again."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count

import pytest
from click.testing import CliRunner

from stream.adapters.clock import WarpClock
from tests.simulation import report
from tests.simulation.__main__ import main, show
from tests.simulation.campaign import KINDS, Ran, Sum, cases
from tests.simulation.report import Report, reported
from tests.simulation.weather import Weather
from tests.simulation.world import World

START_MS = 1_764_550_800_000


def of(play: Callable[[World], Awaitable[Counter[str]]], seed: int = 1) -> Report:
    def make(clock: WarpClock) -> World:
        return World(seed, clock, Weather(random.Random(seed)), partitions=1)

    return reported(seed, "log", make, play, start_ms=START_MS)


def run(seed: int) -> Report:
    """Worlds with odd seeds fail; this module stands for a kind of them."""

    async def play(world: World) -> Counter[str]:
        world.note(None, "something happens")
        if seed % 2:
            world.accuse("two is not one")
        return Counter(delta=seed)

    return of(play, seed)


def test_what_a_world_raises_is_told() -> None:
    """With the traceback, and with all that had happened before."""

    async def play(world: World) -> Counter[str]:
        world.note(None, "something happens")
        await asyncio.sleep(2)
        raise LookupError("nothing there")

    told = of(play)
    assert len(told.violations) == 1
    assert 'raise LookupError("nothing there")' in told.violations[0]
    assert (told.seconds, [*told.trace]) == (2.0, ["     0.000 world        something happens"])


def test_a_world_that_waits_for_ever_is_told() -> None:
    """It ends when its virtual time is over."""

    async def play(world: World) -> Counter[str]:
        await asyncio.Event().wait()
        return Counter()

    told = of(play)
    assert "TimeoutError" in told.violations[0]
    assert told.seconds == report.LONGEST_S


def test_a_world_that_turns_on_the_spot_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no time passes it ends after so many seconds of CPU time."""
    monkeypatch.setattr(report, "LONGEST_CPU_S", 0.2)

    async def play(world: World) -> Counter[str]:
        for _ in count():
            await asyncio.sleep(0)
        return Counter()

    assert "the world has not ended within 0.2 s of CPU time" in of(play).violations[0]


def test_a_world_that_never_lets_go_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even to be cancelled."""
    monkeypatch.setattr(report, "LONGEST_CPU_S", 0.1)
    monkeypatch.setattr(report, "AGAIN_S", 0.1)

    async def play(world: World) -> Counter[str]:
        for _ in count():
            pass
        return Counter()

    assert "OutOfTime" in of(play).violations[0]


def test_every_twentieth_is_a_whole_world() -> None:
    """Unless one kind is asked for."""
    drawn = [*cases(range(1, 41), None)]
    assert [case.seed for case in drawn if case.kind == "whole"] == [20, 40]
    assert {case.kind for case in cases(range(1, 41), "log")} == {"log"}


def test_a_failure_says_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """One command, and exit status 1; with the trace, the story and its digest are there."""
    monkeypatch.setitem(KINDS, "log", __name__)
    ended = CliRunner().invoke(main, ["--seeds", "4711-4712", "--kind", "log", "--trace"])
    assert ended.exit_code == 1
    assert "something happens" in ended.stdout
    assert f"log world 4712: {run(4712).digest}" in ended.stdout
    assert ended.stderr.split("\n")[1:4] == [
        "log world 4711: 1 violations",
        "  two is not one",
        "    python -m tests.simulation --seeds 4711-4711 --kind log --trace",
    ]
    assert CliRunner().invoke(main, ["--seeds", "2-2", "--kind", "log", "--trace"]).exit_code == 0


def test_a_failure_is_played_again(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """For its trace, which no worker gives away."""
    monkeypatch.setitem(KINDS, "log", __name__)
    show(run(4711))
    assert capsys.readouterr().err.startswith("\nthis is log world 4711:\n     0.000 world        something happens")


@pytest.mark.parametrize("seeds", ["none", "7-3", "1-b"])
def test_seeds_that_are_none_are_refused(seeds: str) -> None:
    """With exit status 2."""
    assert CliRunner().invoke(main, ["--seeds", seeds]).exit_code == 2


def test_what_happened_is_summed() -> None:
    """Over all worlds, by kind."""
    total = Sum()
    for seed in (1, 2):
        total.add(Ran(run(seed), 0.5))
    assert (total.worlds, total.happened, total.cpu_s) == ({"log": 2}, {"delta": 3}, {"log": 1.0})
    assert [each.seed for each in total.failed] == [1]


def test_the_command_runs_worlds_over_all_cores() -> None:
    """And gives one JSON object, if that is asked for."""
    command = [sys.executable, "-m", "tests.simulation", "--seeds", "4", "--kind", "log", "--json"]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert told["worlds"] == {"log": 4}
    assert told["happened"]["delta"] > 40
    assert told["failed"] == []
