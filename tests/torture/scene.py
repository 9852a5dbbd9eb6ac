"""What is tortured: a platform with some busy VMs on an autumn night, and a machine whose disk is small."""

from __future__ import annotations

import math
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from stream.simulator import World
from stream.simulator.journal import Origin, resume, wall_ms

ZONE = "Europe/Berlin"
MINUTE_MS = 60_000
DAY_MS = 86_400_000
STEP_MS = MINUTE_MS
SPEED = 60
"""A minute there is a second here, and so is a sampling step."""
BEGAN_MS = round(datetime(2025, 10, 25, 23, 20, tzinfo=ZoneInfo(ZONE)).timestamp() * 1000)
"""Soon it is midnight, and some time after it comes the hour that the clocks show twice.  It is past:
a real clock, such as that of brokers, is never behind."""

VMS = 14
GROUPS = ("vpn", "hour", "vpn", "both")
"""Tags of the VMs in turn: their plans."""
ORIGINALS = ((100, 100), (1000, 1000), (None, None), (200, 40), (15, 15), (3, 3), (70, None))
"""Mbit/s in and out; some are slower than what the plans slow down to, and none equals it."""
BUSY_BYTES = 900_000_000
"""In a step, at most: 120 Mbit/s."""

CONFIGURATION = f"""\
LOG
listen: off
checkpoint: 1s
platforms:
  vm1:
    type: vmmanager
    url: URL
    timezone: {ZONE}
    token_file: vm1.token
    customers_edit: []
    poll: 1s
    settle: 1s
    sampling: {STEP_MS}ms
    reread: 5m
    timeout: 2s
    task_poll: 1s
    reconcile: 30s
    max_requests_per_second: 500
    max_slowed_at_once: {{percent: 100%, least: 100, within: 10m}}
plans:
  vpn:
    window: {{slide: 10m, slices: 5}}
    warn: 80%
    profiles:
      full: {{speed: original, quota: 1 GB, down: half}}
      half: {{speed: 20 Mbit/s, quota: 400 MB, down: slow, stay: 4m, up: full}}
      slow: {{speed: 5 Mbit/s, stay: 4m, up: {{below: {{100 MB: full}}, else: half}}}}
  hour:
    window: {{calendar: hour, timezone: {ZONE}}}
    on_change: keep
    profiles:
      full: {{speed: original, quota: 2 GB, at: reached, down: slow}}
      slow: {{speed: 10 Mbit/s, stay: period, up: full}}
services:
  - {{match: {{platform: vm1, tag: vpn}}, plans: [vpn]}}
  - {{match: {{platform: vm1, tag: hour}}, plans: [hour]}}
  - {{match: {{platform: vm1, tag: both}}, plans: [vpn, hour]}}
"""


def build(journal: Path, rng: random.Random, hours: float = 0.0) -> Origin:
    """Write the journal of a world that begins now: its VMs, and for so many hours what each of them wants."""
    origin = Origin(rng.randrange(1 << 32), STEP_MS, BEGAN_MS, wall_ms(), SPEED)
    with changed(journal, origin) as world:
        for place in range(VMS):
            tag, limits = GROUPS[place % len(GROUPS)], ORIGINALS[place % len(ORIGINALS)]
            world.create(habit="silent", limits=limits, since=BEGAN_MS, tags=[tag], name=f"vm-{place}")
        animate(world, BEGAN_MS, hours, rng)
    return origin


def animate(world: World, start: int, hours: float, rng: random.Random) -> None:
    """From then on every VM wants something."""
    for machine in world.machines():
        _script(world, machine.id, start, start + round(hours * 60) * MINUTE_MS, rng)


def _script(world: World, id_: int, start: int, end: int, rng: random.Random) -> None:
    """Busy and calm in turn, some minutes each."""
    busy = rng.random() < 0.5
    while start < end:
        until = start + rng.randrange(4, 16) * STEP_MS
        in_, out = (rng.randrange(BUSY_BYTES if busy else 1000) for _ in range(2))
        steps = (until - start) // STEP_MS
        world.script(id_, start, until, in_ // 2 * steps, out * steps)
        start, busy = until, not busy


@contextmanager
def changed(journal: Path, origin: Origin) -> Iterator[World]:
    """The world in the journal, to have something happen in it while no simulator runs."""
    world, open_journal = resume(journal, origin)
    try:
        yield world
    finally:
        open_journal.close()


def toggle(world: World, place: int) -> None:
    """The owner of a VM stops it, or starts it again."""
    machine = world.machines()[place]
    (world.stop if machine.era(world.now()).state == "active" else world.start)(machine.id)


def soon(world: World) -> int:
    """The step after the next one."""
    return (world.now() // STEP_MS + 2) * STEP_MS


def quieten(world: World) -> None:
    """From the step after the next one on no VM wants anything, for a day."""
    start = soon(world)
    for machine in world.machines():
        world.script(machine.id, start, start + DAY_MS, 0, 0)


def configure(folder: Path, url: str, token: str, log: str = "log: sqlite:disk/q.db") -> None:
    """The configuration that `run` finds; `log` are its lines about the log."""
    secret = folder / "vm1.token"
    secret.touch(mode=0o600)
    secret.write_text(token)
    (folder / "quota-stream.yaml").write_text(CONFIGURATION.replace("URL", url).replace("LOG", log))


class Disk:
    """A small file system that can be filled up; where none may be mounted, an ordinary folder that cannot."""

    SIZE = "96m"

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.is_small = os.geteuid() == 0 and not subprocess.call(
            ["mount", "-t", "tmpfs", "-o", f"size={self.SIZE}", "tmpfs", folder]
        )
        self.full_until_s = -math.inf
        """When room was made for the last time, on the clock `time.monotonic`."""
        self._filler = folder / "filler"

    def fill(self) -> None:
        """Leave no room at all."""
        if self.is_small:
            self.full_until_s = math.inf
            with self._filler.open("ab", buffering=0) as file, suppress(OSError):
                while file.write(bytes(4096)):
                    pass

    def make_room(self) -> None:
        self._filler.unlink(missing_ok=True)
        self.full_until_s = time.monotonic()

    def rescue(self) -> None:
        """Keep a copy of what is on it beside it, for whoever wants to know."""
        shutil.copytree(self.folder, self.folder.with_name("disk-copy"))

    def close(self) -> None:
        if self.is_small:
            subprocess.check_call(["umount", "--lazy", self.folder])
