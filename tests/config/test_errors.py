"""Every class of mistake in a configuration: its exact message, with the line and a cure; and all of them at once."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from stream.config.load import load
from stream.core.errors import Misconfigured
from tests.config.texts import CREDENTIALS, FILE, PLATFORM, config, plan, platform, problems, rules

MAPPING = "write it as `key: value` lines"
DURATION = "write for example 60s (units: ms s m h d)"
LOGIN = "write `token_file: FILE`, or `email: NAME` and `password_file: FILE`, and nothing else"

TOP = [
    ("", "1: the file is empty; write at least `log: sqlite:quota-stream.db`"),
    ("just words", "1: 'just words' is not a mapping; write at least `log: sqlite:quota-stream.db`"),
    ("shadow: true", "1: `log` is missing; write `log: sqlite:quota-stream.db`"),
    ("log: quota.db", "1: log: 'quota.db' is no log; write for example sqlite:quota-stream.db"),
    ("log: 'sqlite:'", "1: log: 'sqlite:' is no log; write for example sqlite:quota-stream.db"),
    ("log: sqlite:q\nshadow: maybe", "2: shadow: 'maybe' is neither true nor false; write true or false"),
    ("log: sqlite:q\nshado: true", "2: shado: this key is not known; write shadow"),
    ("log: sqlite:q\nplatform: {}", "2: platform: this key is not known; write platforms"),
    (
        "log: sqlite:q\nxyzzy: 1",
        "2: xyzzy: this key is not known; write one of log, shadow, strict_secrets, partitions, max_ahead, checkpoint, "
        "retention, listen, log_level, log_format, kafka, platforms, plans, mappings, services, web, notify",
    ),
    ("log: sqlite:q\nlog: sqlite:r", "2: log: this key stands on line 1 already; keep one of the two"),
    ("log: sqlite:q\npartitions: 0", "2: partitions: 0 is not possible; write a whole number from 1 to 256"),
    ("log: sqlite:q\npartitions: '4'", "2: partitions: '4' is not possible; write a whole number from 1 to 256"),
    ("log: sqlite:q\nmax_ahead: 60", f"2: max_ahead: 60 has no unit; {DURATION}"),
    (
        "log: sqlite:q\nlisten: 9464",
        "2: listen: 9464 is no address to listen on; write for example 127.0.0.1:9464, or off",
    ),
    (
        "log: sqlite:q\nlisten: example.com:80",
        "2: listen: 'example.com:80' is no address to listen on; write for example 127.0.0.1:9464, or off",
    ),
    (
        "log: sqlite:q\nlog_level: loud",
        "2: log_level: 'loud' is not possible; write 'debug', 'info', 'warning' or 'error'",
    ),
    ("log: sqlite:q\nretention: 40d", f"2: retention: '40d' is not a mapping; {MAPPING}"),
    (
        "log: sqlite:q\nretention:\n  traffic.delta: 40d",
        "3: retention.traffic.delta: this key is not known; write traffic.deltas",
    ),
    ("log: sqlite:q\nplatforms: [vm1]", "2: platforms: ['vm1'] is not a mapping; write `name: ...` lines"),
    (
        "log: sqlite:q\nplatforms: {a/b: {}}",
        "2: platforms.a/b: 'a/b' is no name of a platform; write one without / and without @ at its beginning",
    ),
    ("log: sqlite:q\nplans: vpn", "2: plans: 'vpn' is not a mapping; write `name: ...` lines"),
    (
        "log: sqlite:q\nservices: {}\n",
        "2: services: {} is not a list; write rules as `- {match: {...}, plans: [...]}` lines",
    ),
]

NOT_YAML = [
    ("log: [a", "1: this is not YAML: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'"),
    (
        "a: b\n\tc: d",
        "2: this is not YAML: while scanning for the next token, found character '\\t' that cannot start any token",
    ),
    ("a: *b", "1: this is not YAML: found undefined alias 'b'"),
    ("a: 1\n---\nb: 2", "2: this is not YAML: expected a single document in the stream, but found another document"),
]

PLATFORMS = [
    ("type: vmmanager5", "4: platforms.vm1.type: 'vmmanager5' is not possible; write 'vmmanager'"),
    ("pol: 60s", "8: platforms.vm1.pol: this key is not known; write poll"),
    (
        "password: hunter2",
        "8: platforms.vm1.password: a secret has no place in this file; write it into a file that only you can read "
        "(chmod 600) and here `password_file: NAME`, or `password_env: VARIABLE`",
    ),
    (
        "api_token: abc",
        "8: platforms.vm1.api_token: a secret has no place in this file; write it into a file that only you can read "
        "(chmod 600) and here `token_file: NAME`, or `token_env: VARIABLE`",
    ),
    ("poll: 60", f"8: platforms.vm1.poll: 60 has no unit; {DURATION}"),
    ("settle: 1:30", f"8: platforms.vm1.settle: '1:30' is not a duration; {DURATION}"),
    (
        "final_after: 23h",
        "8: platforms.vm1.final_after: 23h is too long: the next day ends meanwhile; write at most 22h",
    ),
    (
        "reread: 18h",
        "8: platforms.vm1.reread: final_after and reread come to more than 23h: the next day ends meanwhile; "
        "shorten one",
    ),
    (
        "sampling: 7m",
        "8: platforms.vm1.sampling: 7m does not divide an hour into whole seconds; write for example 5m",
    ),
    ("stamp: middle", "8: platforms.vm1.stamp: 'middle' is not possible; write 'start' or 'end'"),
    (
        "unlimited: none",
        "8: platforms.vm1.unlimited: 'none' is not possible; write a whole number from 0 to 1000000000",
    ),
    (
        "max_requests_per_second: 0",
        "8: platforms.vm1.max_requests_per_second: 0 is not possible; write a number above 0, for example 25",
    ),
    ("concurrency: 1000", "8: platforms.vm1.concurrency: 1000 is not possible; write a whole number from 1 to 256"),
    ("verify: 1", "8: platforms.vm1.verify: 1 is neither true nor false; write true or false"),
    ("foreign: fight", "8: platforms.vm1.foreign: 'fight' is not possible; write 'repair' or 'yield'"),
    (
        "labels: [name, e-mail]",
        "8: platforms.vm1.labels.2: 'e-mail' is not possible; "
        "write 'id', 'name', 'tag', 'account', 'node' or 'cluster'",
    ),
    (
        "max_slowed_at_once: {percent: 10}",
        "8: platforms.vm1.max_slowed_at_once.percent: 10 has no unit; write for example 80% (units: %)",
    ),
    ("max_slowed_at_once: {last: 5}", "8: platforms.vm1.max_slowed_at_once.last: this key is not known; write least"),
    (
        "ca_file: true",
        "8: platforms.vm1.ca_file: true is not text; write a word, in quotes if YAML takes it for something else",
    ),
    (
        "token_env: VM-1",
        "8: platforms.vm1.token_env: 'VM-1' is no environment variable; write its name, for example VM1_TOKEN",
    ),
    ("token_env: TOKEN", f"3: platforms.vm1: token_file + token_env is no way to log in; {LOGIN}"),
    ("email: a@example.com", f"3: platforms.vm1: token_file + email is no way to log in; {LOGIN}"),
]

BASES = [
    (CREDENTIALS, f"3: platforms.vm1: there is no way to log in; {LOGIN}"),
    (f"{CREDENTIALS}    email: a@example.com\n", f"3: platforms.vm1: email is no way to log in; {LOGIN}"),
    (
        PLATFORM.replace("Berlin", "Berln"),
        "7: platforms.vm1.timezone: there is no time zone 'Europe/Berln'; write Europe/Berlin",
    ),
    (
        PLATFORM.replace("Europe/Berlin", "../etc/passwd"),
        "7: platforms.vm1.timezone: there is no time zone '../etc/passwd'; write for example Europe/Berlin",
    ),
    (
        PLATFORM.replace("https://", "https://root:hunter2@"),
        "5: platforms.vm1.url: there is a user or password in the URL; "
        "write the URL without; see token_file and password_file",
    ),
    (
        PLATFORM.replace("https:", "ftp:"),
        "5: platforms.vm1.url: 'ftp://vm.example.com' is no web address; write for example https://vm.example.com",
    ),
    (
        PLATFORM.replace(".com", ".com:99999"),
        "5: platforms.vm1.url: 'https://vm.example.com:99999' is no URL (Port out of range 0-65535); "
        "write for example https://vm.example.com",
    ),
    ("    type: vmmanager\n", "3: platforms.vm1: `url` is missing; write `url: https://vm.example.com`"),
]

WINDOWS = [
    (
        "{slide: 1h, slices: 7}",
        "1h does not make 7 slices of whole milliseconds, 1s at least each; write for example {slide: 1h, slices: 6}",
    ),
    (
        "{slide: 5s}",
        "5s does not make 6 slices of whole milliseconds, 1s at least each; write for example {slide: 1h, slices: 6}",
    ),
    ("{slide: 1h, timezone: UTC}", "a sliding window knows no time zone; leave `timezone` out"),
    ("{slide: 1h, anchor_day: 1}", "only months have an anchor day; leave `anchor_day` out or write `calendar: month`"),
    ("{calendar: day}", "a calendar needs a time zone; write for example `timezone: Europe/Berlin`"),
    (
        "{calendar: day, slide: 1h}",
        "a window either slides or follows the calendar; "
        "write {slide: 1h, slices: 6} or {calendar: month, timezone: Europe/Berlin}",
    ),
    (
        "{}",
        "a window either slides or follows the calendar; "
        "write {slide: 1h, slices: 6} or {calendar: month, timezone: Europe/Berlin}",
    ),
]

PROFILES = [
    ("full: {quota: 1 GiB}", "6: plans.p.profiles.full: `speed` is missing; write `speed: 10 Mbit/s`"),
    ("full: {sped: original, speed: original}", "6: plans.p.profiles.full.sped: this key is not known; write speed"),
    (
        "full: {speed: original, quota: 1 GiB, down: slow}",
        "6: plans.p.profiles.full.down: there is no profile 'slow'; the profiles are full",
    ),
    (
        "full: {speed: original, at: most}",
        "6: plans.p.profiles.full.at: 'most' is not possible; write 'exceeded' or 'reached'",
    ),
    (
        "full: {speed: original, up: {below: {}}}",
        "6: plans.p.profiles.full.up.below: {} is not a mapping of sizes to profiles; write {500 MiB: fast}",
    ),
    (
        "full: {speed: original, up: {below: {1 KiB: a, 1024: b}}}",
        "6: plans.p.profiles.full.up.below: two thresholds are the same size; keep one of them",
    ),
    (
        "full: {speed: original, up: {blow: {1 KiB: a}}}",
        "6: plans.p.profiles.full.up.blow: this key is not known; write below",
    ),
    ("up: {speed: original, quot: 1 GiB}", "6: plans.p.profiles.up.quot: this key is not known; write quota"),
    ("yes: true", f"6: plans.p.profiles.yes: true is not a mapping; {MAPPING}"),
]

RULES = [
    ("foo", f"15: services.1: 'foo' is not a mapping; {MAPPING}"),
    ("{plans: [p]}", "15: services.1: `match` is missing; write `match: {platform: vm1}`"),
    ("{match: {platform: vm1}}", "15: services.1: `plans` is missing; write `plans: [month]`"),
    ("{match: {platfrom: vm1}, plans: [p]}", "15: services.1.match.platfrom: this key is not known; write platform"),
    ("{match: {platform: vm2}, plans: [p]}", "15: services.1.match.platform: there is no platform 'vm2'; write vm1"),
    ("{match: {}, plans: [q]}", "15: services.1.plans.1: there is no plan 'q'; write one of p"),
    ("{match: {}, plans: [p, p]}", "15: services.1.plans.2: 'p' is there twice; name each plan once"),
    (
        "{match: {}, plans: [p], anchor_day: 32}",
        "15: services.1.anchor_day: 32 is not possible; write a whole number from 1 to 31",
    ),
    (
        "{match: {id: true}, plans: [p]}",
        "15: services.1.match.id: true is not text; write a word, in quotes if YAML takes it for something else",
    ),
]


@pytest.mark.parametrize(("text", "problem"), TOP)
def test_top(text: str, problem: str) -> None:
    """Mistakes at the top of the file."""
    assert problems(text) == [problem]


@pytest.mark.parametrize(("text", "problem"), NOT_YAML)
def test_what_is_no_yaml(text: str, problem: str) -> None:
    """A text that cannot be parsed says where and why."""
    assert problems(text) == [f"{problem}; mind the indentation, brackets and quotes"]


@pytest.mark.parametrize(("line", "problem"), PLATFORMS)
def test_platforms(line: str, problem: str) -> None:
    """Mistakes in the settings of a platform."""
    text = platform(line)
    if line.startswith("type"):
        text = text.replace("type: vmmanager\n", f"{line}\n", 1).removesuffix(f"    {line}\n")
    assert problems(text) == [problem]


@pytest.mark.parametrize(("base", "problem"), BASES)
def test_what_a_platform_needs(base: str, problem: str) -> None:
    """A platform without URL, zone or a way to log in."""
    assert problem in problems(platform(base=base))


@pytest.mark.parametrize(("window", "problem"), WINDOWS)
def test_windows(window: str, problem: str) -> None:
    """Mistakes in a plan's window."""
    assert problems(plan(window)) == [f"4: plans.p.window: {problem}"]


@pytest.mark.parametrize(("profile", "problem"), PROFILES)
def test_profiles(profile: str, problem: str) -> None:
    """Mistakes in a plan's profiles, found by us or by the core."""
    assert problems(plan(profiles=f"    profiles:\n      {profile}\n")) == [problem]


@pytest.mark.parametrize(("rule", "problem"), RULES)
def test_rules(rule: str, problem: str) -> None:
    """Mistakes in a rule."""
    assert problems(rules(rule)) == [problem]


SPEEDS = [
    ("1500 kbit/s", "1500 kbit/s", "1 Mbit/s"),
    ("100 kbit/s", "100 kbit/s", "1 Mbit/s"),
    ("{in: 2 Mbit/s, out: 2500 kbit/s}", "in 2 Mbit/s, out 2500 kbit/s", "2 Mbit/s"),
]


@pytest.mark.parametrize(("speed", "shown", "cure"), SPEEDS)
def test_a_speed_that_the_platform_cannot_express(speed: str, shown: str, cure: str) -> None:
    """VMmanager takes whole Mbit/s; the line is the profile's speed, once, however many rules use the plan."""
    text = rules("{match: {platform: vm1, id: 7}, plans: [p]}", "{match: {}, plans: p}").replace("10 Mbit/s", speed)
    problem = f"{shown} cannot be set on vm1: VMmanager takes whole Mbit/s, at least 1; write {cure}"
    assert problems(text) == [f"13: plans.p.profiles.slow.speed: {problem}"]


def test_a_speed_that_no_platform_must_express() -> None:
    """A plan that no rule gives to a platform's machines may have any speed."""
    assert problems(rules().replace("10 Mbit/s", "1500 kbit/s")) == []


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        (
            "quota: service",
            "plan p takes its quota from the service, and this rule gives none; write for example `quota: 1 TiB`",
        ),
        (
            "anchor_day",
            "plan p takes its anchor day from the service, and this rule gives none; write for example `anchor_day: 1`",
        ),
    ],
)
def test_what_a_rule_must_give(change: str, missing: str) -> None:
    """A plan that takes its quota or anchor day from the service needs a rule that has one."""
    text = rules("{match: {}, plans: [p]}", "{match: {id: 7}, plans: [p], quota: 1 TiB, anchor_day: 5}")
    if change == "anchor_day":
        text = text.replace("{slide: 1h}", "{calendar: month, timezone: UTC, anchor_day: service}")
    else:
        text = text.replace("quota: 1 GiB", change)
    assert problems(text) == [f"15: services.1: {missing} into the rule"]


def test_too_many() -> None:
    """At most 64 plans altogether and 8 a rule."""
    one = "\n    window: {slide: 1h}\n    profiles: {full: {speed: original}}\n"
    plans = "".join(f"  p{number}:{one}" for number in range(65))
    names = ", ".join(f"p{number}" for number in range(9))
    assert problems(f"log: sqlite:q\nservices:\n  - {{match: {{}}, plans: [{names}]}}\nplans:\n{plans}") == [
        "3: services.1.plans: there are 9 plans; a service has at most 8",
        "4: plans: there are 65 plans; keep at most 64",
    ]


def test_all_at_once_in_the_order_of_the_file() -> None:
    """Mistakes of every kind come out together, sorted by line."""
    text = rules("{match: {platform: vm2}, plans: [p, q]}").replace("1 GiB", "1 gib").replace("url", "uri")
    text += "log: 'memory:'\nlisten: 1\n"
    assert problems(text) == [
        "3: platforms.vm1: `url` is missing; write `url: https://vm.example.com`",
        "5: platforms.vm1.uri: this key is not known; write url",
        "12: plans.p.profiles.full.quota: 'gib' is not a unit of a size; write 1 GiB",
        "15: services.1.match.platform: there is no platform 'vm2'; write vm1",
        "15: services.1.plans.2: there is no plan 'q'; write one of p",
        "16: log: this key stands on line 1 already; keep one of the two",
        "17: listen: 1 is no address to listen on; write for example 127.0.0.1:9464, or off",
    ]


def test_a_secret_is_never_repeated() -> None:
    """What looks like a secret stays out of the messages, wherever it was put."""
    text = platform("password: hunter2", "tokn: hunter2").replace("https://", "https://root:hunter2@")
    assert len(problems(text)) == 3
    assert "hunter2" not in "".join(problems(text))


def test_yaml_of_the_odd_kind() -> None:
    """Anchors, merges and tags: the first two work, a tag is an error, and nothing loops."""
    anchors = plan(
        profiles="    profiles:\n      a: &a {speed: 1 Mbit/s}\n      b: {<<: *a, quota: 1 GiB}\n      c: *a\n"
    )
    assert [profile.speed.in_ for profile in config(anchors).plans["p"].profiles] == [1_000_000] * 3
    assert problems("log: !secret x") == [
        "1: log: the tag !secret has no meaning here; leave it out",
        "1: log: 'x' is no log; write for example sqlite:quota-stream.db",
    ]
    assert (
        problems("log: sqlite:q\nplans: &p {a: *p}")[0] == "2: plans.a: an alias contains itself; write the values out"
    )
    assert problems("? [a, b]\n: 1\nlog: sqlite:q") == ["1: a key must be a single word or number; write `key: value`"]
    assert problems("a: " + "[" * 5000)[0].startswith("1: this is not YAML: ")


def test_too_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is no configuration is given up before all of it is in memory."""
    monkeypatch.setattr("stream.config.document.MAX_NODES", 1000)
    text = "log: sqlite:q\nservices:\n" + "- a\n" * 100_000
    tracemalloc.start()
    [problem] = problems(text)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert problem.startswith(
        "999: this is not YAML: there are more than 1000 values, which is no configuration of ours"
    )
    assert peak_bytes < 8 * len(text)


def test_text_that_is_no_text() -> None:
    """A file that is not UTF-8, and one of endless aliases."""
    binary = b"log: sqlite:\xff\xfe"
    assert problems(binary) == [
        '1: this is not YAML: unacceptable character #x00ff: invalid start byte in "<byte string>", position 12; '
        "write the file as UTF-8 text"
    ]
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for one, two in zip("abcdefg", "bcdefgh", strict=True):
        bomb += f"{two}: &{two} [{', '.join([f'*{one}'] * 10)}]\n"
    assert "1: more than 250000 values; mind aliases that multiply" in problems(bomb)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("~nobody-is-called-so/x", "begins with a user who has no home here; write the whole path"),
        ("x" * 256, "is longer than a path can be; write a shorter one"),
        ("x/" * 2100, "is longer than a path can be; write a shorter one"),
    ],
)
def test_paths_that_nothing_can_have(path: str, words: str) -> None:
    """They are refused with their line wherever a path may stand, and not met again by whoever opens the file."""
    credentials = {"CREDENTIALS_DIRECTORY": "/run/credentials"}
    for text in (
        platform(f"token_file: {path}", base=CREDENTIALS),
        platform(f"ca_file: {path}"),
        f"log: sqlite:{path}",
    ):
        [problem] = problems(text, **credentials)
        assert problem.endswith(words)


def test_credentials_that_no_folder_holds() -> None:
    """A credentials directory that cannot be looked into holds no secret."""
    got = config(platform(), CREDENTIALS_DIRECTORY="/" + "x" * 300)
    assert got.platforms["vm1"].secret.file == FILE.parent / "vm1.token"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file says how to get one; a folder is no file."""
    missing = tmp_path / "quota-stream.yaml"
    cure = "write one with `quota-stream init`, or name yours with --config"
    with pytest.raises(Misconfigured) as caught:
        load(missing)
    assert caught.value.problems == (f"{missing}: there is no such file; {cure}",)
    with pytest.raises(Misconfigured) as caught:
        load(tmp_path)
    assert caught.value.problems == (
        f"{tmp_path}: the file cannot be read (Is a directory); make it readable to this user",
    )


def test_the_name_stands_before_each_message() -> None:
    """Messages begin with the file as it was named, so that an editor finds the line."""
    with pytest.raises(Misconfigured) as caught:
        config("shadow: true")
    assert str(caught.value) == f"{FILE}:1: `log` is missing; write `log: sqlite:quota-stream.db`"


@pytest.mark.parametrize(
    "text",
    ['log: "sqlite:\\ud800.db"', 'log: "sqlite:\\0.db"', f'{plan()}at: "\\ud800"', 'log: sqlite:q\n"\\udc00": 1'],
)
def test_what_is_no_character(text: str) -> None:
    """Halves of a character and NUL, which YAML's escapes can write, are said with their line."""
    assert any("holds an escape that is no character (shown as ?)" in one for one in problems(text))
