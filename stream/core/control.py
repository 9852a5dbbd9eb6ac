"""What an operator tells enforcers and those who show something: records of `quota.profile-changes`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from stream.core.enforced import speed_from_json, speed_to_json, text, whole
from stream.core.errors import Rejected
from stream.core.speed import Speed

Verb: TypeAlias = Literal["allow", "release", "original", "forget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """`allow`: open the brake until `until` and end a release.  `release`: give all originals back and stop enforcing.
    `original`: the speed of `service` before we touched it (None: no limit).  `forget`: nothing is shown any more of
    `service` as it was registered before `offset` of its partition of `traffic.deltas`."""

    verb: Verb
    platform: str
    at: int
    by: str
    why: str = ""
    until: int | None = None
    service: str | None = None
    original: Speed | None = None
    offset: int | None = None

    @property
    def key(self) -> str:
        """Of its record.  One about a whole platform goes to every partition, one about a service to its own."""
        return f"@platform/{self.platform}" if self.service is None else self.service

    def to_json(self) -> dict[str, Any]:
        return {
            "type": "control",
            "verb": self.verb,
            "platform": self.platform,
            "service": self.service,
            "original": None if self.original is None else speed_to_json(self.original),
            "until": self.until,
            **({} if self.offset is None else {"offset": self.offset}),
            "at": self.at,
            "by": self.by,
            "why": self.why,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Control:
        """Raises Rejected if it is no control record that we know."""
        try:
            verb, original = value["verb"], value.get("original")
            if verb not in get_args(Verb):
                raise ValueError(f"unknown verb {verb!r}")
            control = cls(
                verb=verb,
                platform=text(value["platform"]),
                at=whole(value["at"]),
                by=text(value["by"]),
                why=text(value.get("why", "")),
                until=None if value.get("until") is None else whole(value["until"]),
                service=None if value.get("service") is None else text(value["service"]),
                original=None if original is None else speed_from_json(original),
                offset=None if value.get("offset") is None else whole(value["offset"]),
            )
            control.check()
        except (KeyError, TypeError, ValueError) as error:
            raise Rejected(f"not a control record: {error}", "use the command `platform`") from error
        return control

    def check(self) -> None:
        """Raises ValueError if it lacks what its verb needs."""
        if self.verb == "allow" and self.until is None:
            raise ValueError("allow needs until")
        if self.verb == "original" and (self.service is None or self.original is None):
            raise ValueError("original needs service and original")
        if self.verb == "forget" and (self.service is None or self.offset is None):
            raise ValueError("forget needs service and offset")
        if self.service is not None and self.service.partition("/")[0] != self.platform:
            raise ValueError(f"{self.service!r} is not of platform {self.platform!r}")
