"""Pictures as inline SVG: a window against its quota, speeds over time, services by profile over time.

Widths are percent and heights are pixels, so that a picture fits a phone and its letters keep their size.  Colours
are classes: `s0` is the first step of a ladder, `s5` the slowest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Final, Protocol

from markupsafe import Markup

from stream.config.units import rounded_size_text
from stream.core.model import Slice
from stream.core.plan import Plan
from stream.core.speed import Speed
from stream.web.rendering import TimeKind, instant_text, machine_instant

SHADES: Final = 6
_LINE_HEIGHT: Final = 15
_ROOM: Final = 0.065
_ROOM_ON_A_PHONE: Final = 0.25
_TICK_STEPS_H: Final = (1, 2, 3, 4, 6, 12, 24, 48, 72, 120, 168, 336, 720)


class Labels(Protocol):
    """How a picture writes, so that it can be in any language."""

    @property
    def zone(self) -> tzinfo: ...

    def size(self, size_bytes: int) -> str: ...
    def instant(self, at: int, kind: TimeKind) -> str: ...


@dataclass(frozen=True, slots=True)
class Line:
    """A line across a window at so many bytes."""

    bytes: int
    text: str
    quota: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the band: from `start` to `end` at the `rank`th speed, 0 being the fastest."""

    start: int
    end: int
    rank: int
    text: str
    title: str
    href: str | None = None
    shade: int | None = None
    """None: by its rank among those that are shown."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One area: so many services at each instant; drawn from the slowest up."""

    shade: int
    counts: Sequence[int]


def shade(place: int, places: int) -> int:
    """The shade of a step of a ladder of so many."""
    return 0 if places < 2 or place == 0 else max(1, round(place * (SHADES - 1) / (places - 1)))


def shades_of(plans: Iterable[Plan]) -> dict[Speed, int]:
    """The shade of each speed of these plans, as their steps have it everywhere."""
    found: dict[Speed, int] = {}
    for plan in plans:
        for place, profile in enumerate(plan.profiles):
            found.setdefault(profile.speed, shade(place, len(plan.profiles)))
    return found


def usage_bar(usage: int, quota: int | None, shade_: int = 0) -> Markup:
    """A thin bar: how much of the quota is used.  Decoration beside the numbers."""
    share = 0.0 if not quota else min(1.0, usage / quota)
    over = quota is not None and usage >= quota
    return Markup(
        '<svg class="bar" width="100%" height="6" aria-hidden="true">'
        '<rect class="rail" width="100%" height="6" rx="3"/>'
        '<rect class="{}" width="{}%" height="6" rx="3"/></svg>'
    ).format("s3" if over else f"s{shade_}", _percent(share))


def window_picture(window: Sequence[Slice], lines: Sequence[Line], labels: Labels, title: str) -> Markup:
    """How the slices add up to what is used: each stands upon those before it, and the last one's top is the sum.

    quota  - - - - - - - - - - - - - - -
                               .--------
                    .----------|########
           .--------|##########|
    -------|########
    """
    if len(window) == 1:
        return _gauge(window[0], lines, title)
    height, top, bottom = 200, 18, 22
    most = max([sum(part.bytes for part in window), *(line.bytes for line in lines), 1]) * 1.06
    floor = height - bottom

    def y(size: int) -> float:
        return round(floor - (floor - top) * size / most, 1)

    width = 100 / len(window)
    below, parts = 0, [Markup()]
    for place, part in enumerate(window):
        x, upper, lower = _percent(place * width / 100), y(below + part.bytes), y(below)
        tip = f"{_span_text(part, labels)}: {labels.size(part.bytes)}"
        parts.append(
            Markup(
                '<rect class="carried" x="{x}%" y="{lower}" width="{w}%" height="{rest}"/>'
                '<rect class="slice" x="{x}%" y="{upper}" width="{w}%" height="{high}"><title>{tip}</title></rect>'
            ).format(
                x=x, upper=upper, lower=lower, w=_percent(width / 100), tip=tip,
                high=max(0, round(lower - upper, 1)), rest=max(0, round(floor - lower, 1)),
            )
        )  # fmt: skip
        below += part.bytes
    parts.append(Markup('<line class="axis" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(floor))
    parts += _slice_ticks(window, labels, height)
    parts += _lines(lines, y)
    return _picture("window", height, title, parts)


def _lines(lines: Sequence[Line], y: _Height) -> list[Markup]:
    """From top to bottom, each with its text above it, and no text upon another."""
    parts, free = [], 0.0
    for line in sorted(lines, key=lambda line: -line.bytes):
        at = y(line.bytes)
        written = max(at - 6, free)
        free = written + _LINE_HEIGHT
        parts.append(
            Markup(
                '<line class="{}" x1="0" x2="100%" y1="{at}" y2="{at}"/><text class="over" x="2" y="{}">{}</text>'
            ).format("quota" if line.quota else "threshold", round(written, 1), line.text, at=at)
        )
    return parts


class _Height(Protocol):
    def __call__(self, size: int, /) -> float: ...


def _slice_ticks(window: Sequence[Slice], labels: Labels, height: int) -> list[Markup]:
    """When the slices begin: of a few each, of many some."""
    every = max(1, -(-len(window) // 8))
    kind: TimeKind = "clock" if window[0].end - window[0].start < 86_400_000 else "day"
    return [
        _tick(place / len(window), part.start, kind, labels, height - 6, minor=place // every % 2 == 1)
        for place, part in enumerate(window)
        if place % every == 0
    ]


def _gauge(part: Slice, lines: Sequence[Line], title: str) -> Markup:
    """One slice: a bar that grows towards the quota; the texts of the lines stand above it."""
    rows = len(lines)
    top = rows * _LINE_HEIGHT + 6
    most = max([part.bytes, *(line.bytes for line in lines), 1]) * 1.02
    parts = [
        Markup(
            '<rect class="rail" y="{0}" width="100%" height="26" rx="3"/>'
            '<rect class="slice" y="{0}" width="{1}%" height="26" rx="3"/>'
        ).format(top, _percent(part.bytes / most))
    ]
    for row, line in enumerate(sorted(lines, key=lambda line: -line.bytes)):
        x, right = _percent(line.bytes / most), line.bytes > most / 2
        parts.append(
            Markup(
                '<line class="{}" x1="{x}%" x2="{x}%" y1="{}" y2="{}"/>'
                '<text class="over" x="{x}%" dx="{}" y="{}" text-anchor="{}">{}</text>'
            ).format(
                "quota" if line.quota else "threshold", row * _LINE_HEIGHT + 4, top + 30,
                -6 if right else 6, row * _LINE_HEIGHT + 12, "end" if right else "start", line.text, x=x,
            )
        )  # fmt: skip
    return _picture("gauge", top + 32, title, parts)


def history_band(spans: Sequence[Span], since: int, until: int, labels: Labels, title: str) -> Markup:
    """Speeds over time: the slower, the lower and the warmer.  A stretch leads to the change that began it."""
    high, height = 40, 62
    ranks = max((span.rank for span in spans), default=0)
    parts = []
    for span in spans:
        x, end = _place(span.start, since, until), _place(span.end, since, until)
        tall = high if not ranks else round(high * (1 - 0.6 * span.rank / ranks))
        colour = shade(span.rank, ranks + 1) if span.shade is None else span.shade
        drawn = Markup(
            '<svg x="{}%" y="{}" width="{}%" height="{}"><title>{}</title>'
            '<rect class="s{}" width="100%" height="100%"/>{}</svg>'
        ).format(
            _percent(x), high - tall, _percent(end - x), tall, span.title,
            colour, _inside(span.text, end - x, min(tall - 4, 15)),
        )  # fmt: skip
        if span.href:
            drawn = Markup('<a href="{}" tabindex="-1" aria-label="{}">{}</a>').format(span.href, span.title, drawn)
        parts.append(drawn)
    parts += _time_ticks(since, until, labels, height)
    return _picture("band", height, title, parts, role="group")


def _inside(text: str, share: float, y: int) -> Markup:
    """What a stretch says of itself, if there is room; on a phone there is less."""
    if share < _ROOM:
        return Markup()
    narrow = "" if share >= _ROOM_ON_A_PHONE else " minor"
    return Markup('<text class="inside{}" x="5" y="{}">{}</text>').format(narrow, y, text)


def population_picture(
    instants: Sequence[int], layers: Sequence[Layer], span: tuple[int, int], labels: Labels, title: str
) -> Markup:
    """Services by profile as stacked areas, the slowest at the bottom; `layers` from the slowest to the first profile.

    The first profile fills what is left, so a few slowed ones among many can be seen: the scale is theirs.
    """
    height, floor = 150, 128
    slowed = [sum(layer.counts[place] for layer in layers[:-1]) for place in range(len(instants))]
    whole = max((sum(layer.counts[place] for layer in layers) for place in range(len(instants))), default=1)
    top = min(max(1, whole), _round_up(max([*slowed, 1]) * 1.5))
    xs = [round(1000 * _place(at, *span), 1) for at in instants]
    below = [0] * len(instants)
    areas = []
    for layer in layers:
        above = [low + count for low, count in zip(below, layer.counts, strict=True)]
        edge = [(x, _inverted(value, top)) for x, value in zip(xs, above, strict=True)]
        back = [(x, _inverted(value, top)) for x, value in zip(xs, below, strict=True)]
        points = " ".join(f"{x},{y}" for x, y in _steps(edge) + list(reversed(_steps(back))))
        areas.append(Markup('<polygon class="s{}" points="{}"/>').format(layer.shade, points))
        below = above
    drawn = Markup(
        '<svg y="8" width="100%" height="{}" viewBox="0 0 1000 100" preserveAspectRatio="none">{}</svg>'
        '<line class="axis" x1="0" x2="100%" y1="{floor}" y2="{floor}"/><text class="over" x="2" y="20">{top}</text>'
    ).format(floor - 8, Markup().join(areas), floor=floor, top=f"{top:,}")
    return _picture("population", height, title, [drawn, *_time_ticks(*span, labels, height)])


def _steps(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Each value holds until the next one."""
    stepped = [corner for (x, y), (next_x, _) in pairwise(points) for corner in ((x, y), (next_x, y))]
    return stepped + list(points[-1:])


def _inverted(value: int, top: int) -> float:
    return round(100 - 100 * min(value, top) / top, 2)


def _round_up(number: float) -> int:
    """The next 1, 2 or 5 times a power of ten."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power >= number:
                return factor * power
        power *= 10


def _time_ticks(since: int, until: int, labels: Labels, height: int) -> list[Markup]:
    """At full hours or days of the zone, at most eight."""
    hours = (until - since) / 3_600_000
    step_h = next((step for step in _TICK_STEPS_H if hours / step <= 8), _TICK_STEPS_H[-1])
    kind: TimeKind = "clock" if step_h < 24 else "day"
    moment = datetime.fromtimestamp(since / 1000, labels.zone).replace(minute=0, second=0, microsecond=0)
    moment = moment.replace(hour=moment.hour // step_h * step_h if step_h < 24 else 0)
    ticks: list[Markup] = []
    while (at := round(moment.timestamp() * 1000)) < until:
        place = _place(at, since, until)
        if at >= since and place < 0.97:
            ticks.append(_tick(place, at, kind, labels, height - 6, minor=len(ticks) % 2 == 1))
        moment += timedelta(hours=step_h)
    return ticks


def _tick(place: float, at: int, kind: TimeKind, labels: Labels, y: int, *, minor: bool) -> Markup:
    return Markup(
        '<line class="tick{m}" x1="{x}%" x2="{x}%" y1="{}" y2="{}"/>'
        '<text class="tick{m}" x="{x}%" dx="3" y="{}" data-instant="{}" data-time="{}">{}</text>'
    ).format(
        y - 16, y - 10, y, machine_instant(at), kind, labels.instant(at, kind),
        x=_percent(place), m=" minor" if minor else "",
    )  # fmt: skip


def _span_text(part: Slice, labels: Labels) -> str:
    kind: TimeKind = "clock" if part.end - part.start < 86_400_000 else "minute"
    return f"{labels.instant(part.start, kind)} – {labels.instant(part.end, kind)}"


def _place(at: int, since: int, until: int) -> float:
    return min(1.0, max(0.0, (at - since) / max(1, until - since)))


def _percent(share: float) -> str:
    return f"{100 * share:.4g}"


def _picture(kind: str, height: int, title: str, parts: Sequence[Markup], role: str = "img") -> Markup:
    """Who cannot see it hears `title`; the numbers stand in a table beside it.  With links in it, it is a group."""
    return Markup('<svg class="picture {}" width="100%" height="{}" role="{}" aria-label="{}">{}</svg>').format(
        kind, height, role, title, Markup().join(parts)
    )


@dataclass(frozen=True, slots=True)
class EnglishLabels:
    """In the words of the operators' pages."""

    zone: tzinfo

    def size(self, size_bytes: int) -> str:
        return rounded_size_text(size_bytes)

    def instant(self, at: int, kind: TimeKind) -> str:
        return instant_text(at, kind, zone=self.zone)
