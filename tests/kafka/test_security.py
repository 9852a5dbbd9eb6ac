"""Getting in, over TLS and by password, from a configuration file on; and what is said when it cannot be."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.kafka.topics import create, verify
from stream.core.errors import Misconfigured, Unavailable
from stream.ports import DELTAS, RETENTION_MS
from tests.kafka.certificates import KEY_PASSWORD, issue
from tests.kafka.cluster import ADMIN, PASSWORDS, Cluster
from tests.processes.running import called

SECRET = "hunter2-wrong"
PLANS = """
plans:
  hour: {window: {slide: 1h}, profiles: {fast: {speed: original}}}
"""


def configured(folder: Path, settings: KafkaSettings, password: str, *, tls: bool) -> None:
    """The same as `settings`, as an operator writes it."""
    for name, secret in (
        ("password", PASSWORDS[ADMIN] if password == "" else password),
        ("key-password", KEY_PASSWORD),
    ):
        (folder / name).write_text(secret)
        (folder / name).chmod(0o600)
    login = ["sasl_username: admin", "sasl_password_file: password", f"sasl_mechanism: {settings.sasl_mechanism}"]
    keys = [f"ssl_cert_file: {settings.ssl_cert_file}", f"ssl_key_file: {settings.ssl_key_file}"]
    lines = [
        f"topic_prefix: {settings.topic_prefix}", f"ssl_ca_file: {settings.ssl_ca_file}",
        *([*keys, "ssl_key_password_file: key-password"] if tls else login),
    ]  # fmt: skip
    section = "".join(f"  {line}\n" for line in lines)
    (folder / "quota-stream.yaml").write_text(f"log: kafka://{settings.servers}\nkafka:\n{section}{PLANS}")


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
async def test_a_password(
    cluster: Cluster, settings: KafkaSettings, prefix: str, tmp_path: Path, mechanism: str
) -> None:
    """By each mechanism over TLS, from the file to a record in the log."""
    await create(settings)
    secure = cluster.settings(
        security_protocol="SASL_SSL", sasl_username=ADMIN, sasl_mechanism=mechanism, topic_prefix=prefix
    )
    configured(tmp_path, secure, "", tls=False)
    assert await called(tmp_path, "plans", "apply") == "version 1 is in force\n"
    configured(tmp_path, secure, SECRET, tls=False)
    said = await called(tmp_path, "plans", "show", status=2)
    place = secure.servers
    assert f"kafka: {place} does not let admin in with {mechanism} (" in said
    assert said.endswith("); see sasl_username, sasl_mechanism and the password\n")
    assert SECRET not in said


async def test_cures_work_where_one_must_log_in(cluster: Cluster, settings: KafkaSettings, prefix: str) -> None:
    """Kafka's tools get a file with the login there, and need none elsewhere."""
    await create(settings)
    secure = cluster.settings(
        security_protocol="SASL_SSL", sasl_username=ADMIN, sasl_mechanism="PLAIN", topic_prefix=prefix
    )
    for reached_by, there in ((secure, True), (settings, False)):
        found = await verify(replace(reached_by, retention_ms=dict(RETENTION_MS) | {DELTAS: 900 * 86_400_000}))
        (cure,) = (one.cure for one in found if one.what == "retention.ms")
        assert ("--command-config client.properties" in cure) is there


async def test_a_certificate_of_ours(cluster: Cluster, prefix: str, tmp_path: Path) -> None:
    """A broker that asks for one takes it, its key locked with a password; who it is for may do nothing yet."""
    configured(tmp_path, cluster.settings(security_protocol="SSL", topic_prefix=prefix), "", tls=True)
    said = await called(tmp_path, "topics", "verify", status=2)
    assert f"not allowed to describe the topics: the ACL Describe on topic {prefix}traffic.deltas is missing" in said
    (tmp_path / "key-password").write_text(SECRET)
    said = await called(tmp_path, "topics", "verify", status=2)
    assert "the TLS files" in said
    assert "cannot be used" in said
    assert SECRET not in said


async def test_who_shows_no_certificate(cluster: Cluster) -> None:
    """A broker that wants one closes the connection; the error says what may be the cause."""
    secure = replace(cluster.settings(security_protocol="SSL"), ssl_cert_file=None, ssl_key_file=None)
    with pytest.raises(
        Unavailable, match=r"security_protocol right, which is SSL(, without ssl_cert_file)?\?|TLS failed"
    ):
        await verify(secure)


@pytest.mark.parametrize("protocol", ["SSL", "SASL_SSL"])
async def test_an_authority_that_is_not_the_brokers(cluster: Cluster, tmp_path: Path, protocol: str) -> None:
    """Its certificate is not trusted, and the error says which setting gives the authority."""
    secure = cluster.settings(security_protocol=protocol)
    other = issue(tmp_path, client="somebody")
    with pytest.raises(Misconfigured, match=r"shows a certificate that is not trusted \(.*\); give .* ssl_ca_file"):
        await verify(replace(secure, ssl_ca_file=other.authority))
    with pytest.raises(Misconfigured, match=r"the TLS files .*nowhere\.pem.* cannot be used"):
        await verify(replace(secure, ssl_ca_file=tmp_path / "nowhere.pem"))


MISTAKEN = [
    ("PLAINTEXT", "SASL_SSL", Unavailable, "TLS failed|closed the connection"),
    ("SASL_SSL", "PLAINTEXT", Unavailable, "security_protocol right, which is PLAINTEXT"),
    ("PLAINTEXT", "SASL_PLAINTEXT", Misconfigured, "knows no login; see security_protocol, which is SASL_PLAINTEXT"),
]


@pytest.mark.parametrize(("listener", "spoken", "kind", "words"), MISTAKEN)
async def test_another_protocol_than_the_brokers(
    cluster: Cluster, listener: str, spoken: str, kind: type[Exception], words: str
) -> None:
    """What is spoken and what is understood differ: the error leads to the setting, and never hangs."""
    servers = cluster.settings(security_protocol=listener).servers
    secure = cluster.settings(security_protocol="SASL_SSL", sasl_username=ADMIN, servers=servers, request_s=3.0)
    with pytest.raises(kind, match=words) as caught:
        await verify(replace(secure, security_protocol=spoken))  # type: ignore[arg-type]
    assert PASSWORDS[ADMIN] not in str(caught.value)


async def test_servers_that_do_not_answer(cluster: Cluster, settings: KafkaSettings) -> None:
    """One that answers is enough; of those that do not each is named with its cause."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    dead = f"127.0.0.1:{port},nowhere.invalid:9092"
    assert len(await verify(replace(settings, servers=f"{dead},{settings.servers}"))) == 5
    with pytest.raises(Unavailable) as caught:
        await verify(replace(settings, servers=dead))
    assert f"127.0.0.1:{port}: Connection refused" in str(caught.value)
    assert "nowhere.invalid:9092: " in str(caught.value)


async def test_a_server_that_is_silent(settings: KafkaSettings) -> None:
    """Something listens there and never answers: the deadline ends it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unavailable, match=f"{place}: no answer within 1 s"):
            await verify(replace(settings, servers=place, request_s=1.0))
