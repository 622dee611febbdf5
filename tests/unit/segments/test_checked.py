"""Good definitions: what is checked is what was meant."""

from typing import Any

import pytest
import yaml

from segments import DefinitionErrors, load, load_data
from segments.check_tests import TRAIT_OPERATORS
from segments.conditions import (
    UTC,
    Ago,
    Condition,
    EventIs,
    Fixed,
    Known,
    Local,
    Measure,
    Names,
    Sample,
    SequenceIs,
    Span,
    Step,
    TraitIs,
    TraitRef,
    Tz,
    Within,
)
from segments.conditions import Test as Asked
from segments.read import read_text

DAY_MS = 86_400_000


def when_of(text: str, **segment: Any) -> Condition:
    """The condition that a segment with this `when` has."""
    (checked,) = load_data({"segments": [{"id": "s", "when": read_text(text, "when"), **segment}]}).segments
    return checked.when


@pytest.mark.parametrize(
    ("segment", "condition", "expected"),
    [
        (None, None, UTC),
        ("Europe/Paris", None, Tz("Europe/Paris")),
        ("Europe/Paris", "Asia/Tokyo", Tz("Asia/Tokyo")),
        ("Europe/Paris", "UTC", UTC),
        ("Europe/Paris", "contact", Tz("Europe/Paris", contact=True)),
        ("contact", None, Tz("UTC", contact=True)),
        ("contact", "contact", Tz("UTC", contact=True)),
        ("contact", "Asia/Tokyo", Tz("Asia/Tokyo")),
    ],
)
def test_the_innermost_zone_counts_and_that_of_the_contact_keeps_the_nearest_other(
    segment: str | None, condition: str | None, expected: Tz
) -> None:
    """Where a contact has no zone, the one that the author wrote last before `contact` is meant."""
    around = {} if segment is None else {"tz": segment}
    beside = "" if condition is None else f", tz: {condition}"

    trait = when_of(f"{{trait: t, calendar: today{beside}}}", **around)
    event = when_of(f"{{event: X, weekdays: [mon], last_at: {{calendar: today}}{beside}}}", **around)
    sequence = when_of(f"{{sequence: [{{event: X, weekdays: [mon]}}]{beside}}}", **around)

    assert isinstance(trait, TraitIs) and isinstance(event, EventIs) and isinstance(sequence, SequenceIs)
    found = [trait.test.tz, event.matching.tz, event.measure.tests[0].tz, sequence.steps[0].matching.tz]
    assert found == [expected] * 4


def test_a_score_takes_its_own_zone_and_never_that_of_the_segment_that_reads_it() -> None:
    """Two segments of different zones read one score."""
    text = """
    segments: [{id: s, tz: Asia/Tokyo, when: {score: a, gte: 5}}]
    scores:
      - {id: a, rules: [{event: X, points: 1}, {trait: t, calendar: today, points: 1, tz: contact}]}
      - {id: b, tz: Europe/Paris, rules: [{event: X, points: 1}, {event: X, points: 1, tz: contact}]}
    """
    a, b = load(text).scores

    assert [UTC, Tz(contact=True)] == [a.rules[0].matching.tz, a.rules[1].condition.test.tz]  # type: ignore[union-attr]
    assert [Tz("Europe/Paris"), Tz("Europe/Paris", contact=True)] == [rule.matching.tz for rule in b.rules]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "tz", "expected"),
    [
        ("2026-03-01", "UTC", 20_513 * DAY_MS),
        ("2026-03-01", "Europe/Paris", 20_513 * DAY_MS - 3_600_000),
        ("2026-03-01T09:30", "Asia/Tokyo", 20_513 * DAY_MS + 30 * 60_000),
        ("2026-03-01T09:30:00.5Z", "Asia/Tokyo", 20_513 * DAY_MS + 9 * 3_600_000 + 30 * 60_000 + 500),
        ("2026-03-01 09:30+0200", "contact", 20_513 * DAY_MS + 7 * 3_600_000 + 30 * 60_000),
        ("2026-03-01", "contact", Local(20_513, 0)),
        ("1969-12-31 23:00", "contact", Local(-1, 23 * 3_600_000)),
        # the clock goes from 02:00 to 03:00: the first instant after the gap
        ("2026-03-29T02:30", "Europe/Paris", 20_541 * DAY_MS + 3_600_000),
    ],
)
def test_an_instant_without_offset_is_local_in_the_zone_and_of_the_contact_stays_so(
    text: str, tz: str, expected: int | Local
) -> None:
    """Only the contact's zone isn't known before there is a contact."""
    trait = when_of(f"{{trait: t, before: '{text}', tz: {tz}}}")
    event = when_of(f"{{event: X, until: '{text}', tz: {tz}}}")

    assert isinstance(trait, TraitIs) and isinstance(event, EventIs)
    assert (expected, Fixed(None, expected)) == (trait.test.argument, event.range)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("today", Span("day", 0, 0)),
        ("yesterday", Span("day", -1, -1)),
        ("tomorrow", Span("day", 1, 1)),
        ("last_week", Span("week", -1, -1)),
        ("this_month", Span("month", 0, 0)),
        ("next_year", Span("year", 1, 1)),
        ("{last_days: 1}", Span("day", 0, 0)),
        ("{last_days: 7}", Span("day", -6, 0)),
        ("{next_days: 7}", Span("day", 1, 7)),
        ("{last_weeks: 2}", Span("week", -1, 0)),
        ("{next_months: '3'}", Span("month", 1, 3)),
        ("{last_years: 100}", Span("year", -99, 0)),
        ("{days_ago: 0}", Span("day", 0, 0)),
        ("{days_ago: 14}", Span("day", -14, -14)),
        ("{in_days: 36525}", Span("day", 36_525, 36_525)),
    ],
)
def test_a_calendar_word_is_the_periods_that_it_names(word: str, expected: Span) -> None:
    """In ranges of events, in tests of dates, and for anniversaries."""
    event, trait = when_of(f"{{event: X, calendar: {word}}}"), when_of(f"{{trait: t, anniversary: {word}}}")

    assert isinstance(event, EventIs) and isinstance(trait, TraitIs)
    assert (expected, expected) == (event.range, trait.test.argument)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("within: 30d", Within(30 * DAY_MS)),
        ("ago: 1d", Ago(DAY_MS)),
        ("ago: [60d, 30d]", Ago(30 * DAY_MS, 60 * DAY_MS)),
        ("ago: [60d, 0s]", Within(60 * DAY_MS)),
        ("since: 1970-01-02", Fixed(DAY_MS, None)),
        ("since: 1970-01-02, until: 1970-01-03", Fixed(DAY_MS, 2 * DAY_MS)),
    ],
)
def test_a_range_is_what_was_written(text: str, expected: object) -> None:
    """`[60d, 0s]` is (now - 60 d, now], which is what `within` says."""
    event = when_of(f"{{event: X, {text}}}")

    assert isinstance(event, EventIs) and event.range == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Measure("count", (Asked("gte", 1),))),
        (", count: 0", Measure("count", (Asked("eq", 0),))),
        (", count: {ne: '5'}", Measure("count", (Asked("ne", 5),))),
        (", count: {gt: 1, lte: '5'}", Measure("count", (Asked("gt", 1), Asked("lte", 5)))),
        (", max: {of: total, between: [1, 2.5]}", Measure("max", (Asked("between", (1, 2.5)),), "total")),
        (", distinct: {of: sku, gte: 10000}", Measure("distinct", (Asked("gte", 10_000),), "sku")),
        (", first_at: {within_last: 1d}", Measure("first_at", (Asked("within_last", DAY_MS),))),
        (
            ", regularly: {every: 1d, periods: 7, at_least: 7}",
            Measure("regularly", every_ms=DAY_MS, periods=7, at_least=7, times=1),
        ),
    ],
)
def test_a_measure_is_what_was_written(text: str, expected: Measure) -> None:
    """Without one, one event is asked for."""
    event = when_of(f"{{event: X{text}}}")

    assert isinstance(event, EventIs) and event.measure == expected


def test_the_local_clock_and_weekdays_are_numbers() -> None:
    """Midnight's end is 24 h, and days are in their order, each once."""
    event = when_of('{event: X, local_time: ["22:30", "24:00"], weekdays: [sun, mon, sun]}')

    assert isinstance(event, EventIs)
    assert ((81_000_000, 86_400_000), (0, 6)) == (event.matching.local_time, event.matching.weekdays)


def test_a_sequence_is_its_steps() -> None:
    """With what stands beside them."""
    sequence = when_of(
        "{sequence: [{event: A}, {absent: B}, {event: C, within: 1d}, {absent: D, within: 1s}], by: k,"
        " completed: {within: 7d}, started: {within: 8d}}"
    )

    assert isinstance(sequence, SequenceIs)
    assert [(Names(("A",)), None, False), (Names(("B",)), None, True), (Names(("C",)), DAY_MS, False)] == [
        (step.matching.names, step.within_ms, step.absent) for step in sequence.steps[:3]
    ]
    assert isinstance(sequence.steps[3], Step) and sequence.steps[3].within_ms == 1000
    assert ("k", 7 * DAY_MS, 8 * DAY_MS) == (sequence.by, sequence.completed_ms, sequence.started_ms)


def test_a_rule_lasts_where_it_says_so_or_where_nothing_decays() -> None:
    """And one that expires does neither."""
    rules = "[{event: X, points: 1}, {event: X, points: 1, expires: 3d}, {event: X, points: 1, lasting: true}]"
    text = f"scores: [{{id: a, rules: {rules}}}, {{id: b, half_life: 1d, rules: {rules}}}]"
    a, b = load(text).scores

    assert [True, False, True] == [rule.lasting for rule in a.rules]  # type: ignore[union-attr]
    assert [False, False, True] == [rule.lasting for rule in b.rules]  # type: ignore[union-attr]


def test_a_sample_is_salted_with_the_segments_id_unless_it_names_a_salt() -> None:
    """So that two samples of ten percent aren't the same ten."""
    assert [Sample(10, "s"), Sample(0.5, "x")] == [
        when_of("{sample: {percent: 10}}"),
        when_of("{sample: {percent: 0.5, salt: x}}"),
    ]


def test_what_stands_beside_the_condition_is_kept() -> None:
    """Key, traits to carry, hold, and what the backfill's changes are for."""
    text = "segments: [{id: s, when: {event: X}, per: cart, carry: [a, b, a], backfill: silent, hold: {leave: 5m}}]"
    (segment,) = load(text).segments

    assert ("cart", ("a", "b"), True, 0, 300_000) == (
        segment.per,
        segment.carry,
        segment.silent,
        segment.enter_ms,
        segment.leave_ms,
    )


LITERALS = {
    **{operator: ["a"] for operator in ("in", "not_in", "has_any", "has_all")},
    **dict.fromkeys(("before", "after", "on_or_before", "on_or_after", "on_day"), "2026-01-01"),
    **dict.fromkeys(("within_last", "older_than", "within_next", "further_than", "unchanged_for"), "1d"),
    **dict.fromkeys(("calendar", "anniversary"), "today"),
    **{operator: {"a": 1} for operator in ("any_item", "no_item")},
    "between": [1, 2],
    "exists": True,
    "age": {"gte": 18},
}
NO_TRAIT = (
    *("exists", "between", "matches", "on_day", "unchanged_for", "within_last", "older_than", "within_next"),
    *("further_than", "calendar", "anniversary", "age", "any_item", "no_item"),
)


@pytest.mark.parametrize("operator", TRAIT_OPERATORS)
def test_every_operator_takes_a_literal_and_a_trait_exactly_where_the_page_says_so(operator: str) -> None:
    """Section 5's last paragraph; `{trait: path}` as the `where` of items is a property named `trait`."""

    def condition(right: Any) -> dict[str, Any]:
        return {"segments": [{"id": "s", "when": {"trait": "t", operator: right}}]}

    load_data(condition(LITERALS.get(operator, "5")))
    if operator in ("any_item", "no_item"):
        load_data(condition({"trait": "u"}))
    elif operator in NO_TRAIT:
        with pytest.raises(DefinitionErrors):
            load_data(condition({"trait": "u"}))
    else:
        (segment,) = load_data(condition({"trait": "u"})).segments
        assert isinstance(segment.when, TraitIs) and segment.when.test.argument == TraitRef("u")


def test_known_takes_every_date_operator() -> None:
    """It is about an instant."""
    for operator in ("before", "on_day", "within_last", "older_than", "within_next", "calendar", "anniversary", "age"):
        known = when_of(yaml.safe_dump({"known": {operator: LITERALS[operator]}}))
        assert isinstance(known, Known) and known.test.operator == operator
