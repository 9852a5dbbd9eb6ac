"""Who does the job, and how each is started."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from tests.kafka.fetch import CACHE, ROOT

Form: TypeAlias = Literal["singles", "batches"]

HOME = CACHE / "peers"
STREAMS = HOME / "streams"
PEERS = ROOT / "tests" / "bench" / "peers"
PACKAGES = {
    "quix": ("quixstreams==3.28.1",),
    "bytewax": ("bytewax[kafka]==0.21.1", "orjson"),
}
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


@dataclass(frozen=True, kw_only=True)
class Contender:
    name: str
    form: Form
    command: Sequence[str]
    before: Sequence[str] = ()
    """A command that prepares STATE_DIR."""
    environ: Mapping[str, str] = field(default_factory=dict)
    ours: bool = False
    decides: bool = True
    slow: bool = False
    """Runs once however often the others run."""


def _streams(form: Form) -> Contender:
    words = [
        "java", "-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp", f"{STREAMS}/streams-peer-1.jar:{STREAMS}/jars/*", "peer.Quota",
    ]  # fmt: skip
    environ = {"BATCHES": "1"} if form == "batches" else {}
    return Contender(name="Kafka Streams", form=form, command=words, environ=environ)


def _bare(form: Form, *, loads: bool) -> Contender:
    return Contender(
        name="aiokafka + orjson.loads" if loads else "bare aiokafka",
        form=form,
        command=[sys.executable, "-m", "tests.bench.peers.bare"],
        environ={"LOADS": "1"} if loads else {},
        decides=False,
    )


def _ours(form: Form, name: str, **environ: str) -> Contender:
    command = [sys.executable, "-m", "tests.bench.kafka.ours"]
    return Contender(name=name, form=form, command=command, environ=environ, ours=True)


def _python(peer: str) -> str:
    return str(HOME / peer / "bin" / "python")


QUIX = Contender(
    name="Quix Streams", form="singles", slow=True, command=[_python("quix"), "-m", "tests.bench.peers.quix"]
)
BYTEWAX = Contender(
    name="Bytewax",
    form="singles",
    slow=True,
    before=[_python("bytewax"), "-m", "bytewax.recovery", "{STATE_DIR}", "1"],
    command=[
        _python("bytewax"), "-m", "bytewax.run", "tests.bench.peers.wax:flow",
        "-r", "{STATE_DIR}", "-s", "5", "-b", "0", "-w", "1",
    ],
)  # fmt: skip
OURS = "quota-stream"
CONTENDERS: Mapping[Form, Sequence[Contender]] = {
    "batches": [
        _bare("batches", loads=False),
        _bare("batches", loads=True),
        _ours("batches", OURS),
        _ours("batches", f"{OURS}, decisions wait 5 s as well", DECISION_DELAY_S="5"),
        _streams("batches"),
    ],
    "singles": [
        _bare("singles", loads=False),
        _bare("singles", loads=True),
        _ours("singles", OURS),
        _ours("singles", f"{OURS}, decisions wait 5 s as well", DECISION_DELAY_S="5"),
        _streams("singles"),
        BYTEWAX,
        QUIX,
    ],
}


def main() -> None:
    """Makes what the peers need, once: `python -m tests.bench.kafka.contenders`."""
    HOME.mkdir(parents=True, exist_ok=True)
    print("Building the peers (a minute or two) ...", flush=True)
    jars = f"-DoutputDirectory={STREAMS}/jars"
    _run("mvn", "-q", "-B", "-Dstyle.color=never", "-f", f"{PEERS}/streams/pom.xml", f"-Dbuilt={STREAMS}",
         "package", COPY, "-DincludeScope=runtime", jars)  # fmt: skip
    for peer, packages in PACKAGES.items():
        _run(sys.executable, "-m", "venv", str(HOME / peer))
        _run(_python(peer), "-m", "pip", "install", "--quiet", *packages)
    (HOME / "ready").touch()


def _run(*words: str) -> None:
    if subprocess.run(words).returncode:
        raise SystemExit(f"The peers could not be made, see above: {words[0]} failed.  Call this again.")


if __name__ == "__main__":
    main()
