"""Replies and errors in VMmanager's shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

TOKEN_EXPIRED = 1000
HANDLER_NOT_FOUND = 1106
UNAUTHORIZED = 3001
INSTANCE_NOT_FOUND = 3080

INVENTED_BAD_REQUEST = 99001
INVENTED_BUSY = 99002
INVENTED_WRONG_PASSWORD = 99003
INVENTED_INTERNAL = 99004
INVENTED_TOO_MANY_REQUESTS = 99005


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    content: Any
    """JSON-able, or bytes that are sent as they are."""

    def body(self) -> bytes:
        return self.content if isinstance(self.content, bytes) else orjson.dumps(self.content)


def error(status: int, code: int, message: str, **value: Any) -> Reply:
    return Reply(status, {"error": {"code": code, "msg": message, "value": value}})


def asleep() -> Reply:
    """What stands in front of a suspended platform: no JSON."""
    return Reply(503, b"<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>")


def other_types(content: Any) -> Any:
    """The same content, but each number a text, each text a number and each list an object."""
    if isinstance(content, dict):
        return {key: other_types(value) for key, value in content.items()}
    if isinstance(content, list):
        return {str(index): other_types(value) for index, value in enumerate(content)}
    if isinstance(content, str):
        return len(content)
    return str(content)
