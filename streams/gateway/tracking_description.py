"""How the calls of the tracking API stand in OpenAPI. The handlers read raw bodies, so this is said by hand."""

from typing import Any, Final

_TEXT: Final = {"type": "string"}
_OBJECT: Final = {"type": "object"}
_TIME: Final = {
    "description": "ISO 8601 with offset, or epoch ms",
    "oneOf": [{"type": "string", "format": "date-time"}, {"type": "integer"}],
}
_SHARED: Final = {
    "userId": _TEXT,
    "anonymousId": _TEXT,
    "messageId": _TEXT,
    "timestamp": _TIME,
    "sentAt": _TIME,
    "context": _OBJECT,
    "integrations": _OBJECT,
    "writeKey": {"type": "string", "description": "where HTTP Basic has none"},
}
_OWN: Final[dict[str, dict[str, Any]]] = {
    "identify": {"traits": _OBJECT},
    "track": {"event": _TEXT, "properties": _OBJECT},
    "page": {"name": _TEXT, "properties": _OBJECT},
    "screen": {"name": _TEXT, "properties": _OBJECT},
    "group": {"groupId": _TEXT, "traits": _OBJECT},
    "alias": {"previousId": _TEXT},
}
_BATCH: Final = {
    "type": "object",
    "required": ["batch"],
    "properties": {
        "batch": {
            "type": "array",
            "items": {"type": "object", "properties": {"type": {"enum": list(_OWN)}, **_SHARED}},
            "description": "at most 2,500 events of at most 32 KiB each, 500 KiB in all",
        },
        **{name: _SHARED[name] for name in ("sentAt", "context", "integrations", "writeKey")},
    },
}
_ANSWER: Final = {
    "type": "object",
    "required": ["success"],
    "properties": {"success": {"type": "boolean"}, "code": _TEXT, "message": _TEXT},
}
_MEANING: Final = {
    200: "Kafka has it; events that can't be taken are in `rejected`",
    400: "Too large, or no JSON",
    401: "No write key, or an unknown one",
    403: "From a page of another origin than the connection's",
    408: "The body did not come in time",
    429: "Kafka is slow: again after `Retry-After` seconds",
    503: "Kafka is away: again after `Retry-After` seconds",
}
_RESPONSES: Final = {
    status: {"description": text, "content": {"application/json": {"schema": _ANSWER}}}
    for status, text in _MEANING.items()
}


def _described(summary: str, schema: dict[str, Any]) -> dict[str, Any]:
    content = {kind: {"schema": schema} for kind in ("application/json", "text/plain")}
    extra = {"requestBody": {"required": True, "content": content}, "security": [{"writeKey": []}, {}]}
    return {"summary": summary, "responses": _RESPONSES, "openapi_extra": extra}


def _single(name: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {**_SHARED, **_OWN[name]}}
    return _described(f"One {name} event", schema)


# the keyword arguments of each route, the one that is called most first
DESCRIPTIONS: Final[dict[str, dict[str, Any]]] = {
    "batch": _described("Events of any kind", _BATCH),
    "track": _single("track"),
    "identify": _single("identify"),
    "page": _single("page"),
    "screen": _single("screen"),
    "group": _single("group"),
    "alias": _single("alias"),
    "import": _described("Events of the past: they fire no rule and begin no sequence", _BATCH),
}
SECURITY: Final = {"writeKey": {"type": "http", "scheme": "basic", "description": "The write key as user, no password"}}
