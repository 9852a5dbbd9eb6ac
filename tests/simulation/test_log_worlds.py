"""Log worlds keep every promise, are what they are drawn to be, and are the same whenever they are run again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import count

import pytest

from tests.simulation.auditor import Auditor
from tests.simulation.log_world import run
from tests.simulation.report import Report
from tests.simulation.script import SPECIALS, Special, special_of, written
from tests.simulation.small_world import TRUTH, lived

ran = cache(run)


@pytest.mark.parametrize("seed", range(1, 16))
def test_a_world_keeps_every_promise(seed: int) -> None:
    """Nothing lost, nothing counted twice, everything decided once and in order, whatever happened."""
    report = ran(seed)
    assert not report.violations, "\n".join((f"log world {seed}", *report.violations))
    assert report.happened["checkpoint"] > 3
    assert report.happened["delta"] > 10


@pytest.mark.parametrize("special", SPECIALS)
def test_special_worlds_keep_every_promise(special: Special) -> None:
    """Each kind of them, with what makes it special."""
    report = next(report for report in reports(special) if EVIDENCE[special](report))
    assert not report.violations, "\n".join((f"log world {report.seed}", *report.violations))


EVIDENCE = {
    "all move": lambda report: report.happened["plans_changed"] >= 8,
    "many plans": lambda report: report.happened["plans_changed"] >= 8,
    "many adjustments": lambda report: report.happened["record"] > 120,
    "expired": lambda report: report.happened["expired"],
    "truncated": lambda report: report.happened["truncated"],
    "restores": lambda report: report.faults["process killed"] > 40,
    "torn": lambda report: report.faults["state write torn"] > 5,
    "zombie": lambda report: report.happened["zombie"],
}


def reports(special: Special) -> Iterator[Report]:
    """Of the first worlds of a kind."""
    seeds = (seed for seed in count(1) if special_of(seed) == special)
    return (ran(seed) for _, seed in zip(range(8), seeds, strict=False))


def test_scripts_have_a_bit_of_everything() -> None:
    """Over some seeds: every kind of world, all sorts of publishers, services that leave and come back."""
    scripts = [written(seed) for seed in range(1, 101)]
    assert {script.special for script in scripts} == {*SPECIALS, None}
    assert {script.partitions for script in scripts} == {1, 2, 3, 4}
    kinds = Counter(
        kind
        for script in scripts
        for steps in script.publishers.values()
        for step in steps
        for message in step.messages
        for name, kind in message.headers
        if name == "ce_type"
    )
    assert kinds.keys() == {
        f"quota-stream.{kind}".encode()
        for kind in ("delta", "batch", "registration", "deregistration", "forget", "watermark", "adjustment")
    }
    assert min(kinds.values()) > 20, kinds


def test_the_same_seed_is_the_same_world() -> None:
    """To the byte, in any process, however it hashes."""
    one, other = (traced(seed=7, hash_seed=hash_seed) for hash_seed in ("1", "2"))
    assert one == other
    assert one.count("\n") > 100


def traced(*, seed: int, hash_seed: str) -> str:
    command = [sys.executable, "-m", "tests.simulation", "--seeds", f"{seed}-{seed}", "--kind", "log", "--trace"]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


# ---------------------------------------------------------------- every single step


def steps() -> list[dict[int, int]]:
    """Each step of either life; and each of the first together with one early in the second, while it restores."""
    first, second = lived({}).steps
    return [
        *({1: step} for step in range(1, first + 1)),
        *({2: step} for step in range(1, second + 1)),
        *({1: step, 2: 1 + 7 * step % 40} for step in range(1, first + 1)),
    ]


@pytest.mark.parametrize("part", range(4))
def test_a_kill_at_any_step_changes_nothing(part: int) -> None:
    """From the tracker's first step to its last, the restore included: the audit finds nothing."""
    for kills in steps()[part::4]:
        ran = lived(kills)
        killed = ran.report.faults["process killed"]
        assert killed == len(kills) or len(ran.steps) > len(kills), f"{kills}: it was not killed"
        auditor = Auditor(1)
        auditor.note(ran.journal)
        assert not [*ran.report.violations, *auditor.end(TRUTH)], f"killed at {kills}"
