"""Which bytes a delta adds to what is known of its service (design, section 2).  One delta at a time.

        |--------- current (start .. counted end, greatest bytes seen) ---------|
grew    [======================================================================]++++++)
new                                                                     gap      ......[=======)
overlap                            [===========================================]++++++)
stale             [==================)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

from stream.core.window import part

Outcome: TypeAlias = Literal["new", "grown", "repeated", "overlapping", "stale"]


class Anchor(NamedTuple):
    """What was counted under one `start`: up to `end`, the greatest bytes seen per direction."""

    start: int
    end: int
    in_: int
    out: int


class Delta(NamedTuple):
    start: int
    end: int
    in_: int
    out: int
    backfill: bool = False


class Added(NamedTuple):
    """What a delta adds over `[since, delta.end)`, and what is known of its service afterwards."""

    outcome: Outcome
    since: int
    in_: int
    out: int
    current: Anchor | None
    previous: Anchor | None
    gap_ms: int = 0
    shrunk: bool = False


def added_by(delta: Delta, current: Anchor | None, previous: Anchor | None) -> Added:
    """The first rule that fits holds."""
    start, end, in_, out, _ = delta
    whole = Anchor(start, end, in_, out)
    if current is None:
        return Added("new", start, in_, out, whole, None)
    if start == current.start:
        growth = _growth(delta, current)
        return Added(*growth.counted, growth.anchor, previous, shrunk=growth.shrunk)
    if previous is not None and start == previous.start and end <= current.start:
        growth = _growth(delta, previous)
        return Added(*growth.counted, current, growth.anchor, shrunk=growth.shrunk)
    if start >= current.end:
        return Added("new", start, in_, out, whole, current, gap_ms=start - current.end)
    if end > current.end:
        more_in, more_out = (part(total, start, end, current.end, end) for total in (in_, out))
        return Added("overlapping", current.end, more_in, more_out, whole, None)
    return Added("stale", start, 0, 0, current, previous)


@dataclass(frozen=True, slots=True)
class _Growth:
    counted: tuple[Outcome, int, int, int]
    anchor: Anchor
    shrunk: bool = False


def _growth(delta: Delta, anchor: Anchor) -> _Growth:
    if delta.end < anchor.end:
        return _Growth(("repeated", delta.end - 1, 0, 0), anchor)
    more_in, more_out = delta.in_ - anchor.in_, delta.out - anchor.out
    grown = Anchor(anchor.start, delta.end, max(anchor.in_, delta.in_), max(anchor.out, delta.out))
    outcome: Outcome = "grown" if more_in > 0 or more_out > 0 else "repeated"
    since = min(anchor.end, delta.end - 1)
    return _Growth((outcome, since, max(0, more_in), max(0, more_out)), grown, more_in < 0 or more_out < 0)


OUTCOMES: Final = {
    "new": "deltas_new",
    "grown": "deltas_grown",
    "repeated": "deltas_repeated",
    "overlapping": "deltas_overlapping",
    "stale": "deltas_stale",
}


@dataclass(slots=True)
class Tally:
    """Totals for metrics, since the tracker was made.  Amounts in hundredths of a byte per plan, else bytes."""

    totals: dict[str, int]

    def __init__(self) -> None:
        self.totals = dict.fromkeys(
            [
                *OUTCOMES.values(),
                "accepted_bytes",
                "stale_bytes",
                "overlap_bytes",
                "late_hundredths",
                "clipped_hundredths",
                "gaps",
                "gap_ms",
                "deltas_shrunk",
                "adjustments_repeated",
                "plans_repeated",
                "watermarks_repeated",
                "deregistrations_repeated",
            ],
            0,
        )

    def add(self, name: str, more: int = 1) -> None:
        self.totals[name] += more

    def delta(self, delta: Delta, added: Added) -> None:
        self.add(OUTCOMES[added.outcome])
        self.add("accepted_bytes", added.in_ + added.out)
        not_added = delta.in_ + delta.out - added.in_ - added.out
        if added.outcome in ("overlapping", "stale"):
            self.add("overlap_bytes" if added.outcome == "overlapping" else "stale_bytes", not_added)
        if added.gap_ms:
            self.add("gaps")
            self.add("gap_ms", added.gap_ms)
        if added.shrunk:
            self.add("deltas_shrunk")

    def read(self) -> dict[str, int]:
        """By name; whole bytes where the name says so."""
        return {
            name.replace("_hundredths", "_bytes"): total // 100 if name.endswith("_hundredths") else total
            for name, total in self.totals.items()
        }
