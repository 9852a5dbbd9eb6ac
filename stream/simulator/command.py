"""`quota-stream simulator`: the simulator as a process of its own."""

from __future__ import annotations

import asyncio
import math
import re
import signal
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson
from pydantic import TypeAdapter, ValidationError

from stream.core.errors import Misconfigured, QuotaStreamError
from stream.simulator.access import Access
from stream.simulator.app import Simulator
from stream.simulator.faults import Fault, Faults
from stream.simulator.journal import Origin, resume, wall_ms
from stream.simulator.knobs import DAY_MS, Knobs
from stream.simulator.server import serve
from stream.simulator.truth import ground_truth, write
from stream.simulator.world import World

T = TypeVar("T")

EXAMPLES = """\b
Examples:
  quota-stream simulator --listen 127.0.0.1:8080 --vms 20
  quota-stream simulator --speed 300 --seed 7 --timezone Europe/Berlin
  quota-stream simulator --knob stamp=end --knob lag_ms=60000 --knob unlimited=null
  quota-stream simulator --fault unavailable:percent=5 --fault 'server_error:call=/host/101/metrics'
  quota-stream simulator --state world.jsonl --truth truth.json   # kill -USR1 PID writes the truth
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    host: str
    port: int
    vms: int
    history_ms: int
    origin: Origin
    knobs: Knobs
    faults: Sequence[Fault]
    password: str | None
    tells_secrets: bool
    truth: Path | None
    state: Path | None
    json: bool


@click.command("simulator", epilog=EXAMPLES)
@click.option("--listen", default="127.0.0.1:0", show_default=True, metavar="HOST:PORT", help="Port 0: any free one.")
@click.option("--vms", type=click.IntRange(0, 100_000), default=20, show_default=True, help="How many VMs there are.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same VMs, same traffic.")
@click.option(
    "--speed", type=click.FloatRange(0.001, 1e6), default=1.0, show_default=True, help="Times faster than time."
)
@click.option("--start", metavar="TIME", help="Its time at the start, as 2026-03-01T00:00 (its zone).  [default: now]")
@click.option("--history", type=click.IntRange(0, 4000), default=40, show_default=True, metavar="DAYS",
              help="How long the VMs have been there.")  # fmt: skip
@click.option("--step", type=click.IntRange(1, 86_400), default=300, show_default=True, metavar="SECONDS",
              help="Its sampling step.")  # fmt: skip
@click.option("--timezone", default="Europe/Berlin", show_default=True, help="Its own zone.")
@click.option("--latency", type=click.FloatRange(0), default=0.0, metavar="SECONDS", help="How long a reply takes.")
@click.option("--knob", "knobs", multiple=True, metavar="NAME=VALUE", help="One of its unknowns; repeatable.")
@click.option("--fault", "faults", multiple=True, metavar="EFFECT[:NAME=VALUE,..]", help="What goes wrong; repeatable.")
@click.option("--password", help="The administrator's.  [default: one that the seed gives]")
@click.option("--password-file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="The administrator's, in a file; neither it nor the token is printed then.")  # fmt: skip
@click.option("--truth", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Write what really happened there, at the end and on SIGUSR1.")  # fmt: skip
@click.option("--state", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Go on with the world in this file, even after a kill; its seed, step and time hold.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Say where it is as one line of JSON.")
def simulator(listen: str, vms: int, seed: int, speed: float, start: str | None, history: int, step: int, timezone: str,
              latency: float, knobs: Sequence[str], faults: Sequence[str], password: str | None,
              password_file: Path | None, truth: Path | None, state: Path | None, as_json: bool) -> None:  # fmt: skip
    """Serve a VMmanager that behaves like a real one, as far as that is known, until SIGTERM or Ctrl-C.

    It prints its URL, e-mail, password and a long-lived token.  Its VMs have traffic of many kinds and obey the limits
    that they are given.  Nothing it says goes anywhere else.
    """
    host, _, port = listen.rpartition(":")
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise click.BadParameter(f"{listen} is not HOST:PORT, with a port up to 65535", param_hint="--listen")
    if password is not None and password_file is not None:
        raise click.BadParameter("give either this or --password", param_hint="--password-file")
    if math.isnan(speed):
        raise click.BadParameter("nan is no speed", param_hint="--speed")
    given = {"timezone": timezone, "latency_s": latency} | dict(_pair(text, "--knob") for text in knobs)
    chosen = _parsed(Knobs, given, "--knob")
    began_ms = wall_ms() if start is None else _instant(start, chosen)
    settings = Settings(
        host=host.strip("[]") or "0.0.0.0",
        port=int(port),
        vms=vms,
        history_ms=history * DAY_MS,
        origin=Origin(seed, step * 1000, began_ms, wall_ms(), speed),
        knobs=chosen,
        faults=[_fault(text) for text in faults],
        password=password if password_file is None else _secret(password_file),
        tells_secrets=password_file is None,
        truth=truth,
        state=state,
        json=as_json,
    )
    asyncio.run(run(settings))


async def run(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT.  Raises Misconfigured or Corrupt if it cannot begin."""
    if settings.state is None:
        origin = settings.origin
        world, journal = World(origin.now, seed=origin.seed, step_ms=origin.step_ms), None
    else:
        try:
            world, journal = resume(settings.state, settings.origin)
        except OSError as error:
            raise Misconfigured(f"cannot use the state file {settings.state}: {error}") from error
    if not world.ids():
        world.populate(settings.vms, since=world.now() - settings.history_ms)
    access = Access(settings.knobs, world.seed, password=settings.password)
    platform = Simulator(world, settings.knobs, Faults(world.seed, list(settings.faults)), access)

    def tell_truth() -> None:
        if settings.truth is not None:
            write(settings.truth, ground_truth(world, settings.knobs.zone))

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, tell_truth)
    try:
        async with serve(platform, settings.host, settings.port) as address:
            told = asdict(address)
            if not settings.tells_secrets:
                del told["password"], told["token"]
            if settings.json:
                click.echo(orjson.dumps(told))
            else:
                for name, value in told.items():
                    click.echo(f"{name + ':':<10}{value}")
            await stop.wait()
        tell_truth()
    finally:
        if journal is not None:
            journal.close()


def _secret(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{file}: the password cannot be read ({error}); write it there as plain text") from error
    if not text:
        raise Misconfigured(f"{file}: there is no password in it; write one there")
    return text


def _pair(text: str, option: str) -> tuple[str, Any]:
    """`NAME=VALUE`, the value being JSON, or else itself a text."""
    name, found, value = text.partition("=")
    if not found:
        raise click.BadParameter(f"{text} is not NAME=VALUE", param_hint=option)
    try:
        return name, orjson.loads(value)
    except orjson.JSONDecodeError:
        return name, value


def _fault(text: str) -> Fault:
    effect, _, rest = text.partition(":")
    pairs = [_pair(part, "--fault") for part in rest.split(",") if part]
    return _parsed(Fault, {"effect": effect} | dict(pairs), "--fault")


def _parsed(kind: type[T], values: dict[str, Any], option: str) -> T:
    known = TypeAdapter(kind).json_schema()["properties"]
    if unknown := values.keys() - known:
        message = f"no such name: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}"
        raise click.BadParameter(message, param_hint=option)
    if unbounded := [name for name, value in values.items() if _is_unbounded(value)]:
        raise click.BadParameter(f"{unbounded[0]}: write a number that has an end", param_hint=option)
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        problems = {f"{one['loc'][0] if one['loc'] else kind.__name__}: {one['msg']}" for one in error.errors()}
        raise click.BadParameter("; ".join(sorted(problems)), param_hint=option) from error
    except (QuotaStreamError, LookupError, re.error) as error:
        raise click.BadParameter(str(error.args[0]), param_hint=option) from error
    except OSError as error:  # a time zone that is a folder of time zones
        raise click.BadParameter(f"{error.filename}: {error.strerror}", param_hint=option) from error


def _is_unbounded(value: object) -> bool:
    """Whether it is an infinite number or none, also as a text that would be read as one."""
    try:
        return isinstance(value, float | str) and not math.isfinite(float(value))
    except ValueError:
        return False


def _instant(text: str, knobs: Knobs) -> int:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text} is not a time such as 2026-03-01T00:00", param_hint="--start") from None
    return int(instant.replace(tzinfo=instant.tzinfo or knobs.zone).timestamp()) * 1000
