"""`topics create` and `verify`: what a cluster holds for us, as it should be."""

from __future__ import annotations

import click

from stream.bootstrap import kafka_settings
from stream.cli.base import Group, examples, json_option, pass_config, print_json, run
from stream.cli.text import printable
from stream.config.model import Config
from stream.config.units import plural


@click.group("topics", cls=Group)
def topics() -> None:
    """Make the topics on a Kafka cluster, and look after them."""


@topics.command("create", epilog=examples("quota-stream topics create && quota-stream plans apply"))
@json_option
@pass_config
def create(config: Config, *, as_json: bool) -> None:
    """Make the five topics, those that are missing.

    With `partitions`, `retention`, and under `kafka` `replication` and `min_insync_replicas`, as configured.  What is
    there is left as it is; `topics verify` tells what of it should be different.
    """
    from stream.adapters.kafka.topics import create, verify  # it brings aiokafka, which nothing else here needs

    settings = kafka_settings(config)
    made = run(create(settings))
    differences = run(verify(settings)) if made.present else []
    if as_json:
        told = made._asdict() | {"differences": [one._asdict() for one in differences]}
        print_json(told)
        return
    partitions, replicas = plural(made.partitions, "partition"), plural(made.replicas, "replica")
    for name in made.topics:
        click.echo(printable(f"{name}: made, with {made.partitions} {partitions} and {made.replicas} {replicas}"))
    for name in made.present:
        click.echo(printable(f"{name}: is there"))
    if made.topics and made.replicas < 3 and settings.replication is None:
        brokers = "is one broker" if made.brokers == 1 else f"are {made.brokers} brokers"
        click.echo(f"there {brokers}: with three of them there would be 3 replicas, and one could be lost")
    if differences:
        click.echo("something is not as it should be: see `quota-stream topics verify`")


@topics.command("verify", epilog=examples("quota-stream topics verify", "quota-stream topics verify --json"))
@json_option
@pass_config
def verify(config: Config, *, as_json: bool) -> None:
    """Tell each difference between the topics and what they should be.

    What it is, what it should be, why, and what mends it.  Those marked with ! stop every other command.  Exit status
    1 if there is any.
    """
    from stream.adapters.kafka.topics import verify

    differences = run(verify(kafka_settings(config)))
    if as_json:
        print_json({"correct": not differences, "differences": [one._asdict() for one in differences]})
    for one in [] if as_json else differences:
        click.echo(printable(f"{'!' if one.needed else ' '} {one}"))
    if differences:
        raise SystemExit(1)
    if not as_json:
        click.echo("the topics are as they should be")
