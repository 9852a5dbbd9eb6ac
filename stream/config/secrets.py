"""Secrets: named in the configuration, kept in a file or the environment, read when they are used."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from stream.config.units import Wrong, shown
from stream.core.errors import Misconfigured

MAX_BYTES = 64 * 1024
MAX_PATH_BYTES = 4095
MAX_NAME_BYTES = 255
"""What Linux takes."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret is kept.  Shows the place and never the value."""

    file: Path | None = None
    variable: str | None = None

    def read(self, environ: Mapping[str, str] = os.environ) -> str:
        """The value, without white space around it.  Raises Misconfigured if there is none."""
        value = _content(self.file) if self.file else environ.get(self.variable or "", "").strip()
        if not value:
            raise Misconfigured(f"{self}: the secret is empty; put it there")
        return value

    def __str__(self) -> str:
        return f"environment variable {self.variable}" if self.file is None else str(self.file)


def located(path: Path, folder: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Where the secret file `path` is: systemd's credentials first, then beside the configuration in `folder`.

    Raises Wrong."""
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    if credentials and not path.is_absolute() and os.path.exists(Path(credentials) / path):  # of any length
        return Path(credentials) / path
    return absolute(path, folder)


def absolute(path: Path, folder: Path) -> Path:
    """A path of the file in `folder`, `~` written out.  Raises Wrong if nothing can have that name."""
    try:
        whole = folder / path.expanduser()
    except RuntimeError as error:
        raise Wrong(f"{shown(str(path))} begins with a user who has no home here", "write the whole path") from error
    if len(os.fsencode(whole)) > MAX_PATH_BYTES or any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in whole.parts):
        raise Wrong(f"{shown(str(path))} is longer than a path can be", "write a shorter one")
    return whole


def exposed(file: Path, environ: Mapping[str, str] = os.environ) -> str | None:
    """Who else may read the secret file, and the cure; None if nobody may or the place takes care of that itself."""
    guarded = ["/run/secrets", environ.get("CREDENTIALS_DIRECTORY")]
    if any(place and file.is_relative_to(place) for place in guarded):
        return None
    try:
        mode = file.stat().st_mode
    except OSError:
        return None  # it is missing, or the process that uses it runs as somebody else
    if not mode & (stat.S_IRGRP | stat.S_IROTH):
        return None
    others = "everybody on this machine" if mode & stat.S_IROTH else "its group"
    return f"{file} can be read by {others}; run `chmod 600 {file}`"


def _content(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES).decode().strip()
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{file}: the secret is not UTF-8 text; write it as plain text") from error
    except OSError as error:
        cause = error.strerror or type(error).__name__
        raise Misconfigured(f"{file}: the secret cannot be read ({cause}); create the file, readable by you") from error
