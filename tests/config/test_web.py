"""The section `web`: what is derived from it, and every mistake with its line and cure."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from stream.config.load import load
from stream.config.web import Web
from stream.core.errors import Misconfigured
from tests.config.texts import FILE, config, problems

FILES = FILE.parent


def web(*lines: str) -> str:
    """A configuration with the section; its lines begin on line 3."""
    return "log: sqlite:q\nweb:\n" + "".join(f"  {line}\n" for line in lines)


def read(*lines: str) -> Web:
    found = config(web(*lines)).web
    assert found is not None
    return found


def test_without_the_section() -> None:
    """There is no web; an empty section is one with all its defaults."""
    assert config("log: sqlite:q").web is None
    got = read()
    assert (got.listen, str(got.timezone), got.secure) == (("127.0.0.1", 8480), "UTC", False)
    assert (got.tokens_file, got.index) == (FILES / "tokens.json", FILES / "quota-stream-web.db")
    assert (got.public_url, got.proxy, got.tls, got.link_key_files, got.frame_ancestors) == (None, None, None, (), ())


def test_what_it_takes() -> None:
    """Files beside the configuration, one value for a list of one, networks, an index in memory."""
    got = read(
        "index: 'memory:'", "public_url: https://quota.example.com/", "link_key_files: link.key",
        "frame_ancestors: https://billing.example.com", "proxy: {addresses: [127.0.0.1, '10.0.0.7/8']}",
        "tls: {cert_file: web.pem, key_file: /etc/web.key}",
    )  # fmt: skip
    assert (got.index, got.public_url, got.frame_ancestors) == (
        None, "https://quota.example.com", ("https://billing.example.com",),
    )  # fmt: skip
    assert got.link_key_files == (FILES / "link.key",)
    assert got.proxy is not None
    assert got.proxy.addresses == (ip_network("127.0.0.1"), ip_network("10.0.0.0/8"))
    assert [(key, file, secret) for key, file, secret in got.files()] == [
        (("tls", "cert_file"), FILES / "web.pem", False),
        (("tls", "key_file"), Path("/etc/web.key"), True),
        (("link_key_files", 0), FILES / "link.key", True),
    ]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (("port: 80",), "3: web.port: this key is not known; write one of listen, tokens_file, index, public_url, "
         "link_key_files, frame_ancestors, proxy, tls, timezone"),
        (("listen: quota.example.com:80",), "3: web.listen: 'quota.example.com:80' is no address to listen on; write "
         "for example 127.0.0.1:9464, or off"),
        (("listen: 127.0.0.1:9464",), "3: web.listen: 127.0.0.1:9464 is where metrics and health are served; write "
         "another port, for example 127.0.0.1:8480"),
        (("token: qs_secret",), "3: web.token: this key is not known; write tokens_file"),
        (("frame_ancestors: ['https://a.example.com; script-src *']",), "3: web.frame_ancestors.1: 'https://a.example.com;"
         " script-src *' is no origin; write for example https://billing.example.com"),
        (("proxy: {user_header: X-Remote-User}",), "3: web.proxy: `addresses` is missing; write `addresses: "
         "[127.0.0.1]`"),
        (("proxy: {addresses: [router]}",), "3: web.proxy.addresses.1: 'router' is no address; write for example "
         "127.0.0.1 or 10.0.0.0/8"),
        (("proxy: {addresses: ['::1'], user_header: 'X User'}",), "3: web.proxy.user_header: 'X User' is no name of a "
         "header; write for example X-Remote-User"),
        (("tls: {cert_file: web.pem}",), "3: web.tls: `key_file` is missing; write `key_file: web.key`"),
        (("timezone: Europe/Berln",), "3: web.timezone: there is no time zone 'Europe/Berln'; write Europe/Berlin"),
    ],
)  # fmt: skip
def test_mistakes(lines: tuple[str, ...], problem: str) -> None:
    """Each is said with its line and a cure."""
    assert problems(web(*lines)) == [problem]


@pytest.mark.parametrize(
    ("lines", "warned"),
    [
        (("listen: 0.0.0.0:8480",), True),
        (("listen: localhost:8480",), False),
        (("listen: '[::1]:8480'",), False),
        (("listen: 0.0.0.0:8480", "public_url: http://quota.example.com"), True),
        (("listen: 0.0.0.0:8480", "public_url: http://127.0.0.1:8480"), False),
        (("listen: 0.0.0.0:8480", "public_url: https://quota.example.com"), False),
        (("listen: 0.0.0.0:8480", "tls: {cert_file: a, key_file: b}"), False),
    ],
)
def test_a_warning_of_tokens_on_the_network(lines: tuple[str, ...], warned: bool) -> None:
    """Beyond this machine the web wants https, its own or a proxy's."""
    warnings = config(web(*lines)).warnings
    assert [one for one in warnings if "tokens go over the network as they are" in one] == list(warnings)
    assert bool(warnings) == warned


def test_files_that_are_missing_or_open(tmp_path: Path) -> None:
    """`check` finds those that are named and not there; secrets that others may read are warned of."""
    file = tmp_path / "q.yaml"
    file.write_text(web("link_key_files: [old.key, new.key]"))
    (tmp_path / "old.key").write_text("x")
    (tmp_path / "old.key").chmod(0o644)
    assert [one.split(": ", 1)[1] for one in load(file).warnings] == [
        f"web.link_key_files.1: {tmp_path / 'old.key'} can be read by everybody on this machine; run `chmod 600 "
        f"{tmp_path / 'old.key'}`"
    ]
    with pytest.raises(Misconfigured) as raised:
        load(file, with_files=True)
    assert [one.split(": ", 1)[1] for one in raised.value.problems] == [
        f"web.link_key_files.2: the file {tmp_path / 'new.key'} does not exist or cannot be read; create it, readable "
        "by the user who runs this"
    ]
