"""The auditor: what the platform's own journal, the publisher and the oracle say, beside what was counted and set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple, TypeAlias

from stream.core.enforced import Enforcement
from stream.core.speed import Speed
from stream.core.view import ServiceView
from stream.ports import ENFORCEMENTS, Log
from stream.runtime.ledger import read
from stream.simulator.journal import load
from stream.simulator.machine import Machine
from tests.core.driving import exported
from tests.day.books import MBIT, Books, least
from tests.oracle.partition import exported as exported_by_oracle
from tests.torture.troubles import MOST_AHEAD_MS

Limits: TypeAlias = tuple[int | None, ...]
"""Mbit/s in and out; None is no limit."""
Mistakes: TypeAlias = Iterable[tuple[str, object]]
OURS = "admin@example.com"
"""By whom the platform's journal says that a limit was changed, if it was `run`."""


class Limited(NamedTuple):
    """From this instant (ms) on."""

    at: int
    limits: Limits


class Figures(NamedTuple):
    """What there was to be audited."""

    deltas: int
    bytes_sent: int
    bytes_counted: int
    decisions: int
    limits_set: int


class Auditor(Books):
    """Knows the log, the platform's journal and what was poured; `mistakes` are (must be, is)."""

    def __init__(self, log: Log, journal: Path, poured: Callable[[], Mapping[str, tuple[int, int]]]) -> None:
        super().__init__(log)
        self._journal = journal
        self._poured = poured
        self.mistakes: dict[str, object] = {}
        self.figures = Figures(0, 0, 0, 0, 0)

    async def close(self) -> None:
        await self._log.close()

    async def compare_all(self) -> dict[str, object]:
        """The same when nobody counts any more: all that is stored must be the oracle's as well."""
        self.mistakes = await self.compare() | dict(self._wrong_states(await self.counted()))
        return self.mistakes

    async def compare(self) -> dict[str, object]:
        """Bring `mistakes` and `figures` up to date."""
        await self.read()
        counted = await self.counted()
        enforced = await self._enforced()
        world = load(self._journal)
        now = world.now()
        sent = {
            service_of(machine): world.bytes_between(machine.id, machine.created, now) for machine in world.machines()
        }
        sent |= self._poured()
        self.mistakes = dict(
            chain(
                _wrong_bytes(sent, counted),
                self.wrong_outcomes(),
                self._wrong_revisions(),
                self.wrong_dead_letters(),
                *(self._wrong_limits(machine, enforced.get(service_of(machine))) for machine in world.machines()),
            )
        )
        self.figures = Figures(
            deltas=sum(map(len, self.deltas.values())),
            bytes_sent=sum(map(sum, sent.values())),
            bytes_counted=sum(view.accepted_in + view.accepted_out for view in counted.values()),
            decisions=sum(told["type"] == "decision" for outcomes in self.outcomes.values() for told in outcomes),
            limits_set=sum(len(_orders(machine)) for machine in world.machines()),
        )
        return self.mistakes

    def is_still(self, until: int) -> bool:
        """Whether no VM's speed will change before that instant, if nothing more is sent."""
        return all(
            service.next_due() > until
            for oracle in self.oracles
            for name, service in oracle.services.items()
            if name.startswith("vm1/")
        )

    async def _enforced(self) -> dict[str, Enforcement]:
        """What the enforcers have noted."""
        found: dict[str, Enforcement] = {}
        for number in range(self._log.partitions):
            found |= read(await self._log.snapshot(ENFORCEMENTS, number))[0]
        return found

    # ------------------------------------------------------------ counting and deciding

    def _wrong_states(self, counted: Mapping[str, ServiceView]) -> Mistakes:
        """Everything that is stored of a service must be the oracle's: windows, profiles, and the account of bytes."""
        due = {name: service for oracle in self.oracles for name, service in oracle.services.items()}
        if due.keys() != counted.keys():
            yield "services", (sorted(due), sorted(counted))
        for name in due.keys() & counted.keys():
            must, is_ = exported_by_oracle(due[name]), exported(counted[name])
            if must != is_:
                yield f"{name}: state", {key: (must[key], is_[key]) for key in must if must[key] != is_[key]}
            for ladder in due[name].ladders:
                account = ladder.ledger
                parts = account["counted"] + account["late"] + account["clipped"]
                if not 100 * sum(due[name].accepted) == account["accepted"] == parts:
                    yield f"{name}: account of {ladder.name}", (due[name].accepted, account)

    def _wrong_revisions(self) -> Mistakes:
        """Within an incarnation they have no gap and no fork."""
        for name, outcomes in self.outcomes.items():
            told: dict[int, list[int]] = {}
            for outcome in outcomes:
                if outcome["type"] == "decision":
                    told.setdefault(outcome["incarnation"], []).append(outcome["revision"])
            for incarnation, revisions in told.items():
                if revisions != list(range(1, len(revisions) + 1)):
                    yield f"{name}: revisions", (incarnation, revisions)

    # ------------------------------------------------------------ the platform

    def _wrong_limits(self, machine: Machine, enforced: Enforcement | None) -> Mistakes:
        """A VM must have what is due, was never faster than at first, and got nothing that nobody had decided."""
        name = service_of(machine)
        first, last = machine.eras[0][2:], machine.eras[-1][2:]
        if last != (due := least(first, self.due(name))):
            yield f"{name}: limits", (due, last)
        if faster := [era for era in machine.eras if least(first, era[2:]) != era[2:]]:
            yield f"{name}: faster than it was", (first, faster)
        orders = _orders(machine)
        if enforced is None:
            if orders:
                yield f"{name}: limits without an intent", orders
            return
        if (original := _mbit(enforced.original)) != first:
            yield f"{name}: original", (first, original)
        asked = {_mbit(speed) for speed in enforced.ours}
        decided = [
            Limited(outcome["at"], least(first, _mbit(Speed(*outcome["speed"]))))
            for outcome in self.outcomes[name]
            if outcome["type"] == "decision"
        ]
        unasked = [order for order in orders if order.limits not in asked]
        if unasked or (unasked := list(_out_of_turn(orders, decided))):
            yield f"{name}: a limit that nobody asked for", (decided, orders, unasked)


def _wrong_bytes(sent: Mapping[str, tuple[int, int]], counted: Mapping[str, ServiceView]) -> Mistakes:
    """Every byte must be counted, and only once."""
    accepted = {name: (view.accepted_in, view.accepted_out) for name, view in counted.items()}
    for name in sent.keys() | accepted.keys():
        if sent.get(name) != accepted.get(name):
            yield f"{name}: bytes", (sent.get(name), accepted.get(name))


def _out_of_turn(orders: Sequence[Limited], decided: Sequence[Limited]) -> Iterable[Limited]:
    """What was asked for not in the order of the decisions; that may repeat some of them, and leave others out."""
    place = 0
    for order in orders:
        for number in range(place, len(decided)):
            if decided[number].limits == order.limits and decided[number].at <= order.at + MOST_AHEAD_MS:
                place = number
                break
        else:
            yield order


def _orders(machine: Machine) -> list[Limited]:
    """What the platform was asked for, as of when it took effect."""
    return [
        Limited(change.at, tuple(_whole(change.values[name]) for name in ("net_in_mbitps", "net_out_mbitps")))
        for change in machine.changes
        if change.by == OURS
    ]


def service_of(machine: Machine) -> str:
    return f"vm1/{machine.id}"


def _whole(value: int | str | None) -> int | None:
    return None if value is None else int(value)


def _mbit(speed: Speed) -> Limits:
    return tuple(bits and bits // MBIT for bits in speed)
