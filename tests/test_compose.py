"""compose/ without an engine: the files are valid, complete, closed to the outside, and name only what exists."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import promql_parser
import pytest
import yaml
from promql_parser import AggModifierType, AggregateExpr, BinaryExpr, Expr, VectorSelector

from stream.cli import cli
from stream.config.load import load
from tests.compose import COMPOSE, CONFIGURATION, ONCE, OUR_SERVICES, OURS, ROLES, ROOT, SECRETS, SERVICES, file
from tests.test_metrics import documented_labels

DISCOVERED = {"up": {"job", "instance"}}
"""What Prometheus itself adds: this metric, and these labels to all others."""


def waits(service: Mapping[str, Any]) -> dict[str, str]:
    """What it waits for, and until when."""
    after = service.get("depends_on", {})
    if isinstance(after, list):
        return dict.fromkeys(after, "service_started")
    return {name: word["condition"] for name, word in after.items()}


def mounts(service: Mapping[str, Any]) -> list[list[str]]:
    return [volume.split(":") for volume in service.get("volumes", [])]


def dockerfile() -> list[tuple[str, str]]:
    """Instruction and words."""
    text = re.sub(r"\\\n", " ", (COMPOSE / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


# ---------------------------------------------------------------- the file itself


def test_it_is_a_compose_file() -> None:
    """The schema of the compose specification holds."""
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*words, COMPOSE / "compose.yaml"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_each_file_that_is_named_exists() -> None:
    """Files that are mounted, secrets, the build's context and its Dockerfile."""
    named = [source for service in SERVICES.values() for source, *_ in mounts(service) if source.startswith(".")]
    named += [secret["file"] for secret in file()["secrets"].values()]
    builds = [service["build"] for service in SERVICES.values() if "build" in service]
    contexts = [COMPOSE / build["context"] for build in builds]
    named += [str(context / build["dockerfile"]) for context, build in zip(contexts, builds, strict=True)]
    assert {context.resolve() for context in contexts} == {ROOT}
    assert [name for name in named if not (COMPOSE / name).is_file()] == []


def test_what_is_used_is_declared_and_the_other_way_round() -> None:
    """Volumes and secrets."""
    sources = {source for service in SERVICES.values() for source, *_ in mounts(service)}
    assert {source for source in sources if not source.startswith(".")} == set(file()["volumes"])
    assert {name for service in SERVICES.values() for name in service.get("secrets", [])} == set(file()["secrets"])


def test_ports_are_open_to_this_machine_only() -> None:
    """Whatever is published, is on loopback; what needs no looking at is not published."""
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(ports) == {"serve", "simulator", "prometheus", "grafana"}
    for published in ports.values():
        assert [port for port in published if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)] == []


@pytest.mark.parametrize("name", SERVICES)
def test_each_waits_for_what_will_come(name: str) -> None:
    """For health where it is checked, for the end where there is one; what has no end is checked and starts again."""
    for other, condition in waits(SERVICES[name]).items():
        assert condition != "service_healthy" or "healthcheck" in SERVICES[other]
        assert (other in ONCE) == (condition == "service_completed_successfully")
    for key in ("healthcheck", "restart"):
        assert (key in SERVICES[name]) == (name not in ONCE), key


@pytest.mark.parametrize("name", SERVICES)
def test_nobody_is_root(name: str) -> None:
    """A user of its own, no capabilities, no way to more; files of ours cannot be written."""
    service = SERVICES[name]
    user = service.get("user") or next(words for word, words in reversed(dockerfile()) if word == "USER")
    assert user.split(":")[0] not in ("root", "0")
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "network_mode", "pid", "cap_add", "devices"}
    for source, _, *mode in mounts(service):
        assert not source.startswith(".") or mode == ["ro"], source


@pytest.mark.parametrize("name", SERVICES)
def test_secrets_come_by_file(name: str) -> None:
    """None stands in the environment or in an argument."""
    service = SERVICES[name]
    given = [f"{key}={value}" for key, value in service.get("environment", {}).items()]
    for word in given + service.get("command", []):
        secret = re.search("password|token|secret", word, re.IGNORECASE)
        assert secret is None or word.startswith(f"--password-file={SECRETS}"), word
    for secret in file()["secrets"].values():
        assert (COMPOSE / secret["file"]).read_text().strip() not in (COMPOSE / "compose.yaml").read_text()


def test_images_are_pinned() -> None:
    """Each names a version; Kafka's is the one that the tests run against."""
    images = {service["image"] for service in SERVICES.values()} - {OURS}
    images |= {words.split()[0] for word, words in dockerfile() if word == "FROM"}
    assert [image for image in images if not re.search(r":v?\d+\.\d+", image)] == []
    tag = SERVICES["broker"]["image"].removeprefix("apache/kafka:")
    assert f"<kafka>{tag}</kafka>" in (ROOT / "tests" / "kafka" / "pom.xml").read_text()


# ---------------------------------------------------------------- the image


def test_the_image_is_built_from_locked_parts() -> None:
    """Hashes for all that is installed, nothing compiled, and the last stage installs nothing."""
    installs = [words for word, words in dockerfile() if word == "RUN" and " install " in words and "pip" in words]
    assert len(installs) == 3
    assert [each for each in installs if "--require-hashes" not in each and "--no-deps" not in each] == []
    stages = [place for place, (word, _) in enumerate(dockerfile()) if word == "FROM"]
    last = dockerfile()[stages[-1] :]
    assert not [words for word, words in last if word == "RUN" and re.search(r"\b(pip|apt|apt-get|uv)\b", words)]
    assert dict(last) | {"USER": "10001:10001", "STOPSIGNAL": "SIGTERM", "ENTRYPOINT": '["quota-stream"]'} == dict(last)


def test_what_is_copied_is_not_ignored() -> None:
    """.dockerignore lets through what the Dockerfile copies, and neither tests nor secrets."""
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = [words.split()[:-1] for word, words in dockerfile() if word == "COPY" and not words.startswith("--from")]
    names = {name for each in copied for name in each}
    assert names == set(allowed)
    assert [name for name in names if not (ROOT / name).exists()] == []
    assert not [name for name in ("compose/simulator.password", "tests") if any(fnmatch(name, a) for a in allowed)]


# ---------------------------------------------------------------- what runs in it


@pytest.mark.parametrize("name", OUR_SERVICES)
def test_its_command_line_is_one_of_ours(name: str) -> None:
    """Each command, option and argument exists."""
    words: list[str] = list(SERVICES[name]["command"])
    command: click.Command = cli
    with click.Context(cli) as context:
        while isinstance(command, click.Group):
            found = command.get_command(context, words.pop(0))
            assert found is not None, SERVICES[name]["command"]
            command = found
        command.make_parser(context).parse_args(words)


def test_the_configuration_fits_to_the_services() -> None:
    """It is correct, and it names broker, simulator and secret as compose.yaml has them."""
    config = load(CONFIGURATION)
    assert config.warnings == ()
    assert str(config.log) == "kafka://broker:9092"
    assert SERVICES["broker"]["environment"]["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://broker:9092"
    simulator = dict(word.split("=") for word in SERVICES["simulator"]["command"] if word.startswith("--"))
    platform = config.platforms["vm1"]
    url = urlsplit(platform.url)
    assert (url.hostname, simulator["--listen"]) == ("simulator", f"0.0.0.0:{url.port}")
    assert platform.sampling == 1000 * int(simulator["--step"])
    assert str(platform.password_file) == simulator["--password-file"]
    for name in (*ROLES, "simulator"):
        assert simulator["--password-file"].removeprefix(SECRETS) in SERVICES[name]["secrets"]
    assert SERVICES["tracker"]["deploy"]["replicas"] == 3
    assert all(SERVICES[name].get("deploy", {"replicas": 1})["replicas"] <= config.partitions for name in ROLES)
    assert config.web is not None
    assert config.web.listen is not None
    assert SERVICES["serve"]["ports"] == [f"127.0.0.1:{config.web.listen.port}:{config.web.listen.port}"]
    kept = [target for source, target, *_ in mounts(SERVICES["serve"]) if source == "serve"]
    assert [str(file.parent) for file in (config.web.tokens_file, config.web.index) if file is not None] == 2 * kept


def test_prometheus_finds_each_container_of_each_role() -> None:
    """By the name of its service, on the port on which it serves its metrics."""
    config = load(CONFIGURATION)
    assert config.listen is not None
    scraped = yaml.safe_load((COMPOSE / "prometheus.yaml").read_text())["scrape_configs"]
    assert {job["job_name"] for job in scraped} == set(ROLES)
    for job in scraped:
        (found,) = job["dns_sd_configs"]
        assert (found["names"], found["type"], found["port"]) == ([job["job_name"]], "A", config.listen.port)
        assert f":{config.listen.port}/health" in str(SERVICES[job["job_name"]]["healthcheck"]["test"])


# ---------------------------------------------------------------- the dashboard


def queries(panels: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Expression and legend."""
    for panel in panels:
        for target in panel.get("targets", []):
            yield target["expr"].replace("$__rate_interval", "1m"), target["legendFormat"]


DASHBOARD = json.loads((COMPOSE / "grafana" / "quota-stream.json").read_text())
QUERIES = list(queries(DASHBOARD["panels"]))


def selectors(expression: Expr) -> list[VectorSelector]:
    found: list[VectorSelector] = []
    promql_parser.walk(expression, lambda one: found.append(one) if isinstance(one, VectorSelector) else None)
    return found


def results(expression: Expr) -> set[str]:
    """The labels that each aggregation inside leaves; comparisons leave those of their left side."""
    if isinstance(expression, BinaryExpr):
        return results(expression.lhs) | results(expression.rhs)
    if isinstance(expression, AggregateExpr):
        if expression.modifier is None:
            return set()
        assert expression.modifier.type == AggModifierType.By
        return set(expression.modifier.labels)
    inner = [getattr(expression, "expr", None), *getattr(expression, "args", [])]
    return set().union(*(results(each) for each in inner if isinstance(each, Expr)))


@pytest.mark.parametrize(("query", "legend"), QUERIES)
def test_each_query_is_about_what_we_expose(query: str, legend: str) -> None:
    """Prometheus can read it; metrics, labels and what the legend shows exist."""
    exposed = {name: labels | {"job", "instance"} for name, labels in documented_labels().items()} | DISCOVERED
    expression = promql_parser.parse(query)
    used = selectors(expression)
    assert used
    for selector in used:
        assert selector.name in exposed
        wanted = {matcher.name for matcher in selector.matchers.matchers} | results(expression)
        assert wanted <= exposed[selector.name], selector.name
    assert set(re.findall(r"{{(\w+)}}", legend)) <= results(expression) - {"le"}


def test_grafana_is_provisioned_with_what_is_there() -> None:
    """The data source is our Prometheus, each panel asks it, and the dashboard lies where it is looked for."""
    (source,) = yaml.safe_load((COMPOSE / "grafana" / "datasources.yaml").read_text())["datasources"]
    assert urlsplit(source["url"]).hostname == "prometheus"
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"] if "datasource" in panel} == {source["uid"]}
    (provider,) = yaml.safe_load((COMPOSE / "grafana" / "dashboards.yaml").read_text())["providers"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert Path(home).parent == Path(provider["options"]["path"])
    assert home in [target for _, target, *_ in mounts(SERVICES["grafana"])]


def test_no_panel_lies_on_another() -> None:
    """Each square of the grid belongs to one panel at most, and ids are unique."""
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in DASHBOARD["panels"])
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
