"""`token` and `service link`: who may come in, and what a customer gets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stream.adapters.clock import SystemClock
from stream.web.access.tokens import TokensFile
from stream.web.customer.links import service_of
from tests.cli.calling import CONFIG, call, lines, registration

DAY_MS = 86_400_000
KEY = "k" * 64


@pytest.fixture(autouse=True)
def configured(folder: Path) -> None:
    """A configuration with a web."""
    (folder / "quota-stream.yaml").write_text(
        f"{CONFIG}listen: off\nweb: {{public_url: 'https://q.test', link_key_files: [link.key]}}\n"
    )
    (folder / "link.key").touch(mode=0o600)
    (folder / "link.key").write_text(f"{KEY}\n")


def test_a_token_is_shown_once() -> None:
    """On standard output, alone, so that it can be piped; the file knows it and does not have it."""
    made = call("token", "create", "anna", "--role", "operate")
    token = made.stdout.strip()
    assert re.fullmatch(r"qs_[A-Za-z0-9_-]{43}", token)
    assert "anna" in made.stderr
    assert token not in made.stderr
    file = TokensFile(Path("tokens.json"))
    entry = file.find(token)
    assert entry is not None
    assert (entry.name, entry.role) == ("anna", "operate")
    assert token not in Path("tokens.json").read_text()
    assert token not in call("token", "list").output


def test_reading_is_the_default_role() -> None:
    """And JSON has the token too."""
    (document,) = lines(call("token", "create", "ben", "--json"))
    assert (document["name"], document["role"]) == ("ben", "read")
    assert TokensFile(Path("tokens.json")).find(document["token"]) is not None


def test_list_and_revoke() -> None:
    """A table of names and roles; a revoked one is gone, and cannot be revoked again."""
    call("token", "create", "anna")
    call("token", "create", "ben", "--role", "operate")
    rows = [re.split(r"  +", line)[:2] for line in call("token", "list").stdout.splitlines()]
    assert rows == [["NAME", "ROLE"], ["anna", "read"], ["ben", "operate"]]
    assert [one["name"] for one in lines(call("token", "list", "--json"))] == ["anna", "ben"]
    assert "revoked" in call("token", "revoke", "anna").stdout
    assert "there is no token 'anna'" in call("token", "revoke", "anna", status=1).stderr
    assert "already" in call("token", "create", "ben", status=1).stderr
    assert call("token", "create", "carl", "--role", "root", status=2).exit_code == 2
    assert [one["name"] for one in lines(call("token", "list", "--json"))] == ["ben"]


def test_without_a_web_there_is_nobody_to_let_in(folder: Path) -> None:
    """The error says what to write."""
    (folder / "quota-stream.yaml").write_text(CONFIG)
    assert "there is no section `web`" in call("token", "list", status=2).stderr


def test_a_link() -> None:
    """It opens the service for so many days; one of an unknown service is not made."""
    call("publish", stdin=registration("vm1/1"))
    call("run", "--drain")
    before = SystemClock().now()
    link = call("service", "link", "vm1/1", "--days", "3").stdout.strip()
    assert link.startswith("https://q.test/c/")
    token = link.rpartition("/")[2]
    for days, service in ((0, "vm1/1"), (3, "vm1/1"), (3.01, None)):
        assert service_of(token, [KEY.encode()], before + round(days * DAY_MS)) == service
    (document,) = lines(call("service", "link", "vm1/1", "--json"))
    assert document["expires"] - before == pytest.approx(30 * DAY_MS, abs=60_000)
    assert "no such service" in call("service", "link", "vm1/2", status=2).stderr
    assert call("service", "link", "vm1/1", "--days", "0", status=2).exit_code == 2


def test_a_link_needs_a_key(folder: Path) -> None:
    """What is missing is said, with how to make it."""
    call("publish", stdin=registration("vm1/1"))
    call("run", "--drain")
    (folder / "quota-stream.yaml").write_text(f"{CONFIG}listen: off\nweb: {{}}\n")
    assert "openssl rand -hex 32" in call("service", "link", "vm1/1", status=2).stderr
