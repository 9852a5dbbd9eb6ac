"""The address of a cluster and the section `kafka`: what is derived, and every mistake with its line and cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream.config.kafka import Kafka
from stream.config.load import load
from stream.config.secrets import Secret
from stream.core.errors import Misconfigured
from tests.config.texts import FILE, config, problems

FILES = FILE.parent
BROKER = "write for example kafka://broker1:9092,broker2:9092"
NAMES = "write at most {} letters, digits, `.`, `_` and `-`, for example {}"


def kafka(*lines: str) -> str:
    """A configuration on a cluster; the lines of its section begin on line 3."""
    return "log: kafka://b1\nkafka:\n" + "".join(f"  {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("address", "servers"),
    [
        ("kafka://b1:9092", "b1:9092"),
        ("kafka://b1,b2:19092", "b1:9092,b2:19092"),
        ("kafka://b1.example.com, 10.0.0.7:9093/", "b1.example.com:9092,10.0.0.7:9093"),
        ("kafka://[::1]:9093,[2001:db8::7]", "[::1]:9093,[2001:db8::7]:9092"),
    ],
)
def test_addresses(address: str, servers: str) -> None:
    """One broker or several, each with a port or on the usual one; it is shown as it is understood."""
    log = config(f"log: '{address}'").log
    assert (log.kind, log.path, log.servers, str(log)) == ("kafka", None, servers, f"kafka://{servers}")


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("kafka://", f"'' is no broker; {BROKER}"),
        ("kafka://b1,,b2", f"'' is no broker; {BROKER}"),
        ("kafka://b1:0", f"'b1:0' is no broker; {BROKER}"),
        ("kafka://b1:65536", f"'b1:65536' is no broker; {BROKER}"),
        ("kafka://b1/topic", f"'b1/topic' is no broker; {BROKER}"),
        ("kafka://::1:9092", f"'::1:9092' is no broker; {BROKER}"),
        (
            "kafka://anna:hunter2@b1:9092",
            "there is a user or password in the address of the log; "
            "write it without; see sasl_username and sasl_password_file under kafka",
        ),
    ],
)
def test_what_is_no_address(address: str, problem: str) -> None:
    """What cannot be a broker is said, a password never repeated."""
    assert problems(f"log: '{address}'") == [f"1: log: {problem}"]


def test_defaults() -> None:
    """Without the section everything has its documented value."""
    got = config("log: kafka://b1").kafka
    assert got == Kafka()
    assert (got.application, got.topic_prefix, got.compression, got.protocol) == (
        "quota-stream", "", "none", "PLAINTEXT",
    )  # fmt: skip
    assert (got.session_timeout, got.heartbeat, got.request_timeout) == (6_000, 1_000, 15_000)
    assert (got.instance_id, got.replication, got.min_insync_replicas) == (None, None, None)
    assert (got.sasl_password, got.ssl_key_password) == (None, None)


@pytest.mark.parametrize(
    ("lines", "protocol"),
    [
        ((), "PLAINTEXT"),
        (("ssl_ca_file: ca.pem",), "SSL"),
        (("ssl_cert_file: c.pem", "ssl_key_file: c.key"), "SSL"),
        (("sasl_username: anna", "sasl_password_env: P"), "SASL_SSL"),
        (("sasl_username: anna", "sasl_password_env: P", "ssl_ca_file: ca.pem"), "SASL_SSL"),
        (("security_protocol: SSL",), "SSL"),
        (("sasl_username: anna", "sasl_password_env: P", "security_protocol: SASL_PLAINTEXT"), "SASL_PLAINTEXT"),
    ],
)
def test_the_protocol_follows_from_the_rest(lines: tuple[str, ...], protocol: str) -> None:
    """A user logs in over TLS, a certificate is TLS; a password in the clear must be written out."""
    assert config(kafka(*lines)).kafka.protocol == protocol


def test_resolved() -> None:
    """Paths are relative to the file's folder, secrets are places and not values."""
    got = config(
        kafka(
            "ssl_ca_file: ca.pem", "ssl_cert_file: c.pem", "ssl_key_file: c.key", "ssl_key_password_env: KEY",
            "sasl_username: anna", "sasl_password_file: anna.password", "compression: zstd", "topic_prefix: a.",
        )
    ).kafka  # fmt: skip
    assert (got.ssl_ca_file, got.ssl_cert_file, got.ssl_key_file) == (
        FILES / "ca.pem", FILES / "c.pem", FILES / "c.key",
    )  # fmt: skip
    assert (got.sasl_password, got.ssl_key_password) == (Secret(FILES / "anna.password"), Secret(None, "KEY"))
    assert (got.compression, got.topic_prefix) == ("zstd", "a.")


def test_the_environment_names_the_process() -> None:
    """Several processes share a file: the environment goes before it, also where there is no section."""
    assert config(kafka("instance_id: a")).kafka.instance_id == "a"
    assert config(kafka("instance_id: a"), QUOTA_STREAM_INSTANCE_ID="b").kafka.instance_id == "b"
    assert config("log: kafka://b1", QUOTA_STREAM_INSTANCE_ID="b").kafka.instance_id == "b"
    [problem] = problems("log: kafka://b1\n", QUOTA_STREAM_INSTANCE_ID="b c")
    assert (
        problem
        == f"1: kafka.instance_id: 'b c' cannot stand in the names on a cluster; {NAMES.format(128, 'tracker-1')}"
    )


USER = ("sasl_username: anna", "sasl_password_file: p")


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (("applicaton: x",), "3: kafka.applicaton: this key is not known; write application"),
        (
            ("application: a b",),
            f"3: kafka.application: 'a b' cannot stand in the names on a cluster; {NAMES.format(64, 'quota-stream')}",
        ),
        (
            (f"topic_prefix: {'x' * 65}",),
            f"3: kafka.topic_prefix: '{'x' * 56}... cannot stand in the names on a cluster; "
            f"{NAMES.format(64, 'quota-a.')}",
        ),
        (
            ("compression: lzma",),
            "3: kafka.compression: 'lzma' is not possible; write 'none', 'gzip', 'snappy', 'lz4' or 'zstd'",
        ),
        (
            ("security_protocol: TLS",),
            "3: kafka.security_protocol: 'TLS' is not possible; "
            "write 'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' or 'SASL_SSL'",
        ),
        (
            ("sasl_mechanism: GSSAPI",),
            "3: kafka.sasl_mechanism: 'GSSAPI' is not possible; write 'PLAIN', 'SCRAM-SHA-256' or 'SCRAM-SHA-512'",
        ),
        (
            ("sasl_password: hunter2",),
            "3: kafka.sasl_password: a secret has no place in this file; write it into a file that only you can read "
            "(chmod 600) and here `sasl_password_file: NAME`, or `sasl_password_env: VARIABLE`",
        ),
        (("sasl_username: anna",), "3: kafka.sasl_username: the user has no password; add `sasl_password_file: FILE`"),
        (
            (*USER, "sasl_password_env: P"),
            "5: kafka.sasl_password_env: the password is in two places; keep sasl_password_file or sasl_password_env",
        ),
        (
            ("sasl_password_file: p",),
            "3: kafka.sasl_password_file: there is no user that it belongs to; add `sasl_username: NAME`",
        ),
        (
            ("sasl_mechanism: PLAIN",),
            "3: kafka.sasl_mechanism: there is no user that it belongs to; add `sasl_username: NAME`",
        ),
        (
            ("security_protocol: SASL_SSL",),
            "3: kafka.security_protocol: SASL_SSL logs in, and no user is given; "
            "add `sasl_username: NAME` and `sasl_password_file: FILE`",
        ),
        (
            (*USER, "security_protocol: SSL"),
            "5: kafka.security_protocol: SSL does not log in, and a user is given; write `security_protocol: SASL_SSL`",
        ),
        (("ssl_key_file: k",), "3: kafka.ssl_key_file: a key without its certificate; add `ssl_cert_file: FILE`"),
        (
            ("ssl_key_password_env: P",),
            "3: kafka.ssl_key_password_env: a password, and no key that it opens; add `ssl_key_file: FILE`",
        ),
        (
            ("ssl_cert_file: c", "ssl_key_password_env: P", "ssl_key_password_file: p"),
            "4: kafka.ssl_key_password_env: the password is in two places; keep one of the two",
        ),
        (
            ("security_protocol: PLAINTEXT", "ssl_ca_file: ca.pem"),
            "4: kafka.ssl_ca_file: PLAINTEXT uses no certificates; write `security_protocol: SSL`, or remove it",
        ),
        (
            (*USER, "security_protocol: SASL_PLAINTEXT", "ssl_ca_file: ca.pem"),
            "6: kafka.ssl_ca_file: SASL_PLAINTEXT uses no certificates; write `security_protocol: SASL_SSL`, "
            "or remove it",
        ),
        (
            ("heartbeat: 3s",),
            "3: kafka.heartbeat: 3s is more than a third of session_timeout; write at most 2s",
        ),
        (("session_timeout: 2h",), "3: kafka.session_timeout: 2h is not possible; write 1s to 30m"),
        (("request_timeout: 2m",), "3: kafka.request_timeout: 2m is not possible; write 1s to 1m"),
        (("heartbeat: 1",), "3: kafka.heartbeat: 1 has no unit; write for example 60s (units: ms s m h d)"),
        (("replication: 0",), "3: kafka.replication: 0 is not possible; write a whole number from 1 to 99"),
        (
            ("replication: 2", "min_insync_replicas: 3"),
            "4: kafka.min_insync_replicas: 3 is more than there are replicas; write at most 2",
        ),
    ],
)
def test_mistakes(lines: tuple[str, ...], problem: str) -> None:
    """Every class of mistake in the section, its combinations included."""
    assert problems(kafka(*lines)) == [problem]


def test_all_of_them_at_once() -> None:
    """Combinations are found together, and with what else is wrong."""
    text = (
        kafka("ssl_key_file: k", "sasl_mechanism: PLAIN", "heartbeat: 10s", "session_timeout: 6s") + "shadow: perhaps\n"
    )
    assert [one.partition(": ")[0] + ":" + one.split(": ")[1] for one in problems(text)] == [
        "3:kafka.ssl_key_file", "4:kafka.sasl_mechanism", "5:kafka.heartbeat", "7:shadow",
    ]  # fmt: skip


@pytest.mark.parametrize("log", ["sqlite:q.db", "'memory:'"])
def test_a_section_that_nobody_reads(log: str) -> None:
    """Settings for a cluster beside another log are a mistake, not an ornament."""
    [problem] = problems(f"log: {log}\nkafka: {{application: a}}\n")
    what = f"these are settings for a Kafka cluster, and the log is '{log.strip(chr(39))}'"
    assert problem == f"2: kafka: {what}; write `log: kafka://HOST:9092`, or remove the section"
    assert problems("log: kafka://b1\nkafka:\n") == []


def test_a_password_in_the_clear_is_warned_about() -> None:
    """PLAIN without TLS is possible, and said."""
    got = config(kafka(*USER, "security_protocol: SASL_PLAINTEXT", "sasl_mechanism: PLAIN"))
    what = "the password goes over the network as it is"
    assert got.warnings == (f"{FILE}:5: kafka.security_protocol: {what}; write `security_protocol: SASL_SSL`",)
    assert config(kafka(*USER)).warnings == ()


def test_its_files(tmp_path: Path) -> None:
    """Missing ones are said when asked for; keys and passwords that others may read are warned about."""
    names = ["ca.pem", "c.pem", "c.key", "password"]
    file = tmp_path / "quota-stream.yaml"
    file.write_text(
        kafka(
            "ssl_ca_file: ca.pem", "ssl_cert_file: c.pem", "ssl_key_file: c.key",
            "sasl_username: anna", "sasl_password_file: password",
        )
    )  # fmt: skip
    with pytest.raises(Misconfigured) as caught:
        load(file, with_files=True)
    assert [problem.split(": ")[1] for problem in caught.value.problems] == [
        "kafka.ssl_ca_file", "kafka.ssl_cert_file", "kafka.ssl_key_file", "kafka.sasl_password_file",
    ]  # fmt: skip
    for name in names:
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o644)
    assert [one.split(": ")[1] for one in load(file, with_files=True).warnings] == [
        "kafka.ssl_key_file", "kafka.sasl_password_file",
    ]  # fmt: skip
