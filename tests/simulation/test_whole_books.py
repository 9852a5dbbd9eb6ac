"""What the books of a whole world make of numbers that were told when they were stale."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from stream import wire
from stream.core.plan import Plan
from stream.ports import DELTAS, Message
from tests.adapters.world import START_MS, SettableClock
from tests.runtime.history import HOURLY
from tests.simulation.broker import Broker
from tests.simulation.weather import Weather
from tests.simulation.whole_books import WholeBooks

MINUTE_MS = 60_000
UNKNOWN_MS = 10 * MINUTE_MS
NAME = "vm1/101"


def total(day: int, upto: int, used_bytes: int) -> Message:
    """Of a day of ten minutes, up to one of them."""
    start = START_MS + 10 * day * MINUTE_MS
    [message] = wire.encode_batches("vm1", start, start + upto * MINUTE_MS, [NAME], [used_bytes], [0])
    return message


REGISTERED = [
    wire.encode_plans(1, {"hourly": Plan.from_json("hourly", HOURLY)}),
    wire.encode_registration(NAME, ["hourly"]),
]
THREE_DAYS = [total(0, 10, 40), total(1, 10, 50), total(2, 1, 6)]


@pytest.mark.parametrize(
    ("told", "later_ms", "wrong"),
    [
        pytest.param(total(0, 10, 40), UNKNOWN_MS, 0, id="displaced just now"),
        pytest.param(total(0, 10, 40), UNKNOWN_MS + 1, 40, id="displaced long ago"),
        pytest.param(total(-1, 10, 7), 0, 7, id="before the first"),
        pytest.param(total(1, 10, 50), UNKNOWN_MS + 1, 0, id="kept"),
    ],
)
def test_what_nobody_should_have_told(told: Message, later_ms: int, wrong: int) -> None:
    """An anchor that was displaced may be repeated for a while, by who cannot know it; nothing older ever may."""
    clock = SettableClock()
    broker = Broker(clock, Weather(random.Random(1)), partitions=1)

    def append(messages: Sequence[Message]) -> None:
        broker.appended(DELTAS, 0, messages)

    append([*REGISTERED, *THREE_DAYS])
    clock.at += later_ms
    append([told])
    books = WholeBooks(broker)
    books.read()
    service = books.service(NAME)
    assert service is not None
    assert service.accepted == (96, 0)
    assert books.stale_bytes(service, unknown_ms=UNKNOWN_MS) == wrong
