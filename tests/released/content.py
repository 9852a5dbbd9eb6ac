"""What an embedded log holds, as plain JSON."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from stream import wire
from stream.adapters.clock import SystemClock
from stream.adapters.sqlite import SqliteLog
from stream.core.enforced import Enforcement
from stream.ports import CHANGES, DEAD_LETTERS, ENFORCEMENTS
from stream.runtime.checkpoint import load
from tests.released.reading import records

FOLDER = Path(__file__).parent


async def content(file: Path) -> dict[str, Any]:
    """State, changes, enforcements and dead letters, as this version reads them."""
    log = await SqliteLog.open(file, clock=SystemClock(), exclusive=True)
    try:
        found: dict[str, Any] = {"services": {}, "plans": {}, "changes": [], "enforcements": {}, "dead_letters": []}
        for number in range(log.partitions):
            tracker = await load(log, number, partial(wire.partition_of, partitions=log.partitions))
            found["plans"] = {name: plan.to_json() for name, plan in tracker.plans.items()}
            for name in tracker.names():
                view = tracker.service(name)
                assert view is not None
                found["services"][name] = view.to_json()
            for key, value in (await log.snapshot(ENFORCEMENTS, number)).items():
                if not key.startswith(b"@"):
                    found["enforcements"][key.decode()] = Enforcement.from_json(orjson.loads(value)).to_json()
            found["changes"] += [
                wire.encode_outcome(wire.decode_outcome(value)).value for value in await records(log, CHANGES, number)
            ]
            found["dead_letters"] += await records(log, DEAD_LETTERS, number)
        normal: dict[str, Any] = json.loads(json.dumps(found, default=lambda value: value.decode(), sort_keys=True))
        return normal
    finally:
        await log.close()
