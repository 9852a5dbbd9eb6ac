"""`tail`: any topic as JSON lines."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Iterable, Iterator
from contextlib import nullcontext, suppress
from typing import Any

import click
import orjson

from stream import bootstrap, wire
from stream.cli.base import Command, examples, pass_config, print_json, run
from stream.config.model import Config
from stream.core.errors import Corrupt, Misconfigured
from stream.ports import DEAD_LETTERS, DELTAS, STATE, TOPICS, Log, Record

IDLE_S = 1.0
OFFSET = re.compile("[0-9]{1,18}")
PART = re.compile(b"[0-9]{1,9}")
COLUMNS = ("services", "start", "end", "in", "out")


def _start(_: click.Context, __: click.Parameter, value: str | None) -> int | str | None:
    if value is None or value in ("first", "end"):
        return value
    if not OFFSET.fullmatch(value):
        raise click.BadParameter(f"{value!r} is neither an offset nor `first` nor `end`")
    return int(value)


@click.command(
    "tail",
    cls=Command,
    epilog=examples(
        "quota-stream tail quota.profile-changes",
        "quota-stream tail quota.profile-changes --follow --service vm1/101",
        "quota-stream tail quota.dead-letters --follow",
        "quota-stream tail traffic.deltas --partition 2 --from 1000 --places",
    ),
)
@click.argument("topic", type=click.Choice(TOPICS))
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--partition", type=click.IntRange(0), help="Only this one.")
@click.option(
    "--from", "start", callback=_start, metavar="OFFSET|first|end", help="[default: first, or end with --follow]"
)
@click.option("--service", metavar="ID", help="Only what is about this service, e.g. vm1/101.")
@click.option("--places", is_flag=True, help="Wrap each line: partition, offset, time and key of its record, value.")
@pass_config
def tail(
    config: Config, topic: str, *, follow: bool, partition: int | None, start: int | str | None,
    service: str | None, places: bool,
) -> None:  # fmt: skip
    """Print a topic as JSON lines.

    Batches are taken apart into single deltas, the pages of quota.state into their columns.  Within a partition lines
    come in the order of the log.
    """
    if service is not None and topic == STATE:
        raise Misconfigured("quota.state has no records of single services; use `quota-stream service show`")
    begin = start if start is not None else "end" if follow else "first"
    with suppress(KeyboardInterrupt) if follow else nullcontext():
        run(_tail(config, _Printer(topic, service, places=places), partition, begin, follow=follow))


async def _tail(config: Config, printer: _Printer, partition: int | None, start: int | str, *, follow: bool) -> None:
    async with bootstrap.open_log(config) as log:
        if partition is None and printer.service is not None:
            partition = wire.partition_of(printer.service, log.partitions)
        if partition is not None and partition >= log.partitions:
            raise Misconfigured(f"there is no partition {partition}; this log has 0 to {log.partitions - 1}")
        chosen = range(log.partitions) if partition is None else [partition]
        if follow:
            try:
                async with asyncio.TaskGroup() as group:
                    for one in chosen:
                        group.create_task(_print(log, printer, one, start, follow=True))
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from errors
        else:
            for one in chosen:
                await _print(log, printer, one, start, follow=False)


async def _print(log: Log, printer: _Printer, partition: int, start: int | str, *, follow: bool) -> None:
    first, end = await log.bounds(printer.topic, partition)
    offset = first if start == "first" else end if start == "end" else max(first, int(start))
    if offset >= end and not follow:
        return
    reader = log.read(printer.topic, partition, offset, wait_s=IDLE_S)
    try:
        async for fetch in reader:
            printer.show(partition, fetch.records)
            if not follow and fetch.next_offset >= end:
                break
    finally:
        await reader.aclose()
    printer.finish(partition)


class _Printer:
    def __init__(self, topic: str, service: str | None, *, places: bool) -> None:
        self.topic = topic
        self.service = service
        self._places = places
        self._pages: dict[int, _Pages] = {}

    def show(self, partition: int, records: Iterable[Record]) -> None:
        pages = self._pages.setdefault(partition, _Pages())
        lines: list[object] = []
        for record in records:
            if self.topic == STATE:
                lines += (self._line(partition, whole, value) for whole, value in pages.add(record))
            else:
                lines += (self._line(partition, record, value) for value in self._values(record))
        print_json(*lines)

    def finish(self, partition: int) -> None:
        """Nothing more comes of this partition."""
        rest = self._pages.pop(partition, _Pages()).flush()
        print_json(*(self._line(partition, record, value) for record, value in rest))

    def _values(self, record: Record) -> Iterator[object]:
        for value in _values(self.topic, record):
            if self.service is None or _service_of(self.topic, value) == self.service:
                yield value

    def _line(self, partition: int, record: Record, value: object) -> object:
        if not self._places:
            return value
        key = None if record.key is None else record.key.decode(errors="replace")
        place = {"partition": partition, "offset": record.offset, "timestamp": record.timestamp, "key": key}
        return {**place, "value": value}


def _values(topic: str, record: Record) -> Iterator[object]:
    """The lines of one record."""
    if record.value is None:
        yield {"key": (record.key or b"").decode(errors="replace"), "removed": True}
        return
    try:
        document = _document(record.value)
    except ValueError:
        yield {"unreadable": _text(record.value)}
        return
    if topic == DELTAS and isinstance(document, dict) and document.get("type") == "batch":
        yield from _elements(document)
    else:
        yield document


def _elements(document: dict[str, Any]) -> Iterator[object]:
    """The single deltas of a batch; the batch as it is, if it is no good one."""
    columns = [document.get(name) for name in COLUMNS]
    count = len(columns[0]) if isinstance(columns[0], list) else 0
    columns = [[one] * count if isinstance(one, int) else one for one in columns]
    if not count or not all(isinstance(one, list) and len(one) == count for one in columns):
        yield document
        return
    rest = {name: document[name] for name in ("source", "backfill") if name in document}
    for element in zip(*(one for one in columns if one is not None), strict=True):
        yield dict(zip(("service", *COLUMNS[1:]), element, strict=True)) | rest


def _service_of(topic: str, value: object) -> object:
    if not isinstance(value, dict):
        return None
    if topic == DEAD_LETTERS:
        try:
            value = orjson.loads(value.get("value", ""))
        except orjson.JSONDecodeError:
            return None
    return value.get("service") if isinstance(value, dict) else None


class _Pages:
    """Puts together what stands in the records of quota.state: a page may be cut into several."""

    def __init__(self) -> None:
        self._parts: list[Record] = []

    def add(self, record: Record) -> Iterator[tuple[Record, object]]:
        """What is complete now, with the last record of it."""
        page, _, part = (record.key or b"").rpartition(b"/")
        is_part = record.value is not None and page.endswith((b"/a", b"/b")) and PART.fullmatch(part)
        if not is_part or int(part) != len(self._parts):
            yield from self.flush()
        if not is_part:
            yield record, _state_value(record)
        elif int(part) == len(self._parts):
            self._parts.append(record)
        else:
            key = (record.key or b"").decode(errors="replace")
            yield record, {"key": key, "left_over": True}  # of a page that was longer once

    def flush(self) -> Iterator[tuple[Record, object]]:
        parts, self._parts = self._parts, []
        if not parts:
            return
        key = (parts[0].key or b"").rpartition(b"/")[0].decode(errors="replace")
        try:
            page, checkpoint = wire.decode_page(b"".join(part.value or b"" for part in parts))
        except Corrupt as error:
            yield parts[-1], {"key": key, "unreadable": str(error)}
            return
        columns = {name: column.tolist() for name, column in page.columns.items()}
        yield parts[-1], {"key": key, "checkpoint": checkpoint, "columns": _jsonable(columns), "extras": page.extras}


def _state_value(record: Record) -> object:
    key = (record.key or b"").decode(errors="replace")
    if record.value is None:
        return {"key": key, "removed": True}
    try:
        document = _document(record.value)
        if key.startswith("out/") and isinstance(document, list) and len(document) > 1:
            return {"key": key, "waiting": _document(document[1])}
    except ValueError:
        return {"key": key, "unreadable": _text(record.value)}
    return {"key": key, "value": document}


def _document(text: bytes | str) -> object:
    """Raises ValueError if it is no JSON, or nested deeper than anything of ours: that cannot be printed."""
    document: object = orjson.loads(text)
    try:
        orjson.dumps(document)
    except orjson.JSONEncodeError as error:
        raise ValueError(str(error)) from error
    return document


def _jsonable(value: object) -> object:
    """Columns hold bytes where they hold names."""
    if isinstance(value, dict):
        return {name: _jsonable(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_jsonable(one) for one in value] if value and isinstance(value[0], list | bytes) else value
    return _text(value) if isinstance(value, bytes) else value


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(value).decode()}"
