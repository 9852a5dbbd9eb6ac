"""Mappings as people write them -> the normal form of the `plans` record -> the core's FieldMapping."""

from __future__ import annotations

from collections.abc import Mapping

from stream.config.document import Document
from stream.config.units import Wrong, duration_ms
from stream.core.mapping import FieldMapping, MappingError
from stream.core.reading import Path, Problem


def read_mapping(document: Document, path: Path, data: object) -> FieldMapping | None:
    """The mapping that stands at `path`; None after adding everything that is wrong with it."""
    try:
        form = (
            {str(key): _normal(str(key), value) for key, value in data.items()} if isinstance(data, Mapping) else data
        )
        return FieldMapping.from_json(str(path[-1]), form)
    except MappingError as error:
        for problem in error.problems:
            document.add(Problem((*path, *problem.path), problem.what, problem.cure))
    except Wrong as wrong:
        document.add(Problem((*path, "duration"), wrong.what, wrong.cure))
    return None


def _normal(key: str, value: object) -> object:
    """`in: rx` is short for `in: {field: rx}`; a duration that is always the same is written `5m`.  Raises Wrong."""
    if key in ("in", "out") and isinstance(value, str):
        return {"field": value}
    return duration_ms(value) if key == "duration" and isinstance(value, str | int | float) else value
