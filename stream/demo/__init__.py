"""`quota-stream demo`: the whole line against the simulator, faster than time, with an audit at the end."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from stream.adapters.clock import WarpClock, run_warped
from stream.demo.audit import Findings
from stream.demo.play import Play, Tampering
from stream.demo.scenario import Scenario
from stream.demo.stage import PlainStage, open_stage

WATCHABLE_S = 25.0
"""On a terminal it takes at least about so long: one wants to see something."""


def demo(*, services: int, hours: float, seed: int, as_json: bool, tampering: Tampering | None = None) -> bool:
    """Play it.  Whether the audit at the end found every byte counted once and every limit as it must be."""
    scenario = Scenario(services, hours, seed)
    began = time.monotonic()
    stage = PlainStage() if as_json else open_stage(scenario)
    watched = not isinstance(stage, PlainStage)
    applied = 0

    async def perform(clock: WarpClock) -> Findings:
        nonlocal applied
        play = Play(scenario, clock, Path(folder), stage, tampering or Tampering())
        found = await play.perform()
        applied = play.applied
        return found

    try:
        with tempfile.TemporaryDirectory(prefix="quota-stream-demo-") as folder:
            speed = hours * 3600 / WATCHABLE_S if watched else None
            found = run_warped(perform, start_ms=scenario.start_ms, grace_s=0.0, max_speed=speed)
    finally:
        stage.close()
    summary = {
        "services": services,
        "deltas": found.deltas,
        "bytes_sent": found.bytes_sent,
        "bytes_counted": found.bytes_counted,
        "decisions": found.decisions,
        "applied": applied,
        "lifted": found.lifted,
        "mismatches": len(found.mismatches),
        "seconds": round(time.monotonic() - began, 1),
    }
    _report(summary, found, as_json=as_json)
    return not found.mismatches


def _report(summary: dict[str, float], found: Findings, *, as_json: bool) -> None:
    for service, wrong in found.mismatches.items():
        print(f"audit: {service}: {wrong}", file=sys.stderr)
    if as_json:
        print(json.dumps(summary))
        return
    verdict = "every byte was counted once, and every limit is as it must be"
    print(f"Audit: {'; '.join(f'{key} {value}' for key, value in summary.items())}.")
    print(f"Audit: {verdict if not found.mismatches else 'something is wrong, see above'}.")
