"""What stands in `quota.state`: pages cut into records, and everything that a restore refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any

import orjson
import pytest

from stream.adapters.clock import WarpClock, run_warped
from stream.adapters.memory import MemoryLog
from stream.bootstrap import Parts, work_together
from stream.core.errors import Corrupt, Misconfigured, Unavailable
from stream.core.storing import plans_page
from stream.metrics import Metrics
from stream.ports import DELTAS, MAX_RECORD_BYTES, STATE, Message, Role
from stream.runtime.checkpoint import META, OUT, check_partitions, load, sealed
from stream.runtime.partition import own
from stream.wire import decode_page, encode_page
from tests.config.texts import config, platform
from tests.runtime.history import HOURLY, START_MS, Append, history, record, registration, totals
from tests.runtime.lives import SETTINGS, Punctual, Ran, Unseen, audit, latest, lives, restored
from tests.runtime.watched import Torn, Trouble, WatchedLog

Snapshot = dict[bytes, bytes]


# ---------------------------------------------------------------- large pages


SERVICES = range(150)


def crowded() -> list[Append]:
    """A page of 150 services with 4 kB of labels each, counted three times."""
    plans = {"type": "plans", "version": 1, "plans": {"hourly": HOURLY}}
    labels = {f"label {number}": "x" * 190 for number in range(20)}
    enrolled = [record(registration(number, "hourly") | {"labels": labels}) for number in SERVICES]
    polls = [[record(totals(minute, *(number + minute for number in SERVICES), first=0))] for minute in (1, 2, 3)]
    return [Append(2500 * number, messages) for number, messages in enumerate([[record(plans), *enrolled], *polls])]


def test_pages_are_cut_and_joined() -> None:
    """A page larger than a record lies in several; read together they are the page."""
    ran = lives(crowded())
    assert max(len(key) + len(value) for key, value in ran.state.items()) <= MAX_RECORD_BYTES
    assert {b"0/a/0", b"0/a/1", b"0/b/0", b"0/b/1"} <= ran.state.keys()
    views = [restored(ran.state).tracker.service(f"vm1/{number}") for number in SERVICES]
    assert [view and view.accepted_in for view in views] == [number + 3 for number in SERVICES]


def test_cut_pages_are_torn() -> None:
    """Between the parts of a page as well."""
    whole = lives(crowded())
    for number in range(1, len(whole.writes(STATE))):
        audit(lives(crowded(), Torn(number, 1)), whole)


# ---------------------------------------------------------------- what is refused


@cache
def ran() -> Ran:
    return lives(history())


def meta(snapshot: Snapshot) -> dict[str, Any]:
    read: dict[str, Any] = orjson.loads(snapshot[META])
    return read


def with_meta(snapshot: Snapshot, **changes: Any) -> Snapshot:
    """As a program that errs would write it."""
    fields = {name: value for name, value in meta(snapshot).items() if name != "digest"}
    return snapshot | {META: sealed(fields | changes)}


def named(snapshot: Snapshot) -> tuple[bytes, bytes]:
    """The key of the first part of a page that meta names, and the one of the slot that it does not name."""
    slot = meta(snapshot)["pages"]["0"][0]
    return f"0/{slot}/0".encode(), f"0/{'b' if slot == 'a' else 'a'}/0".encode()


def without(snapshot: Snapshot, *keys: bytes) -> Snapshot:
    return {key: value for key, value in snapshot.items() if key not in keys}


def swapped(snapshot: Snapshot) -> Snapshot:
    """The page of the checkpoint before, where the named one should be."""
    one, other = named(snapshot)
    return snapshot | {one: snapshot[other]}


def newer_page(snapshot: Snapshot) -> Snapshot:
    page = bytearray(snapshot[named(snapshot)[0]])
    page[8] += 1
    return snapshot | {named(snapshot)[0]: bytes(page)}


def flipped(snapshot: Snapshot) -> Snapshot:
    page = bytearray(snapshot[named(snapshot)[0]])
    page[-1] ^= 1
    return snapshot | {named(snapshot)[0]: bytes(page)}


def other_plans(snapshot: Snapshot) -> Snapshot:
    slot, checkpoint, _ = meta(snapshot)["pages"]["plans"]
    return snapshot | {f"plans/{slot}/0".encode(): encode_page(plans_page(1, {}, {}), checkpoint)}


DAMAGES: dict[str, tuple[Callable[[Snapshot], Snapshot], str]] = {
    "a page is missing": (lambda s: without(s, named(s)[0]), r"page 0/[ab] is incomplete"),
    "a part is missing": (lambda s: with_meta(s, pages={"0": [*meta(s)["pages"]["0"][:2], 2]}), "incomplete"),
    "a page of another checkpoint": (swapped, r"is of checkpoint \d+, meta names \d+"),
    "a page of a newer format": (newer_page, "format 3.*upgrade"),
    "a flipped bit": (flipped, "checksum"),
    "meta of a newer format": (lambda s: with_meta(s, version=3), "format 3 is newer"),
    "meta is no JSON": (lambda s: s | {META: b"{"}, "meta record is damaged"),
    "meta is no object": (lambda s: s | {META: b"[]"}, "meta record is damaged"),
    "meta lacks a field": (lambda s: s | {META: b'{"version":1}'}, "meta record is damaged.*pages"),
    "meta names another offset": (lambda s: with_meta(s, next_offset=1), "disagrees with itself"),
    "other plans": (other_plans, "page 0 .*kept"),
    "meta names no pages": (lambda s: with_meta(s, pages={}), "0 pages cannot hold"),
    "meta names fewer pages": (
        lambda s: with_meta(s, pages={key: place for key, place in meta(s)["pages"].items() if key != "marks"}),
        "page of plans or of watermarks is missing",
    ),
    "an outbox entry is missing": (lambda s: with_meta(s, outbox=[3, 4]), "outbox entry 3, which is missing"),
    "meta is missing": (lambda s: without(s, META), "no meta record"),
    "meta names too many rows": (
        lambda s: with_meta(s, tracker=meta(s)["tracker"] | {"rows": 1 << 40}),
        "pages cannot hold",
    ),
    "of another partition": (lambda s: with_meta(s, tracker=meta(s)["tracker"] | {"partition": 7}), "partition 7"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_nothing_is_guessed(damage: str) -> None:
    """State that is not exactly what its meta names is refused, in words that say where and what to do."""
    spoil, words = DAMAGES[damage]
    assert restored(ran().state).tracker.next_offset > 0
    with pytest.raises(Corrupt, match=words) as refusal:
        restored(spoil(ran().state))
    assert "quota.state/0" in str(refusal.value)


def waiting() -> Snapshot:
    """The history's last state in which decisions wait to be published."""
    state: Snapshot = {}
    found: Snapshot = {}
    for messages in ran().writes(STATE):
        state = latest(state, messages)
        if META in state and restored(state).outbox:
            found = state
    return found


def test_no_flipped_bit_gives_another_state() -> None:
    """Meta record and outbox have a digest: with any byte of them changed by a bit, nothing is restored."""
    snapshot = waiting()
    for key in [META, *(key for key in snapshot if key.startswith(OUT))]:
        for place in range(len(snapshot[key])):
            spoiled = bytearray(snapshot[key])
            spoiled[place] ^= 1
            with pytest.raises(Corrupt, match=f"{STATE}/0"):
                restored(snapshot | {key: bytes(spoiled)})


def test_state_of_the_first_format() -> None:
    """Meta record and outbox as they were before they had a digest are read."""
    snapshot = waiting()
    fields = {name: value for name, value in meta(snapshot).items() if name != "digest"}
    older = {META: orjson.dumps(fields | {"version": 1})}
    older |= {key: orjson.dumps(orjson.loads(snapshot[key])[:3]) for key in snapshot if key.startswith(OUT)}
    assert list(restored(snapshot | older).outbox) == list(restored(snapshot).outbox)


@pytest.mark.parametrize(
    "spoiled", [{"pages": []}, {"pages": {"plans": ["a", 1, 1 << 60]}}, {"tracker": [], "pages": {}}]
)
def test_meta_of_other_shapes(spoiled: Any) -> None:
    """Whatever stands in it, it is refused, and at once."""
    with pytest.raises(Corrupt):
        restored(with_meta(ran().state, **spoiled))


def test_other_records_do_no_harm() -> None:
    """Pages of the other slots, of torn checkpoints, and what others keep beside them, are not looked at."""
    beside = {named(ran().state)[1]: b"torn", b"comparison/vm1/1": b"{}", b"comparison/b/1": b"{}", b"9/b/0": b"old"}
    assert restored(ran().state | beside).tracker.meta() == restored(ran().state).tracker.meta()
    assert restored({b"comparison/b/1": b"{}", b"0/a/0": b"torn", b"out/0": b"torn"}).tracker.next_offset == 0


def test_empty_state() -> None:
    """A partition without any state begins at the beginning."""
    state = restored({})
    assert (state.tracker.next_offset, list(state.tracker.names()), list(state.outbox)) == (0, [], [])


def test_adjustments_are_remembered_in_pages_of_their_own() -> None:
    """The ids of the history's four adjustments, of which one came twice, are restored with the rest."""
    slot, checkpoint, parts = meta(ran().state)["pages"]["ids/0"]
    page, written = decode_page(ran().state[f"ids/0/{slot}/0".encode()])
    assert (parts, written) == (1, checkpoint)
    assert page.extras["ids"] == ["1", "2", "3", "4"]


# ---------------------------------------------------------------- the number of partitions


@pytest.mark.parametrize("has", [1, 3])
def test_a_state_is_of_so_many_partitions(has: int) -> None:
    """On a log with more or fewer nothing begins, neither where there is a state nor where there is none."""

    async def main(clock: WarpClock) -> None:
        former = MemoryLog(clock, partitions=2)
        await former.append(DELTAS, 0, [record(registration(1, "hourly"))])
        await own(former, 0, settings=SETTINGS, clock=Punctual(), observer=Unseen(), stop=asyncio.Event(), until=1)
        await check_partitions(former)
        log = MemoryLog(clock, partitions=has)
        await check_partitions(log)
        await log.append(STATE, 0, [Message(*each) for each in (await former.snapshot(STATE, 0)).items()])
        wrong = f"state was made for 2 partitions, and the log has {has}.*not supported yet"
        with pytest.raises(Misconfigured, match=wrong):
            await check_partitions(log)
        with pytest.raises(Misconfigured, match=wrong):
            await own(log, 0, settings=SETTINGS, clock=Punctual(), observer=Unseen(), stop=asyncio.Event())
        with pytest.raises(Misconfigured, match=wrong):
            await load(log, 0, lambda service: 0)

    run_warped(main, start_ms=START_MS)


@pytest.mark.parametrize("role", ["tracker", "collector", "enforcer"])
def test_no_role_begins_on_another_number_of_partitions(role: Role) -> None:
    """Each process looks before it does anything, also one that is assigned other partitions only."""

    async def main(clock: WarpClock) -> None:
        log = MemoryLog(clock, partitions=3)
        await log.append(STATE, 0, [Message(META, sealed({"version": 2, "partitions": 2}))])
        parts = Parts(config=config(platform()), log=log, clock=clock, metrics=Metrics(clock))
        with pytest.raises(Misconfigured, match="made for 2 partitions"):
            await work_together(parts, asyncio.Event(), [role])

    run_warped(main, start_ms=START_MS)


@pytest.mark.parametrize("role", ["tracker", "collector", "enforcer"])
def test_no_role_waits_for_ever_to_begin(role: Role) -> None:
    """A log that does not answer is unavailable soon, also when all that is asked is whether it is the right one."""

    async def main(clock: WarpClock) -> None:
        log = WatchedLog(MemoryLog(clock), Trouble("unanswered", 0))
        parts = Parts(config=config(platform()), log=log, clock=clock, metrics=Metrics(clock))
        async with asyncio.timeout(120):
            with pytest.raises(Unavailable, match="has not answered within 60 s"):
                await work_together(parts, asyncio.Event(), [role])

    run_warped(main, start_ms=START_MS)


def test_an_early_state_does_not_say() -> None:
    """It is taken for one of as many partitions as the log has; its next checkpoint says so."""
    fields = meta(ran().state)
    del fields["digest"]
    assert fields.pop("partitions") == 1
    early = ran().state | {META: sealed(fields)}
    state = restored(early)
    assert state.tracker.meta() == restored(ran().state).tracker.meta()
    staged = {key: value for key, value, _ in state.stage([])}
    assert orjson.loads(staged[META] or b"")["partitions"] == 1


def test_checkpoints_take_turns() -> None:
    """Before one is durable, the next is not staged: its pages would go where those of the former are."""
    state = restored(ran().state)
    assert list(state.stage([]))
    with pytest.raises(AssertionError, match="still being written"):
        next(state.stage([]))
    state.staged_is_durable()
    assert list(state.stage([]))
