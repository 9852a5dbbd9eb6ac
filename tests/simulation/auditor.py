"""What must be true of a log, whatever happened to those who wrote it, told from its journal alone.

traffic.deltas      --->  the oracle: what had to be decided, refused and counted, known as soon as it is appended
quota.state         --->  what a reader would restore at this instant
profile-changes     --->  only what is decided and durable, in order, always the same bytes
dead-letters        --->  all that is refused, before a checkpoint moves past it
releases            --->  nothing that a restore would read again
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import Any, TypeAlias

import orjson

from stream import ports, wire
from stream.core.errors import Corrupt, Rejected
from stream.core.model import Decision, QuotaWarning
from stream.core.tracker import Tracker
from stream.ports import CHANGES, DELTAS, ENFORCEMENTS, STATE, Message
from stream.runtime.checkpoint import META, restore
from tests.core.driving import LEFT_OUT, exported, told
from tests.oracle.partition import Partition as Oracle
from tests.simulation.broker import Entry
from tests.simulation.durable import Durable

Json: TypeAlias = dict[str, Any]
Identity: TypeAlias = tuple[object, ...]
"""Of an outcome: (incarnation, revision) of a decision, (incarnation, plan, input) of a warning."""

Totals: TypeAlias = Mapping[str, tuple[int, int]]
"""Bytes in and out of each service that is registered."""

GONE = (sys.maxsize, 0)
"""Newer than any incarnation: nobody restores the service any more."""


class Book:
    """One service's outcomes: what the oracle tells, and how far they were shown."""

    def __init__(self) -> None:
        self.due: list[Json] = []
        self.places: dict[Identity, int] = {}
        self.last = -1
        """The place of the outcome that was shown last."""
        self.shown: dict[int, Message] = {}

    def add(self, said: Json) -> None:
        self.places[identity(said)] = len(self.due)
        self.due.append(said)


class PartitionAuditor:
    """Is told one partition's entries, in order, then asked for the end."""

    def __init__(self, number: int, partitions: int) -> None:
        self.number = number
        self.violations: list[str] = []
        self.happened: Counter[str] = Counter()
        self._partitions = partitions
        self._durable = Durable()
        self._owners: dict[tuple[str, str], str] = {}
        """Who was assigned, and who took over last, by topic."""
        self._inputs: list[tuple[int, int, Any]] = []
        self._oracle = Oracle(number, self._partition_of)
        self._books: dict[str, Book] = {}
        self._letters: dict[bytes, int] = {}
        """The offset of what was refused, by the key of its letter."""
        self._unpassed: list[tuple[int, bytes]] = []
        """Those that no checkpoint has moved past, by offset."""
        self._stored: dict[bytes, Message] = {}
        self._intents: dict[str, tuple[int, int]] = {}
        """(incarnation, revision) of the last intent for each service."""

    def note(self, entry: Entry) -> None:
        match entry.topic, entry.deed:
            case topic, "assign":
                self._owners[topic, "assign"] = entry.who
            case _, "take over":
                self._taken_over(entry)
            case _, "release":
                self._released(entry)
            case ports.DELTAS, _:
                self._appended(entry)
            case ports.DEAD_LETTERS, _:
                self._refused(entry)
            case topic, "write":
                self._written(entry, ENFORCEMENTS if topic == ENFORCEMENTS else STATE)

    # ------------------------------------------------------------ entries

    def _appended(self, entry: Entry) -> None:
        oracle, first = self._oracle, entry.offset - len(entry.messages)
        outcomes, rejects = len(oracle.outcomes), len(oracle.rejects)
        for offset, message in enumerate(entry.messages, first):
            value = parsed(message.value)
            self._inputs.append((offset, entry.at, value))
            oracle.apply(offset, entry.at, value)
        for said in oracle.outcomes[outcomes:]:
            self._book(said["service"]).add(LEFT_OUT | said if said["type"] == "decision" else said)
        for offset, index, _ in oracle.rejects[rejects:]:
            key = f"{DELTAS}/{self.number}/{offset}/{index}".encode()
            self._letters[key] = offset
            self._unpassed.append((offset, key))

    def _taken_over(self, entry: Entry) -> None:
        self.happened["restore"] += entry.topic == STATE
        assigned = self._owners.get((entry.topic, "assign"))
        if entry.who != assigned:
            self._accuse(f"{entry.who} took over, and the partition is assigned to {assigned}")
        self._owners[entry.topic, "take over"] = entry.who

    def _written(self, entry: Entry, owned: str) -> None:
        owner = self._owners.get((owned, "take over"))
        if entry.who != owner:
            self._accuse(f"{entry.who} wrote to {entry.topic}, and {owner} has taken over since")
        if entry.topic == STATE:
            self._checkpointed(entry)
        elif entry.topic == CHANGES:
            self._shown(entry)
        elif entry.topic == ENFORCEMENTS:
            self._intended(entry)

    def _intended(self, entry: Entry) -> None:
        """What is asked of a platform for a service comes from decisions that only grow younger."""
        for _, value, _ in entry.messages:
            record = orjson.loads(value or b"{}")
            if record.get("intent") is None:
                continue
            service, at = record["service"], (record["incarnation"], record["intent"]["revision"])
            former = self._intents.get(service, at)
            if at < former:
                self._accuse(f"{entry.who} intends {at} for {service} after {former}: an older decision")
            self._intents[service] = at

    def _checkpointed(self, entry: Entry) -> None:
        for wrong in self._durable.note(entry.messages):
            self._accuse(f"after a checkpoint of {entry.who} {wrong}")
        if all(key != META for key, _, _ in entry.messages):
            self.happened["checkpoint torn"] += 1
            return
        self.happened["checkpoint"] += 1
        while self._unpassed and self._unpassed[0][0] < self.next_offset:
            _, key = self._unpassed.pop(0)
            if key not in self._stored:
                self._accuse(f"a checkpoint of {entry.who} moved past {key.decode()}, whose letter is not stored")

    def _refused(self, entry: Entry) -> None:
        for message in entry.messages:
            key = message.key or b""
            former = self._stored.setdefault(key, message)
            if key not in self._letters:
                self._accuse(f"{key.decode()} is a dead letter, and nothing is wrong with the record")
            if former != message:
                self._accuse(f"the letter {key.decode()} was told again with other bytes ({entry.who})")
            elif not (parsed(message.value) or {}).get("reason"):
                self._accuse(f"the letter {key.decode()} does not say what is wrong ({entry.who})")

    def _released(self, entry: Entry) -> None:
        if entry.topic == DELTAS and entry.offset > self.next_offset:
            self._accuse(
                f"{entry.who} released what lies before {entry.offset}; a restore would read on at {self.next_offset}"
            )

    def _shown(self, entry: Entry) -> None:
        for message in entry.messages:
            try:
                outcome = wire.decode_outcome(message.value)
            except Rejected as error:
                self._accuse(f"{entry.who} showed what is no outcome: {error}")
            else:
                self._show(outcome, message, entry.who)

    def _show(self, outcome: Decision | QuotaWarning, message: Message, who: str) -> None:
        said = told(outcome)
        name, book = title(said), self._book(outcome.service)
        place = book.places.get(identity(said))
        if place is None:
            self._accuse(f"{who} showed {name}, which nothing in the log brings about")
            return
        if differing := differences(said, book.due[place]):
            self._accuse(f"{who} showed {name} with {differing}")
        if place > book.last + 1:
            self._accuse(f"{who} showed {name} before {title(book.due[book.last + 1])}")
        book.last = place
        if message not in self._durable.outbox:
            self._accuse(f"{who} showed {name}, which is not durable: the outbox does not hold it")
        if isinstance(outcome, Decision):
            self._require_durable(outcome, name, who)
        if book.shown.setdefault(place, message) != message:
            self._accuse(f"{who} showed {name} again with other bytes")

    def _require_durable(self, decision: Decision, name: str, who: str) -> None:
        """Whoever restores now has the decision behind him."""
        durable = self._durable.revisions.get(decision.service, GONE)
        if durable < (decision.incarnation, decision.revision):
            self._accuse(f"{who} showed {name}, which is not durable: a restore would give {durable}")
        if decision.input.offset >= self.next_offset:
            self._accuse(f"{who} showed {name}, which is not durable: a restore would read on at {self.next_offset}")

    # ------------------------------------------------------------ the end

    def end(self, totals: Totals, *, truncated: bool = False) -> None:
        """Everything is read, unless the input was truncated."""
        last = self._inputs[-1][0] if self._inputs else -1
        if self.next_offset <= last and not truncated:
            self._accuse(f"the log goes up to {last}, and what is durable only to {self.next_offset}")
        self._require_all(waiting=self._waiting() if truncated else set())
        try:
            tracker = restore(self._durable.records, self.number, self._partition_of, self._partitions).tracker
        except Corrupt as error:
            self._accuse(f"nobody can restore what is durable: {error}")
            return
        self._compare(tracker, self._oracle_of_durable())
        if not truncated:
            mine = {name: bytes_ for name, bytes_ in totals.items() if self._partition_of(name) == self.number}
            self._count(tracker, mine)
        self.happened["delta"] += sum(elements(value) for _, _, value in self._inputs)
        self.happened["record"] += len(self._inputs)
        self.happened["dead letter"] += len(self._letters)

    def _oracle_of_durable(self) -> Oracle:
        """What the oracle says when it has read as much as is durable."""
        if not self._inputs or self.next_offset > self._inputs[-1][0]:
            return self._oracle
        oracle = Oracle(self.number, self._partition_of)
        for offset, appended, value in self._inputs:
            if offset < self.next_offset:
                oracle.apply(offset, appended, value)
        return oracle

    def _compare(self, tracker: Tracker, oracle: Oracle) -> None:
        due, plans = oracle.export(), {name: plan.to_json() for name, plan in tracker.plans.items()}
        if (tracker.plans_version, plans) != (due["plans_version"], due["plans"]):
            self._accuse(f"plans must be of version {due['plans_version']}, and are of {tracker.plans_version}")
        if dict(tracker.marks) != due["marks"]:
            self._accuse(f"watermarks must be {due['marks']}, and are {dict(tracker.marks)}")
        for name in sorted({*tracker.names(), *due["services"]}):
            view, wanted = tracker.service(name), due["services"].get(name)
            if view is None or wanted is None:
                self._accuse(f"{name} must {'not ' * (wanted is None)}be there")
            elif differing := differences(exported(view), wanted):
                self._accuse(f"the state of {name} has {differing}")

    def _waiting(self) -> set[tuple[str, Identity]]:
        """What the next owner is going to show first."""
        waiting = [told(wire.decode_outcome(message.value)) for message in self._durable.outbox]
        return {(said["service"], identity(said)) for said in waiting}

    def _require_all(self, waiting: Container[tuple[str, Identity]]) -> None:
        """Nothing that is decided and durable is left unsaid, save what waits to be shown."""
        for service, book in self._books.items():
            for place, said in enumerate(book.due):
                self.happened[said.get("reason", "warning")] += place in book.shown
                if place in book.shown or said["input"][0] >= self.next_offset:
                    continue
                if (service, identity(said)) not in waiting:
                    self._accuse(f"{title(said)} was never shown")
        for key, offset in self._letters.items():
            if key not in self._stored and offset < self.next_offset:
                self._accuse(f"{key.decode()} was refused, and has no letter")

    def _count(self, tracker: Tracker, totals: Totals) -> None:
        """Every byte is in exactly one place."""
        for name in sorted({*tracker.names(), *totals}):
            view = tracker.service(name)
            accepted = view and (view.accepted_in, view.accepted_out)
            if accepted != totals.get(name):
                self._accuse(f"{name} used {totals.get(name)} bytes, and {accepted} are counted")
            for plan in view.plans if view else ():
                ledger, described = plan.ledger, tracker.plans[plan.plan]
                if ledger.accepted != ledger.counted + ledger.late + ledger.clipped:
                    self._accuse(f"the ledger of {name} in {plan.plan} does not add up: {ledger}")
                weighed = view and described.weight_in * view.accepted_in + described.weight_out * view.accepted_out
                if plan.since is None and ledger.accepted != weighed:
                    self._accuse(f"{name} has {weighed} to account for in {plan.plan}, and {ledger.accepted} are")

    # ------------------------------------------------------------ within

    def _partition_of(self, service: str) -> int:
        return wire.partition_of(service, self._partitions)

    def _book(self, service: str) -> Book:
        return self._books.setdefault(service, Book())

    @property
    def next_offset(self) -> int:
        """Where a restore would read on."""
        return self._durable.next_offset

    def _accuse(self, what: str) -> None:
        self.violations.append(f"partition {self.number}: {what}")


class Auditor:
    """Of a whole log."""

    def __init__(self, partitions: int) -> None:
        self.partitions = [PartitionAuditor(number, partitions) for number in range(partitions)]

    def note(self, journal: Sequence[Entry]) -> None:
        for entry in journal:
            self.partitions[entry.partition].note(entry)

    def end(self, totals: Totals, *, truncated: bool = False) -> list[str]:
        """All that is wrong, one sentence each."""
        for partition in self.partitions:
            partition.end(totals, truncated=truncated)
        return [violation for partition in self.partitions for violation in partition.violations]

    @property
    def happened(self) -> Counter[str]:
        return sum((partition.happened for partition in self.partitions), Counter())


# ---------------------------------------------------------------- words


def parsed(value: bytes | None) -> Any:
    """What is no JSON is nothing."""
    try:
        return None if value is None else orjson.loads(value)
    except ValueError:
        return None


def elements(value: Any) -> int:
    """How many deltas a record holds."""
    if not isinstance(value, dict) or value.get("type") not in (None, "batch"):
        return 0
    return len(value["services"]) if isinstance(value.get("services"), list) else 1


def identity(said: Json) -> Identity:
    if said["type"] == "decision":
        return said["incarnation"], said["revision"]
    return said["incarnation"], said["plan"], said["input"]


def title(said: Json) -> str:
    number = said["revision"] if said["type"] == "decision" else f"warning of {said['plan']} at {said['input']}"
    return f"{said['service']} {said['incarnation']}/{number}"


def differences(one: Json, other: Json) -> str:
    """What is, and what must be; nothing if that is the same."""
    keys = sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
    return ", ".join(f"{key} {one.get(key)!r} instead of {other.get(key)!r}" for key in keys)
