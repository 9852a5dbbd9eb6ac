"""One connection to one broker, for looking at the cluster and for making topics.

aiokafka's clients hide why they cannot connect, and their requests for metadata make topics that are not there; so this
goes one layer below them.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import errors as kafka
from aiokafka.conn import AIOKafkaConnection, collect_hosts

from stream.adapters.kafka.errors import answering
from stream.adapters.kafka.settings import KafkaSettings
from stream.core.errors import Misconfigured, Unavailable

NEEDED = {
    0: ("Produce", 7),
    1: ("Fetch", 4),
    11: ("JoinGroup", 5),
    22: ("InitProducerId", 3),
    32: ("DescribeConfigs", 1),
}
"""By API key: what a broker must know at least, in the version that it must know."""
OLDEST = "2.5"
"""The Kafka that brought the last of them."""

CLOSE_S = 1.0

_LOGIN = (
    kafka.SaslAuthenticationFailed,
    kafka.AuthenticationFailedError,
    kafka.AuthenticationMethodNotSupported,
    kafka.UnsupportedSaslMechanismError,
)


class Broker:
    """A broker that has let us in."""

    def __init__(self, connection: AIOKafkaConnection, place: str, settings: KafkaSettings) -> None:
        self.place = place
        self._connection = connection
        self._settings = settings

    async def ask(self, request: Any, doing: str) -> Mapping[str, Any]:
        """The reply as plain data; `doing` says what for, in the infinitive."""
        async with answering(doing, self._settings.request_s):
            reply: Mapping[str, Any] = (await self._connection.send(request)).to_object()
        return reply


@asynccontextmanager
async def reached(settings: KafkaSettings, servers: str | None = None) -> AsyncIterator[Broker]:
    """The first of the servers that answers.

    Raises Misconfigured when one of them is too old, or refuses login or certificate, Unavailable when none answers.
    """
    words = {**settings.client(), "max_idle_ms": None}
    for other in ("bootstrap_servers", "retry_backoff_ms", "metadata_max_age_ms", "connections_max_idle_ms"):
        words.pop(other, None)
    causes = []
    for host, port, _ in collect_hosts(servers or settings.servers):
        place = f"{host}:{port}"
        connection = AIOKafkaConnection(host, port, **words)
        try:
            async with asyncio.timeout(settings.request_s):
                await connection.connect()
            _check_version(place, connection)
        except Exception as error:
            await _close(connection)
            causes.append(_cause(error, place, settings))
            continue
        try:
            yield Broker(connection, place, settings)
        finally:
            await _close(connection)
        return
    raise Unavailable(f"kafka: no broker answers: {'; '.join(causes)}")


async def _close(connection: AIOKafkaConnection) -> None:
    closed: asyncio.Future[None] = connection.close()
    if connection._protocol is not None:  # else nothing was opened
        await asyncio.wait({closed}, timeout=CLOSE_S)


def _check_version(place: str, connection: AIOKafkaConnection) -> None:
    known: Mapping[int, tuple[int, int]] = connection._versions
    for key, (name, least) in NEEDED.items():
        if known.get(key, (0, -1))[1] < least:
            raise Misconfigured(
                f"kafka: {place} is too old, as it does not know version {least} of {name}; "
                f"Kafka {OLDEST} or newer is needed"
            )


def _cause(error: Exception, place: str, settings: KafkaSettings) -> str:
    """In words, if another server may answer; raises Misconfigured if not."""
    spoken = settings.security_protocol
    if isinstance(error, Misconfigured):
        raise error
    if isinstance(error, ssl.SSLCertVerificationError):
        raise Misconfigured(
            f"kafka: {place} shows a certificate that is not trusted ({error.verify_message}); give the authority that "
            "signed it with ssl_ca_file, or write the name that it is for into `log`"
        ) from error
    if isinstance(error, _LOGIN):
        raise Misconfigured(
            f"kafka: {place} does not let {settings.sasl_username} in with {settings.sasl_mechanism} ({_said(error)}); "
            "see sasl_username, sasl_mechanism and the password"
        ) from error
    if isinstance(error, kafka.IllegalSaslStateError | kafka.UnknownError):
        raise Misconfigured(f"kafka: {place} knows no login; see security_protocol, which is {spoken}") from error
    if isinstance(error, ssl.SSLError):
        return f"{place}: TLS failed ({error.reason}); is security_protocol right, which is {spoken}?"
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return f"{place}: no answer within {settings.request_s:g} s"
    if isinstance(error, kafka.KafkaConnectionError | ConnectionResetError):
        return f"{place}: it closed the connection; is security_protocol right, which is {spoken}{_without(settings)}?"
    return f"{place}: {_said(error)}"


def _without(settings: KafkaSettings) -> str:
    """A broker that wants our certificate says no more than this when it gets none."""
    return "" if settings.ssl_cert_file or not settings.security_protocol.endswith("SSL") else ", without ssl_cert_file"


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno) if error.errno > 0 else str(error.strerror)  # below 0: of looking up the name
    return str(error) or type(error).__name__
