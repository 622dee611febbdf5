"""Values as the language sees them: absent, numbers, equality, dates, and paths into objects (language page, section 5).

A value is what JSON gives: text, int, float, bool, list, dict; None stands for absent. Numbers are exact decimals of up
to 15 digits, beyond that the shortest decimal of the nearest double; doubles and those decimals are one to one and in
the same order, so numbers are compared as Python compares them, exactly, once integers over 2^53 have become doubles.
"""

import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from schemas.instants import INSTANT_MS_MAX, INSTANT_MS_MIN, parse_local
from segments.calendar import UTC_ZONE, Zone

Number = int | float

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_EXACT_MAX = 2**53
_INFINITY = float("inf")
# up to so many characters a value is its own key, else a digest stands for it
_KEY_CHARACTERS_MAX = 40
# the first character of a digest's key: texts that begin with it are digested too, so no value passes for another
_DIGEST = "\x00"
# below it a number is epoch seconds, from it on epoch ms: 10^11 s is the year 5138, 10^11 ms is March 1973
_SECONDS_BELOW = 10**11


def number(value: Any) -> Number | None:
    """The number that `value` is, or that its text says in JSON's grammar; None for all else, booleans too."""
    kind = type(value)
    if kind is float:
        return value  # type: ignore[no-any-return]
    if kind is int:
        return value if -_EXACT_MAX <= value <= _EXACT_MAX else float(value)
    if kind is str and _NUMBER.fullmatch(value):
        parsed = float(value)
        if parsed in (_INFINITY, -_INFINITY) or (parsed == 0 and not _says_zero(value)):
            return None
        if "." in value or "e" in value or "E" in value:
            return parsed
        return number(int(value))
    return None


def _says_zero(text: str) -> bool:
    """Whether the text of a number has no digit but 0 before its exponent: `1e-400` reads as zero and says another."""
    mantissa = text.lower().partition("e")[0]
    return not mantissa.strip("-0.")


def decimal(value: Number) -> Decimal:
    """The exact decimal of a number: of a double, the shortest that reads as it."""
    return Decimal(value) if type(value) is int else Decimal(repr(value))


def plain(value: Any) -> str | None:
    """Text, number or boolean as text: a number in its shortest plain decimal form (5.0 is `5`); None for all else."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if kind is bool:
        return "true" if value else "false"
    exact = number(value) if kind is int or kind is float else None
    if exact is None:
        return None
    if type(exact) is int:
        return str(exact)
    text = format(decimal(exact), "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def equal(a: Any, b: Any) -> bool:
    """`eq` of two present values: by value, text exactly, text with number or boolean by characters, containers deeply."""
    kind_a, kind_b = type(a), type(b)
    if kind_a is dict or kind_b is dict:
        return kind_a is kind_b and a.keys() == b.keys() and all(_alike(a[key], b[key]) for key in a)
    if kind_a is list or kind_b is list:
        return kind_a is kind_b and len(a) == len(b) and all(map(_alike, a, b))
    if kind_a is str or kind_b is str:
        return plain(a) == plain(b)
    if kind_a is bool or kind_b is bool:
        return a is b
    return number(a) == number(b)


def _alike(a: Any, b: Any) -> bool:
    """Elements of containers: an absent one (null, empty text) equals another absent one only."""
    absent_a, absent_b = a is None or a == "", b is None or b == ""
    return absent_a and absent_b if absent_a or absent_b else equal(a, b)


def eq_key(value: Any) -> str:
    """A text that two present values share exactly if they are `equal`: of at most 40 characters."""
    text = plain(value)
    if text is None:
        return _DIGEST + _digest("c" + _deep(value))
    if len(text) > _KEY_CHARACTERS_MAX or text.startswith(_DIGEST):
        return _DIGEST + _digest("t" + text)
    return text


def keys_of(values: Sequence[Any]) -> set[str | None]:
    """The `eq_key`s of the elements of an array, None among them where one is absent (null or empty text)."""
    return {None if value is None or value == "" else eq_key(value) for value in values}


def key_text(value: Any) -> str | None:
    """The key that a value makes for `per`: text itself, a number in its shortest plain form, `true`, `false`; else None."""
    return None if value == "" else plain(value)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _deep(value: Any) -> str:
    """The canonical text of an element of a container; the lengths in it keep one element from passing for two."""
    if value is None or value == "":
        return "-"
    if type(value) is list:
        return f"[{len(value)}:" + "".join([_deep(item) for item in value])
    if type(value) is dict:
        return f"{{{len(value)}:" + "".join([f"{len(key)}:{key}{_deep(value[key])}" for key in sorted(value)])
    text = plain(value) or ""
    return f"{len(text)}:{text}"


def folded(value: Any) -> Any:
    """The value with all text in it, at any depth but for keys of objects, folded by full Unicode case folding."""
    if type(value) is str:
        return value.casefold()
    if type(value) is list:
        return [folded(item) for item in value]
    if type(value) is dict:
        return {key: folded(item) for key, item in value.items()}
    return value


def instant(value: Any, zone: Zone = UTC_ZONE) -> int | None:
    """Epoch ms of a date: ISO 8601 text (local in `zone` where it names no offset), or a number of seconds or ms; else None.

    Fractions are cut to ms. Text that means an instant outside of the years 1 to 9999 in UTC is none; a number may.
    """
    kind = type(value)
    if kind is str:
        said = parse_local(value)
        if said is None or isinstance(said, int):
            return said
        at_ms = zone.instant_ms(said[0], said[1])
        return at_ms if INSTANT_MS_MIN <= at_ms <= INSTANT_MS_MAX else None
    if kind is int:
        return value * 1000 if -_SECONDS_BELOW < value < _SECONDS_BELOW else value  # type: ignore[no-any-return]
    if kind is float:
        return math.floor(decimal(value) * 1000 if -_SECONDS_BELOW < value < _SECONDS_BELOW else value)
    return None


def splits(path: str) -> list[tuple[str, str | None]]:
    """Ways to take the first key off a path, longest key first: `a.b` gives `("a.b", None), ("a", "b")`."""
    ways: list[tuple[str, str | None]] = [(path, None)]
    at = path.rfind(".")
    while at > 0:
        if at < len(path) - 1:
            ways.append((path[:at], path[at + 1 :]))
        at = path.rfind(".", 0, at)
    return ways


def reader(path: str) -> Callable[[Mapping[str, Any]], Any]:
    """A function that finds `path` in an object: the value, or None where it is absent.

    At each level the longest key that fits is tried first; one that is absent, or from which the path leads nowhere,
    does not fit, and the next shorter one is tried. Arrays are not gone into.
    """
    if "." not in path:

        def read_key(fields: Mapping[str, Any]) -> Any:
            value = fields.get(path)
            return None if value == "" else value

        return read_key
    ways = splits(path)

    def read_path(fields: Mapping[str, Any]) -> Any:
        return _find(fields, ways)

    return read_path


def _find(fields: Mapping[str, Any], ways: Sequence[tuple[str, str | None]]) -> Any:
    for key, rest in ways:
        value = fields.get(key)
        if value is None or value == "":
            continue
        if rest is None:
            return value
        if type(value) is dict:
            found = _find(value, splits(rest))
            if found is not None:
                return found
    return None
