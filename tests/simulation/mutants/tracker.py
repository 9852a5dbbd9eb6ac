"""What may be wrong with a partition's tracker, its checkpoints, and the log under it.

One usual suspect has no mutant, since the design makes it harmless (no world of thirty found it): the outbox forgotten
in memory before it is shown.  Nothing comes between the two but the write itself, and if that fails the tracker is
dropped; the meta record still names the entries.  "unpublished decisions forgotten" takes its place, where it does not.

Another one hides: pages that are clean only when a checkpoint is durable, and not as soon as it is staged.  Whatever
comes later to a page makes it dirty again, and here each has many services; tests/runtime/test_beside.py sees it.
"""

from __future__ import annotations

from tests.simulation.mutants.mutant import Mutant

PARTITION = "stream/runtime/partition.py"
CHECKPOINT = "stream/runtime/checkpoint.py"

TRACKER_MUTANTS = (
    Mutant(
        name="published before durable",
        breaks="A decision is shown before the checkpoint that holds it.",
        file=PARTITION,
        old="            await self._lease.write(STATE, staged.records)",
        new="            for outcome in told.outcomes:\n"
        "                await self._lease.write(CHANGES, [outcome])\n"
        "            await self._lease.write(STATE, staged.records)",
        kind="log",
        within=10,
        says="the outbox does not hold it",
    ),
    Mutant(
        name="fence skipped",
        breaks="Whoever has owned a partition goes on writing after somebody else has taken over.",
        file="tests/simulation/broker.py",  # the fence is the log's doing: of the product's, Kafka's or SQLite's
        old="if self._epochs.get((role, partition)) != epoch:",
        new="if epoch > self._epochs[role, partition]:",
        kind="log",
        within=10,
        says="wrote to .*, and .* has taken over since",
    ),
    Mutant(
        name="no group commit",
        breaks="A member that the partition is not assigned to any more takes it over.",
        file="tests/simulation/client.py",  # where the product's adapter of Kafka has it
        old="            self._coordinator.admit(role, partition, self._process)\n",
        new="",
        kind="log",
        within=10,
        says="took over, and the partition is assigned to",
    ),
    Mutant(
        name="page over page",
        breaks="A page is written to the key that the last meta record names.",
        file=CHECKPOINT,
        old="OTHER[places[page.key].slot] if",
        new="places[page.key].slot if",
        kind="log",
        within=10,
        says="page .* and meta names checkpoint",
    ),
    Mutant(
        name="newest page",
        breaks="A restore reads the newest page, whether the meta record names it or not.",
        file=CHECKPOINT,
        old='    places = {key: Place(*place) for key, place in meta["pages"].items()}\n',
        new='    places = {key: Place(*place) for key, place in meta["pages"].items()}\n'
        "    for key, place in places.items():\n"
        "        other = snapshot.get(part_key(key, OTHER[place.slot], 0))\n"
        "        if other and (number := wire.decode_page(other)[1]) > place.checkpoint:\n"
        "            places[key] = Place(OTHER[place.slot], number, 1)\n",
        kind="log",
        within=10,
        says="was never shown",
    ),
    Mutant(
        name="outbox after meta",
        breaks="Decisions become durable only after the meta record that names them.",
        file=CHECKPOINT,
        old="        for place, message in enumerate(new, first_new):",
        new="        yield Message(META, self._meta(number, places, first_new + len(new)))\n"
        "        for place, message in enumerate(new, first_new):",
        kind="log",
        within=10,
        says="meta names outbox entry",
    ),
    Mutant(
        name="letters unacknowledged",
        breaks="A checkpoint moves past rejected records whose dead letters nobody has acknowledged.",
        file=PARTITION,
        old="await self._log.append(DEAD_LETTERS, partition, told.dead_letters[first : first + CHUNK])",
        new="asyncio.ensure_future("
        "self._log.append(DEAD_LETTERS, partition, told.dead_letters[first : first + CHUNK]))",
        kind="log",
        within=10,
        says="moved past .*, whose letter is not stored",
    ),
    Mutant(
        name="unpublished decisions forgotten",
        breaks="The meta record names only what the next checkpoints decide, not what is still to be shown.",
        file=CHECKPOINT,
        old='"outbox": [self.outbox_start, outbox_end]',
        new='"outbox": [outbox_end, outbox_end]',
        kind="log",
        within=10,
        says="was never shown",
    ),
    Mutant(
        name="unpublished decisions backwards",
        breaks="What a restore finds unpublished is shown newest first.",
        file=CHECKPOINT,
        old="state.outbox.append(",
        new="state.outbox.appendleft(",
        kind="log",
        within=30,
        says="showed .* before",
    ),
    Mutant(
        name="revision restarted",
        breaks="After a restore the revisions of all services begin at 1 again.",
        file="stream/core/storing.py",
        old="    for name in services.COLUMNS:\n        if name not in OWN:",
        new='    for name in services.COLUMNS:\n        if name not in (*OWN, "revision"):',
        kind="log",
        within=10,
        says="showed .* again with other bytes",
    ),
    Mutant(
        name="offset of the end",
        breaks="After a restore the tracker reads on at the end of the log and not where the meta record says.",
        file=PARTITION,
        old="async with _fetches(log, partition, state.tracker.next_offset, settings.deadline_s)",
        new="_, end = await log.bounds(DELTAS, partition)\n"
        "        async with _fetches(log, partition, end, settings.deadline_s)",
        kind="log",
        within=10,
        says="used .* bytes, and .* are counted",
    ),
    Mutant(
        name="adjustments forgotten",
        breaks="A restore forgets the ids of adjustments, so that a repeated credit counts twice.",
        file="stream/core/tracker.py",
        old="tracker._ids.restore(ids)",
        new="tracker._ids.restore([])",
        kind="log",
        within=12,
        says="showed .* with adjustment",
    ),
    Mutant(
        name="growth from zero",
        breaks="After a repeat a growing delta counts once more from zero.",
        file="stream/core/counting.py",
        old="grown = Anchor(anchor.start, delta.end, max(anchor.in_, delta.in_), max(anchor.out, delta.out))",
        new="grown = Anchor(anchor.start, delta.end, delta.in_ * (more_in > 0), delta.out * (more_out > 0))",
        kind="log",
        within=10,
        says="used .* bytes, and .* are counted",
    ),
    Mutant(
        name="stay by the clock",
        breaks="A stay begins when the tracker comes to the decision, and not at the instant that it decides upon.",
        file="stream/core/ladder.py",
        old="self.profile, self.entered_at, self.entered_as_of_before = profile, at, as_of < at",
        new="import time\n\n"
        "        self.profile, self.entered_at, self.entered_as_of_before = profile, time.time_ns() // 10**6, False",
        kind="log",
        within=12,
        says="showed .* with",
    ),
    Mutant(
        name="delta behind the watermark",
        breaks="A delta that a watermark has passed is taken for a stale one.",
        file="stream/core/service.py",
        old='if added.outcome == "stale":',
        new='if added.outcome == "stale" or delta.end <= (self.mark or 0):',
        kind="log",
        within=15,
        says="used .* bytes, and .* are counted",
    ),
    Mutant(
        name="moves out of order",
        breaks="The moves of one vector step are shown last one first.",
        file="stream/core/tracker.py",
        old="found += [(place, outcome) for outcome in self._count_one(",
        new="found += [(-place, outcome) for outcome in self._count_one(",
        kind="log",
        within=10,
        says="showed .* before",
    ),
    Mutant(
        name="snapshot before fence",
        breaks="A new owner reads the state before the former one is fenced, who may still write to it.",
        file=PARTITION,
        old='    async with taken_over(log, "tracker", partition, deadline_s=settings.deadline_s) as lease:'
        "  # 1 fences the former\n"
        "        async with asyncio.timeout(RESTORE_S):\n"
        "            snapshot = await lease.snapshot(STATE)  # 2 meta, and exactly the pages that it names\n",
        new="    async with asyncio.timeout(RESTORE_S):\n"
        "        snapshot = await log.snapshot(STATE, partition)\n"
        '    async with taken_over(log, "tracker", partition, deadline_s=settings.deadline_s) as lease:\n',
        kind="log",
        within=240,
        first=75,
        says="which does not follow number",
    ),
    Mutant(
        name="vector step unmarked",
        breaks="What is counted by columns marks no page as changed, so a checkpoint moves past it without its bytes.",
        file="stream/core/vectors.py",
        old="        self.services.dirty[pages] = True\n",
        new="        self.services.dirty[pages] = self.services.dirty[pages]\n",
        kind="log",
        within=210,
        says="showed .* with|used .* bytes, and .* are counted",
    ),
    Mutant(
        name="letters without a reason",
        breaks="A dead letter does not say what is wrong with the record.",
        file="stream/wire/dead_letters.py",
        old='"reason": letter.reason[:_MAX_REASON_CHARACTERS]',
        new='"reason": ""',
        kind="log",
        within=10,
        says="does not say what is wrong",
    ),
)
