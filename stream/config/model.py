"""The whole configuration, resolved: frozen, paths absolute, secrets named and not read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo

from stream.config.fields import Address, DurationMs, Flag, Listen, Section, file_path, text, whole
from stream.config.kafka import Kafka, servers
from stream.config.notify import Notify
from stream.config.platforms import Vmmanager
from stream.config.rules import Rules
from stream.config.units import DURATION, Wrong, shown
from stream.config.web import Web
from stream.core.mapping import FieldMapping
from stream.core.model import MAX_AHEAD_MS
from stream.core.plan import Plan

DAY_MS = DURATION.units["d"]


class LogAddress(Section):
    """Which log: a SQLite file, a Kafka cluster, or memory (for tests: gone when the process ends)."""

    kind: Literal["sqlite", "kafka", "memory"]
    path: Path | None = None
    """Absolute; of sqlite only."""
    servers: str = ""
    """`host:port,host:port`; of kafka only."""

    def __str__(self) -> str:
        if self.kind == "kafka":
            return f"kafka://{self.servers}"
        return f"{self.kind}:{self.path}" if self.path else self.kind


def _log(value: object, info: ValidationInfo) -> LogAddress:
    if isinstance(value, LogAddress):
        return value
    address = text(value)
    kind, _, rest = address.partition(":")
    if kind == "kafka":
        return LogAddress(kind="kafka", servers=servers(rest.removeprefix("//")))
    if kind == "sqlite" and rest:
        return LogAddress(kind="sqlite", path=file_path(rest, info))
    if address == "memory:":
        return LogAddress(kind="memory")
    raise Wrong(f"{shown(address)} is no log", "write for example sqlite:quota-stream.db")


class Retention(Section):
    """How long the topics that are not compacted are kept, in ms."""

    deltas: DurationMs = Field(default=40 * DAY_MS, alias="traffic.deltas")
    changes: DurationMs = Field(default=400 * DAY_MS, alias="quota.profile-changes")
    dead_letters: DurationMs = Field(default=30 * DAY_MS, alias="quota.dead-letters")


LogSetting: TypeAlias = Annotated[LogAddress, BeforeValidator(_log)]


class General(Section):
    """What stands at the top of the file, beside platforms, plans and services.  Durations are ms."""

    log: LogSetting = Field(examples=["sqlite:quota-stream.db"])
    shadow: Flag = False
    """Decide and explain, but post nothing."""
    strict_secrets: Flag = False
    """A secret file that others may read is an error, not a warning."""
    partitions: Annotated[int, BeforeValidator(whole(1, 256))] = 4
    """Of the log; fixed once it is made."""
    max_ahead: DurationMs = MAX_AHEAD_MS
    """How far after its append time a record may speak of."""
    checkpoint: DurationMs = 5000
    """How often the state is made durable while no decision waits for it."""
    retention: Retention = Retention()
    listen: Listen = Address("127.0.0.1", 9464)
    """Where metrics and health are served; None: nowhere."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["text", "json"] = "text"


class Config(General):
    """Everything.  `warnings` are complete sentences with file, line and cure."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    file: Path
    kafka: Kafka = Kafka()
    platforms: Mapping[str, Vmmanager]
    plans: Mapping[str, Plan]
    """In the order of the file."""
    mappings: Mapping[str, FieldMapping]
    """In the order of the file, in which they are tried."""
    services: Rules
    web: Web | None = None
    """None: there is neither API nor page."""
    notify: Notify | None = None
    """None: nobody is told of anything."""
    warnings: tuple[str, ...] = ()
