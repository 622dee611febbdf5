"""JSON Schema of a file of segments, scores and rules, for editors: the language as far as a schema can say it.

Whatever `segments.load` takes, this takes; not the other way round (references, ranges, swapped ends and the like are
checked by `tidegate check` alone).
"""

from typing import Any, Final

from schemas.deliveries import CHANNELS

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string", "minLength": 1}
_DURATION: Final[Schema] = {"$ref": "#/$defs/duration"}
_INSTANT: Final[Schema] = {"$ref": "#/$defs/instant"}
_NUMBER: Final[Schema] = {"$ref": "#/$defs/number"}
_WHERE: Final[Schema] = {"$ref": "#/$defs/where"}
_CONDITION: Final[Schema] = {"$ref": "#/$defs/condition"}
_NAMES: Final[Schema] = {"$ref": "#/$defs/names"}
_SPAN: Final[Schema] = {"$ref": "#/$defs/span"}
_ID: Final[Schema] = {"$ref": "#/$defs/id"}
_REFERENCE: Final[Schema] = {"$ref": "#/$defs/reference"}
_SCALAR: Final[Schema] = {"$ref": "#/$defs/scalar"}
_SCALARS: Final[Schema] = {"type": "array", "minItems": 1, "items": _SCALAR}
_BETWEEN: Final[Schema] = {"type": "array", "minItems": 2, "maxItems": 2, "items": _NUMBER}
_TZ: Final[Schema] = {**_TEXT, "description": "UTC, an IANA time zone such as Europe/Paris, or contact"}
_DAY: Final[Schema] = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d$"}
_DAYS: Final[Schema] = {"anyOf": [_DAY, {"type": "array", "minItems": 1, "items": _DAY}]}


def _or_trait(literal: Schema) -> Schema:
    """A literal, or in its place a trait."""
    return {"anyOf": [literal, _REFERENCE]}


def _mapping(properties: Schema, *required: str, **more: Any) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


def _list_of(item: Schema) -> Schema:
    return {"type": "array", "minItems": 1, "items": item}


_ORDER_TESTS: Final[Schema] = {**dict.fromkeys(("gt", "gte", "lt", "lte"), _NUMBER), "between": _BETWEEN}
_NUMBER_TESTS: Final[Schema] = {"eq": _NUMBER, "ne": _NUMBER, **_ORDER_TESTS}
_DATE_TESTS: Final[Schema] = {
    **dict.fromkeys(("before", "after", "on_or_before", "on_or_after"), _INSTANT),
    "on_day": _DAYS,
    **dict.fromkeys(("within_last", "older_than", "within_next", "further_than"), _DURATION),
    **dict.fromkeys(("calendar", "anniversary"), _SPAN),
    "age": _mapping(_NUMBER_TESTS, minProperties=1),
}
_LITERAL_TESTS: Final[Schema] = {
    "between": _BETWEEN,
    "exists": {"type": "boolean"},
    "matches": {**_TEXT, "description": "an RE2 expression, searched for"},
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
    **dict.fromkeys(("contains", "starts_with", "ends_with"), _or_trait(_TEXT)),
    **dict.fromkeys(("before", "after", "on_or_before", "on_or_after"), _or_trait(_INSTANT)),
}
_FOLDS: Final[Schema] = {"ignore_case": {"type": "boolean"}}
_TRAIT: Final[Schema] = {"trait": _TEXT, **OPERATORS, "unchanged_for": _DURATION, **_FOLDS, "tz": _TZ}
_MATCHING: Final[Schema] = {
    "where": _WHERE,
    "local_time": {
        "type": "array",
        "minItems": 2,
        "maxItems": 2,
        "items": {"type": "string", "pattern": r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$"},
    },
    "weekdays": _list_of({"enum": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}),
}


def _where() -> Schema:
    test = {"anyOf": [_SCALAR, _SCALARS, _mapping({**OPERATORS, **_FOLDS}, minProperties=1)]}
    joined = [_mapping({kind: _list_of(_WHERE)}, kind) for kind in ("all", "any", "none")]
    return {"anyOf": [*joined, {"type": "object", "minProperties": 1, "additionalProperties": test}]}


def _names() -> Schema:
    prefix = _mapping({"prefix": _TEXT}, "prefix")
    any_except = _mapping({"any_except": _list_of({"anyOf": [_TEXT, prefix]})}, "any_except")
    return {"anyOf": [_TEXT, _list_of(_TEXT), prefix, any_except]}


def _span() -> Schema:
    units = ("day", "week", "month", "year")
    words = ["today", "yesterday", "tomorrow"]
    words += [f"{which}_{unit}" for unit in units[1:] for which in ("last", "this", "next")]
    counted = [f"{which}_{unit}s" for unit in units for which in ("last", "next")]
    return {
        "anyOf": [{"enum": words}, *(_mapping({word: _NUMBER}, word) for word in (*counted, "days_ago", "in_days"))]
    }


def _measures() -> Schema:
    asked = _mapping({"of": _TEXT, **_NUMBER_TESTS}, "of", minProperties=2)
    one_date = _mapping(_DATE_TESTS, minProperties=1, maxProperties=1)
    regularly = {"every": _DURATION, "periods": _NUMBER, "at_least": _NUMBER, "times": _NUMBER}
    return {
        "count": {"anyOf": [_NUMBER, _mapping(_NUMBER_TESTS, minProperties=1)]},
        **dict.fromkeys(("sum", "avg", "min", "max", "distinct"), asked),
        **dict.fromkeys(("first_at", "last_at"), one_date),
        **dict.fromkeys(("earliest", "latest"), _WHERE),
        "regularly": _mapping(regularly, "every", "periods", "at_least"),
    }


def _event() -> Schema:
    ranges = {
        "within": _DURATION,
        "ago": {"anyOf": [_DURATION, {"type": "array", "minItems": 2, "maxItems": 2, "items": _DURATION}]},
        "since": _INSTANT,
        "until": _INSTANT,
        "calendar": _SPAN,
    }
    return _mapping({"event": _NAMES, **_MATCHING, **ranges, "by": _TEXT, **_measures(), "tz": _TZ}, "event")


def _sequence() -> Schema:
    window = _mapping({"within": _DURATION}, "within")
    step = {**_MATCHING, "within": _DURATION}
    steps = [_mapping({kind: _NAMES, **step}, kind) for kind in ("event", "absent")]
    properties = {
        "sequence": _list_of({"anyOf": steps}),
        "by": _TEXT,
        "completed": window,
        "started": window,
        "tz": _TZ,
    }
    return _mapping(properties, "sequence")


def _condition() -> Schema:
    joined = [_mapping({head: _list_of(_CONDITION)}, head) for head in ("all", "any", "none")]
    known = {operator: OPERATORS[operator] for operator in _DATE_TESTS}
    sample = _mapping({"percent": _NUMBER, "salt": _TEXT}, "percent")
    return {
        "anyOf": [
            *joined,
            _mapping({"not": _CONDITION}, "not"),
            _mapping({"everyone": {"const": True}}, "everyone"),
            _mapping({"known": _mapping(known, minProperties=1, maxProperties=1)}, "known"),
            _mapping(_TRAIT, "trait", minProperties=2),
            _event(),
            _sequence(),
            _mapping({"score": _ID, **_ORDER_TESTS}, "score", minProperties=2, maxProperties=2),
            _mapping({"segment": _ID}, "segment"),
            _mapping({"subscribed": _TEXT, "default": {"type": "boolean"}}, "subscribed"),
            _mapping({"listed": _TEXT}, "listed"),
            _mapping({"sample": sample}, "sample"),
            _mapping({"held": _CONDITION, "for": _DURATION}, "held", "for"),
        ]
    }


def _prose() -> Schema:
    words = {"type": "array", "items": {"type": "string"}}
    return {"name": {"type": "string"}, "description": {"type": "string"}, "owner": {"type": "string"}, "tags": words}


def _segment() -> Schema:
    properties = {
        "id": _ID,
        **_prose(),
        "tz": _TZ,
        "when": _CONDITION,
        "hold": _mapping({"enter": _DURATION, "leave": _DURATION}, minProperties=1),
        "per": {**_TEXT, "description": "the property whose values each have a membership of their own"},
        "carry": {**_list_of(_TEXT), "description": "traits to give with each transition"},
        "backfill": {"const": "silent"},
    }
    return _mapping(properties, "id", "when")


def _score() -> Schema:
    event = {"event": _NAMES, **_MATCHING, "tz": _TZ, "points": _NUMBER}
    event |= {"expires": _DURATION, "lasting": {"const": True}}
    rules = [_mapping(event, "event", "points"), _mapping({**_TRAIT, "points": _NUMBER}, "trait", "points")]
    properties = {
        "id": _ID,
        **_prose(),
        "tz": _TZ,
        "half_life": _DURATION,
        "rules": _list_of({"anyOf": rules}),
        "min": _NUMBER,
        "max": _NUMBER,
    }
    return _mapping(properties, "id", "rules")


def _rule() -> Schema:
    on = {
        "segment": _ID,
        "transition": {"enum": ["entered", "left"]},
        "causes": _list_of({"type": "string"}),
    }
    parts = _mapping({"subject": _TEXT, "text": _TEXT, "html": _TEXT}, "text")
    properties = {
        "id": _ID,
        **_prose(),
        "on": _mapping(on, "segment"),
        "channel": {"enum": list(CHANNELS)},
        "target": {"anyOf": [_TEXT, _mapping({"trait": _TEXT}, "trait")]},
        "secret": {
            "type": "string",
            "description": "webhook, slack, sms: NAME of TIDEGATE_SECRET_NAME in the environment",
        },
        "from": {"type": "string", "description": "sms: a number, a sender's name, or the sid of a messaging service"},
        "group": {"type": "string", "description": "message group, for consent and the unsubscribe link"},
        "template": {"anyOf": [_TEXT, parts]},
        "traits": {"type": "array", "items": _TEXT},
        "max_age": _DURATION,
    }
    return _mapping(properties, "id", "on", "channel")


def definition_file() -> Schema:
    """The schema."""
    number = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$"}]}
    return {
        "title": "Segments, scores and rules",
        "type": "object",
        "properties": {
            "segments": {"type": "array", "items": {"$ref": "#/$defs/segment"}},
            "scores": {"type": "array", "items": {"$ref": "#/$defs/score"}},
            "rules": {"type": "array", "items": {"$ref": "#/$defs/rule"}},
        },
        "additionalProperties": False,
        "anyOf": [{"required": [kind]} for kind in ("segments", "scores", "rules")],
        "$defs": {
            "id": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"},
            "duration": {"type": "string", "pattern": r"^(?=.)(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$"},
            "instant": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?$"},
            "number": number,
            "scalar": {"anyOf": [_TEXT, {"type": "number"}, {"type": "boolean"}]},
            "reference": _mapping({"trait": _TEXT}, "trait", description="the value that this trait has now"),
            "names": _names(),
            "span": _span(),
            "where": _where(),
            "condition": _condition(),
            "segment": _segment(),
            "score": _score(),
            "rule": _rule(),
        },
    }
