"""The configuration, what it names, and what the environment says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import orjson
import yaml

from stream import wire
from stream.adapters import systemd
from stream.adapters.vmmanager import Credentials, LongLivedToken
from stream.bootstrap import client_secret, client_settings
from stream.config.load import load, loads
from stream.config.model import Config
from stream.config.secrets import Secret
from stream.config.units import (
    DURATION,
    SIZE,
    SPEED,
    duration_ms,
    duration_text,
    percent,
    size_bytes,
    size_text,
    speed,
    speed_text,
)
from stream.core.errors import Misconfigured
from stream.core.model import Record, Speed
from stream.core.plan import Plan
from stream.ports import Machine
from tests.fuzz.mutation import Draw
from tests.fuzz.target import folder_of

FILE = Path("/etc/quota-stream/quota-stream.yaml")

EVERYTHING = """\
log: sqlite:quota-stream.db
shadow: true
strict_secrets: false
partitions: 4
max_ahead: 1h
checkpoint: 5s
retention: {traffic.deltas: 40d, quota.profile-changes: 400d, quota.dead-letters: 30d}
listen: 127.0.0.1:9464
log_level: info
log_format: json
platforms:
  vm1: &platform
    type: vmmanager
    url: https://vm.example.com:1500/base
    token_file: vm1.token
    timezone: Europe/Berlin
    poll: 60s
    settle: 2m
    final_after: 6h
    sampling: 5m
    stamp: end
    unlimited: null
    max_requests_per_second: 12.5
    concurrency: 4
    foreign: yield
    adopt: [101, "2*"]
    max_slowed_at_once: {percent: 10%, least: 5, within: 10m}
    labels: [name, account, tag]
  vm2:
    <<: *platform
    token_file: null
    email: admin@example.com
    password_env: VM2_PASSWORD
plans:
  vpn:
    window: {slide: 1h, slices: 6}
    count: {in: 100%, out: 50%}
    warn: 80%
    profiles:
      default: {speed: 100 Mbit/s, quota: 1048576000, down: 25Mbit}
      25Mbit: {speed: {in: 25 Mbit/s, out: original}, quota: 1 GiB, stay: 1h, up: {below: {9 MB: default}}}
  month:
    window: {calendar: month, anchor_day: service, timezone: Europe/Berlin}
    on_change: keep
    profiles:
      full: {speed: original, quota: service, at: reached, down: slow}
      slow: {speed: 10 Mbit/s, stay: period, up: full}
mappings:
  netflow:
    service: vm1/{vm.id}
    start: {field: begin, format: rfc3339}
    end: {field: end, format: us}
    in: {field: kilobits, factor: 0.125}
    out: sent
  radius: {service: "{name}", end: {field: time, format: s}, duration: {field: length, format: ms}, in: octets}
  total: {service: "a/{{{x}}}", start: {field: t, format: ns}, duration: 5m, out: {field: sum, factor: 1000000000000}}
services:
  - {match: {platform: vm1, id: [7, 100-199]}, plans: []}
  - {match: {platform: "vm*", tag: vpn, cluster: "kvm-[12]"}, plans: [vpn, month], quota: 1 TiB, anchor_day: 31}
  - {match: {}, plans: vpn}
"""

SMALL = """\
log: sqlite:quota-stream.db
platforms: {vm1: {type: vmmanager, url: "http://vm1", timezone: UTC, token_file: vm1.token}}
"""

MACHINE = Machine(
    service="vm1/101",
    name="a.example.com",
    running=True,
    limits=Speed(100_000_000, None),
    attributes={
        "id": ("101",),
        "name": ("a.example.com",),
        "tag": ("vpn", "x"),
        "account": ("7",),
        "cluster": ("kvm-1",),
    },
)


class ConfigSubject:
    """A file's bytes, and environment variables."""

    def __init__(self) -> None:
        examples = [(files("stream") / "examples" / f"{name}.yaml").read_text() for name in ("vpn", "month")]
        self._texts = [EVERYTHING, *examples]
        self._documents = [orjson.dumps(yaml.safe_load(text), option=orjson.OPT_NON_STR_KEYS) for text in self._texts]

    def draw(self, draw: Draw) -> tuple[bytes, dict[str, str], bool]:
        """Also whether the files that it names must be there."""
        environ = {"CREDENTIALS_DIRECTORY": draw.word()} if draw.chance(0.1) else {}
        return self._text(draw), environ, draw.chance(0.5)

    def _text(self, draw: Draw) -> bytes:
        text = draw.pick(self._texts)
        match draw.rng.randrange(20):
            case 0:
                return text.encode()
            case 1 | 2 | 3:
                return draw.spoiled_bytes(text.encode(), [other.encode() for other in self._texts])
            case 4 | 5 | 6 | 7 | 8:  # JSON is YAML
                return draw.written(draw.spoiled(draw.pick(self._documents), self._documents))
            case 9 if draw.chance(0.1):
                return laughing(draw)
            case 10 if draw.chance(0.2):
                bomb = draw.bomb(draw.pick(self._documents), 64 * 1024)
                return bomb.replace(
                    b"[" * 400, b""
                )  # thousands deep take a second, and half a minute if memory is traced
            case _:
                return draw.lines(text).encode("utf-8", "surrogatepass")

    def take(self, given: tuple[bytes, dict[str, str], bool]) -> bool:
        text, environ, with_files = given
        check_config(loads(text, FILE, environ, with_files=with_files))
        return True


def laughing(draw: Draw) -> bytes:
    """Aliases of aliases: a few lines that would be billions of values."""
    depth, width = draw.pick((3, 9, 30)), draw.pick((2, 9))
    lines = ["a0: &a0 [x, y]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, depth)]
    merged = [f"<<: [{', '.join([f'*a{n}' for n in range(depth)])}]"] if draw.chance(0.3) else []
    return "\n".join([*lines, *merged, EVERYTHING]).encode()


def check_config(config: Config) -> None:
    """Everything that is made of a configuration can be made of one that was accepted."""
    assert all(isinstance(warning, str) for warning in config.warnings)
    for settings in config.platforms.values():
        client_settings(settings)
        client_secret(settings)
        str(settings.secret)
    for name in config.platforms:
        config.services.match(MACHINE, name)
    message = wire.encode_plans(1, config.plans, config.mappings)
    if len(message.value or b"") < 500_000:
        [event] = wire.Decoder().decode([Record(0, 1_764_547_200_000, None, message.value)])
        assert getattr(event, "plans", None) == config.plans, "the plans cannot be read from the log"
        assert getattr(event, "mappings", None) == config.mappings, "the mappings cannot be read from the log"
    for name, plan in config.plans.items():
        assert Plan.from_json(name, plan.to_json()) == plan


# ---------------------------------------------------------------- quantities

READERS: Sequence[tuple[Callable[[object], Any], Callable[[Any], str] | None, int]] = (
    (size_bytes, size_text, SIZE.most),
    (duration_ms, duration_text, DURATION.most),
    (percent, None, 10**6),
    (speed, speed_text, SPEED.most),
)


class QuantitySubject:
    """A size, duration, percentage or speed, as the configuration or the command line gives it."""

    SEEDS = ("1024 GiB", "1048576000", "60s", "90 m", "2d", "80%", "10 Mbit/s", "1_000.5 kB", "original", "1.5 h")

    def draw(self, draw: Draw) -> tuple[int, Any]:
        value: Any = draw.text(draw.pick(self.SEEDS)) if draw.chance(0.8) else draw.odd()
        if draw.chance(0.05):
            value = {draw.pick(("in", "out", draw.word())): draw.pick(self.SEEDS), "out": draw.odd()}
        return draw.rng.randrange(len(READERS)), value

    def take(self, given: tuple[int, Any]) -> bool:
        read, tell, most = READERS[given[0]]
        amount = read(given[1])
        for part in amount if isinstance(amount, Speed) else (amount,):
            assert part is None or (type(part) is int and 0 <= part <= most)
        if tell is not None and not (isinstance(amount, Speed) and amount.in_ != amount.out):
            assert read(tell(amount)) == amount
        return True


# ---------------------------------------------------------------- secrets and environment


class SecretsSubject:
    """The content of a secret's file."""

    def __init__(self) -> None:
        self._secret = Secret(file=folder_of(self) / "secret")

    def draw(self, draw: Draw) -> bytes:
        if draw.chance(0.01):
            return draw.spoiled_bytes(b"x" * 70_000)
        return draw.spoiled_bytes(
            draw.pick((b"correct horse\n", b"0123456789abcdef\n", b"\xef\xbb\xbfgeheim\r\n", "пароль".encode()))
        )

    def take(self, given: bytes) -> bool:
        assert self._secret.file is not None
        self._secret.file.write_bytes(given)
        tokens = LongLivedToken(self._secret.read), Credentials(email="a@example.com", password=self._secret.read)
        found = [self._read(given, secret) for secret in tokens]
        if found[0] is not None:
            httpx.Headers({"x-xsrf-token": found[0], "cookie": f"ses6={found[0]}"})
        return any(value is not None for value in found)

    @staticmethod
    def _read(given: bytes, secret: LongLivedToken | Credentials) -> str | None:
        """None if it is refused, in words that do not repeat it."""
        try:
            return secret.read()
        except Misconfigured as refusal:
            words = str(refusal)
        content = given.decode(errors="ignore").strip()
        assert len(content) < 6 or content not in words, "a secret stands in a message"
        return None


class EnvironmentSubject:
    """Variables that the system sets for us, and the name of the configuration's file."""

    def __init__(self) -> None:
        self._folder = folder_of(self)
        (self._folder / "quota-stream.yaml").write_text(SMALL)

    def draw(self, draw: Draw) -> dict[str, str]:
        names = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY", "QUOTA_STREAM_CONFIG")
        values = ("/run/none", "@none", "30000000", "1", "/run/secrets", "quota-stream.yaml", "x" * 5000, draw.word())
        made = {name: draw.text(draw.pick(values)) for name in names if draw.chance(0.5)}
        return {name: _possible(value) for name, value in made.items()}

    def take(self, given: dict[str, str]) -> bool:
        systemd.notify("READY=1", given)
        every_s = systemd.watchdog_s(given)
        assert every_s is None or every_s >= 0
        check_config(load(self._folder / given.get("QUOTA_STREAM_CONFIG", "quota-stream.yaml"), given))
        return True


def _possible(value: str) -> str:
    """As Python gives what an environment can hold: no NUL, and each byte that is no UTF-8 as half of a pair."""
    return value.replace("\0", "").encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
