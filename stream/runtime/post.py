"""What waits for a receiver, in order for each subject, and how it is handed over."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import structlog

from stream import wire
from stream.core.errors import Refused, Unavailable
from stream.core.notices import Alarm, Notice, NoticeBook, notice_of_alarm
from stream.ports import Clock, Receiver
from stream.runtime.worker import Backoff

log_ = structlog.get_logger()

AT_ONCE: Final = 16
DAY_MS: Final = 86_400_000
REFUSED_AGAIN_S: Final = 900.0
"""When what was refused is tried again."""
PATIENCE_S: Final = 120.0
"""A receiver that takes longer cannot take anything now."""


@dataclass(slots=True)
class _Item:
    offset: int | None
    """In the topic; None of an alarm."""
    since: int
    """When it began to wait."""
    notice: Notice
    alarm: Alarm | None = None
    retry_at_s: float = 0.0


class Post:
    """One partition's."""

    def __init__(
        self,
        receiver: Receiver,
        book: NoticeBook,
        *,
        clock: Clock,
        backoff: Backoff,
        notified: Callable[[str, str], None],
        alarm_after_ms: int,
    ) -> None:
        """`alarm_after_ms`: a problem that lasts so long is an alarm."""
        self.book = book
        """What is true now, to be made durable."""
        self.has_new_alarms = False
        """Which are told after the book is durable."""
        self._receiver, self._clock, self._backoff, self._notified = receiver, clock, backoff, notified
        self._queues: dict[str, deque[_Item]] = {}
        self._closed_until_s = 0.0
        self._alarm_after_ms = alarm_after_ms
        self._seen: dict[str, int] = {}  # problems, by id: since when
        self._perhaps_told = {alarm.id for alarm in book.alarms.values() if not alarm.told}  # and then a crash
        for alarm in book.alarms.values():
            self._await_alarm(alarm)

    def __len__(self) -> int:
        """Notices that wait."""
        return sum(map(len, self._queues.values()))

    @property
    def oldest(self) -> int | None:
        """Since when the oldest of them waits."""
        return min((queue[0].since for queue in self._queues.values()), default=None)

    def take(self, offset: int, since: int, notice: Notice) -> None:
        """`since`: when it came into the log."""
        self._queues.setdefault(notice.subject, deque()).append(_Item(offset, since, notice))
        self.book = replace(self.book, waiting=self.book.waiting | {offset})

    def reached(self, offset: int) -> None:
        """Everything before it is taken."""
        if offset != self.book.next:
            self.book = replace(self.book, next=offset)

    def look(self, problems: Mapping[str, str]) -> None:
        """What is wrong now, text by id."""
        before, now = self.book.alarms, self._clock.now()
        self._seen = {id: self._seen.get(id, now) for id in problems}
        lasting = {id: since for id, since in self._seen.items() if now - since >= self._alarm_after_ms}
        self._perhaps_told &= before.keys()
        self.book = self.book.looked(problems, lasting, now, self._perhaps_told)
        for id, alarm in self.book.alarms.items():
            if before.get(id) != alarm:
                self.has_new_alarms = True
                self._await_alarm(alarm)
        for id in before.keys() - self.book.alarms.keys():  # over before it was told
            self._queues.pop(_queue(id), None)

    def _await_alarm(self, alarm: Alarm) -> None:
        if not alarm.told or alarm.over is not None:
            notice = notice_of_alarm(alarm)
            item = _Item(None, notice.at, notice, alarm)
            self._queues.setdefault(_queue(alarm.id), deque()).append(item)

    async def round(self) -> bool:
        """Hand over the first of each subject, a few at once; whether the receiver has taken any."""
        self.has_new_alarms = False
        now_s = asyncio.get_running_loop().time()
        if now_s < self._closed_until_s:
            return False
        due = [(key, queue[0]) for key, queue in self._queues.items() if queue[0].retry_at_s <= now_s][:AT_ONCE]
        taken = await asyncio.gather(*(self._hand_over(item) for _, item in due))
        for (key, item), done in zip(due, taken, strict=True):
            if done:
                self._done(key, item)
        return any(taken)

    async def _hand_over(self, item: _Item) -> bool:
        """Whether it is done with."""
        told = {"kind": item.notice.kind, "subject": item.notice.subject, "id": item.notice.id}
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._receiver.deliver(wire.encode_notice(item.notice))
        except (Unavailable, TimeoutError) as error:
            if loop.time() >= self._closed_until_s:
                wait_s = self._backoff.next_s()
                self._closed_until_s = loop.time() + wait_s
                log_.warning("notices.wait", cause=str(error) or "no answer", retry_in_s=round(wait_s, 1), **told)
            self._notified(item.notice.kind, "unavailable")
            return False
        except Refused as error:
            self._backoff.reset()
            return self._refused(item, error, told)
        self._backoff.reset()
        self._notified(item.notice.kind, "delivered")
        return True

    def _refused(self, item: _Item, error: Refused, told: Mapping[str, str]) -> bool:
        """After a day it is passed over."""
        now = self._clock.now()
        since = item.notice.at if item.offset is None else self.book.refused.get(item.offset, now)
        if now - since >= DAY_MS:
            log_.error("notice.passed_over", cause=str(error), **told)
            self._notified(item.notice.kind, "dropped")
            return True
        log_.warning("notice.refused", cause=str(error), retry_in_s=REFUSED_AGAIN_S, **told)
        self._notified(item.notice.kind, "refused")
        item.retry_at_s = asyncio.get_running_loop().time() + REFUSED_AGAIN_S
        if item.offset is not None:
            self.book = replace(self.book, refused={**self.book.refused, item.offset: since})
        return False

    def _done(self, key: str, item: _Item) -> None:
        queue = self._queues[key]
        queue.popleft()
        if not queue:
            del self._queues[key]
        if item.alarm is not None:
            self.book = self.book.told(item.alarm)
        elif item.offset is not None:
            refused = {offset: since for offset, since in self.book.refused.items() if offset != item.offset}
            self.book = replace(self.book, waiting=self.book.waiting - {item.offset}, refused=refused)


def _queue(alarm: str) -> str:
    """No service has such a name."""
    return f"@alarm/{alarm}"
