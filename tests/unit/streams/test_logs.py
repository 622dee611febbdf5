"""Which lines of Kafka's client are written."""

import inspect
import io
import json
import logging

import pytest
from aiokafka import conn
from aiokafka.consumer import group_coordinator
from aiokafka.errors import GroupCoordinatorNotAvailableError

from streams import logs
from streams.logs import COORDINATOR_S_MAX, ClientLimit, JsonLines, logging_config
from streams.settings import load_settings

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


@pytest.mark.parametrize(
    ("logger", "line"),
    [
        ("aiokafka.conn", "Sending username and password in the clear"),
        ("aiokafka.consumer.group_coordinator", "Heartbeat failed for group %s because it is rebalancing"),
    ],
)
def test_what_is_chosen_or_ordinary_is_no_warning(logger: str, line: str) -> None:
    """A worker has dozens of connections, and workers come and go: other lines would be left out for these."""
    assert not ClientLimit().filter(logging.LogRecord(logger, logging.WARNING, "", 0, line, (), None))
    (module,) = [each for each in (conn, group_coordinator) if each.__name__ == logger]
    assert f'"{line}"' in inspect.getsource(module), "the client says it in other words now"


@pytest.mark.parametrize(
    ("level", "ours", "others"), [("debug", 4, 2), ("info", 3, 2), ("warning", 2, 2), ("error", 1, 1)]
)
def test_a_level_counts_for_our_own_lines_and_others_stay_quiet(level: str, ours: int, others: int) -> None:
    loggers = logging_config(load_settings({"TIDEGATE_LOG_LEVEL": level}))["loggers"]
    levels = [logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR]
    for name, lines in (
        ("tidegate", ours),
        ("streams", ours),
        ("actions", ours),
        ("faust", others),
        ("aiokafka", others),
    ):
        assert sum(each >= logging.getLevelName(loggers[name]["level"]) for each in levels) == lines


def test_a_json_line_is_one_object_with_its_traceback_and_people_s_characters() -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonLines())
    logger = logging.Logger("tidegate.test")
    logger.addHandler(handler)
    try:
        raise ValueError("so\nand so")
    except ValueError:
        logger.exception("größer als %d\nZeilen", 3)
    (line,) = out.getvalue().splitlines()
    found = json.loads(line)
    assert (found["level"], found["logger"], found["message"]) == ("error", "tidegate.test", "größer als 3\nZeilen")
    assert "ValueError" in found["exception"]
    assert found["at"].endswith("Z")
