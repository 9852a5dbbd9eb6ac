"""`service`: what one can see and do about single services."""

from __future__ import annotations

import click

from stream.cli.adjusting import credit, exempt, pin, reset, unpin
from stream.cli.base import Group
from stream.cli.forgetting import forget
from stream.cli.linking import link
from stream.cli.showing import history, list_services, show


@click.group("service", cls=Group)
def service() -> None:
    """Look at services, and correct what they are due."""


for command in (list_services, show, history, credit, exempt, pin, unpin, reset, link, forget):
    service.add_command(command)
