"""The published JSON Schemas: fresh, sound, and of one mind with the code that reads."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest
import yaml

from schemas.asyncapi import asyncapi, documents
from schemas.definition_file import OPERATORS
from schemas.events import parse_event
from schemas.jsonschema import FOLDER, schemas, text_of
from schemas.rejected import Rejection
from schemas.transitions import CauseEvent, Transition
from segments import DefinitionErrors, load
from segments.check_tests import OPERATORS as CHECKED_OPERATORS
from segments.read import read_text

ROOT = Path(__file__).resolve().parents[2]
EVERYTHING = ROOT / "tests/unit/segments/everything.yaml"
EXAMPLES = ROOT.glob("segments/examples/**/*.yaml")
SEQUENCES = ROOT / "tests/unit/actions/sequences.yaml"
BAD_SEQUENCES = read_text((SEQUENCES.parent / "bad_sequences.yaml").read_text("utf-8"), "bad_sequences.yaml")
DEFINITIONS = sorted(
    [
        *ROOT.glob("deploy/**/*.yaml"),
        *ROOT.glob("tests/**/segments.yaml"),
        EVERYTHING,
        SEQUENCES,
        *EXAMPLES,
        *ROOT.glob("actions/examples/*.yaml"),
    ]
)

BASE: dict[str, Any] = {"type": "track", "userId": "c-1", "event": "Order Completed"}
TAKEN: list[dict[str, Any]] = [
    BASE,
    {**BASE, "properties": {"total": 1.5}, "context": {"traits": {"plan": "free"}}, "messageId": "m"},
    {**BASE, "properties": None, "context": "", "timestamp": None, "receivedAt": ""},
    {**BASE, "timestamp": "2026-03-01T09:30:00.000Z"},
    {**BASE, "timestamp": "2026-03-01 09:30+0100", "receivedAt": 1_772_357_400_000},
    {**BASE, "receivedAt": 1.5e12},
    {**BASE, "traits": 5, "groupId": [], "previousId": {}},
    {**BASE, "messageId": 7},
    {**BASE, "anonymousId": 7},
    {**BASE, "userId": "", "anonymousId": "a-1"},
    {**BASE, "userId": None, "anonymousId": "a-1"},
    {"type": "page", "anonymousId": "a-1", "name": "Prices", "properties": {"url": "/"}},
    {"type": "screen", "userId": "c-1", "name": None},
    {"type": "identify", "userId": "c-1", "traits": {"email": "a@shop.example", "plan": None}},
    {"type": "identify", "userId": "c-1", "traits": ""},
    {"type": "group", "userId": "c-1", "groupId": "g-1", "traits": {"seats": 3}},
    {**BASE, "type": "delete"},
]
REFUSED: list[Any] = [
    [],
    "text",
    None,
    {},
    {"type": "track", "event": "x"},
    {**BASE, "userId": 5},
    {**BASE, "userId": False, "anonymousId": "a"},
    {**BASE, "userId": None, "anonymousId": 5},
    {**BASE, "userId": "", "anonymousId": ""},
    {**BASE, "userId": "x" * 1025},
    {**BASE, "event": ""},
    {**BASE, "event": None},
    {**BASE, "event": 5},
    {**BASE, "type": "tracks"},
    {**BASE, "type": None},
    {**BASE, "properties": []},
    {**BASE, "context": 1},
    {**BASE, "context": {"traits": []}},
    {**BASE, "timestamp": True},
    {**BASE, "timestamp": "yesterday"},
    {**BASE, "timestamp": "2026-03-01T09:30:00"},
    {**BASE, "receivedAt": "2026-03-01"},
    {**BASE, "receivedAt": 1e18},
    {**BASE, "receivedAt": {}},
    {"type": "identify", "userId": "c-1", "traits": [1]},
    {"type": "group", "userId": "c-1"},
    {"type": "page", "userId": "c-1", "name": 5},
    {"type": "tick", "receivedAt": 5},
]


def _valid(name: str, value: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(schemas()[name]).is_valid(value))


def _valid_by_asyncapi(value: Any) -> bool:
    """Whether it is an event by the AsyncAPI document, whose schemas are read as an older draft of JSON Schema."""
    schema = {"$ref": "#/components/schemas/Event", "components": asyncapi()["components"]}
    return bool(jsonschema.Draft7Validator(schema).is_valid(value))


def _taken(value: Any) -> bool:
    try:
        parse_event(orjson.dumps(value))
    except Rejection:
        return False
    return True


@pytest.mark.parametrize("name", documents())
def test_the_file_of_a_schema_is_what_the_code_makes_of_it(name: str) -> None:
    """`python -m schemas.jsonschema` writes them anew."""
    assert (FOLDER / f"{name}.json").read_text("utf-8") == text_of(documents()[name])


def test_there_is_no_file_without_a_schema() -> None:
    """A schema that is gone takes its file along."""
    assert {path.stem for path in FOLDER.iterdir()} == set(documents())


@pytest.mark.parametrize("name", schemas())
def test_a_schema_is_one(name: str) -> None:
    """Validators take it."""
    jsonschema.Draft202012Validator.check_schema(schemas()[name])


@pytest.mark.parametrize("value", TAKEN, ids=json.dumps)
def test_what_the_parser_takes_the_schema_takes(value: Any) -> None:
    """A publisher that checks against the schema is never stopped for nothing."""
    assert (True, True, True) == (_taken(value), _valid("event", value), _valid_by_asyncapi(value))


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: json.dumps(value)[:60])
def test_what_the_parser_refuses_the_schema_refuses(value: Any) -> None:
    """A publisher that checks against the schema finds nothing in `rejected` (days that no month has apart)."""
    assert (False, False, False) == (_taken(value), _valid("event", value), _valid_by_asyncapi(value))


def test_a_transition_as_it_is_written_is_one_by_its_schema() -> None:
    """What subscribers check."""
    event = CauseEvent("Order Completed", "m-1", {"total": 5})
    transition = Transition("big", 1, "c-1", 1, 1_772_357_400_000, "event", event)
    written = json.loads(orjson.dumps(_as_json(transition.record(1_772_357_400_123, 7))))

    assert _valid("transition", written)
    assert not _valid("transition", {**written, "transition": "joined"})
    assert not _valid("transition", {key: value for key, value in written.items() if key != "seq"})


def _as_json(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)


def test_the_schema_of_definitions_knows_the_operators_that_the_checker_knows() -> None:
    """An operator that is added to one is added to the other."""
    assert set(CHECKED_OPERATORS) == set(OPERATORS)


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_definition_file_that_loads_is_valid_in_an_editor(path: Path) -> None:
    """Files of this repository, one of which has every construct of the language."""
    text = path.read_text("utf-8")
    data = read_text(text, path.name)
    if not isinstance(data, dict) or not ({"segments", "scores", "rules", "sequences"} & set(data)):
        pytest.skip("no definition file")

    load(text, path.name)
    assert _valid("segments", data)


@pytest.mark.parametrize("case", BAD_SEQUENCES, ids=[case["name"] for case in BAD_SEQUENCES])
def test_a_slip_in_a_sequence_is_seen_in_an_editor(case: dict[str, Any]) -> None:
    """But for what a schema can't say, such as that something is there once."""
    steps = {"steps": case["steps"]} if "steps" in case else {}
    good = {"id": "welcome", "on": {"segment": "signed-up"}, "steps": [{"wait": "1d"}]}
    sequence = case.get("sequence", good | case.get("change", {}) | steps)

    assert _valid("segments", {"sequences": [sequence]}) is case.get("unseen", False)


@pytest.mark.parametrize(
    "text",
    [
        "{id: a, when: {evnt: x}}",
        "{id: a, when: {event: x, within: 3 days}}",
        "{id: a, when: {all: []}}",
        "{id: a, when: {trait: plan}}",
        "{id: a, when: {trait: plan, eq: ''}}",
        "{id: A, when: {everyone: true}}",
        "{id: a, when: {everyone: false}}",
        "{id: a, when: {event: x, count: {gte: ten}}}",
        "{id: a, when: {everyone: true}, hold: {enters: 5m}}",
        "{id: a, when: {sequence: [{evnt: x}]}}",
        "{id: a, when: {sequence: [{event: x}], completed: 7d}}",
        "{id: a, when: {event: x, calendar: this_weak}}",
        "{id: a, when: {event: x, weekdays: [monday]}}",
        "{id: a, when: {event: x, regularly: {every: 1d, periods: 7}}}",
        "{id: a, when: {trait: plan, between: {trait: b}}}",
        "{id: a, when: {held: {event: x}}}",
        "{id: a, when: {event: x}, carry: email}",
    ],
)
def test_a_slip_of_the_pen_is_seen_in_an_editor(text: str) -> None:
    """And by the checker, of course."""
    data = {"segments": [yaml.safe_load(text)]}

    with pytest.raises(DefinitionErrors):
        load(json.dumps(data))
    assert not _valid("segments", data)
