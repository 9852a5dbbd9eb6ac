"""How a cluster is reached, and what of ours on it is called."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from aiokafka.helpers import create_ssl_context

from stream.core.errors import Misconfigured
from stream.ports import RETENTION_MS, Role

SecurityProtocol: TypeAlias = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism: TypeAlias = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
Compression: TypeAlias = Literal["gzip", "snappy", "lz4", "zstd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """All that the adapter is to know.  Durations are seconds."""

    servers: str
    """`host:port`, several separated by commas: whoever of them answers names the others."""
    application: str = "quota-stream"
    """With `topic_prefix` before it, begins the names of consumer groups and transactional ids."""
    topic_prefix: str = ""
    """Begins the names of the topics and all others, so that several installations share a cluster."""
    compression: Compression | None = None
    """Of what we write."""

    security_protocol: SecurityProtocol = "PLAINTEXT"
    ssl_ca_file: Path | None = None
    """None: the system's."""
    ssl_cert_file: Path | None = None
    ssl_key_file: Path | None = None
    ssl_key_password: Callable[[], str] | None = None
    sasl_mechanism: Mechanism = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: Callable[[], str] | None = None

    instance_id: str | None = None
    """Static membership: a process that comes back under it within the session time-out gets its partitions back
    without a rebalance.  Another one for each process."""
    session_timeout_s: float = 6.0
    """A process that is silent for so long is taken for dead, and its partitions go to others."""
    heartbeat_s: float = 1.0
    request_s: float = 15.0
    """Deadline of each exchange with a broker."""
    transaction_timeout_s: float = 60.0
    """The broker gives up a write that was neither ended nor taken over for so long."""

    partitions: int = 4
    """Of topics that are yet to be made."""
    replication: int | None = None
    """None: as is usual, or as many as there are brokers."""
    min_insync_replicas: int | None = None
    """None: as is usual, or 1 where there is one replica."""
    retention_ms: Mapping[str, int] = field(default_factory=lambda: RETENTION_MS)
    """Of the topics that are not compacted."""

    def topic(self, topic: str) -> str:
        """The name on the cluster of one of ours."""
        return self.topic_prefix + topic

    def group(self, role: Role) -> str:
        return f"{self.topic_prefix}{self.application}.{role}"

    def transactional_id(self, role: Role, partition: int) -> str:
        """Whoever starts a producer under this name fences whoever had it."""
        return f"{self.topic_prefix}{self.application}.{role}.{partition}"

    def client(self) -> dict[str, Any]:
        """Keyword arguments that every client of aiokafka takes.  Reads the secrets; raises Misconfigured."""
        words: dict[str, Any] = {
            "bootstrap_servers": self.servers.split(","),
            "client_id": self.application,
            "request_timeout_ms": round(1000 * self.request_s),
            "retry_backoff_ms": 100,
            "metadata_max_age_ms": 30_000,
            "connections_max_idle_ms": 540_000,
            "security_protocol": self.security_protocol,
        }
        if self.security_protocol.endswith("SSL"):
            words["ssl_context"] = self._ssl_context()
        if self.security_protocol.startswith("SASL"):
            words |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password() if self.sasl_password else None,
            }
        return words

    def _ssl_context(self) -> ssl.SSLContext:
        files = [path for path in (self.ssl_ca_file, self.ssl_cert_file, self.ssl_key_file) if path]
        try:
            context: ssl.SSLContext = create_ssl_context(
                cafile=self.ssl_ca_file,
                certfile=self.ssl_cert_file,
                keyfile=self.ssl_key_file,
                password=self.ssl_key_password() if self.ssl_key_password else None,
            )
        except OSError as error:  # ssl.SSLError is one
            places = ", ".join(map(str, files))
            raise Misconfigured(f"kafka: the TLS files {places} cannot be used: {error}") from error
        return context
