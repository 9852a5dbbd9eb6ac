"""A small hosting provider: its VMs and their traffic, its people, its failures; and the truth about all of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple, TypeAlias

from stream.ports import Clock
from stream.simulator import Faults, Simulator, World, create_app
from stream.simulator.faults import ON_TASK, Effect
from stream.simulator.habits import mix
from stream.simulator.machine import Rate
from tests.simulation.whole_plot import BURST_MBITPS, HOUR_MS, MIDNIGHT_MS, PASSWORD, Plot

Limits: TypeAlias = tuple[int | None, int | None]
"""Mbit/s in and out; None is no limit."""

ORIGINALS: tuple[Limits, ...] = ((100, 100), (200, 200), (1000, 1000), (None, None), (20, 500), (None, 100))
"""None of them is a speed of the plans."""
GROUPS = ("ladder", "period", "both", "ladder", "both", "ladder", "free", "period")
OFTEN: tuple[Effect, ...] = ("unavailable", "refused", "server_error", "rate_limit", "unanswered", "reset", "html")
SELDOM: tuple[Effect, ...] = ("truncated", "wrong_types", "bare_error", "half_list", "unread")
SOMEBODY = "somebody else"
BEFORE_MS = 2 * HOUR_MS
"""The first VMs have been there for so long."""


class Change(NamedTuple):
    """Limits that a VM got, one way or another; `ours`: because we asked for it."""

    at: int
    ours: bool
    limits: dict[str, int | None]
    """Any of net_in_mbitps and net_out_mbitps."""
    created: bool = False
    """With these limits the VM came."""


class Provider:
    def __init__(self, plot: Plot, clock: Clock) -> None:
        self._plot, self._clock = plot, clock
        self._rng = random.Random(f"{plot.seed} provider")
        self.world = World(clock.now, seed=plot.seed, step_ms=plot.step_ms, journal=self._note)
        self.changes: dict[int, list[Change]] = {}
        """By id, in order of happening: creations, too."""
        self.group: dict[int, str] = {}
        self.faults = Faults(plot.seed)
        self._numbers = iter(range(1000))
        for place in range(plot.vms):
            self._create(GROUPS[place], since=plot.start_ms - BEFORE_MS)
        self.app: Simulator = create_app(self.world, plot.knobs, self.faults, password=PASSWORD)
        self._events = self._draw_events()

    # ------------------------------------------------------------ VMs

    def _create(self, group: str, *, id: int | None = None, since: int | None = None) -> int:
        new = 300 + next(self._numbers)
        limits = self._rng.choice(ORIGINALS) if id is None else (new, new)
        id = self.world.create(id=id, limits=limits, since=since, tags=[group], account="7")
        self.world.follow(id, self._rate(mix(self._plot.seed, id, self.world.machine(id).serial)))
        self.group[id] = group
        return id

    def _rate(self, key: int) -> Rate:
        """Busy now and then, for some steps; everything ends with the plot."""
        step_ms, end_ms, brake = self._plot.step_ms, self._plot.end_ms, self._plot.kind == "brake"
        spell_ms, first_ms = 4 * step_ms, self._plot.start_ms

        @cache
        def rate(begin: int) -> tuple[int, int]:
            if begin >= end_ms:
                return 0, 0
            busy = mix(key, begin // spell_ms) % 5 < 2
            if brake:
                busy = begin >= first_ms + 10 * step_ms
            draw = mix(key, begin)
            bits_per_second = (BURST_MBITPS * 1_000_000 if busy else 50_000) * (50 + draw % 100) // 100 + draw % 9973
            return bits_per_second // 4, bits_per_second - bits_per_second // 4

        return rate

    def _one(self) -> int:
        return self._rng.choice([machine.id for machine in self.world.machines()])

    # ------------------------------------------------------------ what happens

    async def live(self) -> None:
        """Everything that happens here, up to the plot's end."""
        for at, event in self._events:
            await asyncio.sleep((at - self._clock.now()) / 1000)
            event()
        await asyncio.sleep((self._plot.end_ms - self._clock.now()) / 1000)

    def calm(self) -> None:
        """All is well again."""
        self.faults.clear()
        self.app.wake()

    def _draw_events(self) -> list[tuple[int, Callable[[], None]]]:
        plot = self._plot
        events = [(self._instant(), self._write_limits) for _ in range(plot.foreign_writes)]
        events += [(self._instant(), self._live_on) for _ in range(plot.lives)]
        if plot.kind == "lives":
            events += [each for id in self._rng.sample(list(self.group), 2) for each in self._succession(id)]
            events.append((self._instant(), self._leave_plans))
        if plot.faults:
            self._draw_faults()
        if plot.kind == "outage":
            since = plot.start_ms + self._rng.randint(5, 10) * plot.step_ms
            effect: Effect = self._rng.choice(("unavailable", "refused", "unread"))
            self.faults.inject(effect, since=since, until=since + 12 * plot.step_ms)
        if plot.kind == "days":
            since = MIDNIGHT_MS + self._rng.randrange(-4, 3) * HOUR_MS  # of the first midnight, mostly
            self.faults.inject("refused", since=since, until=since + self._rng.randint(2, 9) * HOUR_MS)
        return sorted(events, key=lambda event: event[0])

    def _instant(self) -> int:
        """Neither at the very beginning nor at the end."""
        plot = self._plot
        return plot.start_ms + self._rng.randrange(3 * plot.step_ms, (plot.steps - 4) * plot.step_ms)

    def _draw_faults(self) -> None:
        plot, rng, faults = self._plot, self._rng, self.faults
        for effect in OFTEN:
            if rng.random() < 0.5:
                faults.inject(effect, percent=rng.choice((1, 2, 5)))
        for effect in SELDOM:
            if rng.random() < 0.3:
                faults.inject(effect, percent=1)
        faults.inject("slow", percent=2, delay_s=rng.choice((3.0, 15.0)))
        for effect in ON_TASK:
            if rng.random() < 0.5:
                faults.inject(effect, percent=rng.choice((5, 20)))
        for _ in range(rng.randrange(3)):
            faults.inject("lose_tokens", times=1, since=self._instant())
        if rng.random() < 0.3:
            failing, since = self._one(), self._instant()
            faults.inject("server_error", call=f"/host/{failing}/metrics", since=since, until=since + 8 * plot.step_ms)
        for _ in range(rng.randrange(3)):
            start = self._instant()
            vm = self._one() if rng.random() < 0.5 else None
            end, until = (start + steps * plot.step_ms for steps in (plot.hidden_steps, plot.late_steps))
            faults.hide(start=start, end=end, until=until, vm=vm)

    def _write_limits(self) -> None:
        """Somebody else sets limits, that nobody had before."""
        alive = [machine.id for machine in self.world.machines()]
        id = self._rng.choice(alive)
        if self._plot.kind in ("repair", "yield") and self._rng.random() < 0.8:
            id = alive[self._plot.seed % len(alive)]
        new = self._rng.choice((50, 10)) + next(self._numbers)
        in_, out = self.world.limits(id)
        in_, out = self._rng.choice(((new, new), (new, out), (in_, new)))
        self.world.set_limits(id, in_, out, by=SOMEBODY)

    def _succession(self, id: int) -> Iterator[tuple[int, Callable[[], None]]]:
        """A VM goes, and when it has long been given up another one comes under its id."""
        gone = self._plot.start_ms + self._rng.randrange(10, 17) * self._plot.step_ms
        yield gone, lambda: self._end(id)
        yield gone + self._rng.randrange(12, 16) * self._plot.step_ms, lambda: self._succeed(id)

    def _end(self, id: int) -> None:
        if id in [machine.id for machine in self.world.machines()]:
            self.world.delete(id)

    def _succeed(self, id: int) -> None:
        if id not in [machine.id for machine in self.world.machines()]:
            self._create(self.group[id], id=id)

    def _leave_plans(self) -> None:
        """A VM is given another tag: no plan is about it any more."""
        id = self._one()
        self.world.edit(id, tags=["free"])
        self.group[id] = "free"

    def _live_on(self) -> None:
        """A VM comes, goes, stops or starts; one that went may come again, as another one, under the same id."""
        alive = [machine.id for machine in self.world.machines()]
        dead = [id for id in self.world.ids() if id not in alive]
        deed = self._rng.choice(("create", "delete", "delete", "again", "again", "stop", "start"))
        if deed == "create" and len(alive) < 10:
            self._create(self._rng.choice(GROUPS))
        elif deed == "again" and dead:
            self._create(self._rng.choice(GROUPS), id=self._rng.choice(dead))
        elif deed == "delete" and len(alive) > 2:
            self.world.delete(self._rng.choice(alive))
        elif deed in ("stop", "start") and alive:
            getattr(self.world, deed)(self._rng.choice(alive))

    # ------------------------------------------------------------ the truth

    def _note(self, event: dict[str, Any]) -> None:
        """The world's own journal."""
        match event["do"]:
            case "create":
                limits = {"net_in_mbitps": event["in"], "net_out_mbitps": event["out"]}
                self.changes.setdefault(event["id"], []).append(Change(event["at"], False, limits, created=True))
            case "change" if "state" not in event["values"]:
                ours = event["by"] != SOMEBODY
                self.changes[event["id"]].append(Change(event["at"], ours, event["values"]))
            case "order" if event["outcome"] in ("complete", "forgotten"):
                self.changes[event["id"]].append(Change(event["ends"], True, event["values"]))
