"""`token create`, `list` and `revoke`: who may come in to the API and the pages."""

from __future__ import annotations

from typing import cast

import click

from stream.adapters.clock import SystemClock
from stream.bootstrap import web_section
from stream.cli.base import Group, examples, json_option, pass_config, print_json, print_table
from stream.cli.reading import instant_text
from stream.cli.text import printable
from stream.config.model import Config
from stream.web.access.principal import ROLES, Role
from stream.web.access.tokens import TokensFile


@click.group("token", cls=Group)
def token() -> None:
    """Say who may come in to the API and the pages.

    One token for each person or program: its name stands beside what is done with it.
    """


@token.command(
    "create", epilog=examples("quota-stream token create anna --role operate", "quota-stream token create billing")
)
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), default="read", show_default=True, help="Operators may also read.")
@json_option
@pass_config
def create(config: Config, name: str, *, role: str, as_json: bool) -> None:
    """Make a token.

    It is printed now and never again: what is kept of it is a hash.
    """
    made = _file(config).create(name, cast("Role", role), SystemClock().now())
    if as_json:
        print_json({"name": name, "role": role, "token": made})
        return
    click.echo(printable(f"The token of {name}, who may {role}; it is not shown again:"), err=True)
    click.echo(made)


@token.command("list", epilog=examples("quota-stream token list"))
@json_option
@pass_config
def list_tokens(config: Config, *, as_json: bool) -> None:
    """Who has one, with which role, since when."""
    entries = _file(config).entries()
    if as_json:
        print_json(*({"name": one.name, "role": one.role, "created": one.created} for one in entries))
        return
    print_table(("NAME", "ROLE", "CREATED"), [(one.name, one.role, instant_text(one.created)) for one in entries])


@token.command("revoke", epilog=examples("quota-stream token revoke anna"))
@click.argument("name")
@pass_config
def revoke(config: Config, name: str) -> None:
    """End a token, and every session begun with it, at once."""
    _file(config).revoke(name)
    click.echo(printable(f"{name}: the token is revoked"))


def _file(config: Config) -> TokensFile:
    return TokensFile(web_section(config).tokens_file)
