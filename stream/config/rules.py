"""Which machines get which plans: rules, of which the first that matches wins."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, TypeAlias

from pydantic import BeforeValidator, Field, field_validator

from stream.config.fields import Name, Section, SizeBytes, several, text, whole
from stream.config.platforms import Attribute
from stream.ports import Machine

_RANGE = re.compile(r"(\d{1,18})-(\d{1,18})")
_WILD = re.compile(r"[*?\[]")


def _patterns(value: object) -> tuple[str, ...]:
    return tuple(text(one) for one in several(value))


Patterns: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_patterns)]


class Match(Section):
    """Every key that is given must match; a key matches if one of its patterns matches one of the machine's values.

    Patterns are globs, case counts; an id may also be a range, `100-199`.
    """

    platform: Patterns = ()
    id: Patterns = ()
    name: Patterns = ()
    tag: Patterns = ()
    account: Patterns = ()
    node: Patterns = ()
    cluster: Patterns = ()

    def given(self) -> dict[str, tuple[str, ...]]:
        """The patterns of each key that is given."""
        return {key: patterns for key in type(self).model_fields if (patterns := getattr(self, key))}


class Rule(Section):
    """What the machines that match get.  Without plans they are left alone."""

    match: Match = Field(examples=["{platform: vm1}"])
    plans: tuple[Name, ...] = Field(examples=["[month]"])
    quota: SizeBytes | None = None
    """Bytes, for plans with `quota: service`."""
    anchor_day: Annotated[int, BeforeValidator(whole(1, 31))] | None = None
    """For plans with `anchor_day: service`."""

    @field_validator("plans", mode="before")
    @classmethod
    def _single_is_a_list(cls, value: object) -> object:
        return several(value)

    def reaches(self, platform: str, pattern: str | None = None) -> bool:
        """Whether machines of the platform can match (through this pattern alone, if it is given)."""
        patterns = self.match.platform if pattern is None else (pattern,)
        return not patterns or any(fnmatchcase(platform, one) for one in patterns)

    def matches(self, machine: Machine, platform: str) -> bool:
        attributes: Mapping[str, Sequence[str]] = {**machine.attributes, "platform": (platform,)}
        return all(
            any(_matches(key, pattern, value) for pattern in patterns for value in attributes.get(key, ()))
            for key, patterns in self.match.given().items()
        )


class Rules(tuple[Rule, ...]):
    """In the order of the file."""

    __slots__ = ()

    def match(self, machine: Machine, platform: str) -> Rule | None:
        """The first rule that matches; None: the machine is never touched."""
        return next((rule for rule in self if rule.matches(machine, platform)), None)


def resting_on(rule: Rule, editable: Sequence[Attribute]) -> Iterator[str]:
    """The keys of the rule that customers can edit."""
    return (key for key in rule.match.given() if key in editable)


def shadowed(rule: Rule, earlier: Rule, platforms: Sequence[str]) -> bool:
    """Whether every machine that `rule` could match is surely taken by `earlier`.  Sound, not complete."""
    ours = {"platform": tuple(platforms), **rule.match.given()}
    return all(
        key in ours and all(any(_covers(key, wide, narrow) for wide in patterns) for narrow in ours[key])
        for key, patterns in earlier.match.given().items()
    )


def _matches(key: str, pattern: str, value: str) -> bool:
    bounds = _bounds(key, pattern)
    if bounds is not None:
        return value.isdecimal() and bounds[0] <= int(value) <= bounds[1]
    return fnmatchcase(value, pattern)


def _covers(key: str, wide: str, narrow: str) -> bool:
    """Whether every value that `narrow` matches is matched by `wide`."""
    if wide in (narrow, "*"):
        return True
    outer, inner = _bounds(key, wide), _bounds(key, narrow)
    if outer is not None and inner is not None:
        return outer[0] <= inner[0] and inner[1] <= outer[1]
    if not _WILD.search(narrow) and inner is None:
        return _matches(key, wide, narrow)
    stem = wide.removesuffix("*")
    return stem != wide and not _WILD.search(stem) and inner is None and narrow.startswith(stem)


def _bounds(key: str, pattern: str) -> tuple[int, int] | None:
    match = _RANGE.fullmatch(pattern) if key == "id" else None
    return (int(match[1]), int(match[2])) if match else None
