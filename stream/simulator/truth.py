"""What really happened in a world, for those who audit somebody else's numbers: never part of the API."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from stream.simulator.machine import Machine
from stream.simulator.world import World


def ground_truth(world: World, zone: ZoneInfo) -> dict[str, Any]:
    """JSON-able: for every VM that ever was, bytes in total and by local day, and every limit that it had.

    `{"at", "until", "seed", "step_ms", "machines": [{"id", "serial", "created", "deleted", "bytes_in", "bytes_out",
    "days": [[start, end, in, out], ..], "limits": [[since, state, in_mbitps, out_mbitps], ..]}, ..]}`.  Instants are
    in ms.  Bytes are those up to `until`, the end of the last step that is over; limits may lie ahead of it.
    """
    now = world.now()
    until = now // world.step_ms * world.step_ms
    machines = [_machine(one, until, zone) for id in world.ids() for one in world.lives(id)]
    return {"at": now, "until": until, "seed": world.seed, "step_ms": world.step_ms, "machines": machines}


def write(path: Path, truth: dict[str, Any]) -> None:
    """Whole or not at all: a reader never sees half of it."""
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(orjson.dumps(truth) + b"\n")
    os.replace(beside, path)


def _machine(machine: Machine, until: int, zone: ZoneInfo) -> dict[str, Any]:
    end = until if machine.deleted is None else min(until, machine.deleted)
    days = [
        (start, stop, machine.bytes_between("in", start, stop), machine.bytes_between("out", start, stop))
        for start, stop in _days(machine.created, end, zone)
    ]
    return {
        "id": machine.id,
        "serial": machine.serial,
        "created": machine.created,
        "deleted": machine.deleted,
        "bytes_in": sum(day[2] for day in days),
        "bytes_out": sum(day[3] for day in days),
        "days": days,
        "limits": [tuple(era) for era in machine.eras],
    }


def _days(start: int, end: int, zone: ZoneInfo) -> Iterator[tuple[int, int]]:
    """`[start, end)` cut at the local midnights."""
    while start < end:
        tomorrow = datetime.fromtimestamp(start / 1000, zone).date() + timedelta(days=1)
        midnight = int(datetime.combine(tomorrow, time(), zone).timestamp()) * 1000
        yield start, min(midnight, end)
        start = midnight
