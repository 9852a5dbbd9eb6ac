"""`service forget`: nothing is left of a service in what we keep and show."""

from __future__ import annotations

import click

from stream import bootstrap
from stream.adapters.clock import SystemClock
from stream.cli.adjusting import quantity, system_user
from stream.cli.base import Command, examples, pass_config, run
from stream.cli.text import printable
from stream.config.model import Config
from stream.config.units import duration_ms
from stream.core.errors import Unavailable
from stream.runtime.operating import Operating, Outcome

REGISTERED_AGAIN = (
    "if its platform still lists it and a rule still matches it, the collector registers it again, as a new one: "
    "write a rule with `plans: []` for it before"
)


@click.command("forget", cls=Command, epilog=examples("quota-stream service forget vm1/101 --why 'asked for by mail'"))
@click.argument("service_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--why", default="", metavar="TEXT", help="Kept with it; name nobody.")
@click.option("--wait", "wait_ms", default="10s", callback=quantity(duration_ms), show_default=True,
              help="How long to wait until it is counted.")  # fmt: skip
@pass_config
def forget(config: Config, service_id: str, *, yes: bool, why: str, wait_ms: int) -> None:
    """Remove a service, registered or not, from the state, the history and the pages.

    Its speed is given back.  What the log itself holds of it goes with the age of its topics, see the README.
    """
    if not yes:
        question = printable(f"forget {service_id}, its state and its history?  Nothing brings them back")
        click.confirm(question, abort=True, err=True)
    outcome = run(_forget(config, service_id, why, wait_ms / 1000))
    if not outcome.counted:
        raise Unavailable(
            f"it is in the log (partition {outcome.partition}, offset {outcome.offset}), but was not counted within "
            f"{wait_ms / 1000:g} s; it will be when `quota-stream run` runs"
        )
    click.echo(printable(f"{service_id}: forgotten; {REGISTERED_AGAIN}"))


async def _forget(config: Config, service: str, why: str, wait_s: float) -> Outcome:
    async with bootstrap.open_log(config) as log:
        operating = Operating(log, clock=SystemClock(), max_ahead_ms=config.max_ahead)
        return await operating.forget(service, by=system_user(), why=why, wait_s=wait_s)
