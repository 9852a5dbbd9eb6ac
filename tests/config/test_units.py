"""Units: what people write, as whole bytes, bit/s, ms and percent."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.config import units
from stream.config.units import Wrong
from stream.core.speed import ORIGINAL, Speed

SIZE = "write for example 1024 GiB (units: B kB MB GB TB KiB MiB GiB TiB)"
DURATION = "write for example 60s (units: ms s m h d)"
SPEED = "write for example 10 Mbit/s (units: kbit/s Mbit/s Gbit/s)"
PERCENT = "write for example 80% (units: %)"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (1048576000, 1048576000), ("1048576000", 1048576000), ("7 B", 7), ("1 kB", 1000), ("3MB", 3_000_000),
        ("2 GB", 2 * 10**9), ("1 TB", 10**12), ("1 KiB", 1024), ("5 MiB", 5 * 2**20), ("1024 GiB", 2**40),
        ("1.5 GiB", 3 * 2**29), ("1 TiB", 2**40), ("1_000 kB", 10**6), ("0.25 KiB", 256),
    ],
)  # fmt: skip
def test_sizes(text: object, size: int) -> None:
    """A size takes decimal and binary units, fractions that come to whole bytes, and plain bytes."""
    assert units.size_bytes(text) == size


@pytest.mark.parametrize(
    ("text", "duration"),
    [("500ms", 500), ("60s", 60_000), ("2 m", 120_000), ("1.5h", 5_400_000), ("40d", 40 * 86_400_000)],
)
def test_durations(text: object, duration: int) -> None:
    """A duration takes ms, s, m, h and d."""
    assert units.duration_ms(text) == duration


@pytest.mark.parametrize(
    ("text", "speed"),
    [
        ("original", ORIGINAL),
        ("10 Mbit/s", Speed(10_000_000, 10_000_000)),
        ("512 kbit/s", Speed(512_000, 512_000)),
        ("2.5 Gbit/s", Speed(2_500_000_000, 2_500_000_000)),
        ({"in": "50 Mbit/s", "out": "10 Mbit/s"}, Speed(50_000_000, 10_000_000)),
        ({"out": "10 Mbit/s"}, Speed(None, 10_000_000)),
        ({"in": "original", "out": "1 Mbit/s"}, Speed(None, 1_000_000)),
    ],
)
def test_speeds(text: object, speed: Speed) -> None:
    """A speed is one for both directions, one per direction, or the original."""
    assert units.speed(text) == speed


@pytest.mark.parametrize(
    ("read", "text", "message"),
    [
        (units.size_bytes, "1 gb", "'gb' is not a unit of a size; write 1 GB"),
        (units.size_bytes, "1 Mbit", f"'Mbit' is not a unit of a size; {SIZE}"),
        (units.size_bytes, "-1 GB", f"'-1 GB' is not a size; {SIZE}"),
        (units.size_bytes, -1, f"-1 is not a size; {SIZE}"),
        (units.size_bytes, 1.5, f"1.5 has no unit; {SIZE}"),
        (units.size_bytes, "0.1 B", f"'0.1 B' is not a whole number of bytes; {SIZE}"),
        (units.size_bytes, 0, "'0 B' is nothing; write a number above 0"),
        (units.size_bytes, True, f"true is not a size; {SIZE}"),
        (units.size_bytes, None, f"nothing is not a size; {SIZE}"),
        (units.size_bytes, ["1 GB"], f"['1 GB'] is not a size; {SIZE}"),
        (units.duration_ms, 60, f"60 has no unit; {DURATION}"),
        (units.duration_ms, "0s", "'0s' is nothing; write a number above 0"),
        (units.duration_ms, "1h30m", f"'h30m' is not a unit of a duration; {DURATION}"),
        (units.duration_ms, "1 H", "'H' is not a unit of a duration; write 1 h"),
        (units.percent, 80, f"80 has no unit; {PERCENT}"),
        (units.percent, "1.5%", f"'1.5%' is not a whole number of percent; {PERCENT}"),
        (units.speed, "10", f"10 has no unit; {SPEED}"),
        (units.speed, "10 mbit/s", "'mbit/s' is not a unit of a speed; write 10 Mbit/s"),
        (units.speed, "10 MB/s", f"'MB/s' is not a unit of a speed; {SPEED}"),
        (units.speed, "fast", f"'fast' is not a speed; {SPEED}"),
        (units.speed, {"up": "1 Mbit/s"}, "'up' is no direction; write {in: 50 Mbit/s, out: 10 Mbit/s}"),
        (units.speed, {}, "no direction is given; write {in: 50 Mbit/s, out: 10 Mbit/s}"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_said_with_a_cure(
    read: Callable[[object], object], text: object, message: str
) -> None:
    """Each mistake names the value and what to write."""
    with pytest.raises(Wrong) as caught:
        read(text)
    assert str(caught.value) == message


@given(st.integers(1, units.SIZE.most), st.integers(1, units.DURATION.most))
def test_what_is_written_reads_back(size: int, duration: int) -> None:
    """Sizes and durations are written exactly: reading gives the same number."""
    assert units.size_bytes(units.size_text(size)) == size
    assert units.duration_ms(units.duration_text(duration)) == duration


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (units.size_text(2**40), "1 TiB"),
        (units.size_text(1048576000), "1000 MiB"),
        (units.size_text(699050666), "699050666 B"),
        (units.duration_text(5_400_000), "90m"),
        (units.duration_text(86_400_000), "1d"),
        (units.speed_text(Speed(10_000_000, 10_000_000)), "10 Mbit/s"),
        (units.speed_text(Speed(None, 1_500_000)), "in original, out 1500 kbit/s"),
        (units.speed_text(Speed(7, 7)), "7 bit/s"),
        (units.speed_text(ORIGINAL), "original"),
        (units.rounded_size_text(1_572_864_000), "1.46 GiB"),
        (units.rounded_size_text(1023 * 2**30), "1023 GiB"),
        (units.rounded_size_text(0), "0 B"),
    ],
)
def test_what_people_read(text: str, written: str) -> None:
    """The shortest way to write a number wins, the bigger unit among equals."""
    assert text == written


@pytest.mark.parametrize(
    ("read", "text", "cure"),
    [
        (units.duration_ms, "36526d", "36525 d"),
        (units.duration_ms, f"{'9' * 5000}ms", "36525 d"),
        (units.size_bytes, "1025 TiB", "1024 TiB"),
        (units.speed, "1000001 Gbit/s", "1000000 Gbit/s"),
    ],
)
def test_too_much(read: Callable[[object], object], text: str, cure: str) -> None:
    """No quantity leaves what the rest can reckon with: a duration ends after 100 years."""
    with pytest.raises(Wrong, match=f"is too much; write at most {cure}$"):
        read(text)
