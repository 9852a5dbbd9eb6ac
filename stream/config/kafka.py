"""How a Kafka cluster is reached, and what of ours on it is called and how it is kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from stream.config.document import Document
from stream.config.fields import DurationMs, File, SecretFile, Section, Text, Variable, text, whole
from stream.config.secrets import Secret
from stream.config.units import Wrong, duration_text, shown
from stream.core.reading import Problem

PORT = 9092
INSTANCE_VARIABLE = "QUOTA_STREAM_INSTANCE_ID"
SECTION = ("kafka",)
HEARTBEATS = 3
"""So many fit into a session time-out, or one that comes late costs the membership."""

SecurityProtocol: TypeAlias = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]

_WORD = re.compile(r"[A-Za-z0-9._-]+")
_HOST = re.compile(r"(?:(?P<name>[A-Za-z0-9._-]+)|\[(?P<v6>[0-9A-Fa-f:.]+)\])(?::(?P<port>\d{1,5}))?")


def servers(address: str) -> str:
    """`host:port,host:port` of what stands behind `kafka://`.  Raises Wrong."""
    example = f"write for example kafka://broker1:{PORT},broker2:{PORT}"
    if "@" in address:
        what = "there is a user or password in the address of the log"
        raise Wrong(what, "write it without; see sasl_username and sasl_password_file under kafka")
    found = []
    for one in address.rstrip("/").split(","):
        match = _HOST.fullmatch(one.strip())
        port = int((match and match["port"]) or PORT)
        if match is None or not 1 <= port <= 65535:
            raise Wrong(f"{shown(one)} is no broker", example)
        found.append(f"{match['name'] or '[' + match['v6'] + ']'}:{port}")
    return ",".join(found)


def _word(most: int, example: str, *, empty: bool = False) -> Callable[[object], str]:
    """Reads what Kafka takes as a part of the names of topics and groups."""

    def read(value: object) -> str:
        if empty and value in ("", None):
            return ""
        word = text(value)
        if len(word) > most or not _WORD.fullmatch(word):
            what = f"{shown(word)} cannot stand in the names on a cluster"
            raise Wrong(what, f"write at most {most} letters, digits, `.`, `_` and `-`, for example {example}")
        return word

    return read


def _between(least_ms: int, most_ms: int) -> Callable[[int], int]:
    def check(value: int) -> int:
        if not least_ms <= value <= most_ms:
            cure = f"write {duration_text(least_ms)} to {duration_text(most_ms)}"
            raise Wrong(f"{duration_text(value)} is not possible", cure)
        return value

    return check


def _instance(value: object, info: ValidationInfo) -> str | None:
    """Several processes may share one file: the environment says which one this is."""
    context: Mapping[str, Any] = info.context or {}
    told = context.get("environ", {}).get(INSTANCE_VARIABLE) or value
    return None if told is None else _word(128, "tracker-1")(told)


class Kafka(Section):
    """The section `kafka`.  Durations are ms."""

    application: Annotated[str, BeforeValidator(_word(64, "quota-stream"))] = "quota-stream"
    """Begins the names of consumer groups, transactional ids and clients."""
    topic_prefix: Annotated[str, BeforeValidator(_word(64, "quota-a.", empty=True))] = ""
    """Begins the names of the topics."""
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "none"
    """Of what we write."""

    security_protocol: SecurityProtocol | None = None
    """None: SASL_SSL with a user, SSL with a certificate or an authority, else PLAINTEXT."""
    ssl_ca_file: File | None = None
    """The authority that signed the brokers' certificates; None: those that the system trusts."""
    ssl_cert_file: File | None = None
    ssl_key_file: File | None = None
    ssl_key_password_file: SecretFile | None = None
    ssl_key_password_env: Variable | None = None
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: Text | None = None
    sasl_password_file: SecretFile | None = None
    sasl_password_env: Variable | None = None

    instance_id: Annotated[str | None, BeforeValidator(_instance)] = Field(default=None, validate_default=True)
    """Static membership; another one for each process, so mostly from the environment."""
    session_timeout: Annotated[DurationMs, AfterValidator(_between(1_000, 1_800_000))] = 6_000
    """A process that is silent for so long is taken for dead, and its partitions go to others."""
    heartbeat: Annotated[DurationMs, AfterValidator(_between(100, 600_000))] = 1_000
    request_timeout: Annotated[DurationMs, AfterValidator(_between(1_000, 60_000))] = 15_000
    """Of each exchange with a broker."""

    replication: Annotated[int, BeforeValidator(whole(1, 99))] | None = None
    """Of the topics; None: 3, or as many as there are brokers."""
    min_insync_replicas: Annotated[int, BeforeValidator(whole(1, 99))] | None = None
    """None: 2, or 1 where there is one replica."""

    @property
    def protocol(self) -> SecurityProtocol:
        """As it is written, or as the other settings say."""
        if self.security_protocol is not None:
            return self.security_protocol
        if self.sasl_username is not None:
            return "SASL_SSL"
        return "SSL" if self.ssl_ca_file or self.ssl_cert_file or self.ssl_key_file else "PLAINTEXT"

    @property
    def sasl_password(self) -> Secret | None:
        return _secret(self.sasl_password_file, self.sasl_password_env)

    @property
    def ssl_key_password(self) -> Secret | None:
        return _secret(self.ssl_key_password_file, self.ssl_key_password_env)

    def files(self) -> Iterator[tuple[str, FilePath]]:
        """Key and place of each file that is named."""
        for key in (*_TLS, "ssl_key_password_file", "sasl_password_file"):
            file: FilePath | None = getattr(self, key)
            if file is not None:
                yield key, file


SECRET_KEYS = ("ssl_key_file", "ssl_key_password_file", "sasl_password_file")
"""Those of the files that nobody else may read."""

_TLS = ("ssl_ca_file", "ssl_cert_file", "ssl_key_file")


def check_kafka(errors: Document, warnings: Document, kafka: Kafka) -> None:
    """Add what its settings together have wrong, all of it."""
    for key, what, cure in (*_login(kafka), *_encryption(kafka), *_numbers(kafka)):
        errors.add(Problem((*SECTION, key), what, cure))
    if kafka.protocol == "SASL_PLAINTEXT" and kafka.sasl_mechanism == "PLAIN":
        what = "the password goes over the network as it is"
        warnings.add(Problem((*SECTION, "security_protocol"), what, "write `security_protocol: SASL_SSL`"))


Found: TypeAlias = Iterator[tuple[str, str, str]]
"""Key, what is wrong, cure."""


def _login(kafka: Kafka) -> Found:
    given = kafka.model_fields_set
    passwords = given & {"sasl_password_file", "sasl_password_env"}
    if kafka.sasl_username is None:
        for key in sorted(passwords | given & {"sasl_mechanism"}):
            yield key, "there is no user that it belongs to", "add `sasl_username: NAME`"
        if kafka.protocol.startswith("SASL"):
            cure = "add `sasl_username: NAME` and `sasl_password_file: FILE`"
            yield "security_protocol", f"{kafka.protocol} logs in, and no user is given", cure
        return
    if not passwords:
        yield "sasl_username", "the user has no password", "add `sasl_password_file: FILE`"
    elif len(passwords) > 1:
        yield "sasl_password_env", "the password is in two places", "keep sasl_password_file or sasl_password_env"
    if not kafka.protocol.startswith("SASL"):
        cure = f"write `security_protocol: SASL_{'SSL' if kafka.protocol == 'SSL' else 'PLAINTEXT'}`"
        yield "security_protocol", f"{kafka.protocol} does not log in, and a user is given", cure


def _encryption(kafka: Kafka) -> Found:
    given = kafka.model_fields_set
    passwords = given & {"ssl_key_password_file", "ssl_key_password_env"}
    if kafka.ssl_key_file is not None and kafka.ssl_cert_file is None:
        yield "ssl_key_file", "a key without its certificate", "add `ssl_cert_file: FILE`"
    if passwords and kafka.ssl_key_file is None and kafka.ssl_cert_file is None:
        yield min(passwords), "a password, and no key that it opens", "add `ssl_key_file: FILE`"
    if len(passwords) > 1:
        yield "ssl_key_password_env", "the password is in two places", "keep one of the two"
    if not kafka.protocol.endswith("SSL"):
        cure = f"write `security_protocol: {'SASL_' * kafka.protocol.startswith('SASL')}SSL`, or remove it"
        for key in sorted(given & {*_TLS}):
            yield key, f"{kafka.protocol} uses no certificates", cure


def _numbers(kafka: Kafka) -> Found:
    if kafka.heartbeat * HEARTBEATS > kafka.session_timeout:
        what = f"{duration_text(kafka.heartbeat)} is more than a third of session_timeout"
        yield "heartbeat", what, f"write at most {duration_text(kafka.session_timeout // HEARTBEATS)}"
    replicas, least = kafka.replication, kafka.min_insync_replicas
    if replicas is not None and least is not None and least > replicas:
        yield "min_insync_replicas", f"{least} is more than there are replicas", f"write at most {replicas}"


def _secret(file: FilePath | None, variable: str | None) -> Secret | None:
    return None if file is None and variable is None else Secret(file, variable)
