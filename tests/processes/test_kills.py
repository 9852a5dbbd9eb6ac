"""`run` killed again and again while deltas pour in: nothing is lost, counted twice or decided otherwise."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

from stream import wire
from stream.adapters.clock import SystemClock
from stream.adapters.sqlite import SqliteLog
from stream.ports import DELTAS
from tests.cli.calling import CONFIG, MINUTE, T0, registration
from tests.processes.running import called, objects, running

KILLS = 5
SERVICES = [f"vm1/{number}" for number in range(1, 21)]
MINUTES_AT_LEAST = 150


def bytes_of(number: int, minute: int) -> int:
    """Some hours are busy; then a service falls, and later it rises."""
    return (number * 37 + minute * 11) % 97 if (minute // 60 + number) % 3 else 1


async def pour(folder: Path, stop: asyncio.Event) -> int:
    """Minute after minute of all services, each durable before the next; how many minutes there were."""
    log = await SqliteLog.open(folder / "q.db", clock=SystemClock(), partitions=4)
    minute = 0
    while not stop.is_set() or minute < MINUTES_AT_LEAST:
        start = T0 + minute * MINUTE
        for number, service in enumerate(SERVICES):
            record = wire.encode_delta(service, start, start + MINUTE, bytes_of(number, minute), number)
            await log.append(DELTAS, wire.partition_of(service, 4), [record])
        minute += 1
    await log.close()
    return minute


async def prepared(folder: Path) -> Path:
    await asyncio.to_thread(folder.mkdir)
    (folder / "quota-stream.yaml").write_text(f"listen: off\ncheckpoint: 1s\n{CONFIG}")
    await called(folder, "publish", stdin="".join(map(registration, SERVICES)))
    return folder


async def decisions(folder: Path) -> dict[str, list[Any]]:
    """By service, in order, and each once: what a kill let be published again has the same content, to the byte.

    Without the place of the input, because the order of the services among each other differs.
    """
    told = (await called(folder, "tail", "quota.profile-changes")).splitlines()
    found: dict[str, list[Any]] = {service: [] for service in SERVICES}
    for line in dict.fromkeys(told):
        decision = json.loads(line)
        found[decision["service"]].append({name: value for name, value in decision.items() if name != "input"})
    return found


async def test_kills_under_a_stream_of_deltas(tmp_path: Path) -> None:
    """After five kills at random instants totals are exact, and decisions those of a run that nobody disturbed."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    killed, calm = await asyncio.gather(prepared(tmp_path / "killed"), prepared(tmp_path / "calm"))
    stop = asyncio.Event()
    pouring = asyncio.create_task(pour(killed, stop))
    for _ in range(KILLS):
        async with running(killed, "run") as run:
            await run.line("event=started")
            with suppress(TimeoutError):
                async with asyncio.timeout(rng.uniform(0, 0.4)):
                    raise AssertionError(f"it ended by itself: {await run.ended()}")
            run.process.kill()
    stop.set()
    minutes = await pouring
    await called(killed, "run", "--drain")

    log = await SqliteLog.open(calm / "q.db", clock=SystemClock(), partitions=4)
    for number, service in enumerate(SERVICES):
        records = [
            wire.encode_delta(
                service, T0 + minute * MINUTE, T0 + (minute + 1) * MINUTE, bytes_of(number, minute), number
            )
            for minute in range(minutes)
        ]
        await log.append(DELTAS, wire.partition_of(service, 4), records)
    await log.close()
    await called(calm, "run", "--drain")

    shown, rejected, after, expected = await asyncio.gather(
        objects(killed, "service", "list", "--json"),
        objects(killed, "tail", "quota.dead-letters"),
        decisions(killed),
        decisions(calm),
    )
    assert rejected == []
    assert {one["service"]: (one["accepted_in"], one["accepted_out"]) for one in shown} == {
        service: (sum(bytes_of(number, minute) for minute in range(minutes)), number * minutes)
        for number, service in enumerate(SERVICES)
    }
    assert {one.get("reason") for told in expected.values() for one in told} >= {"exceeded", "stay_over"}
    assert after == expected
