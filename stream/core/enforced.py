"""What is remembered of a service that the enforcer has touched: the records of `quota.enforcements`.

In the speeds of this topic None means "no limit", as the platform shows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, get_args

from stream.core.errors import Corrupt
from stream.core.speed import Speed

FORMAT = 1
DAY_MS = 86_400_000
MOST_RECEIPTS = 8
MOST_OURS = 256
"""Far more than plans have speeds; the oldest value is forgotten first."""

Result: TypeAlias = Literal["applied", "failed", "refused"]


@dataclass(frozen=True, slots=True)
class Intent:
    """What the platform was (or is about to be) asked for."""

    revision: int
    """Of the decision that it carries out; 0 when that was a former incarnation's."""
    wanted: Speed
    before: Speed
    """What the platform showed when the intent was made."""
    at: int


@dataclass(frozen=True, slots=True)
class Doubt:
    """An intent that was followed by another one before the platform had shown it: it may still take effect."""

    wanted: Speed
    at: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What came of an intent."""

    revision: int
    wanted: Speed
    result: Result
    shown: Speed | None
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Enforcement:
    """One service.  It is written before the platform is asked for anything, so what we may have done is in here."""

    service: str
    incarnation: int
    original: Speed
    """The speed that the platform had before we touched it, or that somebody else gave it since."""
    intent: Intent | None = None
    """The last one; None while all that is known is an imported original."""
    settled: bool = False
    """The platform has shown what the last intent asked for."""
    ours: tuple[Speed, ...] = ()
    """Every value that an intent of this incarnation asked for, oldest first."""
    doubts: tuple[Doubt, ...] = ()
    """The newest of each value, also of a former incarnation; those older than a day go with the next intent."""
    repairs: tuple[int, ...] = ()
    """Instants of the repairs of the last day."""
    slowed_at: int | None = None
    """When an intent last made the service slower than it was: the brake counts these."""
    receipts: tuple[Receipt, ...] = ()

    @property
    def position(self) -> tuple[int, int]:
        """(incarnation, revision) of what was last carried out: nothing older is ever posted."""
        return self.incarnation, self.intent.revision if self.intent else 0

    def doubtful(self, now: int) -> tuple[Doubt, ...]:
        """What was asked for within a day and never seen to take effect: it may still."""
        doubts = {doubt.wanted: doubt for doubt in self.doubts if doubt.at > now - DAY_MS}
        intent = self.intent
        if intent is not None and intent.at > now - DAY_MS:
            posted_over_itself = intent.revision > 0 and intent.before == intent.wanted
            if posted_over_itself or not self.settled:
                doubts[intent.wanted] = Doubt(intent.wanted, intent.at)
        return tuple(doubts.values())

    def with_receipt(self, result: Result, shown: Speed | None, now: int) -> Enforcement:
        """As it is after its last intent came to this end.  The same failure again changes nothing."""
        assert self.intent is not None, "a receipt is for an intent"
        last = self.receipts[-1] if self.receipts else None
        receipt = Receipt(self.intent.revision, self.intent.wanted, result, shown, now)
        if result != "applied" and last is not None and replace(receipt, at=last.at) == last:
            return self
        receipts = (*self.receipts, receipt)[-MOST_RECEIPTS:]
        return replace(self, settled=self.settled or result == "applied", receipts=receipts)

    def to_json(self) -> dict[str, Any]:
        return {
            "version": FORMAT,
            "service": self.service,
            "incarnation": self.incarnation,
            "original": speed_to_json(self.original),
            "intent": None if self.intent is None else _intent_to_json(self.intent),
            "settled": self.settled,
            "ours": [speed_to_json(speed) for speed in self.ours],
            "doubts": [{"wanted": speed_to_json(doubt.wanted), "at": doubt.at} for doubt in self.doubts],
            "repairs": list(self.repairs),
            "slowed_at": self.slowed_at,
            "receipts": [_receipt_to_json(receipt) for receipt in self.receipts],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Enforcement:
        """Raises Corrupt if it is no such record or one of a newer format."""
        check_format(value)
        try:
            intent = value["intent"]
            return cls(
                service=text(value["service"]),
                incarnation=whole(value["incarnation"]),
                original=speed_from_json(value["original"]),
                intent=None if intent is None else _intent_from_json(intent),
                settled=bool(value["settled"]),
                ours=tuple(speed_from_json(speed) for speed in value["ours"]),
                doubts=tuple(Doubt(speed_from_json(it["wanted"]), whole(it["at"])) for it in value["doubts"]),
                repairs=tuple(whole(at) for at in value["repairs"]),
                slowed_at=None if value["slowed_at"] is None else whole(value["slowed_at"]),
                receipts=tuple(_receipt_from_json(receipt) for receipt in value["receipts"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise Corrupt(f"a record of quota.enforcements is damaged: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Switch:
    """What an operator or the brake has set for one platform."""

    released: bool = False
    """All originals were given back; nothing is enforced until `platform allow`."""
    braked: bool = False
    """Slowing waits for `platform allow`."""
    allowed_until: int = 0
    """The brake does not hold before this instant (ms)."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How many services are in one trouble, and the names of some of them."""

    services: int
    some: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Switches:
    """The one record of a partition of `quota.enforcements` that is about no service."""

    next: int | None = None
    """The control records of `quota.profile-changes` before this offset are obeyed; None: none was read yet."""
    platforms: Mapping[str, Switch] = field(default_factory=dict)
    standing: Mapping[str, Mapping[str, Standing]] = field(default_factory=dict)
    """By platform and trouble, as of the last comparison; see `runtime.site.EnforcementObserver.standing`."""

    KEY = "@enforcer"

    def of(self, platform: str) -> Switch:
        return self.platforms.get(platform, Switch())

    def with_switch(self, platform: str, switch: Switch) -> Switches:
        return replace(self, platforms={**self.platforms, platform: switch})

    def to_json(self) -> dict[str, Any]:
        platforms = {
            name: {"released": it.released, "braked": it.braked, "allowed_until": it.allowed_until}
            for name, it in self.platforms.items()
        }
        standing = {
            name: {trouble: {"services": it.services, "some": list(it.some)} for trouble, it in troubles.items()}
            for name, troubles in self.standing.items()
        }
        return {"version": FORMAT, "next": self.next, "platforms": platforms, "standing": standing}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Switches:
        """Raises Corrupt if it is no such record or one of a newer format."""
        check_format(value)
        try:
            platforms = {
                text(name): Switch(bool(it["released"]), bool(it["braked"]), whole(it["allowed_until"]))
                for name, it in value["platforms"].items()
            }
            standing = {
                text(name): {
                    text(trouble): Standing(whole(it["services"]), tuple(text(service) for service in it["some"]))
                    for trouble, it in troubles.items()
                }
                for name, troubles in value["standing"].items()
            }
            return cls(None if value["next"] is None else whole(value["next"]), platforms, standing)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Corrupt(f"the record {cls.KEY} of quota.enforcements is damaged: {error!r}") from error


def check_format(value: Mapping[str, Any]) -> None:
    """Raises Corrupt unless the record is one that this program can read."""
    version = value.get("version") if isinstance(value, Mapping) else None
    if not isinstance(version, int):
        raise Corrupt("a record of quota.enforcements has no version")
    if version > FORMAT:
        raise Corrupt(f"a record of quota.enforcements has format {version}, newer than this program's; upgrade it")


def speed_to_json(speed: Speed) -> dict[str, int | None]:
    return {"in": speed.in_, "out": speed.out}


def speed_from_json(value: Mapping[str, Any]) -> Speed:
    """Raises KeyError, TypeError or ValueError if it is none."""
    speed = Speed(value["in"], value["out"])
    for direction in speed:
        if direction is not None and whole(direction) < 0:
            raise ValueError(f"a speed is negative: {direction}")
    return speed


def _intent_to_json(intent: Intent) -> dict[str, Any]:
    wanted, before = speed_to_json(intent.wanted), speed_to_json(intent.before)
    return {"revision": intent.revision, "wanted": wanted, "before": before, "at": intent.at}


def _intent_from_json(value: Mapping[str, Any]) -> Intent:
    wanted, before = speed_from_json(value["wanted"]), speed_from_json(value["before"])
    return Intent(whole(value["revision"]), wanted, before, whole(value["at"]))


def _receipt_to_json(receipt: Receipt) -> dict[str, Any]:
    return {
        "revision": receipt.revision,
        "wanted": speed_to_json(receipt.wanted),
        "result": receipt.result,
        "shown": None if receipt.shown is None else speed_to_json(receipt.shown),
        "at": receipt.at,
    }


def _receipt_from_json(value: Mapping[str, Any]) -> Receipt:
    result, shown = value["result"], value["shown"]
    if result not in get_args(Result):
        raise ValueError(f"unknown result {result!r}")
    return Receipt(
        whole(value["revision"]),
        speed_from_json(value["wanted"]),
        result,
        None if shown is None else speed_from_json(shown),
        whole(value["at"]),
    )


def whole(value: object) -> int:
    """The integer that `value` is; raises TypeError if it is none."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"not an integer: {value!r}")
    return value


def text(value: object) -> str:
    """The text that `value` is; raises TypeError if it is none."""
    if not isinstance(value, str):
        raise TypeError(f"not a text: {value!r}")
    return value
