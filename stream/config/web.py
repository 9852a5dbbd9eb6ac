"""The section `web`: where the API and the pages are, who may come in, and how customers' links are signed."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path as FilePath
from typing import Annotated, Any, TypeAlias
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from stream.config.document import Document
from stream.config.fields import Address, File, Listen, Name, SecretFile, Section, Url, Zone, file_path, several, text
from stream.config.units import Wrong, shown
from stream.core.reading import Problem

SECTION = ("web",)
PORT = 8480

_HEADER = re.compile(r"[A-Za-z0-9-]{1,64}")
_ORIGIN = re.compile(r"https?://(\*\.)?[A-Za-z0-9.-]+(:\d{1,5})?")


def _header(value: object) -> str:
    word = text(value)
    if not _HEADER.fullmatch(word):
        raise Wrong(f"{shown(word)} is no name of a header", "write for example X-Remote-User")
    return word


def _network(value: object) -> IPv4Network | IPv6Network:
    try:
        return ipaddress.ip_network(text(value), strict=False)
    except ValueError as error:
        raise Wrong(f"{shown(value)} is no address", "write for example 127.0.0.1 or 10.0.0.0/8") from error


def _origin(value: object) -> str:
    word = text(value).rstrip("/")
    if not _ORIGIN.fullmatch(word):
        raise Wrong(f"{shown(word)} is no origin", "write for example https://billing.example.com")
    return word


def _index(value: object, info: ValidationInfo) -> FilePath | None:
    return None if value == "memory:" else file_path(value, info)


def _beside(name: str) -> Any:
    """A default: the file of that name in the configuration's folder."""
    return Field(default=name, validate_default=True)


Network: TypeAlias = Annotated[IPv4Network | IPv6Network, BeforeValidator(_network)]
Origin: TypeAlias = Annotated[str, BeforeValidator(_origin)]


class Proxy(Section):
    """A reverse proxy.  If it logs people in, it names them in a header, which it takes away from what others send."""

    user_header: Annotated[str | None, BeforeValidator(_header)] = None
    """None: it logs nobody in."""
    addresses: tuple[Network, ...] = Field(examples=["[127.0.0.1]"])
    """Only from there this header is believed, and X-Forwarded-For, which names the client."""
    operators: tuple[Name, ...] = ()
    """Users who may operate; all others may read."""

    @field_validator("addresses", "operators", mode="before")
    @classmethod
    def _single_is_a_list(cls, value: object) -> object:
        return several(value)


class Tls(Section):
    """PEM files: the certificate with those of its authorities, and its key."""

    cert_file: File = Field(examples=["web.pem"])
    key_file: SecretFile = Field(examples=["web.key"])


class Web(Section):
    """The section `web`.  Without it there is neither API nor page."""

    listen: Listen = Address("127.0.0.1", PORT)
    """None: not here."""
    tokens_file: File = _beside("tokens.json")
    """Who may come in; `token create` writes it."""
    index: Annotated[FilePath | None, BeforeValidator(_index)] = _beside("quota-stream-web.db")
    """Of the history: rebuilt from the log when it is missing.  None: in memory."""
    public_url: Url | None = None
    """With it customers' links begin."""
    link_key_files: tuple[SecretFile, ...] = ()
    """The first one signs customers' links, each verifies; none: there are no links."""
    frame_ancestors: tuple[Origin, ...] = ()
    """Origins of which pages may embed the customer's."""
    proxy: Proxy | None = None
    tls: Tls | None = None
    timezone: Zone = ZoneInfo("UTC")
    """Of instants on pages, where no script knows the viewer's."""

    @field_validator("link_key_files", "frame_ancestors", mode="before")
    @classmethod
    def _single_is_a_list(cls, value: object) -> object:
        return several(value)

    @property
    def secure(self) -> bool:
        """Browsers come over https, to us or to a proxy before us."""
        return self.tls is not None or (self.public_url or "").startswith("https:")

    def files(self) -> Iterator[tuple[tuple[str | int, ...], FilePath, bool]]:
        """Key and place of each file that must be there, and whether it is a secret."""
        if self.tls is not None:
            yield ("tls", "cert_file"), self.tls.cert_file, False
            yield ("tls", "key_file"), self.tls.key_file, True
        for number, file in enumerate(self.link_key_files):
            yield ("link_key_files", number), file, True


def _is_here(host: str) -> bool:
    """Whether it is an address of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_web(errors: Document, warnings: Document, web: Web, listen: Address | None) -> None:
    """Add what its settings have wrong together, and with where metrics and health are served."""
    if web.listen is None:
        return
    if web.listen == listen:
        what = f"{listen.host}:{listen.port} is where metrics and health are served"
        errors.add(Problem((*SECTION, "listen"), what, f"write another port, for example {listen.host}:{PORT}"))
    reached = urlsplit(web.public_url).hostname if web.public_url else None
    if not web.secure and not _is_here(reached or web.listen.host):
        what = f"tokens go over the network as they are, to {web.listen.host}"
        cure = "write `tls:` with your certificate, or an address of this machine alone with a proxy before it"
        warnings.add(Problem((*SECTION, "listen"), what, cure))
