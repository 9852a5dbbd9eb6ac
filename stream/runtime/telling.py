"""One line in the log of the process for each decision and warning, when it has become durable."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

import structlog

from stream.core.model import Decision, QuotaWarning
from stream.core.speed import Speed

log = structlog.get_logger()


def teller() -> Callable[[Decision | QuotaWarning], None]:
    """Tells of many: to find the logger for each line would make lines a fifth dearer."""
    return partial(_tell, log.bind().info)


def _tell(info: Callable[..., None], outcome: Decision | QuotaWarning) -> None:
    """What was decided of which service, from where to where, and why; who did it, if somebody did."""
    told: dict[str, Any] = {"service": outcome.service, "at": _instant(outcome.at)}
    if outcome.plan is not None:
        told["plan"] = outcome.plan
    if outcome.usage_bytes is not None:
        told["usage_bytes"], told["quota_bytes"] = outcome.usage_bytes, outcome.quota_bytes
    if isinstance(outcome, QuotaWarning):
        info("quota.warning", **told, profile=outcome.profile, percent=outcome.percent)
        return
    if outcome.to is not None:
        told["from"], told["to"] = outcome.from_, outcome.to
    told["reason"], told["revision"] = outcome.reason, outcome.revision
    told |= fields_of("speed", outcome.speed)
    if outcome.adjustment is not None:
        told |= {name: outcome.adjustment[name] for name in ("id", "by", "why") if name in outcome.adjustment}
    info("quota.decided", **told)


@lru_cache(maxsize=256)
def _instant(at: int) -> str:
    """Of many the same: they end at the same time."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat()


def fields_of(name: str, speed: Speed | None) -> dict[str, int | None]:
    """A speed as two fields, in bit/s; None where there is no limit, or it is not known."""
    in_, out = speed or (None, None)
    return {f"{name}_in": in_, f"{name}_out": out}
