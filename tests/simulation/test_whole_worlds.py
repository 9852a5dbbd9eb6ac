"""Whole worlds: nothing is wrong in some, the same seed is the same world, and what is tampered with is noticed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from stream.adapters.clock import WarpClock
from tests.simulation.report import Report, reported
from tests.simulation.whole_plot import PASSWORD, PASSWORD_VARIABLE, Kind, draw
from tests.simulation.whole_world import LONGEST_S, Stage, run
from tests.simulation.world import World

SEED = 4
Tampering = Callable[[Stage], None]


@pytest.mark.parametrize("kind", ["mixed", "together", "lives", "brake", "intents"])
def test_a_whole_world(kind: Kind) -> None:
    """Whatever happens in it, every byte is counted once, and every limit is right in the end."""
    report = run(SEED, kind)
    assert report.violations == ()
    assert report.happened["posts"] > 0
    assert report.happened["delta"] > 50


def test_each_kind_has_its_turn() -> None:
    """At least twice among the whole worlds of a thousand seeds."""
    kinds = [draw(seed).kind for seed in range(20, 1001, 20)]
    assert min(map(kinds.count, {draw(seed).kind for seed in range(1, 200)})) >= 2


def test_the_same_seed_is_the_same_world() -> None:
    """To the byte, whatever the order of sets is in the process."""
    program = "from tests.simulation.whole_world import run; print(run(20).digest)"
    digests = {
        subprocess.run(
            [sys.executable, "-c", program], env=os.environ | {"PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


# ---------------------------------------------------------------- tampering


class Tampered(Stage):
    """Before the last audit something is changed."""

    tampering: Tampering

    async def _close(self) -> None:
        await super()._close()
        self.tampering(self)


def tampered(tampering: Tampering) -> Report:
    os.environ[PASSWORD_VARIABLE] = PASSWORD
    plot = draw(SEED, "mixed")
    stages: dict[World, Tampered] = {}

    def make(clock: WarpClock) -> World:
        stage = Tampered(plot, clock)
        stage.tampering = tampering
        stages[stage.world] = stage
        return stage.world

    return reported(
        plot.seed, "whole", make, lambda world: stages[world].play(), start_ms=plot.start_ms, longest_s=LONGEST_S
    )


def another_speed_posted(stage: Stage) -> None:
    post = stage.network.posts[-1]
    stage.network.posts.append(post._replace(limits=(77, 77)))


def an_original_of_nobody(stage: Stage) -> None:
    """The first change of each VM, by which it got the limits it came with, is not known."""
    for changes in stage.provider.changes.values():
        del changes[:1]


def a_decision_too_many(stage: Stage) -> None:
    outcomes = next(outcomes for outcomes in stage.auditor.books.outcomes.values() if outcomes)
    first = stage.auditor.books.incarnations[outcomes[0]["service"]][0]
    outcomes.append(outcomes[0] | {"incarnation": first.service.incarnation, "at": 0})


@pytest.mark.parametrize(
    ("tampering", "said"),
    [
        (another_speed_posted, "without a durable intent"),
        (an_original_of_nobody, "which nobody has set"),
        (a_decision_too_many, "was judged as of"),
    ],
)
def test_the_auditor_notices(tampering: Tampering, said: str) -> None:
    """What is changed before the last audit is said in a sentence."""
    assert any(said in violation for violation in tampered(tampering).violations)
