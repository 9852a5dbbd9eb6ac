"""What VMmanager's replies say, read with distrust: bytes in, our words out, and no I/O.

Bodies are parsed whatever their Content-Type says.  `Odd` is raised for what cannot be understood; its text names
what was wrong and is fit for a log: it repeats nothing of a body but the platform's own short message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias, TypeGuard

import orjson

from stream.adapters.vmmanager.settings import is_token
from stream.core.model import MAX_BYTES, Speed
from stream.ports import Machine, TaskState

MBIT = 1_000_000
TEXT_LIMIT = 200
"""Characters that are kept of any foreign text: names, tags, messages."""
TAGS_LIMIT = 100
MOST_IN_TOTAL = MAX_BYTES << 10
NO_PAIR = "a datapoint that is no pair of value and stamp"

TOKEN_EXPIRED = 1000
CLOSED_FUNCTION = 3001
NO_SUCH_HANDLER = 1106
NO_SUCH_INSTANCE = 3080
REFUSALS = frozenset({CLOSED_FUNCTION, NO_SUCH_HANDLER, NO_SUCH_INSTANCE})
FINISHED: Mapping[str, TaskState] = {"complete": "complete", "fail": "failed", "failed": "failed"}


class Odd(Exception):
    """A reply that does not have the shape it should have."""


class Complaint(NamedTuple):
    """An `error` in a reply, whatever its shape."""

    code: int | None
    text: str


Point: TypeAlias = tuple[int, int]
"""(instant in ms, bytes): so many bytes in the step in which the instant lies."""


def parse(body: bytes) -> Any:
    """Any JSON value."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        shown = "HTML" if body.lstrip()[:1] == b"<" else "nothing" if not body.strip() else "broken JSON"
        raise Odd(f"{shown} where JSON was expected ({len(body)} bytes)") from error


def complaint(reply: Any) -> Complaint | None:
    """The reply's `error`, if it has one: an object, a text, a number, a list."""
    error = reply.get("error") if isinstance(reply, dict) else None
    if error is None or error is False or error == {}:
        return None
    if not isinstance(error, dict):
        return Complaint(error if _is_whole(error) else None, text(error))
    code, message = error.get("code"), error.get("msg")
    if isinstance(code, str) and code.isdecimal() and len(code) < 10:
        code = int(code)
    return Complaint(code if _is_whole(code) else None, text(message) if message is not None else "")


def text(value: object) -> str:
    """One printable line of bounded length."""
    line = str(value)
    if len(line) > TEXT_LIMIT:
        line = line[: TEXT_LIMIT - 3] + "..."
    return line if line.isprintable() else "".join(one if one.isprintable() else "?" for one in line)


def token(reply: Any) -> str:
    """The token of a login."""
    value = reply.get("token") if isinstance(reply, dict) else None
    if not isinstance(value, str) or not is_token(value):
        raise Odd("the reply to the login holds no token")
    return value


# ---------------------------------------------------------------- the list


class Rows(NamedTuple):
    machines: dict[str, Machine]
    broken: dict[str, str]
    """What is wrong with a row, by service id; rows without a usable id are numbered: `#17`."""


def rows(reply: Any, platform: str, unlimited: int | None) -> Rows:
    """All machines of a list.  A broken row harms only itself."""
    listed = _list_of(reply)
    result = Rows({}, {})
    for number, row in enumerate(listed):
        service = f"#{number}"
        try:
            service = f"{platform}/{_id(row)}"
            machine = _machine(service, row, unlimited)
            if service in result.machines:
                raise Odd("the same id stands there twice")  # the first one holds
            result.machines[service] = machine
        except Odd as error:
            result.broken[service] = str(error)
    return result


def _list_of(reply: Any) -> list[Any]:
    listed = reply.get("list") if isinstance(reply, dict) else None
    if not isinstance(listed, list):
        raise Odd("the reply holds no list")
    return listed


def _id(row: Any) -> int:
    value = row.get("id") if isinstance(row, dict) else None
    if isinstance(value, str) and value.isdecimal() and len(value) <= 18:
        value = int(value)
    if not _is_whole(value) or value < 0:
        raise Odd("a row without an id")
    return value


def _machine(service: str, row: dict[str, Any], unlimited: int | None) -> Machine:
    name = row.get("name") or row.get("domain") or ""
    if not isinstance(name, str):
        raise Odd("name is not a text")
    number = service.rpartition("/")[2]
    return Machine(
        service=service,
        name=text(name) or number,
        running=row.get("state") != "stopped",
        limits=Speed(_limit(row, "net_in_mbitps", unlimited), _limit(row, "net_out_mbitps", unlimited)),
        attributes={
            "id": (number,),
            "name": (text(name),) if name else (),
            "tag": tuple(_names(row.get("tags"), "name")),
            "account": _account(row.get("account")),
            "node": tuple(_names([row.get("node")], "name", "id")),
            "cluster": tuple(_names([row.get("cluster")], "name", "id")),
            "ip": (*_names(row.get("ip4"), "ip"), *_names(row.get("ip6"), "ip")),
        },
    )


def _account(owner: object) -> tuple[str, ...]:
    """The owner's id, never the e-mail address beside it."""
    value = owner.get("id") if isinstance(owner, dict) else owner
    return (str(value),) if _is_whole(value) or (isinstance(value, str) and value.isdecimal()) else ()


def _limit(row: Mapping[str, Any], field: str, unlimited: int | None) -> int | None:
    """Bit/s, or None for no limit."""
    value = row[field] if field in row else row.get("net_bandwidth_mbitps", "missing")
    if value == unlimited and not isinstance(value, bool):
        return None
    if value == "missing":
        raise Odd(f"{field} is missing")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not _is_whole(value) or not 0 <= value <= 1_000_000_000:
        raise Odd(f"{field} is no speed: {text(value)}")
    return value * MBIT


def _names(things: object, *fields: str) -> Iterator[str]:
    """The names of what a row refers to: plain values, or objects of which the first field that is there counts."""
    for thing in (things if isinstance(things, list) else ())[:TAGS_LIMIT]:
        value = next((thing[field] for field in fields if field in thing), None) if isinstance(thing, dict) else thing
        if (isinstance(value, str) and value) or _is_whole(value):
            yield text(value)


# ---------------------------------------------------------------- metrics


def points(reply: Any, start: int, end: int, *, stamped_at_end: bool) -> list[Point]:
    """The points within `[start, end)` that hold a number, oldest first.  None of them: no data.

    Nulls are gaps: not known (yet).  Each point belongs to the one instant that its stamp gives it, so that days that
    follow each other share no point and miss none, whatever grid the platform has.
    """
    shift = 1 if stamped_at_end else 0  # the last instant of the step, or its first
    found: list[Point] = []
    try:
        for value, stamp_s in _series(reply):
            if value is not None:
                instant = (stamp_s if type(stamp_s) is int else _whole(stamp_s)) * 1000 - shift
                if start <= instant < end:
                    found.append((instant, _bytes(value)))
    except (TypeError, ValueError) as error:
        raise Odd(NO_PAIR) from error
    found.sort()
    return found


def total(reply: Any) -> int | None:
    """The sum of all points that hold a number, whatever their stamps; None if there are none."""
    try:
        values = [_bytes(value) for value, _ in _series(reply) if value is not None]
    except (TypeError, ValueError) as error:
        raise Odd(NO_PAIR) from error
    if (found := sum(values)) > MOST_IN_TOTAL:
        raise Odd(f"an impossible number of bytes in total: {found}")
    return found if values else None


def _series(reply: Any) -> list[Any]:
    """The datapoints of the one series that there should be, if there is one."""
    if not isinstance(reply, list) or len(reply) > 1:
        raise Odd("metrics are not a list of one series")
    datapoints = reply[0].get("datapoints") if reply and isinstance(reply[0], dict) else None if reply else []
    if not isinstance(datapoints, list):
        raise Odd("a series without datapoints")
    return datapoints


def _whole(stamp_s: object) -> int:
    if isinstance(stamp_s, float) and stamp_s.is_integer():
        return int(stamp_s)
    raise Odd("a datapoint whose stamp is no whole second")


def _bytes(value: Any) -> int:
    """A whole number of bytes; the platform's are floats."""
    if type(value) not in (float, int):
        raise Odd("a datapoint whose value is no number")
    if not 0 <= value <= MAX_BYTES:  # also NaN
        raise Odd(f"a datapoint with an impossible number of bytes: {value:.6g}")
    whole: int = round(value)
    return whole


# ---------------------------------------------------------------- tasks


def task_of(reply: Any) -> str | None:
    """The id of the task that a change of parameters began; None: there was nothing to wait for."""
    if not isinstance(reply, dict):
        raise Odd("the reply to a change is no object")
    value = reply.get("task")
    if value is None or value == "":
        return None
    if not isinstance(value, str) and not _is_whole(value):
        raise Odd("the task of a change has no id")
    return str(value)


def task_state(reply: Any) -> TaskState:
    """The state of the first task listed; a record that is not there (yet) is "unknown"."""
    listed = _list_of(reply)
    if not listed:
        return "unknown"
    status = listed[0].get("status") if isinstance(listed[0], dict) else None
    if not isinstance(status, str):
        raise Odd("a task without a status")
    return FINISHED.get(status, "running")


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)
