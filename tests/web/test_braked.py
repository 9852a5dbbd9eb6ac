"""Whom a platform's brake holds is told, by API and pages."""

from __future__ import annotations

import re
from pathlib import Path

import orjson

from stream.core.enforced import Standing, Switch, Switches
from stream.ports import ENFORCEMENTS, Message
from tests.core.feeding import T0, small
from tests.replica.stage import caught_up
from tests.web.house import House, house


async def set_(made: House, switch: Switch, **standing: Standing) -> None:
    """As the platform's enforcer notes it."""
    value = orjson.dumps(Switches(platforms={"vm1": switch}, standing={"vm1": standing}).to_json())
    await made.log.append(ENFORCEMENTS, 0, [Message(b"@enforcer", value)])
    await caught_up(made.replica)


async def test_whom_the_brake_holds(tmp_path: Path) -> None:
    """How many and who, on the platforms' page and by API, and on the service's own; nothing of it afterwards."""
    records = [
        {"type": "plans", "version": 1, "plans": {"s": small()}},
        {"type": "registration", "service": "vm1/1", "plans": ["s"], "at": T0},
        {"service": "vm1/1", "start": T0, "end": T0 + 1000, "in": 5000, "out": 0},
        {"type": "registration", "service": "vm1/2", "plans": ["s"], "at": T0},
        {"type": "registration", "service": "vm1/3", "plans": ["s"], "at": T0},
    ]
    async with house(tmp_path, records) as made, made.client(made.anna) as client:

        async def text(path: str) -> str:
            return " ".join(re.sub(r"<[^>]*>", " ", (await client.get(path)).text).split())

        async def standing() -> object:
            return (await client.get("/api/v1/platforms")).json()["platforms"][0]["standing"]

        await set_(made, Switch(braked=True), braked=Standing(31, ("vm1/1", "vm1/2")))
        assert await standing() == {"braked": {"services": 31, "some": ["vm1/1", "vm1/2"]}}
        told = "31 services wait for the brake to let them be slowed: vm1/1 , vm1/2"
        assert told in await text("/platforms")
        assert "Not enforced yet: the brake of vm1 holds." in await text("/services/vm1/1")
        assert "Not enforced yet: the brake of vm1 holds." in await text("/services/vm1/2")  # in its first profile
        assert "Not enforced" not in await text("/services/vm1/3")
        await set_(made, Switch(allowed_until=made.clock.at))
        assert await standing() == {}
        assert "wait for the brake" not in await text("/platforms")
        assert "brake" not in await text("/services/vm1/1")
