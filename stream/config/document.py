"""A YAML file as plain data that still knows on which line everything stands."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import yaml

from stream.core.reading import Path, Problem


@dataclass(slots=True)
class Document:
    """`data` consists of dicts with string keys, lists, str, int, float, bool and None."""

    name: str
    """As the user wrote it; it begins each message."""
    data: object = None
    lines: dict[Path, int] = field(default_factory=dict)
    """Line (from 1) of each key and list element."""
    problems: list[tuple[int, str]] = field(default_factory=list)
    """(line, message): what the text itself has wrong; the data is usable all the same."""

    def line(self, path: Path) -> int:
        """The line of the innermost part of `path` that is in the file."""
        return next((self.lines[path[:size]] for size in range(len(path), -1, -1) if path[:size] in self.lines), 1)

    def add(self, problem: Problem) -> None:
        where = ".".join(str(part + 1) if isinstance(part, int) else part for part in problem.path)
        text = f"{where}: {problem.what}" if where else problem.what
        self.problems.append((self.line(problem.path), f"{text}; {problem.cure}"))

    def messages(self) -> list[str]:
        """`FILE:LINE: what is wrong; what to write instead`, in the order of the file, each once."""
        return [
            f"{self.name}:{line}: {text}" for line, text in sorted(dict.fromkeys(self.problems), key=lambda one: one[0])
        ]


MAX_NODES = 250_000
"""No file of ours has more values, aliases written out."""


class _Loader(yaml.SafeLoader):
    """Ends at too many values, and does not hold all of them before they are counted."""

    values = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.values += 1
        if self.values > MAX_NODES:
            problem = f"there are more than {MAX_NODES} values, which is no configuration of ours"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=self.get_mark())
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


def parse(name: str, text: str | bytes) -> Document:
    """Never raises: what is wrong with the text is in `problems`."""
    document = Document(name)
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = mark.line + 1 if mark else 1
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        document.problems.append((where, f"this is not YAML: {problem}; mind the indentation, brackets and quotes"))
        return document
    except (yaml.YAMLError, RecursionError) as error:
        reason = " ".join(str(error).split())
        document.problems.append((1, f"this is not YAML: {reason}; write the file as UTF-8 text"))
        return document
    if node is not None:
        document.data = _Builder(document).build(node, (), ())
    return document


class _Builder:
    def __init__(self, document: Document) -> None:
        self._document = document

    def build(self, node: yaml.Node, path: Path, within: tuple[yaml.Node, ...]) -> object:
        document = self._document
        document.lines.setdefault(path, node.start_mark.line + 1)
        if len(document.lines) > MAX_NODES:
            document.problems.append((1, f"more than {MAX_NODES} values; mind aliases that multiply"))
            return None
        if any(node is outer for outer in within):
            document.add(Problem(path, "an alias contains itself", "write the values out"))
            return None
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, (*within, node))
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, place), (*within, node)) for place, item in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path, within: tuple[yaml.Node, ...]) -> dict[str, object]:
        data: dict[str, object] = {}
        merged: dict[str, object] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                self._document.problems.append((line, "a key must be a single word or number; write `key: value`"))
                continue
            key = self._text(key_node)
            if key_node.tag == "tag:yaml.org,2002:merge":
                merged |= self._merge(value_node, path, within)
                continue
            here = (*path, key)
            if key in data:
                first = self._document.lines[here]
                text = f"{'.'.join(map(str, here))}: this key stands on line {first} already; keep one of the two"
                self._document.problems.append((line, text))
                continue
            self._document.lines[here] = line
            data[key] = self.build(value_node, here, within)
        return {**merged, **data}

    def _merge(self, node: yaml.Node, path: Path, within: tuple[yaml.Node, ...]) -> dict[str, object]:
        """`<<: *anchor`: the keys of another mapping; the mapping's own keys win."""
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, object] = {}
        for one in nodes:
            built = self.build(one, (*path, "<<"), within)
            if isinstance(built, dict):
                merged = {**built, **merged}
            else:
                self._document.add(Problem((*path, "<<"), "only a mapping can be merged", "write `<<: *anchor`"))
        return merged

    def _text(self, node: yaml.ScalarNode) -> str:
        """Without what is no character: YAML's escapes can write halves of one, and NUL, which no name can hold."""
        text = str(node.value)
        kept = _NO_CHARACTER.sub("?", text)
        if kept != text:
            line = node.start_mark.line + 1
            problem = f"{kept!r} holds an escape that is no character (shown as ?); write the character itself"
            self._document.problems.append((line, problem))
        return kept

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> object:
        text = self._text(node)
        construct = _SCALARS.get(node.tag)
        if construct is None and not node.tag.startswith("tag:yaml.org,2002:"):
            self._document.add(Problem(path, f"the tag {node.tag} has no meaning here", "leave it out"))
        try:
            return construct(text) if construct else text
        except ValueError:
            return text


_NO_CHARACTER = re.compile("[\x00\ud800-\udfff]")

_SCALARS: Mapping[str, Callable[[str], object]] = {
    "tag:yaml.org,2002:null": lambda text: None,
    "tag:yaml.org,2002:bool": lambda text: text.lower() in ("true", "yes", "on"),
    # As decimals only: YAML 1.1 would read 1:30 as 90 and 010 as 8.
    "tag:yaml.org,2002:int": int,
    "tag:yaml.org,2002:float": float,
}
