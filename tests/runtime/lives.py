"""One owner after another on a partition, through a history, until all of it is counted; and what an auditor sees."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from stream.adapters.clock import WarpClock, run_warped
from stream.core.errors import Fenced, Unavailable
from stream.core.model import Decision, QuotaWarning
from stream.core.tracker import Tracker
from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, STATE, Log, Message
from stream.runtime.checkpoint import META, OUT, State, restore
from stream.runtime.partition import TrackerSettings, own
from tests.runtime.history import START_MS, Append
from tests.runtime.watched import RELEASED, Entry, JournalledLog, Torn, Trouble, WatchedLog

SETTINGS = TrackerSettings(checkpoint_every_s=2.0)


class Unseen:
    """An observer that looks away."""

    def restored(self, partition: int, tracker: Tracker) -> None: ...
    def applied(self, partition: int, tracker: Tracker, fetched_at_ms: int) -> None: ...
    def checkpointed(self, partition: int, next_offset: int, seconds: float, records: int) -> None: ...
    def decided(self, outcome: Decision | QuotaWarning) -> None: ...
    def rejected(self, reason: str) -> None: ...
    def foreign_keys(self, records: int) -> None: ...


class Punctual:
    """A clock by which nothing is late."""

    def now(self) -> int:
        return 0


@dataclass
class Ran:
    """What came of it."""

    journal: list[Entry]
    """Everything that was stored, over all topics, in order."""
    owners: list[WatchedLog] = field(default_factory=list)
    endings: list[str] = field(default_factory=list)
    """How each owner ended: the name of its error, "killed", "frozen" or "done"."""

    def writes(self, topic: str) -> list[tuple[Message, ...]]:
        return [messages for _, written, messages in self.journal if written == topic]

    def said(self, topic: str) -> list[Message]:
        """What was written there, each at its first place, without the repeats."""
        return list(dict.fromkeys(message for messages in self.writes(topic) for message in messages))

    @property
    def state(self) -> dict[bytes, bytes]:
        """What `quota.state` holds at the end."""
        return latest({}, (message for messages in self.writes(STATE) for message in messages))

    def counted(self) -> dict[str, Any]:
        """The last durable state, told in a form that does not depend on how it came about."""
        tracker = restored(self.state).tracker
        views = {name: tracker.service(name) for name in sorted(tracker.names())}
        plans = {name: plan.to_json() for name, plan in tracker.plans.items()}
        whole: dict[str, Any] = {"next_offset": tracker.next_offset, "plans": plans, "marks": tracker.marks}
        return whole | {name: view and view.to_json() for name, view in views.items()}


def latest(state: dict[bytes, bytes], messages: Iterable[Message]) -> dict[bytes, bytes]:
    """A compacted topic after some more messages."""
    after = dict(state)
    for key, value, _ in messages:
        assert key is not None
        after.pop(key, None)
        if value is not None:
            after[key] = value
    return after


def restored(state: dict[bytes, bytes]) -> State:
    return restore(state, 0, lambda service: 0, 1)


# ---------------------------------------------------------------- lives


def lives(appends: Sequence[Append], *troubles: Trouble | Torn) -> Ran:
    """The history comes in; one owner after another suffers its trouble, and the last one none.

    Owners that were frozen wake up when all is done.
    """

    async def main(clock: WarpClock) -> Ran:
        log = JournalledLog(clock)
        ran = Ran(log.journal)
        feeding = asyncio.create_task(feed(log, appends))
        frozen = []
        for trouble in [*troubles, None]:
            owner = WatchedLog(log, trouble)
            life = asyncio.create_task(live(owner, length(appends)))
            ran.owners.append(owner)
            ran.endings.append(await ending(owner, life))
            if ran.endings[-1] == "frozen":
                frozen.append((owner, life))
            if ran.endings[-1] == "done":
                break
        await feeding
        for owner, life in frozen:
            owner.thaw.set()
            ran.endings.append(await life)
        return ran

    return run_warped(main, start_ms=START_MS)


def length(appends: Sequence[Append]) -> int:
    return sum(len(messages) for _, messages in appends)


async def live(log: WatchedLog, end: int) -> str:
    """One owner's life until everything is counted; how it ended."""
    try:
        await own(log, 0, settings=SETTINGS, clock=Punctual(), observer=Unseen(), stop=asyncio.Event(), until=end)
    except (Unavailable, TimeoutError, Fenced) as error:
        return type(error).__name__
    return "done"


async def ending(log: WatchedLog, life: asyncio.Task[str]) -> str:
    halted = asyncio.create_task(log.halted.wait())
    await asyncio.wait({life, halted}, return_when=asyncio.FIRST_COMPLETED)
    halted.cancel()
    if life.done():
        return life.result()
    if not log.gone:
        return "frozen"
    life.cancel()
    await asyncio.wait({life})
    return "killed"


async def feed(log: Log, appends: Sequence[Append]) -> None:
    passed_ms = 0
    for after_ms, messages in appends:
        await asyncio.sleep((after_ms - passed_ms) / 1000)
        passed_ms = after_ms
        await log.append(DELTAS, 0, messages)


# ---------------------------------------------------------------- the auditor


def audit(ran: Ran, undisturbed: Ran) -> None:
    """Whatever happened on the way: the same decisions, letters and totals, each effect in its order."""
    assert ran.said(CHANGES) == undisturbed.said(CHANGES)
    assert ran.said(DEAD_LETTERS) == undisturbed.said(DEAD_LETTERS)
    assert ran.counted() == undisturbed.counted()
    assert not restored(ran.state).outbox
    if ran.owners[-1].checkpoints:
        assert not any(key.startswith(OUT) for key in ran.state), "the last owner has forgotten what was shown"
    audit_order(ran, undisturbed.said(DEAD_LETTERS))


def audit_order(ran: Ran, letters: Sequence[Message]) -> None:
    """No decision is shown before it is durable, none forgotten before it is shown, no unsaid letter moved past, and
    no delta released that may be needed again."""
    state: dict[bytes, bytes] = {}
    outbox: set[Message] = set()
    shown: set[Message] = set()
    said: set[Message] = set()
    past = 0
    for _, topic, messages in ran.journal:
        if topic == CHANGES:
            assert set(messages) <= outbox, "a decision was shown before it was durable"
            shown |= set(messages)
        elif topic == DEAD_LETTERS:
            said |= set(messages)
        elif topic == STATE:
            state = latest(state, messages)
            durable = set(restored(state).outbox) if META in state else set()
            assert outbox - shown <= durable, "a decision was forgotten before it was shown"
            outbox = durable
            past = next_offset(state)
            unsaid = {letter for letter in letters if offset_of(letter) < past} - said
            assert not unsaid, "a checkpoint moved past a letter that was not acknowledged"
        elif topic == RELEASED:
            assert int(messages[0].key or b"") <= past, "a delta was released that a restore would read"


def next_offset(state: dict[bytes, bytes]) -> int:
    """Where a restore would read on."""
    offset: int = orjson.loads(state[META])["next_offset"] if META in state else 0
    return offset


def offset_of(letter: Message) -> int:
    """The offset of what was rejected."""
    assert letter.key is not None
    return int(letter.key.split(b"/")[-2])
