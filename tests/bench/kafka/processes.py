"""Processes that are measured: what they have used, and how they end."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

STOP_S = 30.0
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def cpu_s(*pids: int) -> float:
    """User and system seconds so far, of ended children too."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_A_SECOND


def ended(process: subprocess.Popen[bytes], number: signal.Signals = signal.SIGTERM) -> None:
    """Ask it to end; kill it if it does not."""
    if process.poll() is not None:
        return
    process.send_signal(number)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
