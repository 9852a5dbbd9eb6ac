"""`init` and `check`."""

from __future__ import annotations

import json
import re
import sys
from importlib.resources import files
from pathlib import Path

import pytest

from stream.config.load import load
from tests.cli.calling import CONFIG, call


def example(name: str) -> str:
    return files("stream").joinpath("examples", f"{name}.yaml").read_text()


@pytest.mark.parametrize(
    ("arguments", "name"), [((), "month"), (("--example", "month"), "month"), (("--example", "vpn"), "vpn")]
)
def test_init_writes_an_example(folder: Path, arguments: tuple[str, ...], name: str) -> None:
    """The example lands in the configuration's place, in shadow; nothing else is created, no secret above all."""
    result = call("init", *arguments)
    assert result.stdout == (
        "wrote quota-stream.yaml: put in your URL and token file, then `quota-stream check --live`\n"
    )
    assert (folder / "quota-stream.yaml").read_text() == example(name)
    assert [path.name for path in folder.iterdir()] == ["quota-stream.yaml"]
    assert load(folder / "quota-stream.yaml").shadow


def test_init_overwrites_only_by_force(folder: Path) -> None:
    """What is there stays, unless --force says otherwise."""
    file = folder / "mine.yaml"
    file.write_text("precious")
    result = call("init", "--config", "mine.yaml", status=2)
    assert result.stderr == "mine.yaml: exists already; name another with --config, or use --force\n"
    assert file.read_text() == "precious"
    call("init", "--config", "mine.yaml", "--force")
    assert file.read_text() == example("month")


def test_init_where_nothing_can_be_written(folder: Path) -> None:
    """A folder that is not there is said in one line."""
    result = call("init", "--config", "nowhere/x.yaml", status=2)
    assert result.stderr == "nowhere/x.yaml: cannot be written (No such file or directory); name another file\n"


def unit(*arguments: str) -> dict[str, list[str]]:
    """The settings of the printed unit."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", call("init", "--systemd", *arguments).stdout, flags=re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def test_the_unit_before_there_is_a_configuration(folder: Path) -> None:
    """It speaks of the usual places, runs as its own user, is watched, and may write its own state alone."""
    got = unit()
    program = Path(sys.executable).with_name("quota-stream")
    assert got["ExecStart"] == [f"{program} run --config /etc/quota-stream/quota-stream.yaml"]
    assert got["LoadCredential"] == ["vm1.token:/etc/quota-stream/vm1.token"]
    assert got["User"] == ["quota-stream"]
    assert (got["Type"], got["WatchdogSec"], got["Restart"]) == (["notify"], ["60"], ["always"])
    assert got["StateDirectory"] == ["quota-stream"]
    assert "ReadWritePaths" not in got
    hard = ["NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectKernelModules", "RestrictNamespaces"]
    assert [got[key] for key in hard] == [["yes"]] * len(hard)
    assert got["ProtectSystem"] == ["strict"]
    assert got["CapabilityBoundingSet"] == [""]


def test_the_unit_of_a_configuration(folder: Path) -> None:
    """It hands over the secrets that lie beside the file, and lets the log be written where it is."""
    text = example("month").replace("sqlite:quota-stream.db", "sqlite:/srv/quota/log.db")
    text = text.replace("  # index: quota-stream-web.db", "  index: /var/lib/quota-stream/web.db")
    (folder / "quota-stream.yaml").write_text(text.replace("vm1.token ", "my.token "))
    got = unit()
    assert got["ExecStart"][0].endswith(f" run --config {folder}/quota-stream.yaml")
    assert got["LoadCredential"] == [f"my.token:{folder}/my.token"]
    assert got["ReadWritePaths"] == ["/srv/quota"]
    state = text.replace("/srv/quota/log.db", "/var/lib/quota-stream/log.db").replace("vm1.token ", "/run/secrets/vm1 ")
    (folder / "quota-stream.yaml").write_text(state)
    got = unit()
    assert "ReadWritePaths" not in got
    assert "LoadCredential" not in got


@pytest.mark.parametrize("role", ["collect", "track", "enforce", "serve"])
def test_the_unit_of_a_role(folder: Path, role: str) -> None:
    """It runs that command, may write where log and index lie, and gets the keys that it names."""
    text = example("vpn").replace("  # index: quota-stream-web.db", "  index: /srv/web/web.db")
    (folder / "quota-stream.yaml").write_text(text.replace("  # link_key_files:", "  link_key_files:"))
    got = unit("--role", role)
    assert got["ExecStart"][0].endswith(f" {role} --config {folder}/quota-stream.yaml")
    assert got["ReadWritePaths"] == [f"/srv/web {folder}"]
    assert got["LoadCredential"] == [f"{name}:{folder}/{name}" for name in ("vm1.token", "link.key")]
    assert f"enable --now quota-stream-{role} " in call("init", "--systemd", "--role", role).stdout


# ---------------------------------------------------------------- check


def with_token(folder: Path, name: str, mode: int = 0o600) -> None:
    (folder / "quota-stream.yaml").write_text(example(name))
    (folder / "vm1.token").write_text("secret")
    (folder / "vm1.token").chmod(mode)


def test_check_tells_the_month_in_words(folder: Path) -> None:
    """The vendor's case, as `check` explains it."""
    with_token(folder, "month")
    assert call("check").stdout.splitlines() == [
        "month: bytes in and out over the month in Europe/Berlin; what was used stays counted after a change, "
        "a warning at 80 %",
        "  full  original; 1 TiB reached: down to slow",
        "  slow  10 Mbit/s; at the rollover up to full",
        "platforms: vm1 (https://vm.example.com)",
        f"log: sqlite:{folder}/quota-stream.db",
        "shadow: on; decisions are made and nothing is changed on a platform",
        "quota-stream.yaml is correct",
    ]


def test_check_tells_the_ladder_in_words(folder: Path) -> None:
    """The origin's case, as `check` explains it."""
    with_token(folder, "vpn")
    assert call("check").stdout.splitlines()[:5] == [
        "vpn: bytes in and out over the last 1h in slices of 10m; each change begins with an empty window",
        "  default  100 Mbit/s; more than 1000 MiB: down to 50Mbit",
        "  50Mbit   50 Mbit/s; more than 1000 MiB: down to 25Mbit; after 1h up to default below the quota",
        "  25Mbit   25 Mbit/s; more than 1000 MiB: down to 10Mbit; after 1h up to default below 699050666 B, "
        "50Mbit below the quota",
        "  10Mbit   10 Mbit/s; quota 1000 MiB; after 1h up to default below 349525333 B, 50Mbit below 699050666 B, "
        "25Mbit below the quota",
    ]


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        ("{window: {calendar: day, slices: 30, timezone: UTC}, count: {in: 100%, out: 0%}",
         "bytes in over the last 30 days in UTC; each change begins with an empty window"),
        ("{window: {calendar: month, anchor_day: service, timezone: UTC}, count: {in: 100%, out: 50%}",
         "bytes in and 50 % of bytes out over the month from the service's own day in UTC; "
         "each change begins with an empty window"),
        ("{window: {calendar: month, anchor_day: 15, timezone: UTC}",
         "bytes in and out over the month from day 15 in UTC; each change begins with an empty window"),
    ],
)  # fmt: skip
def test_windows_in_words(folder: Path, plan: str, told: str) -> None:
    """Every kind of window has words of its own."""
    profiles = "{full: {speed: {in: original, out: 5 Mbit/s}, quota: service}}"
    (folder / "quota-stream.yaml").write_text(f"log: sqlite:q.db\nplans:\n  p: {plan}, profiles: {profiles}}}\n")
    assert call("check").stdout.splitlines()[:2] == [
        f"p: {told}",
        "  full  in original, out 5 Mbit/s; quota the service's own quota",
    ]


def test_check_says_everything_that_is_wrong(folder: Path) -> None:
    """All mistakes at once on standard error, missing files among them; exit status 2."""
    with_token(folder, "month")
    (folder / "vm1.token").unlink()
    text = (
        (folder / "quota-stream.yaml").read_text().replace("stay: period", "stay: perod").replace("shadow:", "shdow:")
    )
    (folder / "quota-stream.yaml").write_text(text)
    result = call("check", status=2)
    assert result.stdout == ""
    told = [line.partition(": ")[2] for line in result.stderr.splitlines()]
    assert told == [
        "shdow: this key is not known; write shadow",
        f"platforms.vm1.token_file: the file {folder}/vm1.token does not exist or cannot be read; "
        "create it, readable by the user who runs this",
        "plans.month.profiles.slow.stay: 'perod' is not a duration; write for example 60s (units: ms s m h d)",
    ]
    assert [line.partition(":")[0] for line in result.stderr.splitlines()] == ["quota-stream.yaml"] * 3
    document = json.loads(call("check", "--json", status=2).stdout)
    assert (document["correct"], len(document["errors"]), document["warnings"]) == (False, 3, [])


def test_check_warns(folder: Path) -> None:
    """A warning is said and is no error."""
    with_token(folder, "month", 0o644)
    result = call("check")
    token = folder / "vm1.token"
    what = f"{token} can be read by everybody on this machine; run `chmod 600 {token}`"
    assert result.stdout.splitlines()[0] == f"warning: quota-stream.yaml:17: platforms.vm1.token_file: {what}"
    document = json.loads(call("check", "--json").stdout)
    assert (document["correct"], len(document["warnings"]), list(document["plans"])) == (True, 1, ["month"])


def test_check_without_a_platform(folder: Path) -> None:
    """Who feeds their own meters is told how."""
    (folder / "quota-stream.yaml").write_text(CONFIG)
    assert call("check").stdout.splitlines()[-3:] == [
        "platforms: none; traffic comes by `quota-stream publish`",
        f"log: sqlite:{folder}/q.db",
        "quota-stream.yaml is correct",
    ]


def test_other_commands_log_the_warnings(folder: Path) -> None:
    """Warnings of the configuration do not get lost when nobody runs `check`."""
    with_token(folder, "month", 0o644)
    result = call("status", status=2)
    assert "level=warning event=configuration.warning" in result.stderr
    assert result.stderr.endswith(
        f"{folder}/quota-stream.db: there is no log yet; `quota-stream run` or `quota-stream publish` makes it\n"
    )
