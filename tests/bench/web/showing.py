"""Replica and web in a process of their own, on one core: `python -m tests.bench.web.showing FOLDER`.

It tells what it measures as JSON lines, and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from stream.adapters.clock import SystemClock
from stream.adapters.sqlite import SqliteLog
from stream.bootstrap.process import collect_rarely
from stream.metrics import Metrics
from stream.replica import Replica, ReplicaSettings
from stream.replica.model import Query
from stream.runtime.operating import Operating
from stream.web.access import Access
from stream.web.access.tokens import TokensFile
from stream.web.app import web_app
from stream.web.serving import serving
from stream.web.settings import AccessSettings, WebSettings
from tests.bench.measuring import resident_bytes

WATCHED_S = 60.0
"""A minute: every service is polled once in it."""
BEAT_S = 0.005


class Beats:
    """How long the event loop had no turn for others: in CPU time, so that it is not others' work on the machine."""

    def __init__(self) -> None:
        self._longest_s = 0.0

    async def beat(self) -> None:
        while True:
            before_s = time.thread_time()
            await asyncio.sleep(BEAT_S)
            self._longest_s = max(self._longest_s, time.thread_time() - before_s)

    def longest_ms(self) -> float:
        """Since this was last asked."""
        longest_s, self._longest_s = self._longest_s, 0.0
        return 1000 * longest_s


async def show(folder: Path) -> None:
    collect_rarely()
    clock = SystemClock()
    log = await SqliteLog.open(folder / "q.db", clock=clock)
    tokens = TokensFile(folder / "tokens.json")
    token = tokens.create("bench", "read", clock.now())
    settings = WebSettings(access=AccessSettings(tokens_file=tokens.path))
    access = Access(settings.access, secure=False, clock=clock)
    replica = Replica(log, index=folder / "i.db", clock=clock, settings=ReplicaSettings())
    operating = Operating(log, clock=clock, max_ahead_ms=3_600_000)
    app = web_app(replica, operating, access, settings, clock=clock, metrics=Metrics(clock).web)
    before, began_s = resident_bytes(), time.perf_counter()
    stop, beats = asyncio.Event(), Beats()
    beating = asyncio.create_task(beats.beat())
    following = asyncio.create_task(replica.follow(stop))
    await replica.caught_up()
    services = replica.search(Query(limit=1)).total
    read_s, read_ms = time.perf_counter() - began_s, beats.longest_ms()
    async with serving(app, "127.0.0.1", 0) as url:
        tell(url=url, token=token, services=services, read_s=read_s, longest_ms=read_ms)
        cpu_s = time.process_time()
        await asyncio.sleep(WATCHED_S)
        each, follow_s = (resident_bytes() - before) / services, time.process_time() - cpu_s
        tell(follow_cpu_s=follow_s, bytes_each=each, longest_ms=beats.longest_ms())
        await asyncio.to_thread(sys.stdin.read)
    stop.set()
    beating.cancel()
    await following
    await log.close()


def tell(**measured: object) -> None:
    print(json.dumps(measured), flush=True)


if __name__ == "__main__":
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    asyncio.run(show(Path(sys.argv[1])))
