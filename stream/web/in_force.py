"""Which speed a service really has, as far as enforcers know: what is due is not always so, and not at once."""

from __future__ import annotations

from functools import reduce
from typing import Final

from stream.core.speed import ORIGINAL, Speed
from stream.replica.model import PlatformStatus, Status

ROUNDING_BITS: Final = 1_000_000
"""Platforms set whole Mbit/s: what differs by less is the same."""


def is_slowed(status: Status, speed: Speed) -> bool:
    """Whether a speed is less than where the service's plans begin."""
    first: Speed = reduce(Speed.least, (plan.profiles[0].speed for plan in status.plans.values()), ORIGINAL)
    return speed.least(first) != first


def original_of(status: Status) -> Speed:
    """The speed that the platform had before us, as far as it was ever noted."""
    return ORIGINAL if status.enforcement is None else status.enforcement.original


def wanted_of(status: Status) -> Speed:
    """What the platform is to show: a plan never makes a service faster than it was."""
    return status.view.speed.least(original_of(status))


def other_speed(status: Status, platform: PlatformStatus | None) -> Speed | None:
    """The speed that the service has, if that is another one than `wanted_of`: its platform is released, the brake
    holds it, or it is not set yet.  None as well where nothing of ours sets speeds."""
    if platform is None or not platform.configured or platform.shadow:
        return None
    noted, original = status.enforcement, original_of(status)
    if noted is None or noted.intent is None:  # what is fast enough is not touched, and so not noted
        return original if is_slowed(status, status.view.speed) else None
    shown = noted.intent.wanted if noted.settled else noted.intent.before
    has = original if platform.released else shown
    return None if all(map(_are_near, has, wanted_of(status))) else has


def _are_near(one: int | None, two: int | None) -> bool:
    return one == two or (one is not None and two is not None and abs(one - two) < ROUNDING_BITS)
