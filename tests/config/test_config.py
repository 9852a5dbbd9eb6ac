"""What a good configuration comes to, and what is worth a warning."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from stream import ports
from stream.config.load import load
from stream.config.model import Retention
from stream.config.rules import Rule
from stream.config.secrets import Secret
from stream.core.errors import Misconfigured
from stream.core.speed import ORIGINAL
from stream.ports import Machine
from tests.config.texts import CREDENTIALS, FILE, config, platform, problems, rules


def test_defaults() -> None:
    """What is not written has its documented value."""
    got = config(platform())
    assert (got.shadow, got.strict_secrets, got.partitions, got.max_ahead) == (False, False, 4, 3_600_000)
    assert (got.checkpoint, got.listen, got.log_level, got.log_format) == (5000, ("127.0.0.1", 9464), "info", "text")
    days = [40, 400, 30]
    assert [got.retention.deltas, got.retention.changes, got.retention.dead_letters] == [n * 86_400_000 for n in days]
    vm1 = got.platforms["vm1"]
    assert (vm1.poll, vm1.settle, vm1.final_after) == (60_000, 120_000, 6 * 3_600_000)
    assert (vm1.reread, vm1.gone_after, vm1.sampling, vm1.stamp) == (1_800_000, 86_400_000, 300_000, "start")
    assert (vm1.unlimited, vm1.max_requests_per_second, vm1.concurrency, vm1.timeout) == (0, 25.0, 8, 30_000)
    assert (vm1.verify, vm1.foreign, vm1.adopt, vm1.labels) == (True, "repair", (), ("name", "account"))
    brake = vm1.max_slowed_at_once
    assert (brake.percent, brake.least, brake.within) == (10, 5, 600_000)


def test_resolved() -> None:
    """Paths are relative to the file's folder, zones and numbers are objects, `off` is None."""
    text = platform("unlimited: null", "ca_file: ca.pem", "adopt: 10*", "max_slowed_at_once: {percent: 20%}")
    got = config(f"{text}listen: off\nretention: {{traffic.deltas: 50d}}\n".replace("q.db", "/var/q.db"))
    vm1 = got.platforms["vm1"]
    assert got.log.path == Path("/var/q.db")
    assert (str(got.log), got.listen, got.retention.deltas) == ("sqlite:/var/q.db", None, 50 * 86_400_000)
    assert (vm1.ca_file, vm1.timezone, vm1.unlimited) == (FILE.parent / "ca.pem", ZoneInfo("Europe/Berlin"), None)
    assert (vm1.adopt, vm1.max_slowed_at_once.percent, vm1.max_slowed_at_once.least) == (("10*",), 20, 5)
    assert vm1.secret == Secret(FILE.parent / "vm1.token")
    assert config(platform()).log.path == FILE.parent / "q.db"
    assert config("log: 'memory:'").log.kind == "memory"


def test_no_platform_is_needed() -> None:
    """Who feeds their own meters needs no platform, and the order of plans is that of the file."""
    one = "{window: {slide: 1h}, profiles: {full: {speed: original}}}"
    got = config(f"log: sqlite:q.db\nplans:\n  z: {one}\n  a: {one}\n")
    assert (list(got.plans), got.platforms, got.services) == (["z", "a"], {}, ())
    assert got.plans["z"].profiles[0].speed == ORIGINAL


def test_retention_speaks_of_topics() -> None:
    """Its keys are the topics that are not compacted."""
    keys = {field.alias for field in Retention.model_fields.values()}
    assert keys == set(ports.TOPICS) - ports.COMPACTED


def test_frozen() -> None:
    """Nobody changes a configuration."""
    got = config(platform())
    with pytest.raises(ValueError, match="frozen"):
        got.shadow = True


# ---------------------------------------------------------------- rules

VM = Machine(
    "vm1/107", "web-7", True, ORIGINAL,
    {"id": ["107"], "name": ["web-7"], "tag": ["vpn", "old"], "account": ["42"], "node": ["n1"], "cluster": ["kvm-a"]},
)  # fmt: skip


@pytest.mark.parametrize(
    ("match", "matches"),
    [
        ("{}", True),
        ("{platform: vm1}", True),
        ("{id: 107}", True),
        ("{id: [7, 107]}", True),
        ("{id: 10}", False),
        ("{id: 100-110}", True),
        ("{id: 1-99}", False),
        ("{id: '10*'}", True),
        ("{name: web-*}", True),
        ("{name: Web-*}", False),
        ("{name: 'web-[0-9]'}", True),
        ("{tag: old}", True),
        ("{tag: [new, vpn]}", True),
        ("{tag: new}", False),
        ("{account: 42, cluster: kvm-*}", True),
        ("{account: 42, cluster: lxc-*}", False),
        ("{node: 'n?'}", True),
    ],
)
def test_matching(match: str, *, matches: bool) -> None:
    """Every key must match, by any of its patterns and any of the machine's values."""
    got = config(rules(f"{{match: {match}, plans: [p]}}"))
    assert (got.services.match(VM, "vm1") is not None) == matches


def test_the_first_match_wins() -> None:
    """Order decides; a rule without plans leaves alone; what no rule matches is None."""
    got = config(
        rules("{match: {id: 107}, plans: []}", "{match: {id: 100-199}, plans: p, quota: 1 TiB, anchor_day: 5}")
    )
    other = Machine("vm1/108", "web-8", True, ORIGINAL, {"id": ["108"]})
    assert got.services.match(VM, "vm1") == Rule.model_validate({"match": {"id": [107]}, "plans": []})
    found = got.services.match(other, "vm1")
    assert found is not None
    assert (found.plans, found.quota, found.anchor_day) == (("p",), 2**40, 5)
    assert got.services.match(Machine("vm1/7", "x", True, ORIGINAL, {"id": ["7"]}), "vm1") is None


def test_a_machine_without_the_attribute_does_not_match() -> None:
    """`tag: *` means: has a tag."""
    got = config(rules("{match: {tag: '*'}, plans: [p]}"))
    assert got.services.match(Machine("vm1/7", "x", True, ORIGINAL, {"tag": []}), "vm1") is None
    assert got.services.match(VM, "vm1") is not None


# ---------------------------------------------------------------- warnings


def warnings(text: str, **environ: str) -> list[str]:
    return [one.removeprefix(f"{FILE}:") for one in config(text, **environ).warnings]


@pytest.mark.parametrize(
    ("earlier", "later", "shadowed"),
    [
        ("{}", "{id: 7}", True),
        ("{platform: vm1}", "{}", True),
        ("{platform: vm1}", "{platform: vm1, node: n1}", True),
        ("{platform: v*}", "{platform: vm1}", True),
        ("{node: n1}", "{node: n1}", True),
        ("{node: [n1, n2]}", "{node: n1}", True),
        ("{node: n1}", "{node: [n1, n2]}", False),
        ("{node: 'n*'}", "{node: 'n1*'}", True),
        ("{node: 'n1*'}", "{node: 'n*'}", False),
        ("{node: 'n?'}", "{node: n1}", True),
        ("{node: '*'}", "{cluster: a}", False),
        ("{node: n1, cluster: a}", "{node: n1}", False),
        ("{id: 1-99}", "{id: [5, 7-9]}", True),
        ("{id: 1-99}", "{id: 90-100}", False),
        ("{id: 1-99}", "{id: 100}", False),
        ("{id: '1*'}", "{id: 1-19}", False),
    ],
)
def test_a_rule_that_never_matches(earlier: str, later: str, *, shadowed: bool) -> None:
    """An earlier rule that takes everything makes the later one useless, and that is said at its line."""
    found = warnings(rules(f"{{match: {earlier}, plans: [p]}}", f"{{match: {later}, plans: []}}"))
    message = "this rule never matches: the rule on line 15 takes all before it; put it before that rule, or remove it"
    assert found == ([f"16: services.2: {message}"] if shadowed else [])


def test_a_rule_on_what_customers_edit() -> None:
    """Name and tag are the customer's unless the platform's settings say otherwise."""
    rule = "{match: {name: a*, tag: b}, plans: [p]}"
    cure = "match something that only you can change, or say with the platform's customers_edit that they cannot"
    text = "the rule rests on {} which customers may be able to change; " + cure
    assert warnings(rules(rule)) == [f"15: services.1.match.name: {text.format('name and tag,')}"]
    settings = "token_file: vm1.token\n    customers_edit: "
    only_name = rules(rule).replace("token_file: vm1.token", f"{settings}name")
    assert warnings(only_name) == [f"16: services.1.match.name: {text.format('name,')}"]
    assert warnings(rules(rule).replace("token_file: vm1.token", f"{settings}[]")) == []


def test_a_platform_that_no_rule_reaches() -> None:
    """Nothing would ever be touched there."""
    what = "no rule reaches this platform: none of its machines is ever touched"
    assert warnings(platform()) == [f"3: platforms.vm1: {what}; add a rule under services with `platform: vm1`"]


# ---------------------------------------------------------------- secrets


def folder_with_secret(folder: Path, mode: int, *, more: str = "") -> Path:
    """A configuration in `folder` whose token lies beside it."""
    token = folder / "vm1.token"
    token.write_text("s3cret\n")
    token.chmod(mode)
    file = folder / "quota-stream.yaml"
    file.write_text(platform() + more + "services: [{match: {}, plans: []}]\n")
    return file


@pytest.mark.parametrize(("mode", "who"), [(0o600, ""), (0o640, "its group"), (0o604, "everybody on this machine")])
def test_who_may_read_a_secret(tmp_path: Path, mode: int, who: str) -> None:
    """A secret file that others may read draws a warning, with `strict_secrets` an error; both with the cure."""
    file = folder_with_secret(tmp_path, mode)
    token = tmp_path / "vm1.token"
    message = f"{file}:6: platforms.vm1.token_file: {token} can be read by {who}; run `chmod 600 {token}`"
    assert load(file).warnings == ((message,) if who else ())
    strict = folder_with_secret(tmp_path, mode, more="strict_secrets: true\n")
    if who:
        with pytest.raises(Misconfigured) as caught:
            load(strict)
        assert caught.value.problems == (message,)
    else:
        assert load(strict).strict_secrets


def test_systemd_takes_care_of_its_credentials(tmp_path: Path) -> None:
    """A secret under $CREDENTIALS_DIRECTORY is found before the one beside the file, and never warned about."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "vm1.token").write_text("from systemd")
    (credentials / "vm1.token").chmod(0o644)
    file = folder_with_secret(tmp_path, 0o600)
    got = load(file, {"CREDENTIALS_DIRECTORY": str(credentials)})
    assert got.warnings == ()
    assert got.platforms["vm1"].secret.read() == "from systemd"
    assert load(file, {}).platforms["vm1"].secret.read() == "s3cret"


def test_secrets_are_read_when_used_and_never_shown(tmp_path: Path) -> None:
    """The value is in no repr; a changed file is read again; the environment works as well."""
    got = load(folder_with_secret(tmp_path, 0o600))
    secret = got.platforms["vm1"].secret
    assert secret.read() == "s3cret"
    assert "s3cret" not in repr(got) + repr(secret) + str(secret)
    (tmp_path / "vm1.token").write_text("newer")
    assert secret.read() == "newer"
    login = f"{CREDENTIALS}    email: a@example.com\n    password_env: VM1_PASSWORD\n"
    secret = config(platform(base=login)).platforms["vm1"].secret
    assert secret.read({"VM1_PASSWORD": " hunter2\n"}) == "hunter2"
    assert "hunter2" not in repr(secret)


def test_a_secret_that_is_not_there(tmp_path: Path) -> None:
    """Missing, empty and binary secrets say where they should be."""
    token = tmp_path / "token"
    with pytest.raises(Misconfigured, match=r"token: the secret cannot be read \(No such file or directory\); create"):
        Secret(token).read()
    token.write_bytes(b"\n")
    with pytest.raises(Misconfigured, match="token: the secret is empty; put it there"):
        Secret(token).read()
    token.write_bytes(b"\xff")
    with pytest.raises(Misconfigured, match="token: the secret is not UTF-8 text"):
        Secret(token).read()
    with pytest.raises(Misconfigured, match="environment variable NOT_THERE: the secret is empty; put it there"):
        Secret(variable="NOT_THERE").read({})


def test_files_that_are_missing_are_a_problem_when_asked(tmp_path: Path) -> None:
    """Reading the configuration needs no secret; checking it does."""
    file = folder_with_secret(tmp_path, 0o600)
    (tmp_path / "vm1.token").unlink()
    assert load(file).warnings == ()
    with pytest.raises(Misconfigured) as caught:
        load(file, with_files=True)
    what = f"the file {tmp_path / 'vm1.token'} does not exist or cannot be read"
    assert caught.value.problems == (
        f"{file}:6: platforms.vm1.token_file: {what}; create it, readable by the user who runs this",
    )
    assert problems(platform()) == []
