"""What may be wrong with a collector: what it reads, and which services it believes to be there.

An append that failed and is not made again has no mutant, since the design makes it harmless (no world of 24 found it):
the next poll's growing deltas make it good, and a registration that the tracker's state lacks is said again.
"""

from __future__ import annotations

from tests.simulation.mutants.mutant import Mutant

METER = "stream/runtime/meter.py"

COLLECTOR_MUTANTS = (
    Mutant(
        name="begins today",
        breaks="After a start a collector reads from today's anchor on, and not from the one that was counted last.",
        file=METER,
        old="        self.oldest = anchors.of(current.end)\n",
        new="        self.oldest = anchors.of(now)\n        return\n",
        kind="whole",
        plots=("days",),
        within=10,
        says="bytes .* are lost",
    ),
    Mutant(
        name="late points lost",
        breaks="A finished anchor is never read again.",
        file=METER,
        old="final = reading.finished and now >= end + calendar.final_after_ms",
        new="final = reading.finished",
        kind="whole",
        plots=("days",),
        within=10,
        says="bytes .* are lost",
    ),
    Mutant(
        name="never final",
        breaks="Anchors are read for ever, also when the tracker takes no late numbers for them any more.",
        file=METER,
        old="final = reading.finished and now >= end + calendar.final_after_ms",
        new="final = False",
        kind="whole",
        plots=("days",),
        within=10,
        says="when they were stale",
    ),
    Mutant(
        name="gone at once",
        breaks="A service that one list lacks is deregistered, however short the list is.",
        file="stream/runtime/roster.py",
        old="gone = [] if is_short else list(self._depart(lacking, now))",
        new="gone = [self.services.pop(service.meter.service) for service in lacking]",
        kind="whole",
        plots=("lives",),
        within=10,
        says="was deregistered although",
    ),
    Mutant(
        name="backfill unmarked",
        breaks="What a new service used before its registration is told as if it were used now.",
        file=METER,
        old="not marked or (present and end == newest)",
        new="True",
        kind="whole",
        within=10,
        says="was judged as of",
    ),
    Mutant(
        name="plans never withdrawn",
        breaks="A service that no rule is about any more keeps its plans.",
        file="stream/runtime/roster.py",
        old="wanted = replace(service.enrolment, plans=())",
        new="return False",
        kind="whole",
        plots=("lives",),
        within=10,
        says="no rule is about it any more",
    ),
)
