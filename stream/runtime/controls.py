"""What the command line tells the enforcers, and reads of theirs.  Works beside a running enforcer, and without one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

import orjson

from stream.core.control import Control
from stream.core.enforced import Switch, Switches
from stream.core.speed import Speed
from stream.ports import CHANGES, ENFORCEMENTS, Log, Message
from stream.runtime.ledger import read


async def allow(log: Log, platform: str, *, until: int, at: int, by: str, why: str = "") -> None:
    """Let the brake pass everything until the instant `until` (ms), and end a release."""
    await _tell_all(log, Control(verb="allow", platform=platform, until=until, at=at, by=by, why=why))


async def release(log: Log, platform: str, *, at: int, by: str, why: str = "") -> None:
    """Give all originals back and enforce nothing until `allow`."""
    await _tell_all(log, Control(verb="release", platform=platform, at=at, by=by, why=why))


async def forget(log: Log, partition: int, service: str, *, before: int, at: int, by: str, why: str = "") -> None:
    """Show nothing any more of a service as it was registered before that offset of `traffic.deltas`."""
    platform = service.partition("/")[0]
    control = Control(verb="forget", platform=platform, service=service, offset=before, at=at, by=by, why=why)
    await log.append(CHANGES, partition, [_message(control)])


async def import_originals(
    log: Log,
    partition_of: Callable[[str], int],
    originals: Mapping[str, Speed],
    *,
    at: int,
    by: str,
    why: str = "",
) -> None:
    """Say which speed services had before anything of ours touched them (None: no limit)."""
    messages: defaultdict[int, list[Message]] = defaultdict(list)
    for service, original in originals.items():
        platform = service.partition("/")[0]
        control = Control(verb="original", platform=platform, service=service, original=original, at=at, by=by, why=why)
        messages[partition_of(service)].append(_message(control))
    for partition, records in messages.items():
        await log.append(CHANGES, partition, records)


async def export_originals(log: Log, platform: str) -> dict[str, Speed]:
    """The originals of all services of a platform that have a record, by service."""
    originals: dict[str, Speed] = {}
    for partition in range(log.partitions):
        states, _ = read(await log.snapshot(ENFORCEMENTS, partition))
        originals |= {name: state.original for name, state in states.items() if name.startswith(f"{platform}/")}
    return dict(sorted(originals.items()))


def merged(partitions: Iterable[Switches]) -> dict[str, Switch]:
    """By platform: released or braked if any partition's enforcer says so."""
    found: dict[str, Switch] = {}
    for stored in partitions:
        for platform, one in stored.platforms.items():
            other = found.get(platform, Switch())
            found[platform] = Switch(
                released=one.released or other.released,
                braked=one.braked or other.braked,
                allowed_until=max(one.allowed_until, other.allowed_until),
            )
    return found


async def _tell_all(log: Log, control: Control) -> None:
    """To every partition, as each has an enforcer of its own.  Half of it is mended by saying it again."""
    for partition in range(log.partitions):
        await log.append(CHANGES, partition, [_message(control)])


def _message(control: Control) -> Message:
    return Message(control.key.encode(), orjson.dumps(control.to_json()))
