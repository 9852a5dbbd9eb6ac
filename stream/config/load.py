"""Reads the configuration: all that is wrong with it at once, each with file, line and cure."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from stream.config import fields
from stream.config.checks import Platforms, check_files, check_rules, check_secrets
from stream.config.document import Document, parse
from stream.config.fields import SectionType, read, unknown
from stream.config.kafka import PORT, SECRET_KEYS, SECTION, Kafka, check_kafka
from stream.config.mappings import read_mapping
from stream.config.model import Config, General
from stream.config.notify import SECTION as NOTIFY
from stream.config.notify import Notify, check_notify
from stream.config.plans import read_plan
from stream.config.platforms import Vmmanager
from stream.config.rules import Rule, Rules
from stream.config.units import Wrong, shown
from stream.config.web import SECTION as WEB
from stream.config.web import Web, check_web
from stream.core.errors import Misconfigured
from stream.core.mapping import MOST_MAPPINGS
from stream.core.plan import MOST_PLANS
from stream.core.reading import Path, Problem

SECTIONS = ("kafka", "platforms", "plans", "mappings", "services", "web", "notify")
"""Beside the keys of General."""

MAX_FILE_BYTES = 8 * 1024 * 1024


def load(file: FilePath, environ: Mapping[str, str] = os.environ, *, with_files: bool = False) -> Config:
    """Read a configuration file.  Raises Misconfigured with one line for each problem.

    Secrets are not read here.  `with_files`: that the files it names are missing is a problem as well.
    """
    return loads(_content(file), file, environ, with_files=with_files)


def loads(
    text: str | bytes, file: FilePath, environ: Mapping[str, str] = os.environ, *, with_files: bool = False
) -> Config:
    """As `load`, of a text that is taken for the content of `file`."""
    return _Loader(parse(str(file), text), file.absolute(), environ).config(with_files=with_files)


def _content(file: FilePath) -> bytes:
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise Misconfigured(f"{file}: larger than {MAX_FILE_BYTES} bytes; this is no configuration of ours")
        return file.read_bytes()
    except FileNotFoundError as error:
        cure = "write one with `quota-stream init`, or name yours with --config"
        raise Misconfigured(f"{file}: there is no such file; {cure}") from error
    except OSError as error:
        cause = error.strerror or type(error).__name__
        raise Misconfigured(f"{file}: the file cannot be read ({cause}); make it readable to this user") from error


def _files(
    platforms: Platforms, kafka: Kafka | None, web: Web | None, notify: Notify | None
) -> Iterator[tuple[Path, FilePath, bool]]:
    """Place in the configuration, file, and whether it holds a secret."""
    for name, platform in platforms.items():
        if platform is None:
            continue
        for key, file in ((platform.secret_key, platform.secret.file), ("ca_file", platform.ca_file)):
            if file is not None:
                yield ("platforms", name, key), file, key != "ca_file"
    for key, file in kafka.files() if kafka else ():
        yield (*SECTION, key), file, key in SECRET_KEYS
    for place, file, secret in web.files() if web else ():
        yield (*WEB, *place), file, secret
    for place, file, secret in notify.files() if notify else ():
        yield (*NOTIFY, *place), file, secret


class _Loader:
    def __init__(self, document: Document, file: FilePath, environ: Mapping[str, str]) -> None:
        self._document = document
        self._file = file
        self._environ = environ
        self._top: dict[str, Any] = self._mapping((), document.data, "write at least `log: sqlite:quota-stream.db`")
        if not isinstance(document.data, dict):
            raise Misconfigured(*document.messages())

    def config(self, *, with_files: bool) -> Config:
        top = {key: value for key, value in self._top.items() if key not in SECTIONS}
        for key in [key for key in top if key not in fields.fields_at(General, ())]:
            del top[key]
            self._document.add(unknown((key,), [*fields.fields_at(General, ()), *SECTIONS]))
        general = self._read(General, (), top)
        platforms = {name: self._read(Vmmanager, path, data) for name, path, data in self._named("platforms")}
        plans = {name: read_plan(self._document, path, data) for name, path, data in self._named("plans")}
        mappings = {name: read_mapping(self._document, path, data) for name, path, data in self._named("mappings")}
        self._check_numbers(len(plans), len(mappings))
        rules = self._rules()
        warnings = Document(self._document.name, lines=self._document.lines)
        check_rules(self._document, warnings, rules, plans, platforms)
        kafka = self._kafka(warnings)
        web = self._optional(Web, WEB)
        if web is not None and general is not None:
            check_web(self._document, warnings, web, general.listen)
        notify = self._optional(Notify, NOTIFY)
        if notify is not None:
            check_notify(self._document, notify)
        named = list(_files(platforms, kafka, web, notify))
        strict = self._document if general and general.strict_secrets else warnings
        check_secrets(strict, [(path, file) for path, file, secret in named if secret], self._environ)
        if with_files:
            check_files(self._document, [(path, file) for path, file, _ in named])
        if self._document.problems or general is None:
            raise Misconfigured(*self._document.messages())
        return Config.model_construct(
            **dict(general),
            file=self._file,
            kafka=kafka,
            platforms={name: platform for name, platform in platforms.items() if platform},
            plans={name: plan for name, plan in plans.items() if plan},
            mappings={name: mapping for name, mapping in mappings.items() if mapping},
            services=Rules(rule for rule in rules if rule),
            web=web,
            notify=notify,
            warnings=tuple(warnings.messages()),
        )

    def _check_numbers(self, plans: int, mappings: int) -> None:
        for section, number, most in (("plans", plans, MOST_PLANS), ("mappings", mappings, MOST_MAPPINGS)):
            if number > most:
                self._document.add(Problem((section,), f"there are {number} {section}", f"keep at most {most}"))
        if mappings and not plans:
            what = "mappings travel in the log together with plans, and there are none"
            self._document.add(Problem(("mappings",), what, "write plans as well, or remove the section"))

    def _kafka(self, warnings: Document) -> Kafka | None:
        data, log = self._top.get(SECTION[0]), str(self._top.get("log"))
        kafka = self._read(Kafka, SECTION, {} if data is None else data)
        if kafka is not None:
            check_kafka(self._document, warnings, kafka)
        if SECTION[0] in self._top and log.partition(":")[0] in ("sqlite", "memory"):
            what = f"these are settings for a Kafka cluster, and the log is {shown(log)}"
            self._document.add(Problem(SECTION, what, f"write `log: kafka://HOST:{PORT}`, or remove the section"))
        return kafka

    def _optional(self, model: type[SectionType], path: Path) -> SectionType | None:
        """A section without which something is not there at all.  `web:` alone is one with all its defaults."""
        if path[0] not in self._top:
            return None
        data = self._top[str(path[0])]
        return self._read(model, path, {} if data is None else data)

    def _rules(self) -> list[Rule | None]:
        """A rule that cannot be read leaves None in its place."""
        services = self._top.get("services")
        if services is None:
            return []
        if not isinstance(services, list):
            what = f"{shown(services)} is not a list"
            self._document.add(Problem(("services",), what, "write rules as `- {match: {...}, plans: [...]}` lines"))
            return []
        return [self._read(Rule, ("services", place), data) for place, data in enumerate(services)]

    def _named(self, section: str) -> Iterator[tuple[str, Path, object]]:
        """Name, place and content of each part of a section."""
        data = self._top.get(section)
        parts = {} if data is None else self._mapping((section,), data, "write `name: ...` lines")
        check = fields.platform_name if section == "platforms" else fields.name
        for name, part in parts.items():
            try:
                yield check(name), (section, name), part
            except Wrong as wrong:
                self._document.add(Problem((section, name), wrong.what, wrong.cure))

    def _mapping(self, path: Path, data: object, cure: str) -> dict[str, Any]:
        if isinstance(data, dict):
            return data
        if not self._document.problems:
            what = "the file is empty" if data is None else f"{shown(data)} is not a mapping"
            self._document.add(Problem(path, what, cure))
        return {}

    def _read(self, model: type[SectionType], path: Path, data: object) -> SectionType | None:
        return read(model, self._document, path, data, folder=self._file.parent, environ=self._environ)
