"""What fields an event has, and what is told of the catalogue: no Redis, no broker."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import Event, parse_event
from schemas.rejected import Rejection
from segments.values import reader
from streams.fields import (
    EVENT_FIELDS_MAX,
    LEFT_OUT_MAX,
    NAME_CHARACTERS_MAX,
    SAMPLE_CHARACTERS_MAX,
    SOURCE_CHARACTERS_MAX,
    Field,
    Gathered,
    paths,
    sample_text,
    source_of,
    type_of,
)

NESTED = {"a": {"b": {"c": {"d": {"e": 1}}}}, "list": [{"x": 1}], "empty": "", "none": None, "dot.ted": {"x": 0}}
JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text() | st.just("2026-03-01"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=6),
    max_leaves=30,
)
OBJECTS = st.dictionaries(st.text(), JSON, max_size=6)


def event(**fields: Any) -> Event:
    return parse_event(json.dumps({"userId": "c-1", "timestamp": 1, **fields}).encode())


def types(gathered: Gathered) -> dict[Field, set[tuple[str, str]]]:
    return {field: set(entry.seen) for field, entry in gathered.entries()}


def test_paths_are_dotted_to_four_levels_and_end_at_arrays() -> None:
    """As the language finds them; empty text is absent, null is told."""
    found = [path for path, _ in paths(NESTED)]

    assert found == ["a", "a.b", "a.b.c", "a.b.c.d", "list", "none", "dot.ted", "dot.ted.x"]


@given(OBJECTS)
def test_each_path_leads_to_a_value_where_a_condition_asks_for_it(fields: dict[str, Any]) -> None:
    """So that a name from the catalogue can be put into a definition; keys that make the same path are one field."""
    for path, value in paths(fields):
        if value is not None and all(path.split(".")):
            assert reader(path)(fields) is not None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("pro", "text"),
        ("12.5", "text"),
        ("", "text"),
        ("2026-03-01", "instant"),
        ("2026-03-01T09:30:00.000Z", "instant"),
        ("2026-03-01T09:30:00+02:00", "instant"),
        ("2026-13-01", "text"),
        ("abcd-ef-gh", "text"),
        (12, "number"),
        (1.5, "number"),
        (True, "boolean"),
        ([], "array"),
        ({}, "object"),
        (None, "null"),
    ],
)
def test_types_are_those_of_the_language(value: Any, expected: str) -> None:
    """A boolean is no number, and text that says an instant is one."""
    assert type_of(value) == expected


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({"source": "shop-stripe", "library": {"name": "x"}}, "shop-stripe"),
        ({"source": "", "library": {"name": "analytics-node"}}, "analytics-node"),
        ({"source": 7, "library": "analytics-node"}, "events.product"),
        ({"library": {"name": None}}, "events.product"),
        ({}, "events.product"),
        ({"source": "s" * 100}, "s" * SOURCE_CHARACTERS_MAX),
    ],
)
def test_a_source_is_what_the_event_says_it_is_else_its_library_else_its_topic(
    context: dict[str, Any], expected: str
) -> None:
    assert source_of(context, "events.product") == expected


def test_traits_and_properties_are_gathered_by_source_type_and_when_they_came_last() -> None:
    """A page is an event of the name that conditions have for it; a group's traits are the contact's."""
    gathered = Gathered()
    gathered.add(event(type="identify", traits={"plan": "pro"}, context={"source": "crm"}), "events.product", 5)
    gathered.add(event(type="identify", traits={"plan": 7}), "events.product", 7)
    gathered.add(event(type="identify", traits={"plan": "free"}, context={"source": "crm"}), "events.product", 3)
    gathered.add(event(type="page", name="Prices"), "events.product", 8)
    gathered.add(event(type="group", groupId="g", traits={"size": 3}), "events.product", 9)
    found = dict(gathered.entries())

    assert found[Field("trait", "", "plan")].seen == {("crm", "text"): 5, ("events.product", "number"): 7}
    assert found[Field("trait", "", "plan")].sample == ("free", "c-1", 3)
    assert found.keys() == {
        Field("trait", "", "plan"),
        Field("property", "Page Viewed", "name"),
        Field("trait", "", "group.size"),
        Field("trait", "", "group.id"),
    }


@given(OBJECTS, OBJECTS, OBJECTS, st.sampled_from(["track", "identify", "page", "group", "alias", "delete", "list"]))
def test_no_event_that_is_one_is_too_much(
    properties: dict[str, Any], traits: dict[str, Any], context: dict[str, Any], kind: str
) -> None:
    """Whatever is in it: nothing raises, and all that is gathered is bounded."""
    fields = {"type": kind, "userId": "c", "anonymousId": "a", "previousId": "b", "groupId": "g", "list": "l"}
    whole = {"event": "E", "action": "added", "properties": properties, "traits": traits, "context": context}
    try:
        found = parse_event(json.dumps({**fields, **whole}).encode())
    except Rejection:
        return
    gathered = Gathered()
    gathered.add(found, "events.product", 1)
    entries = dict(gathered.entries())

    assert len(entries) == gathered.count
    for field, entry in entries.items():
        assert len(field.path) <= NAME_CHARACTERS_MAX
        assert entry.sample is None or len(sample_text(entry.sample[0])) <= SAMPLE_CHARACTERS_MAX


def test_what_is_too_much_is_left_out_and_told() -> None:
    """Values as keys: the first 500 of an event are taken, of names those of at most 200 characters."""
    gathered = Gathered()
    gathered.add(event(type="track", event="Wide", properties={f"k{n}": n for n in range(3_000)}), "t", 1)
    gathered.add(event(type="track", event="Long", properties={"p" * 300: 1, "short": 1}), "t", 1)
    gathered.add(event(type="track", event="E" * 300, properties={"p": 1}), "t", 1)
    assert gathered.count == EVENT_FIELDS_MAX + 1
    assert len(gathered.left_out) == 3

    for n in range(2 * LEFT_OUT_MAX):
        gathered.add(event(type="track", event="Long", properties={f"{n}{'p' * 300}": 1}), "t", 1)
    assert len(gathered.left_out) == LEFT_OUT_MAX


def test_of_who_is_deleted_or_linked_no_sample_is_left() -> None:
    """What somebody of the same name does after a delete counts again; a name that was linked gives none of before."""
    gathered = Gathered()
    gathered.add(event(type="identify", traits={"email": "ada@shop.example"}), "t", 5)
    gathered.add(event(type="identify", userId="a-1", traits={"phone": "1"}), "t", 5)
    gathered.add(event(type="delete"), "t", 6)
    gathered.add(event(type="identify", userId="c-2", anonymousId="a-1"), "t", 7)
    assert [entry.sample for _, entry in gathered.entries()] == [None, None]
    assert gathered.forgotten == {"c-1": 6, "a-1": None}

    gathered.add(event(type="identify", traits={"email": "new@shop.example"}), "t", 7)
    assert dict(gathered.entries())[Field("trait", "", "email")].sample == ("new@shop.example", "c-1", 7)
