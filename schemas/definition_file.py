"""JSON Schema of a file of definitions, for editors: the language as far as a schema can say it.

Whatever `segments.load` takes, this takes; not the other way round (references, ranges, swapped ends and the like are
checked by `tidegate check` alone).
"""

from typing import Final

from schemas.action_file import policy, rule, sequence, step
from schemas.schema_parts import CONDITION, DURATION, ID, TEXT, TZ, Schema, list_of, mapping, prose

_INSTANT: Final[Schema] = {"$ref": "#/$defs/instant"}
_NUMBER: Final[Schema] = {"$ref": "#/$defs/number"}
_WHERE: Final[Schema] = {"$ref": "#/$defs/where"}
_NAMES: Final[Schema] = {"$ref": "#/$defs/names"}
_SPAN: Final[Schema] = {"$ref": "#/$defs/span"}
_REFERENCE: Final[Schema] = {"$ref": "#/$defs/reference"}
_SCALAR: Final[Schema] = {"$ref": "#/$defs/scalar"}
_SCALARS: Final[Schema] = {"type": "array", "minItems": 1, "items": _SCALAR}
_BETWEEN: Final[Schema] = {"type": "array", "minItems": 2, "maxItems": 2, "items": _NUMBER}
_DAY: Final[Schema] = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"}
_DAYS: Final[Schema] = {"anyOf": [_DAY, {"type": "array", "minItems": 1, "items": _DAY}]}


def _or_trait(literal: Schema) -> Schema:
    """A literal, or in its place a trait."""
    return {"anyOf": [literal, _REFERENCE]}


_ORDER_TESTS: Final[Schema] = {**dict.fromkeys(("gt", "gte", "lt", "lte"), _NUMBER), "between": _BETWEEN}
_NUMBER_TESTS: Final[Schema] = {"eq": _NUMBER, "ne": _NUMBER, **_ORDER_TESTS}
_DATE_TESTS: Final[Schema] = {
    **dict.fromkeys(("before", "after", "on_or_before", "on_or_after"), _INSTANT),
    "on_day": _DAYS,
    **dict.fromkeys(("within_last", "older_than", "within_next", "further_than"), DURATION),
    **dict.fromkeys(("calendar", "anniversary"), _SPAN),
    "age": mapping(_NUMBER_TESTS, minProperties=1),
}
_LITERAL_TESTS: Final[Schema] = {
    "between": _BETWEEN,
    "exists": {"type": "boolean"},
    "matches": {**TEXT, "description": "an RE2 expression, searched for"},
    "any_item": _WHERE,
    "no_item": _WHERE,
}

# the operators of section 5 and what stands on their right
OPERATORS: Final[Schema] = {
    **_DATE_TESTS,
    **_LITERAL_TESTS,
    **dict.fromkeys(("eq", "ne", "has"), _or_trait(_SCALAR)),
    **dict.fromkeys(("in", "not_in", "has_any", "has_all"), _or_trait(_SCALARS)),
    **dict.fromkeys(("gt", "gte", "lt", "lte"), _or_trait(_NUMBER)),
    **dict.fromkeys(("contains", "starts_with", "ends_with"), _or_trait(TEXT)),
    **dict.fromkeys(("before", "after", "on_or_before", "on_or_after"), _or_trait(_INSTANT)),
}
_FOLDS: Final[Schema] = {"ignore_case": {"type": "boolean"}}
_TRAIT: Final[Schema] = {"trait": TEXT, **OPERATORS, "unchanged_for": DURATION, **_FOLDS, "tz": TZ}
_MATCHING: Final[Schema] = {
    "where": _WHERE,
    "local_time": {
        "type": "array",
        "minItems": 2,
        "maxItems": 2,
        "items": {"type": "string", "pattern": r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$"},
    },
    "weekdays": list_of({"enum": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}),
}


def _where() -> Schema:
    test = {"anyOf": [_SCALAR, _SCALARS, mapping({**OPERATORS, **_FOLDS}, minProperties=1)]}
    joined = [mapping({kind: list_of(_WHERE)}, kind) for kind in ("all", "any", "none")]
    return {"anyOf": [*joined, {"type": "object", "minProperties": 1, "additionalProperties": test}]}


def _names() -> Schema:
    prefix = mapping({"prefix": TEXT}, "prefix")
    any_except = mapping({"any_except": list_of({"anyOf": [TEXT, prefix]})}, "any_except")
    return {"anyOf": [TEXT, list_of(TEXT), prefix, any_except]}


def _span() -> Schema:
    units = ("day", "week", "month", "year")
    words = ["today", "yesterday", "tomorrow"]
    words += [f"{which}_{unit}" for unit in units[1:] for which in ("last", "this", "next")]
    counted = [f"{which}_{unit}s" for unit in units for which in ("last", "next")]
    return {"anyOf": [{"enum": words}, *(mapping({word: _NUMBER}, word) for word in (*counted, "days_ago", "in_days"))]}


def _measures() -> Schema:
    asked = mapping({"of": TEXT, **_NUMBER_TESTS}, "of", minProperties=2)
    one_date = mapping(_DATE_TESTS, minProperties=1, maxProperties=1)
    regularly = {"every": DURATION, "periods": _NUMBER, "at_least": _NUMBER, "times": _NUMBER}
    return {
        "count": {"anyOf": [_NUMBER, mapping(_NUMBER_TESTS, minProperties=1)]},
        **dict.fromkeys(("sum", "avg", "min", "max", "distinct"), asked),
        **dict.fromkeys(("first_at", "last_at"), one_date),
        **dict.fromkeys(("earliest", "latest"), _WHERE),
        "regularly": mapping(regularly, "every", "periods", "at_least"),
    }


def _event() -> Schema:
    ranges = {
        "within": DURATION,
        "ago": {"anyOf": [DURATION, {"type": "array", "minItems": 2, "maxItems": 2, "items": DURATION}]},
        "since": _INSTANT,
        "until": _INSTANT,
        "calendar": _SPAN,
    }
    return mapping({"event": _NAMES, **_MATCHING, **ranges, "by": TEXT, **_measures(), "tz": TZ}, "event")


def _sequence() -> Schema:
    window = mapping({"within": DURATION}, "within")
    step = {**_MATCHING, "within": DURATION}
    steps = [mapping({kind: _NAMES, **step}, kind) for kind in ("event", "absent")]
    properties = {
        "sequence": list_of({"anyOf": steps}),
        "by": TEXT,
        "completed": window,
        "started": window,
        "tz": TZ,
    }
    return mapping(properties, "sequence")


def _condition() -> Schema:
    joined = [mapping({head: list_of(CONDITION)}, head) for head in ("all", "any", "none")]
    known = {operator: OPERATORS[operator] for operator in _DATE_TESTS}
    sample = mapping({"percent": _NUMBER, "salt": TEXT}, "percent")
    return {
        "anyOf": [
            *joined,
            mapping({"not": CONDITION}, "not"),
            mapping({"everyone": {"const": True}}, "everyone"),
            mapping({"known": mapping(known, minProperties=1, maxProperties=1)}, "known"),
            mapping(_TRAIT, "trait", minProperties=2),
            _event(),
            _sequence(),
            mapping({"score": ID, **_ORDER_TESTS}, "score", minProperties=2, maxProperties=2),
            mapping({"segment": ID}, "segment"),
            mapping({"subscribed": TEXT, "default": {"type": "boolean"}}, "subscribed"),
            mapping({"listed": TEXT}, "listed"),
            mapping({"sample": sample}, "sample"),
            mapping({"held": CONDITION, "for": DURATION}, "held", "for"),
        ]
    }


def _segment() -> Schema:
    properties = {
        "id": ID,
        **prose(),
        "tz": TZ,
        "when": CONDITION,
        "hold": mapping({"enter": DURATION, "leave": DURATION}, minProperties=1),
        "per": {**TEXT, "description": "the property whose values each have a membership of their own"},
        "carry": {**list_of(TEXT), "description": "traits to give with each transition"},
        "backfill": {"const": "silent"},
    }
    return mapping(properties, "id", "when")


def _score() -> Schema:
    event = {"event": _NAMES, **_MATCHING, "tz": TZ, "points": _NUMBER}
    event |= {"expires": DURATION, "lasting": {"const": True}}
    rules = [mapping(event, "event", "points"), mapping({**_TRAIT, "points": _NUMBER}, "trait", "points")]
    properties = {
        "id": ID,
        **prose(),
        "tz": TZ,
        "half_life": DURATION,
        "rules": list_of({"anyOf": rules}),
        "min": _NUMBER,
        "max": _NUMBER,
    }
    return mapping(properties, "id", "rules")


def definition_file() -> Schema:
    """The schema."""
    number = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$"}]}
    return {
        "title": "Segments, scores, rules, sequences and policies",
        "type": "object",
        "properties": {
            "segments": {"type": "array", "items": {"$ref": "#/$defs/segment"}},
            "scores": {"type": "array", "items": {"$ref": "#/$defs/score"}},
            "rules": {"type": "array", "items": {"$ref": "#/$defs/rule"}},
            "sequences": {"type": "array", "items": {"$ref": "#/$defs/sequence"}},
            "policies": {"type": "array", "items": {"$ref": "#/$defs/policy"}},
        },
        "additionalProperties": False,
        "anyOf": [{"required": [kind]} for kind in ("segments", "scores", "rules", "sequences", "policies")],
        "$defs": {
            "id": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"},
            "duration": {"type": "string", "pattern": r"^(?=.)(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$"},
            "instant": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?$"},
            "number": number,
            "scalar": {"anyOf": [TEXT, {"type": "number"}, {"type": "boolean"}]},
            "reference": mapping({"trait": TEXT}, "trait", description="the value that this trait has now"),
            "names": _names(),
            "span": _span(),
            "where": _where(),
            "condition": _condition(),
            "segment": _segment(),
            "score": _score(),
            "rule": rule(),
            "step": step(),
            "sequence": sequence(),
            "policy": policy(),
        },
    }
