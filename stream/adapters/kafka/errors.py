"""Kafka's errors in our words, in one place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import errors as kafka

from stream.core.errors import Fenced, Misconfigured, Truncated, Unavailable

_FENCED = (kafka.ProducerFenced, kafka.InvalidProducerEpoch)
_DENIED = (
    kafka.TopicAuthorizationFailedError,
    kafka.GroupAuthorizationFailedError,
    kafka.TransactionalIdAuthorizationFailed,
    kafka.ClusterAuthorizationFailedError,
)
_UNUSABLE = (
    kafka.AuthenticationFailedError,
    kafka.AuthenticationMethodNotSupported,
    kafka.SaslAuthenticationFailed,
    kafka.UnsupportedSaslMechanismError,
    kafka.IncompatibleBrokerVersion,
    kafka.UnrecognizedBrokerVersion,
    kafka.UnsupportedVersionError,
)


@asynccontextmanager
async def answering(doing: str, seconds: float | None) -> AsyncIterator[None]:
    """What is done inside is given so long, and fails in our words; `doing` says what, in the infinitive.

    Raises Unavailable, Fenced, Truncated, Misconfigured.
    """
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise Unavailable(f"kafka: no answer within {seconds:g} s to {doing}") from error
    except kafka.KafkaError as error:
        raise translated(error, doing) from error
    except (OSError, kafka.IllegalOperation, kafka.ConsumerStoppedError) as error:
        raise Unavailable(f"kafka: could not {doing}: {error or type(error).__name__}") from error


def translated(error: kafka.KafkaError, doing: str) -> Fenced | Truncated | Misconfigured | Unavailable:
    """The error of ours that says the same."""
    if isinstance(error, _FENCED):
        return Fenced(f"kafka: could not {doing}: somebody else has taken over")
    if isinstance(error, kafka.OffsetOutOfRangeError):
        return Truncated(f"kafka: could not {doing}: those records are not kept")
    if isinstance(error, _DENIED):
        return Misconfigured(f"kafka: not allowed to {doing}: {_lacking(error, doing)}; see the README's table of ACLs")
    if isinstance(error, _UNUSABLE):
        return Misconfigured(f"kafka: could not {doing}: {_words(error)}")
    return Unavailable(f"kafka: could not {doing}: {_words(error)}")


_OPERATIONS = {
    "write": "Write",
    "commit to": "Write",
    "describe": "Describe",
    "see the settings": "DescribeConfigs",
    "make": "Create",
}
"""By the beginning of what is done to a topic; everything else is Read."""


def _lacking(error: kafka.KafkaError, doing: str) -> str:
    """Which ACL is missing, as far as the broker says."""
    told = error.args[0] if error.args else ""
    names = sorted(told) if isinstance(told, set | frozenset | list | tuple) else [told] if told else []
    resource = ", ".join(map(str, names))
    if isinstance(error, kafka.TopicAuthorizationFailedError):
        operation = next((word for verb, word in _OPERATIONS.items() if doing.startswith(verb)), "Read")
        return f"the ACL {operation} on topic {resource} is missing"
    if isinstance(error, kafka.GroupAuthorizationFailedError):
        return f"the ACL Read on group {resource} is missing"
    if isinstance(error, kafka.TransactionalIdAuthorizationFailed):
        return f"the ACL Write on transactional id {resource} is missing"
    return f"the ACL {'Create' if doing.startswith('make') else 'IdempotentWrite'} on the cluster is missing"


def _words(error: kafka.KafkaError) -> str:
    return str(error) or type(error).__name__
