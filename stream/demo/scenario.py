"""The demo's world: a small hosting provider over the end of a month, and what goes wrong there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from stream.config.load import load
from stream.config.model import Config
from stream.simulator import Faults, Knobs, Simulator, World, create_app
from stream.simulator.habits import mix
from stream.simulator.machine import Rate

PLATFORM = "vm1"
ZONE = "Europe/Berlin"
MINUTE_MS = 60_000
STEP_MS = 5 * MINUTE_MS
HOUR_MS = 60 * MINUTE_MS
CALM_MS = 4 * HOUR_MS
"""After the end nothing moves for so long, so that everything can be counted and compared."""
GIB = 1 << 30
MONTH_QUOTA_BYTES = 1024 * GIB
ROLLOVER_MS = round(datetime(2026, 4, 1, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000)
MONTH_MS = ROLLOVER_MS - round(datetime(2026, 3, 1, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000)

CONFIGURATION = """\
log: sqlite:quota-stream.db
partitions: 2
platforms:
  vm1:
    type: vmmanager
    url: http://vm.example.com
    timezone: Europe/Berlin
    token_file: vm1.token
    poll: 5m
    settle: 1m
    max_requests_per_second: 1000
    reread: 6h
    max_slowed_at_once: {percent: 100%, least: 5, within: 10m}
plans:
  vpn:
    window: {slide: 1h, slices: 6}
    profiles:
      default: {speed: 100 Mbit/s, quota: 1048576000, down: 50Mbit}
      50Mbit:  {speed: 50 Mbit/s, quota: 1048576000, down: 25Mbit, stay: 1h, up: default}
      25Mbit:  {speed: 25 Mbit/s, quota: 1048576000, down: 10Mbit, stay: 1h,
                up: {below: {699050666: default}, else: 50Mbit}}
      10Mbit:  {speed: 10 Mbit/s, quota: 1048576000, stay: 1h,
                up: {below: {349525333: default, 699050666: 50Mbit}, else: 25Mbit}}
  month:
    window: {calendar: month, anchor_day: 1, timezone: Europe/Berlin}
    on_change: keep
    warn: 80%
    profiles:
      full: {speed: original, quota: 1024 GiB, at: reached, down: slow}
      slow: {speed: 10 Mbit/s, stay: period, up: full}
services:
  - {match: {platform: vm1, tag: vpn}, plans: [vpn]}
  - {match: {platform: vm1}, plans: [month]}
"""


@dataclass(frozen=True, slots=True)
class Scenario:
    """`hours` of it, of which the month's end is at three quarters; the same seed gives the same traffic."""

    services: int
    hours: float
    seed: int

    @property
    def start_ms(self) -> int:
        return (ROLLOVER_MS - round(self.hours * 0.75 * HOUR_MS)) // STEP_MS * STEP_MS

    @property
    def end_ms(self) -> int:
        """Traffic stops here."""
        return self.start_ms + round(self.hours * HOUR_MS) // STEP_MS * STEP_MS

    @property
    def outage_ms(self) -> tuple[int, int]:
        """The platform is suspended in the meantime."""
        begin = self.start_ms + round(self.hours * 0.4 * HOUR_MS)
        return begin, begin + min(HOUR_MS, round(self.hours * 0.1 * HOUR_MS))

    @property
    def crash_ms(self) -> int:
        """The process loses its power."""
        return self.start_ms + round(self.hours * 0.6 * HOUR_MS)


def build(scenario: Scenario, clock: Callable[[], int]) -> Simulator:
    """The platform with its VMs.  Every fourth one uses up its month, the others overdo it now and then."""
    world = World(clock, seed=scenario.seed, step_ms=STEP_MS)
    since = ROLLOVER_MS - MONTH_MS
    for place in range(scenario.services):
        archive = place % 4 == 0
        draw = mix(scenario.seed, place)
        id_ = world.create(
            habit="silent" if archive else "bursty",
            limits=((100, 100), (200, 200), (1000, 1000))[draw % 3],
            since=since,
            name=f"{'archive' if archive else 'gateway'}-{place + 1}.example.com",
            account=str(1 + place // 3),
            tags=[] if archive else ["vpn"],
        )
        if archive:
            world.follow(id_, _even(scenario.start_ms + round(scenario.hours * HOUR_MS) * (20 + draw % 40) // 100))
        world.script(id_, scenario.end_ms, scenario.end_ms + CALM_MS, 0, 0)
    faults = Faults(scenario.seed)
    faults.inject("unavailable", since=scenario.outage_ms[0], until=scenario.outage_ms[1])
    return create_app(world, Knobs(timezone=ZONE), faults)


def _even(used_up_ms: int) -> Rate:
    """A constant rate, a third of it inwards, that uses up the month's quota about then."""
    bits_per_second = MONTH_QUOTA_BYTES * 8000 // (used_up_ms - ROLLOVER_MS + MONTH_MS)
    rate = bits_per_second // 3, bits_per_second - bits_per_second // 3
    return lambda _: rate


def configure(folder: Path, token: str) -> Config:
    """The configuration, read from files as a user's is."""
    secret = folder / "vm1.token"
    secret.touch(mode=0o600)
    secret.write_text(token)
    file = folder / "quota-stream.yaml"
    file.write_text(CONFIGURATION)
    return load(file)
