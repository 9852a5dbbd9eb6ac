"""A forecast in English: the same sentences on a terminal and on pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from stream.config.units import SIZE, speed_text
from stream.core.coming import Coming, Forecast, PlanForecast
from stream.core.window import HOUR_MS


def sentences(forecast: Forecast, when: Callable[[int], str]) -> list[str]:
    """What comes, plan by plan and in order; `when` writes an instant."""
    several = len(forecast.plans) > 1
    return [f"{plan.plan}: {told}" if several else told for plan in forecast.plans for told in _of_plan(plan, when)]


def _of_plan(plan: PlanForecast, when: Callable[[int], str]) -> Iterator[str]:
    moves = {coming.at for coming in plan.exact if coming.kind in ("up", "down")}
    told = [coming for coming in plan.exact if coming.kind != "stay" or coming.at not in moves]
    for (at, kind), alike in groupby(told, lambda coming: (coming.at, coming.kind)):
        yield _exact(kind, when(at), list(alike))
    estimate, pace = plan.estimate, plan.pace
    if estimate is not None and pace is not None:
        whose = (
            "at this hour's pace" if pace.until - pace.since <= 2 * HOUR_MS else f"at the pace since {when(pace.since)}"
        )
        yield f"{whose}, as an estimate: {_profile(estimate)} at {when(estimate.at)}"


def _exact(kind: str, at: str, alike: Sequence[Coming]) -> str:
    match kind:
        case "up":
            return f"back to {'; or to '.join(f'{_profile(each)}{_bound(each, at)}' for each in alike)}"
        case "down":
            return f"down to {_profile(alike[0])}{_bound(alike[0], at)}"
        case "stay":
            return f"the way up opens{_bound(alike[0], at)}"
        case "period":
            return f"a new period begins at {at}, with nothing used"
        case "credit_ends":
            return f"credit ends at {at}"
        case "exempt_ends":
            return f"exempt until {at}"
        case _:
            return f"pinned until {at}"


def _profile(coming: Coming) -> str:
    return f"{speed_text(coming.speed)} ({coming.profile})"


def _bound(coming: Coming, at: str) -> str:
    if coming.below_bytes is None:
        return f" at {at} in any case"
    if coming.below_bytes == 1:
        return f" at {at} if nothing is used until then"
    return f" at {at} if less than {rounded_down_text(coming.below_bytes)} is used until then"


def rounded_down_text(size: int) -> str:
    """So many bytes to read, and never more than there are: "666.62 MiB"."""
    unit = next((name for name in ("TiB", "GiB", "MiB", "KiB") if size >= SIZE.units[name]), "B")
    hundredths = 100 * size // SIZE.units[unit]
    return f"{hundredths // 100}{f'.{hundredths % 100:02}' if hundredths % 100 else ''} {unit}"
