"""Definitions, events and histories that mean harm: each an error or a rejected event, never an exception or a hang."""

import json
from collections.abc import Callable
from math import fsum
from random import Random
from typing import Any

import pytest

import segments
from schemas.events import parse_event
from schemas.rejected import Rejection
from segments import DefinitionErrors, load, load_data
from segments.conditions import Test as TraitTest
from segments.conditions import TraitRef
from segments.decay import NEWEST_MAX
from segments.predicates import predicate
from segments.sequences import _oldest
from segments.values import equal, folded

TAGGED = [
    *("!!int abc", '!!int ""', "!!int [1]", "!!int {a: b}", "!!int 0o9", "!!int 0x", "!!int -", "!!int 1_000"),
    *("!!float abc", "!!float [1]", "!!float 1e", "!!bool maybe", "!!bool [x]", "!!null abc", "!!null [a]"),
    *("!!map [a]", "!!map abc", "!!seq abc", "!!seq {a: b}", "!!str [a]", "!!set {a, b}", "!!omap [a: 1]"),
    *("!!binary aGVsbG8=", "!!timestamp abc", "!!timestamp 2020-01-01", "!!timestamp 2020-99-99", "!foo a"),
    *("!!python/object/apply:os.system [id]", "!!python/name:os.system", "&a [*a]", "&a {b: *a}", "*nope"),
]
PLACES = [
    "%s",
    "? %s\n: 1",
    "segments: %s",
    "segments:\n  - id: %s\n    when: {everyone: true}",
    "segments:\n  - id: a\n    tags: [%s]\n    when: {everyone: true}",
    "segments:\n  - id: a\n    when: {trait: x, in: [%s]}",
    "segments:\n  - id: a\n    when: {event: x, where: %s}",
]
ODD_KEYS: list[Any] = [1, 1.5, None, True, b"x", (1,), frozenset((1,))]


def everyone(**more: Any) -> dict[str, Any]:
    return {"id": "a", "when": {"everyone": True}, **more}


@pytest.mark.parametrize("tagged", TAGGED)
@pytest.mark.parametrize("place", PLACES)
def test_a_tag_that_lies_is_an_error_of_the_file(place: str, tagged: str) -> None:
    """YAML's tags make PyYAML read what follows as what it isn't, and it takes them at their word."""
    with pytest.raises(DefinitionErrors):
        load(place.replace("%s", tagged))


def test_tags_of_the_core_schema_mean_what_they_say() -> None:
    when = '{trait: !!str x, in: [!!int 5, !!int "6", !!float 7, !!bool "true", !!str 8]}'
    text = f"!!map {{segments: !!seq [{{id: a, name: !!null ~, when: {when}}}]}}"

    with pytest.raises(DefinitionErrors) as caught:
        load(text)

    assert caught.value.errors == ["segment 'a': expected text, got null - at $.name"]
    assert load(text.replace("!!null ~", "b")) == load(
        "segments: [{id: a, name: b, when: {trait: x, in: [5, 6, 7.0, true, '8']}}]"
    )


@pytest.mark.parametrize("key", ODD_KEYS, ids=repr)
def test_a_key_that_is_no_text_is_an_error_wherever_it_stands(key: Any) -> None:
    """Text can't say one, but whoever calls from Python can."""
    wheres: list[dict[Any, Any]] = [{"p": {key: 1}}, {key: 1}]
    for data in (
        {key: 1, "segments": [everyone()]},
        {"segments": [{**everyone(), key: 1}]},
        *({"segments": [everyone(when={"event": "x", "where": where})]} for where in wheres),
        {"segments": [everyone(hold={key: "1d"})]},
    ):
        with pytest.raises(DefinitionErrors, match="expected keys that are text"):
            load_data(data)


def test_half_a_surrogate_pair_is_an_error_wherever_it_stands() -> None:
    for data in ({"segments": [everyone(name="\ud800")]}, {"segments": [everyone(**{"\ud800": 1})]}):
        with pytest.raises(DefinitionErrors, match="half a surrogate pair"):
            load_data(data)


def test_an_expression_that_folding_breaks_is_an_error() -> None:
    """`ß` folds to two letters, the first of which comes before `à`: RE2 has no such range."""
    when = {"trait": "x", "matches": "[À-ß]"}
    segments.compile_program(load_data({"segments": [everyone(when=when)]}))

    for wrong in ({**when, "ignore_case": True}, {"event": "x", "where": {"p": {**when, "ignore_case": True}}}):
        wrong.get("where", {}).get("p", {}).pop("trait", None)
        with pytest.raises(DefinitionErrors, match="case folded: invalid character class range"):
            load_data({"segments": [everyone(when=wrong)]})


# ---- events ---------------------------------------------------------------------------------------------------------


def track(properties: str) -> bytes:
    return f'{{"type":"track","userId":"u","event":"E","timestamp":1,"properties":{properties}}}'.encode()


@pytest.mark.parametrize(
    "number",
    ["1e-400", "0." + "0" * 400 + "1", "0." + "0" * 200 + "1e-200", "1E-0000400", "-0." + "0" * 330 + "9", "1e-99999"],
)
def test_a_number_too_small_for_a_double_makes_an_event_rejected_however_it_is_written(number: str) -> None:
    with pytest.raises(Rejection, match="expected numbers that a double can hold"):
        parse_event(track(f'{{"a": {number}}}'))


@pytest.mark.parametrize("number", ["0." + "0" * 400, "0e-400", "0." + "0" * 200 + "1", "1e-300", "5e-324"])
def test_a_number_that_a_double_holds_is_taken_however_many_zeros_it_has(number: str) -> None:
    assert parse_event(track(f'{{"a": {number}}}')).properties == {"a": float(number)}


def test_nesting_that_a_second_key_hides_is_rejected_where_it_has_to_be_gone_through() -> None:
    """The last of two equal keys counts, so what is too deep isn't there once the event is read."""
    with pytest.raises(Rejection, match="levels of nesting"):
        parse_event(track('{"a": ' + "[" * 1000 + "]" * 1000 + ', "a": 1, "b": 0.0}'))


# ---- times ----------------------------------------------------------------------------------------------------------

FIRST, LAST = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"


def transitions(defined: dict[str, Any], *events: dict[str, Any]) -> list[tuple[str, str, int, str]]:
    lines = [json.dumps({"type": "track", "userId": "u", "event": "E"} | event).encode() for event in events]
    out = list(segments.simulate(load_data(defined), lines))
    assert not [one for one in out if isinstance(one, segments.RejectedLine)]
    shown = [one.simulated() for one in out if not isinstance(one, segments.RejectedLine)]
    return [(one["segment"], one["transition"], one["seq"], one["at"]) for one in shown]


@pytest.mark.parametrize("arrival", [FIRST, "1969-12-31T23:59:59Z", "6429-10-17T02:45:55.327Z", LAST])
def test_a_message_is_known_again_in_any_year(arrival: str) -> None:
    """Arrivals are kept in six bytes, in which the years up to 9999 have no room."""
    defined = {"segments": [everyone(when={"event": "E", "count": {"gte": 2}})]}
    event = {"timestamp": arrival, "receivedAt": arrival, "messageId": "m"}

    assert transitions(defined, event, event) == []
    assert len(transitions(defined, event, event, {**event, "messageId": "n"})) == 1


# ---- definitions that change ----------------------------------------------------------------------------------------


def at(minutes: int) -> str:
    return f"2026-01-01T{minutes // 60:02d}:{minutes % 60:02d}:00Z"


def redefined(minutes: int, *bodies: dict[str, Any]) -> dict[str, Any]:
    return {"type": "definitions", "segments": bodies, "receivedAt": at(minutes)}


@pytest.mark.parametrize("between", [[], [redefined(11)]], ids=["changed", "removed between"])
def test_a_value_that_a_changed_definition_has_not_seen_counts_on_where_it_comes_back(
    between: list[dict[str, Any]],
) -> None:
    """For one contact, segment and key `seq` counts 1, 2, 3 until the contact is erased (language page, section 2)."""
    by_cart = {"id": "s", "per": "cart", "when": {"event": "A", "within": "1h"}}
    other = {**by_cart, "when": {"any": [{"event": "B", "within": "1h"}, {"not": {"event": "C"}}]}}
    cart = {"properties": {"cart": "x"}}
    first, second = {"event": "A", "timestamp": at(0), **cart}, {"event": "B", "timestamp": at(20), **cart}

    found = transitions({"segments": [by_cart]}, first, *between, redefined(12, other), second, redefined(30, by_cart))

    assert [(move, seq) for _, move, seq, _ in found] == [("entered", 1), ("left", 2), ("entered", 3)]
    assert found[-1][-1] == "2026-01-01T00:20:00.000Z"


def test_a_hold_that_was_gone_for_a_while_does_not_remember_answers_from_before() -> None:
    """Once a contact is linked, an answer is as old as the earliest that was given for it without a break."""
    plain = {"id": "s", "when": {"event": "A", "within": "2h"}}
    held = {**plain, "hold": {"enter": "1h"}}
    found = transitions(
        {"segments": [held]},
        {"event": "A", "timestamp": at(0)},
        {"event": "A", "timestamp": at(60)},
        redefined(90, plain),
        {"event": "A", "timestamp": at(360)},  # out at 03:00, in again
        redefined(370, held),
        {"event": "Z", "timestamp": at(380), "userId": "v"},
        {"type": "alias", "timestamp": at(390), "userId": "v", "previousId": "u"},
        {"event": "Z", "timestamp": at(500), "userId": "v"},
    )

    assert found[-2:] == [
        ("s", "entered", 1, "2026-01-01T07:00:00.000Z"),  # an hour after 06:00, not at the link
        ("s", "left", 2, "2026-01-01T08:00:00.000Z"),
    ]


# ---- much of everything ---------------------------------------------------------------------------------------------


def event_of(**fields: Any) -> Any:
    return parse_event(json.dumps({"type": "track", "userId": "u", "event": "E"} | fields).encode())


def applied(program: segments.Program, events: list[dict[str, Any]], contact: str = "u") -> segments.ContactState:
    state = None
    for fields in events:
        event = event_of(userId=contact, **fields)
        state = program.apply(state, event, event.occurred_at_ms, event.occurred_at_ms).state
    assert state is not None
    return state


def test_the_oldest_of_many_groups_are_those_that_go_one_by_one() -> None:
    """Two contacts may have ten thousand events in as many groups, and looking for each anew took seconds."""
    random = Random(1)
    for _ in range(200):
        groups = {f"v{n}": [False, None, [[random.randrange(9), [0]] for _ in range(3)]] for n in range(5)}
        for group in groups.values():
            group[2].sort()
        number = random.randrange(1, 15)
        left = {value: list(group[2]) for value, group in groups.items()}
        for _ in range(number):
            oldest = min((value for value in left if left[value]), key=lambda value: left[value][0][0])
            del left[oldest][0]

        assert _oldest(groups, number) == {value: 3 - len(left[value]) for value in left if len(left[value]) < 3}


def test_a_link_that_passes_a_limit_keeps_what_a_sequence_has_completed() -> None:
    """What is true for good keeps no events: its value must not go with them."""
    steps = [{"event": "E", "where": {"s": 1}}, {"event": "E", "where": {"s": 2}}]
    defined = load_data({"segments": [everyone(when={"sequence": steps, "by": "k"})]})
    program = segments.compile_program(defined, limits=segments.Limits(events=6))
    ours = [{"timestamp": 10 + n, "properties": {"k": "x" if n else "z", "s": 1}} for n in range(4)]
    theirs = [{"timestamp": 20 + n, "properties": {"k": "y" if n < 3 else "x", "s": 2}} for n in range(4)]
    alias = parse_event(b'{"type":"alias","userId":"u","previousId":"v","timestamp":30}')

    step = program.link(applied(program, ours), applied(program, theirs, "v"), alias, 30, 30)

    assert [(one.transition, one.cause) for one in step.transitions] == [("entered", "merge")]


def test_a_score_is_looked_ahead_with_few_weights_however_many_events_are_open() -> None:
    """A crossing is searched for in dozens of steps; with ten thousand weights each, an event took a third of a second."""
    rule = {"event": "E", "where": {"v": {"ne": {"trait": "t"}}}, "points": 0.1}
    score = {"id": "s", "half_life": "1d", "rules": [rule]}
    when = {"score": "s", "gte": 100}
    program = segments.compile_program(load_data({"segments": [everyone(when=when)], "scores": [score]}))
    times_ms = [n * 3_600_000 for n in range(500)]
    state = applied(program, [{"timestamp": at_ms, "properties": {"v": n}} for n, at_ms in enumerate(times_ms)])
    leaf = next(iter(program.scores.values()))

    outlook = leaf.outlook(state.kept.get(leaf.key), state, times_ms[-1])

    assert len(outlook.weights) <= NEWEST_MAX
    exact = fsum(0.1 * 2 ** ((at_ms - times_ms[-1]) / 86_400_000) for at_ms in times_ms)
    assert float(outlook.value()) == pytest.approx(exact, rel=1e-12)


LISTED: list[Any] = [None, "", "x", "X", "5", 5, 5.0, True, "true", "ß", "SS", [], ["x"], ["X", ""], {"a": "x"}, 1e308]


def against(operator: str, right: Any, ignore_case: bool = False) -> Callable[[Any], bool]:
    """An operator against a trait that is `right`, as a test of a value."""
    test = predicate(TraitTest(operator, TraitRef("t"), ignore_case))
    state = segments.ContactState("u", 0)
    state.traits["t"] = [right, 0]
    return lambda value: test.holds(value, 0, state)


@pytest.mark.parametrize("ignore_case", [False, True])
def test_a_value_is_among_those_of_a_trait_where_it_equals_one_of_them(ignore_case: bool) -> None:
    """It is looked up by its key, as folding it anew for each of twenty thousand took seconds."""
    for value in LISTED[2:]:
        for one in LISTED:
            fold = folded if ignore_case else lambda value: value
            same = one is not None and one != "" and equal(fold(value), fold(one))
            assert against("in", [one], ignore_case)(value) is same
            assert ignore_case or against("has", value)([one]) is same


def test_a_trait_is_made_ready_once_for_all_events_that_are_asked_against_it() -> None:
    """Ten thousand events against a list of twenty thousand elements took half a minute."""
    test: Any = predicate(TraitTest("in", TraitRef("t"), ignore_case=True))
    state = segments.ContactState("c", 0)
    state.traits["t"] = [["x"], 1]

    assert test.holds("X", 2, state)
    ready = test._test
    assert not test.holds("y", 2, state)
    assert test._test is ready

    state.traits["t"] = [["X", "Y"], 9]
    assert test.holds("y", 9, state)
    assert test._test is not ready
