"""What the web is told: plain values, whatever the configuration looks like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessSettings:
    """Who may come in."""

    tokens_file: Path
    user_header: str | None = None
    """In it a trusted proxy names the user who logged in there; None: there is no such proxy."""
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """From these addresses alone the header is believed."""
    operators: frozenset[str] = frozenset()
    """Of the proxy's users, those who may operate; the others may read."""


def _no_keys() -> Sequence[bytes]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    access: AccessSettings
    public_url: str | None = None
    """With it links begin, without a slash at its end; None: with the address at which this process listens."""
    secure: bool = False
    """Browsers come over https: cookies are for that alone."""
    link_keys: Callable[[], Sequence[bytes]] = _no_keys
    """Reads the keys of customers' links anew: the first one signs, each verifies; none: there are no links.  Raises
    Misconfigured."""
    frame_ancestors: tuple[str, ...] = ()
    """Origins that may embed the customer's page."""
    timezone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    """Of instants on pages, where no script knows the viewer's."""
    shadow: bool = False
    """Decisions are made, and nothing is changed on a platform."""
