"""How the demo shows what happens: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Protocol
from zoneinfo import ZoneInfo

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from stream.core.model import Decision, QuotaWarning
from stream.core.speed import Speed
from stream.core.view import ServiceView
from stream.demo.scenario import GIB, ZONE, Scenario

MIB = 1 << 20
RECENT = 8
COLOURS = {"exceeded": "red", "reached": "red", "stay_over": "green", "period": "green"}


class Stage(Protocol):
    """Where the demo is shown."""

    def outcome(self, outcome: Decision | QuotaWarning) -> None: ...
    def note(self, at: int, text: str) -> None: ...
    def show(self, now: int, services: Callable[[], list[ServiceView]]) -> None: ...
    def close(self) -> None: ...


def open_stage(scenario: Scenario) -> Stage:
    """The live one where somebody can see it."""
    return LiveStage(scenario, Console(stderr=True)) if sys.stderr.isatty() else PlainStage()


class PlainStage:
    """One line for each thing that happens, on standard error."""

    def outcome(self, outcome: Decision | QuotaWarning) -> None:
        if not isinstance(outcome, Decision) or outcome.plan is not None:
            self.note(outcome.at, f"{outcome.service}  {_sentence(outcome)}")

    def note(self, at: int, text: str) -> None:
        print(f"{_local(at)}  {text}", file=sys.stderr)

    def show(self, now: int, services: Callable[[], list[ServiceView]]) -> None:
        """Nothing: only what happens is told."""

    def close(self) -> None:
        """Nothing is open."""


class LiveStage:
    """A table of the services, and what happened last."""

    def __init__(self, scenario: Scenario, console: Console) -> None:
        self._scenario = scenario
        self._recent: deque[Text] = deque(maxlen=RECENT)
        self._live = Live(console=console, auto_refresh=False)
        self._live.start()

    def outcome(self, outcome: Decision | QuotaWarning) -> None:
        if isinstance(outcome, Decision) and outcome.plan is None:
            return
        colour = COLOURS.get(outcome.reason, "") if isinstance(outcome, Decision) else "yellow"
        line = Text(f"{_local(outcome.at)}  {outcome.service}  {_sentence(outcome)}", style=colour)
        self._recent.append(line)

    def note(self, at: int, text: str) -> None:
        self._recent.append(Text(f"{_local(at)}  {text}", style="bold magenta"))

    def show(self, now: int, services: Callable[[], list[ServiceView]]) -> None:
        table = Table(title=f"{_local(now)} {ZONE}", title_justify="left", expand=True)
        for head in ("service", "name", "plan", "profile", "speed", "used", "of quota"):
            table.add_column(head, no_wrap=True)
        rows = services()
        for view in rows[: max(4, self._live.console.height - RECENT - 10)]:
            for place, plan in enumerate(view.plans):
                quota = plan.quota_bytes
                bar = ProgressBar(total=quota or 1, completed=min(plan.usage_bytes, quota or 0), width=16)
                name = view.labels.get("name", "") if place == 0 else ""
                service = view.service if place == 0 else ""
                speed = _speed(view.speed) if place == 0 else ""
                table.add_row(service, name, plan.plan, plan.profile, speed, _size(plan.usage_bytes), bar)
        passed = ProgressBar(
            total=self._scenario.end_ms - self._scenario.start_ms, completed=now - self._scenario.start_ms
        )
        self._live.update(Group(table, *self._recent, passed), refresh=True)

    def close(self) -> None:
        self._live.stop()


def _sentence(outcome: Decision | QuotaWarning) -> str:
    used = f"{_size(outcome.usage_bytes or 0)} used"
    quota = f" of {_size(outcome.quota_bytes)}" if outcome.quota_bytes else ""
    if isinstance(outcome, QuotaWarning):
        return f"{outcome.plan}: warning at {outcome.percent} %, {used}{quota}"
    speed = f", now {_speed(outcome.speed)}"
    return f"{outcome.plan}: {outcome.from_} -> {outcome.to} ({outcome.reason}, {used}{quota}){speed}"


def _speed(speed: Speed) -> str:
    ways = ["original" if bits is None else f"{bits // 1_000_000} Mbit/s" for bits in speed]
    return ways[0] if ways[0] == ways[1] else f"{ways[0]} in, {ways[1]} out"


def _size(count: int) -> str:
    return f"{count / GIB:.1f} GiB" if count >= GIB else f"{count / MIB:.0f} MiB"


def _local(at: int) -> str:
    return f"{datetime.fromtimestamp(at / 1000, ZoneInfo(ZONE)):%d %b %H:%M}"
