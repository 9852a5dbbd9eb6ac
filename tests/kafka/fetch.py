"""`python -m tests.kafka.fetch`: Kafka and kcat from their packages into `.kafka/`; `make test-kafka` calls it once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
CACHE = ROOT / ".kafka"
JARS = CACHE / "jars"
KCAT = CACHE / "kcat"
FETCHED = CACHE / "fetched"
ARCHIVE = CACHE / "classes.jsa"
"""`tests.kafka.warm` makes it."""
JAVA = 17
PROGRAMS = {"java": "openjdk-17-jre-headless", "mvn": "maven", "openssl": "openssl", "setpriv": "util-linux"}
"""What must be installed, and the Debian package that has it."""
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


class Missing(Exception):
    """Something that the Kafka tests need is not on this machine; the message says what to install."""


def main() -> None:
    try:
        _check_programs()
        _fetch_jars()
        _fetch_kcat()
    except Missing as error:
        raise SystemExit(f"The Kafka tests start a real Kafka. {error}") from error
    FETCHED.touch()


def kcat() -> tuple[Path, Mapping[str, str]]:
    """The program, and the environment in which it finds its libraries."""
    installed = shutil.which("kcat")
    if installed:
        return Path(installed), os.environ
    libraries = [str(path.parent) for path in KCAT.rglob("librdkafka.so.1")]
    return KCAT / "usr/bin/kcat", {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}


def _check_programs() -> None:
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            raise Missing(f"There is no {program} here: install it, on Debian with `apt-get install {package}`.")
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found[1]) < JAVA:
        raise Missing(f"It needs Java {JAVA} or newer, and `java -version` says {said.splitlines()[0]}.")


def _fetch_jars() -> None:
    """The newest that the pom names, and nothing else."""
    print("Fetching Kafka (half a minute) ...", flush=True)
    shutil.rmtree(JARS, ignore_errors=True)
    words = [
        "-f",
        str(Path(__file__).with_name("pom.xml")),
        COPY,
        "-DincludeScope=runtime",
        f"-DoutputDirectory={JARS}",
    ]
    done = subprocess.run(["mvn", "-q", "-B", *words], capture_output=True, text=True)
    if done.returncode or not any(JARS.glob("kafka_*.jar")):
        print(done.stdout, done.stderr, sep="", file=sys.stderr)
        raise Missing("Maven could not fetch it, see above: mend its access to the registry, then call this again.")


def _fetch_kcat() -> None:
    """Unpacked where it lies, with those of its libraries that are not installed; nothing is installed."""
    if shutil.which("kcat"):
        return
    if shutil.which("apt-get") is None:
        raise Missing("There is no kcat here: install it.")
    print("Fetching kcat ...", flush=True)
    shutil.rmtree(KCAT, ignore_errors=True)
    cache, lists = KCAT / "cache", KCAT / "lists"
    packages = cache / "archives"
    for folder in (packages, lists):
        (folder / "partial").mkdir(parents=True)
    download = ["-o", f"Dir::Cache={cache}", "--no-install-recommends", "--download-only", "-y"]
    own_lists = ["-o", f"Dir::Cache={cache}", "-o", f"Dir::State::lists={lists}"]
    if not _apt_get(*download, "install", "kcat"):  # as where nobody has asked for the registry's lists yet
        _apt_get(*own_lists, "update")
        if not _apt_get(*own_lists, *download, "install", "kcat"):
            raise Missing("apt-get could not fetch kcat, see above: mend its access to the registry, or install kcat.")
    for package in sorted(packages.glob("*.deb")):
        subprocess.run(["dpkg", "-x", package, KCAT], check=True)


def _apt_get(*words: str) -> bool:
    """As whoever we are: it writes only where it is told to."""
    done = subprocess.run(["apt-get", "-q", "-o", "Debug::NoLocking=1", *words], capture_output=True, text=True)
    if done.returncode:
        print(done.stdout, done.stderr, sep="", file=sys.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    main()
