"""What every log admits, whatever it is made of: topics and partitions that exist, and records that fit."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from stream.core.errors import Misconfigured, Rejected
from stream.ports import COMPACTED, MAX_RECORD_BYTES, TOPICS, Message

log = structlog.get_logger()

HOUR_MS = 3_600_000


class Stamps:
    """Notices a clock that was ahead once: append times never go back, so they stand still until it is reached."""

    def __init__(self) -> None:
        self._said_at: int | None = None

    def check(self, now: int, newest: int) -> None:
        """Says once an hour, in the log of this process, that `now` is more than an hour behind the newest stamp."""
        behind_ms = newest - now
        if behind_ms <= HOUR_MS or (self._said_at is not None and self._said_at <= now < self._said_at + HOUR_MS):
            return
        self._said_at = now
        cure = "correct the clock; until then all records get the newest append time that there is"
        log.warning("log.clock_behind", behind_s=behind_ms // 1000, newest=newest, cure=cure)


def check_place(topic: str, partition: int, partitions: int) -> None:
    """Raises Misconfigured if there is no such topic or partition."""
    if topic not in TOPICS:
        raise Misconfigured(f"there is no topic {topic!r}; the topics are {', '.join(TOPICS)}")
    if not 0 <= partition < partitions:
        raise Misconfigured(f"there is no partition {partition}; this log has {partitions}, numbered from 0")


def check_messages(topic: str, messages: Sequence[Message]) -> None:
    """Raises Rejected if one of them is too large, or is to be compacted and has no key."""
    for message in messages:
        size = len(message.key or b"") + len(message.value or b"")
        if size > MAX_RECORD_BYTES:
            raise Rejected(
                f"record too large: {size} bytes, {topic} takes {MAX_RECORD_BYTES}", "send it in smaller batches"
            )
        if message.key is None and topic in COMPACTED:
            raise Rejected(f"record without a key: {topic} keeps the latest record of each key", "give it a key")
