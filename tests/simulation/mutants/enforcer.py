"""What may be wrong with an enforcer: what it remembers, and in which order it acts."""

from __future__ import annotations

from tests.simulation.mutants.mutant import Mutant

ENFORCEMENT = "stream/core/enforcement.py"
ENFORCER = "stream/runtime/enforcer.py"
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
        within=30,
        says="intent",
    ),
    Mutant(
        name="old list",
        breaks="A list counts from its arrival, so that one that began before our own last write is believed.",
        file="stream/runtime/site.py",
        old="seen = Seen(mark, loop.time(), listing)",
        new="mark = self.tick()\n        seen = Seen(mark, loop.time(), listing)",
        kind="whole",
        within=30,
        says="list",
    ),
    Mutant(
        name="original of a throttled service",
        breaks="After a take-over what the platform shows is taken for the original, also where we have set it.",
        file=TENURE,
        old="                service.state = state\n",
        new="                service.state = replace(state, original=state.intent.wanted) if state.intent else state\n",
        kind="whole",
        within=30,
        says="original",
    ),
    Mutant(
        name="intent not carried",
        breaks="A new owner does not know what the former one has asked for.",
        file=TENURE,
        old="                service.state = state\n",
        new="                service.state = None\n",
        kind="whole",
        within=30,
        says="original",
    ),
    Mutant(
        name="revision without incarnation",
        breaks="The first decisions about a service that is registered anew are taken for old ones.",
        file=TENURE,
        old="due[:2] > service.due[:2]",
        new="due.revision > service.due.revision",
        kind="whole",
        within=30,
        says="speed",
    ),
    Mutant(
        name="original inherited blindly",
        breaks="A new incarnation gets the original of the former one, whatever the platform shows.",
        file=ENFORCEMENT,
        old="if state.incarnation == due.incarnation or state.intent is None:",
        new="if state is not None:",
        kind="whole",
        within=30,
        says="original",
    ),
    Mutant(
        name="repair without limit",
        breaks="A value of ours is set again as often as somebody changes it.",
        file=ENFORCEMENT,
        old="if len(recent) >= self.rules.repairs_a_day:",
        new="if len(recent) >= 1000:",
        kind="whole",
        within=30,
        says="repair",
    ),
    Mutant(
        name="brake forgotten",
        breaks="A brake that held lets go when its enforcer is started again.",
        file=TENURE,
        old="site.brake.restore(switch.braked, switch.allowed_until)",
        new="site.brake.restore(False, switch.allowed_until)",
        kind="whole",
        within=30,
        says="brake",
    ),
    Mutant(
        name="bounds after state",
        breaks="A decision that is shown between the state and the end of the log is never heard of.",
        file=ENFORCER,
        old="            ledger = Ledger(",
        new="            first, end = await self._log.bounds(CHANGES, partition)\n            ledger = Ledger(",
        kind="whole",
        within=30,
        says="speed",
    ),
)
