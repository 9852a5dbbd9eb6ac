"""A small hosting provider over a month's last evening, and everything that goes wrong there in 24 hours."""

from __future__ import annotations

import asyncio
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import yaml

from stream.config.load import load
from stream.config.model import Config
from stream.ports import Clock
from stream.simulator import Faults, Knobs, Simulator, World, create_app
from stream.simulator.habits import mix
from stream.simulator.machine import Rate

ZONE = "Europe/Berlin"
MINUTE_MS = 60_000
STEP_MS = 5 * MINUTE_MS
HOUR_MS = 60 * MINUTE_MS
VMS = 100
MONTH_QUOTA_BYTES = 1024 << 30

MONTH_MS = round(datetime(2026, 3, 1, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000)
ROLLOVER_MS = round(datetime(2026, 4, 1, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000)
START_MS = ROLLOVER_MS - 18 * HOUR_MS
END_MS = START_MS + 24 * HOUR_MS
"""Traffic stops here."""
CRASH_MS = START_MS + 13 * HOUR_MS + 7 * MINUTE_MS
DEADLINE_MS = END_MS + 8 * HOUR_MS
"""By then everything must be counted and set."""

PLANS = ("vpn", "month")
"""Examples that are shipped; each has a plan of its name."""
GROUPS = ("vpn", "month", "both", "vpn", "month", "both", "free")
"""Tags of the VMs in turn."""
FOREIGN_MBITPS = 70

CONFIGURATION = """\
log: sqlite:quota-stream.db
partitions: 2
platforms:
  vm1:
    type: vmmanager
    url: http://vm.example.com
    timezone: Europe/Berlin
    email: admin@example.com
    password_file: vm1.password
    poll: 5m
    settle: 1m
    gone_after: 2h
    max_requests_per_second: 1000
    max_slowed_at_once: {percent: 100%, least: 5, within: 10m}
services:
  - {match: {platform: vm1, tag: both}, plans: [vpn, month]}
  - {match: {platform: vm1, tag: vpn}, plans: [vpn]}
  - {match: {platform: vm1, tag: month}, plans: [month]}
"""


def configure(folder: Path, password: str) -> Config:
    """The configuration as a user's is: read from files, with the plans of the shipped examples."""
    secret = folder / "vm1.password"
    secret.touch(mode=0o600)
    secret.write_text(password)
    examples = [yaml.safe_load((files("stream") / "examples" / f"{name}.yaml").read_text()) for name in PLANS]
    plans = {name: plan for example in examples for name, plan in example["plans"].items()}
    file = folder / "quota-stream.yaml"
    file.write_text(CONFIGURATION + yaml.safe_dump({"plans": plans}, sort_keys=False))
    return load(file)


class Provider:
    """The platform with its VMs, and what happens to them; the seed decides on traffic and faults alike."""

    def __init__(self, seed: int, clock: Clock) -> None:
        self._seed = seed
        self._clock = clock
        self.world = World(clock.now, seed=seed, step_ms=STEP_MS)
        self.group: dict[int, str] = {}
        """By id: which rule it falls under."""
        self.original: dict[int, tuple[int | None, int | None]] = {}
        """Mbit/s in and out that others than ourselves have set last."""
        for place in range(VMS):
            self._create(place, since=MONTH_MS - 40 * HOUR_MS)
        self.failing, self.foreign, self.deleted = (self._one_of(group) for group in ("vpn", "both", "month"))
        self.appeared = 0
        self.faults = self._faults()
        self.simulator: Simulator = create_app(self.world, Knobs(timezone=ZONE), self.faults)

    def _one_of(self, group: str) -> int:
        ids = [id_ for id_, own in self.group.items() if own == group]
        return ids[self._seed % len(ids)]

    def _create(self, place: int, *, since: int | None = None, creating_ms: int = 0) -> int:
        group = GROUPS[place % len(GROUPS)]
        draw = mix(self._seed, place)
        limit = (100, 200, 1000, None)[draw % 4]
        habit = ("bursty", "busy", "steady", "nightly", "heavy")[draw // 4 % 5]
        id_ = self.world.create(
            habit=habit, limits=(limit, limit), since=since, creating_ms=creating_ms, tags=[group],
            name=f"gateway-{place + 1}.example.com", account=str(1 + place // 3),
        )  # fmt: skip
        if group == "month" and draw // 20 % 2:
            self.world.follow(id_, _even(START_MS + draw // 40 % (16 * HOUR_MS)))
        self.world.script(id_, END_MS, DEADLINE_MS, 0, 0)
        self.group[id_], self.original[id_] = group, (limit, limit)
        return id_

    def _faults(self) -> Faults:
        faults = Faults(self._seed)
        failing_ms = START_MS + 3 * HOUR_MS
        faults.inject(
            "server_error", call=f"/host/{self.failing}/metrics", since=failing_ms, until=failing_ms + 2 * HOUR_MS
        )
        faults.inject("unavailable", percent=3)
        for hour in range(24):
            faults.inject("lose_tokens", times=1, since=START_MS + hour * HOUR_MS + mix(self._seed, hour) % HOUR_MS)
        faults.inject("unanswered", percent=1)
        faults.inject("task_fails", percent=5)
        faults.inject("task_forgotten", percent=5)
        for late_ms in (START_MS + 6 * HOUR_MS, ROLLOVER_MS - HOUR_MS // 2):  # of the day before as well
            faults.hide(start=late_ms, end=late_ms + HOUR_MS, until=late_ms + 3 * HOUR_MS)
        return faults

    async def live(self) -> None:
        """What its people do in the course of the day, up to its end."""
        await self._at(START_MS + 9 * HOUR_MS + MINUTE_MS)
        self.appeared = self._create(GROUPS.index("both"), creating_ms=2 * MINUTE_MS)
        await self._at(START_MS + 11 * HOUR_MS)
        self.world.delete(self.deleted)
        await self._at(START_MS + 15 * HOUR_MS + 2 * MINUTE_MS)
        self.original[self.foreign] = (FOREIGN_MBITPS, FOREIGN_MBITPS)
        self.world.set_limits(self.foreign, FOREIGN_MBITPS, FOREIGN_MBITPS)
        await self._at(END_MS)
        self.faults.clear()

    async def _at(self, instant: int) -> None:
        await asyncio.sleep((instant - self._clock.now()) / 1000)


def _even(used_up_ms: int) -> Rate:
    """A constant rate, a third of it inwards, that uses up the month's quota about then."""
    bits_per_second = MONTH_QUOTA_BYTES * 8000 // (used_up_ms - MONTH_MS)
    rate = bits_per_second // 3, bits_per_second - bits_per_second // 3
    return lambda _: rate
