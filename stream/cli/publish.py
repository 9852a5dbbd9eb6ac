"""`publish`: JSON lines on standard input into the log."""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from io import BufferedIOBase
from typing import BinaryIO, NamedTuple

import click
import numpy as np
import orjson
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from stream import bootstrap, wire
from stream.adapters.admission import check_messages
from stream.adapters.clock import SystemClock
from stream.cli.base import Command, examples, json_option, pass_config, print_json, run
from stream.cli.text import printable
from stream.config.model import Config
from stream.config.units import plural
from stream.core.errors import Rejected
from stream.core.mapping import FieldMapping
from stream.core.model import (
    Adjustment,
    Deltas,
    Deregistration,
    Event,
    Malformed,
    Names,
    Plans,
    Registration,
    Watermark,
)
from stream.ports import DELTAS, MAX_RECORD_BYTES, Log, Message, Record
from stream.runtime import plans
from stream.wire import fields

READ_BYTES = 256 * 1024


class Taken(NamedTuple):
    """What became of some lines."""

    messages: dict[int, list[Message]]
    """For each partition, in order."""
    lines: int
    """How many lines are in `messages`, at least in part."""
    refusals: list[str]
    """What is wrong with the others, each with its line."""


class Intake:
    """Turns lines into records for each partition, by the rules by which the tracker reads them."""

    def __init__(
        self,
        partitions: int,
        max_ahead_ms: int,
        plans_version: int = 0,
        mappings: Mapping[str, FieldMapping] | None = None,
    ) -> None:
        """The version of the plans in force, and the mappings that are in force with them."""
        self._partitions = partitions
        self._decoder = wire.Decoder(max_ahead_ms=max_ahead_ms, plans_version=plans_version, mappings=mappings)
        self._lines = 0
        self._now_ms = 0

    def take(self, lines: Sequence[bytes], now_ms: int) -> Taken:
        """Read lines, numbered on from the former ones.  `now_ms` stands for the append time."""
        records = [Record(self._lines + place, now_ms, None, line) for place, line in enumerate(lines, 1)]
        self._lines += len(lines)
        messages: dict[int, list[Message]] = defaultdict(list)
        taken: set[int] = set()
        refusals = []
        self._now_ms = now_ms
        by_number = {record.offset: record.value or b"" for record in records}
        for event in self._decoder.decode([record for record in records if record.value and record.value.strip()]):
            if isinstance(event, Malformed):
                refusals.append(_refusal(event, by_number[event.position.offset]))
                continue
            try:
                made = list(self._messages(event, by_number))
                check_messages(DELTAS, [message for _, message in made])
            except Rejected as error:  # the line fitted, but not with every default written out
                refusals.append(f"line {_numbers(event)[0]}: {error.reason} as it is published; shorten it")
                continue
            taken.update(_numbers(event))
            for partition, message in made:
                messages[partition].append(message)
        return Taken(messages, len(taken), refusals)

    def _messages(self, event: Event, lines: dict[int, bytes]) -> Iterator[tuple[int, Message]]:
        """What is published of an event, and where."""
        match event:
            case Deltas(offset=int() as line):
                yield from self._batch(event, orjson.loads(lines[line]))
            case Deltas():
                yield from self._singles(event)
            case Plans():
                yield from self._everywhere(wire.encode_plans(event.version, event.plans, event.mappings))
            case Watermark():
                yield from self._everywhere(wire.encode_watermark(event.source, event.at))
            case Registration() | Deregistration() | Adjustment():
                yield wire.partition_of(event.service, self._partitions), self._about_service(event)
            case Malformed():
                raise AssertionError("refused before")

    def _everywhere(self, message: Message) -> Iterator[tuple[int, Message]]:
        return ((partition, message) for partition in range(self._partitions))

    def _singles(self, deltas: Deltas) -> Iterator[tuple[int, Message]]:
        start, end = np.broadcast_to(deltas.start, len(deltas.in_)), np.broadcast_to(deltas.end, len(deltas.in_))
        columns = zip(
            _names(deltas), start.tolist(), end.tolist(), deltas.in_.tolist(), deltas.out.tolist(), strict=True
        )
        for service, *numbers in columns:
            message = wire.encode_delta(service, *numbers, backfill=deltas.backfill)
            yield wire.partition_of(service, self._partitions), message

    def _batch(self, deltas: Deltas, document: dict[str, object]) -> Iterator[tuple[int, Message]]:
        """A batch, cut by partition.  Raises Rejected."""
        services = _names(deltas)
        source = fields.source(document, services[0])  # which the tracker does not need, and so has not looked at
        places: dict[int, list[int]] = defaultdict(list)
        for place, service in enumerate(services):
            places[wire.partition_of(service, self._partitions)].append(place)
        for partition, chosen in places.items():
            start, end = (
                instants if isinstance(instants, int) else instants[chosen].tolist()
                for instants in (deltas.start, deltas.end)
            )
            names = [services[place] for place in chosen]
            in_, out = deltas.in_[chosen].tolist(), deltas.out[chosen].tolist()
            for message in wire.encode_batches(source, start, end, names, in_, out, backfill=deltas.backfill):
                yield partition, message

    def _about_service(self, event: Registration | Deregistration | Adjustment) -> Message:
        at = None if event.at == self._now_ms else event.at  # not said: the append time
        match event:
            case Registration():
                return wire.encode_registration(
                    event.service, event.plans, source=event.source, quota=event.quota, anchor_day=event.anchor_day,
                    labels=event.labels, at=at,
                )  # fmt: skip
            case Deregistration():
                return wire.encode_deregistration(event.service, at=at)
            case Adjustment():
                return wire.encode_adjustment(
                    event.service, event.kind, id=event.id, by=event.by, why=event.why, at=at, plan=event.plan,
                    bytes=event.bytes, until=event.until, profile=event.profile,
                )  # fmt: skip


def _numbers(event: Event) -> Sequence[int]:
    """The lines that the event came from."""
    if isinstance(event, Deltas):
        return [event.offset] if isinstance(event.offset, int) else event.offset.tolist()
    return [event.position.offset]


def _refusal(event: Malformed, line: bytes) -> str:
    element = "" if line.startswith(event.value) else f", element {event.position.index}"
    return f"line {event.position.offset}{element}: {event.reason}; {event.cure}"


def _names(deltas: Deltas) -> Sequence[str]:
    return deltas.names.strings() if isinstance(deltas.names, Names) else deltas.names


@click.command(
    "publish",
    cls=Command,
    epilog=examples(
        """echo '{"type":"registration","service":"vm1/101","plans":["vpn"]}' | quota-stream publish""",
        """echo '{"service":"vm1/101","start":1764547200000,"end":1764547260000,"in":120000,"out":4500}' \\""",
        "  | quota-stream publish",
        "zcat deltas.jsonl.gz | quota-stream publish --progress",
    ),
)
@click.option("--progress", is_flag=True, help="Show on standard error how far it is.")
@json_option
@pass_config
def publish(config: Config, *, progress: bool, as_json: bool) -> None:
    """Put JSON lines from standard input into the log.

    Deltas, batches, registrations, deregistrations, watermarks, adjustments and plans, as `schemas/` shows them, and
    whatever the configuration's mappings read as a delta; its plans and mappings go first, if they are new.  What is
    wrong with a line is said with its number, and the other lines are published.  Exit status 1 if there was any.
    """
    bar = _progress() if progress else nullcontext()
    published, refused = run(_publish(config, sys.stdin.buffer, bar))
    if as_json:
        print_json({"published": published, "refused": refused})
    else:
        click.echo(f"{published} {plural(published, 'line')} published, {refused} refused")
    if refused:
        raise SystemExit(1)


async def _publish(config: Config, stream: BinaryIO, bar: AbstractContextManager[Progress | None]) -> tuple[int, int]:
    """Returns how many lines were published, and how many lines or elements refused."""
    published = refused = 0
    clock = SystemClock()
    async with bootstrap.open_log(config, create=True) as log:
        version = await plans.apply(log, config.plans, config.mappings) if config.plans else 0
        intake = Intake(log.partitions, config.max_ahead, version, config.mappings)
        with bar as shown:
            task = shown.add_task("", total=None, what="lines", refused=0) if shown else None
            async for lines in _chunks(stream):
                taken = intake.take(lines, clock.now())
                for refusal in taken.refusals:
                    click.echo(printable(refusal), err=True)
                await _append(log, taken.messages)
                published, refused = published + taken.lines, refused + len(taken.refusals)
                if shown and task is not None:
                    shown.update(task, completed=published, what=plural(published, "line"), refused=refused)
    return published, refused


async def _append(log: Log, messages: dict[int, list[Message]]) -> None:
    await asyncio.gather(*(log.append(DELTAS, partition, batch) for partition, batch in messages.items()))


async def _chunks(stream: BinaryIO) -> AsyncIterator[list[bytes]]:
    """The lines as they come, many at a time; what is longer than any record is passed on cut, to be refused."""
    read = _reader(stream)
    rest = b""
    while data := await asyncio.to_thread(read, READ_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        rest = rest[: MAX_RECORD_BYTES + 1]
        if lines:
            yield lines
    if rest:
        yield [rest]


def _reader(stream: BinaryIO) -> Callable[[int], bytes]:
    """Reads what there is, and waits only if there is nothing."""
    if isinstance(stream, BufferedIOBase):
        return stream.read1
    return stream.read


def _progress() -> Progress:
    columns = [TextColumn("{task.completed:,} {task.fields[what]} published, {task.fields[refused]:,} refused")]
    return Progress(*columns, TimeElapsedColumn(), console=Console(file=sys.stderr), refresh_per_second=4)
