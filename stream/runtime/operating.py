"""What operators do, by command line, API and page: records in the log, and whether they were counted."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import orjson

from stream import wire
from stream.core.errors import Misconfigured, Rejected
from stream.core.model import Malformed, Message, Record
from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, STATE, Clock, Log
from stream.runtime import controls
from stream.runtime.checkpoint import META, outcome_in
from stream.runtime.records import records_of

IDLE_S = 0.5
"""How long a read of the log waits for more before it looks up."""


class Misunderstood(Misconfigured):
    """What is wished means nothing to any tracker: nothing is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be done to a service; section "Adjustments" of the README says what each kind does."""

    service: str
    kind: str
    """credit, exempt, pin, unpin, reset."""
    plan: str | None = None
    """None: all plans of the service.  A pin names one."""
    bytes: int | None = None
    profile: str | None = None
    until: int | None = None
    why: str = ""
    id: str | None = None
    """Whoever repeats a wish gives it the same id; None: a new one."""
    at: int | None = None
    """None: the time at which the log takes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a wish."""

    id: str
    partition: int
    offset: int
    """Where in the log it stands."""
    counted: bool = False
    """False: not within the time that somebody wanted to wait; it will be when a tracker runs."""
    repeated: bool = False
    """One with that id was counted before: this one did nothing."""


def is_same(wish: Wish, service: str, adjustment: Mapping[str, Any]) -> bool:
    """Whether an adjustment of that service, as decisions repeat it, does what is wished, whoever did it and why."""
    wanted = ("kind", "plan", "bytes", "profile", "until")
    return service == wish.service and all(adjustment.get(name) == getattr(wish, name) for name in wanted)


def another(service: str, adjustment: Mapping[str, Any]) -> Rejected:
    """For whoever wishes something else by an id that was counted."""
    counted = f"{adjustment.get('kind')} of {service} by {adjustment.get('by')}"
    return Rejected(f"the id belongs to another adjustment: {counted}", "give each an id of its own")


class Operating:
    """Puts wishes into a log."""

    def __init__(self, log: Log, *, clock: Clock, max_ahead_ms: int) -> None:
        self._log = log
        self._clock = clock
        self._max_ahead_ms = max_ahead_ms

    async def adjust(self, wish: Wish, *, by: str, wait_s: float | None) -> Outcome:
        """Put it into the log; then wait so long until it is counted (None: not at all).

        Raises Misunderstood, and Rejected if the tracker refused it.
        """
        identity = str(uuid.uuid4()) if wish.id is None else wish.id
        message = self._message(wish, identity, by)
        log, partition = self._log, wire.partition_of(wish.service, self._log.partitions)
        ends = {topic: (await log.bounds(topic, partition))[1] for topic in (STATE, CHANGES, DEAD_LETTERS)}
        offset = await log.append(DELTAS, partition, [message]) - 1
        place = Outcome(id=identity, partition=partition, offset=offset)
        if wait_s is None:
            return place
        try:
            async with asyncio.timeout(wait_s):
                decided = await counted(log, partition, offset, ends[STATE])
        except TimeoutError:
            return place
        await _raise_if_refused(log, partition, offset, ends[DEAD_LETTERS])
        decided = decided or await _is_published(log, partition, offset, ends[CHANGES])
        return replace(place, counted=True, repeated=not decided)

    async def forget(self, service: str, *, by: str, why: str = "", wait_s: float | None) -> Outcome:
        """Have a service removed: by its tracker, like a deregistration, and from whatever shows its history.

        Whether it is registered or not.  Its enforcer gives its speed back, and forgets it a day later.  Waits so long
        until the tracker has counted it (None: not at all).  Raises Misunderstood if that is no service's name.
        """
        message = wire.encode_forget(service)
        for event in wire.Decoder().decode([Record(0, self._clock.now(), *message)]):
            if isinstance(event, Malformed):
                raise Misunderstood(f"{event.reason}; {event.cure}")
        log, partition = self._log, wire.partition_of(service, self._log.partitions)
        state_end = (await log.bounds(STATE, partition))[1]
        offset = await log.append(DELTAS, partition, [message]) - 1
        await controls.forget(log, partition, service, before=offset, at=self._clock.now(), by=by, why=why)
        await log.append(STATE, partition, [Message(f"comparison/{service}".encode(), None)])
        place = Outcome(id="", partition=partition, offset=offset)
        if wait_s is None:
            return place
        try:
            async with asyncio.timeout(wait_s):
                await counted(log, partition, offset, state_end)
        except TimeoutError:
            return place
        return replace(place, counted=True)

    def _message(self, wish: Wish, identity: str, by: str) -> Message:
        message = wire.encode_adjustment(
            wish.service, wish.kind, id=identity, by=by, why=wish.why, at=wish.at, plan=wish.plan, bytes=wish.bytes,
            until=wish.until, profile=wish.profile,
        )  # fmt: skip
        for event in wire.Decoder(max_ahead_ms=self._max_ahead_ms).decode([Record(0, self._clock.now(), *message)]):
            if isinstance(event, Malformed):
                raise Misunderstood(f"{event.reason}; {event.cure}")
        return message

    async def allow(self, platform: str, *, for_ms: int, by: str, why: str = "") -> int:
        """Let the brake of a platform pass everything for so long, and end a release.  Returns until when."""
        now = self._clock.now()
        await controls.allow(self._log, platform, at=now, until=now + for_ms, by=by, why=why)
        return now + for_ms

    async def release(self, platform: str, *, by: str, why: str = "") -> None:
        """Give all originals of a platform back, and enforce nothing there until `allow`."""
        await controls.release(self._log, platform, at=self._clock.now(), by=by, why=why)


async def counted(log: Log, partition: int, offset: int, state_offset: int) -> bool:
    """Wait until a checkpoint after `state_offset` says that the record at `offset` is applied.

    Returns whether an outcome of it was seen on the way.  One that is not there was published, and forgotten here, or
    there is none: an adjustment that was counted before makes no decision, any other makes one.
    """
    decided = False
    async with aclosing(log.read(STATE, partition, state_offset, wait_s=IDLE_S)) as reader:
        async for fetch in reader:
            for record in fetch.records:
                outcome = outcome_in(record)
                decided = decided or (outcome is not None and _input_of(outcome.value) == offset)
                if record.key == META and record.value and orjson.loads(record.value)["next_offset"] > offset:
                    return decided
    raise AssertionError("a read of the log ends only when it is closed")


async def _is_published(log: Log, partition: int, offset: int, changes_offset: int) -> bool:
    """Whether a decision that stands behind `changes_offset` comes from the record at `offset`."""
    async for record in records_of(log, CHANGES, partition, changes_offset):
        if _input_of(record.value) == offset:
            return True
    return False


def _input_of(value: bytes | None) -> int | None:
    """The offset of the record that caused an outcome; None if it is none (there are, and will be, other kinds)."""
    try:
        return wire.decode_outcome(value).input.offset
    except Rejected:
        return None


async def _raise_if_refused(log: Log, partition: int, offset: int, letters_offset: int) -> None:
    """Dead letters (from `letters_offset` on) are written before the checkpoint that moves past them."""
    key = f"{DELTAS}/{partition}/{offset}/0".encode()
    async for record in records_of(log, DEAD_LETTERS, partition, letters_offset):
        if record.key == key and record.value is not None:
            letter = orjson.loads(record.value)
            raise Rejected(letter["reason"], letter["cure"])
