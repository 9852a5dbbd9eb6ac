"""Every error of ours, classed by what the caller does: retry, reject, start over, or stop.

Foreign exceptions are mapped to one of these once, at the adapter that meets them, with `raise ... from`.
"""

from __future__ import annotations


class QuotaStreamError(Exception):
    """Base of all our errors.  `str(error)` says what is wrong, where, and what to do."""


class Rejected(QuotaStreamError):
    """Reject: this input is refused and goes to the dead letters; everything else goes on.

    `reason` says what is wrong with it, `cure` what the publisher can do; neither repeats a secret.
    """

    def __init__(self, reason: str, cure: str = "") -> None:
        super().__init__(f"{reason}; {cure}" if cure else reason)
        self.reason = reason
        self.cure = cure


class Unavailable(QuotaStreamError):
    """Retry: somebody else (platform, broker, disk) cannot answer now; back off and try again."""


class Busy(Unavailable):
    """Retry: a platform that answers well cannot do this now, as it is still at work on the same thing."""


class Refused(QuotaStreamError):
    """Do not retry by itself: a platform understood and said no (closed function, wrong password)."""


class Fenced(QuotaStreamError):
    """Start over: another owner has taken this partition; drop the task and what it holds in memory."""


class Truncated(QuotaStreamError):
    """Stop: the log no longer holds records that were not read yet; counting on would lose bytes."""


class Corrupt(QuotaStreamError):
    """Stop: stored state is damaged, incomplete, or of a newer format; nothing is guessed."""


class InUse(QuotaStreamError):
    """Stop: another process (whose pid the message names) runs on this embedded log."""


class Misconfigured(QuotaStreamError):
    """Stop (exit status 2): the configuration or the arguments are wrong; one line for each problem."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
