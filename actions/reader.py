"""What rules and sequences have in common as they are written: ids, transitions, durations; and what each error says."""

import difflib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol, TypeGuard, TypeVar, cast, get_args

from actions.errors import RuleErrors
from schemas.instants import DURATION_MS_MAX, parse_duration
from schemas.transitions import CAUSES, Cause, Direction
from segments.errors import DefinitionErrors
from segments.read import read_text

ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
CAUSES_BY_DEFAULT: tuple[Cause, ...] = ("event", "timer")
DESCRIPTIVE = ("name", "description", "tags", "owner")
MAX_AGE = "1d"
# what stands where a segment is named
ON = "{segment: ID}"


class Named(Protocol):
    """What is read: it has an id."""

    @property
    def id(self) -> str:
        """Unique among those of its kind."""


T = TypeVar("T", bound=Named)


def written_under(key: str, text: str, name: str) -> list[Any]:
    """The list under `key` of a file's text, empty where there is none; its other keys are not looked at.

    Raises `RuleErrors`.
    """
    try:
        document = read_text(text, name)
    except DefinitionErrors as error:
        raise RuleErrors(error.errors) from None
    if not isinstance(document, dict):
        raise RuleErrors([f"{name}: expected a mapping, got {short(document)} - at $"])
    if key not in document:
        return []
    written = document[key]
    if not isinstance(written, list) or not written:
        raise RuleErrors([f"{name}: expected a list of {key}, got {short(written)} - at $.{key}"])
    return written


def read_each(
    kind: str, key: str, text: str, name: str, templates: Path | None, read: "Callable[[Reader, Any], T | None]"
) -> tuple[tuple[T, ...], list[str]]:
    """What `read` makes of each of the list under `key` of a file's text, and every error of it.

    `kind` is what errors call one; `read` returns None with something in the reader's `errors`. Raises `RuleErrors`.
    """
    found: dict[str, T] = {}
    errors: list[str] = []
    for at, body in enumerate(written_under(key, text, name)):
        reader = Reader(f"{name}: ", f"$.{key}[{at}]", templates)
        one = read(reader, body)
        if one is not None and one.id in found:
            errors.append(f"{kind} {one.id!r}: expected an id of its own, got it twice - at $.id")
        elif one is not None:
            found[one.id] = one
        errors.extend(reader.errors)
    return tuple(found.values()), errors


class Reader:
    """Reads one rule or sequence: what is wrong with it gathers in `errors`, each with the path of its place.

    `templates`: directory of those that are named; None: they stand in place.
    """

    def __init__(self, file: str, path: str, templates: Path | None) -> None:
        self.errors: list[str] = []
        self.templates = templates
        self._where, self._root = file, path

    def id(self, body: dict[str, Any], kind: str) -> str:
        """The id of a `kind`; where it has one, paths begin at itself from now on."""
        id = body.get("id")
        if not isinstance(id, str) or not ID.fullmatch(id):
            self.error("an id of small letters, digits, `.`, `_` and `-`, 64 at most", id, ".id")
            return ""
        self._where, self._root = f"{kind} {id!r}: ", "$"
        return id

    def descriptive(self, body: dict[str, Any]) -> None:
        """Checks what is there for people alone."""
        for key in ("name", "description", "owner"):
            if key in body and not isinstance(body[key], str):
                self.error("text", body[key], f".{key}")
        tags = body.get("tags", [])
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            self.error("a list of words", tags, ".tags")

    def on(self, body: dict[str, Any]) -> tuple[str, Direction, frozenset[Cause]]:
        """Segment, direction and causes of the transitions under `on`."""
        on = body.get("on")
        if not self.is_mapping(on, ".on", ON):
            return "", "entered", frozenset()
        self.keys(on, ("segment", "transition", "causes"), ".on")
        segment = self.segment(on, ".on")
        causes = on.get("causes", list(CAUSES_BY_DEFAULT))
        direction = self.direction(on, "entered", ".on")
        if not isinstance(causes, list) or not causes:
            self.error("a list of causes", causes, ".on.causes")
            causes = []
        for at, cause in enumerate(causes):
            if cause not in CAUSES:
                self.error("one of " + " ".join(CAUSES), cause, f".on.causes[{at}]", CAUSES)
        return segment, direction, frozenset(cause for cause in causes if cause in CAUSES)

    def segment(self, mapping: dict[str, Any], path: str) -> str:
        """The id under `segment`."""
        segment = mapping.get("segment")
        if isinstance(segment, str) and ID.fullmatch(segment):
            return segment
        self.error("the id of a segment", segment, f"{path}.segment")
        return ""

    def direction(self, mapping: dict[str, Any], default: Direction, path: str) -> Direction:
        """What stands under `transition`."""
        found = self.choice({"transition": default} | mapping, "transition", get_args(Direction), path)
        return cast(Direction, found or default)

    def duration(
        self,
        found: Any,
        path: str,
        *,
        ms_min: int = 1,
        ms_max: int = DURATION_MS_MAX,
        expected: str = "a duration such as 30m, 1d or 1d12h",
    ) -> int:
        """Milliseconds, from `ms_min` to `ms_max`, both included; of no use with an error."""
        duration_ms = parse_duration(found) if isinstance(found, str) else None
        if duration_ms is None or not ms_min <= duration_ms <= ms_max:
            self.error(expected, found, path)
        return duration_ms or 0

    def boolean(self, mapping: dict[str, Any], key: str, path: str, *, default: bool = False) -> bool:
        """What stands under `key`."""
        found = mapping.get(key, default)
        if not isinstance(found, bool):
            self.error("true or false", found, f"{path}.{key}")
        return found is True

    def choice(self, mapping: dict[str, Any], key: str, choices: tuple[str, ...], path: str) -> str:
        """What stands under `key`, which is one of `choices`; "" with an error."""
        found = mapping.get(key)
        if found in choices:
            return str(found)
        self.error(" or ".join(choices), found, f"{path}.{key}", choices)
        return ""

    def is_mapping(self, value: Any, path: str, expected: str = "a mapping") -> TypeGuard[dict[str, Any]]:
        """Whether it is one, with an error where it is not."""
        if isinstance(value, dict):
            return True
        self.error(expected, value, path)
        return False

    def keys(self, mapping: dict[str, Any], known: tuple[str, ...], path: str) -> None:
        """Adds an error for each key that is none of `known`."""
        for key in mapping:
            if key not in known:
                self.say(f"unknown key {short(key)}{close(str(key), known)}, expected one of {' '.join(known)}", path)

    def error(self, expected: str, found: Any, path: str, near: tuple[str, ...] = ()) -> None:
        """Adds `expected …, got …`; `near`: words of which `found` may be a slip."""
        hint = close(found, near) if isinstance(found, str) else ""
        self.say(f"expected {expected}, got {short(found)}{hint}", path)

    def say(self, sentence: str, path: str) -> None:
        """Adds an error at `path`, which begins at the rule or sequence itself."""
        self.errors.append(f"{self._where}{sentence} - at {self._root}{path}")


def close(name: str, names: Iterable[str]) -> str:
    """` (did you mean 'x'?)` where one of `names` is spelled much like `name`, else nothing."""
    found = difflib.get_close_matches(name, list(names), 1)
    return f" (did you mean {found[0]!r}?)" if found else ""


def short(value: Any) -> str:
    """A value as an error shows it."""
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
