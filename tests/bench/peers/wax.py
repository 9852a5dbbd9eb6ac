"""The job on Bytewax: Kafka in and out, a snapshot every 5 s into SQLite.  Run it with `python -m bytewax.run`."""

from __future__ import annotations

import os
from typing import Any

import bytewax.operators as op
import orjson
from bytewax.connectors.kafka import KafkaSink, KafkaSinkMessage, KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow

from tests.bench.peers.marks import Marks
from tests.bench.peers.quota import State, count, fresh, quotas

AT_ONCE = 1000
marks, known = Marks(), quotas()


def parse(message: KafkaSourceMessage[Any, Any]) -> tuple[str, dict[str, Any]] | None:
    delta = orjson.loads(message.value)
    return None if "type" in delta else (delta["service"], delta)


def step(state: State | None, delta: dict[str, Any]) -> tuple[State, list[dict[str, Any]]]:
    state = state or fresh()
    change = count(state, delta, known)
    marks.hit()
    return state, [] if change is None else [change]


def write(changed: tuple[str, dict[str, Any]]) -> KafkaSinkMessage[Any, Any]:
    service, change = changed
    return KafkaSinkMessage(service.encode(), orjson.dumps(change))


brokers = [os.environ["BROKER"]]
flow = Dataflow("quota")
read = op.input("deltas", flow, KafkaSource(brokers, [os.environ["IN_TOPIC"]], tail=True, batch_size=AT_ONCE))
keyed = op.filter_map("parse", read, parse)
changes = op.stateful_flat_map("quota", keyed, step)
op.output("changes", op.map("write", changes, write), KafkaSink(brokers, os.environ["OUT_TOPIC"]))
