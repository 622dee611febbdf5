"""Which lines of Kafka's client are written."""

import logging

import pytest
from aiokafka.errors import GroupCoordinatorNotAvailableError

from streams import logs
from streams.logs import COORDINATOR_S_MAX, ClientLimit

LINE = ("aiokafka.consumer.group_coordinator", logging.ERROR, "", 0, "Group Coordinator Request failed: %s")


def test_a_broker_that_is_still_setting_up_its_groups_is_no_error_and_one_that_never_does_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit = ClientLimit()
    written = {}
    for at_s in (1000.0, 1000.0 + COORDINATOR_S_MAX / 2, 1000.0 + COORDINATOR_S_MAX):
        monkeypatch.setattr(logs.time, "monotonic", lambda at_s=at_s: at_s)
        written[at_s] = limit.filter(logging.LogRecord(*LINE, (GroupCoordinatorNotAvailableError(),), None))

    assert list(written.values()) == [False, False, True]


def test_other_errors_of_the_client_are_written_at_once() -> None:
    assert ClientLimit().filter(logging.LogRecord(*LINE, (OSError("refused"),), None))


def test_what_the_operator_chose_is_not_said_of_every_connection() -> None:
    """A worker has dozens, and other lines would be left out for these."""
    line = ("aiokafka.conn", logging.WARNING, "", 0, "Sending username and password in the clear")

    assert not ClientLimit().filter(logging.LogRecord(*line, (), None))
