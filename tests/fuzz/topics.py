"""The other topics: decisions, warnings and orders, what the enforcers noted, and the tracker's state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from functools import cache
from hashlib import sha256
from typing import Any

import orjson

from stream.adapters.clock import SystemClock
from stream.adapters.memory import MemoryLog
from stream.core.control import Control
from stream.core.enforced import Enforcement, Intent, Standing, Switch, Switches
from stream.core.model import Speed
from stream.ports import CHANGES, MAX_RECORD_BYTES, STATE, Message
from stream.runtime.checkpoint import META, OUT
from stream.runtime.ledger import read
from stream.runtime.orders import orders
from stream.runtime.partition import APPENDED
from stream.wire import decode_outcome, decode_page, encode_control, encode_outcome
from tests.fuzz.deltas import canonical
from tests.fuzz.mutation import Draw
from tests.fuzz.target import Loop
from tests.runtime.history import START_MS, history
from tests.runtime.lives import Ran, latest, lives, restored


@cache
def ran() -> Ran:
    """A partition's scripted history, and all that was written in it."""
    return lives(history())


# ---------------------------------------------------------------- quota.profile-changes

AT = START_MS
CONTROLS: Sequence[Control] = (
    Control(verb="allow", platform="vm1", at=AT, by="anna", why="expected", until=AT + 60_000),
    Control(verb="release", platform="vm1", at=AT, by="anna"),
    Control(verb="original", platform="vm1", at=AT, by="anna", service="vm1/1", original=Speed(100_000_000, None)),
)


class ChangesSubject:
    """What the enforcers and `service history` make of a record."""

    def __init__(self) -> None:
        self._loop = Loop()
        said = [message.value or b"" for message in ran().said(CHANGES)]
        self._seeds = [*said, *(encode_control(control).value or b"" for control in CONTROLS)]

    def draw(self, draw: Draw) -> tuple[bytes | None, bytes]:
        """The value, and the header that says when its cause was appended."""
        value = None if draw.chance(0.01) else draw.json(self._seeds)
        return value, draw.spoiled_bytes(str(AT).encode()) if draw.chance(0.2) else str(AT).encode()

    def take(self, given: tuple[bytes | None, bytes]) -> bool:
        value, appended = given
        if value is not None and len(value) > MAX_RECORD_BYTES - 10:
            value = value[: MAX_RECORD_BYTES - 10]  # more is in no log
        found = self._loop.run(self._ordered(Message(b"vm1/1", value, ((APPENDED, appended),))))
        if b'"type":"control"' in (value or b""):
            return found
        outcome = decode_outcome(value)
        message = encode_outcome(outcome)
        assert decode_outcome(message.value) == outcome
        return True

    @staticmethod
    async def _ordered(message: Message) -> bool:
        """Whether it is an order for the enforcers."""
        log = MemoryLog(clock=SystemClock(), partitions=1)
        await log.append(CHANGES, 0, [message])
        async with aclosing(orders(log, 0, 0, 0)) as fetches:
            offset, found = await anext(fetches)
        assert offset == 1
        for order, appended in found:
            assert appended >= 0
            if isinstance(order, Control):
                assert Control.from_json(order.to_json()) == order
        return bool(found)


# ---------------------------------------------------------------- quota.enforcements

ENFORCED = Enforcement(
    service="vm1/1",
    incarnation=3,
    original=Speed(100_000_000, None),
    intent=Intent(2, Speed(10_000_000, 10_000_000), Speed(100_000_000, None), AT),
    ours=(Speed(10_000_000, 10_000_000),),
    repairs=(AT - 1000,),
    slowed_at=AT,
).with_receipt("failed", None, AT + 1)
SWITCHES = Switches(
    next=7,
    platforms={"vm1": Switch(braked=True, allowed_until=AT)},
    standing={"vm1": {"suspect": Standing(2, ("vm1/1", "vm1/2"))}},
)


class EnforcementsSubject:
    SEEDS = (orjson.dumps(ENFORCED.to_json()), orjson.dumps(SWITCHES.to_json()))

    def draw(self, draw: Draw) -> dict[bytes, bytes]:
        """Up to two records."""
        keys = [b"vm1/1", Switches.KEY.encode(), draw.spoiled_bytes(b"vm1/1")]
        return {draw.pick(keys): draw.json(self.SEEDS) for _ in range(1 + draw.below(2))}

    def take(self, given: dict[bytes, bytes]) -> bool:
        states, switches = read(given)
        for state in states.values():
            assert Enforcement.from_json(orjson.loads(orjson.dumps(state.to_json()))) == state
            assert state.position >= (state.incarnation, 0) or state.intent
            state.doubtful(AT)
        assert Switches.from_json(orjson.loads(orjson.dumps(switches.to_json()))) == switches
        return True


# ---------------------------------------------------------------- quota.state


class StateSubject:
    """One record of the state is damaged, gone, or in another's place: the same state comes of it, or none."""

    def __init__(self) -> None:
        state: dict[bytes, bytes] = {}
        for messages in ran().writes(STATE):
            state = latest(state, messages)
            if META in state and restored(state).outbox:  # decisions that may not be published yet
                self._snapshot = state
        self._expected = _told(self._snapshot)

    def draw(self, draw: Draw) -> Mapping[bytes, bytes | None]:
        """What changes in the snapshot; None: is gone."""
        keys = sorted(self._snapshot)
        key = META if draw.chance(0.3) else draw.pick(keys)
        value = self._snapshot[key]
        match draw.rng.randrange(10):
            case 0:
                return {key: None}
            case 1:
                other = draw.pick(keys)
                return {key: self._snapshot[other], other: value}
            case 2:
                return {draw.spoiled_bytes(key): value}
            case 3 | 4 | 5 if value[:1] in (b"{", b"["):
                return {key: draw.json([value])}
            case _:
                return {key: draw.spoiled_bytes(value, [value, *self._snapshot.values()])}

    def take(self, given: Mapping[bytes, bytes | None]) -> bool:
        whole = {**self._snapshot, **given}
        assert _told({key: value for key, value in whole.items() if value is not None}) == self._expected, (
            "another state came of it than was stored"
        )
        return True


def _told(snapshot: Mapping[bytes, bytes]) -> Any:
    state = restored(dict(snapshot))
    return canonical(state.tracker), list(state.outbox), state.checkpoint, state.places, state.outbox_start


class PagesSubject:
    """A page whose checksum is good, and which describes itself as it likes."""

    def __init__(self) -> None:
        pages = [value for key, value in ran().state.items() if key != META and not key.startswith(OUT)]
        self._pages = [page for page in pages if page.startswith(b"QSTPAGE")]

    def draw(self, draw: Draw) -> bytes:
        page = draw.pick(self._pages)
        if draw.chance(0.2):
            return draw.spoiled_bytes(page, self._pages)
        length = int.from_bytes(page[12:16], "little")
        header, body = page[32 : 32 + length], page[32 + length :]
        lines = [draw.json([line]) if draw.chance(0.5) else line for line in header.rstrip().split(b"\n")]
        return sealed(b"\n".join(lines), body if draw.chance(0.7) else draw.spoiled_bytes(body))

    def take(self, given: bytes) -> bool:
        page, _ = decode_page(given)
        assert all(column.nbytes <= len(given) for column in page.columns.values())
        return True


def sealed(header: bytes, body: bytes) -> bytes:
    """A page with a good checksum over whatever stands in it."""
    head = b"QSTPAGE\n" + (2).to_bytes(4, "little") + len(header).to_bytes(4, "little")
    return head + sha256(head + header + body).digest()[:16] + header + body
