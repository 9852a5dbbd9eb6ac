"""Seconds, not minutes: what the tests share."""
