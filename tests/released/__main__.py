"""Make the file of this version: a short demo with corrections, as `run` left it."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from pathlib import Path

from stream import __version__
from stream.adapters.clock import WarpClock, run_warped
from stream.demo.audit import Findings
from stream.demo.play import Play, Tampering
from stream.demo.scenario import Scenario
from stream.demo.stage import PlainStage
from tests.released.content import FOLDER, content


def main() -> None:
    scenario = Scenario(services=3, hours=4, seed=2)
    target = FOLDER / f"{__version__}.db"
    with tempfile.TemporaryDirectory() as folder:

        async def perform(clock: WarpClock) -> Findings:
            return await Play(scenario, clock, Path(folder), PlainStage(), Tampering()).perform()

        run_warped(perform, start_ms=scenario.start_ms, grace_s=0.0)
        shutil.copy(Path(folder) / "quota-stream.db", target)
        expected = asyncio.run(content(Path(folder) / "quota-stream.db"))
    target.with_suffix(".json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


main()
