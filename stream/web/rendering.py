"""Templates, and how they write sizes, speeds and instants."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeAlias

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from stream.config.units import duration_text, plural, rounded_size_text, speed_text
from stream.core.speed import Speed

TEMPLATES: Final = Path(__file__).parent / "templates"
STATIC: Final = Path(__file__).parent / "static"

_LAST_MS: Final = 253_402_300_799_000 - 2 * 86_400_000

TimeKind: TypeAlias = Literal["full", "second", "minute", "clock", "day"]
"""As `page.js` writes them in the zone of who looks at them."""
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sept", "Oct", "Nov", "Dec")


def environment(zone: tzinfo) -> Environment:
    """Everything is escaped, and a name that a template does not get is an error.  Instants are shown in `zone` until
    a script writes them in that of the viewer."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "size": rounded_size_text,
        "speed": speed_text,
        "limit": limit_text,
        "duration": duration_text,
        "count": count_text,
        "plural": plural,
        "age": age_text,
        "instant": partial(instant, zone=zone),
    }
    return made


def instant(at: int, kind: TimeKind = "minute", *, zone: tzinfo) -> Markup:
    """A `<time>` that shows UTC to who points at it."""
    written = instant_text(at, kind, zone=zone)
    # Made of numbers alone: there is nothing to escape, and a page has hundreds of them.
    return Markup(
        f'<time datetime="{machine_instant(at)}" title="{utc_text(at)} UTC" data-time="{kind}">{written}</time>'
    )


def machine_instant(at: int) -> str:
    return f"{utc_text(at).replace(' ', 'T')}Z"


def utc_text(at: int) -> str:
    return f"{datetime.fromtimestamp(_shown(at) / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _shown(at: int) -> int:
    """The last days of the year 9999 are as good as those that calendars no longer reach."""
    return min(at, _LAST_MS)


def instant_text(at: int, kind: TimeKind = "minute", *, zone: tzinfo) -> str:
    """In English; a page has hundreds of these, so nothing general formats them."""
    moment = datetime.fromtimestamp(_shown(at) / 1000, zone)
    clock = f"{moment.hour:02}:{moment.minute:02}"
    if kind == "clock":
        return clock
    day = f"{moment.day} {_MONTHS[moment.month - 1]}"
    if kind == "day":
        return day
    if kind == "minute":
        return f"{day}, {clock}"
    return f"{day}{f' {moment.year}' if kind == 'full' else ''}, {clock}:{moment.second:02}"


def limit_text(speed: Speed) -> str:
    """A speed as a platform shows it, where None is no limit."""
    return speed_text(speed).replace("original", "no limit")


def count_text(number: int) -> str:
    """1,000,000"""
    return f"{number:,}"


def age_text(age_ms: int) -> str:
    """So long, to read: "12 s", "5 min", "3 h", "4 days"."""
    for unit, name in ((86_400_000, "days"), (3_600_000, "h"), (60_000, "min")):
        if age_ms >= 2 * unit:
            return f"{age_ms // unit} {name}"
    return f"{max(0, age_ms) // 1000} s"
