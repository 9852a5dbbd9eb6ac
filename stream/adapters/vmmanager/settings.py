"""What is to be known of one VMmanager.  Whatever the vendor leaves open is a setting here, never a belief."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from stream.core.errors import Misconfigured


@dataclass(frozen=True, slots=True, kw_only=True)
class VmmanagerSettings:
    """Raises Misconfigured, with every problem, when a value cannot be."""

    url: str
    """`https://host[:port]`, without a path."""
    timezone: str
    """The platform's own zone, in which it reads `from` and `until` (IANA name)."""
    sampling_ms: int = 300_000
    """The step of its metrics: 1 s or more, a divisor of a day."""
    stamp: Literal["start", "end"] = "start"
    """Whether a point's stamp is the start or the end of the step that it covers."""
    unlimited: int | None = 0
    """The value that it shows and takes for "no limit"; None is JSON null."""
    timeout_s: float = 30.0
    """For one request, all in all."""
    suspended_s: float = 60.0
    """How long a platform that answers 503 is waited for."""
    concurrency: int = 8
    max_requests_per_second: float = 20.0
    ca_file: Path | None = None
    """Certificates to trust instead of the public ones."""
    verify: bool = True

    def __post_init__(self) -> None:
        problems = [
            *(() if self.url.startswith(("https://", "http://")) else (f"url: {self.url!r} is not https://host",)),
            *(() if _is_zone(self.timezone) else (f"timezone: {self.timezone!r} is not a known time zone",)),
            *(
                ()
                if self.sampling_ms >= 1000 and self.sampling_ms % 1000 == 0 and 86_400_000 % self.sampling_ms == 0
                else (f"sampling: {self.sampling_ms} ms is not a whole number of seconds that divides a day",)
            ),
            *(f"{name}: must be above 0" for name in _POSITIVE if getattr(self, name) <= 0),
        ]
        if problems:
            raise Misconfigured(*problems)


_POSITIVE = ("timeout_s", "suspended_s", "concurrency", "max_requests_per_second")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """E-mail and password of an administrator; the password is read anew at each login and kept nowhere."""

    email: str
    password: Callable[[], str]
    place: str = "the password"
    """Where it is kept, for messages."""

    def read(self) -> str:
        """The password.  Raises Misconfigured or OSError if there is none that can be one."""
        password = self.password().strip()
        if not password or not password.isprintable():
            raise Misconfigured(f"{self.place}: no password, which is one line of printable text; put it there")
        return password

    def __repr__(self) -> str:
        return "Credentials(...)"


@dataclass(frozen=True, slots=True)
class LongLivedToken:
    """A token made once on the platform; read anew whenever the platform refuses the one in use."""

    token: Callable[[], str]
    place: str = "the token"
    """Where it is kept, for messages."""

    def read(self) -> str:
        """The token.  Raises Misconfigured or OSError if there is none that can be one."""
        token = self.token().strip()
        if not is_token(token):
            raise Misconfigured(f"{self.place}: no token, which is printable ASCII without blanks; put it there")
        return token

    def __repr__(self) -> str:
        return "LongLivedToken(...)"


def is_token(text: str) -> bool:
    """Whether it can stand in a header."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        return False
    return True
