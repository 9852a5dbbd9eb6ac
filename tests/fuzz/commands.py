"""What the command line takes: arguments, lines on standard input, and what it shows of a log's records."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import orjson
from click.testing import CliRunner

from stream import wire
from stream.adapters.admission import check_messages
from stream.adapters.clock import SystemClock
from stream.adapters.sqlite import SqliteLog
from stream.cli import cli
from stream.cli.publish import Intake
from stream.cli.text import printable
from stream.core.model import Malformed, Record
from stream.ports import CHANGES, DEAD_LETTERS, DELTAS, ENFORCEMENTS, STATE, Message
from tests.cli.calling import CONFIG
from tests.core.feeding import HOUR
from tests.fuzz import deltas
from tests.fuzz.mutation import Draw
from tests.fuzz.target import folder_of
from tests.fuzz.topics import ENFORCED, SWITCHES, ran

PARTITIONS = 3


class PublishSubject:
    """Lines, as `publish` makes records of them."""

    def draw(self, draw: Draw) -> list[bytes]:
        text = b"\n".join(draw.json(deltas.SEEDS) for _ in range(1 + draw.below(4)))
        return text.split(b"\n")

    def take(self, given: list[bytes]) -> bool:
        intake = Intake(PARTITIONS, HOUR)
        taken = intake.take(given, deltas.NOW)
        for refusal in taken.refusals:
            assert printable(refusal).isprintable()
            assert len(refusal) < 100_000
        decoder = wire.Decoder()
        for partition, messages in taken.messages.items():
            check_messages(DELTAS, messages)
            assert partition in range(PARTITIONS)
            records = [Record(offset, deltas.NOW, *message) for offset, message in enumerate(messages)]
            events = decoder.decode(records)
            assert not any(isinstance(event, Malformed) for event in events), "what is published will be refused"
        assert taken.lines <= len(given)
        return bool(taken.messages)


# ---------------------------------------------------------------- the whole command line


class Home:
    """A folder with a configuration and a log that has services in it."""

    def __init__(self) -> None:
        self.folder = folder_of(self)
        self.config = self.folder / "quota-stream.yaml"
        self.log = self.folder / "q.db"
        self.config.write_text(CONFIG)
        self._original = self.folder / "original.db"
        self.call(["publish"], b"\n".join(self._lines()))
        assert self.call(["run", "--drain"])
        shutil.copy(self.log, self._original)

    @staticmethod
    def _lines() -> list[bytes]:
        enrolled = [deltas.registration(f"vm1/{number}", "vpn") for number in (1, 2, 3)]
        counted = [deltas.delta("vm1/1", deltas.NOW, 5000), deltas.delta("vm1/2", deltas.NOW, 7), {"service": "vm1/1"}]
        return [orjson.dumps(document) for document in (*enrolled, *counted)]

    def renew(self) -> None:
        """The log as it was at first."""
        for rest in self.folder.glob("q.db-*"):
            rest.unlink()
        shutil.copy(self._original, self.log)

    def call(self, arguments: Sequence[str], stdin: bytes = b"") -> bool:
        """Whether it did what it was asked for; what is no exit status of ours is raised."""
        result = CliRunner().invoke(cli, [*arguments, "--config", str(self.config)], stdin, prog_name="quota-stream")
        if isinstance(result.exception, OSError):
            return False  # `main` shows it in one line
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code in (0, 1, 2), f"exit status {result.exit_code}"
        assert result.exit_code == 0 or result.output, "it fails without a word"
        return result.exit_code == 0


class CommandsSubject:
    """Arguments of the commands that only read, or that put a record into the log; and their standard input."""

    CALLS: Sequence[Sequence[str]] = (
        ("tail", "quota.profile-changes", "--from", "0", "--service", "vm1/1"),
        ("tail", "traffic.deltas", "--partition", "1", "--from", "end", "--places"),
        ("status", "--json"),
        ("service", "list", "vm1/*", "--plan", "vpn", "--profile", "slow"),
        ("service", "show", "vm1/1", "--json"),
        ("service", "history", "vm1/1", "--json"),
        ("service", "credit", "vm1/1", "50 GiB", "--plan", "vpn", "--why", "x", "--id", "7", "--at", "2026-03-01"),
        ("service", "exempt", "vm1/1", "--for", "2h", "--at", "2025-12-01"),
        ("service", "exempt", "vm1/2", "--until", "2026-03-01T12:00+01:00"),
        ("service", "pin", "vm1/1", "slow", "--plan", "vpn", "--for", "2h"),
        ("service", "unpin", "vm1/1", "--plan", "vpn"),
        ("service", "reset", "vm1/1", "--why", "our mistake"),
        ("plans", "diff"),
        ("platform", "allow", "vm1", "--for", "1h"),
        ("platform", "originals", "import", "--why", "x"),
        ("publish", "--json"),
        ("simulator", "--knob", "stamp=end", "--knob", "lag_ms=60000", "--fault", "unavailable:percent=5,call=/host"),
        ("simulator", "--listen", "127.0.0.1:0", "--speed", "300", "--start", "2026-03-01T00:00", "--timezone", "UTC"),
    )  # fmt: skip
    ORIGINAL = b'{"service":"vm1/1","in":100000000,"out":null}'

    def __init__(self) -> None:
        self._home = Home()

    def draw(self, draw: Draw) -> tuple[list[str], bytes]:
        call = list(draw.pick(self.CALLS))
        for _ in range(draw.below(3)):
            at = draw.rng.randrange(1, len(call)) if len(call) > 1 else 0
            match draw.rng.randrange(5):
                case 0:
                    call[at] = draw.word()
                case 1 if at > 1:
                    del call[at]
                case _ if not call[at].startswith("--"):
                    call[at] = draw.text(call[at])
        stdin = draw.json([self.ORIGINAL, *deltas.SEEDS]) if "import" in call or "publish" in call else b""
        return [_possible(argument) for argument in call], stdin

    def take(self, given: tuple[list[str], bytes]) -> bool:
        call, stdin = given
        ending: list[str] = []
        if call[0] == "service" and call[1:2] in (["credit"], ["exempt"], ["pin"], ["unpin"], ["reset"]):
            ending = ["--wait", "1ms", "--no-wait"]
        elif call[0] == "simulator":
            ending = ["--state", "/nowhere/world.jsonl"]  # it ends before it begins to serve
        accepted = self._home.call([*call, *ending], stdin)
        if accepted:
            self._home.renew()
        return accepted


def _possible(argument: str) -> str:
    """As `main` lets it pass: UTF-8 without NUL."""
    return argument.replace("\0", "").encode("utf-8", "replace").decode()


# ---------------------------------------------------------------- what is shown


class Shown(NamedTuple):
    topic: str
    key: bytes
    value: bytes | None


class ShownSubject:
    """Records that somebody has put into the log, as `tail`, `service` and `status` show them."""

    CALLS: Mapping[str, Sequence[Sequence[str]]] = MappingProxyType(
        {
            DELTAS: (["tail", DELTAS], ["status"]),
            CHANGES: (
                ["tail", CHANGES, "--service", "vm1/1"],
                ["service", "history", "vm1/1"],
                ["tail", CHANGES, "--places"],
            ),
            ENFORCEMENTS: (["tail", ENFORCEMENTS], ["service", "show", "vm1/1"], ["status"]),
            STATE: (["tail", STATE, "--places"], ["service", "show", "vm1/1"], ["service", "list"]),
            DEAD_LETTERS: (["tail", DEAD_LETTERS, "--service", "vm1/1"], ["status"]),
        }
    )
    COMPARISON = b'{"service":"vm1/1","start":0,"end":60000,"ours_in":1,"ours_out":2,"theirs_in":3,"theirs_out":4}'
    LETTER = b'{"reason":"x","cure":"y","origin":{"topic":"t","partition":0,"offset":1,"index":0},"value":"{}"}'

    def __init__(self) -> None:
        self._home = Home()
        state = list(ran().state.values())
        self._seeds = {
            DELTAS: deltas.SEEDS,
            CHANGES: [message.value or b"" for message in ran().said(CHANGES)],
            ENFORCEMENTS: [orjson.dumps(ENFORCED.to_json()), orjson.dumps(SWITCHES.to_json())],
            STATE: [self.COMPARISON, *(value for value in state if value[:1] == b"{")],
            DEAD_LETTERS: [self.LETTER],
        }
        self._keys = {
            ENFORCEMENTS: (b"vm1/1", b"@enforcer", b"vm1/9"),
            STATE: (b"comparison/vm1/1", b"meta", b"out/0", b"0/a/0", b"0/a/00000000000000000000", b"x/a/1"),
        }

    def draw(self, draw: Draw) -> tuple[list[Shown], Sequence[str]]:
        topic = draw.pick(list(self._seeds))
        count = 1 + draw.below(3)
        return [self._record(draw, topic) for _ in range(count)], draw.pick(self.CALLS[topic])

    def _record(self, draw: Draw, topic: str) -> Shown:
        key = draw.pick(self._keys.get(topic, (b"vm1/1",)))
        key = draw.spoiled_bytes(key) or b"k" if draw.chance(0.2) else key
        return Shown(topic, key, None if draw.chance(0.02) else draw.json(self._seeds[topic])[:500_000])

    def take(self, given: tuple[list[Shown], Sequence[str]]) -> bool:
        records, call = given
        asyncio.run(self._append(records))
        try:
            return self._home.call(call)
        finally:
            self._home.renew()

    async def _append(self, records: Sequence[Shown]) -> None:
        log = await SqliteLog.open(self._home.log, clock=SystemClock())
        try:
            partition = wire.partition_of("vm1/1", log.partitions)
            for topic, key, value in records:
                await log.append(topic, partition, [Message(key, value)])
        finally:
            await log.close()
