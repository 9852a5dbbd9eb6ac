"""Kafka behind the log's port: many machines, the same guarantees."""

from __future__ import annotations
