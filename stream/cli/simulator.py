"""`simulator`, with the options that all commands take."""

from __future__ import annotations

from stream.cli.base import shared_options
from stream.simulator.command import simulator

simulator.params += shared_options()
