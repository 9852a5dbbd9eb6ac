"""The history: every entry once, whatever happens, and the same when it is built anew."""

from __future__ import annotations

import asyncio
import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from stream.adapters.memory import MemoryLog
from stream.adapters.sqlite import SqliteLog
from stream.core.enforced import Enforcement, Intent, Receipt, Switch, Switches
from stream.core.remembered import KEPT_MS
from stream.core.speed import Speed
from stream.ports import CHANGES, DEAD_LETTERS, ENFORCEMENTS, Log, Message
from stream.replica import history
from stream.replica.index import Index
from stream.replica.model import Entry
from stream.replica.replica import Replica
from stream.replica.settings import ReplicaSettings
from stream.runtime import controls
from tests.core.feeding import T0, small
from tests.replica.stage import NOW, Counting, Fixed, caught_up, following

SLOW, FAST = Speed(10, 10), Speed(100, 100)


def traffic(rounds: range, service: str = "vm1/1") -> list[dict[str, Any]]:
    """Each round warns, crosses the quota, and is over before the next one: a decision down, and one up."""
    return [
        {"service": service, "start": T0 + k * 60_000 + second * 1000, "end": T0 + k * 60_000 + second * 1000 + 1000,
         "in": bytes_, "out": 0}
        for k in rounds for second, bytes_ in ((0, 600), (1, 5000), (30, 0))
    ]  # fmt: skip


def beginning(*services: str) -> list[dict[str, Any]]:
    return [
        {"type": "plans", "version": 1, "plans": {"s": small(warn=50)}},
        *({"type": "registration", "service": name, "plans": ["s"], "at": T0} for name in services),
    ]


async def note(log: Log, service: str, *receipts: Receipt, settled: bool = True) -> None:
    enforcement = Enforcement(
        service=service, incarnation=1, original=FAST, intent=Intent(9, SLOW, FAST, NOW), settled=settled,
        receipts=receipts,
    )  # fmt: skip
    await log.append(ENFORCEMENTS, 0, [Message(service.encode(), orjson.dumps(enforcement.to_json()))])


async def everything(replica: Replica, limit: int = 7) -> list[Entry]:
    """Page by page."""
    found: list[Entry] = []
    before = None
    while True:
        page = await replica.recent(before=before, limit=limit)
        found += page.entries
        before = page.next
        if before is None:
            return found


async def filled(log: MemoryLog, clock: Fixed) -> Counting:
    tracker = Counting(log)
    tracker.count(beginning("vm1/1", "vm1/2"))
    tracker.count(traffic(range(5)))
    await tracker.checkpoint()
    await note(log, "vm1/1", Receipt(2, SLOW, "failed", None, NOW - 5), Receipt(2, SLOW, "applied", SLOW, NOW))
    await note(log, "vm1/2", settled=False)
    await log.append(ENFORCEMENTS, 0, [Message(b"@enforcer", orjson.dumps(Switches().to_json()))])
    clock.at += 1000
    tracker.count([b"no JSON", {"type": "wish"}])
    tracker.count(traffic(range(5, 8)))
    await tracker.checkpoint()
    return tracker


async def test_every_outcome_once(tmp_path: Path) -> None:
    """Decisions and warnings stand there as they were decided, though published twice; newest first, page by page."""
    clock = Fixed()
    log = MemoryLog(clock)
    tracker = Counting(log)
    tracker.count(beginning("vm1/1"))
    tracker.count(traffic(range(4)))
    told = list(tracker.outcomes)
    await tracker.checkpoint()
    clock.at += 5
    await log.append(CHANGES, 0, told[3:])  # as after a crash
    await log.append(CHANGES, 0, [Message(b"vm1/1", b'{"type":"control"}'), Message(b"x", None), Message(b"x", b"[]")])
    async with following(log, index=tmp_path / "i.db", clock=clock) as replica:
        entries = await everything(replica)
        assert [dict(entry.document) for entry in reversed(entries)] == [orjson.loads(it.value or b"") for it in told]
        assert {entry.kind for entry in entries} == {"decision", "warning"}
        assert len({entry.id for entry in entries}) == len(entries)
        assert {entry.appended for entry in entries} == {NOW}
        assert entries == (await replica.history("vm1/1", limit=1000)).entries
        assert (await replica.history("vm1/2")).entries == []
        assert (await replica.recent(since=NOW + 1)).entries == []


async def test_receipts_and_open_intents() -> None:
    """Each receipt is an entry, and so is what was asked for until the platform has shown it."""
    log = MemoryLog(Fixed())
    await note(log, "vm1/1", Receipt(9, SLOW, "failed", None, NOW + 1), settled=False)
    async with following(log) as replica:
        entries = (await replica.history("vm1/1")).entries
        assert [entry.document["result"] for entry in entries] == ["failed", "asked"]
        await note(log, "vm1/1", Receipt(9, SLOW, "failed", None, NOW + 1), Receipt(9, SLOW, "applied", SLOW, NOW + 2))
        await caught_up(replica)
        entries = (await replica.history("vm1/1")).entries
        assert [entry.document["result"] for entry in entries] == ["applied", "failed"]


async def test_killed_anywhere_and_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it dies in the middle of reading, the index is that of one that read all in one go."""
    monkeypatch.setattr(history, "AT_ONCE", 2)
    clock = Fixed()
    log = MemoryLog(clock)
    tracker = await filled(log, clock)
    async with following(log, clock=clock) as replica:
        expected, letters = await everything(replica), (await replica.letters()).letters
    for kill_after in range(0, 24, 2):
        await killed(log, tmp_path / "i.db", kill_after)
    async with following(log, index=tmp_path / "i.db", clock=clock) as replica:
        assert await everything(replica) == expected
        assert (await replica.letters()).letters == letters
        tracker.count(traffic(range(8, 10)))
        await tracker.checkpoint()
        await caught_up(replica)
        grown = await everything(replica)
        assert len(grown) > len(expected)
    (tmp_path / "i.db").unlink()
    async with following(log, index=tmp_path / "i.db", clock=clock) as replica:
        assert await everything(replica) == grown


async def killed(log: Log, index: Path, steps: int) -> None:
    """A replica that is given up after so many steps of the loop."""
    replica = Replica(log, index=index, clock=Fixed(), settings=ReplicaSettings())
    task = asyncio.create_task(replica.follow(asyncio.Event()))
    for _ in range(steps):
        await asyncio.sleep(0.002)
    task.cancel()
    await asyncio.wait({task})


async def test_resumes_where_it_ended(tmp_path: Path) -> None:
    """What was indexed is not read again: a record that the log has forgotten since stays in the history."""
    clock = Fixed()
    log = MemoryLog(clock, retention_ms={CHANGES: 1000})
    tracker = await filled(log, clock)
    async with following(log, index=tmp_path / "i.db", clock=clock) as replica:
        before = await everything(replica)
    with sqlite3.connect(tmp_path / "i.db") as connection:
        [(end,)] = connection.execute("SELECT next_offset FROM positions WHERE topic = ?", (CHANGES,))
    connection.close()
    assert end == (await log.bounds(CHANGES, 0))[1]
    clock.at += 1_000_000
    tracker.count(traffic(range(8, 9)))
    await tracker.checkpoint()
    assert (await log.bounds(CHANGES, 0))[0] > 0
    async with following(log, index=tmp_path / "i.db", clock=clock) as replica:
        after = await everything(replica)
    assert after[-len(before) :] == before
    assert len(after) > len(before)


@pytest.mark.parametrize("longer", [False, True])
async def test_of_another_installation(tmp_path: Path, longer: bool) -> None:
    """An index of another log is made anew, whether that log was longer or shorter."""
    clock = Fixed()
    other, log = MemoryLog(clock), MemoryLog(clock)
    await filled(other, clock)
    tracker = Counting(log)
    tracker.count(beginning("vm1/1"))
    tracker.count(traffic(range(20 if longer else 1)))
    tracker.count([b"another"] * (5 if longer else 0))
    await tracker.checkpoint()
    async with following(log, clock=clock) as replica:
        expected, letters = await everything(replica), (await replica.letters()).letters
    async with following(other, index=tmp_path / "i.db", clock=clock):
        pass
    async with following(log, index=tmp_path / "i.db", clock=clock) as replica:
        assert await everything(replica) == expected
        assert (await replica.letters()).letters == letters


@pytest.mark.parametrize("spoil", ["not a database", "version", "cut"])
async def test_an_index_that_cannot_be_used(tmp_path: Path, spoil: str) -> None:
    """It is made anew when it is no database, of another version, or cut off."""
    clock, index = Fixed(), tmp_path / "i.db"
    log = MemoryLog(clock)
    await filled(log, clock)
    async with following(log, index=index, clock=clock) as replica:
        expected = await everything(replica)
    if spoil == "not a database":
        index.write_bytes(b"something else" * 1000)
    elif spoil == "version":
        with sqlite3.connect(index) as connection:
            connection.execute("PRAGMA user_version = 77")
        connection.close()
    else:
        index.write_bytes(index.read_bytes()[:5000])
    async with following(log, index=index, clock=clock) as replica:
        assert await everything(replica) == expected


async def test_on_the_embedded_log(tmp_path: Path) -> None:
    """A replica beside a running tracker, in a connection of its own, sees what the tracker writes, as it comes."""
    clock = Fixed()
    log = await SqliteLog.open(tmp_path / "q.db", clock=clock, exclusive=True)
    beside = await SqliteLog.open(tmp_path / "q.db", clock=clock, poll_s=0.01)
    tracker = Counting(log)
    try:
        async with following(beside, index=tmp_path / "i.db", clock=clock) as replica:
            tracker.count(beginning("vm1/1", "vm1/2"))
            for k in range(4):
                tracker.count(traffic(range(k, k + 1)))
                await tracker.checkpoint()
                await caught_up(replica)
                status = replica.service("vm1/1")
                assert status is not None
                assert status.view == tracker.views()["vm1/1"]
                assert replica.shows(0, tracker.tracker.next_offset - 1)
                assert not replica.shows(0, tracker.tracker.next_offset)
            assert len(await everything(replica)) > 8
    finally:
        await beside.close()
        await log.close()


async def test_population_over_time(tmp_path: Path) -> None:
    """It is noted once in each five minutes, at an instant at which there was a replica, also over restarts."""
    began = NOW + 1234
    clock = Fixed(began)
    log = MemoryLog(clock)
    tracker = Counting(log)
    tracker.count(beginning("vm1/1", "vm1/2"))
    await tracker.checkpoint()
    for _ in range(6):
        async with following(log, index=tmp_path / "i.db", clock=clock) as replica:
            await caught_up(replica)
            await caught_up(replica)
        clock.at += 150_000
    async with following(log, index=tmp_path / "i.db", clock=clock) as replica:
        found = await replica.population_over_time(NOW - 300_000, clock.at - 1)
    assert [(it.plan, it.profile, it.services) for it in found] == [("s", "fast", 2), ("s", "slow", 0)] * 3
    instants = sorted({it.at for it in found})
    assert len({at // 300_000 for at in instants}) == len(instants) == 3
    assert began <= instants[0]


@pytest.mark.parametrize(("noted", "shown"), [(1, 1), (7, 7), (600, 600), (5000, 600)])
async def test_a_population_is_thinned_by_what_there_is(noted: int, shown: int) -> None:
    """However long a time is asked for: all samples of a young index, and of an old one some from all over it."""
    index = Index(None)
    await index.open()
    first = NOW + 1234
    for number in range(noted):
        at = first + number * 300_000
        await index.note_population(at, {("s", "fast"): number}, since=at)
    found = await index.population(0, NOW + 400 * 86_400_000)
    assert len(found) == shown
    assert found[0].at == first
    gaps = [then.at - at.at for at, then in pairwise(found)]
    assert max(gaps, default=0) <= -(-noted // shown) * 300_000
    assert first + noted * 300_000 - found[-1].at <= -(-noted // shown) * 300_000
    await index.close()


async def test_forgotten(tmp_path: Path) -> None:
    """What the index has of a service is gone, what comes late of that incarnation too; others stay, and it may come
    again.  An index that is made anew, or opened again, shows no more."""
    log = MemoryLog(Fixed())
    tracker = Counting(log)
    tracker.count(beginning("vm1/1", "vm1/2"))
    await tracker.checkpoint()
    index = tmp_path / "i.db"
    async with following(log, index=index) as replica:
        assert {entry.service for entry in await everything(replica)} == {"vm1/1", "vm1/2"}
        await controls.forget(log, 0, "vm1/1", before=1000, at=NOW, by="anna")
        await caught_up(replica)
        assert {entry.service for entry in await everything(replica)} == {"vm1/2"}
        tracker.count([{"type": "forget", "service": "vm1/1"}])
        await tracker.checkpoint()
        await caught_up(replica)
        assert {entry.service for entry in await everything(replica)} == {"vm1/2"}
        assert replica.service("vm1/1") is None
        assert b"vm1/1" not in index.read_bytes() + index.with_name("i.db-wal").read_bytes()
    assert b"vm1/1" not in index.read_bytes()
    async with following(log, index=index) as replica, following(log) as anew:
        for each in (replica, anew):
            await caught_up(each)
            assert {entry.service for entry in await everything(each)} == {"vm1/2"}


async def test_what_an_adjustment_caused() -> None:
    """It is found by its id, for as long as trackers remember it, until its service is forgotten."""
    clock = Fixed()
    log = MemoryLog(clock)
    tracker = Counting(log)
    tracker.count(beginning("vm1/1", "vm1/2"))
    for number in (1, 2):
        credit = {"type": "adjustment", "kind": "credit", "bytes": number, "id": f"id {number}", "by": "anna", "at": T0}
        tracker.count([credit | {"service": f"vm1/{number}"}])
    await tracker.checkpoint()
    async with following(log, clock=clock) as replica:
        for number in (1, 2):
            (entry,) = await replica.adjusted(f"id {number}")
            assert (entry.service, entry.document["adjustment"]["bytes"]) == (f"vm1/{number}", number)
        assert await replica.adjusted("id 3") == []
        await controls.forget(log, 0, "vm1/1", before=1000, at=NOW, by="anna")
        await caught_up(replica)
        assert await replica.adjusted("id 1") == []
        clock.at += KEPT_MS
        assert len(await replica.adjusted("id 2")) == 1
        clock.at += 1
        assert await replica.adjusted("id 2") == []


async def test_what_stands_in_dead_letters() -> None:
    """Each with its reason, cure and record; what is no dead letter is shown as far as it can be read."""
    log = MemoryLog(Fixed())
    tracker = Counting(log)
    tracker.count([b"no JSON", b"\xff\xfe", {"type": "wish"}])
    await tracker.checkpoint()
    foreign = [b"[]", b"{}", b'{"reason":7}', b'{"reason":"r","value_base64":"!"}']
    await log.append(DEAD_LETTERS, 0, [Message(b"x", value) for value in foreign])
    await log.append(DEAD_LETTERS, 0, [Message(b"x", None)])
    async with following(log) as replica:
        first = await replica.letters(limit=4)
        second = await replica.letters(limit=4, before=first.next)
        letters = [*first.letters, *second.letters]
        assert [letter.offset for letter in letters] == [6, 5, 4, 3, 2, 1, 0]
        assert second.next is None
        assert letters[-1].value == "no JSON"
        assert letters[-2].value == "\ufffd\ufffd"
        assert len({letter.id for letter in letters}) == 7


async def test_switches_by_platform() -> None:
    """Brake and release as any partition's enforcer has them; an enforcement record that is damaged is told of."""
    log = MemoryLog(Fixed(), partitions=2)
    for partition, switch in enumerate((Switch(braked=True), Switch(released=True))):
        value = orjson.dumps(Switches(platforms={"vm1": switch}).to_json())
        await log.append(ENFORCEMENTS, partition, [Message(b"@enforcer", value)])
    async with following(log) as replica:
        [platform] = replica.platforms()
        assert (platform.name, platform.braked, platform.released) == ("vm1", True, True)
        await log.append(ENFORCEMENTS, 0, [Message(b"vm1/1", b"{}")])
        await caught_up(replica)
        assert [problem.id for problem in replica.problems()][:1] == ["damaged/quota.enforcements/0"]
        await log.append(ENFORCEMENTS, 0, [Message(b"vm1/1", None)])
        await caught_up(replica)
        assert not [problem.id for problem in replica.problems() if problem.id.startswith("damaged")]
