"""The job on Quix Streams: exactly once, a commit every 5 s, RocksDB with a changelog."""

from __future__ import annotations

import os
from typing import Any

from quixstreams import Application, State

from tests.bench.peers.marks import Marks
from tests.bench.peers.quota import count, fresh, quotas


def main() -> None:
    marks, known = Marks(), quotas()

    def step(delta: dict[str, Any], kept: State) -> list[dict[str, Any]]:
        state = kept.get("state") or fresh()
        through = state[2]
        change = count(state, delta, known)
        if state[2] != through:
            kept.set("state", state)
        marks.hit()
        return [] if change is None else [change]

    app = Application(
        broker_address=os.environ["BROKER"],
        consumer_group=os.environ["APP_ID"],
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=5.0,
        state_dir=os.environ["STATE_DIR"],
    )
    deltas = app.topic(os.environ["IN_TOPIC"], key_deserializer="str", value_deserializer="json")
    changes = app.topic(os.environ["OUT_TOPIC"], key_serializer="str", value_serializer="json")
    frame = app.dataframe(deltas)
    frame = frame.filter(lambda value: "type" not in value)
    frame = frame.apply(step, stateful=True, expand=True)
    frame.to_topic(changes, key=lambda change: change["service"])
    app.run()


if __name__ == "__main__":
    main()
