"""Parameters, as text, to what is asked: those of a report are the options of `tidegate sequences report`."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from actions.report_facts import ValueOf
from schemas.instants import DURATION_MS_MAX, parse_duration, parse_instant
from streams.report import Asked

WINDOW: Final = "30d"
VALUE_PROPERTY: Final = "total"
# each with what it may be
PARAMETERS: Final[Mapping[str, str]] = {
    "window": "what counts, after the entry: a duration such as 12h or 60d",
    "version": "only entries of this version: a whole number from 1",
    "since": "only entries from this instant on: 2026-03-01, or 2026-03-01T09:30:00Z",
    "value": "whose sum a contact's worth is: the name of an event, as `Order Completed`",
    "property": f"its number, with `value`: the path of a property (default: {VALUE_PROPERTY})",
}
# in OpenAPI, what isn't just text
SCHEMAS: Final[Mapping[str, dict[str, Any]]] = {"version": {"type": "integer", "minimum": 1, "maximum": 999_999_999}}
TEXT_LENGTH_MAX: Final = 200
ID_LENGTH_MAX: Final = 64


def question(sequence: str, given: Iterable[tuple[str, str]]) -> Asked:
    """What is asked of `sequence` by the parameters `given`; raises `ValueError` saying what was expected."""
    if len(sequence) > ID_LENGTH_MAX:
        raise ValueError(f"expected the id of a sequence, of at most {ID_LENGTH_MAX} characters, got {len(sequence)}")
    found = once(given, PARAMETERS)
    if "property" in found and "value" not in found:
        raise ValueError("expected `value` beside `property`, got `property` alone")
    value = ValueOf(found["value"], found.get("property", VALUE_PROPERTY)) if "value" in found else None
    since = found.get("since")
    return Asked(
        sequence,
        _window_ms(found.get("window", WINDOW)),
        whole("version", found["version"]) if "version" in found else None,
        None if since is None else _since_ms(since),
        value,
    )


def once(given: Iterable[tuple[str, str]], known: Iterable[str], length_max: int = TEXT_LENGTH_MAX) -> dict[str, str]:
    """The parameters, each of them `known` and there once; raises `ValueError` saying what was expected."""
    known = list(known)
    found: dict[str, str] = {}
    for name, text in given:
        if name not in known:
            raise ValueError(f"expected a parameter out of {', '.join(known)}, got {short(name)}")
        if name in found:
            raise ValueError(f"expected `{name}` once, got it twice")
        if not text or len(text) > length_max:
            raise ValueError(f"expected 1 to {length_max} characters in `{name}`, got {len(text)}")
        found[name] = text
    return found


def _window_ms(text: str) -> int:
    window_ms = parse_duration(text)
    if window_ms is None or window_ms > DURATION_MS_MAX:
        raise ValueError(f"expected a duration such as 12h or 60d in `window`, got {short(text)}")
    return window_ms


def whole(name: str, text: str) -> int:
    """A parameter that is a whole number from 1; raises `ValueError`."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise ValueError(f"expected a whole number from 1 in `{name}`, got {short(text)}")
    return int(text)


def _since_ms(text: str) -> int:
    since_ms = parse_instant(text, offset_required=False)
    if since_ms is None:
        raise ValueError(
            f"expected an instant such as 2026-03-01 or 2026-03-01T09:30:00Z in `since` (`+` is %2B), got {short(text)}"
        )
    return since_ms


def short(text: str) -> str:
    """What somebody sent, as an error shows it."""
    return repr(text) if len(text) <= 80 else f"{text[:80]!r}…"
