"""Tests of the runtime over the log in memory, in warped time."""
