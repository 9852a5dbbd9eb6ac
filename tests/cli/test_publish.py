"""`publish`: every line counted, or refused with its number and the reason."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream import wire
from stream.cli.publish import Intake
from stream.core.model import Deltas, Message, Names, Record
from stream.ports import MAX_RECORD_BYTES
from tests.cli.calling import CONFIG, MINUTE, T0, call, delta, lines, registration

NOW = T0 + 3_600_000


def taken(*texts: str | bytes, partitions: int = 4) -> tuple[dict[int, list[Message]], int, list[str]]:
    intake = Intake(partitions, 3_600_000)
    return intake.take([text.encode() if isinstance(text, str) else text for text in texts], NOW)


def published(messages: dict[int, list[Message]]) -> dict[int, list[object]]:
    return {partition: [json.loads(one.value or b"") for one in each] for partition, each in messages.items()}


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("nonsense", "not JSON: "),
        ("[1]", "not a JSON object; publish one object in each record"),
        ('{"type":"credit"}', "type is unknown; write one of batch, registration,"),
        ('{"service":"vm1","start":1,"end":2,"in":1,"out":1}', 'service is no service id; write "<platform>/<id>"'),
        ('{"service":"vm1/1","start":2,"end":2,"in":1,"out":1}', "end is not after start: 2 to 2; "),
        ('{"service":"vm1/1","start":1,"end":2,"in":-1,"out":1}', "in is out of bounds: -1; "),
        ('{"service":"vm1/1","start":1,"end":2,"in":"1","out":1}', "in is not an integer; "),
        ('{"service":"vm1/1","start":1,"end":1e99,"in":1,"out":1}', "end is not an integer; "),
        (f'{{"service":"vm1/1","start":{T0},"end":{NOW + 3_600_001},"in":1,"out":1}}', "end lies too far ahead: "),
        ('{"type":"registration","service":"vm1/1"}', "plans are not a list of names; "),
        ('{"type":"plans","version":1,"plans":{"p":{}}}', "plans are wrong: "),
        ('{"type":"batch","services":["a/1"],"start":1,"end":2,"in":[1,2],"out":[1]}', "no batch: in has 2 elements"),
        (b"\xff", "not JSON: "),
    ],
)  # fmt: skip
def test_a_bad_line_is_refused_by_its_number(line: str | bytes, refusal: str) -> None:
    """The reason and the cure are those of the tracker; the lines around it are published."""
    messages, count, refusals = taken(delta("vm1/1", 0, 5), "", line, delta("vm1/1", 1, 6))
    assert count == 2
    assert len(refusals) == 1
    assert refusals[0].startswith(f"line 3: {refusal}"), refusals[0]
    (records,) = published(messages).values()
    assert len(records) == 2


def test_numbers_go_on_from_call_to_call() -> None:
    """Lines are numbered over the whole input."""
    intake = Intake(4, 3_600_000)
    assert intake.take([b"x", b""], NOW).refusals[0].startswith("line 1: ")
    assert intake.take([b"", b"x"], NOW).refusals[0].startswith("line 4: ")


def test_a_batch_is_cut_by_partition_and_refused_by_element() -> None:
    """Each service's element goes to its own partition, in order; a bad element harms only itself."""
    services = [f"vm1/{number}" for number in range(20)]
    batch = {
        "type": "batch", "source": "meters", "start": T0, "end": [T0 + MINUTE + number for number in range(21)],
        "services": [*services, "bad"], "in": list(range(21)), "out": [7] * 21, "backfill": True,
    }  # fmt: skip
    messages, count, refusals = taken(json.dumps(batch))
    assert count == 1
    assert refusals[0].startswith("line 1, element 20: service is no service id")
    found: list[tuple[str, int, int, int]] = []
    for partition, records in published(messages).items():
        for record in records:
            assert isinstance(record, dict)
            assert (record["source"], record["start"], record["backfill"]) == ("meters", T0, True)
            assert all(wire.partition_of(name, 4) == partition for name in record["services"])
            found += zip(record["services"], record["end"], record["in"], record["out"], strict=True)
    assert sorted(found) == sorted((name, T0 + MINUTE + n, n, 7) for n, name in enumerate(services))


def test_a_source_that_is_none() -> None:
    """It is refused before it is written down once for each part that a batch is cut into."""
    services = [f"vm1/{number}" for number in range(1000)]
    batch = {"type": "batch", "source": "x" * 400_000, "start": T0, "end": T0 + 1, "services": services}
    tracemalloc.start()
    messages, count, refusals = taken(json.dumps(batch | {"in": [1] * 1000, "out": [1] * 1000}))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (dict(messages), count) == ({}, 0)
    assert refusals == ["line 1: source is no proper string as it is published; shorten it"]
    assert peak_bytes < 10_000_000


def test_what_concerns_all_goes_everywhere() -> None:
    """Watermarks and plans are written to each partition, after what stands before them."""
    plans = json.dumps({"type": "plans", "version": 3, "plans": {}})
    watermark = json.dumps({"type": "watermark", "source": "vm1", "at": T0})
    messages, count, refusals = taken(delta("vm1/1", 0, 1), plans, watermark, partitions=3)
    assert (count, refusals) == (3, [])
    own = wire.partition_of("vm1/1", 3)
    for partition in range(3):
        kinds = [record.get("type") for record in published(messages)[partition] if isinstance(record, dict)]
        assert kinds == ([None] if partition == own else []) + ["plans", "watermark"]


def test_records_about_a_service_have_its_key_and_only_what_was_said() -> None:
    """A registration's key is its service; an instant that was not given is left to the log."""
    adjustment = {"type": "adjustment", "id": "1", "service": "vm1/1", "kind": "reset", "by": "anna", "why": "x"}
    gone = {"type": "deregistration", "service": "vm1/1", "at": T0}
    plain = {"type": "registration", "service": "vm1/1", "plans": ["vpn"]}
    messages, count, refusals = taken(json.dumps(plain), json.dumps(adjustment), json.dumps(gone), partitions=1)
    assert (count, refusals) == (3, [])
    assert [message.key for message in messages[0]] == [b"vm1/1"] * 3
    registered, adjusted, deregistered = published(messages)[0]
    assert registered == {**plain, "source": "vm1", "labels": {}}
    assert adjusted == adjustment
    assert deregistered == gone


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 50), st.integers(0, 1 << 50), st.booleans())))
def test_what_is_published_is_what_was_written(deltas: list[tuple[int, int, int, bool]]) -> None:
    """Decoding what was published gives every delta again, per service in its order, batches or not."""
    written: list[tuple[str, int, int, bool]] = []
    texts: list[str] = []
    for number, minute, in_, backfill in deltas:
        name = f"vm1/{number}"
        written.append((name, T0 + minute, in_, backfill))
        end, mark = T0 + MINUTE + minute, {"backfill": True} if backfill else {}
        one = {"service": name, "start": T0 + minute, "end": end, "in": in_, "out": 1, **mark}
        many = {"type": "batch", "start": T0 + minute, "end": end, "services": [name], "in": [in_], "out": [1], **mark}
        texts.append(json.dumps(one if in_ % 2 else many))
    messages, count, refusals = taken(*texts)
    assert (count, refusals) == (len(deltas), [])
    read: list[tuple[str, int, int, bool]] = []
    for records in messages.values():
        for event in wire.Decoder().decode([Record(n, NOW, *one) for n, one in enumerate(records)]):
            assert isinstance(event, Deltas)
            names = event.names.strings() if isinstance(event.names, Names) else event.names
            starts = [event.start] * len(names) if isinstance(event.start, int) else event.start.tolist()
            read += zip(names, starts, event.in_.tolist(), [event.backfill] * len(names), strict=True)
    for name in {one[0] for one in written}:
        assert [one for one in read if one[0] == name] == [one for one in written if one[0] == name]


# ---------------------------------------------------------------- the command


def test_publish(folder: Path) -> None:
    """Into the log: the plans first, then the lines; the rest is said on standard error, and the status is 1."""
    (folder / "quota-stream.yaml").write_text(CONFIG)
    result = call(
        "publish", stdin=registration("vm1/1") + delta("vm1/1", 0, 5) + "x\n" + delta("vm1/1", 1, 6), status=1
    )
    assert result.stdout == "3 lines published, 1 refused\n"
    assert result.stderr.startswith("line 3: not JSON: ")
    kinds = [one.get("type", "delta") for one in lines(call("tail", "traffic.deltas", "--service", "vm1/1"))]
    assert kinds == ["registration", "delta", "delta"]
    everything = [one.get("type", "delta") for one in lines(call("tail", "traffic.deltas"))]
    assert everything.count("plans") == 4
    assert lines(call("publish", "--json", stdin=delta("vm1/1", 2, 5))) == [{"published": 1, "refused": 0}]
    assert call("publish", stdin="").stdout == "0 lines published, 0 refused\n"
    assert [one.get("type") for one in lines(call("tail", "traffic.deltas"))].count("plans") == 4


def test_progress_is_shown_on_standard_error(folder: Path) -> None:
    """--progress counts; standard output stays for the result."""
    (folder / "quota-stream.yaml").write_text("log: sqlite:q.db\n")
    result = call("publish", "--progress", stdin=delta("vm1/1", 0, 1) * 3)
    assert result.stdout == "3 lines published, 0 refused\n"
    assert "3 lines published, 0 refused" in result.stderr


def test_a_line_without_end(folder: Path) -> None:
    """A line that no record could hold is refused, and takes no more memory than that."""
    (folder / "quota-stream.yaml").write_text("log: sqlite:q.db\n")
    result = call("publish", stdin=b" " * 3_000_000 + b"{}\n" + delta("vm1/1", 0, 1).encode(), status=1)
    assert result.stdout == "1 line published, 1 refused\n"
    assert result.stderr.startswith("line 1: record too large: ")


def test_a_line_that_outgrows_a_record(folder: Path) -> None:
    """One that fits, and not with every default written out, is refused by its number; the others are published."""
    start = '{"type":"registration","service":"vm1/1","plans":['
    line = start + ",".join(['"' + "x" * 60 + '"'] * 8321) + "]}"
    assert MAX_RECORD_BYTES - 60 < len(line) <= MAX_RECORD_BYTES
    (folder / "quota-stream.yaml").write_text("log: sqlite:q.db\n")
    result = call("publish", stdin=f"{line}\n{delta('vm1/1', 0, 1)}", status=1)
    assert result.stdout == "1 line published, 1 refused\n"
    assert result.stderr.startswith("line 1: record too large: "), result.stderr


def test_lines_are_published_as_they_come(folder: Path) -> None:
    """Whoever keeps the pipe open sees each line in the log before the next one is written."""
    (folder / "quota-stream.yaml").write_text("log: sqlite:q.db\n")
    call("publish", stdin="")
    program = Path(sys.executable).with_name("quota-stream")
    with subprocess.Popen([program, "publish"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as publisher:
        assert isinstance(publisher.stdin, io.TextIOBase)
        publisher.stdin.write(delta("vm1/1", 0, 1))
        publisher.stdin.flush()
        tail = [program, "tail", "traffic.deltas", "--follow", "--from", "first", "--service", "vm1/1"]
        with subprocess.Popen(tail, stdout=subprocess.PIPE, text=True) as follower:
            assert follower.stdout is not None
            assert json.loads(follower.stdout.readline())["in"] == 1
            publisher.stdin.write(delta("vm1/1", 1, 2))
            publisher.stdin.flush()
            assert json.loads(follower.stdout.readline())["in"] == 2
            follower.terminate()
        publisher.stdin.close()
        assert publisher.wait(30) == 0
