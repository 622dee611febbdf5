"""JSON Schemas of all that is on the topics, made from the Structs: `python -m schemas.jsonschema` writes them anew.

They are in `schemas/json/`, for publishers and subscribers that want to check what they send and get; `tidegate schemas`
prints them. A test keeps them fresh, and holds the one of events to `parse_event`. `asyncapi.py` puts them together.
"""

from pathlib import Path
from typing import Any, Final

import msgspec

from schemas.definition_file import definition_file
from schemas.definitions import DefinitionRecord, RevisionRecord
from schemas.deliveries import Delivery, Outcome
from schemas.erasures import Receipt
from schemas.event_structs import EVENT_STRUCTS
from schemas.instants import INSTANT_MS_MAX, INSTANT_MS_MIN
from schemas.rejected import Reason, rejection_headers
from schemas.transitions import ContactRecord, MembershipRecord, TransitionRecord

Schema = dict[str, Any]

FOLDER: Final = Path(__file__).parent / "json"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_STRUCTS: Final[dict[str, Any]] = {
    "transition": TransitionRecord,
    "membership": MembershipRecord,
    "contact": ContactRecord,
    "definition": DefinitionRecord,
    "revision": RevisionRecord,
    "delivery": Delivery,
    "outcome": Outcome,
    "erasure": Receipt,
}
# null and "" are missing, in every field (language page, section 1)
_MISSING: Final = [{"type": "null"}, {"const": ""}]
_INSTANT: Final[Schema] = {
    "anyOf": [
        {"type": "string", "pattern": r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)$"},
        {"type": "number", "minimum": INSTANT_MS_MIN, "maximum": INSTANT_MS_MAX},
        *_MISSING,
    ],
    "description": "ISO 8601 with offset, or epoch milliseconds",
}


def schemas() -> dict[str, Schema]:
    """All schemas by name, which is also that of their file without `.json`."""
    made = {"event": _event(), **{name: _of(struct) for name, struct in _STRUCTS.items()}}
    made |= {"rejected-headers": _rejected_headers(), "segments": definition_file()}
    return {name: {"$schema": _DIALECT, **schema} for name, schema in made.items()}


def text_of(schema: Schema) -> str:
    """A schema as it is written to its file."""
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"


def _of(struct: Any) -> Schema:
    schema = msgspec.json.schema(struct)
    # one struct's own schema stands behind a reference, the structs within it beside it
    definitions = schema.pop("$defs")
    own: Schema = definitions.pop(schema["$ref"].rpartition("/")[2])
    return {**own, "$defs": definitions} if definitions else own


def _event() -> Schema:
    """What the Structs say, and what they can't: a contact under one of two names, and missing in three spellings."""
    (_, definitions) = msgspec.json.schema_components(EVENT_STRUCTS, ref_template="#/$defs/{name}")
    for definition in definitions.values():
        definition["properties"] = {name: _field(name, field) for name, field in definition["properties"].items()}
    return {
        "title": "Event",
        "anyOf": [{"$ref": f"#/$defs/{struct.__name__}"} for struct in EVENT_STRUCTS],
        "allOf": [{"$ref": "#/$defs/Named"}],
        "$defs": {**definitions, "Named": _named()},
    }


def _named() -> Schema:
    text = {"type": "string", "minLength": 1, "maxLength": 1024}
    return {
        "description": "the contact: `userId`, or `anonymousId` where that is missing",
        "anyOf": [
            {"properties": {"userId": text}, "required": ["userId"]},
            {"properties": {"userId": {"anyOf": _MISSING}, "anonymousId": text}, "required": ["anonymousId"]},
        ],
    }


def _field(name: str, field: Schema) -> Schema:
    about = {"description": field["description"]} if "description" in field else {}
    if name in ("timestamp", "receivedAt"):
        return {**_INSTANT, **about}
    if name in ("userId", "anonymousId", "messageId"):
        # the first two: `Named`; a messageId of another kind makes nothing a duplicate, and nothing wrong
        return about
    if name in ("properties", "traits"):
        return {"anyOf": [{"type": "object"}, *_MISSING], **about}
    if name == "context":
        traits = {"anyOf": [{"type": "object"}, *_MISSING]}
        return {"anyOf": [{"type": "object", "properties": {"traits": traits}}, *_MISSING], **about}
    return field


def _rejected_headers() -> Schema:
    """The headers of a record of `rejected`, as text; its value is the original's bytes."""
    number = {"type": "string", "pattern": r"^\d+$"}
    known = {"reason": {"enum": [str(reason) for reason in Reason]}, "sentence": {"type": "string", "maxLength": 1000}}
    names = [name for name, _ in rejection_headers(Reason.FAILED, "", "", 0, 0, 0)]
    return {
        "title": "Headers of a rejected record",
        "type": "object",
        "properties": {name: known.get(name, {"type": "string"} if name == "topic" else number) for name in names},
        "required": names,
    }


def main() -> None:
    """Writes every schema to its file, and the AsyncAPI document that has them in it."""
    from schemas.asyncapi import documents  # which is made of what is here

    FOLDER.mkdir(exist_ok=True)
    for name, schema in documents().items():
        (FOLDER / f"{name}.json").write_text(text_of(schema), "utf-8")


if __name__ == "__main__":
    main()
