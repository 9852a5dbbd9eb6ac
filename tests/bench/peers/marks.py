"""Notes wall and CPU time of this process when a tenth of TOTAL deltas has been counted, and all of them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path


class Marks:
    """CPU time is user and system, of ended children too.  A line of JSON for each mark goes to the file MARKS."""

    def __init__(self) -> None:
        self._total = int(os.environ["TOTAL"])
        self._path = Path(os.environ["MARKS"])
        self._next: float = self._total // 10
        self.count = 0

    @property
    def done(self) -> bool:
        return self.count >= self._total

    def hit(self, deltas: int = 1) -> None:
        """So many more are counted."""
        self.count += deltas
        if self.count >= self._next:
            self._note()

    def _note(self) -> None:
        used = os.times()
        cpu_s = used.user + used.system + used.children_user + used.children_system
        with self._path.open("a") as file:
            file.write(json.dumps({"deltas": self.count, "wall_s": time.time(), "cpu_s": cpu_s}) + "\n")
        self._next = float("inf") if self.done else self._total
