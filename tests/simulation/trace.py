"""What happened in a world, in order: to be read when it went wrong, and to be equal when a seed is run again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, MutableMapping
from typing import Any, NamedTuple

import structlog

from stream.ports import Clock
from tests.simulation.process import current


class Event(NamedTuple):
    at: int
    who: str
    what: str
    about: object


class Trace:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.events: list[Event] = []
        self._closed = False

    def close(self) -> None:
        """Nothing of what follows belongs to the story."""
        self._closed = True

    def note(self, who: str, what: str, about: object = "") -> None:
        if not self._closed:
            self.events.append(Event(self._clock.now(), who, what, about))

    def lines(self, *, since_ms: int) -> Iterator[str]:
        """As text; instants are seconds since the world's start."""
        for at, who, what, about in self.events:
            yield f"{(at - since_ms) / 1000:10.3f} {who:12} {what} {about}".rstrip()

    def digest(self, *, since_ms: int) -> str:
        whole = "\n".join(self.lines(since_ms=since_ms))
        return hashlib.sha256(whole.encode()).hexdigest()

    def hear(self, _: object, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A structlog processor: what the product says is part of the story."""
        what = str(event.pop("event"))
        self.note(current(), f"says {level} {what}", " ".join(f"{key}={value!r}" for key, value in event.items()))
        raise structlog.DropEvent
