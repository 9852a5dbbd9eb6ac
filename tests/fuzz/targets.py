"""Every place where bytes or texts come in that are not ours."""

from __future__ import annotations

from stream.config.units import Wrong
from stream.core.errors import Corrupt, Misconfigured, Refused, Rejected, Truncated, Unavailable
from tests.fuzz.commands import CommandsSubject, PublishSubject, ShownSubject
from tests.fuzz.deltas import DeltasSubject
from tests.fuzz.files import JournalSubject, LogFileSubject
from tests.fuzz.platform import RepliesSubject, SurveySubject
from tests.fuzz.servers import HealthSubject, SimulatorSubject
from tests.fuzz.settings import ConfigSubject, EnvironmentSubject, QuantitySubject, SecretsSubject
from tests.fuzz.target import Target
from tests.fuzz.topics import ChangesSubject, EnforcementsSubject, PagesSubject, StateSubject

_TARGETS = (
    Target(
        name="deltas",
        comes_in="records of traffic.deltas: values, keys, headers",
        entry="wire.Decoder, Tracker.apply, the dead letters and decisions",
        refusals=(),
        holds="what is rejected changes no page and has reason and cure; a checkpoint gives the same state",
        subject=DeltasSubject,
        weight=500,
    ),
    Target(
        name="changes",
        comes_in="records of quota.profile-changes, control records among them",
        entry="wire.decode_outcome, runtime.orders, core.control",
        refusals=(Rejected,),
        holds="the enforcers pass over what they cannot read; what is read is written as it was",
        subject=ChangesSubject,
        weight=600,
    ),
    Target(
        name="enforcements",
        comes_in="records of quota.enforcements",
        entry="runtime.ledger.read, core.enforced",
        refusals=(Corrupt,),
        holds="what is read is written as it was",
        subject=EnforcementsSubject,
        weight=1200,
    ),
    Target(
        name="state",
        comes_in="quota.state: one record damaged, gone or in another's place",
        entry="runtime.checkpoint.restore",
        refusals=(Corrupt,),
        holds="the state that was stored, or none",
        subject=StateSubject,
        weight=1000,
    ),
    Target(
        name="pages",
        comes_in="pages of quota.state with a good checksum",
        entry="wire.decode_page",
        refusals=(Corrupt,),
        holds="no column is larger than the page",
        subject=PagesSubject,
        weight=1500,
    ),
    Target(
        name="configuration",
        comes_in="the configuration file: YAML or any bytes; environment variables",
        entry="config.load",
        refusals=(Misconfigured,),
        holds="what is accepted makes platforms, plans as the log carries them, and rules",
        subject=ConfigSubject,
        weight=25,
        per_byte=600,
    ),
    Target(
        name="quantities",
        comes_in="sizes, durations, percentages and speeds",
        entry="config.units",
        refusals=(Wrong,),
        holds="whole numbers within bounds, which are written as they are read",
        subject=QuantitySubject,
        weight=3500,
    ),
    Target(
        name="secrets",
        comes_in="files of tokens and passwords",
        entry="config.secrets, vmmanager.settings",
        refusals=(),
        holds="a token fits into a header; a refusal does not repeat the secret",
        subject=SecretsSubject,
        weight=400,
    ),
    Target(
        name="environment",
        comes_in="variables of systemd, the name of the configuration",
        entry="adapters.systemd, config.load, config.secrets.located",
        refusals=(Misconfigured,),
        holds="intervals are none or positive",
        subject=EnvironmentSubject,
        weight=400,
    ),
    Target(
        name="replies",
        comes_in="answers of a VMmanager: status, headers, bodies",
        entry="adapters.vmmanager: client, access, replies, platform",
        refusals=(Unavailable, Refused),
        holds="machines that can be registered, totals within bounds and in order",
        subject=RepliesSubject,
        weight=150,
    ),
    Target(
        name="survey",
        comes_in="the same, while `check --live` asks",
        entry="stream.survey",
        refusals=(),
        holds="there is a report",
        subject=SurveySubject,
        weight=1,
        most_mib=64,
    ),
    Target(
        name="health",
        comes_in="requests for health and metrics",
        entry="web.health",
        refusals=(),
        holds="status 200, 404, 405, or 503 where something is not ready",
        subject=HealthSubject,
        weight=1500,
    ),
    Target(
        name="simulator",
        comes_in="requests to the simulator",
        entry="simulator.app and its functions",
        refusals=(),
        holds="a status of its own and JSON; what is refused changes nothing",
        subject=SimulatorSubject,
        weight=800,
        most_mib=64,
    ),
    Target(
        name="publish",
        comes_in="lines of JSON on standard input",
        entry="cli.publish.Intake",
        refusals=(),
        holds="what is published is read by the tracker; refusals can be printed",
        subject=PublishSubject,
        weight=150,
    ),
    Target(
        name="commands",
        comes_in="arguments and standard input of the commands",
        entry="the command line as a whole, in process",
        refusals=(),
        holds="exit status 0, 1 or 2, never without a word",
        subject=CommandsSubject,
        weight=8,
        most_mib=64,
    ),
    Target(
        name="shown",
        comes_in="records of any topic that somebody put into the log",
        entry="the commands tail, service and status",
        refusals=(),
        holds="exit status 0, 1 or 2, never without a word",
        subject=ShownSubject,
        weight=4,
        most_mib=64,
    ),
    Target(
        name="journal",
        comes_in="the simulator's file of its world",
        entry="simulator.journal",
        refusals=(Corrupt,),
        holds="a world that can be read has a ground truth",
        subject=JournalSubject,
        weight=50,
        most_mib=64,
    ),
    Target(
        name="log-file",
        comes_in="the embedded log's file: bytes and pages exchanged, lost, cut off",
        entry="adapters.sqlite",
        refusals=(Corrupt, Misconfigured, Truncated),
        holds="what was written, or nothing",
        subject=LogFileSubject,
        weight=4,
    ),
)

TARGETS: dict[str, Target] = {target.name: target for target in _TARGETS}
