"""`python -m tests.torture.launch CLOCK MODULE:FUNCTION ARGUMENT...`: a program that lives by the clock in a file."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from pathlib import Path

from tests.torture import clock


def main(file: str, program: str, *arguments: str) -> None:
    """The program itself is unchanged: only what it reads of the operating system is another time."""
    vars(time)["time_ns"] = clock.reading(Path(file))
    module, _, function = program.partition(":")
    sys.argv = [module, *arguments]
    getattr(import_module(module), function)()


if __name__ == "__main__":
    main(*sys.argv[1:])
