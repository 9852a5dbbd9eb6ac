"""The configured log: for its one `run`, for one of many processes, and for commands beside them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from stream.adapters.clock import SystemClock
from stream.adapters.memory import MemoryLog
from stream.adapters.sqlite import SqliteLog
from stream.config.model import Config
from stream.core.errors import Misconfigured
from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, Clock, Log

if TYPE_CHECKING:
    from stream.adapters.kafka.settings import KafkaSettings

log_ = structlog.get_logger()


@asynccontextmanager
async def open_log(config: Config, *, create: bool = False) -> AsyncGenerator[Log, None]:
    """The log, for commands that work beside a running `run`.  `create`: make it if it is not there.

    The topics of a cluster are made by `topics create` alone, and must be as they should be.
    """
    log = await _open_beside(config, create=create)
    try:
        yield log
    finally:
        await log.close()


async def _open_beside(config: Config, *, create: bool) -> Log:
    if config.log.kind == "kafka":
        return await _open_kafka(config)
    path = config.log.path
    if path is None:
        raise Misconfigured(f"{config.file}: no other command sees a log in memory; write log: sqlite:quota-stream.db")
    if not create and not path.exists():
        raise Misconfigured(f"{path}: there is no log yet; `quota-stream run` or `quota-stream publish` makes it")
    return await _open_sqlite(config, SystemClock(), exclusive=False)


@asynccontextmanager
async def own_log(config: Config, clock: Clock) -> AsyncIterator[Log]:
    """The log as whoever serves it holds it.  Raises InUse when another process has an embedded one."""
    log: Log
    if config.log.kind == "kafka":
        log = await _open_kafka(config)
    elif config.log.path is None:
        log = MemoryLog(clock=clock, partitions=config.partitions)
    else:
        log = await _open_sqlite(config, clock, exclusive=True)
    if log.partitions != config.partitions:
        log_.warning("log.partitions_kept", log=str(config.log), has=log.partitions, configured=config.partitions)
    try:
        yield log
    finally:
        await log.close()


async def _open_sqlite(config: Config, clock: Clock, *, exclusive: bool) -> SqliteLog:
    path = config.log.path
    assert path is not None
    partitions = None if path.exists() else config.partitions  # an existing log keeps its own
    return await SqliteLog.open(
        path, clock=clock, exclusive=exclusive, partitions=partitions, retention_ms=retention_ms(config)
    )


def retention_ms(config: Config) -> dict[str, int]:
    """By topic."""
    kept = config.retention
    return {DELTAS: kept.deltas, CHANGES: kept.changes, DEAD_LETTERS: kept.dead_letters}


async def _open_kafka(config: Config) -> Log:
    from stream.adapters.kafka.log import KafkaLog  # half a second that an embedded log does not need
    from stream.adapters.kafka.topics import require_sound

    settings = kafka_settings(config)
    await require_sound(settings)
    return await KafkaLog.open(settings)


def kafka_settings(config: Config) -> KafkaSettings:
    """What the adapter is to know.  Raises Misconfigured if the log is none on Kafka."""
    from stream.adapters.kafka.settings import KafkaSettings

    if config.log.kind != "kafka":
        raise Misconfigured(f"{config.file}: the log is {config.log}, and only one on Kafka has topics to look after")
    kafka = config.kafka
    return KafkaSettings(
        servers=config.log.servers,
        application=kafka.application,
        topic_prefix=kafka.topic_prefix,
        compression=None if kafka.compression == "none" else kafka.compression,
        security_protocol=kafka.protocol,
        ssl_ca_file=kafka.ssl_ca_file,
        ssl_cert_file=kafka.ssl_cert_file,
        ssl_key_file=kafka.ssl_key_file,
        ssl_key_password=kafka.ssl_key_password.read if kafka.ssl_key_password else None,
        sasl_mechanism=kafka.sasl_mechanism,
        sasl_username=kafka.sasl_username,
        sasl_password=kafka.sasl_password.read if kafka.sasl_password else None,
        instance_id=kafka.instance_id,
        session_timeout_s=kafka.session_timeout / 1000,
        heartbeat_s=kafka.heartbeat / 1000,
        request_s=kafka.request_timeout / 1000,
        partitions=config.partitions,
        replication=kafka.replication,
        min_insync_replicas=kafka.min_insync_replicas,
        retention_ms=retention_ms(config),
    )
