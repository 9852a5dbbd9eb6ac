"""The notifier: whoever is to be told of decisions, warnings and alarms, is told, once or more.

quota.profile-changes ---> one queue for each service ---> receiver
what a replica finds wrong -------- alarms ------------------^
                     which of them the receiver has: one record of quota.state, written by the owner alone

Up to `next` everything is taken; what the receiver does not have of that is named, and read again after a crash.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from typing import Final, Protocol, TypeAlias

import orjson
import structlog

from stream import wire
from stream.core.errors import Corrupt, Truncated, Unavailable
from stream.core.notices import NoticeBook
from stream.ports import CHANGES, STATE, Clock, Lease, Log, Message, Receiver, Record
from stream.runtime.deadlines import taken_over
from stream.runtime.post import Post
from stream.runtime.worker import Backoff

log_ = structlog.get_logger()

KEY: Final = b"notifier"
"""Of its record in `quota.state`."""
WAIT_S: Final = 0.5
DEADLINE_S: Final = 30.0
RESTORE_S: Final = 300.0
MOST_WAITING: Final = 1000
"""Notices of a partition that wait at a time; then no more are read."""
LOOK_EVERY_S: Final = 10.0

Problems: TypeAlias = Callable[[], Mapping[str, str] | None]
"""What is wrong now, text by id; None: not known."""


class NoticeObserver(Protocol):
    def notified(self, kind: str, result: str) -> None:
        """An attempt has ended: delivered, unavailable, refused, or dropped (refused for a day)."""
        ...

    def undelivered(self, partition: int, count: int, since: int | None) -> None:
        """So many wait; the oldest of them since then."""
        ...


class Notifier:
    """Serves partitions, each with a place of its own; alarms are told by whoever has the first one."""

    def __init__(
        self,
        log: Log,
        receiver: Receiver,
        problems: Problems | None,
        *,
        kinds: Collection[str],
        alarm_after_ms: int,
        clock: Clock,
        rng: random.Random,
        observer: NoticeObserver,
    ) -> None:
        """`problems`: None if nobody wants alarms.  One that lasts for `alarm_after_ms` is an alarm."""
        self._log, self._receiver, self._problems = log, receiver, problems
        self._kinds, self._alarm_after_ms = frozenset(kinds), alarm_after_ms
        self._clock, self._random, self._observer = clock, rng, observer

    async def serve(self, partition: int, stop: asyncio.Event) -> None:
        """Own a partition until `stop` is set.

        Raises Fenced when another owner took over, Unavailable or TimeoutError when the log does not answer: drop
        everything and call it again.  A receiver that does not answer is waited for.
        """
        async with taken_over(self._log, "notifier", partition, deadline_s=DEADLINE_S) as lease:  # 1 fences the former
            async with asyncio.timeout(RESTORE_S):
                book = await self._book(lease)  # 2 what the receiver has; a crash after it was told repeats that
                post = Post(
                    self._receiver,
                    book,
                    clock=self._clock,
                    backoff=Backoff(random=self._random, first_s=1.0, limit_s=300.0),
                    notified=self._observer.notified,
                    alarm_after_ms=self._alarm_after_ms,
                )
                for record in await self._waiting(partition, book):
                    self._take(post, partition, record)
            try:
                await self._follow(lease, post, stop)
            except Truncated as error:  # the receiver was down for longer than records are kept
                raise Unavailable(f"{error}; going on with what is kept") from error
            finally:
                self._observer.undelivered(partition, 0, None)

    async def _book(self, lease: Lease) -> NoticeBook:
        """At the first start nothing of before is told.  What the log has no longer, or not yet, cannot be told."""
        first, end = await self._log.bounds(CHANGES, lease.partition)
        stored = (await lease.snapshot(STATE)).get(KEY)
        if stored is None:
            book = NoticeBook(next=end, refused={}, alarms={})
            await _write(lease, book)
            log_.info("notices.begin", partition=lease.partition, offset=end)
            return book
        try:
            book = NoticeBook.from_json(orjson.loads(stored))
        except orjson.JSONDecodeError as error:
            raise Corrupt(f"{STATE}/{lease.partition}: the notifier's record is no JSON; restore a backup") from error
        next_ = min(max(book.next, first), end)
        kept = frozenset(offset for offset in book.waiting if first <= offset < next_)
        if (next_, kept) != (book.next, book.waiting):
            told = {"partition": lease.partition, "was_at": book.next, "goes_on_at": next_}
            log_.warning("notices.lost", lost=len(book.waiting - kept), **told)
        refused = {offset: since for offset, since in book.refused.items() if offset in kept}
        return NoticeBook(next=next_, waiting=kept, refused=refused, alarms=book.alarms)

    async def _waiting(self, partition: int, book: NoticeBook) -> list[Record]:
        if not book.waiting:
            return []
        found: list[Record] = []
        async with aclosing(self._log.read(CHANGES, partition, min(book.waiting), wait_s=WAIT_S)) as fetches:
            async for records, next_offset in fetches:
                found += [record for record in records if record.offset in book.waiting]
                if next_offset > max(book.waiting):
                    break
        return found

    def _take(self, post: Post, partition: int, record: Record) -> None:
        notice = wire.notice_of(record, partition, self._kinds)
        if notice is not None:
            post.take(record.offset, record.timestamp, notice)

    async def _follow(self, lease: Lease, post: Post, stop: asyncio.Event) -> None:
        loop, written, partition = asyncio.get_running_loop(), post.book, lease.partition
        unread: Sequence[Record] = ()
        reached, look_at = written.next, loop.time()
        async with aclosing(self._log.read(CHANGES, partition, reached, wait_s=WAIT_S)) as fetches:
            while not stop.is_set():
                if not unread and len(post) < MOST_WAITING:
                    async with asyncio.timeout(WAIT_S + DEADLINE_S):
                        unread, reached = await anext(fetches)
                elif not await post.round():
                    await asyncio.sleep(WAIT_S)
                room = max(0, MOST_WAITING - len(post))
                for record in unread[:room]:
                    self._take(post, partition, record)
                unread = unread[room:]
                post.reached(unread[0].offset if unread else reached)
                if partition == 0 and loop.time() >= look_at:
                    look_at = loop.time() + LOOK_EVERY_S
                    self._look(post)
                if post.has_new_alarms:
                    written = await _write(lease, post.book)  # 3 what is raised has its instant before it is told
                while await post.round() and not stop.is_set():
                    written = await _write(lease, post.book)  # 4 a crash before it repeats the last round
                if post.book != written:
                    written = await _write(lease, post.book)
                self._observer.undelivered(partition, len(post), post.oldest)

    def _look(self, post: Post) -> None:
        problems = None if self._problems is None else self._problems()
        if problems is not None:
            post.look(problems)


async def _write(lease: Lease, book: NoticeBook) -> NoticeBook:
    async with asyncio.timeout(DEADLINE_S):
        await lease.write(STATE, [Message(KEY, orjson.dumps(book.to_json()))])
    return book
