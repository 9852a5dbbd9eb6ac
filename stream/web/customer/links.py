"""Links that open one service's page and nothing else, until they expire.

    <public_url>/c/<service>.<expires>.<signature>

The service's id (UTF-8) and the signature are base64url without padding; `expires` is in seconds since the epoch; the
signature is the HMAC-SHA256 of `<service>.<expires>` as it stands in the link.  The key is the content of the key file,
as bytes, without white space around it.  Anybody who has the key can make links: README shows how in PHP and Python.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

from stream.core.errors import Misconfigured
from stream.core.model import MAX_INSTANT
from stream.web.settings import WebSettings

LEAST_KEY_BYTES: Final = 32
MOST_CHARACTERS: Final = 1500
"""Of a token: an id of 200 characters may be 800 bytes."""

_TOKEN = re.compile(r"([A-Za-z0-9_-]+\.[0-9]{1,12})\.([A-Za-z0-9_-]{43})")


def make_link(settings: WebSettings, service: str, *, expires: int) -> str:
    """The whole URL, good until `expires` (ms).  Raises Misconfigured if links cannot be made."""
    keys = usable(settings.link_keys())
    if not keys:
        raise Misconfigured(
            "links need a key; write one (`openssl rand -hex 32 > link.key`) and name it: link_key_files"
        )
    if settings.public_url is None:
        raise Misconfigured("links need to begin with an address that customers reach; write it as public_url")
    return f"{settings.public_url}/c/{sign(service, expires, keys[0])}"


def sign(service: str, expires: int, key: bytes) -> str:
    """The token of a link."""
    signed = f"{_text(service.encode())}.{-(-expires // 1000)}"
    return f"{signed}.{_signature(signed, key)}"


def service_of(token: str, keys: Sequence[bytes], now: int) -> str | None:
    """Whose page the token opens; None if it was signed with none of the keys, or has expired.

    Takes the same time however much of a signature is right."""
    match = _TOKEN.fullmatch(token) if len(token) <= MOST_CHARACTERS else None
    if match is None:
        return None
    signed, signature = match.groups()
    fitting = [hmac.compare_digest(_signature(signed, key), signature) for key in usable(keys)]
    if not any(fitting):
        return None
    name, _, expires_s = signed.partition(".")
    if now >= min(int(expires_s) * 1000, MAX_INSTANT):
        return None
    try:
        return base64.b64decode(name + "=" * (-len(name) % 4), b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def usable(keys: Sequence[bytes]) -> Sequence[bytes]:
    """The keys.  Raises Misconfigured if one is so short that it could be guessed."""
    if any(len(key) < LEAST_KEY_BYTES for key in keys):
        cure = "make one with `openssl rand -hex 32`"
        raise Misconfigured(f"a key for links is shorter than {LEAST_KEY_BYTES} characters; {cure}")
    return keys


def _signature(signed: str, key: bytes) -> str:
    return _text(hmac.new(key, signed.encode(), hashlib.sha256).digest())


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
