"""Warnings: what is legal and surely not meant is told, and nothing else is."""

import json
import pathlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import parse_event
from segments import load, load_data
from segments.conditions import Span, Tz
from segments.conditions import Test as Asked
from segments.predicates import predicate
from segments.state import ContactState
from segments.verdicts import contradictory, of_counts, of_numbers
from segments.warn import DAY_MS, warnings

FOLDER = pathlib.Path(__file__).parent
SCORES = """
scores:
  - {id: up, rules: [{event: X, points: 5}, {trait: t, eq: 1, points: 2}]}
  - {id: down, rules: [{event: X, points: -5}]}
  - {id: capped, min: 0, max: 100, rules: [{event: X, points: 5}, {event: Y, points: -5}]}
"""


def warned(when: str, **given_with: Any) -> list[str]:
    """What is said of a segment `s` with that `when`, without its subject."""
    definitions = load(f"segments:\n  - {{id: s, when: {when}}}\n{SCORES}")
    return [line.removeprefix("segment 's': ") for line in warnings(definitions, **given_with)]


NEVER = [
    ("{event: X, count: {gt: 5, lt: 3}}", "$.when.count"),
    ("{event: X, count: {gt: 2, lt: 3}}", "$.when.count"),
    ("{event: X, count: {lt: 0}}", "$.when.count"),
    ("{event: X, count: 2.5}", "$.when.count"),
    ("{event: X, by: sku, count: 0}", "$.when.count"),
    ("{event: X, sum: {of: total, gt: 5, lte: 5}}", "$.when.sum"),
    ("{event: X, max: {of: total, between: [1, 2], gt: 2}}", "$.when.max"),
    ("{event: X, where: {total: {gt: 5, lt: 3}}}", "$.when.where.total"),
    ("{event: X, where: {total: {has: a, gt: 3}}}", "$.when.where.total"),
    ("{event: X, where: {total: {exists: false, ne: 3, gt: 1}}}", "$.when.where.total"),
    ("{event: X, where: {any: [{a: {eq: 1, ne: '1'}}, {b: {in: [x, y], starts_with: z}}]}}", "$.when.where"),
    ("{event: X, where: {items: {any_item: {price: {gt: 5, lt: 3}}}}}", "$.when.where.items"),
    ("{event: X, where: {at: {within_last: 3d, older_than: 3d}}}", "$.when.where.at"),
    ("{event: X, where: {at: {before: 2026-01-01, on_or_after: 2026-01-01}}}", "$.when.where.at"),
    ("{event: X, latest: {plan: {eq: free, in: [pro, team]}}}", "$.when.latest.plan"),
    ("{event: X, calendar: tomorrow}", "$.when.calendar"),
    ("{event: X, calendar: {next_days: 7}, sum: {of: a, gt: 0}}", "$.when.calendar"),
    ("{event: X, last_at: {within_next: 3d}}", "$.when.last_at"),
    ("{event: X, first_at: {calendar: next_week}}", "$.when.first_at"),
    ("{event: X, within: 3d, regularly: {every: 1d, periods: 7, at_least: 4}}", "$.when.regularly"),
    ("{sequence: [{event: X}, {event: Y, where: {a: {gt: 5, lt: 3}}}]}", "$.when.sequence"),
    ("{known: {further_than: 3d}}", "$.when.known"),
    ("{trait: born, age: {gte: 25, lt: 18}}", "$.when.age"),
    ("{trait: items, any_item: {price: {gt: 5, lt: 3}}}", "$.when.any_item"),
    ("{sample: {percent: 0}}", "$.when.sample.percent"),
    ("{score: capped, gt: 100}", "$.when.gt"),
    ("{score: up, lt: 0}", "$.when.lt"),
    ("{score: down, between: [1, 5]}", "$.when.between"),
    ("{all: [{trait: plan, eq: pro}, {event: X}, {trait: plan, eq: free}]}", "$.when"),
    ("{all: [{trait: n, gt: 5}, {all: [{event: X}, {trait: n, lt: 3}]}]}", "$.when"),
    ("{all: [{trait: n, eq: 5}, {none: [{event: X}, {trait: n, eq: 5}]}]}", "$.when"),
    ("{all: [{trait: n, exists: false}, {trait: n, lt: 3}]}", "$.when"),
    ("{all: [{event: X, within: 3d}, {event: X, within: 3d, count: 0}]}", "$.when"),
    ("{all: [{event: X, count: {gte: 3}}, {not: {event: X, count: {gt: 1}}}]}", "$.when"),
    ("{all: [{known: {older_than: 30d}}, {known: {within_last: 3d}}]}", "$.when"),
    ("{all: [{score: up, gt: 5}, {score: up, lt: 3}]}", "$.when"),
    ("{none: [{event: X}, {event: X, count: 0}]}", "$.when"),
    ("{held: {event: X, count: {lt: 0}}, for: 3d}", "$.when.held.count"),
    ("{all: [{event: X}, {any: [{event: Y, count: {lt: 0}}, {sample: {percent: 0}}]}]}", "$.when.all[1].any[0].count"),
]
ALWAYS = [
    ("{event: X, count: {gte: 0}}", "$.when.count"),
    ("{event: X, count: {ne: -1}}", "$.when.count"),
    ("{event: X, calendar: tomorrow, count: 0}", "$.when.calendar"),
    ("{event: X, where: {a: {gt: 5, lt: 3}}, count: {lt: 3}}", "$.when.where.a"),
    ("{trait: items, no_item: {price: {gt: 5, lt: 3}}}", "$.when.no_item"),
    ("{sample: {percent: 100}}", "$.when.sample.percent"),
    ("{score: up, gte: 0}", "$.when.gte"),
    ("{score: capped, lte: 100}", "$.when.lte"),
    ("{any: [{trait: a, exists: true}, {trait: a, exists: false}]}", "$.when"),
    ("{any: [{event: X}, {event: Y}, {event: X, count: 0}]}", "$.when"),
    ("{any: [{event: X, count: {gte: 3}}, {event: X, count: {lt: 5}}]}", "$.when"),
    ("{any: [{score: capped, gt: 5}, {score: capped, lte: 5}]}", "$.when"),
    ("{not: {event: X, count: {lt: 0}}}", "$.when.not.count"),
]
DEPENDS = [
    "{event: X}",
    "{event: X, count: 0}",
    "{event: X, count: {gt: 2, lt: 4}}",
    "{event: X, by: sku, count: {lt: 3}}",
    "{event: X, by: sku, distinct: {of: a, lt: 1}}",
    "{event: X, sum: {of: total, gt: 2, lt: 3}}",
    "{event: X, sum: {of: total, lt: 0}}",
    "{event: X, avg: {of: total, ne: 3}}",
    "{event: X, where: {total: {gt: 1, lt: 3, ne: 2}}}",
    "{event: X, where: {total: {eq: '5', gt: 3}}}",
    "{event: X, where: {total: {eq: 5, starts_with: '5'}}}",
    "{event: X, where: {total: {eq: true, in: ['true']}}}",
    "{event: X, where: {name: {eq: Pro, in: [PRO, team], ignore_case: true}}}",
    "{event: X, where: {name: {contains: a, has: b}}}",
    "{event: X, where: {a: {eq: {trait: a}, ne: 5}}}",
    "{event: X, where: {none: [{a: {gt: 5, lt: 3}}]}}",
    "{event: X, where: {at: {older_than: 3d, within_last: 4d}}}",
    "{event: X, calendar: this_week}",
    "{event: X, last_at: {anniversary: {next_days: 30}}}",
    "{event: X, last_at: {calendar: this_year}}",
    "{event: X, within: 3d, regularly: {every: 1d, periods: 7, at_least: 3}}",
    "{event: X, calendar: this_month, regularly: {every: 1d, periods: 7, at_least: 7}}",
    "{sequence: [{event: X}, {absent: Y, where: {a: {gt: 5, lt: 3}}, within: 3d}]}",
    "{known: {older_than: 30d}}",
    "{trait: a, ne: 5}",
    "{trait: a, unchanged_for: 3d}",
    "{trait: born, age: {lt: 0}}",
    "{trait: at, calendar: next_week}",
    "{sample: {percent: 50}}",
    "{score: up, gt: 0}",
    "{score: capped, between: [0, 99]}",
    "{all: [{trait: a, eq: 1}, {not: {trait: a, eq: true}}]}",
    "{all: [{trait: a, gt: 1}, {not: {trait: a, gt: 5}}, {trait: b, lt: 0}]}",
    "{all: [{trait: a, in: [x, y]}, {trait: a, unchanged_for: 3d}]}",
    "{all: [{event: X, within: 3d}, {event: X, within: 2d, count: 0}]}",
    "{all: [{event: X, where: {a: 1}, count: {gte: 3}}, {event: X, where: {a: 2}, count: 0}]}",
    "{all: [{event: X, by: sku, count: {gte: 3}}, {event: X, by: sku, count: {lt: 2}}]}",
    "{all: [{event: X, max: {of: a, gt: 3}}, {not: {event: X, max: {of: a, gt: 5}}}]}",
    "{any: [{event: X, max: {of: a, gt: 3}}, {event: X, max: {of: a, lte: 3}}]}",
    "{any: [{trait: a, gt: 3}, {trait: a, lte: 3}]}",
    "{held: {not: {event: X}}, for: 3d}",
    "{all: [{everyone: true}, {event: X}]}",
    "{subscribed: news, default: true}",
    "{listed: vip}",
]


@pytest.mark.parametrize(("when", "place"), NEVER)
def test_what_can_never_be_true_is_told_where_it_stands_and_so_is_its_segment(when: str, place: str) -> None:
    """Its author waits for somebody to enter."""
    said = warned(when)

    assert any("can never be true: " in line and line.endswith(f" - at {place}") for line in said), said
    assert "nobody can ever be in it - at $.when" in said


@pytest.mark.parametrize(("when", "place"), ALWAYS)
def test_what_is_always_true_is_told_where_it_stands_and_so_is_its_segment(when: str, place: str) -> None:
    """Its author wonders who they all are."""
    said = warned(when)

    assert any(line.endswith(f" - at {place}") for line in said), said
    assert "every known contact is in it - at $.when" in said


@pytest.mark.parametrize("when", DEPENDS)
def test_what_may_be_true_and_may_not_is_not_warned_of(when: str) -> None:
    """A warning that cries wolf is one that nobody reads."""
    assert warned(when) == []


def test_a_segment_that_names_an_empty_one_is_empty_too() -> None:
    """Wherever it stands in the file; and what is said comes in the file's order."""
    text = """
    segments:
      - {id: after, when: {all: [{event: X}, {segment: before}]}}
      - {id: whoever, when: {any: [{event: X}, {not: {segment: before}}]}}
      - {id: before, when: {event: X, count: {lt: 0}}}
    """
    assert warnings(load(text)) == [
        "segment 'after': nobody can ever be in it - at $.when",
        "segment 'whoever': every known contact is in it - at $.when",
        "segment 'before': can never be true: no number passes its tests - at $.when.count",
        "segment 'before': nobody can ever be in it - at $.when",
    ]


def test_a_rule_of_a_score_that_can_never_count_is_told() -> None:
    """An event's and a trait's."""
    text = """
    scores:
      - id: a
        rules:
          - {event: X, where: {a: {gt: 5, lt: 3}}, points: 5}
          - {trait: a, any_item: {b: {exists: false, eq: 1}}, points: 5}
          - {trait: a, eq: 1, points: 5, tz: contact}
    """
    assert warnings(load(text)) == [
        "score 'a': can never count: no event passes its `where` - at $.rules[0]",
        "score 'a': can never count: no value passes its test - at $.rules[1]",
    ]


@pytest.mark.parametrize(
    ("when", "place"),
    [
        ("{event: X, within: 401d}", "within"),
        ("{event: X, ago: 401d}", "ago"),
        ("{event: X, ago: [401d, 1d]}", "ago"),
        ("{event: X, calendar: {last_years: 3}}", "calendar"),
        ("{event: X, calendar: {days_ago: 401}}", "calendar"),
        ("{event: X, last_at: {older_than: 401d}}", "last_at"),
        ("{event: X, first_at: {within_last: 401d}}", "first_at"),
        ("{event: X, regularly: {every: 30d, periods: 14, at_least: 3}}", "regularly"),
        ("{sequence: [{event: X}], completed: {within: 401d}}", "completed"),
        ("{sequence: [{event: X}], started: {within: 401d}}", "started"),
        ("{sequence: [{event: X}, {event: Y, within: 401d}]}", "sequence[1].within"),
    ],
)
def test_a_window_longer_than_events_are_kept_is_told(when: str, place: str) -> None:
    """A backfill would count from the middle of it."""
    (said,) = warned(when)

    assert said.startswith("looks back ") and said.endswith(f" - at $.when.{place}")
    assert warned(when, retention_ms=5_000 * DAY_MS) == []


@pytest.mark.parametrize("when", ["{event: X, within: 400d}", "{event: X, calendar: {last_months: 13}}", "{event: X}"])
def test_a_window_as_long_as_events_are_kept_is_fine(when: str) -> None:
    """And so is no window: what was counted stays."""
    assert warned(when) == []


EVENTS = [
    {"type": "track", "event": "Order Completed", "properties": {"total": 5, "cart_id": "x", "sku": "s"}},
    {"type": "track", "event": "Order Completed", "properties": {"total": 5}, "context": {"page": {"path": "/"}}},
    {"type": "track", "event": "Cart Updated", "properties": {"cart_id": "x", "sku": ""}},
    {"type": "page", "name": "Prices"},
    {"type": "identify", "traits": {"email": "a@shop.example", "address": {"city": "Rome"}}},
    {"type": "group", "groupId": "g", "traits": {"plan": "pro"}},
]
SAMPLE = [parse_event(json.dumps({"userId": "c", "timestamp": 1, **event}).encode()) for event in EVENTS]


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("{event: Order Completed, where: {total: 5, context.page.path: /}}", []),
        ("{event: [Order Completed, Page Viewed], where: {name: Prices}, sum: {of: total, gt: 5}}", []),
        ("{all: [{trait: address.city, eq: Rome}, {trait: group.plan, eq: {trait: email}}]}", []),
        ("{event: {any_except: [{prefix: Email}]}, where: {total: 5}}", []),
        (
            "{any: [{event: Order Complete}, {event: {prefix: Email}}]}",
            [
                "no event in the sample has the name 'Order Complete'; did you mean 'Order Completed'?"
                " - at $.when.any[0].event",
                "no event in the sample has a name that begins with 'Email' - at $.when.any[1].event",
            ],
        ),
        (
            "{event: Order Completed, where: {any: [{totl: {gt: 5}}, {total: 3}]}}",
            ["no event of its name in the sample has it, of 2; did you mean 'total'? - at $.when.where.any[0].totl"],
        ),
        (
            "{event: '*', avg: {of: price, gt: 5}}",
            ["no event of its name in the sample has it, of 4 - at $.when.avg.of"],
        ),
        (
            "{event: Cart Updated, where: {total: {gt: {trait: emial}}}}",
            [
                "no event of its name in the sample has it, of 1; did you mean 'total'? - at $.when.where.total",
                "nobody in the sample has the trait 'emial'; did you mean 'email'? - at $.when.where.total.gt.trait",
            ],
        ),
        (
            "{event: Order Completed, by: sku, count: 2}",
            ["1 of 2 'Order Completed' in the sample lack 'sku', so they count for no value of `by` - at $.when.by"],
        ),
        ("{event: Order Completed, by: sku, where: {cart_id: x}, count: 2}", []),
        (
            "{sequence: [{event: Order Completed}, {absent: Cart Updated, within: 1d}], by: cart_id}",
            [
                "1 of 2 'Order Completed' in the sample lack 'cart_id', so they count for no value of `by` - at $.when.by"
            ],
        ),
    ],
)
def test_what_no_event_of_a_sample_has_is_told(when: str, expected: list[str]) -> None:
    """A slip in a name that comes from outside is one that no checker of the language sees."""
    assert [line for line in warned(when, events=SAMPLE) if "score " not in line] == expected


def test_events_without_the_property_of_per_and_traits_to_carry_that_nobody_has_are_told() -> None:
    """Such an event ends no membership, whatever its `where`."""
    text = """
    segments:
      - id: s
        per: cart_id
        carry: [email, name]
        when: {all: [{event: Cart Updated}, {not: {event: Order Completed, where: {cart_id: x}}}]}
    """
    assert warnings(load(text), events=SAMPLE) == [
        "segment 's': 1 of 2 'Order Completed' in the sample lack 'cart_id', so they count for no value of `per`"
        " - at $.per",
        "segment 's': nobody in the sample has the trait 'name' - at $.carry[1]",
    ]


def test_a_sample_without_traits_says_nothing_of_traits_and_one_without_names_nothing_of_names() -> None:
    """It was cut that way."""
    when = "{any: [{trait: plan, eq: pro}, {event: Nothing}]}"

    assert [line for line in warned(when, events=SAMPLE[:1]) if "trait" in line] == []
    assert [line for line in warned(when, events=SAMPLE[4:5]) if "event" in line] == []
    assert [line for line in warned(when, events=[]) if "sample" in line] == []


def test_every_construct_can_be_looked_at() -> None:
    """With and without a sample; of two segments there is something to say."""
    definitions = load((FOLDER / "everything.yaml").read_text())

    assert warnings(definitions) == ["segment 'e': nobody can ever be in it - at $.when"]
    assert len(warnings(definitions, events=SAMPLE)) > 10


# ---- a verdict is right, or there is none ---------------------------------------------------------------------------

NUMBERS = st.sampled_from([-1, 0, 1, 2, 2.5, 3, 5])
LITERALS = NUMBERS | st.sampled_from(["1", "2.50", "a", "true", True, False])
NUMBER_TESTS = st.builds(Asked, st.sampled_from(["eq", "ne", "gt", "gte", "lt", "lte"]), NUMBERS) | st.builds(
    lambda ends: Asked("between", tuple(sorted(ends))), st.tuples(NUMBERS, NUMBERS)
)
DURATIONS = st.sampled_from([1, 2, DAY_MS, 2 * DAY_MS])
NOW_MS = 20_000 * DAY_MS + 12_345
TESTS = (
    NUMBER_TESTS
    | st.builds(Asked, st.sampled_from(["eq", "ne", "has"]), LITERALS, st.just(False))
    | st.builds(Asked, st.sampled_from(["in", "not_in", "has_any"]), st.lists(LITERALS, min_size=1).map(tuple))
    | st.builds(Asked, st.sampled_from(["contains", "starts_with"]), st.sampled_from(["1", "2", "a"]))
    | st.builds(Asked, st.just("exists"), st.booleans())
    | st.builds(Asked, st.sampled_from(["within_last", "older_than", "within_next", "further_than"]), DURATIONS)
    | st.builds(Asked, st.sampled_from(["before", "after", "on_or_before"]), DURATIONS.map(lambda ms: NOW_MS - ms))
    | st.builds(
        lambda unit, at: Asked("calendar", Span(unit, at, at)), st.sampled_from(["day", "week"]), st.integers(-1, 1)
    )
    | st.builds(lambda tests: Asked("age", tuple(tests)), st.lists(NUMBER_TESTS, min_size=1, max_size=2))
)
INSTANTS = [NOW_MS + step * part for part in (1, DAY_MS) for step in range(-3, 4)]
VALUES: list[Any] = [
    *(-2, -1, 0, 0.5, 1, 1.5, 2, 2.25, 2.5, 2.75, 3, 4, 5, 6, "1", "2", "2.5", "2.50", "a", "ab", "true", True, False),
    *(None, [1], ["a"], ["1", "a"], [True, 2], "1990-01-01", "2024-10-04", "2023-10-04"),
    *INSTANTS,
]


@given(st.lists(TESTS, min_size=1, max_size=4), st.booleans())
def test_tests_that_are_said_to_contradict_each_other_are_passed_by_no_value(tests: list[Asked], past: bool) -> None:
    """Numbers, text, arrays and dates, at the thresholds and between them."""
    contact = ContactState("c", 0)
    if contradictory(tests, past=past):
        values = [value for value in VALUES if not past or (value in INSTANTS and value <= NOW_MS)]
        passing = [value for value in values if all(predicate(test).holds(value, NOW_MS, contact) for test in tests)]
        assert passing == []


@given(st.lists(NUMBER_TESTS, min_size=1, max_size=4))
def test_a_verdict_on_numbers_is_that_of_all_of_them(tests: list[Asked]) -> None:
    """Eighths from -3 to 8 stand for all: the thresholds are halves at most."""

    def passes(value: Any) -> bool:
        return all(predicate(test).holds(value, NOW_MS, ContactState("c", 0)) for test in tests)

    answers = {passes(eighth / 8) for eighth in range(-24, 65)}
    assert (answers.pop() if len(answers) == 1 else None) == of_numbers(passes, tests)
    answers = {passes(count) for count in range(20)}
    assert (answers.pop() if len(answers) == 1 else None) == of_counts(passes, tests)


def test_zones_keep_days_apart() -> None:
    """One's today may be another's yesterday."""
    today, yesterday = Span("day", 0, 0), Span("day", -1, -1)

    assert contradictory([Asked("calendar", today), Asked("calendar", yesterday)])
    assert not contradictory([Asked("calendar", today), Asked("calendar", yesterday, tz=Tz("Asia/Tokyo"))])


def test_a_file_of_slips_is_warned_of_in_a_thousand_lines() -> None:
    """And one that says there are more."""
    segments = [{"id": f"s{n}", "when": {"event": "X", "count": {"lt": 0}}} for n in range(600)]

    lines = warnings(load_data({"segments": segments}))
    assert len(lines) == 1001 and lines[-1].startswith("definitions: expected fewer than 1000 errors")


def test_a_sum_may_be_three_tenths() -> None:
    """Measures are exact decimals: the double nearest to 0.3 is another number, and no sum of prices."""
    whens = [{"event": "A", kind: {"of": "t", "eq": 0.3}} for kind in ("sum", "avg", "min", "max")]
    segments = [{"id": f"s{n}", "when": when} for n, when in enumerate(whens)]
    scores = [{"id": "sc", "rules": [{"event": "A", "points": 0.1}]}]
    segments.append({"id": "scored", "when": {"score": "sc", "between": [0.3, 0.3]}})

    assert [] == warnings(load_data({"scores": scores, "segments": segments}))
