"""What predicates and leaves see of a contact: its traits, its clock, its zone, and where to say what they kept."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from segments.calendar import Zone, zone
from segments.conditions import Tz
from segments.values import reader, splits

# by default: matching events kept one by one for a contact and condition, and values of `by`, `distinct` and `per`
EVENTS_KEPT_MAX = 10_000
VALUES_KEPT_MAX = 10_000

TIMEZONE = "timezone"

# the ways a trait's path may be taken: a top-level key, and what reads the rest of the path in its value (None: no rest)
TraitWays = tuple[tuple[str, Callable[[Mapping[str, Any]], Any] | None], ...]


class Contact(Protocol):
    """A contact's state, as far as predicates and leaves go.

    `traits`: `key: [value, written_at_ms]`, the value None where it is cleared. `clock_ms`: its clock. `first_ms`: the
    time of its first event. `contact`: its id. Leaves add to two counters: `bytes_estimated`, what they have kept beside
    times, at most, once encoded; `limits_passed`, how often a limit made them drop something.
    """

    traits: dict[str, list[Any]]
    clock_ms: int
    first_ms: int
    contact: str
    bytes_estimated: int
    limits_passed: int


def drop_oldest(entries: list[Any], most: int, contact: Contact) -> None:
    """Drop from the start, where the oldest stand, what is more than `most`; never silent."""
    over = len(entries) - most
    if over > 0:
        contact.limits_passed += over
        del entries[:over]


def trait_ways(path: str) -> TraitWays:
    """The ways of a path into a contact's traits, longest key first."""
    return tuple((key, None if rest is None else reader(rest)) for key, rest in splits(path))


def trait_keys(path: str) -> frozenset[str]:
    """The top-level traits that a path may lead through."""
    return frozenset(key for key, _ in splits(path))


def find_trait(traits: Mapping[str, list[Any]], ways: TraitWays) -> Any:
    """The value that the ways of a path lead to in a contact's traits, None where it is absent."""
    for key, rest in ways:
        entry = traits.get(key)
        if entry is None:
            continue
        value = entry[0]
        if value is None:
            continue
        if rest is None:
            return value
        if type(value) is dict:
            found = rest(value)
            if found is not None:
                return found
    return None


def zone_of(tz: Tz, contact: Contact) -> Zone:
    """The zone that a `tz` means for a contact now: its `timezone` trait where asked for and an IANA name, else `tz.name`."""
    if tz.contact:
        entry = contact.traits.get(TIMEZONE)
        if entry is not None and type(entry[0]) is str:
            found = zone(entry[0])
            if found is not None:
                return found
    return named_zone(tz.name)


def named_zone(name: str) -> Zone:
    """The zone of a name that a definition was checked to have right."""
    found = zone(name)
    assert found is not None, f"expected an IANA zone in a checked definition, got {name!r}"
    return found


def fixed_zone(tz: Tz) -> Zone | None:
    """The zone of a `tz` that is the same for all contacts, else None."""
    return None if tz.contact else named_zone(tz.name)
