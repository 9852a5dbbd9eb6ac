"""A few of the spoiled inputs, in each run of the tests: the same ones every time (`make fuzz SEED=` tries others)."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import pytest
from click.testing import CliRunner

from stream.core.errors import Rejected
from tests.fuzz.__main__ import main
from tests.fuzz.mutation import Draw
from tests.fuzz.target import MIB, Target, fuzz
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_spoiled_inputs(name: str) -> None:
    """Each is taken or refused as it should be: in proportion to the target's share, but some at least."""
    result = fuzz(TARGETS[name], 1, range(max(30, TARGETS[name].weight)))
    told = [
        f"{place}\n{broken.story}\npython -m tests.fuzz --target {name} --seed 1 --only {broken.number}"
        for place, broken in result.violations.items()
    ]
    assert not told, "\n\n".join(told)
    assert result.accepted, "not one input was good enough to get anywhere"


# ---------------------------------------------------------------- what finds nothing proves nothing


class Broken:
    """Reads one text well, refuses another, and breaks its promises at the others."""

    def draw(self, draw: Draw) -> str:
        return draw.pick(("good", "refused", "wrong", "raises", "hungry", "hangs"))

    def take(self, given: str) -> bool:
        if given == "refused":
            raise Rejected("no")
        if given == "raises":
            raise KeyError(given)
        if given == "hungry":
            assert bytearray(5 * MIB)
        if given == "hangs":
            time.sleep(10)
        assert given != "wrong", "a promise"
        return True


BROKEN = Target(
    name="broken", comes_in="", entry="", refusals=(Rejected,), holds="", subject=Broken, weight=1, most_mib=1
)


@pytest.mark.timeout(0)  # its alarm would be in the way of ours
def test_what_is_broken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other exceptions, promises that do not hold, too much memory and too much time: each with its first input."""
    monkeypatch.setattr("tests.fuzz.target.MEASURE_EVERY", 1)
    monkeypatch.setattr("tests.fuzz.target.SLOWEST_S", 0.05)
    result = fuzz(BROKEN, 3, range(60))
    assert [place.partition(" at ")[0] for place in sorted(result.violations)] == [
        "AssertionError", "AssertionError", "KeyError", "TooSlow",
    ]  # fmt: skip
    assert result.inputs == 60
    assert result.accepted > 0 < result.refused
    assert result.peak_bytes > 5 * MIB
    for violation in result.violations.values():
        again = fuzz(BROKEN, 3, [violation.number])
        assert [each.number for each in again.violations.values()] == [violation.number]


def test_the_same_number_is_the_same_input() -> None:
    """Seed, target and number alone say what an input is."""
    for name in ("deltas", "replies", "simulator"):
        subject = TARGETS[name].subject()
        assert subject.draw(Draw(f"1/{name}/7")) == subject.draw(Draw(f"1/{name}/7"))


def test_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table, and exit status 1 with the command that repeats the input if one broke a promise."""
    good = CliRunner().invoke(main, ["--target", "quantities", "--seed", "1", "--only", "5"])
    assert (good.exit_code, "quantities" in good.output) == (0, True)
    monkeypatch.setitem(TARGETS, "quantities", replace(BROKEN, name="quantities"))
    seed = next(seed for seed in range(99) if Draw(f"{seed}/quantities/0").pick(range(6)) == 3)
    bad = CliRunner().invoke(main, ["--target", "quantities", "--seed", str(seed), "--only", "0"])
    assert bad.exit_code == 1
    assert "KeyError at" in bad.output
    assert f"python -m tests.fuzz --target quantities --seed {seed} --only 0" in bad.output


def test_over_all_cores() -> None:
    """So many inputs, each target its share of them."""
    words = [sys.executable, "-m", "tests.fuzz", "--inputs", "500", "--seed", "1"]
    ran = subprocess.run(
        [*words, "--target", "quantities", "--target", "health"], capture_output=True, text=True, check=True
    )
    assert "500 inputs in" in ran.stdout
    assert [line.split("│")[2].strip() for line in ran.stdout.splitlines() if line.startswith("│")] == ["350", "150"]
