"""The log of a simulated world, as it is where the records lie: whatever happens here happens at one instant.

What an auditor has to know is written down as it happens, in `journal`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple, TypeAlias

from stream.adapters.memory import MemoryLog
from stream.core.errors import Fenced, Truncated
from stream.ports import DELTAS, ENFORCEMENTS, STATE, Clock, Fetch, Message, Role
from tests.simulation.weather import Weather

Deed: TypeAlias = Literal["append", "write", "assign", "take over", "release"]


OWNED: Mapping[Role, str] = {"tracker": STATE, "enforcer": ENFORCEMENTS, "collector": DELTAS}
"""The topic that stands for what a role owns."""


class Entry(NamedTuple):
    """What somebody did to the log.  `messages` are those that were stored; `offset` is the one after the last of them,
    of a release the one before which nothing is needed any more."""

    at: int
    who: str
    deed: Deed
    topic: str
    partition: int
    messages: tuple[Message, ...]
    offset: int


class Found(NamedTuple):
    fetch: Fetch
    more: asyncio.Event
    """Set when more comes."""


class Broker(MemoryLog):
    """`Client`s reach it; nobody calls it from within a process."""

    def __init__(
        self, clock: Clock, weather: Weather, *, partitions: int, retention_ms: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(clock, partitions=partitions, retention_ms=retention_ms)
        self._weather = weather
        self._who = ""
        self.journal: list[Entry] = []
        self.heard: Callable[[Entry], None] = lambda entry: None
        """Called with whatever was stored."""

    @contextmanager
    def by(self, who: str) -> Iterator[None]:
        """What happens within it is this process's doing."""
        former, self._who = self._who, who
        try:
            yield
        finally:
            self._who = former

    # ------------------------------------------------------------ what a client may ask for

    def appended(self, topic: str, partition: int, messages: Sequence[Message]) -> int:
        """Store, perhaps twice, as a producer does that lost the answer."""
        if self._weather.strikes("repeated"):
            self._weather.happened["append repeated"] += 1
            self._note("append", topic, partition, messages)
        return self._note("append", topic, partition, messages)

    def torn(self, topic: str, partition: int, messages: Sequence[Message]) -> int:
        """Store a part of it: what is left of an append that ended in an error."""
        return self._note("append", topic, partition, messages[: self._weather.rng.randrange(len(messages) + 1)])

    def written(self, role: Role, partition: int, epoch: int, topic: str, messages: Sequence[Message]) -> bool:
        """Store for the owner of the epoch.  False if only a part of it survived.  Raises Fenced."""
        self.check(role, partition, epoch)
        if len(messages) > 1 and self._weather.strikes("torn"):
            self._weather.happened[f"{'state' if topic == STATE else 'other'} write torn"] += 1
            self._note("write", topic, partition, messages[: self._weather.rng.randrange(len(messages))])
            return False
        self._note("write", topic, partition, messages)
        self._leave_out(topic, partition)  # the transaction's marker
        return True

    def check(self, role: Role, partition: int, epoch: int) -> None:
        """Raises Fenced if somebody else has taken over since."""
        if self._epochs.get((role, partition)) != epoch:
            self._weather.happened["fenced"] += 1
            raise Fenced(f"{role} of partition {partition}: somebody else has taken over")

    def taken(self, role: Role, partition: int) -> int:
        """The epoch of the new owner."""
        epoch = self._epochs[role, partition] = self._epochs.get((role, partition), 0) + 1
        self._note("take over", OWNED[role], partition, ())
        return epoch

    def assigned(self, role: Role, partition: int, who: str) -> None:
        """The group says that this process is the one to take over."""
        self.journal.append(Entry(self._clock.now(), who, "assign", OWNED[role], partition, (), 0))

    def fetched(self, topic: str, partition: int, offset: int) -> Found:
        """What there is from an offset on, or the next part of it.  Raises Truncated."""
        stream = self._stream(topic, partition)
        if not stream.first <= offset <= stream.end:
            raise Truncated(f"{topic}/{partition}: {offset} is next to read, kept are {stream.first} to {stream.end}")
        fetch = stream.since(offset)
        count = self._weather.rng.choice((1, 2, 5, 20, len(fetch.records))) if len(fetch.records) > 1 else 1
        if count < len(fetch.records):
            fetch = Fetch(fetch.records[:count], fetch.records[count - 1].offset + 1)
        return Found(fetch, stream.arrival)

    def latest(self, topic: str, partition: int) -> dict[bytes, bytes]:
        live = self._stream(topic, partition).live()
        return {key: record.value for key, record in live.items() if record.value is not None}

    def extent(self, topic: str, partition: int) -> tuple[int, int]:
        stream = self._stream(topic, partition)
        return stream.first, stream.end

    def released(self, topic: str, partition: int, before_offset: int) -> None:
        self.release(topic, partition, before_offset)
        self.journal.append(Entry(self._clock.now(), self._who, "release", topic, partition, (), before_offset))

    def wake(self) -> None:
        """Have all readers look again."""
        for stream in self._streams.values():
            stream.arrival.set()
            stream.arrival = asyncio.Event()

    def clean(self, topic: str, partition: int) -> None:
        """Compaction, at its own time."""
        self._weather.happened["compaction"] += 1
        self.compact(topic, partition)

    def cut_off(self, topic: str, partition: int) -> None:
        """All that is there is no longer kept, read or not."""
        stream = self._stream(topic, partition)
        stream.expire(self._clock.now(), stream.end)

    # ------------------------------------------------------------ within

    def _note(self, deed: Deed, topic: str, partition: int, messages: Sequence[Message]) -> int:
        if messages:
            self._store(topic, partition, messages)
        stream = self._stream(topic, partition)
        end = stream.end
        self.journal.append(Entry(self._clock.now(), self._who, deed, topic, partition, tuple(messages), end))
        self.heard(self.journal[-1])
        if self._weather.strikes("gaps"):
            self._weather.happened["offset left out"] += 1
            self._leave_out(topic, partition)
        return end

    def _leave_out(self, topic: str, partition: int) -> None:
        """An offset at which there is nothing for readers; they are told."""
        stream = self._stream(topic, partition)
        stream.end += 1
        stream.arrival.set()
        stream.arrival = asyncio.Event()
