"""How many wrong tokens a client may show: ten, and then one more every minute."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final, NamedTuple

MOST_FAILURES: Final = 10
AGAIN_AFTER_MS: Final = 60_000
MOST_CLIENTS: Final = 10_000
"""Clients that are remembered; the one that failed longest ago is forgotten first."""


class Failure(NamedTuple):
    """One wrong token."""

    within: bool
    """Within the limit."""
    left_out: int | None
    """Failures of the client that no line of a log told before this one; None: this one is not told either.  Beyond the
    limit the first one is, and then one a minute."""


@dataclass(slots=True)
class _Client:
    failures: float
    at: int
    limited_at: int | None = None
    """When a failure beyond the limit was told last."""
    left_out: int = 0


class Failures:
    """Right tokens pass however often a client failed: they cannot be guessed, and whoever is called at night may share
    an address with a program that has an old one.  The limit keeps wrong ones from filling time and logs."""

    def __init__(self) -> None:
        self._clients: dict[str, _Client] = {}

    def note(self, client: str, now: int) -> Failure:
        """One more."""
        known = self._clients.pop(_network(client), None) or _Client(0, now)
        self._clients[_network(client)] = known
        if len(self._clients) > MOST_CLIENTS:
            del self._clients[next(iter(self._clients))]
        known.failures = max(0.0, known.failures - max(0, now - known.at) / AGAIN_AFTER_MS)
        known.at = now
        within = known.failures + 1 <= MOST_FAILURES
        if within:
            known.failures += 1
        elif known.limited_at is not None and now - known.limited_at < AGAIN_AFTER_MS:
            known.left_out += 1
            return Failure(within, None)
        else:
            known.limited_at = now
        left_out, known.left_out = known.left_out, 0
        return Failure(within, left_out)


def _network(client: str) -> str:
    """Who has an IPv6 address has 2^64 of them."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else client
