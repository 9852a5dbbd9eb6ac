"""Logs and platforms that do what they must not, to one service: what the audit has to notice."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

from stream import wire
from stream.core.speed import Speed
from stream.demo.play import Tampering
from stream.ports import (
    DELTAS,
    Fetch,
    Lease,
    Listing,
    Log,
    Message,
    Platform,
    Role,
    TaskState,
    Traffic,
)


class Element(NamedTuple):
    """What a batch says of one service."""

    service: str
    start: int
    end: int
    in_: int
    out: int


Rewrite: TypeAlias = Callable[[Element], Sequence[Element]]


class RewritingLog:
    """A log that puts something else in the place of one service's deltas."""

    def __init__(self, inner: Log, service: str, rewrite: Rewrite) -> None:
        self._inner = inner
        self._service = service
        self._rewrite = rewrite

    @property
    def partitions(self) -> int:
        return self._inner.partitions

    async def append(self, topic: str, partition: int, messages: Sequence[Message]) -> int:
        if topic == DELTAS:
            messages = [other for one in messages for other in self._rewritten(one)]
        return await self._inner.append(topic, partition, messages)

    def _rewritten(self, message: Message) -> list[Message]:
        batch = json.loads(message.value or b"")
        if batch.get("type") != "batch" or self._service not in batch["services"]:
            return [message]
        place = batch["services"].index(self._service)
        service, in_, out = (batch[column].pop(place) for column in ("services", "in", "out"))
        others = [Message(message.key, json.dumps(batch).encode())] if batch["services"] else []
        given = Element(service, batch["start"], batch["end"], in_, out)
        return [*others, *(_batch(one, batch) for one in self._rewrite(given))]

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return await self._inner.bounds(topic, partition)

    def read(self, topic: str, partition: int, offset: int, *, wait_s: float) -> AsyncGenerator[Fetch, None]:
        return self._inner.read(topic, partition, offset, wait_s=wait_s)

    async def snapshot(self, topic: str, partition: int) -> Mapping[bytes, bytes]:
        return await self._inner.snapshot(topic, partition)

    def take_over(self, role: Role, partition: int) -> AbstractAsyncContextManager[Lease]:
        return self._inner.take_over(role, partition)

    def assignments(self, role: Role) -> AsyncGenerator[frozenset[int], None]:
        return self._inner.assignments(role)

    def release(self, topic: str, partition: int, before_offset: int) -> None:
        self._inner.release(topic, partition, before_offset)

    async def close(self) -> None:
        await self._inner.close()


class LyingPlatform:
    """A platform that does not give one service its speed back, and shows it as if it had."""

    def __init__(self, inner: Platform, service: str, shown: dict[str, Speed]) -> None:
        self._inner = inner
        self._service = service
        self._shown = shown

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def sampling_ms(self) -> int:
        return self._inner.sampling_ms

    async def list(self) -> Listing:
        listing = await self._inner.list()
        machines = {
            name: replace(machine, limits=self._shown.get(name, machine.limits))
            for name, machine in listing.machines.items()
        }
        return replace(listing, machines=machines)

    async def traffic(self, service: str, start: int, ends: Sequence[int]) -> Sequence[Traffic] | None:
        return await self._inner.traffic(service, start, ends)

    async def total(self, service: str, start: int, end: int) -> Traffic | None:
        return await self._inner.total(service, start, end)

    async def set_speed(self, service: str, speed: Speed) -> str | None:
        if service == self._service and _faster(speed, (await self.list()).machines[service].limits):
            self._shown[service] = speed
            return None
        self._shown.pop(service, None)
        return await self._inner.set_speed(service, speed)

    async def task(self, task_id: str) -> TaskState:
        return await self._inner.task(task_id)

    def express(self, speed: Speed) -> Speed:
        return self._inner.express(speed)

    async def close(self) -> None:
        await self._inner.close()


def _batch(one: Element, like: Mapping[str, Any]) -> Message:
    """It alone, as the collector would have said it."""
    (message,) = wire.encode_batches(
        like["source"], one.start, one.end, [one.service], [one.in_], [one.out], backfill=like.get("backfill", False)
    )
    return message


def _faster(speed: Speed, than: Speed) -> bool:
    return any(new is None or (old is not None and new > old) for new, old in zip(speed, than, strict=True))


def rewriting(service: str, rewrite: Rewrite) -> Tampering:
    return Tampering(log=lambda log: RewritingLog(log, service, rewrite))


def never_lifting(service: str) -> Tampering:
    shown: dict[str, Speed] = {}
    return Tampering(platform=lambda platform: LyingPlatform(platform, service, shown))
