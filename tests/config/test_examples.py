"""The shipped examples: they are the seeds' two cases, and what their comments say is true."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

import pytest

from stream.config.kafka import Kafka
from stream.config.model import Config
from stream.config.web import Web
from tests.config.texts import config

NAMES = ["month", "vpn"]

BOTH = {"in": 100, "out": 100}


def mbit(number: int) -> dict[str, int]:
    return {"in": number * 1_000_000, "out": number * 1_000_000}


def step(name: str, speed: int, down: str | None, up: dict[str, Any] | None) -> dict[str, Any]:
    stay = None if up is None else 3_600_000
    return {
        "name": name, "speed": mbit(speed), "quota": 1048576000, "at": "exceeded", "down": down, "stay": stay, "up": up,
    }  # fmt: skip


SEEDS: dict[str, dict[str, Any]] = {
    "vpn": {
        "window": {"kind": "sliding", "slice_ms": 600_000, "slices": 6},
        "count": BOTH,
        "on_change": "reset",
        "warn": None,
        "profiles": [
            step("default", 100, "50Mbit", None),
            step("50Mbit", 50, "25Mbit", {"below": [], "else": "default"}),
            step("25Mbit", 25, "10Mbit", {"below": [[699050666, "default"]], "else": "50Mbit"}),
            step("10Mbit", 10, None, {"below": [[349525333, "default"], [699050666, "50Mbit"]], "else": "25Mbit"}),
        ],
    },
    "month": {
        "window": {"kind": "calendar", "unit": "month", "slices": 1, "timezone": "Europe/Berlin", "anchor_day": 1},
        "count": BOTH,
        "on_change": "keep",
        "warn": 80,
        "profiles": [
            {
                "name": "full", "speed": {"in": None, "out": None}, "quota": 1024 * 2**30, "at": "reached",
                "down": "slow", "stay": None, "up": None,
            },
            {
                "name": "slow", "speed": mbit(10), "quota": None, "at": "exceeded",
                "down": None, "stay": "period", "up": {"below": [], "else": "full"},
            },
        ],
    },
}  # fmt: skip


NO_DEFAULTS = ("public_url", "link_key_files", "tls", "proxy", "notify")
"""What is not there unless it is written."""


def text(name: str) -> str:
    return files("stream").joinpath("examples", f"{name}.yaml").read_text()


def uncommented(example: str) -> str:
    """The example with the defaults that it shows in comments made settings."""
    return re.sub(rf"^( *)# (?!email|{'|'.join(NO_DEFAULTS)})(?=[a-z_]+: )", r"\1", example, flags=re.MULTILINE)


def settings(got: Config) -> dict[str, Any]:
    return {key: value for key, value in dict(got).items() if key != "plans"} | {
        "plans": {name: plan.to_json() for name, plan in got.plans.items()}
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_example_is_the_seed(name: str) -> None:
    """The plan in its normal form is exactly the case of the seed, in shadow, without a warning."""
    got = config(text(name))
    assert {plan: got.plans[plan].to_json() for plan in got.plans} == {name: SEEDS[name]}
    assert (got.shadow, got.warnings) == (True, ())
    assert [rule.plans for rule in got.services] == [(name,)]


@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_that_it_shows_are_the_defaults(name: str) -> None:
    """Every commented setting may be uncommented without changing anything, and none is left out."""
    example = text(name)
    full = uncommented(example)
    assert settings(config(full)) == settings(config(example))
    shown = set(re.findall(r"^    ([a-z_]+):", full.split("\nplans:")[0], flags=re.MULTILINE))
    vm1 = config(example).platforms["vm1"]
    assert shown == set(type(vm1).model_fields) - {
        "token_env", "email", "password_file", "password_env", "ca_file", "keeps",
    }  # fmt: skip
    top = set(re.findall(r"^([a-z_]+):", full, flags=re.MULTILINE))
    assert top == set(Config.model_fields) - {"file", "warnings", "kafka", "mappings", "notify"}


@pytest.mark.parametrize("name", NAMES)
def test_the_section_for_those_who_are_told(name: str) -> None:
    """It is right when it is uncommented."""
    (line,) = re.findall(r"^# (notify: .*)$", text(name), flags=re.MULTILINE)
    got = config(f"log: sqlite:q\n{line}\n").notify
    assert got is not None
    assert got.webhook is not None


@pytest.mark.parametrize("name", NAMES)
def test_the_section_for_the_web(name: str) -> None:
    """It names every setting; those without a default are right when they are uncommented."""
    section = text(name).split("\nweb:")[1].split("\n\n")[0]
    full = re.sub(r"^  # (?=[a-z_]+: )", "  ", section, flags=re.MULTILINE)
    got = config(f"log: sqlite:q\nweb:{full}").web
    assert got is not None
    assert set(re.findall(r"^  ([a-z_]+):", full, flags=re.MULTILINE)) == set(Web.model_fields)
    assert got.proxy is not None
    assert (got.secure, got.proxy.operators, len(got.link_key_files)) == (True, ("anna",), 1)


@pytest.mark.parametrize("name", NAMES)
def test_the_section_for_a_cluster(name: str) -> None:
    """Uncommented, on a Kafka log, it is right; it names every setting but those that others stand for."""
    example = text(name)
    section = example.split("\n# kafka:")[1].replace("\n# ", "\n")
    got = config(example.replace("log: sqlite:quota-stream.db", "log: kafka://b1") + "\nkafka:" + section)
    shown = set(re.findall(r"^  ([a-z_]+):", section, flags=re.MULTILINE))
    left_out = {"sasl_password_env", "ssl_key_password_file", "ssl_key_password_env"}
    assert shown == set(Kafka.model_fields) - left_out
    same = shown - {
        "security_protocol", "ssl_ca_file", "ssl_cert_file", "ssl_key_file", "sasl_username", "sasl_password_file",
        "instance_id", "replication", "min_insync_replicas",
    }  # fmt: skip
    assert {key: getattr(got.kafka, key) for key in same} == {key: getattr(Kafka(), key) for key in same}


def test_the_examples_differ_in_the_plan_alone() -> None:
    """Platform and general settings are explained in the same words."""
    month, vpn = (text(name).split("\nplans:") for name in NAMES)
    assert month[0].splitlines()[1:] == vpn[0].splitlines()[1:]
    assert month[1].split("\nservices:")[1].replace("month", "vpn") == vpn[1].split("\nservices:")[1]
