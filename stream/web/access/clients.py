"""From which address a request really comes, and which user a trusted proxy names."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from starlette.requests import Request

from stream.web.access.principal import Principal, is_name
from stream.web.settings import AccessSettings


def client_of(request: Request, settings: AccessSettings) -> str:
    """The address that limits and logs go by.

    Behind a proxy that we trust, what it wrote into `X-Forwarded-For`, read from the right: whatever stands left of the
    first address that we do not trust was sent by that one, and may be made up.
    """
    here = request.client.host if request.client else ""
    if not _is_proxy(here, settings.proxies):
        return _plain(here)
    forwarded = [one.strip() for line in request.headers.getlist("x-forwarded-for") for one in line.split(",")]
    for address in reversed(forwarded):
        if _address(address) is None:
            break
        here = address
        if not _is_proxy(address, settings.proxies):
            break
    return _plain(here)


def proxied_user(request: Request, settings: AccessSettings) -> Principal | None:
    """Whom the proxy vouches for; None unless one is configured and the request comes from where that is."""
    if settings.user_header is None or request.client is None:
        return None
    if not _is_proxy(request.client.host, settings.proxies):
        return None
    names = request.headers.getlist(settings.user_header)
    if len(names) != 1 or not is_name(names[0]):  # of two, one may be the client's own
        return None
    return Principal(names[0], "operate" if names[0] in settings.operators else "read")


def _is_proxy(host: str, proxies: Sequence[IPv4Network | IPv6Network]) -> bool:
    address = _address(host)
    return address is not None and any(address in network for network in proxies)


def _plain(host: str) -> str:
    """`192.0.2.7` for `::ffff:192.0.2.7`, as a socket for both kinds of addresses has it."""
    return str(_address(host) or host)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
