"""What a survey comes to: findings in words, settings that should be others, and the machines concerned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

from stream.core.speed import Speed

Level: TypeAlias = Literal["ok", "unknown", "note", "change"]
"""As it should be; could not be measured; worth knowing; somebody has to do something."""


class Finding(NamedTuple):
    topic: str
    """One word, the same in every survey: `timezone`, `stamp`, ..."""
    level: Level
    text: str
    value: Any = None
    """JSON-able: what was measured (lengths in ms); None where nothing was."""


class Slowed(NamedTuple):
    """A machine that its plans would slow down now."""

    service: str
    name: str
    limits: Speed
    due: Speed
    why: tuple[str, ...]
    """The plans that ask for it, each with its profile and what was used."""


@dataclass(slots=True)
class PlatformReport:
    name: str
    url: str
    findings: list[Finding] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    """What to write into the configuration instead of what is there: key -> YAML."""
    answers: bool = False
    """It let us in and listed its machines."""
    machines: int = 0
    matched: int = 0
    unmatched: list[tuple[str, str]] = field(default_factory=list)
    """(service, name) of the machines that no rule matches."""
    rules: dict[int, int] = field(default_factory=dict)
    """How many machines each rule takes, by its place in the configuration."""
    slowed: list[Slowed] = field(default_factory=list)
    judged: int = 0
    """How many machines were looked at for that."""
    requests: int = 0

    def add(self, topic: str, level: Level, text: str, value: Any = None) -> None:
        self.findings.append(Finding(topic, level, text, value))

    @property
    def is_well(self) -> bool:
        return all(finding.level != "change" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "platform": self.name,
            "url": self.url,
            "well": self.is_well,
            "answers": self.answers,
            "findings": [finding._asdict() for finding in self.findings],
            "settings": self.settings,
            "machines": self.machines,
            "matched": self.matched,
            "judged": self.judged,
            "slowed": [one._asdict() for one in self.slowed],
            "unmatched": [service for service, _ in self.unmatched],
            "requests": self.requests,
        }


@dataclass(frozen=True, slots=True)
class Survey:
    log: Finding
    rules: Sequence[Finding]
    platforms: Sequence[PlatformReport]

    @property
    def is_well(self) -> bool:
        """Whether there is nothing to change, and every platform answers."""
        general = (self.log, *self.rules)
        return all(one.level != "change" for one in general) and all(one.is_well for one in self.platforms)

    def to_json(self) -> dict[str, Any]:
        return {
            "well": self.is_well,
            "log": self.log._asdict(),
            "rules": [one._asdict() for one in self.rules],
            "platforms": [one.to_json() for one in self.platforms],
        }
