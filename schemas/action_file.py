"""JSON Schemas of what acts on transitions, rules and sequences, and of the policies that hold for all of it."""

from typing import Any, Final

from schemas.deliveries import CHANNELS
from schemas.schema_parts import CONDITION, DURATION, ID, TEXT, TZ, Schema, list_of, mapping, prose
from schemas.transitions import CAUSES

_STEPS: Final[Schema] = {"type": "array", "items": {"$ref": "#/$defs/step"}}
_DIRECTION: Final[Schema] = {"enum": ["entered", "left"]}
_GROUP: Final[Schema] = {"type": "string", "description": "message group, for consent and the unsubscribe link"}
_WEEKDAYS: Final[Schema] = list_of({"enum": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]})
# a duration of a second at least
_WAIT: Final[Schema] = {
    "allOf": [DURATION, {"type": "string", "pattern": r"[1-9]\d*([wdhs]|m(?!s))|[1-9]\d{3,}ms"}],
    "description": "a duration from 1s to 366d",
}
_SIGNED: Final[Schema] = {"type": "string", "pattern": r"^[+-]?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$"}


def _on() -> Schema:
    on = {"segment": ID, "transition": _DIRECTION, "causes": list_of({"enum": list(CAUSES)})}
    return mapping(on, "segment")


def _message() -> Schema:
    """Properties of a message."""
    parts = mapping({"subject": TEXT, "text": TEXT, "html": TEXT}, "text")
    return {
        "channel": {"enum": list(CHANNELS)},
        "target": {"anyOf": [TEXT, mapping({"trait": TEXT}, "trait")]},
        "secret": {
            "type": "string",
            "description": "webhook, slack, sms, segment: NAME of TIDEGATE_SECRET_NAME in the environment",
        },
        "from": {"type": "string", "description": "sms: a number, a sender's name, or the sid of a messaging service"},
        "event": {"type": "string", "description": "segment: name of the track call"},
        "group": _GROUP,
        "template": {"anyOf": [TEXT, parts]},
        "traits": {"type": "array", "items": TEXT},
        "max_age": DURATION,
    }


def rule() -> Schema:
    """A rule."""
    identify = {"type": "boolean", "description": "segment: the membership as a trait, too"}
    return mapping({"id": ID, **prose(), "on": _on(), **_message(), "identify": identify}, "id", "on", "channel")


def _asked(beside: Schema, **more: Any) -> Schema:
    """A segment by its id or a condition in place, and what may stand beside either."""
    named = mapping({"segment": ID, **beside}, "segment", **more)
    return {"anyOf": [named, mapping({"when": CONDITION, **beside}, "when", **more)]}


def _wait() -> Schema:
    clock = {"until": {"type": "string", "pattern": r"^([01]\d|2[0-3]):[0-5]\d$"}, "weekdays": _WEEKDAYS, "tz": TZ}
    date = {"until": mapping({"trait": TEXT}, "trait"), "offset": _SIGNED, "tz": TZ, "else": _STEPS}
    return {"anyOf": [_WAIT, mapping(clock, "until"), mapping(date, "until")]}


def _split() -> Schema:
    share = {"name": ID, "percent": {"type": "number", "minimum": 0, "maximum": 100}}
    led = mapping({**share, "steps": _STEPS, "holdout": {"const": False}}, "name", "percent")
    held_out = mapping({**share, "holdout": {"const": True}}, "name", "percent", "holdout")
    paths = {**list_of({"anyOf": [led, held_out]}), "maxItems": 100}
    return mapping({"name": ID, "salt": TEXT, "paths": paths}, "paths")


def _set() -> Schema:
    traits = mapping({"traits": {"type": "object", "minProperties": 1}}, "traits")
    listed = mapping({"list": TEXT, "action": {"enum": ["added", "removed"]}}, "list", "action")
    return {"anyOf": [traits, listed]}


def step() -> Schema:
    """A step of a sequence."""
    after = {"then": _STEPS, "else": _STEPS}
    kinds = {
        "send": mapping({**_message(), "transactional": {"type": "boolean"}}, "channel"),
        "wait": _wait(),
        "wait_for": _asked(
            {"transition": _DIRECTION, "timeout": _WAIT, **after}, dependentRequired={"else": ["timeout"]}
        ),
        "branch": mapping({"if": CONDITION, **after}, "if", minProperties=2),
        "set": _set(),
        "end": {"const": True},
    }
    named = [mapping({kind: body, "name": ID}, kind) for kind, body in kinds.items()]
    return {"anyOf": [{"const": "end"}, *named, mapping({"split": _split()}, "split")]}


def sequence() -> Schema:
    """A sequence."""
    again = [{"enum": ["once", "every_time", "per_key"]}, mapping({"cooldown": DURATION}, "cooldown")]
    exit_ = _asked({"transition": _DIRECTION})
    properties = {
        "id": ID,
        **prose(),
        "on": _on(),
        "again": {"anyOf": again},
        "existing": {"type": "boolean", "description": "also for those who are members when it comes into force"},
        "while": CONDITION,
        "goal": _asked({"ends": {"type": "boolean"}}),
        "exit": {"anyOf": [exit_, {**list_of(exit_), "maxItems": 16}]},
        "max_age": DURATION,
        "group": _GROUP,
        "tz": TZ,
        "steps": _STEPS,
    }
    return mapping(properties, "id", "on", "steps")


def policy() -> Schema:
    """A policy."""
    clock = {"type": "string", "pattern": r"^([01]\d|2[0-3]):[0-5]\d$"}
    channel, then = {"enum": list(CHANNELS)}, {"enum": ["drop", "later"]}
    above = {"type": "integer", "minimum": 1}
    cap = {"channel": channel, "group": _GROUP, "at_most": above, "within": DURATION, "then": then}
    quiet = {"from": clock, "to": clock, "tz": TZ, "then": then, "channels": list_of(channel)}
    rate = {"channel": channel, "host": TEXT, "per_second": {"type": "number", "exclusiveMinimum": 0}, "burst": above}
    properties = {
        "id": ID,
        **prose(),
        "consent": {"enum": ["assumed", "explicit"]},
        "caps": list_of(mapping(cap, "at_most", "within")),
        "quiet_hours": mapping(quiet, "from", "to"),
        "rates": list_of(mapping(rate, "channel", "per_second")),
        "tz": TZ,
    }
    return mapping(properties, "id")
