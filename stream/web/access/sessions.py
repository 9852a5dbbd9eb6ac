"""Who is logged in to the pages.  In memory: a restart logs everybody out."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final, NamedTuple

LIFETIME_MS: Final = 12 * 3_600_000
"""A shift; then one logs in again."""

MOST_SESSIONS: Final = 1000
"""The oldest ends when another begins."""


class Session(NamedTuple):
    token_sha256: str
    """Of the token that it was begun with: it says who this is for as long as it is valid."""
    begun_at: int


class Sessions:
    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}  # by the hash of their ids, oldest first

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, token_sha256: str, now: int) -> str:
        """The id of a new session: a secret of its browser."""
        identity = secrets.token_urlsafe(32)
        self._sessions[_key(identity)] = Session(token_sha256, now)
        if len(self._sessions) > MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return identity

    def find(self, identity: str, now: int) -> Session | None:
        session = self._sessions.get(_key(identity))
        if session is not None and not 0 <= now - session.begun_at < LIFETIME_MS:
            self.end(identity)
            return None
        return session

    def end(self, identity: str) -> None:
        self._sessions.pop(_key(identity), None)


def _key(identity: str) -> str:
    """What an attacker can choose is hashed before it is looked up, so that time tells nothing."""
    return hashlib.sha256(identity.encode("utf-8", "surrogatepass")).hexdigest()
