"""What commands read from the log: trackers as of their last checkpoint, and what the enforcers noted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import fields, is_dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple

import orjson

from stream import wire
from stream.cli.text import printable
from stream.core.enforced import Enforcement
from stream.core.errors import Misconfigured, Rejected
from stream.core.model import Decision, QuotaWarning
from stream.core.plan import Plan
from stream.core.tracker import Tracker
from stream.core.view import ServiceView
from stream.ports import CHANGES, ENFORCEMENTS, STATE, Log
from stream.replica.entries import forgotten_by
from stream.replica.words import instant_text as instant_text
from stream.runtime import ledger
from stream.runtime.checkpoint import load, restore
from stream.runtime.comparison import Comparison
from stream.runtime.records import records_of as records_of


async def trackers(log: Log) -> AsyncIterator[Tracker]:
    """One partition after the other, so that no more than one is held in memory."""
    for partition in range(log.partitions):
        yield await load(log, partition, partition_of(log))


async def services_of(log: Log, pattern: str = "*") -> AsyncIterator[tuple[ServiceView, Mapping[str, Plan]]]:
    """Every service whose id matches the glob, with its partition's plans, partition by partition."""
    async for tracker in trackers(log):
        for name in tracker.names():
            if fnmatchcase(name, pattern) and (view := tracker.service(name)):
                yield view, tracker.plans


def partition_of(log: Log) -> partial[int]:
    """The function from service to partition."""
    return partial(wire.partition_of, partitions=log.partitions)


class Known(NamedTuple):
    """What is known of one service."""

    view: ServiceView
    comparison: Mapping[str, Any] | None
    """The platform's own total of the month beside ours, as of the last time that they were compared."""
    enforcement: Enforcement | None
    """What the enforcer has noted; None if it never touched the service."""
    plans: Mapping[str, Plan]
    """In force."""


async def known_of(log: Log, service: str) -> Known:
    """Raises Misconfigured if there is no such service."""
    partition, key = wire.partition_of(service, log.partitions), service.encode()
    state = await log.snapshot(STATE, partition)
    tracker = restore(state, partition, partition_of(log), log.partitions).tracker
    view = tracker.service(service)
    if view is None:
        cure = "`quota-stream service list` shows them"
        raise Misconfigured(f"{printable(service)}: no such service is registered; {cure}")
    compared = state.get(b"comparison/" + key)
    noted = (await log.snapshot(ENFORCEMENTS, partition)).get(key)
    return Known(
        view,
        None if compared is None else _comparison(compared),
        None if noted is None else ledger.read({key: noted})[0][service],
        tracker.plans,
    )


def _comparison(value: bytes) -> Mapping[str, Any] | None:
    """None if it is none: it is for people alone, and nothing depends on it."""
    try:
        document = orjson.loads(value)
        numbers = [document[name] for name in Comparison._fields if name != "service"]
    except (orjson.JSONDecodeError, LookupError, TypeError):
        return None
    return document if all(type(number) is int for number in numbers) else None


async def history_of(log: Log, service: str) -> list[Decision | QuotaWarning]:
    """The decisions and warnings about a service, each once, in the order of the log.  Others are passed over, and what
    is to be forgotten is left out."""
    key, before = service.encode(), 0
    found: dict[tuple[Any, ...], Decision | QuotaWarning] = {}
    async for record in records_of(log, CHANGES, wire.partition_of(service, log.partitions)):
        if record.key != key:
            continue
        forgotten = forgotten_by(record)
        if forgotten is not None:
            before = max(before, forgotten[1])
        try:
            outcome = wire.decode_outcome(record.value)
        except Rejected:
            continue
        place = (outcome.incarnation, getattr(outcome, "revision", None) or (outcome.plan, outcome.input))
        found.setdefault(place, outcome)
    return [outcome for outcome in found.values() if outcome.incarnation >= before]


def plain(value: Any) -> Any:
    """Our own types as what JSON knows: fields by name, without the underscore that Python needs."""
    if is_dataclass(value):
        return {field.name.rstrip("_"): plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name.rstrip("_"): plain(one) for name, one in value._asdict().items()}
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, tuple | list) else value
