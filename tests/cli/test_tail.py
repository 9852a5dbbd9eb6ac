"""`tail`: every topic as JSON lines."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stream import wire
from stream.core.page import Page
from stream.ports import DEAD_LETTERS, DELTAS, ENFORCEMENTS, STATE, Message
from tests.cli.calling import CONFIG, MINUTE, T0, append, call, delta, lines, registration


def tail(topic: str, *arguments: str) -> list[Any]:
    return lines(call("tail", topic, *arguments))


@pytest.fixture(autouse=True)
def configured(folder: Path) -> None:
    (folder / "quota-stream.yaml").write_text(CONFIG)


def test_there_is_no_log_yet() -> None:
    """Looking creates nothing."""
    result = call("tail", DELTAS, status=2)
    assert "there is no log yet; `quota-stream run` or `quota-stream publish` makes it" in result.stderr
    assert not Path("q.db").exists()


def test_an_empty_log() -> None:
    """A topic without records ends at once, and says nothing."""
    call("publish", stdin="")
    assert tail("quota.profile-changes") == []
    assert tail("quota.profile-changes", "--from", "end") == []
    assert tail("quota.profile-changes", "--from", "1000") == []


def test_batches_are_taken_apart() -> None:
    """A batch is shown as the deltas in it; one that is broken, and what is no JSON, as they are."""
    broken = {"type": "batch", "services": ["vm1/1"], "start": 1, "end": 2, "in": [1, 2], "out": [1]}
    values = [
        *(one.value for one in wire.encode_batches("m", T0, [T0 + 1, T0 + 2], ["vm1/1", "vm1/2"], [3, 4], [5, 6])),
        json.dumps(broken).encode(),
        b"nonsense",
        b"\xff",
    ]
    append(DELTAS, 0, [Message(None, value) for value in values])
    assert tail(DELTAS) == [
        {"service": "vm1/1", "start": T0, "end": T0 + 1, "in": 3, "out": 5, "source": "m"},
        {"service": "vm1/2", "start": T0, "end": T0 + 2, "in": 4, "out": 6, "source": "m"},
        broken,
        {"unreadable": "nonsense"},
        {"unreadable": "base64:/w=="},
    ]


def test_places_and_selections() -> None:
    """--places wraps each line; --partition, --from and --service choose."""
    append(DELTAS, 1, [wire.encode_delta("vm1/1", T0, T0 + n, n, 0) for n in (1, 2, 3)])
    append(DELTAS, 2, [wire.encode_delta("vm1/2", T0, T0 + 1, 9, 0)])
    assert [one["in"] for one in tail(DELTAS)] == [1, 2, 3, 9]
    assert [one["in"] for one in tail(DELTAS, "--partition", "2")] == [9]
    assert [one["in"] for one in tail(DELTAS, "--partition", "1", "--from", "1")] == [2, 3]
    assert [one["in"] for one in tail(DELTAS, "--partition", "2", "--service", "vm1/2")] == [9]
    place = tail(DELTAS, "--places", "--partition", "1", "--from", "2")[0]
    assert place.keys() == {"partition", "offset", "timestamp", "key", "value"}
    assert (place["partition"], place["offset"], place["key"], place["value"]["in"]) == (1, 2, "vm1/1", 3)
    result = call("tail", DELTAS, "--partition", "4", status=2)
    assert result.stderr == "there is no partition 4; this log has 0 to 3\n"


def test_decisions_and_state() -> None:
    """After `run --drain` decisions are lines, and so are the pages that hold the counters."""
    feed = registration("vm1/1") + delta("vm1/1", 0, 900) + delta("vm1/1", 1, 200)
    call("publish", stdin=feed)
    call("run", "--drain")
    changes = tail("quota.profile-changes", "--service", "vm1/1")
    assert [one.get("reason", one.get("type")) for one in changes] == ["registered", "warning", "exceeded"]
    assert (changes[2]["from"], changes[2]["to"], changes[2]["usage_bytes"]) == ("full", "slow", 1100)
    assert changes[2]["at"] == T0 + 2 * MINUTE
    state = tail(STATE, "--partition", str(wire.partition_of("vm1/1", 4)))
    pages = [one for one in state if "columns" in one]
    assert pages
    assert all({"key", "checkpoint", "extras"} < one.keys() for one in pages)
    (meta,) = [one["value"] for one in state if one["key"] == "meta"]
    assert meta["next_offset"] == 4
    append(STATE, 0, [Message(b"out/9", json.dumps(["vm1/1", json.dumps(changes[2]), []]).encode())])
    assert tail(STATE, "--partition", "0")[-1] == {"key": "out/9", "waiting": changes[2]}
    assert "use `quota-stream service show`" in call("tail", STATE, "--service", "vm1/1", status=2).stderr


def test_pages_that_are_cut() -> None:
    """A page in parts is put together; one that is torn or damaged is said to be so; a removed key as well."""
    call("publish", stdin="")
    call("run", "--drain")
    data = wire.encode_page(Page("7", {}, {"a": "b" * 100}), 5)
    parts = [Message(f"7/a/{n}".encode(), data[n * 60 : (n + 1) * 60]) for n in range(-(-len(data) // 60))]
    assert len(parts) > 1
    torn, rest = Message(b"9/a/0", parts[0].value), Message(b"9/b/2", b"of a longer one")
    append(STATE, 0, [*parts, torn, Message(b"out/3", None), Message(b"8/b/0", b"damaged"), rest])
    found = tail(STATE, "--partition", "0")[-5:]
    assert found[0] == {"key": "7/a", "checkpoint": 5, "columns": {}, "extras": {"a": "b" * 100}}
    assert found[1]["key"] == "9/a"
    assert "unreadable" in found[1]
    assert found[2] == {"key": "out/3", "removed": True}
    assert found[3]["key"] == "8/b"
    assert "unreadable" in found[3]
    assert found[4] == {"key": "9/b/2", "left_over": True}


def test_dead_letters_of_a_service() -> None:
    """--service finds what was rejected of it by what was in the record."""
    call("publish", stdin=delta("vm1/1", 0, 1) + delta("vm1/2", 0, 1))
    call("run", "--drain")
    append(DEAD_LETTERS, 0, [Message(b"x", b'{"reason":"not JSON","value":"nonsense"}'), Message(b"x", b"[]")])
    (letter,) = tail(DEAD_LETTERS, "--service", "vm1/1")
    assert letter["reason"].startswith("not registered")
    assert json.loads(letter["value"])["service"] == "vm1/1"
    assert len(tail(DEAD_LETTERS)) == 4


@pytest.mark.parametrize("depth", [300, 1000])
def test_what_is_nested_deeper_than_anything_of_ours(depth: int) -> None:
    """It is shown as text, and what follows is shown as well."""
    deep = b"[" * depth + b"]" * depth
    for topic in (DELTAS, DEAD_LETTERS):
        append(topic, 0, [Message(b"x", deep), Message(b"x", b"7")])
        assert tail(topic) == [{"unreadable": deep.decode()}, 7]


@pytest.mark.parametrize("waiting", [b'["a",7,[]]', b'["a","no JSON",[]]'])
def test_state_that_cannot_be_read(waiting: bytes) -> None:
    """Whatever key and value are."""
    append(STATE, 0, [Message(b"out/0", waiting), Message(b"\xff/a/1", b"7"), Message(b"0/a/" + b"9" * 5000, b"7")])
    assert tail(STATE) == [
        {"key": "out/0", "unreadable": waiting.decode()},
        {"key": "\ufffd/a/1", "left_over": True},
        {"key": "0/a/" + "9" * 5000, "value": 7},
    ]


@pytest.mark.parametrize("offset", ["9" * 5000, "9" * 19, "-1", "\N{SUPERSCRIPT TWO}", "now"])
def test_offsets_that_are_none(offset: str) -> None:
    """They are refused by name."""
    assert "neither an offset nor" in call("tail", DELTAS, "--from", offset, status=2).stderr


def test_removed_records() -> None:
    """A tombstone is shown as one."""
    append(ENFORCEMENTS, 0, [Message(b"vm1/1", None)])
    assert tail(ENFORCEMENTS) == [{"key": "vm1/1", "removed": True}]


PROGRAM = str(Path(sys.executable).with_name("quota-stream"))


@pytest.fixture
def interruptible() -> Iterator[None]:
    """What is started hears of SIGINT, also where the tests themselves run in the background and do not."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.usefixtures("interruptible")
def test_following_ends_by_interrupt() -> None:
    """Ctrl-C is how one stops following: exit status 0, no traceback."""
    append(DELTAS, 3, [wire.encode_delta("vm1/1", T0, T0 + 1, 1, 0)])
    words = [PROGRAM, "tail", DELTAS, "--follow", "--from", "first"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert json.loads(follower.stdout.readline())["in"] == 1
        follower.send_signal(signal.SIGINT)
        _, err = follower.communicate(timeout=60)
    assert (follower.returncode, err) == (0, "")


@pytest.mark.parametrize("follow", [(), ("--follow", "--from", "first")])
def test_a_reader_that_has_seen_enough(follow: tuple[str, ...]) -> None:
    """`tail | head -1` ends quietly."""
    append(DELTAS, 3, [wire.encode_delta("vm1/1", T0, T0 + n, n, 0) for n in range(1, 5000)])
    words = [PROGRAM, "tail", DELTAS, *follow]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        assert json.loads(follower.stdout.readline())["in"] == 1
        follower.stdout.close()
        append(DELTAS, 3, [wire.encode_delta("vm1/1", T0, T0 + n, n, 0) for n in range(1, 5000)])
        assert follower.stderr is not None
        assert follower.stderr.read() == ""
