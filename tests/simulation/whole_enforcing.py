"""What an enforcer must never have done, whatever befell it: seen from its records and the platform's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from stream.core.enforced import DAY_MS
from tests.day.books import MBIT, least
from tests.simulation.platforms import Network, Post
from tests.simulation.whole_books import Json, Kept, WholeBooks
from tests.simulation.whole_plot import Plot
from tests.simulation.whole_provider import Limits, Provider

REPAIRS_A_DAY = 3
SOON_MS = 15_000
BRAKE_MS = 600_000
"""Over so long it counts."""
BRAKED_MS = 10_000
"""What was admitted when the brake began to hold may be under way for so long."""


def wrong_enforcing(plot: Plot, books: WholeBooks, provider: Provider, network: Network) -> Iterable[str]:
    if plot.kind == "shadow" and network.posts:
        yield f"{len(network.posts)} posts in shadow"
    yield from chain.from_iterable(_wrong_post(books, post) for post in network.posts)
    for name, kept in books.kept.items():
        yield from _wrong_originals(name, kept, provider)
        yield from _wrong_repairs(name, kept, provider)
        if plot.kind == "yield":
            yield from _wrong_yielding(name, kept)
    yield from _wrong_brake(books)
    if plot.kind == "brake":
        yield from _brakeless(plot, books)
    if plot.kind == "slow tasks":
        yield from _late(plot, books, provider)


def _wrong_post(books: WholeBooks, post: Post) -> Iterator[str]:
    """For each post its process must have made an intent durable before, for exactly that, as the last one."""
    intents = [
        each.document["intent"]["wanted"]
        for each in books.kept.get(post.service, ())
        if each.place < post.known and each.who == post.who and each.document and each.document["intent"]
    ]
    wanted = _mbit(intents[-1]) if intents else None
    posted = tuple(limit or None for limit in post.limits)
    if wanted != posted:
        yield f"{post.service}: {post.who} posted {posted} without a durable intent for it; its last one is {wanted}"


def _wrong_originals(name: str, kept: list[Kept], provider: Provider) -> Iterator[str]:
    """What is remembered as an original must have been set by somebody else."""
    changes = provider.changes[int(name.removeprefix("vm1/"))]
    for each in kept:
        if each.document is None:
            continue
        original = _mbit(each.document["original"])
        for way, key in enumerate(("net_in_mbitps", "net_out_mbitps")):
            theirs = {change.limits.get(key) for change in changes if not change.ours and change.at <= each.at}
            if original[way] not in theirs:
                yield f"{name}: {each.who} takes {original} for its original, which nobody has set"
                return


def _wrong_repairs(name: str, kept: list[Kept], provider: Provider) -> Iterator[str]:
    """At most three a day, and only where the platform has shown something else than we had asked for."""
    former: Json | None = None
    for each in kept:
        document = each.document
        if document is None:
            former = None
            continue
        repairs = document["repairs"]
        if len([at for at in repairs if at > max(repairs) - DAY_MS]) > REPAIRS_A_DAY:
            yield f"{name}: {each.who} makes repair number {len(repairs)} of a day"
            return
        new = bool(repairs) and (former is None or repairs[-1] not in former["repairs"])
        if new and former is not None and not _differed(name, former, each.at, provider):
            yield f"{name}: {each.who} repairs what was as it should be: it believed an old list"
            return
        former = document


def _wrong_yielding(name: str, kept: list[Kept]) -> Iterator[str]:
    """What somebody else has set while it was slowed stays, where the configuration yields."""
    former: Json | None = None
    for each in kept:
        document = each.document
        if document and former and former["intent"] and set(document["repairs"]) - set(former["repairs"]):
            intent, doubts = former["intent"], [doubt["wanted"] for doubt in former["doubts"]]
            known = [
                _mbit(it) for it in (intent["wanted"], intent["before"], former["original"], *former["ours"], *doubts)
            ]
            before = _mbit(document["intent"]["before"])
            if any(before[way] not in {speed[way] for speed in known} for way in (0, 1)):
                yield f"{name}: {each.who} repairs {before}, which somebody else has set and which it has to yield to"
        former = document


def _differed(name: str, former: Json, until: int, provider: Provider) -> bool:
    """Whether the platform has shown anything else than the intent wanted between its receipt and an instant."""
    wanted = _mbit(former["intent"]["wanted"])
    receipts = [receipt["at"] for receipt in former["receipts"] if receipt["result"] == "applied"]
    since = receipts[-1] if receipts else former["intent"]["at"]
    shown: dict[str, int | None] = {}
    for change in sorted(provider.changes[int(name.removeprefix("vm1/"))], key=lambda one: one.at):
        if change.at > until:
            break
        before = shown.get("net_in_mbitps"), shown.get("net_out_mbitps")
        shown |= change.limits
        if change.at > since and before != wanted:
            return True
    return (shown.get("net_in_mbitps"), shown.get("net_out_mbitps")) != wanted


def _wrong_brake(books: WholeBooks) -> Iterator[str]:
    """While the brake of a partition holds nothing is slowed there that was not slowed shortly before."""
    for partition, since, until in _held(books):
        for name, kept in books.kept.items():
            slowed = sorted({each.document["slowed_at"] or 0 for each in kept if each.document})
            for each in kept:
                intent = each.document and each.document["intent"]
                if each.partition != partition or not intent or not since + BRAKED_MS < each.at < until:
                    continue
                newest = each.document["slowed_at"] if each.document else None
                before = [at for at in slowed if newest is not None and newest - 600_000 <= at < newest]
                if newest == intent["at"] and newest > since + BRAKED_MS and not before:
                    yield f"{name}: {each.who} slows it although the brake holds"


def _brakeless(plot: Plot, books: WholeBooks) -> Iterator[str]:
    """Before anybody allows it no more are slowed in ten minutes, of one partition, than the brake lets pass."""
    slowings: dict[int, set[tuple[int, str]]] = {}
    for name, kept in books.kept.items():
        for each in kept:
            slowed_at = each.document and each.document["slowed_at"]
            if slowed_at and slowed_at < plot.end_ms:
                slowings.setdefault(each.partition, set()).add((slowed_at, name))
    for partition, found in slowings.items():
        for at, _ in sorted(found):
            names = {name for other, name in found if at - BRAKE_MS < other <= at}
            fresh = {name for name in names if not any(who == name and then < at - BRAKE_MS for then, who in found)}
            if len(fresh) > plot.brake:
                yield f"partition {partition}: no brake held when {sorted(fresh)} were slowed within ten minutes"
                return


def _late(plot: Plot, books: WholeBooks, provider: Provider) -> Iterator[str]:
    """Where nothing goes wrong, what is decided is on the platform soon, unless something else is decided before."""
    soon_ms = SOON_MS + 2 * plot.knobs.task_ms
    for name, outcomes in books.outcomes.items():
        id = int(name.removeprefix("vm1/"))
        original = provider.world.limits(id, plot.start_ms)
        decisions = [each for each in outcomes if each["type"] == "decision"]
        shown_at = [books.shown_at[name, each["incarnation"], each["revision"]] for each in decisions]
        for decision, at, next_at in zip(decisions, shown_at, (*shown_at[1:], provider.world.now()), strict=True):
            due = least(original, [bits and bits // MBIT for bits in decision["speed"]])
            if next_at > at + soon_ms and provider.world.limits(id, at + soon_ms) != due:
                yield f"{name}: its speed is not {due} {soon_ms // 1000} s after revision {decision['revision']}"


def _held(books: WholeBooks) -> Iterator[tuple[int, int, int]]:
    """(partition, since, until)"""
    open_: dict[int, int] = {}
    for each in books.switches:
        switch: Any = (each.document or {}).get("platforms", {}).get("vm1", {})
        if switch.get("braked") and each.partition not in open_:
            open_[each.partition] = each.at
        elif not switch.get("braked") and each.partition in open_:
            yield each.partition, open_.pop(each.partition), each.at
    for partition, since in open_.items():
        yield partition, since, 1 << 60


def _mbit(speed: Json) -> Limits:
    in_, out = (None if speed[way] is None else speed[way] // MBIT for way in ("in", "out"))
    return in_, out
