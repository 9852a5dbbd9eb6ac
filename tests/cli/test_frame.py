"""What all commands share: help, exit status, errors, logs."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
import structlog
from click.testing import CliRunner

from stream import __version__
from stream.cli import COMMANDS, cli
from stream.cli.base import Group, print_json, print_table
from stream.cli.logs import MOST_LINES, Seldom, configure_logs
from stream.core.errors import Corrupt, InUse, Misconfigured, QuotaStreamError, Rejected, Unavailable
from tests.cli.calling import CONFIG, call


def every_command() -> list[list[str]]:
    """The words of every command that does something."""
    found = []
    pending: list[tuple[list[str], click.Command]] = [([], cli)]
    while pending:
        words, command = pending.pop()
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                assert inner is not None
                pending.append(([*words, name], inner))
        else:
            found.append(words)
    return sorted(found)


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_help_has_examples(words: list[str]) -> None:
    """Every command says what it does, shows how it is called, and takes --config and --log-level."""
    text = call(*words, "--help").stdout
    assert re.search(r"\n  Examples:\n    \S", text)
    assert f"quota-stream {' '.join(words)}" in text.split("Examples:")[1]
    assert "--config FILE" in text
    assert "--log-level" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_command_says(name: str) -> None:
    """The short help in the list is the command's own first sentence."""
    if name != "simulator":
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        assert command.help is not None
        assert COMMANDS[name].help == command.help.split("\n\n")[0]


def test_version() -> None:
    """`--version` names program and version."""
    assert call("--version").stdout == f"quota-stream, version {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["check", "--nonsense"], "No such option"),
        (["tail"], "Missing argument"),
        (["tail", "quota.stat"], "'quota.stat' is not one of"),
        (["tail", "quota.state", "--from", "x"], "'x' is neither an offset nor `first` nor `end`"),
        (["service", "credit", "vm1/1", "1 gb"], "'gb' is not a unit of a size; write 1 GB"),
        (["service", "exempt", "vm1/1", "--until", "soon"], "'soon' is no time; write for example"),
        (["--log-level", "loud", "check"], "'loud' is not one of"),
    ],
)
def test_wrong_use(folder: Path, arguments: list[str], message: str) -> None:
    """Wrong arguments: exit status 2, said on standard error."""
    result = call(*arguments, status=2)
    assert message in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("error", "status", "shown"),
    [
        (
            Misconfigured("a.yaml:1: wrong; do that", "a.yaml:2: wrong too"),
            2,
            "a.yaml:1: wrong; do that\na.yaml:2: wrong too\n",
        ),
        (Unavailable("vm1: no answer"), 1, "error: vm1: no answer\n"),
        (InUse("q.db: process 7 runs on it"), 1, "error: q.db: process 7 runs on it\n"),
        (Corrupt("q.db: damaged"), 1, "error: q.db: damaged\n"),
        (Rejected("not pinned", "pin it first"), 1, "error: not pinned; pin it first\n"),
        (Unavailable("\x1b[31mred\u202e"), 1, "error: \\x1b[31mred\\u202e\n"),
    ],
)
def test_our_errors_are_lines(error: QuotaStreamError, status: int, shown: str) -> None:
    """Each of our errors becomes its own lines on standard error, without a traceback, and the exit status."""
    group = Group("group")

    @group.command("fail")
    def fail() -> None:
        raise error

    result = CliRunner().invoke(group, ["fail"])
    assert (result.exit_code, result.stderr, result.stdout) == (status, shown, "")


def test_the_configuration_can_be_named_anywhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--config before or after the command, the environment, the default; the more explicit one wins."""
    for name in ("a", "b", "quota-stream"):
        (folder / f"{name}.yaml").write_text(CONFIG)
    assert "quota-stream.yaml is correct" in call("check").stdout
    assert "a.yaml is correct" in call("check", "--config", "a.yaml").stdout
    assert "a.yaml is correct" in call("--config", "a.yaml", "check").stdout
    monkeypatch.setenv("QUOTA_STREAM_CONFIG", "b.yaml")
    assert "b.yaml is correct" in call("check").stdout
    assert "a.yaml is correct" in call("--config", "a.yaml", "check").stdout


def test_as_a_process(folder: Path) -> None:
    """The installed command does the same: status, streams, no traceback."""
    program = Path(sys.executable).with_name("quota-stream")
    done = subprocess.run([program, "status"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("quota-stream.yaml: there is no such file; write one with `quota-stream init`")
    assert subprocess.run([program, "init"], capture_output=True, check=False).returncode == 0
    done = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", ["publish < /dev/null", "--help"])
def test_output_that_takes_no_more(folder: Path, words: str) -> None:
    """A full disk under standard output is one line and exit status 1, no traceback."""
    (folder / "quota-stream.yaml").write_text(CONFIG)
    call("publish", stdin="")
    program = Path(sys.executable).with_name("quota-stream")
    done = subprocess.run(["sh", "-c", f"{program} {words} > /dev/full"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: input or output: No space left on device; mend that and repeat\n"


def test_arguments_that_are_no_text(folder: Path) -> None:
    """Bytes that are not UTF-8 are refused with words."""
    program = Path(sys.executable).with_name("quota-stream")
    done = subprocess.run([program, "service", "show", b"vm1/\xff"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "'vm1/\\udcff' is not UTF-8; write it in that encoding\n")


@pytest.mark.parametrize(
    "words",
    [
        ("simulator", "--speed", "nan"),
        ("simulator", "--latency", "inf"),
        ("simulator", "--knob", "latency_s=nan"),
        ("simulator", "--fault", "slow:delay_s=inf"),
        ("simulator", "--listen", "127.0.0.1:99999"),
        ("demo", "--hours", "nan"),
    ],
)
def test_numbers_that_are_none(folder: Path, words: tuple[str, ...]) -> None:
    """What is no number, or has no end, is wrong use."""
    assert f"Invalid value for {words[1] if words[1] != '--latency' else '--knob'}" in call(*words, status=2).stderr


# ---------------------------------------------------------------- logs


def test_logs_are_lines_in_utc(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each on standard error: time in UTC, level, event, then what belongs to it."""
    configure_logs("info")
    structlog.get_logger().warning("platform.unavailable", platform="vm1", cause="no answer", retry_in_s=4)
    structlog.get_logger().debug("not.shown")
    logging.getLogger("httpx").warning("a library %s", "speaks")
    logging.getLogger("httpx").info("not shown")
    out, err = capsys.readouterr()
    first, second = err.splitlines()
    assert out == ""
    time = r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
    pattern = rf'{time} level=warning event=platform\.unavailable platform=vm1 cause="no answer" retry_in_s=4'
    assert re.fullmatch(pattern, first)
    assert re.fullmatch(rf'{time} level=warning event="a library speaks"', second)


def test_logs_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """With `log_format: json` each line is one object."""
    configure_logs("error", "json")
    structlog.get_logger().error("a.b", number=1, name="x")
    structlog.get_logger().warning("not.shown")
    (line,) = capsys.readouterr().err.splitlines()
    assert '"event": "a.b"' in line
    assert '"number": 1' in line


def test_a_library_says_a_line_once_in_a_while(capsys: pytest.CaptureFixture[str]) -> None:
    """What it says again within ten seconds is left out, and counted in the next one; other lines are heard."""
    now = [100.0]
    configure_logs("info")
    (handler,) = logging.getLogger().handlers
    handler.filters[:] = [Seldom(lambda: now[0])]
    for at, node in ((100.0, 1), (100.1, 2), (109.9, 1), (110.0, 1), (110.2, 3), (130.0, 1), (150.0, 1)):
        now[0] = at
        logging.getLogger("aiokafka").error("no connection to %d", node)
        if node > 1:
            logging.getLogger("aiokafka.conn").error("no connection to %d", node)
            logging.getLogger("aiokafka").error("no answer from %d", node)
    said = [line.split("event=")[1] for line in capsys.readouterr().err.splitlines()]
    assert said == [
        '"no connection to 1"',
        '"no connection to 2"',
        '"no answer from 2"',
        '"no connection to 1" left_out=2',
        '"no connection to 3"',
        '"no answer from 3"',
        '"no connection to 1" left_out=1',
        '"no connection to 1"',
    ]


def test_lines_that_never_come_again_take_no_room() -> None:
    """Only so many of them are remembered: the newest."""
    seldom = Seldom(lambda: 0.0)
    heard = [
        seldom.filter(logging.makeLogRecord({"msg": f"line {n}"})) for n in [*range(MOST_LINES + 1), 0, MOST_LINES]
    ]
    assert heard == [True] * (MOST_LINES + 2) + [False]


def test_debug_leaves_nothing_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Who looks closely sees each line of a library."""
    configure_logs("debug")
    for _ in range(3):
        logging.getLogger("aiokafka").debug("the same")
    configure_logs("info")
    for _ in range(3):
        logging.getLogger("aiokafka").error("the same")
    assert capsys.readouterr().err.count("the same") == 1 + 3


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_log_line_stays_a_line(capsys: pytest.CaptureFixture[str], form: str) -> None:
    """Others' words cannot end a line, colour a terminal or turn its direction."""
    configure_logs("info", "json" if form == "json" else "text")
    hostile = "a\nb\x1b[31m\u202e\x9b\r"
    structlog.get_logger().info("named", name=hostile, names=[hostile])
    logging.getLogger("uvicorn").error("%s", hostile)
    text = capsys.readouterr().err
    assert len(text.splitlines()) == 2
    assert all(line.isprintable() for line in text.splitlines())


def test_output_cannot_control_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Tables show what cannot be seen as escapes; JSON keeps the value and escapes it in JSON's way."""
    hostile = "\x1b]0;x\x07\u202e\U000e0001"
    print_table(("NAME",), [(hostile,)])
    print_json({"name": hostile})
    table, line = capsys.readouterr().out.split("\n", 1)[1].splitlines()
    assert table == "\\x1b]0;x\\x07\\u202e\\U000e0001"
    assert line == '{"name":"\\u001b]0;x\\u0007\\u202e\\udb40\\udc01"}'
