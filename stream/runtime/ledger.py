"""What the enforcer of one partition has made durable, and how it makes more so: many records with one write."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
import structlog

from stream.core.enforced import Enforcement, Standing, Switch, Switches
from stream.core.errors import Corrupt
from stream.ports import ENFORCEMENTS, Lease, Message

log = structlog.get_logger()

MOST_RECORDS = 500
"""In one write."""


def read(snapshot: Mapping[bytes, bytes]) -> tuple[dict[str, Enforcement], Switches]:
    """The records of a partition of `quota.enforcements`.  Raises Corrupt."""
    states: dict[str, Enforcement] = {}
    switches = Switches()
    for key, value in snapshot.items():
        try:
            document = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise Corrupt(f"{ENFORCEMENTS}: the record of {key!r} is no JSON ({error}); restore a backup") from error
        if key == Switches.KEY.encode():
            switches = Switches.from_json(document)
        else:
            state = Enforcement.from_json(document)
            if state.service.encode() != key:
                raise Corrupt(f"{ENFORCEMENTS}: the record of {key!r} is about {state.service!r}; restore a backup")
            states[state.service] = state
    return states, switches


class Ledger:
    """Writes in the order of the calls.  Whoever waits in `write` while another write is under way shares the next."""

    def __init__(self, lease: Lease, switches: Switches, *, deadline_s: float) -> None:
        self.switches = switches
        self._lease = lease
        self._deadline_s = deadline_s
        self._queue: asyncio.Queue[tuple[Message, asyncio.Future[None]]] = asyncio.Queue()

    async def write(self, state: Enforcement) -> None:
        """Durable when it returns."""
        await self._write(state.service, state.to_json())

    async def forget(self, service: str) -> None:
        """Remove a service's record; durable when it returns."""
        await self._write(service, None)

    async def set_switches(self, switches: Switches) -> None:
        """In force at once, durable when it returns."""
        self.switches = switches
        await self._write(Switches.KEY, switches.to_json())

    async def set_switch(self, platform: str, switch: Switch) -> None:
        """As `set_switches`, of one platform."""
        await self.set_switches(self.switches.with_switch(platform, switch))

    async def note(self, obeyed: int | None, standing: Mapping[str, Mapping[str, Standing]]) -> None:
        """Up to where control records are obeyed (None: none was read yet), and which troubles there are."""
        noted = replace(self.switches, next=self.switches.next if obeyed is None else obeyed, standing=dict(standing))
        if noted != self.switches:
            await self.set_switches(noted)

    async def run(self) -> None:
        """Write what is queued, for ever.  Raises what the lease raises; then nothing of the queue is written."""
        while True:
            batch = [await self._queue.get()]
            while len(batch) < MOST_RECORDS and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            async with asyncio.timeout(self._deadline_s):
                await self._lease.write(ENFORCEMENTS, [message for message, _ in batch])
            for _, durable in batch:
                if not durable.done():
                    durable.set_result(None)

    async def _write(self, key: str, document: dict[str, Any] | None) -> None:
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        value = None if document is None else orjson.dumps(document)
        self._queue.put_nowait((Message(key.encode(), value), durable))
        await durable
