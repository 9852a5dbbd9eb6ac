"""`service link`: a page of one service, for its customer."""

from __future__ import annotations

from typing import Final

import click

from stream import bootstrap
from stream.adapters.clock import SystemClock
from stream.cli.base import Command, examples, json_option, pass_config, print_json, run
from stream.cli.reading import instant_text, known_of
from stream.cli.text import printable
from stream.config.model import Config

DAY_MS: Final = 86_400_000
MOST_DAYS: Final = 3660


@click.command("link", cls=Command, epilog=examples("quota-stream service link vm1/101 --days 30"))
@click.argument("service_id", metavar="ID")
@click.option("--days", type=click.IntRange(1, MOST_DAYS), default=30, show_default=True, help="How long it is good.")
@json_option
@pass_config
def link(config: Config, service_id: str, *, days: int, as_json: bool) -> None:
    """A link that opens this service's page and nothing else.

    Whoever has it sees usage, speed and history, without logging in.  It cannot be taken back singly: that is what new
    keys are for.
    """
    from stream.web.customer.links import make_link  # with all that serves pages, which other commands do not need

    run(_known(config, service_id))
    expires = SystemClock().now() + days * DAY_MS
    made = make_link(bootstrap.web_settings(config, bootstrap.web_section(config)), service_id, expires=expires)
    if as_json:
        print_json({"service": service_id, "link": made, "expires": expires})
        return
    click.echo(printable(f"The page of {service_id}, until {instant_text(expires)}:"), err=True)
    click.echo(made)


async def _known(config: Config, service_id: str) -> None:
    """Raises Misconfigured if there is no such service."""
    async with bootstrap.open_log(config) as log:
        await known_of(log, service_id)
