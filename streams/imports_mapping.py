"""Mappings: what the rows of a file of the past are, as YAML says it (deploy/README.md, "Importing the past").

All errors of a mapping are found at once, each with its path; what only the file can tell (its columns) is checked by
`imports_events.py`.
"""

import codecs
import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from actions.reader import Reader
from segments.calendar import Zone, zone, zone_names
from segments.errors import DefinitionErrors
from segments.read import read_text
from streams.imports_values import EPOCH_FORMATS, says_a_day

FORMATS = ("csv", "jsonl")
TYPES = ("track", "identify", "page", "screen", "group", "alias", "list")
# what a type of event can't be without, beside a contact
NEEDED = {"track": ("event",), "group": ("groupId",), "alias": ("previousId",), "list": ("list", "action")}
KINDS = ("text", "number", "boolean", "instant", "list", "json")
TESTS = ("exists", "eq", "ne", "in", "prefix")

# plain text is itself in these, and a column's name everywhere else
_TEXTS = ("type", "event", "name", "groupId", "list", "action")
_NAMES = ("userId", "anonymousId", "previousId", "messageId")
_VALUES = ("properties", "traits")
_FILE = ("id", "format", "encoding", "delimiter", "header", "empty", "skip", "rest", "leave_out")
_KEYS = (*_FILE, *_TEXTS, *_NAMES, "timestamp", *_VALUES)
_TEXT_KEYS = ("column", "values", "else")
_NAME_KEYS = ("column", "prefix", "lower")
_TIME_KEYS = ("column", "format", "zone")
_VALUE_KEYS = ("column", "value", "type", "values", "else", "format", "zone", "decimal", "separator", "lower", "prefix")
# ids are text also where a file of JSON has numbers
_TYPES = {**dict.fromkeys(_NAMES, "text"), "timestamp": "instant"}
# what goes with one kind of value only
_OF_KINDS = {
    "format": ("instant",),
    "zone": ("instant",),
    "decimal": ("number",),
    "separator": ("list",),
    "prefix": ("text", None),
    "lower": ("text", None),
}


@dataclass(frozen=True)
class Value:
    """Where a value comes from: `column`, or `constant` where that is None. `path` is its place in the mapping.

    `type`: one of `KINDS`, None leaves JSON as it is and makes text of a cell. `values` by the cell's text, `otherwise`
    for all others (None: there may be none). `format`, `zone`: of instants; None is ISO 8601, and UTC as the offset says.
    """

    path: str
    column: str | None
    constant: Any = None
    type: str | None = None
    values: dict[str, Any] | None = None
    otherwise: Any = None
    prefix: str = ""
    lower: bool = False
    format: str | None = None
    zone: Zone | None = None
    decimal: str = "."
    separator: str = ","


@dataclass(frozen=True)
class Test:
    """A test of a column by which a row is left out: `kind` is one of `TESTS`, `expected` what it asks for."""

    path: str
    column: str
    kind: str
    expected: Any


@dataclass(frozen=True)
class Mapping:
    """What each row of a file becomes; `digest` tells one version of it from another.

    `fields` are those of the event itself by name. `format`, `delimiter`: None where the file's name says it. `header`:
    the columns where the file's first line doesn't name them. `empty`: texts that are no value. `rest`: whether columns
    that are named nowhere, and not in `leave_out`, become `properties` or `traits`. `repeatable`: what is published again
    changes nothing, however much later.
    """

    id: str
    digest: str
    fields: dict[str, Value]
    properties: dict[str, Value]
    traits: dict[str, Value]
    format: str | None = None
    encoding: str = "utf-8"
    delimiter: str | None = None
    header: tuple[str, ...] | None = None
    empty: frozenset[str] = frozenset({""})
    skip: tuple[Test, ...] = ()
    rest: str | None = None
    leave_out: frozenset[str] = frozenset()
    repeatable: bool = False

    def columns(self) -> dict[str, str]:
        """The columns that are asked for, each with a path where it is."""
        values = [*self.fields.values(), *self.properties.values(), *self.traits.values()]
        found = [(value.column, value.path) for value in values if value.column is not None]
        found += [(test.column, test.path) for test in self.skip]
        return dict(reversed(found))


def read_mapping(text: str, name: str) -> Mapping:
    """The mapping that `text` says; raises `DefinitionErrors` with all that is wrong, lines that begin with `name`."""
    body = read_text(text, name)
    if not isinstance(body, dict):
        raise DefinitionErrors([f"{name}: expected a mapping with `id`, `type`, `userId` …, got something else - at $"])
    reading = _Reading(Reader(f"{name}: ", "$", None), body)
    mapping = reading.mapping()
    if reading.reader.errors:
        raise DefinitionErrors(reading.reader.errors)
    return mapping


class _Reading:
    """One mapping being read; what is wrong with it gathers in the reader's `errors`."""

    def __init__(self, reader: Reader, body: dict[str, Any]) -> None:
        self.reader = reader
        self._body = body

    def mapping(self) -> Mapping:
        """The mapping; of no use with an error."""
        body, reader = self._body, self.reader
        id = reader.id(body, "mapping")
        reader.keys(body, _KEYS, "")
        fields = {name: self._text(name) for name in _TEXTS if name in body}
        fields |= {name: self._value(name, f".{name}", body[name], _NAME_KEYS) for name in _NAMES if name in body}
        if "timestamp" in body:
            fields["timestamp"] = self._value("timestamp", ".timestamp", body["timestamp"], _TIME_KEYS)
        self._needed(fields)
        digest = hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()
        return Mapping(
            id=id,
            digest=digest,
            fields=fields,
            properties=self._values("properties"),
            traits=self._values("traits"),
            format=reader.choice(body, "format", FORMATS, "") if "format" in body else None,
            encoding=self._encoding(),
            delimiter=self._character(body, "delimiter", "") if "delimiter" in body else None,
            header=tuple(self._list("header")) if "header" in body else None,
            empty=frozenset(["", *self._list("empty")]),
            skip=tuple(self._tests()),
            rest=reader.choice(body, "rest", _VALUES, "") if "rest" in body else None,
            leave_out=frozenset(self._list("leave_out")),
        )

    def _needed(self, fields: dict[str, Value]) -> None:
        """Errors for what no row could be an event without."""
        say = self.reader.say
        if "type" not in fields:
            say(f"expected `type`: one of {' '.join(TYPES)}, or the column that says it, got nothing", ".type")
        if "userId" not in fields and "anonymousId" not in fields:
            say("expected `userId` or `anonymousId`: the column that says whose each row is, got neither", "")
        type = fields["type"].constant if "type" in fields else None
        for name in NEEDED.get(type, ()) if isinstance(type, str) else ():
            if name not in fields:
                say(f"expected `{name}`, which an event of type {type} has, got nothing", f".{name}")

    def _text(self, name: str) -> Value:
        """A field of the event itself: plain text is what it says."""
        found, path = self._body[name], f".{name}"
        known = TYPES if name == "type" else ()
        if isinstance(found, str) and found:
            if known and found not in known:
                self.reader.error(f"one of {' '.join(known)}", found, path, known)
            return Value(name, None, found)
        value = self._value(name, path, found, _TEXT_KEYS, "text, or {column: NAME}")
        for text in [*(value.values or {}).values(), value.otherwise]:
            if not (text is None or isinstance(text, str)) or (known and text is not None and text not in known):
                self.reader.error(f"one of {' '.join(known)}" if known else "text", text, path, known)
        return value

    def _values(self, key: str) -> dict[str, Value]:
        found = self._body.get(key, {})
        if not self.reader.is_mapping(found, f".{key}", "a mapping of names to columns"):
            return {}
        return {name: self._value(f"{key}.{name}", f".{key}.{name}", each, _VALUE_KEYS) for name, each in found.items()}

    def _value(
        self, name: str, path: str, found: Any, keys: tuple[str, ...], expected: str = "a column, or {column: NAME}"
    ) -> Value:
        """What stands at `path`; plain text is a column."""
        if isinstance(found, str) and found:
            return Value(name, found, type=_TYPES.get(name))
        if not self.reader.is_mapping(found, path, expected):
            return Value(name, "")
        self.reader.keys(found, keys, path)
        if "value" in found:
            if rest := [key for key in found if key != "value"]:
                self.reader.say(f"expected `value` alone, got `{rest[0]}` beside it", path)
            return Value(name, None, found["value"])
        type = self.reader.choice(found, "type", KINDS, path) if "type" in found else None
        type = _TYPES.get(name, type)
        for key, kinds in _OF_KINDS.items():
            if key in found and type not in kinds:
                self.reader.say(f"expected `type: {kinds[0]}` beside `{key}`, got {type or 'none'}", path)
        return Value(
            path=name,
            column=self._column(found, path),
            type=type,
            values=self._choices(found, path),
            otherwise=found.get("else"),
            prefix=self._plain(found, "prefix", path),
            lower=self.reader.boolean(found, "lower", path),
            format=self._format(found, path),
            zone=self._zone(found, path),
            decimal=self.reader.choice(found, "decimal", (".", ","), path) if "decimal" in found else ".",
            separator=self._plain(found, "separator", path) or ",",
        )

    def _column(self, found: dict[str, Any], path: str) -> str:
        column = found.get("column")
        if isinstance(column, str) and column:
            return column
        self.reader.error("the name of a column", column, f"{path}.column")
        return ""

    def _choices(self, found: dict[str, Any], path: str) -> dict[str, Any] | None:
        values = found.get("values")
        if values is None:
            if "else" in found:
                self.reader.say("expected `values` beside `else`, got none", path)
            return None
        return (
            values if self.reader.is_mapping(values, f"{path}.values", "a mapping of a cell's text to values") else None
        )

    def _plain(self, found: dict[str, Any], key: str, path: str) -> str:
        text = found.get(key, "")
        if not isinstance(text, str):
            self.reader.error("text, in quotes", text, f"{path}.{key}")
            return ""
        return text

    def _format(self, found: dict[str, Any], path: str) -> str | None:
        text = self._plain(found, "format", path)
        if text not in ("", "iso", *EPOCH_FORMATS) and not says_a_day(text):
            expected = f"iso, {', '.join(EPOCH_FORMATS)}, or year, month and day as strptime has them (%d.%m.%Y %H:%M)"
            self.reader.error(expected, text, f"{path}.format", EPOCH_FORMATS)
        elif "%Z" in text.replace("%%", ""):
            # Python reads such names and does nothing with them, and which it reads is the machine's matter
            expected = "a format without %Z: %z for +01:00, or the letters as they stand (%H:%M UTC) and `zone`"
            self.reader.error(expected, text, f"{path}.format")
        return None if text in ("", "iso") else text

    def _zone(self, found: dict[str, Any], path: str) -> Zone | None:
        name = found.get("zone")
        if name is None:
            return None
        made = zone(name) if isinstance(name, str) else None
        if made is None:
            self.reader.error(
                "the IANA name of a zone, such as Europe/Berlin", name, f"{path}.zone", tuple(zone_names())
            )
        return made

    def _encoding(self) -> str:
        name = self._body.get("encoding", "utf-8")
        try:
            # lines are found by their bytes
            if (
                isinstance(name, str)
                and bytes(range(128)).decode(codecs.lookup(name).name) == bytes(range(128)).decode()
            ):
                return codecs.lookup(name).name
        except (LookupError, UnicodeError):
            pass
        expected = "an encoding in which ASCII is ASCII, such as utf-8, cp1252 or latin-1 (of others: `iconv -t utf-8`)"
        self.reader.error(expected, name, ".encoding")
        return "utf-8"

    def _character(self, found: dict[str, Any], key: str, path: str) -> str:
        text = found[key]
        if not isinstance(text, str) or len(text) != 1 or text in '"\r\n':
            self.reader.error("one character", text, f"{path}.{key}")
            return ","
        return text

    def _list(self, key: str) -> list[str]:
        found = self._body.get(key, [])
        if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
            self.reader.error("a list of text", found, f".{key}")
            return []
        return found

    def _tests(self) -> list[Test]:
        found = self._body.get("skip", [])
        found = found if isinstance(found, list) else [found]
        return [test for at, each in enumerate(found) if (test := self._test(each, f".skip[{at}]")) is not None]

    def _test(self, found: Any, path: str) -> Test | None:
        if not self.reader.is_mapping(found, path, "{column: NAME} and one of " + " ".join(TESTS)):
            return None
        self.reader.keys(found, ("column", *TESTS), path)
        column = self._column(found, path)
        kinds = [kind for kind in TESTS if kind in found]
        if len(kinds) != 1:
            self.reader.say(f"expected one of {' '.join(TESTS)}, got {' '.join(kinds) or 'none'}", path)
            return None
        kind, expected = kinds[0], found[kinds[0]]
        if kind == "exists":
            self.reader.boolean(found, kind, path)
        elif kind == "in":
            if not isinstance(expected, list) or not all(isinstance(each, str) for each in expected):
                self.reader.error("a list of text, numbers in quotes", expected, f"{path}.in")
        elif not isinstance(expected, str):
            self.reader.error("text, numbers in quotes", expected, f"{path}.{kind}")
        return Test(f"skip {column}", column, kind, expected)
