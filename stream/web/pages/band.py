"""The history of a service as a band of speeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from markupsafe import Markup

from stream.core.plan import Plan
from stream.core.speed import Speed
from stream.replica.model import Entry
from stream.web.pages.lines import anchor_of
from stream.web.pages.words import due_text, speed_of
from stream.web.pictures import Labels, Span, history_band, shades_of

HOUR_MS = 3_600_000
_RANGES_MS = (6 * HOUR_MS, 24 * HOUR_MS, 3 * 24 * HOUR_MS, 7 * 24 * HOUR_MS, 31 * 24 * HOUR_MS, 92 * 24 * HOUR_MS)
_WORDS = ("6 hours", "24 hours", "3 days", "7 days", "31 days", "92 days")
_FEW = 12


def band(entries: Sequence[Entry], plans: Mapping[str, Plan], now: int, labels: Labels) -> tuple[Markup, str] | None:
    """The picture and how long it is; None if nothing was decided.  `entries` are newest first, `plans` those
    of the service.

    It is as long as it must be to show a dozen changes, or all there are.
    """
    decisions = [entry for entry in entries if entry.kind == "decision"][::-1]
    if not decisions:
        return None
    far = decisions[-min(_FEW, len(decisions))].at
    place = next((n for n, length in enumerate(_RANGES_MS) if now - length <= far), len(_RANGES_MS) - 1)
    since = now - _RANGES_MS[place]
    speeds = sorted({speed_of(entry.document["speed"]) for entry in decisions}, key=_slowness)
    shades = shades_of(plans.values())
    spans: list[Span] = []
    for entry, following in zip(decisions, [*decisions[1:], None], strict=True):
        end = now if following is None else following.at
        speed = speed_of(entry.document["speed"])
        if end <= since or end <= entry.at:
            continue
        if spans and spans[-1].rank == speeds.index(speed):
            spans[-1] = _longer(spans[-1], end, labels, speed)
        else:
            spans.append(replace(_span(entry, end, speeds.index(speed), labels, speed), shade=shades.get(speed)))
    title = f"Speeds over the last {_WORDS[place]}: " + ", then ".join(span.text for span in spans[-8:])
    return history_band(spans, since, now, labels, title), _WORDS[place]


def _span(entry: Entry, end: int, rank: int, labels: Labels, speed: Speed) -> Span:
    return Span(entry.at, end, rank, due_text(speed), _tip(speed, entry.at, end, labels), f"#{anchor_of(entry)}")


def _longer(span: Span, end: int, labels: Labels, speed: Speed) -> Span:
    return replace(span, end=end, title=_tip(speed, span.start, end, labels))


def _tip(speed: Speed, start: int, end: int, labels: Labels) -> str:
    return f"{due_text(speed)}, {labels.instant(start, 'minute')} to {labels.instant(end, 'minute')}"


def _slowness(speed: Speed) -> tuple[float, float]:
    fast = float("inf")
    ways = [fast if way is None else float(way) for way in speed]
    return -min(ways), -max(ways)
