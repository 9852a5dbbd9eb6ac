"""What the enforcer is told: the decisions and the control records of a partition of `quota.profile-changes`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import NamedTuple, TypeAlias

import orjson
import structlog

from stream import wire
from stream.core.control import Control
from stream.core.errors import Rejected
from stream.core.model import Decision
from stream.ports import CHANGES, Log, Record
from stream.runtime.partition import APPENDED

log = structlog.get_logger()

IDLE_S = 60.0
DEADLINE_S = 30.0
"""How much longer than that the log may take to answer."""

LOOK_BACK = 200


class Order(NamedTuple):
    """A decision, and when its input was appended (ms; or else when it was itself), or a control record."""

    order: Decision | Control
    appended: int


Orders: TypeAlias = Sequence[Order]


async def orders(
    log_: Log, partition: int, offset: int, decisions_from: int
) -> AsyncGenerator[tuple[int, Orders], None]:
    """(the next offset, what was found before it), fetch after fetch, for ever.

    Decisions before `decisions_from` are passed over: what came of them is known otherwise.  A record that cannot be
    read is logged and passed over.  Raises TimeoutError when the log does not answer.
    """
    async with aclosing(log_.read(CHANGES, partition, offset, wait_s=IDLE_S)) as fetches:
        while True:
            async with asyncio.timeout(IDLE_S + DEADLINE_S):
                records, next_offset = await anext(fetches)
            if next_offset > offset:
                found = [_order(partition, record, record.offset >= decisions_from) for record in records]
                yield next_offset, [order for order in found if order is not None]
                offset = next_offset


async def newest_decision(log_: Log, partition: int, first: int, end: int) -> Decision | None:
    """The last decision shown before `end` or a little later; None if the last LOOK_BACK records have none."""
    newest = None
    offset = max(first, end - LOOK_BACK)
    async with aclosing(orders(log_, partition, offset, offset)) as fetches:
        while offset < end:
            offset, found = await anext(fetches)
            decisions = [order for order, _ in found if isinstance(order, Decision)]
            newest = decisions[-1] if decisions else newest
    return newest


def _order(partition: int, record: Record, decisions: bool) -> Order | None:
    try:
        order = _decoded(record.value or b"", decisions)
    except (Rejected, orjson.JSONDecodeError) as error:
        log.warning("record.skipped", topic=CHANGES, partition=partition, offset=record.offset, cause=str(error))
        return None
    return None if order is None else Order(order, _appended(record))


def _decoded(value: bytes, decisions: bool) -> Decision | Control | None:
    if b'"control"' in value:
        document = orjson.loads(value)
        if isinstance(document, dict) and document.get("type") == "control":
            return Control.from_json(document)
    outcome = wire.decode_outcome(value) if decisions else None
    return outcome if isinstance(outcome, Decision) else None


def _appended(record: Record) -> int:
    text = dict(record.headers).get(APPENDED) or b""
    return int(text) if text.isdigit() and len(text) < 20 else record.timestamp
