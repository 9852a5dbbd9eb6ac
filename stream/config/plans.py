"""Plans as people write them -> the normal form of the `plans` record -> the core's Plan."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from stream.config.document import Document
from stream.config.fields import DurationMs, Name, Percent, Section, SpeedBits, Zone, name, read, whole
from stream.config.units import Wrong, duration_ms, duration_text, shown, size_bytes
from stream.core.plan import Plan, PlanError
from stream.core.reading import Path, Problem

SLIDING_SLICES = 6


def _size_or_service(value: object) -> int | str:
    return "service" if value == "service" else size_bytes(value)


def _day_or_service(value: object) -> int | str:
    return "service" if value == "service" else whole(1, 31)(value)


def _stay(value: object) -> int | str:
    return "period" if value == "period" else duration_ms(value)


def _up(value: object) -> object:
    """`up: NAME` is short for `up: {else: NAME}`."""
    return {"else": value} if isinstance(value, str) else value


def _thresholds(value: object) -> tuple[tuple[int, str], ...]:
    """{SIZE: NAME} as (bytes, name), ascending.  Raises Wrong."""
    if not isinstance(value, Mapping) or not value:
        raise Wrong(f"{shown(value)} is not a mapping of sizes to profiles", "write {500 MiB: fast}")
    pairs = sorted((size_bytes(size), name(profile)) for size, profile in value.items())
    if any(one == other for (one, _), (other, _) in pairwise(pairs)):
        raise Wrong("two thresholds are the same size", "keep one of them")
    return tuple(pairs)


Quota: TypeAlias = Annotated[int | str, BeforeValidator(_size_or_service)]
AnchorDay: TypeAlias = Annotated[int | str, BeforeValidator(_day_or_service)]
Stay: TypeAlias = Annotated[int | str, BeforeValidator(_stay)]
Thresholds: TypeAlias = Annotated[tuple[tuple[int, str], ...], BeforeValidator(_thresholds)]


class WindowForm(Section):
    slide: DurationMs | None = None
    calendar: Literal["hour", "day", "week", "month"] | None = None
    slices: Annotated[int, BeforeValidator(whole(1, 400))] | None = None
    timezone: Zone | None = None
    anchor_day: AnchorDay | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> WindowForm:
        if (self.slide is None) == (self.calendar is None):
            raise Wrong(
                "a window either slides or follows the calendar",
                "write {slide: 1h, slices: 6} or {calendar: month, timezone: Europe/Berlin}",
            )
        if self.slide is not None:
            self._check_sliding(self.slide, self.slices or SLIDING_SLICES)
        elif self.timezone is None:
            raise Wrong("a calendar needs a time zone", "write for example `timezone: Europe/Berlin`")
        if self.anchor_day is not None and self.calendar != "month":
            raise Wrong("only months have an anchor day", "leave `anchor_day` out or write `calendar: month`")
        return self

    def _check_sliding(self, slide: int, slices: int) -> None:
        if slide % slices or slide // slices < 1000:
            what = f"{duration_text(slide)} does not make {slices} slices of whole milliseconds, 1s at least each"
            raise Wrong(what, "write for example {slide: 1h, slices: 6}")
        if self.timezone is not None:
            raise Wrong("a sliding window knows no time zone", "leave `timezone` out")

    def to_json(self) -> dict[str, Any]:
        if self.slide is not None:
            slices = self.slices or SLIDING_SLICES
            return {"kind": "sliding", "slice_ms": self.slide // slices, "slices": slices}
        form: dict[str, Any] = {"kind": "calendar", "unit": self.calendar, "slices": self.slices or 1}
        form["timezone"] = str(self.timezone)
        if self.calendar == "month":
            form["anchor_day"] = self.anchor_day or 1
        return form


class CountForm(Section):
    in_: Percent = Field(default=100, alias="in", examples=["100%"])
    out: Percent = Field(default=100, examples=["100%"])


class UpForm(Section):
    below: Thresholds = ()
    else_: Name | None = Field(default=None, alias="else")


class ProfileForm(Section):
    speed: SpeedBits = Field(examples=["10 Mbit/s"])
    quota: Quota | None = None
    at: Literal["exceeded", "reached"] = "exceeded"
    down: Name | None = None
    stay: Stay | None = None
    up: Annotated[UpForm | None, BeforeValidator(_up)] = None

    def to_json(self, profile: str) -> dict[str, Any]:
        up = self.up and {"below": [list(pair) for pair in self.up.below], "else": self.up.else_}
        return {
            "name": profile,
            "speed": {"in": self.speed.in_, "out": self.speed.out},
            "quota": self.quota,
            "at": self.at,
            "down": self.down,
            "stay": self.stay,
            "up": up,
        }


class PlanForm(Section):
    window: WindowForm = Field(examples=["{slide: 1h, slices: 6}"])
    count: CountForm = CountForm()
    on_change: Literal["reset", "keep"] = "reset"
    warn: Percent | None = None
    profiles: Mapping[Name, ProfileForm] = Field(examples=["{full: {speed: original}}"])

    def to_json(self) -> dict[str, Any]:
        return {
            "window": self.window.to_json(),
            "count": {"in": self.count.in_, "out": self.count.out},
            "on_change": self.on_change,
            "warn": self.warn,
            "profiles": [form.to_json(profile) for profile, form in self.profiles.items()],
        }


def read_plan(document: Document, path: Path, data: object) -> Plan | None:
    """The plan that stands at `path`; None after adding everything that is wrong with it."""
    form = read(PlanForm, document, path, data)
    if form is None:
        return None
    try:
        return Plan.from_json(str(path[-1]), form.to_json())
    except PlanError as error:
        for problem in error.problems:
            document.add(Problem((*path, *_as_written(form, problem.path)), problem.what, problem.cure))
        return None


def _as_written(form: PlanForm, path: Path) -> Path:
    """A place in the normal form, as a place in the file: profiles have names there."""
    match path:
        case ("profiles", int(number), *rest):
            profile = list(form.profiles)[number]
            return ("profiles", profile, "up", "below") if rest[1:2] == ["below"] else ("profiles", profile, *rest)
        case ("window", "slice_ms", *_):
            return ("window", "slide")
        case _:
            return path
