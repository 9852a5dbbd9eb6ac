"""The forecast of a service, from nothing but its own state: what comes exactly, and what comes at its present pace."""

from __future__ import annotations

from collections.abc import Mapping

from stream.core.coming import Forecast
from stream.core.plan import Plan
from stream.core.view import ServiceView


def forecast(view: ServiceView, plans: Mapping[str, Plan]) -> Forecast:
    """`plans`: those of the service, by name, as in force."""
    raise NotImplementedError
