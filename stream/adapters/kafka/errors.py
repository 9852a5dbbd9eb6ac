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
        return Misconfigured(f"kafka: not allowed to {doing}: {_lacking(error)}; see the README's table of ACLs")
    if isinstance(error, _UNUSABLE):
        return Misconfigured(f"kafka: could not {doing}: {_words(error)}")
    return Unavailable(f"kafka: could not {doing}: {_words(error)}")


def _lacking(error: kafka.KafkaError) -> str:
    """Of which resource the ACL is missing, as far as the broker says."""
    kinds = {
        kafka.TopicAuthorizationFailedError: "topic",
        kafka.GroupAuthorizationFailedError: "group",
        kafka.TransactionalIdAuthorizationFailed: "transactional id",
    }
    for kind, name in kinds.items():
        if isinstance(error, kind):
            told = error.args[0] if error.args else ""
            names = sorted(told) if isinstance(told, set | frozenset | list | tuple) else [told] if told else []
            return f"an ACL is missing on {name} {', '.join(map(str, names))}".rstrip()
    return "an ACL is missing on the cluster"


def _words(error: kafka.KafkaError) -> str:
    return str(error) or type(error).__name__
