"""The types of single settings, and what turns pydantic's findings into problems with a cure."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Annotated, Any, NamedTuple, TypeAlias, TypeVar, get_args, get_origin
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo

from stream.config import units
from stream.config.document import Document
from stream.config.secrets import absolute, located
from stream.config.units import Wrong, nearest, shown
from stream.core.reading import Path, Problem
from stream.core.speed import Speed

NAME_CHARACTERS = 64
"""Most characters of the name of a plan, profile or platform."""


class Section(BaseModel):
    """A part of the file: frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


# ---------------------------------------------------------------- single values


def text(value: object) -> str:
    """A word or number of the file as text.  Raises Wrong."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
        raise Wrong(f"{shown(value)} is not text", "write a word, in quotes if YAML takes it for something else")
    return str(value)


def name(value: object) -> str:
    """A name: text without control characters, at most 64 of them.  Raises Wrong."""
    word = text(value)
    if len(word) > NAME_CHARACTERS or not word.isprintable():
        raise Wrong(f"{shown(word)} is no name", f"write 1 to {NAME_CHARACTERS} printable characters")
    return word


def platform_name(value: object) -> str:
    """A name that service ids can begin with: `<platform>/<id>`.  Raises Wrong."""
    word = name(value)
    if "/" in word or word.startswith("@"):
        raise Wrong(f"{shown(word)} is no name of a platform", "write one without / and without @ at its beginning")
    return word


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Wrong(f"{shown(value)} is neither true nor false", "write true or false")
    return value


def whole(least: int, most: int) -> Callable[[object], int]:
    """Reads a whole number of that range.  Raises Wrong."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise Wrong(f"{shown(value)} is not possible", f"write a whole number from {least} to {most}")
        return value

    return read


def rate(value: object) -> float:
    """A number above 0.  Raises Wrong."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
        raise Wrong(f"{shown(value)} is not possible", "write a number above 0, for example 25")
    return float(value)


def time_zone(value: object) -> ZoneInfo:
    """A zone of the IANA database.  Raises Wrong."""
    zone = text(value)
    try:
        return ZoneInfo(zone)
    except (ValueError, OSError, LookupError) as error:
        meant = nearest(zone, sorted(available_timezones()))
        cure = f"write {meant or 'for example Europe/Berlin'}"
        raise Wrong(f"there is no time zone {shown(zone)}", cure) from error


def url(value: object) -> str:
    """http(s)://HOST[:PORT][/PATH], without a trailing slash and without a password in it.  Raises Wrong."""
    address = text(value)
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise Wrong(f"{shown(address)} is no URL ({error})", "write for example https://vm.example.com") from error
    if parts.username or parts.password:
        raise Wrong("there is a user or password in the URL", "write the URL without; see token_file and password_file")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or port == 0:
        raise Wrong(f"{shown(address)} is no web address", "write for example https://vm.example.com")
    return address.rstrip("/")


class Address(NamedTuple):
    """Where to listen."""

    host: str
    port: int


def listen(value: object) -> Address | None:
    """HOST:PORT with an IP address or localhost; `off` is None.  Raises Wrong."""
    if value is False or value == "off":
        return None
    host, colon, port = text(value).rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        if host != "localhost":
            ipaddress.ip_address(host)
        if not colon or not 1 <= int(port) <= 65535:
            raise ValueError
    except ValueError as error:
        raise Wrong(f"{shown(value)} is no address to listen on", "write for example 127.0.0.1:9464, or off") from error
    return Address(host, int(port))


def file_path(value: object, info: ValidationInfo) -> FilePath:
    """An absolute path; a relative one is relative to the file's folder.  Raises Wrong."""
    context: Mapping[str, Any] = info.context or {}
    folder: FilePath = context["folder"]
    return absolute(FilePath(text(value)), folder)


def secret_file(value: object, info: ValidationInfo) -> FilePath:
    """Where a secret is: among systemd's credentials, or as any other file.  Raises Wrong."""
    context: Mapping[str, Any] = info.context or {}
    return located(FilePath(text(value)), context["folder"], context["environ"])


def variable(value: object) -> str:
    """The name of an environment variable.  Raises Wrong."""
    word = text(value)
    if not word.isidentifier():
        raise Wrong(f"{shown(word)} is no environment variable", "write its name, for example VM1_TOKEN")
    return word


def several(value: object) -> list[object]:
    """A list; a single value is a list of one."""
    return list(value) if isinstance(value, list) else [value]


Text: TypeAlias = Annotated[str, BeforeValidator(text)]
Name: TypeAlias = Annotated[str, BeforeValidator(name)]
Flag: TypeAlias = Annotated[bool, BeforeValidator(flag)]
Rate: TypeAlias = Annotated[float, BeforeValidator(rate)]
SizeBytes: TypeAlias = Annotated[int, BeforeValidator(units.size_bytes)]
DurationMs: TypeAlias = Annotated[int, BeforeValidator(units.duration_ms)]
Percent: TypeAlias = Annotated[int, BeforeValidator(units.percent)]
SpeedBits: TypeAlias = Annotated[Speed, BeforeValidator(units.speed)]
Zone: TypeAlias = Annotated[ZoneInfo, BeforeValidator(time_zone)]
Url: TypeAlias = Annotated[str, BeforeValidator(url)]
Listen: TypeAlias = Annotated[Address | None, BeforeValidator(listen)]
File: TypeAlias = Annotated[FilePath, BeforeValidator(file_path)]
SecretFile: TypeAlias = Annotated[FilePath, BeforeValidator(secret_file)]
Variable: TypeAlias = Annotated[str, BeforeValidator(variable)]


# ---------------------------------------------------------------- from pydantic to problems

SectionType = TypeVar("SectionType", bound=Section)

_SHAPES = {
    "model_type": ("a mapping", "write it as `key: value` lines"),
    "model_attributes_type": ("a mapping", "write it as `key: value` lines"),
    "dict_type": ("a mapping", "write it as `name: ...` lines"),
    "list_type": ("a list", "write it as [one, two]"),
    "tuple_type": ("a list", "write it as [one, two]"),
}


def read(model: type[SectionType], document: Document, path: Path, data: object, **context: Any) -> SectionType | None:
    """`data`, which stands at `path`, as `model`; None after adding everything that is wrong with it."""
    try:
        return model.model_validate(data, context=context)
    except ValidationError as error:
        for found in error.errors(include_url=False):
            document.add(_problem(model, path, found))
        return None


def _problem(model: type[Section], path: Path, found: Mapping[str, Any]) -> Problem:
    kind, location = found["type"], tuple(part for part in found["loc"] if part != "[key]")
    here = (*path, *location)
    wrong = found.get("ctx", {}).get("error")
    if isinstance(wrong, Wrong):
        return Problem(here, wrong.what, wrong.cure)
    if kind in _SHAPES:
        shape, cure = _SHAPES[kind]
        return Problem(here, f"{shown(found['input'])} is not {shape}", cure)
    if kind == "literal_error":
        return Problem(here, f"{shown(found['input'])} is not possible", f"write {found['ctx']['expected']}")
    fields = fields_at(model, location[:-1])
    if kind == "extra_forbidden":
        return unknown(here, list(fields))
    if kind == "missing":
        example = fields.get(str(location[-1]), "...")
        return Problem(here[:-1], f"`{location[-1]}` is missing", f"write `{location[-1]}: {example}`")
    raise AssertionError(f"a check without words of its own: {found}")


def unknown(path: Path, known: Sequence[str]) -> Problem:
    """The last key of `path` is none of the `known` ones."""
    secret = next((word for word in _SECRETS if word in str(path[-1]).lower()), None)
    key = next((key for key in (str(path[-1]), secret) if secret and f"{key}_file" in known), None)
    if key is not None:
        cure = f"write it into a file that only you can read (chmod 600) and here `{key}_file: NAME`"
        return Problem(path, "a secret has no place in this file", f"{cure}, or `{key}_env: VARIABLE`")
    meant = nearest(str(path[-1]), list(known))
    return Problem(path, "this key is not known", f"write {meant}" if meant else f"write one of {', '.join(known)}")


_SECRETS = ("password", "token")


def fields_at(model: type[Section], location: Sequence[str | int]) -> dict[str, str]:
    """The keys of the section at `location` under `model`, each with an example of its value."""
    parts = iter(location)
    for part in parts:
        field = next((f for key, f in model.model_fields.items() if (f.alias or key) == part), None)
        inner = _section_in(field.annotation) if field else None
        if field is not None and inner is not None:
            model = inner
            if get_origin(field.annotation) is not None:
                next(parts, None)  # the key or number of an element
    return {
        field.alias or key: str(field.examples[0]) if field.examples else "..."
        for key, field in model.model_fields.items()
    }


def _section_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for argument in get_args(annotation) if (found := _section_in(argument))), None)
