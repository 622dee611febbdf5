"""What is said of a topic that is not as it must be."""

import pytest

from schemas.topics import DEFINITIONS, EVENTS_PRODUCT, STATE, Topic
from streams.settings import load_settings
from streams.topics import Found, differences, sentences

SETTINGS = load_settings({})


def _found(topic: Topic, partitions: int | None = None, replicas: int = 1, **changed: str) -> Found:
    entries = topic.configuration() | {key.replace("_", "."): value for key, value in changed.items()}
    return Found(partitions or topic.partitions or SETTINGS.partitions, replicas, entries)


@pytest.mark.parametrize("topic", [EVENTS_PRODUCT, STATE, DEFINITIONS])
def test_a_topic_as_it_is_made_differs_in_nothing(topic: Topic) -> None:
    """`topics create` after `topics create` is quiet."""
    assert differences(SETTINGS, topic, _found(topic)) == []


@pytest.mark.parametrize(
    ("topic", "found", "said"),
    [
        (
            EVENTS_PRODUCT,
            _found(EVENTS_PRODUCT, partitions=3),
            "expected 12 partitions, found 3: set TIDEGATE_PARTITIONS=3",
        ),
        (DEFINITIONS, _found(DEFINITIONS, partitions=12), "expected 1 partitions, found 12: delete it if"),
        (STATE, _found(STATE, cleanup_policy="delete"), "expected cleanup.policy=compact, found delete"),
        (
            EVENTS_PRODUCT,
            _found(EVENTS_PRODUCT, message_timestamp_type="CreateTime"),
            "expected message.timestamp.type=LogAppendTime, found CreateTime",
        ),
        (
            STATE,
            _found(STATE, max_message_bytes="65536"),
            "expected max.message.bytes of at least 1000000, as a record",
        ),
        (STATE, _found(STATE, min_insync_replicas="2"), "expected min.insync.replicas of at most 1, as it has so many"),
    ],
)
def test_what_a_worker_cannot_start_with_is_said_with_what_to_do(topic: Topic, found: Found, said: str) -> None:
    """Partition count, cleanup, the sources' timestamp type (I1), and bounds that refuse what is written."""
    (difference,) = differences(SETTINGS, topic, found)

    assert difference.vital
    assert said in difference.what


def test_a_wrong_entry_comes_with_the_command_that_puts_it_right() -> None:
    """To be pasted."""
    (difference,) = differences(SETTINGS, STATE, _found(STATE, cleanup_policy="delete"))

    assert (
        "kafka-configs.sh --bootstrap-server 127.0.0.1:9092 --alter --topic tidegate.state "
        "--add-config cleanup.policy=compact" in difference.what
    )


def test_retention_and_replicas_are_the_operator_s_to_choose() -> None:
    """They are mentioned; a worker starts."""
    settings = load_settings({"TIDEGATE_REPLICATION": "3"})
    listed = differences(settings, EVENTS_PRODUCT, _found(EVENTS_PRODUCT, retention_ms="1000"))

    assert [difference.vital for difference in listed] == [False, False]


def test_topics_with_the_same_problem_share_a_line() -> None:
    """Thirteen times the same sentence helps nobody."""
    assert sentences([("a", "x"), ("b", "y"), ("c", "x")]) == ["a, c: x", "b: y"]
