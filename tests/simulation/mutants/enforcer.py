"""What may be wrong with an enforcer: what it remembers, and in which order it acts.

Two usual suspects have no mutant as they stand, since the design makes them harmless:

- A list that began before our own write and arrived after it is believed (no world of 24 found it).  A service's errand
  ends only with a list that shows what was asked for, lists of one process follow each other, and nobody else looks at
  a service that has an errand.  "old list" takes its place: nobody waits for that list.
- A new incarnation goes on with the former one's record (no world of 17 with such services found it).  What its VM
  shows is somebody else's then, and so adopted.  "original of a former service" takes its place: it is not adopted.
"""

from __future__ import annotations

from tests.simulation.mutants.mutant import Mutant

ENFORCEMENT = "stream/core/enforcement.py"
ERRANDS = "stream/runtime/errands.py"
TENURE = "stream/runtime/tenure.py"

ENFORCER_MUTANTS = (
    Mutant(
        name="post before intent",
        breaks="The platform is asked before it is durable what it is asked for.",
        file=ERRANDS,
        old="        await self._keep(service, verdict.state)  # 1",
        new="        await site.platform.set_speed(service.name, verdict.state.intent.wanted)\n"
        "        await self._keep(service, verdict.state)  # 1",
        kind="whole",
        within=10,
        says="without a durable intent",
    ),
    Mutant(
        name="old list",
        breaks="A list from before our last write took effect is compared with what is due, as if somebody undid it.",
        file=ERRANDS,
        old="await self._follow(service, posted.task)",
        new="service.told = True",
        kind="whole",
        within=66,
        first=20,
        says="believed an old list",
    ),
    Mutant(
        name="original of a throttled service",
        breaks="After a take-over what the platform shows is taken for the original, also where we have set it.",
        file=TENURE,
        old="                service.state = state\n",
        new="                service.state = replace(state, original=state.intent.wanted) if state.intent else state\n",
        kind="whole",
        within=15,
        says="takes .* for its original, which nobody has set",
    ),
    Mutant(
        name="intent not carried",
        breaks="A new owner does not know what the former one has asked for.",
        file=TENURE,
        old="                service.state = state\n",
        new="                service.state = None\n",
        kind="whole",
        within=15,
        says="its speed is",
    ),
    Mutant(
        name="original of a former service",
        breaks="A new incarnation takes the former one's original for its own, whatever the platform shows.",
        file=ENFORCEMENT,
        old="    if state is not None and _continues(state, due, shown):\n",
        new="    if state is not None:\n"
        "        if state.incarnation != due.incarnation:\n"
        "            state = replace(state, ours=(*state.ours, shown))\n",
        kind="whole",
        plots=("lives",),
        within=70,
        first=68,
        says="its speed is",
    ),
    Mutant(
        name="repair without limit",
        breaks="A value of ours is set again as often as somebody changes it.",
        file=ENFORCEMENT,
        old="if len(recent) >= self.rules.repairs_a_day:",
        new="if len(recent) >= 1000:",
        kind="whole",
        plots=("repair",),
        within=80,
        first=222,
        says="makes repair number",
    ),
    Mutant(
        name="brake forgotten",
        breaks="A brake that held lets go when its enforcer is started again.",
        file=TENURE,
        old="site.brake.restore(switch.braked, switch.allowed_until)",
        new="site.brake.restore(False, switch.allowed_until)",
        kind="whole",
        plots=("brake",),
        within=10,
        says="although the brake holds",
    ),
    Mutant(
        name="brake never holds",
        breaks="However many services are slowed at once, nothing holds them up.",
        file="stream/core/brake.py",
        old="len(self._slowed) >= self._limit(population)",
        new="False",
        kind="whole",
        plots=("brake",),
        within=10,
        says="no brake held",
    ),
    Mutant(
        name="yield ignored",
        breaks="What somebody else has set is repaired although the configuration says that it is to be left.",
        file=ENFORCEMENT,
        old='if foreign and self.rules.foreign == "yield":',
        new="if False:",
        kind="whole",
        plots=("yield",),
        within=10,
        says="which it has to yield to",
    ),
    Mutant(
        name="never repaired",
        breaks="A value of ours that somebody changes is left at once, as if its repairs were used up.",
        file=ENFORCEMENT,
        old="if len(recent) >= self.rules.repairs_a_day:",
        new="if True:",
        kind="whole",
        plots=("repair",),
        within=18,
        says="its speed is",
    ),
)
