"""Who asks, and what that one may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["read", "operate"]
"""Operators may also read."""

ROLES: tuple[Role, ...] = ("read", "operate")

MOST_NAME_CHARACTERS = 64


@dataclass(frozen=True, slots=True)
class Principal:
    """A person or a program that has proved who it is."""

    name: str
    """Of the token, or as a trusted proxy says; stands as `by` in what it does."""
    role: Role

    @property
    def operates(self) -> bool:
        return self.role == "operate"


def is_name(name: str) -> bool:
    """Whether somebody can be called so: 1 to 64 printable characters, no white space around them."""
    return 0 < len(name) <= MOST_NAME_CHARACTERS and name.isprintable() and name == name.strip()
