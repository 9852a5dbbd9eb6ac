"""Which bytes a delta adds: one table, each row the story of a service."""

from __future__ import annotations

from typing import Any

import pytest

from tests.core.feeding import Feed, small

Told = tuple[int, int, int, int]

STORIES: dict[str, tuple[list[Told], dict[str, Any]]] = {
    "the first one counts whole": (
        [(100, 200, 10, 1)],
        {"accepted": (10, 1), "current": (100, 200, 10, 1), "previous": None, "new": 1},
    ),
    "the same start grows by what is more": (
        [(100, 200, 10, 1), (100, 300, 25, 1)],
        {"accepted": (25, 1), "current": (100, 300, 25, 1), "new": 1, "grown": 1},
    ),
    "a repeat costs nothing": (
        [(100, 200, 10, 1), (100, 200, 10, 1)],
        {"accepted": (10, 1), "current": (100, 200, 10, 1), "new": 1, "repeated": 1},
    ),
    "an earlier end is a repeat, whatever it says": (
        [(100, 300, 10, 1), (100, 200, 99, 99)],
        {"accepted": (10, 1), "current": (100, 300, 10, 1), "new": 1, "repeated": 1},
    ),
    "fewer bytes add nothing, but the end moves on": (
        [(100, 200, 10, 1), (100, 300, 8, 5)],
        {"accepted": (10, 5), "current": (100, 300, 10, 5), "new": 1, "grown": 1, "shrunk": 1},
    ),
    "and count again only beyond the greatest seen": (
        [(100, 200, 10, 1), (100, 300, 8, 1), (100, 400, 12, 1)],
        {"accepted": (12, 1), "current": (100, 400, 12, 1), "new": 1, "repeated": 1, "grown": 1, "shrunk": 1},
    ),
    "more bytes for the same end count in its last millisecond": (
        [(0, 2000, 10, 0), (0, 2000, 17, 0)],
        {"accepted": (17, 0), "current": (0, 2000, 17, 0), "amounts": (500, 1200, 0), "new": 1, "grown": 1},
    ),
    "a start at the counted end is new, and the former one is kept": (
        [(100, 200, 10, 1), (200, 300, 5, 5)],
        {"accepted": (15, 6), "current": (200, 300, 5, 5), "previous": (100, 200, 10, 1), "new": 2},
    ),
    "a gap is told": (
        [(100, 200, 10, 1), (250, 300, 5, 5)],
        {"accepted": (15, 6), "previous": (100, 200, 10, 1), "new": 2, "gap_ms": 50},
    ),
    "late numbers of the former anchor count": (
        [(100, 200, 10, 1), (200, 300, 5, 5), (100, 200, 12, 2), (100, 200, 11, 1)],
        {"accepted": (17, 7), "current": (200, 300, 5, 5), "previous": (100, 200, 12, 2), "new": 2, "grown": 1,
         "repeated": 1, "shrunk": 1},
    ),
    "the former anchor cannot grow into the current one": (
        [(100, 200, 10, 1), (200, 300, 5, 5), (100, 250, 12, 2)],
        {"accepted": (15, 6), "stale": (12, 2), "previous": (100, 200, 10, 1), "new": 2, "stale_deltas": 1},
    ),
    "of an overlap, what lies after the counted end counts": (
        [(100, 200, 10, 1), (150, 250, 101, 3)],
        {"accepted": (10 + 51, 1 + 2), "current": (150, 250, 101, 3), "previous": None, "new": 1, "overlapping": 1,
         "overlap_bytes": 51},
    ),
    "and then it grows": (
        [(100, 200, 10, 1), (150, 250, 100, 2), (150, 260, 107, 2)],
        {"accepted": (10 + 50 + 7, 1 + 1), "current": (150, 260, 107, 2), "new": 1, "overlapping": 1, "grown": 1},
    ),
    "what ends before the counted end under another start is stale": (
        [(100, 200, 10, 1), (120, 200, 4, 4), (50, 90, 3, 3)],
        {"accepted": (10, 1), "stale": (7, 7), "current": (100, 200, 10, 1), "new": 1, "stale_deltas": 2},
    ),
    "two anchors back is stale": (
        [(100, 200, 1, 1), (200, 300, 1, 1), (300, 400, 1, 1), (100, 200, 5, 5)],
        {"accepted": (3, 3), "stale": (5, 5), "new": 3, "stale_deltas": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("together", [False, True], ids=["one by one", "in one batch"])
@pytest.mark.parametrize("few", [1, 8], ids=["by columns", "by rows"])
def test_bytes(story: str, together: bool, few: int) -> None:
    """The first rule that fits holds, per direction."""
    told, expected = STORIES[story]
    feed = Feed(few, p=small())
    feed.register("p", at=0)
    if together:
        start, end, in_, out = zip(*told, strict=True)
        feed.batch(["vm1/1"] * len(told), start, end, in_, out)
    else:
        for delta in told:
            feed.delta(*delta)
    view, counters = feed.view(), feed.tracker.counters
    found: dict[str, Any] = {
        "accepted": (view.accepted_in, view.accepted_out),
        "stale": (view.stale_in, view.stale_out),
        "current": view.current,
        "previous": view.previous,
        "amounts": feed.plan("p").amounts,
        "new": counters["deltas_new"],
        "grown": counters["deltas_grown"],
        "repeated": counters["deltas_repeated"],
        "overlapping": counters["deltas_overlapping"],
        "stale_deltas": counters["deltas_stale"],
        "shrunk": counters["deltas_shrunk"],
        "overlap_bytes": counters["overlap_bytes"],
        "gap_ms": counters["gap_ms"],
    }
    assert {key: found[key] for key in expected} == expected
    kinds = ("new", "grown", "repeated", "overlapping", "stale_deltas")
    assert sum(found[kind] for kind in kinds) == len(told)
    assert counters["accepted_bytes"] == view.accepted_in + view.accepted_out


def test_stale_bytes_do_not_move_time() -> None:
    """And judge nothing."""
    feed = Feed(p=small())
    feed.register("p", at=0)
    feed.delta(1000, 2000, 1)
    feed.delta(500, 1500, 5000)
    assert feed.view().time == 2000
    assert feed.plan("p").profile == "fast"


def test_totals_beyond_64_bits() -> None:
    """Ledgers know no bounds: more than eight thousand deltas of a pebibyte."""
    plan = small()
    plan["profiles"] = [{"name": "all", "speed": {"in": None, "out": None}}]
    feed = Feed(8, p=plan)
    feed.register("p", at=0)
    count = 9 << 10
    for first in range(0, count, 1 << 9):
        start = [1000 + 10_000 * number for number in range(first, first + (1 << 9))]
        end = [each + 1000 for each in start]
        feed.batch(["vm1/1"] * len(start), start, end, [1 << 50] * len(start), [0] * len(start))
    assert feed.view().accepted_in == count << 50
    assert feed.plan("p").ledger.accepted == 100 * count << 50
    before = feed.view()
    feed.restore()
    assert feed.view() == before
