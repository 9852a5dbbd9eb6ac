"""Registrations: which services there are, and with which plans."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from stream.core.errors import Rejected
from stream.core.judging import Cause
from stream.core.model import Registration
from stream.core.plan import MOST_PLANS_OF_SERVICE, Plan
from stream.core.service import Service


def enrol(registration: Registration, plans: Mapping[str, Plan], cause: Cause) -> Service:
    """A new service.  Raises Rejected."""
    service = Service(
        registration.service,
        registration.position.offset,
        0,
        [],
        source=registration.source,
        quota=registration.quota,
        anchor_day=registration.anchor_day,
        labels=dict(registration.labels),
    )
    check(registration, service, plans)
    service.ladders = [service.begin(plans[name], registration.at, None) for name in registration.plans]
    service.decide(cause, "registered", registration.at)
    return service


def enrol_again(registration: Registration, service: Service, plans: Mapping[str, Plan], cause: Cause) -> None:
    """Sets plans, labels and source of a known service, and nothing else.  Raises Rejected, having changed nothing.

    `service.mark` is that of its former source: the time that it gave stays.
    """
    check(registration, service, plans)
    if registration.source != service.source:
        service.floor, service.source = service.time, registration.source
    service.labels = dict(registration.labels)


def set_plans(registration: Registration, service: Service, plans: Mapping[str, Plan], cause: Cause) -> None:
    """After `enrol_again`, with the mark of its source: new ladders begin at the service's time."""
    now = registration.at if service.time is None else service.time
    had = {ladder.plan.name for ladder in service.ladders}
    service.ladders = [
        service.ladder(name) or service.begin(plans[name], now, service.time) for name in registration.plans
    ]
    if had != set(registration.plans):
        service.decide(cause, "plans_changed", now)


def check(registration: Registration, service: Service, plans: Mapping[str, Plan]) -> None:
    """Whether the service can have these plans.  Raises Rejected."""
    names = registration.plans
    if len(set(names)) < len(names):
        raise Rejected("plan listed twice", "list each plan once")
    if len(names) > MOST_PLANS_OF_SERVICE:
        raise Rejected("too many plans", f"a service has at most {MOST_PLANS_OF_SERVICE}")
    for name in names:
        plan = plans.get(name)
        if plan is None:
            known = ", ".join(plans) or "none yet: apply plans first"
            raise Rejected(f"unknown plan: {name}", f"plans in force are: {known}")
        if service.ladder(name) is None:
            _check_needs(plan, service)


def _check_needs(plan: Plan, service: Service) -> None:
    for needed, given, what in (
        (plan.needs_quota, service.quota, "quota"),
        (plan.needs_anchor_day, service.anchor_day, "anchor_day"),
    ):
        if needed and given is None:
            cure = f"give {what} when the service is first registered (for a known one: deregister it before)"
            raise Rejected(f"{what} is missing: plan {plan.name} asks for the service's own", cure)


def unknown(name: str, partition: int, partition_of: Callable[[str], int]) -> Rejected:
    """Why a service is not known here."""
    owner = partition_of(name)
    if owner != partition:
        return wrong_partition(name, partition, owner)
    cure = f'publish {{"type":"registration","service":"{name}","plans":[...]}} before its deltas'
    return Rejected(f"not registered: {name}", cure)


def wrong_partition(name: str, partition: int, owner: int) -> Rejected:
    cure = (
        "partition by murmur2 of the service id: librdkafka needs partitioner=murmur2_random, "
        "and the record's key must be the service id"
    )
    return Rejected(f"wrong partition: {name} belongs to {owner}, not {partition}", cure)
