"""`python -m tests.web.install`: what `make test-web` needs besides Python, from Debian's packages."""

from __future__ import annotations

import os
import shutil
import subprocess

PROGRAMS = {
    "chromium": "chromium",
    "openssl": "openssl",
    "php": "php-cli",
    "prometheus": "prometheus",
    "promtool": "prometheus",
}
"""What must be installed, and the Debian package that has it."""


def main() -> None:
    packages = sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})
    if not packages:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        names = " ".join(packages)
        raise SystemExit(f"The web's tests use a browser, PHP and Prometheus. Install them: apt-get install {names}")
    print(f"Installing {' and '.join(packages)} ...", flush=True)
    _run("update", "-qq")
    _run("install", "-y", "-qq", "--no-install-recommends", *packages)


def _run(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", *arguments], check=True, env=environment, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
