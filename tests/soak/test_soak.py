"""The long runs, cut short, and what they say of their figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import structlog

from tests.soak.__main__ import SOAKS, soak
from tests.soak.diary import MB, Day, Diary, Restart, Size

SIZES = {"days": Size(1, 12), "http": Size(1, 2)}
FLAT = (100, 104, 103, 105)


@pytest.mark.parametrize("name", SOAKS)
def test_a_short_one(name: str, tmp_path: Path) -> None:
    """Every byte is counted, decisions are made, the power fails at noon, and the day is noted."""
    size = SIZES[name]
    with structlog.testing.capture_logs():
        diary = soak(name, size, tmp_path)
    assert not diary.mistakes
    [day] = diary.days
    assert day.deltas > size.services * 250
    assert day.decisions > 2 * size.services
    assert min(day.memory_bytes, day.file_bytes) > MB / 10
    [restart] = diary.restarts
    assert 0 < restart.seconds < 10


@pytest.mark.parametrize(
    ("memory", "file", "restart_s", "mistakes", "bad"),
    [
        (FLAT, FLAT, 0.1, [], ""),
        ((100, 104, 103, 120), FLAT, 0.1, [], "memory: at most 104.0 MB in the first half, 120.0 MB in the second"),
        (FLAT, (100, 104, 120, 103), 0.1, [], "file: at most 104.0 MB in the first half, 120.0 MB in the second"),
        (FLAT, FLAT, 60, [], "restarts: 60.00 s on day 3"),
        (FLAT, FLAT, 0.1, ["vm1/7: 5 bytes were sent, 6 counted"], "vm1/7: 5 bytes were sent, 6 counted"),
    ],
)
def test_the_verdict(
    memory: Sequence[int],
    file: Sequence[int],
    restart_s: float,
    mistakes: list[str],
    bad: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What grows, is slow or was miscounted is told and makes the run fail; nothing else does."""
    diary = Diary("a run", len(memory))
    for number, (memory_mb, file_mb) in enumerate(zip(memory, file, strict=True), 1):
        diary.note(Day(number, 1000 * number, number, memory_mb * MB, file_mb * MB))
    diary.restarts.append(Restart(3, restart_s))
    diary.mistakes += mistakes
    assert diary.close() == bool(bad)
    told = [line.removeprefix("BAD: ") for line in capsys.readouterr().out.splitlines() if line.startswith("BAD: ")]
    assert [line[: len(bad)] for line in told] == ([bad] if bad else [])
