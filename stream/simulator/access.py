"""Who may call: the administrator's e-mail and password, tokens that die of inactivity, tokens with a date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from stream.core.errors import Rejected
from stream.simulator.habits import mix
from stream.simulator.knobs import Knobs

MOST_TOKENS = 1000
"""The oldest is forgotten when there are more."""


@dataclass(slots=True)
class Token:
    id: int
    text: str
    expires: int
    """Ms; moved on by each use, unless it has a fixed date."""
    fixed: bool


class Access:
    """The tokens that are good.  Their texts follow from the seed, so a run can be repeated byte for byte."""

    def __init__(
        self, knobs: Knobs, seed: int, *, email: str = "admin@example.com", password: str | None = None
    ) -> None:
        self.email = email
        self.password = password or f"{mix(seed, 1001):016x}"
        self.tokens: dict[str, Token] = {}
        self._knobs = knobs
        self._seed = seed
        self._count = 0
        self._lasting = f"{mix(seed, 1002):016x}{mix(seed, 1003):016x}"

    def lasting(self) -> str:
        """A long-lived token that every start with the same seed knows, and that `lose_tokens` spares."""
        self.tokens.setdefault(self._lasting, Token(1, self._lasting, 1 << 48, fixed=True))
        return self._lasting

    def login(self, email: object, password: object, now: int) -> Token | None:
        """None: wrong e-mail or password."""
        if (email, password) != (self.email, self.password):
            return None
        return self._issue(now + self._knobs.token_life_ms, fixed=False)

    def issue(self, expires_at: object) -> Token:
        """A token until `YYYY-MM-DD HH:MM:SS` (in UTC); raises Rejected."""
        try:
            until = datetime.strptime(str(expires_at), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        except ValueError:
            raise Rejected(f"not a date: {expires_at}", "YYYY-MM-DD HH:MM:SS") from None
        return self._issue(int(until.timestamp()) * 1000, fixed=True)

    def _issue(self, expires: int, *, fixed: bool) -> Token:
        self._count += 1
        if len(self.tokens) >= MOST_TOKENS:
            del self.tokens[next(text for text in self.tokens if text != self._lasting)]
        number = 1 + self._count
        text = f"{mix(self._seed, 1004, number):016x}{mix(self._seed, 1005, number):016x}"
        token = self.tokens[text] = Token(number, text, expires, fixed)
        return token

    def allows(self, header: str | None, cookie: str | None, now: int) -> bool:
        """Whether the call may pass; if so, its token lives on."""
        token = self.tokens.get(header or (cookie if self._knobs.cookie_alone and cookie else ""))
        if token is None:
            return False
        if token.expires <= now:
            del self.tokens[token.text]
            return False
        if not token.fixed:
            token.expires = now + self._knobs.token_life_ms
        return True

    def logout(self, text: str) -> Token | None:
        return self.tokens.pop(text, None)

    def lose_tokens(self) -> None:
        """Every token of a login is void, as after a restart of the platform."""
        self.tokens = {text: token for text, token in self.tokens.items() if token.fixed}
