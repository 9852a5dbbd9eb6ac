"""The file of named tokens: hashed, readable by its owner alone, replaced as a whole, read again when it changes.

A token is 256 random bits, so one hash without salt or stretching tells nothing about it and cannot be guessed.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from stream.core.errors import Misconfigured, Rejected
from stream.web.access.principal import ROLES, Principal, Role, is_name

PREFIX: Final = "qs_"
"""By which scanners of secrets and people know a token of ours."""

VERSION: Final = 1
MOST_BYTES: Final = 1 << 20
MOST_TOKENS: Final = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One token, as the file has it."""

    name: str
    role: Role
    sha256: str
    """Of the token, in hexadecimal."""
    created: int

    @property
    def principal(self) -> Principal:
        return Principal(self.name, self.role)


class TokensFile:
    """A missing file has no tokens.  Whatever reads it raises Misconfigured if it is damaged or closed to us."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, ...] | None = None  # the file as it was when it was last read
        self._entries: tuple[Entry, ...] = ()

    def entries(self) -> Sequence[Entry]:
        """In the order in which they were made, as the file is now."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            self._seen, self._entries = None, ()
            return ()
        except OSError as error:
            raise _unreadable(self.path, error) from error
        seen = (status.st_ino, status.st_mtime_ns, status.st_size, status.st_ctime_ns)
        if seen != self._seen:
            self._entries = _read(self.path)  # if the file changes from here on, the next call reads it again
            self._seen = seen
        return self._entries

    def find(self, token: str) -> Entry | None:
        """Whose token it is.  Takes the same time whichever token comes near."""
        return self.find_hashed(hash_of(token))

    def find_hashed(self, sha256: str) -> Entry | None:
        found = None
        for entry in self.entries():
            if hmac.compare_digest(entry.sha256, sha256):
                found = entry
        return found

    def create(self, name: str, role: Role, now: int) -> str:
        """The new token: nobody can tell it again.  Raises Rejected if the name is taken or no name."""
        if not is_name(name):
            raise Rejected(f"{name!r} is no name", "write 1 to 64 printable characters")
        token = PREFIX + secrets.token_urlsafe(32)
        with self._changing() as entries:
            if any(entry.name == name for entry in entries):
                raise Rejected(f"there is a token {name!r} already", "revoke it first, or choose another name")
            if len(entries) >= MOST_TOKENS:
                raise Rejected(f"there are {MOST_TOKENS} tokens already", "revoke those that nobody uses")
            self._write([*entries, Entry(name, role, hash_of(token), now)])
        return token

    def revoke(self, name: str) -> None:
        """From now on the token opens nothing, and sessions begun with it end.  Raises Rejected if there is none."""
        with self._changing() as entries:
            if all(entry.name != name for entry in entries):
                raise Rejected(f"there is no token {name!r}", "`quota-stream token list` shows all")
            self._write([entry for entry in entries if entry.name != name])

    @contextmanager
    def _changing(self) -> Iterator[Sequence[Entry]]:
        """The entries, while nobody else changes them."""
        try:
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise _unreadable(self.path.parent, error) from error
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            self._seen = None
            yield self.entries()
        finally:
            os.close(folder)

    def _write(self, entries: Sequence[Entry]) -> None:
        """1. a new file, durable (a crash here leaves it lying beside), 2. in the place of the old one, at once."""
        document = {"version": VERSION, "tokens": [asdict(entry) for entry in entries]}
        new = self.path.with_name(f".{self.path.name}.{secrets.token_hex(8)}")
        try:
            descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as file:
                with suppress(PermissionError):  # made by root: the user that runs the web has to read it
                    owner = (self.path if self.path.exists() else self.path.parent).stat()
                    os.fchown(descriptor, owner.st_uid, owner.st_gid)
                file.write(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
                file.flush()
                os.fsync(descriptor)
            new.replace(self.path)
        except OSError as error:
            with suppress(OSError):
                new.unlink()
            raise Misconfigured(f"{self.path}: cannot be written ({error.strerror}); mend that and repeat") from error


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path) -> tuple[Entry, ...]:
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        document: Any = orjson.loads(text) if len(text) <= MOST_BYTES else None
        if document["version"] != VERSION:
            raise Misconfigured(f"{path}: of another version, {document['version']!r}; use the program that wrote it")
        return tuple(map(_entry, document["tokens"]))
    except (ValueError, TypeError, LookupError) as error:
        cure = "restore it, or remove it and make the tokens anew"
        raise Misconfigured(f"{path}: this is no file of tokens; {cure}") from error


def _entry(value: Any) -> Entry:
    """Raises ValueError, TypeError or LookupError."""
    entry = Entry(value["name"], value["role"], value["sha256"], value["created"])
    if not isinstance(entry.name, str) or not is_name(entry.name) or entry.role not in ROLES:
        raise ValueError
    if len(bytes.fromhex(entry.sha256)) != 32 or type(entry.created) is not int:
        raise ValueError
    return entry


def _unreadable(path: Path, error: OSError) -> Misconfigured:
    return Misconfigured(f"{path}: cannot be read ({error.strerror}); let the user that runs this read it")
