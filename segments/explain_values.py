"""Why a value passes a test or doesn't, in words; and what can't match without anyone being told.

An operator is false of a value of a kind that it can't be applied to, and of what is absent. That is as the language has
it, and rarely what an author meant.
"""

from collections.abc import Mapping
from typing import Any

from schemas.instants import DAY_MS, format_duration, format_instant
from segments.canonical import NEGATIONS
from segments.conditions import Local, Span, Test, TraitRef, Where
from segments.contact import Contact, find_trait, trait_ways, zone_of
from segments.dates import DATE_OPERATORS, ORDER, ROLLING
from segments.explain_words import instant_words, value_words
from segments.predicates import finder, where_predicate
from segments.values import instant, number, splits

_NUMBERS = ("gt", "gte", "lt", "lte", "between")
_TEXTS = ("contains", "starts_with", "ends_with", "matches")
_ARRAYS = ("has", "has_any", "has_all")
_ITEMS = ("any_item", "no_item")
# a trait on their right side has to be an array
_LISTS = ("in", "not_in", "has_any", "has_all")
_DURATIONS = (*ROLLING, "unchanged_for")


def words(test: Test) -> str:
    """A test as one would say it: `gte 50`, `within_last 3d`."""
    return f"{test.operator} {_argument(test)}"


def _argument(test: Test) -> str:
    operator, argument = test.operator, test.argument
    if isinstance(argument, TraitRef):
        return f"the trait {argument.path!r}"
    if isinstance(argument, Where):
        return "what is asked of an item"
    if isinstance(argument, Span):
        return f"{argument.unit}s {argument.first} to {argument.last} from this one"
    if isinstance(argument, Local):
        return format_instant(argument.day * DAY_MS + argument.ms).removesuffix("Z")
    if operator in _DURATIONS:
        return format_duration(argument)
    if operator in ORDER:
        return instant_words(argument)
    if operator == "on_day":
        return ", ".join(format_instant(day * DAY_MS)[:10] for day in argument)
    if operator == "age":
        return ", ".join(map(words, argument))
    if isinstance(argument, tuple):
        return "[" + ", ".join(map(value_words, argument)) + "]"
    return value_words(argument)


# ---- of values ------------------------------------------------------------------------------------------------------


def unsuitable(test: Test, value: Any, contact: Contact) -> str | None:
    """Why an operator can't be applied to a present value, as `expected …, got …`; None where it can, or it is absent."""
    if value is None:
        return None
    expected = _expected(test, value, contact)
    if expected is not None:
        holds = ", so it always holds" if test.operator in NEGATIONS else ""
        return f"expected {expected} for `{test.operator}`, got {value_words(value)}{holds}"
    return _unsuitable_right(test, contact)


def _expected(test: Test, value: Any, contact: Contact) -> str | None:
    operator = test.operator
    if operator in _NUMBERS:
        return None if number(value) is not None else "a number"
    if operator in _ARRAYS:
        return None if type(value) is list else "an array"
    if operator in _ITEMS:
        whole = type(value) is list and (not value or any(type(item) is dict for item in value))
        return None if whole else "an array of objects"
    if operator in _TEXTS:
        texts = value if type(value) is list else [value]
        return None if not texts or any(type(text) is str for text in texts) else "text"
    if operator in DATE_OPERATORS:
        return (
            None
            if instant(value, zone_of(test.tz, contact)) is not None
            else "a date (ISO 8601, or epoch seconds or ms)"
        )
    return None


def _unsuitable_right(test: Test, contact: Contact) -> str | None:
    """The same of a trait on the right side, which may be absent, too."""
    if not isinstance(test.argument, TraitRef):
        return None
    path = test.argument.path
    right = find_trait(contact.traits, trait_ways(path))
    if right is None:
        return f"the trait {path!r}, which it is compared with, is absent"
    if test.operator in _LISTS:
        expected = None if type(right) is list else "an array"
    else:
        expected = _expected(test, right, contact) if test.operator not in _ARRAYS else None
    return None if expected is None else f"expected {expected} in the trait {path!r}, got {value_words(right)}"


def into_array(fields: Mapping[str, Any], path: str) -> str | None:
    """The start of a path that leads into an array, where paths don't go; None where it doesn't."""
    for key, rest in splits(path):
        value = fields.get(key)
        if rest is None or value is None:
            continue
        if type(value) is list:
            return key
        deeper = into_array(value, rest) if type(value) is dict else None
        if deeper is not None:
            return f"{key}.{deeper}"
    return None


def array_note(fields: Mapping[str, Any], path: str) -> list[str]:
    """A note where a path leads into an array."""
    start = into_array(fields, path)
    if start is None:
        return []
    return [f"{path!r} leads into the array at {start!r}, where paths don't go: `any_item` looks at its objects"]


# ---- of events ------------------------------------------------------------------------------------------------------


def failure(where: Where, seen: tuple[dict[str, Any], dict[str, Any]], now_ms: int, contact: Contact) -> str | None:
    """The first test of a `where` that an event's `(properties, context)` fails: expected, found; None where all pass."""
    if where_predicate(where, in_context=True).holds(seen, now_ms, contact):
        return None
    if where.kind == "path":
        return _failure_at(where, seen, contact)
    if where.kind == "none":
        holds = [part for part in where.parts if failure(part, seen, now_ms, contact) is None]
        return f"expected none of several to hold, got one that does: {_shape(holds[0])}"
    failures = [found for part in where.parts if (found := failure(part, seen, now_ms, contact)) is not None]
    return failures[0] if where.kind == "all" else " and ".join(failures)


def _failure_at(where: Where, seen: tuple[dict[str, Any], dict[str, Any]], contact: Contact) -> str:
    test = where.test
    assert test is not None
    value = finder(where.path, in_context=True)(seen)
    why = unsuitable(test, value, contact)
    notes = array_note({**seen[0], "context": seen[1]}, where.path)
    if why is not None:
        return f"{where.path}: {why}"
    found = "nothing" if value is None else value_words(value)
    return f"{where.path}: expected {words(test)}, got {found}" + "".join(f" ({note})" for note in notes)


def _shape(where: Where) -> str:
    if where.kind == "path" and where.test is not None:
        return f"{where.path} {words(where.test)}"
    return _shape(where.parts[0]) if len(where.parts) == 1 else f"{where.kind} of {len(where.parts)}"
