"""`init` and `check`: from nothing to a configuration that is right."""

from __future__ import annotations

import shutil
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stream.cli.base import Command, Invocation, examples, json_option, pass_invocation, print_json, run
from stream.cli.text import printable
from stream.cli.words import describe, describe_mapping
from stream.config.kafka import SECRET_KEYS
from stream.config.load import load
from stream.config.model import Config
from stream.core.errors import Misconfigured

if TYPE_CHECKING:
    from stream.survey import Survey

ROLES = {
    "run": "counts, decides, and sets speeds",
    "collect": "reads traffic from the platforms",
    "track": "counts traffic and decides",
    "enforce": "sets on the platforms what was decided",
    "serve": "pages and API",
}
"""What each does that can be a service, in the words of its unit."""

STATE_FOLDER = Path("/var/lib/quota-stream")
CONFIG_FOLDER = Path("/etc/quota-stream")


@click.command(
    "init",
    cls=Command,
    epilog=examples(
        "quota-stream init                                # writes quota-stream.yaml",
        "quota-stream init --example vpn --config vpn.yaml",
        "quota-stream init --systemd > /etc/systemd/system/quota-stream.service",
        "quota-stream init --systemd --role serve > /etc/systemd/system/quota-stream-serve.service",
    ),
)
@click.option(
    "--example", type=click.Choice(["vpn", "month"]), default="month", show_default=True,
    help="vpn: a ladder of speeds over the last hour.  month: so much a month, then slow until it is over.",
)  # fmt: skip
@click.option("--systemd", is_flag=True, help="Print a hardened systemd unit for the configuration instead.")
@click.option(
    "--role", type=click.Choice(ROLES), default="run", show_default=True,
    help="With --systemd: the command that the unit runs; all but run and serve need Kafka.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite the file if it is there.")
@pass_invocation
def init(invocation: Invocation, example: str, *, systemd: bool, role: str, force: bool) -> None:
    """Write a commented configuration to begin with.

    It is in shadow: everything is counted and decided, and nothing is changed on the platform.  No secret is made; the
    comments say which file to put yours into.
    """
    if systemd:
        click.echo(unit(invocation.file, role), nl=False)
        return
    text = files("stream").joinpath("examples", f"{example}.yaml").read_text(encoding="utf-8")
    try:
        with invocation.file.open("w" if force else "x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError as error:
        raise Misconfigured(f"{invocation.file}: exists already; name another with --config, or use --force") from error
    except OSError as error:
        raise Misconfigured(f"{invocation.file}: cannot be written ({error.strerror}); name another file") from error
    click.echo(f"wrote {invocation.file}: put in your URL and token file, then `quota-stream check --live`")


def unit(file: Path, role: str) -> str:
    """The systemd unit that runs this command on the configuration `file`, or, if there is none yet, on one in the
    usual places."""
    config = load(file) if file.exists() else None
    where = file.absolute() if config else CONFIG_FOLDER / "quota-stream.yaml"
    program = Path(shutil.which("quota-stream", path=str(Path(sys.executable).parent)) or sys.argv[0]).absolute()
    secrets = [CONFIG_FOLDER / "vm1.token"] if config is None else _secret_files(config)
    text = files("stream").joinpath("examples", "quota-stream.service").read_text(encoding="utf-8")
    return text.format(
        name="quota-stream" if role == "run" else f"quota-stream-{role}",
        description=ROLES[role],
        role=role,
        program=program,
        config=where,
        credentials="".join(f"LoadCredential={secret.name}:{secret}\n" for secret in secrets),
        writable=_writable(config),
        home="read-only" if "home" in {path.parts[1] for path in (program, where)} else "yes",
    )


def _secret_files(config: Config) -> list[Path]:
    """Those that systemd hands over: they lie beside the configuration and are found by name."""
    found = [platform.secret.file for platform in config.platforms.values()]
    found += [file for key, file in config.kafka.files() if key in SECRET_KEYS]
    found += [file for _, file, secret in config.web.files() if secret] if config.web else []
    found += [file for _, file, secret in config.notify.files() if secret] if config.notify else []
    return [file for file in found if file is not None and file.parent == config.file.parent]


def _writable(config: Config | None) -> str:
    """Where the log and the index of the history lie, if that is not the unit's own folder of state."""
    if config is None:
        return ""
    files = [config.log.path, config.web.index if config.web else None]
    folders = {file.parent for file in files if file is not None and not file.is_relative_to(STATE_FOLDER)}
    return f"ReadWritePaths={' '.join(map(str, sorted(folders)))}\n" if folders else ""


@click.command(
    "check",
    cls=Command,
    epilog=examples(
        "quota-stream check",
        "quota-stream check --live      # also asks the platforms, read-only, and measures what is unknown of them",
        "quota-stream check --json",
    ),
)
@click.option("--live", is_flag=True, help="Also try platforms and log, read-only, and measure what is unknown.")
@click.option("--watch/--no-watch", default=True, show_default=True,
              help="With --live: wait up to a sampling step for a new point, to see how late it comes.")  # fmt: skip
@click.option("--vms", type=click.IntRange(0), default=200, show_default=True,
              help="With --live: so many VMs of each platform are asked what their plans would do now.")  # fmt: skip
@json_option
@pass_invocation
def check(invocation: Invocation, *, live: bool, watch: bool, vms: int, as_json: bool) -> None:
    """Find every mistake in the configuration.

    Each is said with its line and what to write instead.  If there is none, the plans are told in words.

    With --live each platform is asked, with at most 150 requests and two for each VM with plans (more if its sampling
    step is short).  Nothing is changed there.  Exit status 1 if something should be changed, or a platform does not
    answer.
    """
    try:
        config = load(invocation.file, with_files=True)
    except Misconfigured as error:
        if not as_json:
            raise
        print_json({"correct": False, "errors": error.problems, "warnings": []})
        raise SystemExit(2) from error
    if not as_json:
        summarize(config)
        if live and watch and config.platforms:
            click.echo(
                "waiting for a new number of the platform, mostly up to five minutes (not with --no-watch)", err=True
            )
    found = run(_survey(config, watch=watch, vms=vms)) if live else None
    if as_json:
        plans = {name: plan.to_json() for name, plan in config.plans.items()}
        mappings = {name: mapping.to_json() for name, mapping in config.mappings.items()}
        told = {"correct": True, "errors": [], "warnings": config.warnings, "plans": plans, "mappings": mappings}
        print_json(told if found is None else told | {"live": found.to_json()})
    elif found is not None:
        from stream.survey import lines_of

        for line in lines_of(found, config.file):
            click.echo(printable(line))
    if found is not None and not found.is_well:
        raise SystemExit(1)


async def _survey(config: Config, *, watch: bool, vms: int) -> Survey:
    from stream.survey import survey  # it brings the platforms along, which nothing else here needs

    return await survey(config, watch=watch, most_judged=vms)


def summarize(config: Config) -> None:
    for warning in config.warnings:
        click.echo(f"{click.style('warning:', fg='yellow')} {printable(warning)}")
    for plan in config.plans.values():
        for line in describe(plan):
            click.echo(printable(line))
    for mapping in config.mappings.values():
        click.echo(printable(describe_mapping(mapping)))
    platforms = ", ".join(f"{name} ({platform.url})" for name, platform in config.platforms.items())
    click.echo(f"platforms: {platforms or 'none; traffic comes by `quota-stream publish`'}")
    click.echo(f"log: {config.log}{_login(config)}")
    if config.platforms:
        says = "decisions are made and nothing is changed on a platform" if config.shadow else "limits are set for real"
        click.echo(f"shadow: {'on' if config.shadow else 'off'}; {says}")
    click.echo(f"{config.file.name} is correct")


def _login(config: Config) -> str:
    if config.log.kind != "kafka":
        return ""
    kafka = config.kafka
    return f" ({kafka.protocol}{f' as {kafka.sasl_username}' if kafka.sasl_username else ''})"
