"""What the platform was asked for and did not answer yet is no failure."""

from __future__ import annotations

import re
from pathlib import Path

import orjson

from stream.core.enforced import Enforcement, Intent, Receipt
from stream.core.speed import Speed
from stream.ports import ENFORCEMENTS, Message
from tests.core.feeding import T0, small
from tests.replica.stage import caught_up
from tests.web.house import house


async def test_what_was_asked_for(tmp_path: Path) -> None:
    """A decision's line says that it is asked for until a receipt says more."""
    records = [
        {"type": "plans", "version": 1, "plans": {"s": small()}},
        {"type": "registration", "service": "vm1/1", "plans": ["s"], "at": T0},
        {"service": "vm1/1", "start": T0, "end": T0 + 1000, "in": 5000, "out": 0},
    ]
    async with house(tmp_path, records) as made, made.client(made.anna) as client:
        status = made.replica.service("vm1/1")
        assert status is not None
        slow, fast = status.view.speed, Speed(10**9, 10**9)
        intent = Intent(status.view.revision, slow, fast, T0 + 2000)

        async def text(*receipts: Receipt) -> str:
            state = Enforcement(
                service="vm1/1",
                incarnation=status.view.incarnation,
                original=fast,
                intent=intent,
                settled=bool(receipts),
                receipts=receipts,
            )
            await made.log.append(ENFORCEMENTS, 0, [Message(b"vm1/1", orjson.dumps(state.to_json()))])
            await caught_up(made.replica)
            page = (await client.get("/services/vm1/1")).text
            return " ".join(re.sub(r"<[^>]*>", " ", page[page.index('id="history"') :]).split())

        asked = await text()
        assert "Asked for" in asked
        assert "The platform was asked for" in asked
        assert "Not set" not in asked
        failed = Receipt(intent.revision, slow, "failed", fast, T0 + 3000)
        assert "Not set" in await text(failed)
        done = await text(failed, Receipt(intent.revision, slow, "applied", slow, T0 + 4000))
        assert " Set " in done
        assert "Asked for" not in done
