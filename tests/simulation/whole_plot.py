"""What a whole world is like, drawn from its seed: how large, how long, how bad, and what is special about it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from stream.config.load import loads
from stream.config.model import Config
from stream.simulator import Knobs
from tests.simulation.world import Climate

Kind: TypeAlias = Literal[
    "mixed", "together", "lives", "repair", "yield", "brake", "shadow", "release", "intents", "collectors", "outage",
    "days", "slow tasks",
]  # fmt: skip
"""mixed: a bit of everything.  together: all roles in each of two processes.  lives: VMs come, go, and come again under
the same id.  repair, yield: others set limits, too.  brake: everything is slowed at once, until `platform allow`.
shadow: nothing is posted.  release: all originals are given back.  intents: enforcers die between intent, post and
receipt.  collectors: they die all the time.  outage: the platform is away for long.  days: some of them, in long
steps, with numbers that come late.  slow tasks: the platform takes twenty seconds for what is decided every few."""

KINDS: tuple[Kind, ...] = get_args(Kind)
WEIGHTS: Mapping[Kind, int] = {"mixed": 8, "together": 3, "lives": 2, "repair": 2, "yield": 2}
"""How often each has its turn; 1 if it is not named here."""
TURNS: tuple[Kind, ...] = tuple(kind for kind in KINDS for _ in range(WEIGHTS.get(kind, 1)))
"""Not by chance: the fifty whole worlds among a thousand seeds go round twice."""

PASSWORD_VARIABLE = "QUOTA_STREAM_SIMULATED_PASSWORD"
PASSWORD = "simulated"
START_MS = 1_775_084_400_000
"""2026-04-01 23:00 UTC, which is 01:00 in Berlin."""
HOUR_MS = 3_600_000
MIDNIGHT_MS = START_MS - HOUR_MS

CONFIGURATION = """\
log: "memory:"
shadow: {shadow}
platforms:
  vm1:
    type: vmmanager
    url: http://vm.example.com
    timezone: Europe/Berlin
    email: admin@example.com
    password_env: {variable}
    poll: {poll_ms}ms
    settle: {settle_ms}ms
    sampling: {step_ms}ms
    final_after: {final_ms}ms
    reread: {reread_ms}ms
    gone_after: {gone_ms}ms
    timeout: 10s
    suspended: 20s
    concurrency: {concurrency}
    max_requests_per_second: 1000
    task_poll: {task_poll_s}s
    task_timeout: 2m
    reconcile: {reconcile_s}s
    foreign: {foreign}
    max_slowed_at_once: {{percent: 10%, least: {brake}, within: 10m}}
plans:
  ladder:
    window: {{slide: {window_ms}ms, slices: 5}}
    profiles:
      full: {{speed: original, quota: {ladder_quota}, down: half}}
      half: {{speed: 40 Mbit/s, quota: {ladder_quota}, down: slow, stay: {stay_ms}ms, up: full}}
      slow: {{speed: {{in: 8 Mbit/s, out: 3 Mbit/s}}, stay: {stay_ms}ms,
              up: {{below: {{{low_quota}: full}}, else: half}}}}
  period:
    window: {{calendar: {unit}, timezone: Europe/Berlin}}
    on_change: keep
    warn: 80%
    profiles:
      full: {{speed: original, quota: {period_quota}, at: reached, down: slow}}
      slow: {{speed: 6 Mbit/s, stay: period, up: full}}
services:
  - {{match: {{platform: vm1, tag: both}}, plans: [ladder, period]}}
  - {{match: {{platform: vm1, tag: ladder}}, plans: [ladder]}}
  - {{match: {{platform: vm1, tag: period}}, plans: [period]}}
"""
BURST_MBITPS = 80
"""About how fast a VM is when it is busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Lengths are counted in the platform's sampling steps."""

    seed: int
    kind: Kind
    vms: int
    partitions: int
    step_ms: int
    start_ms: int
    steps: int
    """Traffic and trouble end after so many."""
    poll_ms: int
    settle_ms: int
    reconcile_s: int = 60
    task_poll_s: int = 12
    concurrency: int = 8
    brake: int = 50
    foreign_writes: int = 0
    hidden_steps: int = 4
    late_steps: int = 15
    """So many points at a time are hidden, and can be read so much after the first of them."""
    lives: int = 0
    """VMs that come, go, stop, or come again."""
    adjustments: int = 0
    skew_ms: int = 0
    """How far wall clocks may be off."""
    faults: bool = True
    network: float = 0.0
    """Trouble on the way to the log and to the platform."""
    knobs: Knobs = field(default_factory=Knobs)
    climate: Climate = field(default_factory=Climate)

    @property
    def end_ms(self) -> int:
        return self.start_ms + self.steps * self.step_ms

    @property
    def together(self) -> bool:
        return self.kind == "together"

    def config(self) -> Config:
        step_bytes = BURST_MBITPS * 125 * self.step_ms
        long = self.step_ms >= HOUR_MS
        return _load(
            CONFIGURATION.format(
                variable=PASSWORD_VARIABLE,
                shadow=str(self.kind == "shadow").lower(),
                foreign="yield" if self.kind == "yield" else "repair",
                poll_ms=self.poll_ms,
                settle_ms=self.settle_ms,
                step_ms=self.step_ms,
                final_ms=min(60 * self.step_ms, 6 * HOUR_MS),
                reread_ms=min(4 * self.step_ms, HOUR_MS),
                gone_ms=10 * self.step_ms,
                window_ms=10 * self.step_ms,
                stay_ms=5 * self.step_ms,
                concurrency=self.concurrency,
                task_poll_s=self.task_poll_s,
                reconcile_s=self.reconcile_s,
                brake=self.brake,
                ladder_quota=3 * step_bytes,
                low_quota=step_bytes,
                unit="day" if long else "hour",
                period_quota=6 * step_bytes if long else 900_000 // self.step_ms * step_bytes,
            )
        )


@lru_cache(100)
def _load(text: str) -> Config:
    return loads(text, Path("/simulated/quota-stream.yaml"))


def draw(seed: int, kind: Kind | None = None) -> Plot:
    """The plot of a seed; of a certain kind if it is given."""
    rng = random.Random(f"{seed} plot")
    rng.random()  # keeps all else that a seed draws as it was when the kind was drawn, too
    plot = _usual(seed, kind or TURNS[sum(divmod(seed, 20)) % len(TURNS)], rng)
    return replace(plot, **_special(plot, rng))


def _usual(seed: int, kind: Kind, rng: random.Random) -> Plot:
    step_ms = rng.choice((60_000, 300_000))
    steps = rng.randint(30, 50) if step_ms == 60_000 else rng.randint(20, 36)
    before_midnight = rng.random() < 0.3
    start_ms = START_MS - (2 * HOUR_MS if before_midnight else 0) + rng.randrange(12) * 300_000
    step_s = step_ms / 1000
    return Plot(
        seed=seed,
        kind=kind,
        vms=rng.randint(4, 8),
        partitions=rng.choice((1, 2, 2, 3, 4)),
        step_ms=step_ms,
        start_ms=start_ms,
        steps=steps,
        poll_ms=rng.choice((step_ms, step_ms, 2 * step_ms if step_ms == 60_000 else 120_000)),
        settle_ms=rng.choice((1000, 60_000, step_ms)),
        reconcile_s=rng.choice((60, 120, 300)) if step_ms == 60_000 else rng.choice((240, 600)),
        concurrency=rng.choice((1, 4, 8)),
        foreign_writes=rng.choice((0, 0, 1)),
        lives=rng.choice((0, 0, 1, 2)),
        adjustments=rng.choice((0, 0, 1, 3)),
        skew_ms=rng.choice((0, 0, 30_000, 240_000)),
        faults=rng.random() < 0.8,
        network=rng.choice((0.0, 0.005, 0.02)),
        knobs=_knobs(rng),
        climate=Climate(
            kill_s=step_s * rng.choice((0, 2, 5, 15)),
            stop_s=step_s * rng.choice((0, 5, 15)),
            end_s=step_s * rng.choice((0, 10, 30)),
            rebalance_s=step_s * rng.choice((0, 10, 30)),
            compaction_s=step_s * 10,
            still_s=rng.choice((8.0, 60.0)),
            down_s=rng.choice((3.0, 60.0)),
        ),
    )


def _knobs(rng: random.Random) -> Knobs:
    return Knobs(
        timezone="Europe/Berlin",
        lag_ms=rng.choice((0, 0, 30_000)),
        late_percent=rng.choice((0, 0, 10)),
        late_ms=rng.choice((120_000, 900_000)),
        no_data=rng.choice(("list", "datapoints")),
        stopped=rng.choice(("null", "zero")),
        reused_id=rng.choice(("fresh", "continued")),
        task_ms=rng.choice((1000, 20_000, 20_000, 60_000)),
        task_absent_ms=rng.choice((0, 2000)),
        immediate=rng.random() < 0.1,
        busy=rng.choice(("queue", "refuse")),
        token_life_ms=rng.choice((HOUR_MS, 120_000)),
        suspend_after_ms=rng.choice((None, None, 40_000)),
        latency_s=0.01,
        latency_jitter_s=rng.choice((0.05, 2.0)),
    )


def _special(plot: Plot, rng: random.Random) -> dict[str, Any]:
    """What the kind of the world changes."""
    step_s = plot.step_ms / 1000
    quiet = {"foreign_writes": 0, "lives": 0, "adjustments": 0, "skew_ms": 0}
    match plot.kind:
        case "lives":
            return {"lives": rng.randint(1, 4), "steps": rng.randint(42, 52)}
        case "repair" | "yield":
            return {"foreign_writes": rng.randint(4, 10)}
        case "brake":
            return quiet | {"brake": rng.choice((1, 2)), "vms": rng.randint(5, 8)}
        case "intents":
            return {"climate": replace(plot.climate, kill_s=0.0, stop_s=0.0, down_s=3.0)}
        case "collectors":
            return {"climate": replace(plot.climate, kill_s=step_s * 5)}
        case "outage":
            start_ms = MIDNIGHT_MS - rng.randrange(-12, 12) * 300_000
            return {"step_ms": 300_000, "steps": 30, "poll_ms": 300_000, "start_ms": start_ms}
        case "days":
            climate = replace(plot.climate, kill_s=HOUR_MS / 1000 * rng.choice((1, 3)), down_s=600.0, still_s=60.0)
            return {
                "vms": 4, "step_ms": HOUR_MS, "steps": 50, "poll_ms": HOUR_MS, "reconcile_s": 3600, "settle_ms": 60_000,
                "hidden_steps": 2, "late_steps": 7, "start_ms": MIDNIGHT_MS - rng.randint(1, 8) * HOUR_MS,
                "climate": climate, "knobs": replace(plot.knobs, late_percent=30, late_ms=2 * HOUR_MS),
            }  # fmt: skip
        case "slow tasks":
            return quiet | {
                "start_ms": MIDNIGHT_MS, "adjustments": rng.randrange(12),
                "vms": rng.randint(3, 6), "step_ms": 15_000, "steps": 40, "poll_ms": 1000, "settle_ms": 1000,
                "task_poll_s": 1, "reconcile_s": 300, "faults": False, "network": 0.0, "climate": Climate(),
                "knobs": Knobs(timezone="Europe/Berlin"),
            }  # fmt: skip
    return {}
