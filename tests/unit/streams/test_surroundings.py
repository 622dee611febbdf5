"""What is said of brokers whose bounds a worker's settings don't fit, and of how a worker ends."""

from __future__ import annotations

import asyncio
import logging
import sys
from types import SimpleNamespace

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, InconsistentGroupProtocolError, InvalidSessionTimeoutError

from streams.ending import Explained, lines_of
from streams.errors import TopicsError
from streams.kafka_log import refuse_refused
from streams.log import LogError
from streams.settings import load_settings
from streams.surroundings import Brokers, brokers_problems

SETTINGS = load_settings({})
KAFKAS_OWN = {
    "transaction.max.timeout.ms": "900000",
    "group.min.session.timeout.ms": "6000",
    "group.max.session.timeout.ms": "1800000",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "offsets.topic.replication.factor": "3",
}


def test_brokers_as_kafka_comes_have_no_problem() -> None:
    assert brokers_problems(SETTINGS, Brokers(3, KAFKAS_OWN, {})) == []


def test_brokers_that_tell_nothing_have_no_problem() -> None:
    """A user who may not ask finds out by trying."""
    assert brokers_problems(SETTINGS, Brokers(1, {}, {})) == []


def test_topics_that_are_there_count_and_not_how_they_would_be_made() -> None:
    made = {"__transaction_state": 2, "__consumer_offsets": 1}

    assert brokers_problems(SETTINGS, Brokers(1, KAFKAS_OWN, made)) == []


@pytest.mark.parametrize(
    ("changed", "brokers", "replicas", "cause", "cure"),
    [
        ({"transaction.max.timeout.ms": "20000"}, 3, {}, "of at least 30000", "set TIDEGATE_TRANSACTION_TIMEOUT=20s"),
        ({"group.max.session.timeout.ms": "29999"}, 3, {}, "of at least 30000", "set TIDEGATE_SESSION=29s999ms"),
        ({"group.min.session.timeout.ms": "45000"}, 3, {}, "of at most 30000", "set TIDEGATE_SESSION=45s"),
        ({"offsets.topic.replication.factor": "1"}, 2, {}, "found 2: __transaction_state can't be made", "start the others"),
        ({}, 3, {"__transaction_state": 1}, "of at most 1, as __transaction_state has", "found 2: set it in"),
    ],
)  # fmt: skip
def test_brokers_that_refuse_what_a_worker_needs_are_said_with_what_to_do(
    changed: dict[str, str], brokers: int, replicas: dict[str, int], cause: str, cure: str
) -> None:
    (sentence,) = brokers_problems(SETTINGS, Brokers(brokers, KAFKAS_OWN | changed, replicas))

    assert sentence.startswith("brokers: expected")
    assert cause in sentence
    assert cure in sentence


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (InvalidSessionTimeoutError(), "set TIDEGATE_SESSION within"),
        (InconsistentGroupProtocolError(), "set TIDEGATE_PREFIX to one of its own"),
        (GroupAuthorizationFailedError("g"), "give TIDEGATE_BROKER_USER the ACLs"),
    ],
)
def test_a_group_that_refuses_a_worker_is_said_with_what_to_do(error: Exception, cure: str) -> None:
    """Kafka's client keeps it to itself until somebody calls what we don't call."""
    refused = SimpleNamespace(_coordinator=SimpleNamespace(_pending_exception=error))
    with pytest.raises(LogError, match=r"expected to join the group tidegate\.worker, could not") as said:
        refuse_refused(refused, SETTINGS)
    assert cure in str(said.value)

    refuse_refused(SimpleNamespace(_coordinator=SimpleNamespace(_pending_exception=None)), SETTINGS)


def record_of(error: BaseException, message: str = "[^---Fetcher]: Crashed reason=%r") -> logging.LogRecord:
    """What a service logs of an error."""
    try:
        raise error
    except BaseException:
        return logging.LogRecord("faust", logging.ERROR, "f.py", 1, message, (error,), sys.exc_info())


def test_an_error_that_is_a_sentence_is_logged_without_a_traceback() -> None:
    record = record_of(TopicsError("state: expected this topic, found none"), "Error: %r")

    assert Explained(lambda: None).filter(record)
    assert record.getMessage() == "state: expected this topic, found none"
    assert record.exc_info is None


def test_an_error_that_nobody_expected_keeps_its_traceback() -> None:
    record = record_of(ZeroDivisionError())

    assert Explained(lambda: None).filter(record)
    assert record.exc_info is not None


def test_what_fails_in_consequence_of_the_first_error_is_not_logged() -> None:
    written = Explained(lambda: LogError("the first"))

    assert not written.filter(record_of(LogError("the first")))
    assert not written.filter(record_of(asyncio.CancelledError()))
    assert not written.filter(record_of(AttributeError("'NoneType' object has no attribute 'wakeup'")))
    assert written.filter(record_of(AttributeError("of something else"), "Error: %r"))


def test_an_error_without_words_is_called_by_its_kind() -> None:
    assert lines_of(ZeroDivisionError()) == ["ZeroDivisionError"]
    assert lines_of(TopicsError("one", "two")) == ["one", "two"]
