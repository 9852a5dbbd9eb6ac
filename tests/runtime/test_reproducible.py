"""The same log gives the same decisions and, at the end, the same state, however it was worked off."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from functools import cache
from itertools import chain
from pathlib import Path
from random import Random
from typing import get_args

import orjson
import pytest
import structlog
from hypothesis import settings

from stream.adapters.clock import WarpClock, run_warped
from stream.adapters.memory import MemoryLog
from stream.adapters.sqlite import SqliteLog
from stream.core.model import Reason
from stream.ports import Log
from stream.runtime.partition import TrackerSettings
from tests.runtime.drawn import PARTITIONS, history
from tests.runtime.history import START_MS
from tests.runtime.ways import Replay, Result, Run, Way, differing, fill, result_of

SEEDS = range(1, 1 + settings.default.max_examples // 30 if settings.default else 2)
EAGER = TrackerSettings(checkpoint_every_s=0.0, decision_delay_s=0.0)
LAZY = TrackerSettings(checkpoint_every_s=1e9, decision_delay_s=1e9)
WAYS: Mapping[str, Way] = {
    "record by record": Way(most=1),
    "in pieces": Way(most=20),
    "checkpoints all the time": Way(most=8, settings=EAGER),
    "one checkpoint at the end": Way(most=40, settings=LAZY),
    "interrupted": Way(most=4, interrupted=True),
    "two workers": Way(most=8, workers=2),
    "five workers": Way(most=8, workers=5),
    "five workers, interrupted": Way(most=4, workers=5, interrupted=True),
}


def worked_off(seed: int, way: Way, file: Path | None = None) -> tuple[Result, Counter[str]]:
    """What comes of a fresh log with the seed's history, in memory or in this file; and what happened how often."""

    async def main(clock: WarpClock) -> tuple[Result, Counter[str]]:
        replay = Replay(clock)
        log: Log = MemoryLog(replay, partitions=PARTITIONS)
        if file is not None:
            log = await SqliteLog.open(file, clock=replay, exclusive=True, partitions=PARTITIONS, poll_s=None)
        await fill(log, replay, history(seed))
        run = Run(log, way, Random(seed))
        await run()
        result = await result_of(log)
        await log.close()
        return result, run.happened

    with structlog.testing.capture_logs() as lines:
        result, happened = run_warped(main, start_ms=START_MS)
    defects = [line for line in lines if line["log_level"] in ("error", "critical")]
    assert not defects, f"seed {seed}: {defects}"
    happened["fenced"] = sum("somebody else has taken over" in line.get("cause", "") for line in lines)
    return result, happened


@cache
def at_one_go(seed: int) -> Result:
    """What all others must equal: one owner, everything at once, in memory."""
    return worked_off(seed, Way())[0]


def check(seed: int, way: Way, file: Path | None = None) -> None:
    result, happened = worked_off(seed, way, file)
    different = list(differing(result, at_one_go(seed)))
    assert not different, f"seed {seed}: {different}"
    words = f"seed {seed}: no more happened than {happened}"
    assert happened["moved"] > 10 or way.workers == 1, words
    assert (happened["fenced"] > 3 and happened["torn"] > 3 and happened["killed"] > 1) or not way.interrupted, words


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("way", WAYS)
def test_the_same_log_gives_the_same(seed: int, way: str) -> None:
    """Decisions, warnings and dead letters are equal to the byte and in order, and so is the state at the end."""
    check(seed, WAYS[way])


@pytest.mark.parametrize("way", ["in pieces", "interrupted", "five workers, interrupted"])
def test_so_does_a_file(way: str, tmp_path: Path) -> None:
    """The embedded log gives what the one in memory does; `service list` prints its state in the same words."""
    check(SEEDS[0], WAYS[way], tmp_path / "q.db")
    (tmp_path / "quota-stream.yaml").write_text("log: sqlite:q.db\n")
    command = [str(Path(sys.executable).with_name("quota-stream")), "service", "list", "--json"]
    listed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert listed.splitlines() == at_one_go(SEEDS[0]).services


def test_the_histories_have_everything() -> None:
    """Otherwise all of this would mean little: every kind of record and of decision, and many kinds of garbage."""
    results = [at_one_go(seed) for seed in SEEDS]
    outcomes = [orjson.loads(message.value or b"") for result in results for message in chain(*result.changes)]
    assert {outcome.get("reason", "warning") for outcome in outcomes} == {*get_args(Reason), "warning"}
    gone = {outcome["service"] for outcome in outcomes if outcome.get("reason") == "deregistered"}
    there = {orjson.loads(line)["service"] for result in results for line in result.services}
    assert gone & there, "nobody came back"
    assert gone - there, "nobody stayed away"
    letters = [orjson.loads(message.value or b"") for result in results for message in chain(*result.dead_letters)]
    assert len({letter["reason"].split(":")[0] for letter in letters}) > 20
    values = [entry.message.value or b"" for seed in SEEDS for entry in chain(*history(seed))]
    for word in (b'{"service"', b'"batch"', b'"watermark"', b'"backfill":true', b'"version":3'):
        assert any(word in value for value in values), word
    ids = Counter(orjson.loads(value)["id"] for value in values if b'"adjustment"' in value and b'"id"' in value)
    assert max(ids.values()) > 1, "no correction was repeated"
