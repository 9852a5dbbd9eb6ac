"""What the log of a whole world says, read from the broker's journal as it grows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import orjson

from stream import wire
from stream.core.enforced import Switches
from stream.ports import CHANGES, DELTAS, ENFORCEMENTS, Message
from tests.core.driving import told
from tests.oracle.partition import Partition
from tests.oracle.service import Service
from tests.simulation.broker import Broker, Entry

Json: TypeAlias = dict[str, Any]


@dataclass(eq=False)
class Incarnation:
    """A service from a registration to its deregistration, as the oracle has it."""

    service: Service
    since: int
    """Append time of the registration."""
    first: int | None = None
    """The start of its first delta."""
    ended: int | None = None
    """The append time of its deregistration."""
    said_gone: int = 0
    """When that was, according to the deregistration itself."""


class Kept(NamedTuple):
    """A record of `quota.enforcements` about a service, or about the switches."""

    place: int
    """Of its write in the journal."""
    at: int
    who: str
    partition: int
    document: Json | None


class WholeBooks:
    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self.read_to = 0
        self.oracles = [Partition(number, self.partition_of) for number in range(broker.partitions)]
        self.incarnations: dict[str, list[Incarnation]] = defaultdict(list)
        self.outcomes: dict[str, list[Json]] = defaultdict(list)
        """By service, as shown; what a crash made say twice is here once."""
        self.shown_at: dict[tuple[str, int, int], int] = {}
        """When a decision (service, incarnation, revision) was first shown."""
        self.kept: dict[str, list[Kept]] = defaultdict(list)
        self.switches: list[Kept] = []
        self._displaced: dict[tuple[Service, int], int] = {}
        """When (append time) a service's anchor, by its start, ceased to be one of the two that are kept."""
        self._stale: dict[Service, list[tuple[int, int | None]]] = defaultdict(list)
        """Bytes that were told when they were stale, and how long (ms) after their anchor had been displaced; None:
        there was no such anchor."""
        self._heard: set[tuple[int, Message]] = set()

    def partition_of(self, service: str) -> int:
        return wire.partition_of(service, self._broker.partitions)

    def read(self) -> None:
        """Take note of all that happened by now."""
        journal = self._broker.journal
        for place in range(self.read_to, len(journal)):
            entry = journal[place]
            if entry.topic == DELTAS and entry.deed in ("append", "write"):
                self._take_deltas(entry)
            elif entry.topic == CHANGES and entry.messages:
                self._hear(entry)
            elif entry.topic == ENFORCEMENTS and entry.messages:
                self._keep(place, entry)
        self.read_to = len(journal)

    def service(self, name: str) -> Service | None:
        """As the oracle has it now."""
        return self.oracles[self.partition_of(name)].services.get(name)

    def stale_bytes(self, service: Service, *, unknown_ms: int) -> int:
        """Those that nobody should have told.  Two collectors at once do no harm: one that does not know yet how far
        the other has come may, for `unknown_ms`, repeat an anchor that has just been displaced, but none before."""
        told = self._stale[service]
        return sum(each for each, after_ms in told if after_ms is None or after_ms > unknown_ms)

    def names(self) -> set[str]:
        """The services that are registered."""
        return {name for oracle in self.oracles for name in oracle.services}

    # ------------------------------------------------------------ within

    def _take_deltas(self, entry: Entry) -> None:
        oracle = self.oracles[entry.partition]
        for offset, message in enumerate(entry.messages, entry.offset - len(entry.messages)):
            value: Json = orjson.loads(message.value or b"")
            kind, name = value.get("type"), value.get("service", "")
            if kind == "deregistration" and name in oracle.services:
                gone = self.incarnations[name][-1]
                gone.ended, gone.said_gone = entry.at, value["at"]
            told = [oracle.services[each] for each in value.get("services", ()) if each in oracle.services]
            former = [(service.previous, sum(service.stale)) for service in told]
            oracle.apply(offset, entry.at, value)
            if kind == "registration" and name in oracle.services:
                self._registered(oracle.services[name], entry.at)
            for service, (previous, stale) in zip(told, former, strict=True):
                self._first_delta(service)
                self._note_stale(service, value["start"], sum(service.stale) - stale, entry.at)
                if previous is not None and service.previous is not previous:
                    self._displaced[service, previous.start] = entry.at

    def _registered(self, service: Service, at: int) -> None:
        known = self.incarnations[service.name]
        if not known or known[-1].service is not service:
            known.append(Incarnation(service, at))

    def _first_delta(self, service: Service) -> None:
        newest = self.incarnations[service.name][-1]
        if newest.first is None and service.current is not None:
            newest.first = service.current.start

    def _note_stale(self, service: Service, start: int, told_bytes: int, at: int) -> None:
        if told_bytes:
            displaced_at = self._displaced.get((service, start))
            self._stale[service].append((told_bytes, None if displaced_at is None else at - displaced_at))

    def _hear(self, entry: Entry) -> None:
        for message in entry.messages:
            if b'"control"' in (message.value or b"") or (entry.partition, message) in self._heard:
                continue
            self._heard.add((entry.partition, message))
            outcome = told(wire.decode_outcome(message.value or b""))
            self.outcomes[outcome["service"]].append(outcome)
            if outcome["type"] == "decision":
                self.shown_at[outcome["service"], outcome["incarnation"], outcome["revision"]] = entry.at

    def _keep(self, place: int, entry: Entry) -> None:
        for message in entry.messages:
            name = (message.key or b"").decode()
            document = None if message.value is None else orjson.loads(message.value)
            kept = Kept(place, entry.at, entry.who, entry.partition, document)
            (self.switches if name == Switches.KEY else self.kept[name]).append(kept)

    # ------------------------------------------------------------ comparing

    def unshown(self) -> Iterable[str]:
        """What is decided and not shown yet."""
        for oracle in self.oracles:
            due = Counter(said["service"] for said in oracle.outcomes)
            for name in sorted(due):
                if due[name] > len(self.outcomes[name]):
                    yield f"{name}: {due[name]} outcomes are due, and {len(self.outcomes[name])} are shown"
