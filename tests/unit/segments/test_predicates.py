"""Values and operators, line by line of the language page's section 5, and when time alone changes an answer."""

import datetime
import json
import zoneinfo
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from schemas.instants import DAY_MS, INSTANT_MS_MAX, parse_instant
from segments.calendar import days_of, parse_day, zone
from segments.conditions import UTC, Local, Span, TraitRef, Tz, Where
from segments.conditions import Test as OneTest  # pytest takes what is called Test for a class of tests
from segments.predicates import Predicate, instant_predicate, predicate, where_predicate
from segments.values import eq_key, equal, instant, key_text, keys_of, number

CONTACT_TZ = Tz("Europe/Berlin", contact=True)
BERLIN = Tz("Europe/Berlin")
quick = settings(deadline=None, derandomize=True, max_examples=300)


class Someone:
    """A contact with traits, as predicates see one."""

    def __init__(self, traits: dict[str, Any] | None = None) -> None:
        self.traits: dict[str, list[Any]] = {key: [value, 0] for key, value in (traits or {}).items()}
        self.clock_ms = self.first_ms = 0
        self.contact = "c"
        self.bytes_estimated = self.limits_passed = 0


def at(text: str) -> int:
    """Epoch ms of an instant."""
    found = parse_instant(text, offset_required=False)
    assert found is not None
    return found


def day(text: str) -> int:
    """The day of `YYYY-MM-DD`."""
    found = parse_day(text)
    assert found is not None
    return found


def holds(operator: str, argument: Any, value: Any, *, ignore_case: bool = False) -> bool:
    """The answer of an operator that asks of nothing but the value."""
    made = predicate(OneTest(operator, argument, ignore_case))
    assert made.fixed is not None
    return made.fixed(value)


def holds_now(
    operator: str, argument: Any, value: Any, now: str = "2026-03-10", *, tz: Tz = UTC, **traits: Any
) -> bool:
    """The answer of an operator to a contact with traits, at an instant."""
    return predicate(OneTest(operator, argument, tz=tz)).holds(value, at(now), Someone(traits))


def path(name: str, operator: str, argument: Any, tz: Tz = UTC) -> Where:
    """A `where` of one test."""
    return Where("path", path=name, test=OneTest(operator, argument, tz=tz))


# ---- equality -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("literal", "value", "expected"),
    [
        (5, 5.0, True),
        (0, -0.0, True),
        (0.3, 0.1 + 0.2, False),
        ("a", "a", True),
        ("a", "A", False),
        (True, True, True),
        (True, 1, False),
        (1, True, False),
        ("5", 5.0, True),
        ("5.0", 5.0, False),
        (5, "5", True),
        (5, "5.0", False),
        ("1e3", 1000, False),
        ("1000", 1e3, True),
        ("true", True, True),
        (True, "true", True),
        ("True", True, False),
        ("a", ["a"], False),
        ("a", {"a": 1}, False),
        ("a", None, False),
    ],
)
def test_eq_is_by_value_by_character_or_by_truth(literal: Any, value: Any, expected: bool) -> None:
    """Across kinds only text meets numbers and booleans; `ne` and the lists of one say the same."""
    assert expected is holds("eq", literal, value)
    assert expected is not holds("ne", literal, value)
    assert expected is holds("in", ("zzz", literal), value)
    assert expected is not holds("not_in", ("zzz", literal), value)
    assert expected is holds("has", literal, [0.125, value])


def test_ignore_case_folds_both_sides_by_full_unicode() -> None:
    """`ß` is `SS`; a boolean's text is folded as well."""
    assert holds("eq", "STRASSE", "straße", ignore_case=True)
    assert holds("in", ("x", "Ärger"), "äRGER", ignore_case=True)
    assert holds("eq", "TRUE", True, ignore_case=True)
    assert not holds("ne", "STRASSE", "straße", ignore_case=True)
    assert holds("contains", "RASS", "Straße", ignore_case=True)
    assert holds("matches", "^STRA\\S+E$", "straße", ignore_case=True)
    assert not holds("matches", "^STRASSE$", "strasse")


scalars = st.one_of(
    st.sampled_from(
        [None, "", "5", "5.0", "true", "a", "A", 5, 5.0, 1, True, False, 0, -0.0, "x" * 41, "\x00t", "[1:-"]
    ),
    st.text(max_size=3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**63), 2**64),
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", ""]), inner, max_size=2),
    max_leaves=6,
)


@quick
@given(json_values, json_values)
def test_values_share_a_key_exactly_if_they_are_equal(a: Any, b: Any) -> None:
    """Whatever they are made of; and the key has a bound."""
    assume(a not in (None, "") and b not in (None, ""))

    assert (eq_key(a) == eq_key(b)) is equal(a, b)
    assert eq_key(a) == eq_key(json.loads(json.dumps(a)))
    assert len(eq_key(a)) <= 40


def test_no_text_passes_for_a_value_that_a_digest_stands_for() -> None:
    """Texts that look like one are digested too."""
    for value in ([1], {"a": 1}, "x" * 41):
        assert eq_key(eq_key(value)) != eq_key(value)


@quick
@given(json_values)
def test_a_value_in_other_spelling_has_the_same_key(value: Any) -> None:
    """Numbers for their text, null for empty text, keys of an object in another order."""
    assume(value not in (None, ""))

    def respelled(value: Any) -> Any:
        if type(value) is list:
            return [respelled(item) for item in value]
        if type(value) is dict:
            return {key: respelled(value[key]) for key in sorted(value, reverse=True)}
        if value is None or value == "":
            return None if value == "" else ""
        return key_text(value)

    assert equal(value, respelled(value))
    assert eq_key(value) == eq_key(respelled(value))


def test_only_text_numbers_and_booleans_make_a_key_of_per() -> None:
    """Text itself, however long, and numbers in their shortest plain form."""
    assert ["x" * 99, "5", "0.1", "true"] == [key_text(value) for value in ("x" * 99, 5.0, 1e-1, True)]
    assert [None] * 4 == [key_text(value) for value in (None, "", [1], {"a": 1})]
    assert {"5", None} == keys_of([5.0, "5", None, ""])


# ---- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("5", 5),
        ("-0", 0),
        ("1.50", 1.5),
        ("1E2", 100),
        ("0e-400", 0),
        ("1e-400", None),
        ("-0.0e9999", 0),
        ("1e309", None),
        ("1" * 400, None),
        ("1." + "0" * 5000, 1),
        ("05", None),
        ("+5", None),
        (" 5", None),
        ("5.", None),
        (".5", None),
        ("1_000", None),
        ("٥", None),
        ("NaN", None),
        ("Infinity", None),
        ("", None),
        (True, None),
        ([5], None),
        (2**53 + 1, float(2**53)),
        ("9007199254740993", float(2**53)),
    ],
)
def test_a_number_is_one_or_its_text_in_the_grammar_of_json(value: Any, expected: Any) -> None:
    """One that no double can hold is none; beyond 15 digits it is the nearest double."""
    assert expected == number(value)
    assert (expected is None) is (number(value) is None)


@pytest.mark.parametrize("value", ["five", True, None, [7], {"n": 7}, "", "1e-400"])
def test_order_is_false_of_what_is_no_number(value: Any) -> None:
    """Whichever way it asks."""
    for operator in ("gt", "gte", "lt", "lte"):
        assert not holds(operator, 5, value)
        assert not holds_now(operator, TraitRef("n"), value, n=5)
        assert not holds_now(operator, TraitRef("n"), 5, n=value)
    assert not holds("between", (0, 10), value)


@pytest.mark.parametrize("value", [4, 4.9, "5", 5, 5.0, "5.1", 6])
def test_order_is_that_of_numbers(value: Any) -> None:
    """Against a literal, and against a trait; `between` includes both ends."""
    x = float(value)
    for operator, expected in (("gt", x > 5), ("gte", x >= 5), ("lt", x < 5), ("lte", x <= 5)):
        assert expected is holds(operator, 5, value)
        assert expected is holds_now(operator, TraitRef("n"), value, n="5.0")
    assert (5 <= x <= 6) is holds("between", (5, 6), value)


# ---- presence, text, arrays, items ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "argument", "value", "expected"),
    [
        ("exists", True, 0, True),
        ("exists", True, False, True),
        ("exists", True, None, False),
        ("exists", False, None, True),
        ("exists", False, [], False),
        ("contains", "b", "abc", True),
        ("contains", "5", 5, False),
        ("contains", "B", "abc", False),
        ("contains", "b", ["x", "abc"], True),
        ("contains", "b", [["b"]], False),
        ("starts_with", "ab", "abc", True),
        ("starts_with", "b", "abc", False),
        ("ends_with", "bc", ["abc", 5], True),
        ("ends_with", "b", "abc", False),
        ("matches", "^a.c$", "abc", True),
        ("matches", "b", "abc", True),
        ("matches", "^b", ["abc", "bcd"], True),
        ("matches", "5", 5, False),
        ("has", "a", ["b", "a"], True),
        ("has", "a", "a", False),
        ("has", 5, ["5"], True),
        ("has_any", ("a", "b"), ["c", "b"], True),
        ("has_any", ("a", "b"), ["c"], False),
        ("has_any", ("a", "b"), "a", False),
        ("has_all", ("a", 5), ["5", "c", "a"], True),
        ("has_all", ("a", 5), ["a"], False),
        ("has_all", ("a",), {"a": 1}, False),
        ("has_all", ("a",), None, False),
    ],
)
def test_presence_text_and_arrays(operator: str, argument: Any, value: Any, expected: bool) -> None:
    """Every operator is false of what it can't be applied to."""
    assert expected is holds(operator, argument, value)


def test_an_item_is_one_and_the_same_element() -> None:
    """Its paths are the element's; `no_item` is the exact negation, true of what is absent or no array."""
    where = Where("all", (path("sku", "eq", "a"), path("size.eu", "gte", 40)))
    split = [{"sku": "a", "size": {"eu": 39}}, {"sku": "b", "size": {"eu": 41}}, "a", None]
    one = [*split, {"sku": "a", "size": {"eu": "40"}}]

    for value, expected in ((split, False), (one, True), ({"sku": "a"}, False), (None, False), ([], False)):
        assert expected is holds("any_item", where, value)
        assert expected is not holds("no_item", where, value)


# ---- dates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-03-29", "2026-03-28T23:00Z"),
        ("2026-03-29T02:30", "2026-03-29T01:00Z"),  # skipped in Berlin
        ("2026-10-25 02:30", "2026-10-25T00:30Z"),  # repeated: the first pass
        ("2026-03-29T02:30:15.1239", "2026-03-29T01:00Z"),
        ("2026-03-28T02:30:15.1239", "2026-03-28T01:30:15.123Z"),
        ("2026-03-29T02:30Z", "2026-03-29T02:30Z"),
        ("2026-03-29T02:30-0130", "2026-03-29T04:00Z"),
        ("2026-03-29T02:30+02", "2026-03-29T00:30Z"),
        (1774753200, "2026-03-29T03:00Z"),
        (1774753200000, "2026-03-29T03:00Z"),
        (1774753200.0019, "2026-03-29T03:00:00.001Z"),
        ("1774753200", None),
        ("2026-02-29", None),
        ("2026-3-1", None),
        ("yesterday", None),
        ("0001-01-01", None),  # in Berlin before the year 1
        ("0001-01-02", "0001-01-01T23:06:32Z"),  # by the sun
        (True, None),
        ([1774753200], None),
        (None, None),
    ],
)
def test_a_date_is_iso_text_local_where_it_names_no_offset_or_a_number(value: Any, expected: str | None) -> None:
    """In Berlin."""
    berlin = zone("Europe/Berlin")
    assert berlin is not None

    assert (None if expected is None else at(expected)) == instant(value, berlin)


def test_absolute_instants_are_compared_in_the_zone_of_the_condition() -> None:
    """A date alone is its midnight there: for a literal the checker reckons it, for the contact's zone it stays local."""
    midnight = at("2026-03-09T23:00Z")  # of 10 March in Berlin
    for operator, before, same, after in (
        ("before", True, False, False),
        ("on_or_before", True, True, False),
        ("on_or_after", False, True, True),
        ("after", False, False, True),
    ):
        values = ("2026-03-09T23:59:59.999", "2026-03-10", "2026-03-10T00:00:00.001")
        for value, expected in zip(values, (before, same, after), strict=True):
            assert expected is holds_now(operator, midnight, value, tz=BERLIN)
            assert expected is holds_now(operator, Local(day("2026-03-10")), value, tz=CONTACT_TZ)
            assert expected is holds_now(operator, TraitRef("due"), value, tz=BERLIN, due="2026-03-10")
        assert not holds_now(operator, midnight, "soon", tz=BERLIN)
        assert not holds_now(operator, TraitRef("due"), "2026-03-10", tz=BERLIN, due="soon")
        assert not holds_now(operator, TraitRef("due"), "2026-03-10", tz=BERLIN)


def test_a_local_instant_moves_with_the_contact_s_zone() -> None:
    """As it is now; where there is none, or none that the IANA knows, it is the one given instead."""
    test = OneTest("before", Local(day("2026-03-10"), 3_600_000), tz=CONTACT_TZ)
    made = predicate(test)
    assert made.fixed is None and made.traits == {"timezone"}

    for timezone, last in (
        ("Asia/Tokyo", "2026-03-09T15:59:59.999Z"),
        ("europe/berlin", "2026-03-09T23:59:59.999Z"),
        (5, "2026-03-09T23:59:59.999Z"),
        (None, "2026-03-09T23:59:59.999Z"),
    ):
        someone = Someone({"timezone": timezone})
        assert made.holds(last, 0, someone)
        assert not made.holds(at(last) + 1, 0, someone)


def test_on_day_is_some_instant_of_one_of_the_days_in_the_zone() -> None:
    """Fixed where the zone is."""
    days = (day("2026-03-10"), day("2026-03-12"))
    made = predicate(OneTest("on_day", days, tz=BERLIN))
    assert made.fixed is not None

    assert [False, True, True, False, True] == [
        made.fixed(value)
        for value in ("2026-03-09T22:59Z", "2026-03-09T23:00Z", "2026-03-10T22:59:59.999Z", "2026-03-11", "2026-03-12")
    ]
    assert holds_now("on_day", days, "2026-03-10T23:30Z", tz=CONTACT_TZ, timezone="America/New_York")
    assert not holds_now("on_day", days, "2026-03-10T23:30Z", tz=CONTACT_TZ)


@pytest.mark.parametrize("unit_ms", [1, DAY_MS])
def test_rolling_operators_at_their_edges(unit_ms: int) -> None:
    """(now - D, now], at or before now - D, (now, now + D], after now + D."""
    now, duration = at("2026-03-10"), 3 * unit_ms
    asked = [now + steps for steps in (-duration - 1, -duration, -duration + 1, 0, 1, duration, duration + 1)]

    def answers(operator: str) -> list[bool]:
        made = predicate(OneTest(operator, duration))
        return [made.holds(value, now, Someone()) for value in asked]

    assert [False, False, True, True, False, False, False] == answers("within_last")
    assert [True, True, False, False, False, False, False] == answers("older_than")
    assert [False, False, False, False, True, True, False] == answers("within_next")
    assert [False, False, False, False, False, False, True] == answers("further_than")


@pytest.mark.parametrize(
    ("span", "first", "end"),
    [
        (Span("day", 0, 0), "2026-03-10", "2026-03-11"),
        (Span("day", -1, -1), "2026-03-09", "2026-03-10"),
        (Span("day", -6, 0), "2026-03-04", "2026-03-11"),
        (Span("day", 1, 3), "2026-03-11", "2026-03-14"),
        (Span("week", 0, 0), "2026-03-09", "2026-03-16"),
        (Span("week", -1, 0), "2026-03-02", "2026-03-16"),
        (Span("month", 1, 1), "2026-04-01", "2026-05-01"),
        (Span("month", -3, 0), "2025-12-01", "2026-04-01"),
        (Span("year", -1, -1), "2025-01-01", "2026-01-01"),
    ],
)
def test_a_calendar_word_is_its_days_in_the_zone(span: Span, first: str, end: str) -> None:
    """A Tuesday, seen from Berlin: from midnight to midnight there."""
    edges = [at(first + "T00:00+01"), at(end + "T00:00+01")]
    edges = [edge - 3_600_000 if edge >= at("2026-03-29T01:00Z") else edge for edge in edges]  # summer time

    for now in ("2026-03-09T23:00Z", "2026-03-10T22:59:59.999Z"):
        assert [False, True, True, False] == [
            holds_now("calendar", span, value, now, tz=BERLIN)
            for value in (edges[0] - 1, edges[0], edges[1] - 1, edges[1])
        ]


def test_an_anniversary_is_in_a_word_by_its_month_and_day() -> None:
    """In whatever year the date is; by the zone's day; on the 28th where its 29 February isn't."""
    week = Span("day", 1, 7)
    assert holds_now("anniversary", Span("day", 0, 0), "1990-03-10")
    assert holds_now("anniversary", week, "2031-03-17")
    assert not holds_now("anniversary", week, "1990-03-18")
    assert holds_now("anniversary", week, "1990-01-02", now="2026-12-28")
    assert holds_now("anniversary", Span("day", 0, 0), "1992-02-29", now="2026-02-28")
    assert not holds_now("anniversary", Span("day", 0, 0), "1992-02-29", now="2028-02-28")
    assert holds_now("anniversary", Span("day", 0, 0), "1990-03-09T23:30Z", tz=BERLIN, now="2026-03-09T23:00Z")
    assert not holds_now("anniversary", Span("day", 0, 0), "soon")


def test_an_age_is_in_whole_years_completed_today() -> None:
    """All its tests hold; a date to come gives a negative age, no date none."""
    grown = (OneTest("gte", 18), OneTest("lt", 25))
    assert [False, True, True, False] == [
        holds_now("age", grown, born) for born in ("2008-03-11", "2008-03-10", "2001-03-11", "2001-03-10")
    ]
    assert holds_now("age", (OneTest("eq", -1),), "2026-03-11")
    assert holds_now("age", (OneTest("eq", 0),), "2026-03-10")
    assert holds_now("age", (OneTest("eq", 10),), "2016-02-29", now="2026-02-28")
    assert not holds_now("age", (OneTest("lt", 99),), "soon")
    assert not holds_now("age", (OneTest("lt", 99),), None)


# ---- when time alone changes an answer ------------------------------------------------------------------------------

moving_tests = st.one_of(
    st.builds(
        OneTest,
        st.sampled_from(("within_last", "older_than", "within_next", "further_than")),
        st.sampled_from((1, 1000, DAY_MS, 40 * DAY_MS)),
    ),
    st.builds(
        lambda operator, unit, first, length, tz: OneTest(operator, Span(unit, first, first + length), tz=tz),
        st.sampled_from(("calendar", "anniversary")),
        st.sampled_from(("day", "week", "month", "year")),
        st.integers(-3, 3),
        st.integers(0, 2),
        st.sampled_from((UTC, BERLIN, CONTACT_TZ)),
    ),
    st.builds(
        lambda low, more, tz: OneTest("age", (OneTest("gte", low), OneTest("lt", low + more)), tz=tz),
        st.integers(-3, 20),
        st.sampled_from((0.5, 1, 1.5, 7)),
        st.sampled_from((UTC, BERLIN, CONTACT_TZ)),
    ),
)
moments = st.builds(
    lambda day, half_hours, ms: day * DAY_MS + half_hours * 1_800_000 + ms,
    st.integers(days_of(2016, 2, 20), days_of(2018, 3, 10)),
    st.integers(0, 47),
    st.integers(-1, 1),
)


def instants_between(now_ms: int, end_ms: int, value_ms: int, test: OneTest) -> set[int]:
    """Instants from now until before the end at which an answer that moves may turn, and those beside them."""
    near = set(range(now_ms - now_ms % 1_800_000, min(end_ms, now_ms + 40 * DAY_MS), 1_800_000))
    if type(test.argument) is int:
        near |= {value_ms + sign * test.argument for sign in (-1, 0, 1)}
    near |= {now_ms + day * DAY_MS for day in range(41, 800)}
    return {ms for at_ms in near for ms in (at_ms - 1, at_ms, at_ms + 1) if now_ms < ms < end_ms}


@settings(quick, max_examples=120)
@given(moving_tests, moments, moments)
def test_no_answer_turns_before_the_instant_that_is_named(test: OneTest, value_ms: int, now_ms: int) -> None:
    """Nor after it at all where none is; and there it does turn, so that no step is taken in vain."""
    someone, made = Someone({"timezone": "America/Sao_Paulo"}), predicate(test)
    answer, next_ms = made.holds(value_ms, now_ms, someone), made.next_ms(value_ms, now_ms, someone)
    end_ms = now_ms + 800 * DAY_MS if next_ms is None else next_ms
    assert end_ms > now_ms

    turned = {
        ms for ms in instants_between(now_ms, end_ms, value_ms, test) if made.holds(value_ms, ms, someone) != answer
    }
    assert set() == turned
    if next_ms is not None and (test.operator != "anniversary" or not answer):
        assert made.holds(value_ms, next_ms, someone) is not answer


@quick
@given(moving_tests, moments, moments)
def test_an_instant_is_asked_as_the_date_of_a_value_is(test: OneTest, value_ms: int, now_ms: int) -> None:
    """`first_at`, `last_at` and `known` share the operators of section 5."""
    someone, of_value, of_instant = Someone(), predicate(test), instant_predicate(test)

    assert of_value.holds(value_ms, now_ms, someone) is of_instant.holds(value_ms, now_ms, someone)
    assert of_value.next_ms(value_ms, now_ms, someone) == of_instant.next_ms(value_ms, now_ms, someone)


@pytest.mark.parametrize("value", ["9999-12-31T23:59:59.999Z", 2**64 - 1, -(2**63), 1e308, "soon", None, [], {}, True])
@settings(quick, max_examples=60)
@given(moving_tests, st.sampled_from((0, INSTANT_MS_MAX)))
def test_nothing_that_json_gives_is_too_much(value: Any, test: OneTest, now_ms: int) -> None:
    """Whatever stands where a date should: an answer, and an instant that a record can say."""
    someone, made = Someone({"timezone": value}), predicate(test)

    assert made.holds(value, now_ms, someone) in (True, False)
    next_ms = made.next_ms(value, now_ms, someone)
    assert next_ms is None or now_ms < next_ms <= INSTANT_MS_MAX


# ---- traits on the right side ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operator", "value", "right", "expected"),
    [
        ("eq", "5", 5.0, True),
        ("eq", [1, {"a": "x"}], ["1", {"a": "x"}], True),
        ("eq", [1, None], [1, ""], True),
        ("eq", [1], [1, 2], False),
        ("eq", {"a": 1}, {"a": 1, "b": None}, False),
        ("eq", True, 1, False),
        ("in", "b", ["a", "b"], True),
        ("in", ["b"], ["a", ["b"]], True),
        ("in", "b", "b", False),
        ("in", "b", [None, ""], False),
        ("contains", "abc", "b", True),
        ("contains", "a5", 5, False),
        ("contains", ["x", "abc"], "b", True),
        ("starts_with", "abc", "ab", True),
        ("ends_with", "abc", "bc", True),
        ("has", ["a", 5], "5", True),
        ("has", ["a", ["x"]], ["x"], True),
        ("has", "a", "a", False),
        ("has_any", ["a", "b"], ["c", "b"], True),
        ("has_any", ["a", None], [None], False),
        ("has_any", ["a"], "a", False),
        ("has_any", ["a"], [], False),
        ("has_all", ["a", 5, "b"], ["5", "a"], True),
        ("has_all", ["a"], ["a", "b"], False),
        ("has_all", ["a"], "a", False),
        ("has_all", ["a", None], ["a", None], False),
    ],
)
def test_a_trait_stands_for_the_value_that_it_has_now(operator: str, value: Any, right: Any, expected: bool) -> None:
    """An unsuitable or absent one makes the operator false, and its negation true."""
    made = predicate(OneTest(operator, TraitRef("a.b")))
    assert made.fixed is None and made.traits == {"a", "a.b"}

    assert expected is made.holds(value, 0, Someone({"a": {"b": right}}))
    assert expected is made.holds(value, 0, Someone({"a": {"b": "no"}, "a.b": right}))
    assert made.holds(value, 0, Someone({"a": {"b": ""}})) is False
    assert made.holds(None, 0, Someone({"a.b": right})) is False
    assert made.next_ms(value, 0, Someone({"a.b": right})) is None
    if operator in ("eq", "in"):
        negation = predicate(OneTest({"eq": "ne", "in": "not_in"}[operator], TraitRef("a.b")))
        assert expected is not negation.holds(value, 0, Someone({"a.b": right}))
        assert negation.holds(value, 0, Someone())


def test_case_is_ignored_against_a_trait_at_any_depth() -> None:
    """Of text; keys of objects are names."""
    made = predicate(OneTest("eq", TraitRef("t"), ignore_case=True))

    assert made.holds(["A", {"k": "ß"}], 0, Someone({"t": ["a", {"k": "SS"}]}))
    assert not made.holds({"K": 1}, 0, Someone({"t": {"k": 1}}))
    assert predicate(OneTest("starts_with", TraitRef("t"), ignore_case=True)).holds("ABC", 0, Someone({"t": "ab"}))


def test_a_literal_and_a_trait_of_that_value_agree() -> None:
    """Over all pairs of a lot of scalars."""
    some = ["5", "5.0", 5, 5.0, "true", True, False, "a", "A", "ß", "ss", 0, "-0", 1e20, "100000000000000000000"]
    for operator in ("eq", "contains", "starts_with", "ends_with", "has", "gt", "lte"):
        for literal in some:
            if operator in ("gt", "lte") and number(literal) is None:
                continue
            if operator in ("contains", "starts_with", "ends_with") and type(literal) is not str:
                continue
            argument = number(literal) if operator in ("gt", "lte") else literal
            for value in [*some, *([item, "zz"] for item in some)]:
                for ignore_case in (False, True) if operator not in ("has", "gt", "lte") else (False,):
                    expected = holds(operator, argument, value, ignore_case=ignore_case)
                    made = predicate(OneTest(operator, TraitRef("t"), ignore_case))
                    assert expected is made.holds(value, 0, Someone({"t": literal})), (operator, literal, value)


@pytest.mark.parametrize("operator", ["has_any", "has_all", "in"])
def test_long_arrays_on_both_sides_take_no_longer_than_to_read(operator: str) -> None:
    """An event and a trait may have 100,000 elements each: compared pair by pair they would take hours."""
    ours, theirs = [f"a{n}" for n in range(50_000)], [f"b{n}" for n in range(50_000)]

    assert not predicate(OneTest(operator, TraitRef("t"))).holds(ours, 0, Someone({"t": theirs}))


# ---- where ----------------------------------------------------------------------------------------------------------


def asked(where: Where) -> Predicate:
    """The predicate of a `where` of events."""
    return where_predicate(where, in_context=True)


def test_paths_lead_into_properties_or_the_context() -> None:
    """The longest key that fits is tried first, at each level; one that leads nowhere does not fit."""
    event = (
        {"a.b": {"x": 1}, "a": {"b.c": 2, "b": {"c": 3}}, "context": {"ip": "p"}, "e": ""},
        {"ip": "c", "n": {"m": 4}},
    )

    for name, value in (("a.b.c", 2), ("a.b.x", 1), ("context.ip", "c"), ("context.n.m", 4)):
        made = asked(path(name, "eq", value))
        assert made.fixed is not None and made.fixed(event)
    for name in ("e", "a.b.x.y", "context.e", "a.", "z"):
        made = asked(path(name, "exists", False))
        assert made.fixed is not None and made.fixed(event)
    item = where_predicate(path("context.ip", "eq", "p"), in_context=False)
    assert item.fixed is not None and item.fixed(event[0])


def test_all_any_and_none_of_fixed_parts_are_fixed() -> None:
    """By the truth of their parts."""
    yes, no = path("a", "eq", 1), path("a", "eq", 2)
    event: tuple[dict[str, Any], dict[str, Any]] = ({"a": 1}, {})
    for kind, parts, expected in (
        ("all", (yes, yes), True),
        ("all", (yes, no), False),
        ("any", (no, yes), True),
        ("any", (no, no), False),
        ("none", (no, no), True),
        ("none", (no, yes), False),
        ("none", (no,), True),
        ("all", (no,), False),
    ):
        made = asked(Where(kind, parts))
        assert made.fixed is not None
        assert expected is made.fixed(event)


def test_a_where_says_by_which_traits_and_when_it_moves() -> None:
    """The first of its parts' instants; none where a part that never changes has settled the matter."""
    soon = path("due", "within_next", DAY_MS, CONTACT_TZ)
    where = Where(
        "all", (path("kind", "eq", "task"), Where("none", (soon, path("owner", "eq", TraitRef("team.lead")))))
    )
    made, someone = asked(where), Someone({"timezone": "Asia/Tokyo", "team": {"lead": "x"}})
    assert made.fixed is None
    assert made.traits == {"timezone", "team", "team.lead"}

    due_ms = at("2026-03-09T15:00Z")  # midnight in Tokyo
    task = ({"kind": "task", "due": "2026-03-10", "owner": "y"}, {})
    assert due_ms - DAY_MS == made.next_ms(task, 0, someone)
    assert made.holds(task, due_ms - DAY_MS - 1, someone)
    assert not made.holds(task, due_ms - DAY_MS, someone)
    assert due_ms == made.next_ms(task, due_ms - DAY_MS, someone)
    assert made.holds(task, due_ms, someone)
    assert made.next_ms(({**task[0], "kind": "note"}, {}), 0, someone) is None


def test_items_move_each_at_its_own_time() -> None:
    """The first of them is next."""
    made = asked(path("items", "any_item", path("until", "within_next", 1000)))
    event = ({"items": [{"until": 9}, {"until": 5}, {"until": "never"}, 7]}, {})

    assert made.fixed is None
    assert 4_000 == made.next_ms(event, 0, Someone())
    assert made.holds(event, 4_000, Someone())
    assert 8_000 == made.next_ms(event, 5_000, Someone())
    assert made.next_ms(event, 9_000, Someone()) is None
    assert asked(path("items", "no_item", path("until", "within_next", 1000))).next_ms(event, 0, Someone()) == 4_000


def test_today_in_a_zone_is_what_python_takes_it_for() -> None:
    """Hour by hour around a midnight that Sao Paulo skipped."""
    rules = zoneinfo.ZoneInfo("America/Sao_Paulo")
    for hour in range(72):
        now = datetime.datetime(2018, 11, 3, tzinfo=datetime.UTC) + datetime.timedelta(hours=hour)
        expected = now.astimezone(rules).date() == datetime.date(2018, 11, 4)

        found = holds_now("calendar", Span("day", 0, 0), "2018-11-04", now.isoformat(), tz=Tz("America/Sao_Paulo"))
        assert expected is found
