"""Rejected records and elements, as quota.dead-letters carries them."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import orjson

from stream.core.model import DeadLetter, Message
from stream.wire.cloudevents import attributes
from stream.wire.documents import cut

_MAX_REASON_CHARACTERS = 8000


def encode_dead_letter(topic: str, partition: int, letter: DeadLetter, *, appended: int | None = None) -> Message:
    """The key says where the record stood, so a letter that is written twice can be told to be one.

    `appended` is the record's append time in ms.
    """
    offset, index = letter.position.offset, letter.position.index
    key = f"{topic}/{partition}/{offset}/{index}"
    document: dict[str, Any] = {
        "reason": letter.reason[:_MAX_REASON_CHARACTERS],
        "cure": letter.cure[:_MAX_REASON_CHARACTERS],
        "origin": {"topic": topic, "partition": partition, "offset": offset, "index": index},
    }
    value = cut(letter.value)
    try:
        document["value"] = value.decode()
    except UnicodeDecodeError:
        document["value_base64"] = b64encode(value).decode()
    headers = attributes("dead-letter", f"quota-stream/tracker/{partition}", key, at=appended)
    return Message(key.encode(), orjson.dumps(document), headers)
