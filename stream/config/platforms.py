"""What is set per platform.  Whatever is unknown of VMmanager's API is a setting here, with its best-known value."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from stream.config.fields import (
    DurationMs,
    File,
    Flag,
    Percent,
    Rate,
    SecretFile,
    Section,
    Text,
    Url,
    Variable,
    Zone,
    several,
    whole,
)
from stream.config.secrets import Secret
from stream.config.units import DURATION, Wrong, duration_text
from stream.core.speed import Speed

HOUR_MS = DURATION.units["h"]
MBIT = 1_000_000

Attribute: TypeAlias = Literal["id", "name", "tag", "account", "node", "cluster"]


def _unlimited(value: object) -> int | None:
    return None if value is None else whole(0, 10**9)(value)


class Brake(Section):
    """So many of a platform's services may be slowed within so long; further slowing waits for `platform allow`."""

    percent: Percent = Field(default=10, examples=["10%"])
    least: Annotated[int, BeforeValidator(whole(1, 10**6))] = 5
    within: DurationMs = Field(default=600_000, examples=["10m"])


class Vmmanager(Section):
    """A VMmanager 6.  Durations are ms, speeds bit/s."""

    type: Literal["vmmanager"] = Field(examples=["vmmanager"])
    url: Url = Field(examples=["https://vm.example.com"])
    timezone: Zone = Field(examples=["Europe/Berlin"])
    """The zone that the platform itself runs in: it reads the times that we ask for in it."""

    token_file: SecretFile | None = None
    token_env: Variable | None = None
    email: Text | None = None
    password_file: SecretFile | None = None
    password_env: Variable | None = None
    ca_file: File | None = None
    verify: Flag = True
    """Whether the certificate is verified."""

    poll: DurationMs = 60_000
    settle: DurationMs = 120_000
    """The newest points are left alone for so long."""
    final_after: DurationMs = 6 * HOUR_MS
    """A finished day may still get late points for so long."""
    reread: DurationMs = HOUR_MS // 2
    """How often a finished day is read again until then."""
    gone_after: DurationMs = 24 * HOUR_MS
    """Missing from every list for so long, a service is deregistered."""
    month_check: Flag = True
    """Whether the platform's own total of the month is compared with ours once a day."""

    sampling: DurationMs = 300_000
    """The platform's sampling step."""
    stamp: Literal["start", "end"] = "start"
    """Whether a point's time stamp is the start or the end of its sample."""
    keeps: DurationMs | None = None
    """How far back the platform has numbers; None: not known."""
    unlimited: Annotated[int | None, BeforeValidator(_unlimited)] = 0
    """What the platform shows and takes for "no limit"; None: its JSON null."""

    max_requests_per_second: Rate = 25.0
    concurrency: Annotated[int, BeforeValidator(whole(1, 256))] = 8
    timeout: DurationMs = 30_000
    suspended: DurationMs = 60_000
    """How long a suspended platform (503) is waited for."""
    task_poll: DurationMs = 12_000
    """How often the platform's task that sets a speed is looked at."""
    task_timeout: DurationMs = 300_000
    """How long that task may take."""
    reconcile: DurationMs = 300_000
    """How often what the platform shows is compared with what is due."""

    foreign: Literal["repair", "yield"] = "repair"
    """What is done when somebody else changes the limit of a throttled service."""
    adopt: tuple[Text, ...] = ()
    """Globs of ids: their limit is their original speed although it equals a slower speed of a plan."""
    max_slowed_at_once: Brake = Brake()
    labels: tuple[Attribute, ...] = ("name", "account")
    """What of a machine goes into its registration."""
    customers_edit: tuple[Attribute, ...] = ("name", "tag")
    """What customers can change themselves; `check` names the rules that rest on it."""

    @field_validator("labels", "customers_edit", "adopt", mode="before")
    @classmethod
    def _single_is_a_list(cls, value: object) -> object:
        return several(value)

    @field_validator("final_after")
    @classmethod
    def _within_a_day(cls, value: int) -> int:
        if value > 22 * HOUR_MS:
            raise Wrong(f"{duration_text(value)} is too long: the next day ends meanwhile", "write at most 22h")
        return value

    @field_validator("reread")
    @classmethod
    def _also_within_a_day(cls, value: int, info: ValidationInfo) -> int:
        if value + info.data.get("final_after", 0) > 23 * HOUR_MS:
            raise Wrong("final_after and reread come to more than 23h: the next day ends meanwhile", "shorten one")
        return value

    @field_validator("sampling")
    @classmethod
    def _divides_an_hour(cls, value: int) -> int:
        if value % 1000 or HOUR_MS % value:
            raise Wrong(f"{duration_text(value)} does not divide an hour into whole seconds", "write for example 5m")
        return value

    @model_validator(mode="after")
    def _one_login(self) -> Vmmanager:
        given = [key for key in _LOGIN if getattr(self, key) is not None]
        if given not in (["token_file"], ["token_env"], ["email", "password_file"], ["email", "password_env"]):
            what = f"{' + '.join(given)} is no way to log in" if given else "there is no way to log in"
            raise Wrong(what, "write `token_file: FILE`, or `email: NAME` and `password_file: FILE`, and nothing else")
        return self

    @property
    def secret(self) -> Secret:
        """The token, or the password of `email`."""
        return Secret(self.token_file or self.password_file, self.token_env or self.password_env)

    @property
    def secret_key(self) -> str:
        """The key of the configuration that names the secret."""
        return next(key for key in _LOGIN if key != "email" and getattr(self, key) is not None)


_LOGIN = ("token_file", "token_env", "email", "password_file", "password_env")


def inexpressible(speed: Speed) -> str | None:
    """Why VMmanager cannot show this speed: it knows whole Mbit/s, at least 1."""
    for bits in speed:
        if bits is not None and (bits < MBIT or bits % MBIT):
            return f"{bits} bit/s is no whole number of Mbit/s"
    return None
