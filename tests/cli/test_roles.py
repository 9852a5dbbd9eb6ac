"""The roles as processes of their own, and the topics: what is refused before any broker is asked."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.cli.calling import CONFIG, call

KAFKA = CONFIG.replace("log: sqlite:q.db", "log: kafka://127.0.0.1:1")


@pytest.mark.parametrize("role", ["collect", "track", "enforce"])
def test_an_embedded_log_has_one_process(folder: Path, role: str) -> None:
    """Roles apart need a cluster; the error says what does the same here."""
    (folder / "quota-stream.yaml").write_text(CONFIG)
    assert call(role, status=2).stderr == (
        f"{folder}/quota-stream.yaml: the log is sqlite:{folder}/q.db, on which one process does everything: use "
        "`quota-stream run`; several processes need log: kafka://HOST:9092\n"
    )
    assert not (folder / "q.db").exists()


@pytest.mark.parametrize("role", ["collect", "enforce"])
def test_a_role_without_work(folder: Path, role: str) -> None:
    """Without a platform there is nothing to collect from and to set."""
    (folder / "quota-stream.yaml").write_text(KAFKA)
    told = "quota-stream.yaml: there are no platforms, so there is nothing to do; add one\n"
    assert call(role, status=2).stderr.endswith(told)


@pytest.mark.parametrize("command", ["create", "verify"])
def test_topics_of_an_embedded_log(folder: Path, command: str) -> None:
    """It has none to look after."""
    (folder / "quota-stream.yaml").write_text(CONFIG)
    assert call("topics", command, status=2).stderr.endswith(
        f"the log is sqlite:{folder}/q.db, and only one on Kafka has topics to look after\n"
    )


def test_a_copy_of_a_cluster(folder: Path) -> None:
    """`backup` is for the embedded log."""
    (folder / "quota-stream.yaml").write_text(KAFKA)
    told = "the brokers' replicas are the copies of a log on Kafka; see `replication`\n"
    assert call("backup", "copy.db", status=2).stderr.endswith(told)


@pytest.mark.parametrize(
    "command", [("run",), ("track", "--drain"), ("plans", "show"), ("status",), ("topics", "verify")]
)
def test_no_broker_answers(folder: Path, command: tuple[str, ...]) -> None:
    """Each command names the broker and what came of it, once, and fails with 1: later it may work."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    (folder / "quota-stream.yaml").write_text(KAFKA.replace(":1\n", f":{port}\n"))
    result = call(*command, status=1)
    assert result.stderr == f"error: kafka: no broker answers: 127.0.0.1:{port}: Connection refused\n"


@pytest.mark.parametrize("address", ["9464", "example.com:80", "127.0.0.1:0"])
def test_an_address_to_listen_on(folder: Path, address: str) -> None:
    """The option is read like the setting."""
    (folder / "quota-stream.yaml").write_text(KAFKA)
    told = "is no address to listen on; write for example 127.0.0.1:9464, or off"
    assert told in call("track", "--listen", address, status=2).stderr


def test_check_says_how_it_logs_in(folder: Path) -> None:
    """Protocol and user, and no secret."""
    section = "kafka: {sasl_username: anna, sasl_password_file: p, ssl_ca_file: ca}\n"
    (folder / "quota-stream.yaml").write_text(KAFKA + section)
    for name in ("p", "ca"):
        (folder / name).write_text("hunter2")
        (folder / name).chmod(0o600)
    out = call("check").stdout
    assert "log: kafka://127.0.0.1:1 (SASL_SSL as anna)\n" in out
    assert "hunter2" not in out


def test_check_live_tries_the_brokers(folder: Path) -> None:
    """What does not answer should be changed."""
    (folder / "quota-stream.yaml").write_text(KAFKA)
    out = call("check", "--live", status=1).stdout
    assert "CHANGE  log         kafka: no broker answers: 127.0.0.1:1: " in out


def test_the_unit_hands_over_the_password(folder: Path) -> None:
    """What systemd keeps for a platform it keeps for the cluster as well."""
    section = "kafka: {sasl_username: anna, sasl_password_file: kafka.password, ssl_ca_file: ca.pem}\n"
    (folder / "quota-stream.yaml").write_text(KAFKA + section)
    unit = call("init", "--systemd").stdout
    assert f"LoadCredential=kafka.password:{folder}/kafka.password\n" in unit
    assert "ca.pem" not in unit
