"""`status`: how everything is, on one screen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import click

from stream import bootstrap
from stream.adapters.clock import SystemClock
from stream.cli.base import Command, examples, json_option, pass_config, print_json, print_table, run
from stream.cli.text import printable
from stream.config.model import Config
from stream.config.units import DURATION
from stream.core.enforced import Switch
from stream.core.errors import Unavailable
from stream.replica import Replica
from stream.replica.problems import notes_of, problems_of
from stream.replica.words import instant_text
from stream.runtime.controls import merged
from stream.runtime.plans import in_force

READ_S = 600.0
"""How long it may take to read what is to be shown."""


@dataclass(frozen=True, slots=True)
class Status:
    now: int
    sources: Mapping[str, tuple[int | None, int]]
    """By source: up to where the one that is furthest behind is counted, and how many services it has."""
    population: Mapping[tuple[str, str], int]
    """(plan, profile) -> services."""
    switches: Mapping[str, Switch]
    plans_versions: list[int]
    problems: list[str]
    notes: list[str]
    """What one should know and need not mend."""

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
    clock = SystemClock()
    async with bootstrap.open_log(config) as log:
        settings = replace(bootstrap.replica_settings(config), history=False)
        async with _followed(Replica(log, index=None, clock=clock, settings=settings)) as replica:
            known = replace(
                replica.known(), in_force=await in_force(log)
            )  # what no tracker has read yet counts as well
            return Status(
                known.now,
                {source.name: (source.counted_to, source.services) for source in replica.sources()},
                replica.population(),
                merged(known.switches),
                [each.version for each in known.in_force],
                [problem.text for problem in problems_of(known, settings)],
                [note.text for note in notes_of(known)],
            )


@asynccontextmanager
async def _followed(replica: Replica) -> AsyncIterator[Replica]:
    """As of now: once everything is read that is in the log.  Raises Unavailable if that cannot be had."""
    stop = asyncio.Event()
    following = asyncio.create_task(replica.follow(stop))
    try:
        async with asyncio.timeout(READ_S):
            await replica.caught_up()
        yield replica
    except TimeoutError:
        raise Unavailable(f"the log was not read within {READ_S:g} s: {replica.known().unreachable}") from None
    finally:
        stop.set()
        await following


def _age(now: int, instant: int | None) -> str:
    """Rounded: seconds below two minutes, minutes below two hours, and so on."""
    if instant is None:
        return ""
    age = max(0, now - instant)
    unit = next((unit for unit in ("d", "h", "m") if age >= 2 * DURATION.units[unit]), "s")
    return f"{age // DURATION.units[unit]}{unit}"
