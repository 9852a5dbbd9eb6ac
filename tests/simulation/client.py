"""The log as one process reaches it: over a network on which anything can happen to a call.

client   --call--.                  .--answer-->
network           '--before_s--.   '--after_s
broker                         effect            also when nobody waits for the answer any more
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from stream.adapters.admission import check_messages, check_place
from stream.core.errors import Fenced, QuotaStreamError, Unavailable
from stream.ports import DELTAS, Fetch, Message, Role
from tests.simulation.broker import Broker, Found
from tests.simulation.coordinator import Coordinator
from tests.simulation.process import Process, outside
from tests.simulation.trace import Trace
from tests.simulation.weather import Course, Fate, Weather

T = TypeVar("T")

GIVEN_UP_S = 25.0
"""An append whose answer never comes takes effect sooner than its producer gives it up, and so before its repeat.  (A
write of a lease may come at any time: it is fenced.)"""


class Client:
    """A `Log` for one process."""

    def __init__(
        self, broker: Broker, coordinator: Coordinator, process: Process, weather: Weather, trace: Trace
    ) -> None:
        self._broker, self._coordinator, self._process = broker, coordinator, process
        self._weather, self._trace = weather, trace
        self._closed = False

    @property
    def partitions(self) -> int:
        return self._broker.partitions

    async def append(self, topic: str, partition: int, messages: Sequence[Message]) -> int:
        check_place(topic, partition, self.partitions)
        check_messages(topic, messages)

        def effect(fate: Fate) -> int:
            store = self._broker.torn if fate == "answer lost" else self._broker.appended
            return store(topic, partition, messages)

        return await self.call("append", f"{topic}/{partition}", effect, latest_s=GIVEN_UP_S)

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        return await self.call("bounds", f"{topic}/{partition}", lambda _: self._broker.extent(topic, partition))

    async def read(self, topic: str, partition: int, offset: int, *, wait_s: float) -> AsyncGenerator[Fetch, None]:
        def effect(_: Fate) -> Found:
            return self._broker.fetched(topic, partition, offset)

        while True:
            fetch, more = await self.call("read", f"{topic}/{partition}", effect)
            if fetch.next_offset == offset and await _set_within(more, wait_s):
                continue
            offset = fetch.next_offset
            yield fetch

    async def snapshot(self, topic: str, partition: int) -> Mapping[bytes, bytes]:
        return await self.call("snapshot", f"{topic}/{partition}", lambda _: self._broker.latest(topic, partition))

    @asynccontextmanager
    async def take_over(self, role: Role, partition: int) -> AsyncIterator[ClientLease]:
        def effect(_: Fate) -> int:
            self._coordinator.admit(role, partition, self._process)
            return self._broker.taken(role, partition)

        check_place(DELTAS, partition, self.partitions)
        lease = ClientLease(self, role, partition, await self.call("take over", f"{role}/{partition}", effect))
        try:
            yield lease
        finally:
            lease.ended = True

    def assignments(self, role: Role) -> AsyncGenerator[frozenset[int], None]:
        return self._coordinator.assignments(role, self._process)

    def release(self, topic: str, partition: int, before_offset: int) -> None:
        if not self._closed:
            with self._broker.by(self._process.name):
                self._broker.released(topic, partition, before_offset)

    async def close(self) -> None:
        self._closed = True
        self._broker.wake()

    async def write(self, lease: ClientLease, topic: str, messages: Sequence[Message]) -> None:
        check_messages(topic, messages)
        if lease.ended:
            raise Fenced(f"{lease.role} of partition {lease.partition}: the lease has ended")

        def effect(_: Fate) -> bool:
            return self._broker.written(lease.role, lease.partition, lease.epoch, topic, messages)

        if not await self.call("write", f"{topic}/{lease.partition}", effect):
            raise Unavailable(f"{topic}/{lease.partition}: the transaction was torn apart")

    # ------------------------------------------------------------ the network

    async def call(self, deed: str, about: str, effect: Callable[[Fate], T], *, latest_s: float | None = None) -> T:
        """Have the broker do something, or not, and hear of it, or not.  An effect without an answer comes within
        `latest_s`, if that is given."""
        if self._closed:
            raise Unavailable("the log is closed")
        course = self._weather.course()
        before_s = course.before_s
        if course.fate == "late":
            before_s += course.late_s if latest_s is None else min(course.late_s, latest_s)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        loop.call_later(before_s, self._arrive, f"{deed} {about}", course, effect, answer, context=outside())
        return await answer

    def _arrive(self, what: str, course: Course, effect: Callable[[Fate], T], answer: asyncio.Future[T]) -> None:
        """The call is at the broker, or lost."""
        result: T | QuotaStreamError
        if course.fate in ("refused", "unanswered"):
            result = Unavailable(f"{what}: refused")
        else:
            result = self._done(effect, course.fate)
        if course.fate != "ok" or not what.startswith(("read", "bounds")):
            self._trace.note(self._process.name, what, f"{course.fate} {result if _failed(result) else ''}")
        if course.fate == "answer lost":
            result = Unavailable(f"{what}: connection lost")
        if course.fate in ("ok", "refused", "answer lost"):
            asyncio.get_running_loop().call_later(course.after_s, _answer, answer, result, context=outside())

    def _done(self, effect: Callable[[Fate], T], fate: Fate) -> T | QuotaStreamError:
        try:
            with self._broker.by(self._process.name):
                return effect(fate)
        except QuotaStreamError as error:
            return error


class ClientLease:
    """Ownership of a partition, while the broker knows no later epoch."""

    def __init__(self, client: Client, role: Role, partition: int, epoch: int) -> None:
        self._client = client
        self.role = role
        self.partition = partition
        self.epoch = epoch
        self.ended = False

    async def snapshot(self, topic: str) -> Mapping[bytes, bytes]:
        return await self._client.snapshot(topic, self.partition)

    async def write(self, topic: str, messages: Sequence[Message]) -> None:
        await self._client.write(self, topic, messages)


def _failed(result: object) -> bool:
    return isinstance(result, QuotaStreamError)


def _answer(answer: asyncio.Future[T], result: T | QuotaStreamError) -> None:
    if answer.done():
        return  # nobody waits any more
    if isinstance(result, QuotaStreamError):
        answer.set_exception(result)
    else:
        answer.set_result(result)


async def _set_within(event: asyncio.Event, wait_s: float) -> bool:
    try:
        async with asyncio.timeout(wait_s):
            return await event.wait()
    except TimeoutError:
        return False
