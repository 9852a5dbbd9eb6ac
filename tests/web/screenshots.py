"""The README's pictures: `python -m tests.web.screenshots FOLDER`, from a whole installation in a real browser."""

from __future__ import annotations

import logging
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import structlog

from stream.runtime.operating import Wish
from tests.web.browser import browsing, log_in, visiting
from tests.web.stage import Stage, staged

DESK: Final = {"viewport": {"width": 1180, "height": 860}}
PHONE: Final = {"viewport": {"width": 360, "height": 760}, "device_scale_factor": 1.5}
PICTURES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "overview": ("/", DESK),
    "overview-dark": ("/", DESK | {"color_scheme": "dark"}),
    "service": ("/services/vm1/107", {"viewport": {"width": 1180, "height": 1130}}),
    "service-phone": ("/services/vm1/107", PHONE),
}


def take(stage: Stage, folder: Path) -> None:
    """All of them, each as it is first seen: what is below the fold is not in it."""
    stage.adjust(Wish(service="vm1/108", kind="credit", plan="vpn", bytes=1 << 30, why="ticket 12"))
    with browsing() as browser:
        for name, (address, settings) in PICTURES.items():
            with visiting(browser, stage.url, timezone_id="Europe/Berlin", **settings) as visitor:
                log_in(visitor, stage.tokens["operate"])
                visitor.open(address)
                visitor.page.screenshot(path=folder / f"{name}.png")
                print(folder / f"{name}.png")


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as made, staged(Path(made), hours=30.0, hostile=False) as stage:
        take(stage, folder)


if __name__ == "__main__":
    main()
