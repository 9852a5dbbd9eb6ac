"""The section `notify`: who is told of what happens."""

from __future__ import annotations

from stream.config.fields import Section

SECTION = ("notify",)


class Notify(Section):
    """The section `notify`.  Without it nobody is told of anything."""
