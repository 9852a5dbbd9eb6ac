"""What is wrong with a request that cannot be understood, in one plain sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

MOST_TOLD: Final = 10
MOST_NAME: Final = 60

WHOLE: Final = "is no whole number: write digits alone, without quotes"
WRONG: Final[Mapping[str, str]] = {
    "missing": "is missing: it must be given",
    "union_tag_not_found": "is missing: it must be given",
    "union_tag_invalid": "is unknown: it is one of {expected_tags}",
    "literal_error": "is unknown: it is {expected}",
    "extra_forbidden": "is no field that is known: leave it out",
    "greater_than_equal": "is too small: it must be at least {ge}",
    "less_than_equal": "is too large: it must be at most {le}",
    "int_parsing": WHOLE,
    "int_from_float": WHOLE,
    "int_type": WHOLE,
    "finite_number": WHOLE,
    "int_parsing_size": "is too large: write less",
    "bool_parsing": "is neither true nor false: write one of them",
    "string_type": "is no text: write it in quotes",
    "string_unicode": "is no text: it has half a character",
    "string_too_short": "is empty: write something",
    "string_too_long": "is too long: it may have {max_length} characters",
    "string_pattern_mismatch": "has control characters: leave them out",
    "value_error": "{error}",
    "model_attributes_type": "is no JSON object: send one, with `Content-Type: application/json`",
}
"""By pydantic's types of errors; in braces what it says besides."""
OF_ONE_FIELD: Final[Mapping[tuple[str, str], str]] = {
    ("by", "extra_forbidden"): "cannot be sent: who does it is the name of the token; leave it out",
    ("service", "string_pattern_mismatch"): "is no id of a service: write `<platform>/<id>`, as in `vm1/101`",
    ("before", "string_pattern_mismatch"): "is no place in this list: give `next` of the page before as it is",
}
UNKNOWN: Final = "is not as it must be: `/api/v1/openapi.json` describes it"


def sentences(errors: Sequence[Any]) -> str:
    """Of pydantic's errors: one for each place, and not too many."""
    first = {tuple(one["loc"]): one for one in reversed(errors)}
    return "; ".join(sentence(one) for one in list(first.values())[::-1][:MOST_TOLD])


def sentence(error: Any) -> str:
    """What was sent is not repeated, but for a field's name, which may be anything."""
    place, *rest = error["loc"]
    kind, context = error["type"], error.get("ctx", {})
    if kind == "json_invalid":
        return f"the {place} is no JSON: see character {rest[0]}"
    names = rest or ([context["discriminator"].strip("'")] if "discriminator" in context else [])
    if not names:
        return f"the {place} {_wrong('', kind, context)}"
    name = str(names[-1])
    return f"{name[:MOST_NAME]!a} in the {place} {_wrong(name, kind, context)}"


def _wrong(name: str, kind: str, context: Mapping[str, Any]) -> str:
    return OF_ONE_FIELD.get((name, kind), WRONG.get(kind, UNKNOWN)).format_map(context)
