"""JSON Schema of a file of segments and rules, for editors: what this version takes, as far as a schema can say it.

Whatever `segments.load` takes, this takes; not the other way round (references, ranges, swapped ends and the like are
checked by `tidegate check` alone).
"""

from typing import Any, Final

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string", "minLength": 1}
_DURATION: Final[Schema] = {"$ref": "#/$defs/duration"}
_INSTANT: Final[Schema] = {"$ref": "#/$defs/instant"}
_NUMBER: Final[Schema] = {"$ref": "#/$defs/number"}
_SCALAR: Final[Schema] = {"$ref": "#/$defs/scalar"}
_SCALARS: Final[Schema] = {"type": "array", "minItems": 1, "items": _SCALAR}
_BETWEEN: Final[Schema] = {"type": "array", "minItems": 2, "maxItems": 2, "items": _NUMBER}
_WHERE: Final[Schema] = {"$ref": "#/$defs/where"}
_CONDITION: Final[Schema] = {"$ref": "#/$defs/condition"}
_UTC: Final[Schema] = {"const": "UTC", "description": "other time zones are not supported yet"}

_DATE_TESTS: Final[Schema] = {
    **dict.fromkeys(("before", "after", "on_or_before", "on_or_after"), _INSTANT),
    **dict.fromkeys(("within_last", "older_than", "within_next", "further_than"), _DURATION),
}
_ORDER_TESTS: Final[Schema] = {**dict.fromkeys(("gt", "gte", "lt", "lte"), _NUMBER), "between": _BETWEEN}
_NUMBER_TESTS: Final[Schema] = {"eq": _NUMBER, "ne": _NUMBER, **_ORDER_TESTS}

# the operators of section 5 and what stands on their right
OPERATORS: Final[Schema] = {
    "eq": _SCALAR,
    "ne": _SCALAR,
    "in": _SCALARS,
    "not_in": _SCALARS,
    **_ORDER_TESTS,
    "exists": {"type": "boolean"},
    **dict.fromkeys(("contains", "starts_with", "ends_with"), _TEXT),
    "matches": {**_TEXT, "description": "an RE2 expression, searched for"},
    "has": _SCALAR,
    "has_any": _SCALARS,
    "has_all": _SCALARS,
    "any_item": _WHERE,
    "no_item": _WHERE,
    **_DATE_TESTS,
}
_FOLDS: Final[Schema] = {"ignore_case": {"type": "boolean"}}


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


def _where() -> Schema:
    test = {"anyOf": [_SCALAR, _SCALARS, _mapping({**OPERATORS, **_FOLDS}, minProperties=1)]}
    joined = [_mapping({kind: _list_of(_WHERE)}, kind) for kind in ("all", "any", "none")]
    return {"anyOf": [*joined, {"type": "object", "minProperties": 1, "additionalProperties": test}]}


def _names() -> Schema:
    prefix = _mapping({"prefix": _TEXT}, "prefix")
    any_except = _mapping({"any_except": _list_of({"anyOf": [_TEXT, prefix]})}, "any_except")
    return {"anyOf": [_TEXT, _list_of(_TEXT), prefix, any_except]}


def _condition() -> Schema:
    joined = [_mapping({head: _list_of(_CONDITION)}, head) for head in ("all", "any", "none")]
    trait = {"trait": _TEXT, **OPERATORS, "unchanged_for": _DURATION, **_FOLDS, "tz": _UTC}
    event = {
        "event": _names(),
        "where": _WHERE,
        "within": _DURATION,
        "count": {"anyOf": [_NUMBER, _mapping(_NUMBER_TESTS, minProperties=1)]},
        "sum": _mapping({"of": _TEXT, **_NUMBER_TESTS}, "of", minProperties=2),
        "last_at": _mapping(_DATE_TESTS, minProperties=1, maxProperties=1),
        "tz": _UTC,
    }
    return {
        "anyOf": [
            *joined,
            _mapping({"not": _CONDITION}, "not"),
            _mapping({"everyone": {"const": True}}, "everyone"),
            _mapping({"segment": {"$ref": "#/$defs/id"}}, "segment"),
            _mapping(trait, "trait", minProperties=2),
            _mapping(event, "event"),
        ]
    }


def _prose() -> Schema:
    words = {"type": "array", "items": {"type": "string"}}
    return {"name": {"type": "string"}, "description": {"type": "string"}, "owner": {"type": "string"}, "tags": words}


def _segment() -> Schema:
    hold = _mapping({"enter": _DURATION, "leave": _DURATION}, minProperties=1)
    properties = {"id": {"$ref": "#/$defs/id"}, **_prose(), "tz": _UTC, "when": _CONDITION, "hold": hold}
    return _mapping(properties, "id", "when")


def _rule() -> Schema:
    on = {
        "segment": {"$ref": "#/$defs/id"},
        "transition": {"enum": ["entered", "left"]},
        "causes": _list_of({"type": "string"}),
    }
    parts = _mapping({"subject": _TEXT, "text": _TEXT, "html": _TEXT}, "subject", "text")
    properties = {
        "id": {"$ref": "#/$defs/id"},
        **_prose(),
        "on": _mapping(on, "segment"),
        "channel": {"enum": ["webhook", "email"]},
        "target": {"anyOf": [_TEXT, _mapping({"trait": _TEXT}, "trait")]},
        "secret": {"type": "string", "description": "webhook: NAME of TIDEGATE_SECRET_NAME in the environment"},
        "template": {"anyOf": [_TEXT, parts]},
        "traits": {"type": "array", "items": _TEXT},
        "max_age": _DURATION,
    }
    return _mapping(properties, "id", "on", "channel", "target")


def definition_file() -> Schema:
    """The schema."""
    number = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$"}]}
    return {
        "title": "Segments and rules",
        "type": "object",
        "properties": {
            "segments": {"type": "array", "items": {"$ref": "#/$defs/segment"}},
            "rules": {"type": "array", "items": {"$ref": "#/$defs/rule"}},
        },
        "additionalProperties": False,
        "anyOf": [{"required": ["segments"]}, {"required": ["rules"]}],
        "$defs": {
            "id": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,63}$"},
            "duration": {"type": "string", "pattern": r"^(?=.)(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$"},
            "instant": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?$"},
            "number": number,
            "scalar": {"anyOf": [_TEXT, {"type": "number"}, {"type": "boolean"}]},
            "where": _where(),
            "condition": _condition(),
            "segment": _segment(),
            "rule": _rule(),
        },
    }
