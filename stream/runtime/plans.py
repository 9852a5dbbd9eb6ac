"""Plans travel in the log: which ones each partition has, and bringing them up to date.

One record holds all plans with their version and goes to every partition, so that its order among the deltas is the
same for everybody.  A broadcast that was cut short leaves partitions at different versions; the next `apply` mends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import aclosing
from typing import Any, NamedTuple

import structlog

from stream import wire
from stream.core.mapping import FieldMapping
from stream.core.model import Plans
from stream.core.plan import Plan
from stream.ports import DELTAS, Log, Message
from stream.runtime.checkpoint import load_plans
from stream.runtime.deadlines import answering

log_ = structlog.get_logger()


class InForce(NamedTuple):
    """The newest plans of one partition, read or still to be read by its tracker.  Version 0: none yet."""

    version: int
    plans: Mapping[str, Plan]
    mappings: Mapping[str, FieldMapping]

    def to_json(self) -> dict[str, Any]:
        """The normal form, as a plans record has it."""
        return {
            "plans": {name: plan.to_json() for name, plan in self.plans.items()},
            "mappings": {name: mapping.to_json() for name, mapping in self.mappings.items()},
        }

    def are(self, plans: Mapping[str, Plan], mappings: Mapping[str, FieldMapping]) -> bool:
        """Whether they are these, in the same order."""
        return [*self.plans.items(), *self.mappings.items()] == [*plans.items(), *mappings.items()]


class Configured:
    """The configuration's plans and mappings, for all trackers of a process."""

    def __init__(
        self, plans: Mapping[str, Plan] | None = None, mappings: Mapping[str, FieldMapping] | None = None
    ) -> None:
        self._plans, self._mappings = plans or {}, mappings or {}
        self._told: set[int] = set()  # versions

    def compare(self, present: InForce) -> None:
        """Warn if others are in force, once for each version; a configuration may have none at all."""
        if not self._plans or present.version in self._told or present.are(self._plans, self._mappings):
            return
        self._told.add(present.version)
        log_.warning(
            "plans.differ",
            version=present.version,
            cure="other plans than this process read from its configuration are in force (version 0: none yet): if the "
            "file is right, run `quota-stream plans apply`; if it is newer than this process, restart that",
        )


async def in_force(log: Log) -> list[InForce]:
    """The newest plans of each partition, in order of partitions."""
    return [await _newest(log, partition) for partition in range(log.partitions)]


async def apply(log: Log, plans: Mapping[str, Plan], mappings: Mapping[str, FieldMapping] | None = None) -> int:
    """Publish `plans` to every partition unless all of them have exactly these.  Returns the version in force then.

    Mappings go with them: all that there are, as with plans.

    A crash in the middle, or Unavailable, leaves the partitions at different versions; calling it again mends that.
    """
    present = await in_force(log)
    newest = max(each.version for each in present)
    if all(each.version == newest and each.are(plans, mappings or {}) for each in present):
        return newest
    message = Message(*wire.encode_plans(newest + 1, plans, mappings))
    for partition in range(log.partitions):
        async with answering():
            await log.append(DELTAS, partition, [message])
    return newest + 1


async def _newest(log: Log, partition: int) -> InForce:
    """What the tracker's state has, or a newer record that it has not read yet."""
    async with answering():
        offset, version, plans, mappings = await load_plans(log, partition)
        first, end = await log.bounds(DELTAS, partition)
    newest = InForce(version, plans, mappings)
    decoder = wire.Decoder()
    offset = max(offset, first)  # what is no longer kept tells nobody anything
    async with aclosing(log.read(DELTAS, partition, offset, wait_s=1.0)) as fetches:
        while offset < end:
            async with answering():
                records, offset = await anext(fetches)
            candidates = [record for record in records if record.value is not None and b'"plans"' in record.value]
            for event in decoder.decode(candidates):
                if isinstance(event, Plans) and event.version > newest.version:
                    newest = InForce(event.version, event.plans, event.mappings)
    return newest
