"""Bytes to events and back: the records of all topics, and the format of a page of state."""

from stream.wire.dead_letters import encode_dead_letter
from stream.wire.decode import Decoder
from stream.wire.inputs import (
    MAX_BATCH_SERVICES,
    encode_adjustment,
    encode_batches,
    encode_delta,
    encode_deregistration,
    encode_forget,
    encode_plans,
    encode_registration,
    encode_watermark,
)
from stream.wire.notices import encode_notice, notice_of
from stream.wire.outcomes import decode_outcome, encode_control, encode_outcome
from stream.wire.pages import decode_page, encode_page
from stream.wire.partitions import partition_of

__all__ = [
    "MAX_BATCH_SERVICES",
    "Decoder",
    "decode_outcome",
    "decode_page",
    "encode_adjustment",
    "encode_batches",
    "encode_control",
    "encode_dead_letter",
    "encode_delta",
    "encode_deregistration",
    "encode_forget",
    "encode_notice",
    "encode_outcome",
    "encode_page",
    "encode_plans",
    "encode_registration",
    "encode_watermark",
    "notice_of",
    "partition_of",
]
