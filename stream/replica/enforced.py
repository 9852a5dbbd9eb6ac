"""What is read of `quota.enforcements`: the latest record of each service, and what the enforcers have set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from stream.core.enforced import Enforcement, Switches
from stream.core.errors import Corrupt, Truncated
from stream.ports import ENFORCEMENTS, Record
from stream.replica.entries import enforcement_entries
from stream.replica.history import AT_ONCE, History
from stream.replica.model import Entry, News
from stream.runtime.ledger import read
from stream.wire.fields import is_service


class EnforcementReader:
    """The latest record of each service, and what the enforcers have set."""

    topic = ENFORCEMENTS

    def __init__(self, partition: int, history: History, tell: Callable[[News], None], now: Callable[[], int]) -> None:
        self.partition = partition
        self.switches = Switches()
        self.unsettled: dict[str, Enforcement] = {}
        """Whose platform does not show what it was asked for."""
        self._damaged: dict[bytes, str] = {}
        self._records: dict[bytes, bytes] = {}
        self._history = history
        self._generation = 0
        self._tell = tell
        self._now = now

    @property
    def damage(self) -> str:
        """Of the first of the records that cannot be read."""
        return next(iter(self._damaged.values()), "")

    def enforcement(self, service: str) -> Enforcement | None:
        value = self._records.get(service.encode())
        return None if value is None else _read(service.encode(), value)[0].get(service)

    async def begin(self, first: int, end: int) -> int:
        await self._history.open(self._now())
        self._generation = self._history.generation
        self.switches = Switches()
        self._damaged.clear()
        self._records.clear()
        self.unsettled.clear()
        return first

    async def take(self, records: Sequence[Record], next_offset: int) -> None:
        if self._generation != self._history.generation:
            raise Truncated("the index is made anew")
        latest = {record.key: record.value for record in records if record.key is not None}
        services: list[str] = []
        entries: list[Entry] = []
        for key, value in latest.items():
            try:
                entries += self._note(key, value)
            except Corrupt as error:
                self._damaged[key] = f"{ENFORCEMENTS}/{self.partition}: {error}"
            services.append(key.decode(errors="replace"))
        for first in range(0, len(services), AT_ONCE):
            some = set(services[first : first + AT_ONCE])
            own = [entry for entry in entries if entry.service in some]
            await self._history.index.note_enforcements(some, own)
        named = frozenset(filter(is_service, services))
        if named:
            self._tell(News("entry", named))
        if len(named) < len(services):  # brake and release, or something that cannot be read: it may concern anybody
            self._tell(News("entry"))

    def _note(self, key: bytes, value: bytes | None) -> Iterator[Entry]:
        """The record of a service (None: it has none any more), or of the switches.  Raises Corrupt."""
        service = key.decode(errors="replace")
        self._records.pop(key, None)
        self._damaged.pop(key, None)
        self.unsettled.pop(service, None)
        if value is None:
            return
        states, switches = _read(key, value)
        if key == Switches.KEY.encode():
            self.switches = switches
            return
        self._records[key] = value
        for state in states.values():
            if not state.settled and state.intent is not None:
                self.unsettled[service] = state
            yield from enforcement_entries(state)


def _read(key: bytes, value: bytes) -> tuple[Mapping[str, Enforcement], Switches]:
    """Raises Corrupt."""
    try:
        return read({key: value})
    except (AttributeError, TypeError, LookupError, ValueError) as error:
        raise Corrupt(f"{ENFORCEMENTS}: the record of {key!r} cannot be read: {error!r}") from error
