"""What fields an event has: traits and properties by dotted path, with type, source and a sample. Pure.

Absent is what the language has as absent, but for null, which says that somebody sends the field: empty text is no field.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

import orjson

from schemas.events import Event
from schemas.instants import parse_local

Kind = Literal["trait", "property"]

# levels of objects: `a.b.c.d` is the deepest path; what is below is the object's own matter
DEPTH_MAX: Final = 4
SAMPLE_CHARACTERS_MAX: Final = 80
NAME_CHARACTERS_MAX: Final = 200
SOURCE_CHARACTERS_MAX: Final = 64
# of one event; who has more uses keys as values
EVENT_FIELDS_MAX: Final = 500
LEFT_OUT_MAX: Final = 1_000
CUT: Final = "…"
_TYPES: Final = {
    type(None): "null",
    bool: "boolean",
    int: "number",
    float: "number",
    list: "array",
    dict: "object",
}


class Field(NamedTuple):
    """A trait, or a property of the events of a name (`event`, empty for a trait); `path` is dotted."""

    kind: Kind
    event: str
    path: str


class Entry:
    """What was gathered of a field: when it came last by source and type, and the last value with whose it was (None: null)."""

    __slots__ = ("sample", "seen")

    def __init__(self) -> None:
        self.seen: dict[tuple[str, str], int] = {}
        self.sample: tuple[Any, str, int] | None = None


class Gathered:
    """The fields of events, one after another.

    `forgotten`: contacts of which no sample may be kept that came by then (epoch ms); None: none that was kept before.
    `left_out`: fields that can't be kept, their names cut; at most `LEFT_OUT_MAX`. `count`: how many there are.
    """

    def __init__(self) -> None:
        self.forgotten: dict[str, int | None] = {}
        self.left_out: set[Field] = set()
        self.count = 0
        self._entries: dict[tuple[Kind, str], dict[str, Entry]] = {}

    def add(self, event: Event, topic: str, at_ms: int) -> None:
        """Takes an event that came at `at_ms` by `topic`; never raises."""
        if event.type == "delete":
            self.forgotten[event.contact] = max(at_ms, self.forgotten.get(event.contact) or 0)
            return
        if event.links is not None:  # whoever deletes the one won't name the other
            self.forgotten.setdefault(event.links, None)
        source = source_of(event.context, topic)
        if event.traits:
            self._add("trait", "", event.traits, source, event.contact, at_ms)
        if event.properties and event.name is not None:
            self._add("property", event.name, event.properties, source, event.contact, at_ms)

    def entries(self) -> Iterator[tuple[Field, Entry]]:
        """All fields; the samples are without those of contacts that are forgotten."""
        for (kind, event), entries in self._entries.items():
            for path, entry in entries.items():
                if entry.sample is not None and self._is_forgotten(*entry.sample):
                    entry.sample = None
                yield Field(kind, event, path), entry

    def _is_forgotten(self, _: Any, contact: str, at_ms: int) -> bool:
        by_ms = self.forgotten.get(contact, -1)
        return by_ms is None or at_ms <= by_ms

    def _add(self, kind: Kind, event: str, fields: Mapping[str, Any], source: str, contact: str, at_ms: int) -> None:
        entries = self._entries.get((kind, event))
        if entries is None:
            entries = self._entries[kind, event] = {}
        found = paths(fields)
        if len(found) > EVENT_FIELDS_MAX:
            self._leave_out(kind, event, found[EVENT_FIELDS_MAX][0])
        for path, value in found[:EVENT_FIELDS_MAX]:
            entry = entries.get(path)
            if entry is None:
                if len(path) > NAME_CHARACTERS_MAX or len(event) > NAME_CHARACTERS_MAX:
                    self._leave_out(kind, event, path)
                    continue
                entry = entries[path] = Entry()
                self.count += 1
            key = (source, type_of(value))
            if at_ms > entry.seen.get(key, -1):
                entry.seen[key] = at_ms
            if value is not None:
                entry.sample = (value, contact, at_ms)

    def _leave_out(self, kind: Kind, event: str, path: str) -> None:
        if len(self.left_out) < LEFT_OUT_MAX:
            self.left_out.add(Field(kind, event[:NAME_CHARACTERS_MAX], path[:NAME_CHARACTERS_MAX]))


def paths(fields: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Each dotted path and its value, an object's before those in it; arrays are not gone into.

    At most `EVENT_FIELDS_MAX` and one, which says that there are more.
    """
    found: list[tuple[str, Any]] = []
    _collect(found, fields, "", DEPTH_MAX)
    return found


def _collect(found: list[tuple[str, Any]], fields: Mapping[str, Any], stem: str, levels: int) -> None:
    for key, value in fields.items():
        if len(found) > EVENT_FIELDS_MAX:
            return
        if value == "":
            continue
        path = stem + key
        found.append((path, value))
        if levels > 1 and type(value) is dict:
            _collect(found, value, path + ".", levels - 1)


def type_of(value: Any) -> str:
    """`text`, `number`, `boolean`, `instant` (ISO 8601 text), `array`, `object` or `null`."""
    found = _TYPES.get(type(value))
    if found is not None:
        return found
    # a look at one character spares nearly all texts the reading
    return "instant" if value[4:5] == "-" and parse_local(value) is not None else "text"


def source_of(context: Mapping[str, Any], topic: str) -> str:
    """Who sends: `context.source`, else the name of its library, else the topic (without prefix) that it came by."""
    found = context.get("source")
    if type(found) is not str or not found:
        library = context.get("library")
        found = library.get("name") if type(library) is dict else None
    return found[:SOURCE_CHARACTERS_MAX] if type(found) is str and found else topic


def sample_text(value: Any) -> str:
    """A value for people, cut: text as it is, all else as JSON."""
    text: str = value if type(value) is str else orjson.dumps(value).decode()
    return text if len(text) <= SAMPLE_CHARACTERS_MAX else text[: SAMPLE_CHARACTERS_MAX - 1] + CUT
