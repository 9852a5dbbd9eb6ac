"""Reading JSON that others wrote: every problem is found, each with its place and a cure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias, TypeVar, cast

from stream.core.errors import Rejected

MOST_NAME: Final = 64
"""Characters of a plan's or a profile's name."""

Path: TypeAlias = tuple[str | int, ...]
_T = TypeVar("_T", bound=str)


class Problem(NamedTuple):
    """What is wrong.  `path` leads to it in what was read, e.g. ("profiles", 2, "down")."""

    path: Path
    what: str
    cure: str


class Misread(Rejected):
    """Something that has a name is refused; `problems` are all of them."""

    noun: ClassVar[str]

    def __init__(self, name: object, problems: Sequence[Problem]) -> None:
        lines = "; ".join(f"{'.'.join(map(str, path)) or self.noun}: {what}" for path, what, _ in problems)
        super().__init__(f"{self.noun} {name!r}: {lines}", "; ".join(cure for _, _, cure in problems))
        self.problems = tuple(problems)


@dataclass(slots=True)
class Reader:
    """Collects problems; what cannot be read takes a harmless value, so that reading can go on."""

    problems: list[Problem] = field(default_factory=list)

    def problem(self, path: Path, what: str, cure: str) -> None:
        self.problems.append(Problem(path, what, cure))

    def object(self, path: Path, value: Any, known: Sequence[str]) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            self.problem(path, f"is {shown(value)}, not an object", f"write an object with {', '.join(known)}")
            return {}
        for key in value:
            if key not in known:
                self.problem((*path, str(key)), "is not known here", f"known are {', '.join(known)}")
        return value

    def integer(self, path: Path, value: Any, least: int, most: int) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.problem(path, f"is {shown(value)}", f"write an integer from {least} to {most}")
        return least

    def one_of(self, path: Path, value: Any, choices: Sequence[_T]) -> _T:
        if value in choices:
            return cast("_T", value)
        self.problem(path, f"is {shown(value)}", f"write one of {', '.join(choices)}")
        return choices[0]

    def name(self, path: Path, name: Any) -> str:
        if isinstance(name, str) and 1 <= len(name) <= MOST_NAME and name.isprintable():
            return name
        cure = f"names have 1 to {MOST_NAME} characters, none of them a control character"
        self.problem(path, f"the name is {shown(name)}", cure)
        return ""


def shown(value: Any) -> str:
    return "missing" if value is None else repr(value)[:80]
