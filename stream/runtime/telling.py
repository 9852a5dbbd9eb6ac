"""One line in the log of the process for each decision and warning, when it has become durable."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

from stream.core.enforced import speed_to_json
from stream.core.model import Decision, QuotaWarning

log = structlog.get_logger()


def teller() -> Callable[[Decision | QuotaWarning], None]:
    """Tells of many: to find the logger for each line would make lines a fifth dearer."""
    return partial(_tell, log.bind().info)


def _tell(info: Callable[..., None], outcome: Decision | QuotaWarning) -> None:
    """What was decided of which service, from where to where, and why; who did it, if somebody did."""
    if isinstance(outcome, QuotaWarning):
        info("quota.warning", **_place(outcome), profile=outcome.profile, percent=outcome.percent)
        return
    moved: dict[str, Any] = {"from": outcome.from_, "to": outcome.to} if outcome.to is not None else {}
    adjustment = outcome.adjustment or {}
    by = {name: adjustment[name] for name in ("id", "by", "why") if name in adjustment}
    info(
        "quota.decided", **_place(outcome), **moved, reason=outcome.reason, revision=outcome.revision,
        speed=speed_to_json(outcome.speed), **by,
    )  # fmt: skip


def _instant(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat()


def _place(outcome: Decision | QuotaWarning) -> dict[str, Any]:
    found: dict[str, Any] = {"service": outcome.service, "at": _instant(outcome.at)}
    if outcome.plan is not None:
        found["plan"] = outcome.plan
    if outcome.usage_bytes is not None:
        found |= {"usage_bytes": outcome.usage_bytes, "quota_bytes": outcome.quota_bytes}
    return found
