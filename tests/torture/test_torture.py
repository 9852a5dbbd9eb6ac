"""A handful of kills; and whether the auditor would notice if anything were wrong."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from stream.adapters.clock import SystemClock
from stream.adapters.sqlite import SqliteLog
from stream.ports import CHANGES, DELTAS, Message, Record
from stream.simulator.journal import load
from tests.torture.audit import OURS
from tests.torture.play import Play
from tests.torture.scene import BEGAN_MS, changed

KILLS = 4


@pytest.fixture(scope="module")
def tortured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Play]:
    """All is over, and everything still lies there."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    play = Play(seed, KILLS, tmp_path_factory.mktemp("torture"))
    try:
        asyncio.run(play.perform())
        yield play
    finally:
        play.close()


@pytest.mark.timeout(300)
def test_a_few_kills(tortured: Play) -> None:
    """After kills and other troubles all bytes, decisions and limits are exact, and there were some of each."""
    report = tortured.report
    assert not report.mistakes, f"seed {report.seed}: {report.mistakes}"
    assert sum(count for name, count in report.troubles.items() if name.startswith("kill")) == KILLS
    assert min(report.figures) > 0
    assert report.figures.bytes_sent == report.figures.bytes_counted


@pytest.mark.timeout(300)
async def test_the_auditor_notices(tortured: Play) -> None:
    """One byte, one limit, one decision, one delta too many: each is noticed for what it is."""
    assert await wrong(tortured) == set()
    journal = tortured.journal.read_bytes()
    events = [json.loads(line) for line in journal.splitlines()]
    limited = {one["id"] for one in events if one["do"] == "create" and None not in (one["in"], one["out"])}
    fit = limited - {one["id"] for one in events if one["do"] == "change"}  # whom no owner has stopped
    truth = sent(tortured)
    for one in (one for one in events if one["do"] == "script" and one["id"] in fit):
        one["out"] += 1
        tortured.journal.write_text("".join(f"{json.dumps(event)}\n" for event in events))
        if sent(tortured) != truth:
            break
        one["out"] -= 1  # a limit, or a script for the same time, is in its way
    else:
        raise AssertionError("no script flows as it is written")
    service = f"vm1/{one['id']}"
    assert await wrong(tortured) == {f"{service}: bytes"}
    for by, limit, what in ((OURS, 1, "a limit that nobody asked for"), ("somebody else", 5000, "faster than it was")):
        tortured.journal.write_bytes(journal)
        with changed(tortured.journal, tortured.origin) as world:
            world.set_limits(one["id"], limit, limit, by=by)
        assert await wrong(tortured) == {f"{service}: limits", f"{service}: {what}"}
    tortured.journal.write_bytes(journal)

    service = await tamper(tortured, CHANGES, "usage_bytes")
    assert await wrong(tortured) == {f"{service}: outcomes", f"{service}: revisions"}
    service = await tamper(tortured, DELTAS, "out")
    assert f"{service}: state" in await wrong(tortured)


def sent(play: Play) -> dict[int, tuple[int, int]]:
    """What every VM has sent, as the platform's journal has it."""
    world = load(play.journal)
    return {machine.id: world.bytes_between(machine.id, BEGAN_MS, world.now()) for machine in world.machines()}


async def wrong(play: Play) -> set[str]:
    """What a new auditor finds wrong."""
    auditor = await play.auditor()
    try:
        return set(await auditor.compare_all())
    finally:
        await auditor.close()


async def tamper(play: Play, topic: str, field: str) -> str:
    """Append the last delta or decision once more, with one more in this field; of which service it is."""
    log = await SqliteLog.open(play.log, clock=SystemClock())
    offset, end = await log.bounds(topic, 0)
    records: list[Record] = []
    async with aclosing(log.read(topic, 0, offset, wait_s=1.0)) as fetches:
        while offset < end:
            found, offset = await anext(fetches)
            records += found
    said = [json.loads(record.value or b"") for record in records]
    last = next(one for one in reversed(said) if "type" not in one and isinstance(one.get(field), int))
    await log.append(
        topic, 0, [Message(last["service"].encode(), json.dumps(last | {field: last[field] + 1}).encode())]
    )
    await log.close()
    return str(last["service"])
