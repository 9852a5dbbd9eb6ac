"""A certificate authority for one cluster, with what it signs for the brokers and for a client."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

KEY_PASSWORD = "of the client's key"


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in one folder; keys are PKCS#8, as Kafka wants them."""

    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / "authority.pem"

    @property
    def broker(self) -> Path:
        """Certificate and key in one, for 127.0.0.1 and localhost."""
        return self.folder / "broker.both.pem"

    @property
    def client(self) -> Path:
        return self.folder / "client.pem"

    @property
    def client_key(self) -> Path:
        """Locked with KEY_PASSWORD."""
        return self.folder / "client.key.pem"


def issue(folder: Path, client: str) -> Certificates:
    """`client` is the common name in the client's certificate, and the user that a broker takes it for."""
    files = Certificates(folder)
    _issue(folder, "authority", "authority of the tests", "-noenc")
    signed = ("-CA", "authority.pem", "-CAkey", "authority.key.pem", "-addext", "basicConstraints=critical,CA:false")
    names = ("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost")
    _issue(folder, "broker", "localhost", "-noenc", *signed, *names)
    files.broker.write_text((folder / "broker.key.pem").read_text() + (folder / "broker.pem").read_text())
    _issue(folder, "client", client, "-passout", "stdin", *signed)
    return files


def _issue(folder: Path, name: str, common_name: str, *words: str) -> None:
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", f"{name}.key.pem")
    said = subprocess.run(
        ["openssl", "req", "-x509", "-days", "2", "-subj", f"/CN={common_name}", *key, "-out", f"{name}.pem", *words],
        cwd=folder, input=KEY_PASSWORD, capture_output=True, text=True,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
