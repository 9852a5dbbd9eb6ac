"""What others are told of: changes, returns of speed, warnings, and alarms.  Each of them once or more, never lost."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from stream.core.enforced import check_format, text, whole
from stream.core.errors import Corrupt
from stream.core.model import Decision, QuotaWarning

NoticeKind: TypeAlias = Literal["change", "return", "warning", "alarm"]

FORMAT: Final = 1
_RISES: Final = frozenset({"stay_over", "period", "exempt"})
_RISES_IF_IT_MOVES: Final = frozenset({"credit", "reset"})


class Notice(NamedTuple):
    """One CloudEvent."""

    kind: NoticeKind | Literal["test"]
    source: str
    id: str
    """Unique among those of its source: what is told twice has the same one."""
    at: int
    subject: str
    """The service, or what an alarm is about; notices of one subject keep their order."""
    data: Mapping[str, Any]


def kind_of(outcome: Decision | QuotaWarning) -> NoticeKind:
    """`return`: the speed comes back; `change`: whatever else is decided."""
    if isinstance(outcome, QuotaWarning):
        return "warning"
    moves = outcome.to is not None
    rises = outcome.reason in _RISES or (outcome.reason in _RISES_IF_IT_MOVES and moves)
    return "return" if rises else "change"


@dataclass(frozen=True, slots=True)
class Alarm:
    """A problem that was told, or is to be."""

    id: str
    since: int
    text: str
    told: bool = False
    over: int | None = None
    """When it was over; that is to be told as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeBook:
    """What a notifier has made durable, of one partition: everything before `next` was told, but for `waiting`."""

    next: int
    waiting: frozenset[int] = frozenset()
    """Offsets."""
    refused: Mapping[int, int]
    """By offset: since when the receiver has refused it."""
    alarms: Mapping[str, Alarm]

    def to_json(self) -> dict[str, Any]:
        return {
            "version": FORMAT,
            "next": self.next,
            "waiting": sorted(self.waiting),
            "refused": [[offset, since] for offset, since in sorted(self.refused.items())],
            "alarms": [[a.id, a.since, a.text, a.told, a.over] for a in self.alarms.values()],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> NoticeBook:
        """Raises Corrupt if it is none, or one of a newer format."""
        check_format(value)
        try:
            alarms = [Alarm(text(one[0]), whole(one[1]), text(one[2]), bool(one[3]), one[4]) for one in value["alarms"]]
            return cls(
                next=whole(value["next"]),
                waiting=frozenset(whole(offset) for offset in value["waiting"]),
                refused={whole(offset): whole(since) for offset, since in value["refused"]},
                alarms={alarm.id: alarm for alarm in alarms},
            )
        except (LookupError, TypeError, ValueError) as error:
            raise Corrupt(f"the notifier's record is damaged: {error!r}; restore a backup") from error

    def looked(
        self, problems: Mapping[str, str], since: Mapping[str, int], now: int, perhaps_told: Set[str] = frozenset()
    ) -> NoticeBook:
        """With the problems (text by id) that there are now: new ones are raised, those that have gone are over.

        `since` when those are there that may be raised.  What is over before it was told is not told at all;
        `perhaps_told` are those of which nobody knows.
        """
        alarms = {}
        for alarm in self.alarms.values():
            if alarm.id in problems or alarm.over is not None:
                alarms[alarm.id] = alarm
            elif alarm.told or alarm.id in perhaps_told:
                alarms[alarm.id] = replace(alarm, over=now)
        new = [id for id in problems if id in since and id not in alarms]
        alarms |= {id: Alarm(id, since[id], problems[id]) for id in new}
        return self if alarms == self.alarms else replace(self, alarms=alarms)

    def told(self, alarm: Alarm) -> NoticeBook:
        """After it was told that it is raised, or over."""
        rest = {id: one for id, one in self.alarms.items() if id != alarm.id}
        return replace(self, alarms=rest if alarm.over is not None else rest | {alarm.id: replace(alarm, told=True)})


def notice_of_alarm(alarm: Alarm) -> Notice:
    state, at = ("raised", alarm.since) if alarm.over is None else ("over", alarm.over)
    data = {"problem": alarm.id, "state": state, "text": alarm.text, "since": alarm.since}
    return Notice("alarm", "quota-stream/notifier", f"{alarm.id}/{alarm.since}/{state}", at, alarm.id, data)
