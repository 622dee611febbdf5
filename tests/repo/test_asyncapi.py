"""The AsyncAPI document: one by the specification, of all topics that services meet, and true of what is on them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from schemas.asyncapi import asyncapi
from schemas.jsonschema import FOLDER
from schemas.rejected import Reason, rejection_headers
from schemas.topics import DEFINITIONS, LINKS, SOURCES, STATE, TOPICS, Topic
from schemas.transitions import Transition, ce_headers
from streams import cli

SCHEMA = Path(__file__).resolve().parents[1] / "data" / "asyncapi-3.0.0.json.gz"
DOCUMENT = asyncapi()
MESSAGES = DOCUMENT["components"]["messages"]
OUR_OWN = {STATE, LINKS, DEFINITIONS}


def _found(reference: str) -> Any:
    """What a reference within the document leads to."""
    at: Any = DOCUMENT
    for name in reference.removeprefix("#/").split("/"):
        at = at[name]
    return at


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, each in value.items():
            if key == "$ref":
                yield each
            else:
                yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


def _valid(schema: dict[str, Any], value: Any) -> bool:
    whole = {"allOf": [schema], "components": DOCUMENT["components"]}
    return bool(jsonschema.Draft7Validator(whole).is_valid(value))


def test_it_is_one_by_the_specification() -> None:
    validator = jsonschema.Draft7Validator(json.loads(gzip.decompress(SCHEMA.read_bytes())))
    validator.validate(DOCUMENT)
    for wrong in (
        {**DOCUMENT, "channel": {}},
        {**DOCUMENT, "operations": {"sendIt": {"action": "publish", "channel": {"$ref": "#/channels/transitions"}}}},
        {**DOCUMENT, "channels": {"a": {"bindings": {"kafka": {"partitions": "12", "bindingVersion": "0.5.0"}}}}},
    ):
        assert not validator.is_valid(wrong)


def test_the_command_prints_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    """Named as the JSON Schemas are."""
    assert cli.run(["schemas", "asyncapi"]) == 0
    assert capsys.readouterr().out == (FOLDER / "asyncapi.json").read_text("utf-8")
    assert cli.run(["schemas"]) == 0
    assert "asyncapi" in capsys.readouterr().out.split()


def test_every_reference_leads_to_something_within_it() -> None:
    """It can be handed on without the files beside it."""
    references = set(_references(DOCUMENT))
    assert len(references) > 30
    for reference in references:
        assert _found(reference), reference


def test_no_schema_in_it_has_what_only_later_drafts_of_json_schema_know() -> None:
    """AsyncAPI's own is draft 7: a tool would pass over such a condition without a word."""
    later = {"prefixItems", "dependentRequired", "dependentSchemas", "unevaluatedProperties", "unevaluatedItems"}
    later |= {"minContains", "maxContains", "$dynamicRef", "$anchor", "$defs"}
    text = json.dumps(DOCUMENT)
    assert [word for word in sorted(later) if f'"{word}":' in text] == []


def test_each_topic_that_services_meet_is_a_channel_with_an_operation() -> None:
    by_channel = {_id(operation): operation["action"] for operation in DOCUMENT["operations"].values()}
    met = {topic.name for topic in TOPICS if topic not in OUR_OWN}
    assert met == set(DOCUMENT["channels"]) == set(by_channel)
    sent = {name for name, action in by_channel.items() if action == "send"}
    assert sent == {topic.name for topic in SOURCES} - {"events.own"}


def _id(operation: dict[str, Any]) -> str:
    reference: str = operation["channel"]["$ref"]
    return reference.removeprefix("#/channels/")


@pytest.mark.parametrize("topic", [topic for topic in TOPICS if topic not in OUR_OWN], ids=lambda topic: topic.name)
def test_a_channel_says_of_its_topic_what_the_broker_is_told(topic: Topic) -> None:
    channel = DOCUMENT["channels"][topic.name]
    said = channel["bindings"]["kafka"]["topicConfiguration"]
    assert channel["address"] == "{prefix}" + topic.name
    assert {name: value[0] if name == "cleanup.policy" else str(value) for name, value in said.items()} == (
        topic.configuration()
    )


@pytest.mark.parametrize("seq", [1, 2])
def test_the_headers_of_a_transition_are_as_it_says(seq: int) -> None:
    headers = {
        name: value.decode()
        for name, value in ce_headers(Transition("vip", 3, "käufer-9", seq, 5, "timer").record(9, 7))
    }
    schema = MESSAGES["transition"]["headers"]
    assert _valid(schema, headers)
    assert not _valid(schema, {**headers, "ce_type": "tidegate.transition.joined"})
    assert not _valid(schema, {**headers, "ce_specversion": "0.3"})
    assert not _valid(schema, {name: value for name, value in headers.items() if name != "ce_id"})


def test_the_headers_of_a_rejected_record_are_as_it_says() -> None:
    made = rejection_headers(
        Reason.WRONG_PARTITION, "expected …", "tidegate.events.product", 3, 4711, 1_772_357_400_000
    )
    headers = {name: value.decode() for name, value in made}
    assert _valid(MESSAGES["rejected"]["headers"], headers)
    assert not _valid(MESSAGES["rejected"]["headers"], {**headers, "offset": "last"})


def test_the_example_of_an_event_is_one_and_a_tombstone_is_no_membership() -> None:
    (example,) = MESSAGES["event"]["examples"]
    assert _valid(MESSAGES["event"]["payload"], example["payload"])
    assert not _valid(MESSAGES["event"]["payload"], {**example["payload"], "userId": 5})
    assert _valid(MESSAGES["membershipGone"]["payload"], None)
    assert not _valid(MESSAGES["membership"]["payload"], None)
