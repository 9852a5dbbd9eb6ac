"""Where everything is put together: from a configuration to things that run.

`run` and `serve` are for users; `Parts` and `work_together` are for those who bring a log, platforms or a clock of
their own.
"""

from __future__ import annotations

from stream.bootstrap.logs import kafka_settings, open_log, own_log
from stream.bootstrap.notifying import tell_test
from stream.bootstrap.parts import Parts, client_secret, client_settings, make_match, make_platform
from stream.bootstrap.process import run, serve
from stream.bootstrap.roles import ALL_ROLES, collecting, comparison_records, drain, enforcing, tracking, work_together
from stream.bootstrap.web import replica_settings, web_section, web_settings

__all__ = [
    "ALL_ROLES",
    "Parts",
    "client_secret",
    "client_settings",
    "collecting",
    "comparison_records",
    "drain",
    "enforcing",
    "kafka_settings",
    "make_match",
    "make_platform",
    "open_log",
    "own_log",
    "replica_settings",
    "run",
    "serve",
    "tell_test",
    "tracking",
    "web_section",
    "web_settings",
    "work_together",
]
