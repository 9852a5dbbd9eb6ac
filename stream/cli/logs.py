"""How logs look: one line each on standard error, UTC, logfmt or JSON, ours and the libraries' alike."""

from __future__ import annotations

import logging
import math
import re
import sys
import time
from collections.abc import Callable, MutableMapping
from typing import Any, Literal

import structlog
from structlog.typing import Processor

from stream.cli.text import printable

LIBRARIES_LEVEL = logging.WARNING
"""Libraries are heard only when something is wrong."""

CHATTY = "aiokafka"
"""Warns of what is the usual course of things on a cluster: members that come and go, coordinators that move."""

AGAIN_AFTER_S = 10.0
"""How long a library keeps from saying a line again: without a broker Kafka's clients say two hundred a second."""

MOST_LINES = 256
"""Lines that are remembered; some libraries make a new template of each."""


_logfmt = structlog.processors.LogfmtRenderer(key_order=["time", "level", "event"], bool_as_flag=False)
_WORD = re.compile(r"[!#-<>-\[\]-~]+")
"""What stands in logfmt as it is."""


class StandardError(logging.Handler):
    """Writes to what standard error is at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{self.format(record)}\n")


class Seldom(logging.Filter):
    """Lets a line through if its logger has not said it, filled in however, for some time; then with how often it was
    `left_out` in between."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._said: dict[tuple[str, str], tuple[float, int]] = {}  # when last, and how often left out since

    def filter(self, record: logging.LogRecord) -> bool:
        line, now = (record.name, str(record.msg)), self._now()
        said_at, left_out = self._said.get(line, (-math.inf, 0))
        if now - said_at < AGAIN_AFTER_S:
            self._said[line] = (said_at, left_out + 1)
            return False
        if left_out:
            record.left_out = left_out
        self._said.pop(line, None)  # and to the end of the order
        self._said[line] = (now, 0)
        if len(self._said) > MOST_LINES:
            del self._said[next(iter(self._said))]
        return True


def configure_logs(level: str, form: Literal["text", "json"] = "text") -> None:
    """Once for the process; again when the configuration says otherwise."""
    number = logging.getLevelNamesMapping()[level.upper()]
    before: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
    ]
    render: Processor = structlog.processors.JSONRenderer() if form == "json" else _as_text
    structlog.configure(
        processors=[*before, render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = StandardError()
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*before, structlog.stdlib.ExtraAdder(["left_out"])],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
    )
    handler.setFormatter(formatter)
    if number > logging.DEBUG:
        handler.addFilter(Seldom())
    logging.basicConfig(handlers=[handler], level=max(number, LIBRARIES_LEVEL), force=True)
    logging.getLogger(CHATTY).setLevel(logging.ERROR if number > logging.DEBUG else number)
    logging.captureWarnings(capture=True)


def _as_text(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
    """As logfmt.  Names and labels are others' words: what cannot be seen is shown as an escape, so that a line stays a
    line.  One of plain words and numbers, as there is one for each decision, is put together in a third of the time."""
    if all(type(value) is int or (type(value) is str and _WORD.fullmatch(value)) for value in event.values()):
        time_, level, said = event.pop("time"), event.pop("level"), event.pop("event")
        return " ".join([f"time={time_} level={level} event={said}", *[f"{key}={event[key]}" for key in event]])
    for key, value in event.items():
        if not isinstance(value, int | float | None):
            event[key] = printable(str(value), keep="\n")  # logfmt itself writes \n
    return str(_logfmt(logger, method, event))
