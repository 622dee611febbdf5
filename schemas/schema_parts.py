"""Parts that the JSON Schemas of definitions have in common."""

from typing import Any, Final

Schema = dict[str, Any]

TEXT: Final[Schema] = {"type": "string", "minLength": 1}
DURATION: Final[Schema] = {"$ref": "#/$defs/duration"}
CONDITION: Final[Schema] = {"$ref": "#/$defs/condition"}
ID: Final[Schema] = {"$ref": "#/$defs/id"}
TZ: Final[Schema] = {**TEXT, "description": "UTC, an IANA time zone such as Europe/Paris, or contact"}


def mapping(properties: Schema, *required: str, **more: Any) -> Schema:
    """A mapping with these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


def list_of(item: Schema) -> Schema:
    """A list of at least one."""
    return {"type": "array", "minItems": 1, "items": item}


def prose() -> Schema:
    """Properties that are there for people alone."""
    words = {"type": "array", "items": {"type": "string"}}
    return {"name": {"type": "string"}, "description": {"type": "string"}, "owner": {"type": "string"}, "tags": words}
