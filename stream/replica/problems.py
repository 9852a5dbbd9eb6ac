"""What a person should mend, judged from what is known: the same for the command `status`, the pages and the alarms."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from stream.config.units import plural, speed_text
from stream.core.enforced import Enforcement, Standing, Switches
from stream.replica.model import Problem, SourceStatus
from stream.replica.settings import ReplicaSettings
from stream.replica.words import instant_text
from stream.runtime.controls import merged
from stream.runtime.plans import InForce

LAG_MS = 60_000
"""What was appended so long ago and is not counted yet is a problem."""
DAY_MS = 86_400_000
MOST_SHOWN = 10

ADOPT = "`adopt` in the configuration or `quota-stream platform originals import`"
TROUBLES = {
    "suspect": (
        f"has a slow speed that we did not set, and is left alone; settle it with {ADOPT}",
        f"have a slow speed that we did not set, and are left alone; settle them with {ADOPT}",
    ),
    "left": (
        "was repaired too often within a day and is left as somebody else set it",
        "were repaired too often within a day and are left as somebody else set them",
    ),
    "yielded": (
        "has a speed that somebody else set while it is slowed",
        "have a speed that somebody else set while they are slowed",
    ),
}
"""What waits for somebody, in words: of one service, and of many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is judged."""

    now: int
    sources: Mapping[str, SourceStatus] = field(default_factory=dict)
    uncounted: Mapping[int, int] = field(default_factory=dict)
    """By partition: append time of the oldest record that is not counted yet."""
    checkpointed_at: int | None = None
    """When a tracker has last made anything durable; None: never."""
    in_force: Sequence[InForce] = ()
    """By partition."""
    switches: Sequence[Switches] = ()
    """By partition."""
    unsettled: Sequence[Enforcement] = ()
    letters: Mapping[tuple[str, bool], int] = field(default_factory=dict)
    """Of the last day: (reason, whether it is an adjustment that was refused) -> how many."""
    damaged: Sequence[str] = ()
    """What of the log cannot be shown, and why."""
    unreachable: str = ""
    """Why something cannot be read now."""
    is_complete: bool = True
    """Everything was read once: before that nothing is known to be missing."""


def problems_of(known: Known, settings: ReplicaSettings) -> list[Problem]:
    """In the order in which they matter."""
    if not known.is_complete:
        return [*_unreadable(known)]
    return [
        *_unreadable(known),
        *_uncounted(known, settings),
        *_silent(known, settings),
        *_plans(known, settings),
        *_braked(known),
        *_standing(known),
        *_not_shown(known, settings),
        *_dead_letters(known),
    ]


def notes_of(known: Known) -> list[Problem]:
    """What one should know and need not mend."""
    notes = []
    for name, switch in sorted(merged(known.switches).items()):
        if switch.released and not waiting(known.switches, name, "unreturned").services:
            notes.append(
                Problem(
                    f"released/{name}",
                    f"{name}: released, all is returned and nothing is enforced; "
                    f"`quota-stream platform allow {name}` begins again",
                )
            )
    refused = Counter({reason: count for (reason, is_adjustment), count in known.letters.items() if is_adjustment})
    for reason, count in refused.most_common(MOST_SHOWN):
        what = plural(count, "adjustment was refused", "adjustments were refused")
        text = f"{count} {what} within a day: {reason}; see `quota-stream tail quota.dead-letters`"
        notes.append(Problem(f"refused-adjustments/{reason}", text))
    return notes


def waiting(switches: Sequence[Switches], platform: str, trouble: str) -> Standing:
    """How many services of a platform are in a trouble, over all partitions."""
    found = [each for stored in switches if (each := stored.standing.get(platform, {}).get(trouble))]
    return Standing(sum(each.services for each in found), tuple(name for each in found for name in each.some))


def _unreadable(known: Known) -> Iterator[Problem]:
    for text in known.damaged:
        yield Problem(f"damaged/{text.partition(': ')[0]}", f"{text}; what was whole before is shown")
    if known.unreachable:
        yield Problem("unreachable", f"the log cannot be read now: {known.unreachable}")


def _uncounted(known: Known, settings: ReplicaSettings) -> Iterator[Problem]:
    late = {partition: since for partition, since in known.uncounted.items() if since < known.now - LAG_MS}
    last = known.checkpointed_at
    if late and (last is None or last < known.now - LAG_MS):
        oldest = instant_text(min(late.values()))
        yield Problem(
            "no-tracker", f"no tracker is running: records since {oldest} are not counted; start `quota-stream run`"
        )
        return
    for partition, since in sorted(late.items()):
        what = f"partition {partition}: records since {instant_text(since)} are not counted"
        yield Problem(f"behind/{partition}", f"{what}; is `quota-stream run` running?")
    patience_ms = max((platform.patience_ms for platform in settings.platforms.values()), default=None)
    if patience_ms is not None and last is not None and known.now - last > patience_ms:
        yield Problem(
            "no-tracker",
            f"no tracker is running, or nothing is collected: nothing was counted since {instant_text(last)}; "
            "start `quota-stream run`",
        )


def _silent(known: Known, settings: ReplicaSettings) -> Iterator[Problem]:
    for name, platform in settings.platforms.items():
        source = known.sources.get(name)
        if source is None or source.counted_to is None:
            text = f"{name}: nothing is counted yet; see the log of `run`, and try `quota-stream check --live`"
            yield Problem(f"stale-source/{name}", text)
        elif known.now - source.counted_to > platform.patience_ms:
            end = instant_text(source.counted_to)
            text = f"{name}: there is a service that is counted to {end} only; see the log of `run`"
            yield Problem(f"stale-source/{name}", text)


def _plans(known: Known, settings: ReplicaSettings) -> Iterator[Problem]:
    versions = [each.version for each in known.in_force]
    if len(set(versions)) > 1:
        text = f"partitions have different versions of the plans, {versions}; run `quota-stream plans apply`"
        yield Problem("plans-differ", text)
    elif settings.plans and not all(each.are(settings.plans, settings.mappings) for each in known.in_force):
        text = "the plans in force are not those of the configuration; see `quota-stream plans diff`"
        yield Problem("plans-of-configuration", text)


def _braked(known: Known) -> Iterator[Problem]:
    for name, switch in sorted(merged(known.switches).items()):
        if switch.braked and not switch.released:
            held = waiting(known.switches, name, "braked")
            wait = (
                f", {held.services} {plural(held.services, 'waits', 'wait')}: {', '.join(held.some[:MOST_SHOWN])}"
                if held.services
                else ""
            )
            text = f"too many would be slowed at once{wait}; look at them, then `quota-stream platform allow {name}`"
            yield Problem(f"brake/{name}", f"{name}: {text}")


def _standing(known: Known) -> Iterator[Problem]:
    for name, switch in sorted(merged(known.switches).items()):
        unreturned = waiting(known.switches, name, "unreturned")
        if switch.released and unreturned.services:
            text = (
                f"{name}: released; {unreturned.services} not yet returned: {', '.join(unreturned.some[:MOST_SHOWN])}"
            )
            yield Problem(f"unreturned/{name}", text)
    troubled: defaultdict[str, set[str]] = defaultdict(set)
    for stored in known.switches:
        for name, troubles in stored.standing.items():
            troubled[name] |= troubles.keys()
    for name, kinds in sorted(troubled.items()):
        for trouble in [each for each in TROUBLES if each in kinds]:
            found = waiting(known.switches, name, trouble)
            if found.services:
                named = ", ".join(found.some[:MOST_SHOWN])
                count = found.services
                what = f"{count} {plural(count, 'service')} {plural(count, *TROUBLES[trouble])}"
                yield Problem(f"{trouble}/{name}", f"{name}: {what}: {named}")


def _not_shown(known: Known, settings: ReplicaSettings) -> Iterator[Problem]:
    """Where the platform does not show what it was asked for, in more than the time it may take."""
    found = [problem for each in known.unsettled if (problem := _unsettled(known.now, each, settings))]
    yield from found[:MOST_SHOWN]
    if len(found) > MOST_SHOWN:
        more = len(found) - MOST_SHOWN
        text = f"and {more} more {plural(more, 'service')} whose platform does not show what was asked for"
        yield Problem("not-shown", text)


def _unsettled(now: int, noted: Enforcement, settings: ReplicaSettings) -> Problem | None:
    platform = settings.platforms.get(noted.service.partition("/")[0])
    if platform is None or noted.settled or noted.intent is None or now - noted.intent.at <= platform.shown_within_ms:
        return None
    came = f" ({noted.receipts[-1].result})" if noted.receipts else ""
    wanted = speed_text(noted.intent.wanted).replace("original", "no limit")
    text = f"{noted.service}: asked for {wanted} at {instant_text(noted.intent.at)}, not shown{came}"
    return Problem(f"not-shown/{noted.service}", text, noted.service)


def _dead_letters(known: Known) -> Iterator[Problem]:
    reasons = Counter({reason: count for (reason, is_adjustment), count in known.letters.items() if not is_adjustment})
    for reason, count in reasons.most_common(MOST_SHOWN):
        what = plural(count, "record was rejected", "records were rejected")
        text = f"{count} {what} within a day: {reason}; see `quota-stream tail quota.dead-letters`"
        yield Problem(f"dead-letters/{reason}", text)
