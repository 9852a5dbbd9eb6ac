"""`status`: how everything is, on one screen."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import click
import orjson

from stream import bootstrap
from stream.adapters.clock import SystemClock
from stream.cli.base import Command, examples, json_option, pass_config, print_json, print_table, run
from stream.cli.reading import instant_text, records_of, trackers
from stream.cli.text import printable
from stream.config.model import DAY_MS, Config
from stream.config.platforms import Vmmanager
from stream.config.units import DURATION, speed_text
from stream.core.enforced import Enforcement, Switch
from stream.core.tracker import Tracker
from stream.ports import DEAD_LETTERS, DELTAS, ENFORCEMENTS, Log
from stream.runtime.controls import switches
from stream.runtime.ledger import read
from stream.runtime.plans import in_force

LAG_MS = 60_000
"""What was appended so long ago and is not counted yet is a problem."""
SLACK_MS = 600_000
MOST_SHOWN = 10

TROUBLES = {
    "suspect": "have a slow speed that we did not set, and are left alone; settle them with `adopt` in the "
    "configuration or `quota-stream platform originals import`",
    "left": "were repaired too often within a day and are left as somebody else set them",
    "yielded": "have a speed that somebody else set while they are slowed",
}
"""What waits for somebody, in words."""


@dataclass(slots=True)
class Status:
    now: int
    sources: dict[str, tuple[int | None, int]] = field(default_factory=dict)
    """By source: up to where the one that is furthest behind is counted, and how many services it has."""
    population: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(plan, profile) -> services."""
    switches: Mapping[str, Switch] = field(default_factory=dict)
    plans_versions: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What one should know and need not mend."""

    def add(self, tracker: Tracker) -> None:
        self.population.update(tracker.population())
        for source, (end, services) in tracker.sources().items():
            known_end, known = self.sources.get(source, (None, 0))
            ends = [one for one in (end, known_end) if one is not None]
            self.sources[source] = (min(ends, default=None), known + services)

    def to_json(self) -> dict[str, Any]:
        return {
            "now": self.now,
            "sources": {name: {"counted_to": end, "services": n} for name, (end, n) in self.sources.items()},
            "population": [{"plan": p, "profile": q, "services": n} for (p, q), n in sorted(self.population.items())],
            "platforms": {name: {"braked": it.braked, "released": it.released} for name, it in self.switches.items()},
            "plans_versions": self.plans_versions,
            "problems": self.problems,
            "notes": self.notes,
        }


@click.command(
    "status",
    cls=Command,
    epilog=examples("quota-stream status", "quota-stream status --json", "quota-stream status || mail -s quota admin"),
)
@json_option
@pass_config
def status(config: Config, *, as_json: bool) -> None:
    """How everything is, on one screen.

    Sources and up to where they are counted, services by profile, problems.  Exit status 1 if there are any.
    """
    found = run(_status(config))
    if as_json:
        print_json(found.to_json())
    else:
        _print(config, found)
    if found.problems:
        raise SystemExit(1)


def _print(config: Config, found: Status) -> None:
    rows = [
        (source, str(services), instant_text(end), _age(found.now, end))
        for source, (end, services) in sorted(found.sources.items())
    ]
    print_table(("SOURCE", "SERVICES", "COUNTED TO", "AGE"), rows)
    click.echo()
    population = [(plan, profile, str(count)) for (plan, profile), count in sorted(found.population.items())]
    print_table(("PLAN", "PROFILE", "SERVICES"), population)
    click.echo()
    if config.shadow and config.platforms:
        click.echo("shadow: decisions are made and nothing is changed on a platform")
    for note in found.notes:
        click.echo(printable(note))
    for problem in found.problems:
        click.echo(f"{click.style('problem:', fg='red')} {printable(problem)}")
    if not found.problems:
        click.echo("no problems")


async def _status(config: Config) -> Status:
    found = Status(SystemClock().now())
    async with bootstrap.open_log(config) as log:
        async for tracker in trackers(log):
            found.add(tracker)
            found.problems += [problem async for problem in _behind(log, tracker, found.now)]
        found.problems += _silent(config, found)
        found.problems += [problem async for problem in _plans(log, config, found)]
        found.problems += [problem async for problem in _enforcement(log, config, found)]
        found.problems += [problem async for problem in _dead_letters(log, found.now)]
    return found


async def _behind(log: Log, tracker: Tracker, now: int) -> AsyncIterator[str]:
    async for record in records_of(log, DELTAS, tracker.partition, tracker.next_offset):
        if record.timestamp < now - LAG_MS:
            since = instant_text(record.timestamp)
            what = f"partition {tracker.partition}: records since {since} are not counted"
            yield f"{what}; is `quota-stream run` running?"
        return


def _silent(config: Config, found: Status) -> Iterator[str]:
    for name, platform in config.platforms.items():
        end, _ = found.sources.get(name, (None, 0))
        if end is None:
            yield f"{name}: nothing is counted yet; see the log of `run`, and try `quota-stream check --live`"
        elif found.now - end > _patience_ms(platform):
            yield f"{name}: there is a service that is counted to {instant_text(end)} only; see the log of `run`"


def _patience_ms(platform: Vmmanager) -> int:
    return 2 * (platform.poll + platform.settle + platform.sampling) + SLACK_MS


async def _plans(log: Log, config: Config, found: Status) -> AsyncIterator[str]:
    present = await in_force(log)
    found.plans_versions = [each.version for each in present]
    if len(set(found.plans_versions)) > 1:
        yield f"partitions have different versions of the plans, {found.plans_versions}; run `quota-stream plans apply`"
    elif config.plans and any(
        dict(each.plans) != dict(config.plans) or list(each.mappings.items()) != list(config.mappings.items())
        for each in present
    ):
        yield "the plans in force are not those of the configuration; see `quota-stream plans diff`"


async def _enforcement(log: Log, config: Config, found: Status) -> AsyncIterator[str]:
    found.switches = await switches(log)
    for name, switch in found.switches.items():
        if switch.braked and not switch.released:
            yield f"{name}: too many would be slowed at once; look at them, then `quota-stream platform allow {name}`"
    pending: list[str] = []
    standing: Counter[tuple[str, str]] = Counter()
    some: dict[tuple[str, str], list[str]] = defaultdict(list)
    for partition in range(log.partitions):
        noted, stored = read(await log.snapshot(ENFORCEMENTS, partition))
        pending += [problem for one in noted.values() if (problem := _not_shown(config, one, found.now))]
        for name, troubles in stored.standing.items():
            for trouble, services in troubles.items():
                standing[name, trouble] += services.services
                some[name, trouble] += services.some
    for name in [name for name, switch in found.switches.items() if switch.released]:
        if count := standing[name, "unreturned"]:
            yield f"{name}: released; {count} not yet returned: {', '.join(some[name, 'unreturned'][:MOST_SHOWN])}"
        else:
            found.notes.append(
                f"{name}: released, all is returned and nothing is enforced; "
                f"`quota-stream platform allow {name}` begins again"
            )
    for (name, trouble), services_count in standing.items():
        if services_count and trouble in TROUBLES:
            named = ", ".join(some[name, trouble][:MOST_SHOWN])
            yield f"{name}: {services_count} services {TROUBLES[trouble]}: {named}"
    for problem in pending[:MOST_SHOWN]:
        yield problem
    if len(pending) > MOST_SHOWN:
        yield f"and {len(pending) - MOST_SHOWN} more services whose platform does not show what was asked for"


def _not_shown(config: Config, noted: Enforcement, now: int) -> str | None:
    """What is wrong if the platform does not show what it was asked for, in more than the time it may take."""
    platform = config.platforms.get(noted.service.partition("/")[0])
    if platform is None or noted.settled or noted.intent is None:
        return None
    if now - noted.intent.at <= platform.task_timeout + 2 * platform.reconcile:
        return None
    came = f" ({noted.receipts[-1].result})" if noted.receipts else ""
    wanted = speed_text(noted.intent.wanted).replace("original", "no limit")
    return f"{noted.service}: asked for {wanted} at {instant_text(noted.intent.at)}, not shown{came}"


async def _dead_letters(log: Log, now: int) -> AsyncIterator[str]:
    reasons: Counter[str] = Counter()
    for partition in range(log.partitions):
        async for record in records_of(log, DEAD_LETTERS, partition):
            if record.timestamp >= now - DAY_MS and record.value is not None:
                reasons[_reason(record.value)] += 1
    for reason, count in reasons.most_common(MOST_SHOWN):
        yield f"{count} records were rejected within a day: {reason}; see `quota-stream tail quota.dead-letters`"


def _reason(letter: bytes) -> str:
    """The part of it that is the same for all of its kind."""
    try:
        document = orjson.loads(letter)
    except orjson.JSONDecodeError:
        document = None
    reason = document.get("reason") if isinstance(document, dict) else None
    return reason.partition(": ")[0] if isinstance(reason, str) else "why, cannot be read"


def _age(now: int, instant: int | None) -> str:
    """Rounded: seconds below two minutes, minutes below two hours, and so on."""
    if instant is None:
        return ""
    age = max(0, now - instant)
    unit = next((unit for unit in ("d", "h", "m") if age >= 2 * DURATION.units[unit]), "s")
    return f"{age // DURATION.units[unit]}{unit}"
