"""What publishers write to traffic.deltas.  All instants in ms, all amounts in bytes.

Nothing is checked here: the decoder, which must check what anybody publishes, is the one place that does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import orjson

from stream.core.mapping import FieldMapping
from stream.core.model import MAX_RECORD_BYTES, Message
from stream.core.plan import Plan
from stream.wire.cloudevents import attributes

MAX_BATCH_SERVICES: Final = 5000
_MAX_BATCH_BYTES: Final = MAX_RECORD_BYTES - 4096  # the rest is for a key and headers


def encode_delta(
    service: str, start: int, end: int, in_: int, out: int, *, source: str | None = None, backfill: bool = False
) -> Message:
    document: dict[str, Any] = {"service": service, "start": start, "end": end, "in": in_, "out": out}
    if source is not None:
        document["source"] = source
    if backfill:
        document["backfill"] = True
    return _about_service("delta", document, at=end)


def encode_batches(
    source: str,
    start: int | Sequence[int],
    end: int | Sequence[int],
    services: Sequence[str],
    in_: Sequence[int],
    out: Sequence[int],
    *,
    backfill: bool = False,
) -> list[Message]:
    """As few records as the limits allow (5,000 services, 512 KiB), in order.

    All services belong to one partition: the records have no key, so whoever writes them names the partition.
    """
    messages: list[Message] = []
    count = len(services)
    pending = [(first, min(first + MAX_BATCH_SERVICES, count)) for first in range(0, count, MAX_BATCH_SERVICES)]
    while pending:
        first, after = pending.pop(0)
        document = {
            "type": "batch",
            "source": source,
            "start": start if isinstance(start, int) else list(start[first:after]),
            "end": end if isinstance(end, int) else list(end[first:after]),
            "services": list(services[first:after]),
            "in": list(in_[first:after]),
            "out": list(out[first:after]),
        }
        if backfill:
            document["backfill"] = True
        value = orjson.dumps(document)
        if len(value) <= _MAX_BATCH_BYTES or after - first == 1:
            newest = end if isinstance(end, int) else max(end[first:after])
            messages.append(_message("batch", None, value, source, at=newest))
        else:
            middle = (first + after) // 2
            pending[:0] = [(first, middle), (middle, after)]
    return messages


def encode_registration(
    service: str,
    plans: Sequence[str],
    *,
    source: str | None = None,
    quota: int | None = None,
    anchor_day: int | None = None,
    labels: Mapping[str, str] | None = None,
    at: int | None = None,
) -> Message:
    """`source` is by default the platform part, `at` the append time."""
    document = {
        "type": "registration",
        "service": service,
        "source": source,
        "plans": list(plans),
        "quota": quota,
        "anchor_day": anchor_day,
        "labels": dict(labels or {}),
        "at": at,
    }
    return _about_service("registration", document, at=at)


def encode_deregistration(service: str, *, at: int | None = None) -> Message:
    return _about_service("deregistration", {"type": "deregistration", "service": service, "at": at}, at=at)


def encode_forget(service: str, *, at: int | None = None) -> Message:
    """As a deregistration, for one of whom nothing is to be left."""
    return _about_service("forget", {"type": "forget", "service": service, "at": at}, at=at)


def encode_watermark(source: str, at: int) -> Message:
    """No traffic of this source before `at` is still to be published in the partition that it is written to."""
    value = orjson.dumps({"type": "watermark", "source": source, "at": at})
    return _message("watermark", None, value, source, at=at)


def encode_adjustment(
    service: str,
    kind: str,
    *,
    id: str,
    by: str,
    why: str,
    at: int | None = None,
    plan: str | None = None,
    bytes: int | None = None,
    until: int | None = None,
    profile: str | None = None,
) -> Message:
    document = {
        "type": "adjustment",
        "id": id,
        "service": service,
        "kind": kind,
        "plan": plan,
        "bytes": bytes,
        "until": until,
        "profile": profile,
        "at": at,
        "by": by,
        "why": why,
    }
    return _about_service("adjustment", document, at=at)


def encode_plans(
    version: int, plans: Mapping[str, Plan], mappings: Mapping[str, FieldMapping] | None = None
) -> Message:
    """All plans, and all mappings; to be written to every partition."""
    document: dict[str, Any] = {
        "type": "plans",
        "version": version,
        "plans": {name: plan.to_json() for name, plan in plans.items()},
    }
    if mappings:
        document["mappings"] = {name: mapping.to_json() for name, mapping in mappings.items()}
    return _message("plans", None, orjson.dumps(document), "quota-stream/plans")


def _about_service(kind: str, document: dict[str, Any], *, at: int | None) -> Message:
    """A record whose key is its service.  What is None is left out: the decoder knows the defaults."""
    service: str = document["service"]
    value = orjson.dumps({name: given for name, given in document.items() if given is not None})
    source = document.get("source") or service.partition("/")[0]
    return _message(kind, service, value, source, at=at)


def _message(kind: str, service: str | None, value: bytes, source: str, *, at: int | None = None) -> Message:
    identity = blake2b(value, digest_size=16).hexdigest()
    headers = attributes(kind, source, identity, at=at, subject=service)
    return Message(None if service is None else service.encode(), value, headers)
