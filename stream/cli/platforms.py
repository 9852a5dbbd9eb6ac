"""`platform allow`, `release`, `originals`: what operators tell the enforcers."""

from __future__ import annotations

import sys
from collections.abc import Mapping

import click
import orjson

from stream import bootstrap
from stream.adapters.clock import SystemClock
from stream.cli.adjusting import quantity, system_user
from stream.cli.base import Group, examples, pass_config, print_json, run
from stream.cli.reading import instant_text, partition_of, trackers
from stream.cli.text import printable
from stream.config.model import Config
from stream.config.units import SPEED, duration_ms, nearest, plural, shown
from stream.core.enforced import speed_from_json, speed_to_json
from stream.core.errors import Misconfigured, Rejected
from stream.core.speed import Speed
from stream.ports import Log
from stream.runtime import controls
from stream.runtime.operating import Operating
from stream.wire.fields import service_id

why_option = click.option("--why", default="", metavar="TEXT", help="Kept with it.")

MOST_NAMED = 10


@click.group("platform", cls=Group)
def platform() -> None:
    """Open the brake, give speeds back, settle originals."""


def _check(config: Config, name: str) -> None:
    """Raises Misconfigured if there is no such platform."""
    if name not in config.platforms:
        meant = nearest(name, list(config.platforms))
        known = ", ".join(config.platforms) or "none"
        cure = f"write {meant}" if meant else f"the configuration has {known}"
        raise Misconfigured(f"there is no platform {shown(name)}; {cure}")


@platform.command("allow", epilog=examples("quota-stream platform allow vm1 --for 2h --why 'new plan, expected'"))
@click.argument("name")
@click.option("--for", "for_ms", default="1h", show_default=True, metavar="DURATION", callback=quantity(duration_ms))
@why_option
@pass_config
def allow(config: Config, name: str, *, for_ms: int, why: str) -> None:
    """Let a platform's services be slowed, however many; also ends a release."""
    _check(config, name)
    until = run(_allow(config, name, for_ms, why))
    click.echo(f"{name}: slowing is allowed, without the brake until {instant_text(until)}")


async def _allow(config: Config, name: str, for_ms: int, why: str) -> int:
    async with bootstrap.open_log(config) as log:
        return await _operating(config, log).allow(name, for_ms=for_ms, by=system_user(), why=why)


def _operating(config: Config, log: Log) -> Operating:
    return Operating(log, clock=SystemClock(), max_ahead_ms=config.max_ahead)


@platform.command("release", epilog=examples("quota-stream platform release vm1 --why 'switching off'"))
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@why_option
@pass_config
def release(config: Config, name: str, *, yes: bool, why: str) -> None:
    """Give all services of a platform their original speed back and stop enforcing, until `platform allow`."""
    _check(config, name)
    if not yes:
        click.confirm(f"give every service of {name} its original speed back?", abort=True, err=True)
    run(_release(config, name, why))
    click.echo(f"{name}: all originals are being given back; `quota-stream platform allow {name}` begins again")


async def _release(config: Config, name: str, why: str) -> None:
    async with bootstrap.open_log(config) as log:
        await _operating(config, log).release(name, by=system_user(), why=why)


@platform.group("originals")
def originals() -> None:
    """The speeds that services had before we touched them."""


@originals.command("export", epilog=examples("quota-stream platform originals export vm1 > originals.jsonl"))
@click.argument("name")
@pass_config
def export_originals(config: Config, name: str) -> None:
    """Print them as JSON lines; null is no limit, numbers are bit/s."""
    _check(config, name)
    for service, speed in sorted(run(_export(config, name)).items()):
        print_json({"service": service, **speed_to_json(speed)})


async def _export(config: Config, name: str) -> Mapping[str, Speed]:
    async with bootstrap.open_log(config) as log:
        return await controls.export_originals(log, name)


@originals.command(
    "import",
    epilog=examples(
        "quota-stream platform originals import < originals.jsonl",
        """echo '{"service":"vm1/101","in":100000000,"out":null}' | quota-stream platform originals import""",
    ),
)
@why_option
@pass_config
def import_originals(config: Config, *, why: str) -> None:
    """Read them from standard input, in the form in which `export` prints them.

    What is said of a service that is not registered yet holds as soon as it is.
    """
    found = dict(_original(config, number, line) for number, line in enumerate(sys.stdin.buffer, 1) if line.strip())
    strangers = run(_import(config, found, why))
    for service in strangers[:MOST_NAMED]:
        click.echo(printable(f"warning: {service} is not registered; imported all the same"), err=True)
    if len(strangers) > MOST_NAMED:
        click.echo(f"warning: and {len(strangers) - MOST_NAMED} more", err=True)
    click.echo(f"{len(found)} {plural(len(found), 'original')} imported")


def _original(config: Config, number: int, line: bytes) -> tuple[str, Speed]:
    cure = 'write {"service":"vm1/101","in":100000000,"out":null}'
    try:
        document = orjson.loads(line)
        service, speed = service_id(document["service"]), speed_from_json(document)
        if any(bits is not None and not 1 <= bits <= SPEED.most for bits in speed):
            raise ValueError(f"a speed is not between 1 and {SPEED.most} bit/s")
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, Rejected) as error:
        raise Misconfigured(f"line {number}: this is no original ({error}); {cure}") from error
    _check(config, service.partition("/")[0])
    return service, speed


async def _import(config: Config, found: Mapping[str, Speed], why: str) -> list[str]:
    """Returns those of them that are not registered."""
    async with bootstrap.open_log(config) as log:
        at, by = SystemClock().now(), system_user()
        await controls.import_originals(log, partition_of(log), found, at=at, by=by, why=why)
        strangers = set(found)
        async for tracker in trackers(log):
            strangers.difference_update(tracker.names())
    return sorted(strangers)
