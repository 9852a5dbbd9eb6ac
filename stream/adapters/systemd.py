"""What systemd wants to be told (`Type=notify`, `WatchdogSec`): one datagram each; nothing without systemd."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping

_NUMBER = re.compile("[0-9]{1,18}")


def notify(state: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send `state` (`READY=1`, `STOPPING=1`, `WATCHDOG=1`) to the service manager, if there is one.

    Says whether it was sent; a manager that does not listen is no error of ours.
    """
    address = environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.connect(address)
            sender.sendall(state.encode())
    except OSError:
        return False
    return True


def watchdog_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """How often `WATCHDOG=1` is due (half of what the unit allows), or None if nobody waits for it."""
    allowed_us = environ.get("WATCHDOG_USEC", "")
    if not _NUMBER.fullmatch(allowed_us) or environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(allowed_us) / 2_000_000
