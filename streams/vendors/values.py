"""Vendors' values as ours: JSON, money, instants."""

import decimal
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson

from schemas.events import EVENT_DEPTH_MAX
from schemas.instants import INSTANT_MS_MAX, INSTANT_MS_MIN, format_instant, parse_instant
from schemas.rejected import Reason, Rejection

# ISO 4217's minor units, where they aren't hundredths
_WITHOUT: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_WITH_THREE: Final = "BHD IQD JOD KWD LYD OMR TND"
EXPONENTS: Final[Mapping[str, int]] = dict.fromkeys(_WITHOUT.split(), 0) | dict.fromkeys(_WITH_THREE.split(), 3)

# of a notification: what it becomes stands a few levels deeper in an event
LEVELS_MAX: Final = EVENT_DEPTH_MAX - 4
_TOO_DEEP: Final = f"expected at most {LEVELS_MAX} levels of nesting, got more"
# of an array of notifications; vendors' have a few thousand at most, and each costs what an event does, whatever is in it
OBJECTS_MAX: Final = 10_000


# an escape of text: a pair of surrogates, half of one, or any other
_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def json_object(raw: bytes) -> dict[str, Any]:
    """The JSON object that `raw` is; raises `Rejection`. Of a key twice in an object the last counts, as in JavaScript."""
    return _object(json_value(raw))


def json_value(raw: bytes) -> Any:
    """The JSON value that `raw` is; raises `Rejection`, also where it is nested deeper than an event may be."""
    return _shallow(_read(raw))


def _object(found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise Rejection(Reason.NOT_AN_OBJECT, f"expected a JSON object, got {kind_of(found)}")
    return found


def _shallow(found: Any) -> Any:
    if _is_deep(found):
        raise Rejection(Reason.TOO_DEEP, _TOO_DEEP)
    return found


def _read(raw: bytes) -> Any:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        # an emoji that somebody's program cut in two would cost all that was told beside it
        whole = _ESCAPE.sub(_without_halves, raw) if "surrogate" in error.msg else raw
        if whole != raw:
            return _read(whole)
        raise Rejection(Reason.NOT_JSON, f"expected JSON in UTF-8: {error.msg} at byte {error.pos}") from None


def _without_halves(escape: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if escape.group(1) else escape.group()


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(LEVELS_MAX):
        level = [child for each in level for child in _children(each)]
        if not level:
            return False
    return True


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def json_objects(raw: bytes) -> list[dict[str, Any]]:
    """The JSON objects of an array, or the one that is none; raises `Rejection`, also for more than `OBJECTS_MAX`.

    In the place of one in an array that is nested too deep is an object that says so: the others are taken.
    """
    found = _read(raw)
    if not isinstance(found, list):
        return [_object(_shallow(found))]
    if len(found) > OBJECTS_MAX:
        raise Rejection(Reason.TOO_LARGE, f"expected at most {OBJECTS_MAX} notifications at once, got {len(found)}")
    for at, each in enumerate(found):
        if not isinstance(each, dict):
            raise Rejection(Reason.NOT_AN_OBJECT, f"expected a JSON object at $[{at}], got {kind_of(each)}")
    return [{"rejected": _TOO_DEEP} if _is_deep(each) else each for each in found]


def kind_of(value: Any) -> str:
    """What a JSON value is, in words."""
    kinds = {dict: "an object", list: "an array", str: "text", bool: "a boolean", int: "a number", float: "a number"}
    return kinds.get(type(value), "null")


def at(value: Any, *path: str | int) -> Any:
    """What stands at a path into objects and arrays; None where it doesn't lead anywhere."""
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def mapping(value: Any) -> dict[str, Any]:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects in an array; what else is in it is left out, and what is no array has none."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def major(minor: Any, currency: Any, exponents: Mapping[str, int] = EXPONENTS) -> float | int | None:
    """An amount in minor units as one in major units, exact: 1999 EUR is 19.99, 500 JPY 500; None where it is no number.

    `exponents`: of currencies whose minor units aren't hundredths; ISO 4217's, unless a vendor has others.
    """
    exact = exact_number(minor)
    if exact is None:
        return None
    code = currency.upper() if isinstance(currency, str) else ""
    return plain(exact.scaleb(-exponents.get(code, 2)))


def amount(value: Any) -> float | int | None:
    """An amount that is in major units already, as a number or text; None where it is neither."""
    exact = exact_number(value)
    return None if exact is None else plain(exact)


def plain(exact: decimal.Decimal) -> float | int:
    """The number that JSON writes as this decimal; beyond 15 digits the nearest there is."""
    whole = exact == exact.to_integral_value() and abs(exact) < 2**53
    return int(exact) if whole else float(exact)


def exact_number(value: Any) -> decimal.Decimal | None:
    """A number, or text that is one, exactly; None for all else, and for what no double holds."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | str)
        or (isinstance(value, str) and len(value) > 64)
    ):
        return None
    try:
        exact = decimal.Decimal(value.strip() if isinstance(value, str) else str(value))
        return exact if exact.is_finite() and math.isfinite(float(exact)) and abs(exact.adjusted()) < 100 else None
    except (decimal.InvalidOperation, ValueError, OverflowError):
        return None


def code_of(currency: Any) -> str | None:
    """A currency's code in capitals; None where it is no text."""
    return currency.upper() if isinstance(currency, str) and currency else None


def seconds(value: Any) -> int | None:
    """Epoch ms of epoch seconds, whole or not, as a number or text; None where it is none."""
    exact = exact_number(value)
    return None if exact is None else _held(math.floor(exact * 1000))


def milliseconds(value: Any) -> int | None:
    """Epoch ms of epoch milliseconds, as a number or text; None where it is none."""
    exact = exact_number(value)
    return None if exact is None else _held(math.floor(exact))


def iso(value: Any) -> int | None:
    """Epoch ms of an ISO 8601 instant, of which one without offset is in UTC; None where it is none."""
    return parse_instant(value.strip(), offset_required=False) if isinstance(value, str) else None


def written(at_ms: int | None) -> str | None:
    """An instant as events and traits have it, ISO 8601 with Z; None stays None."""
    return None if at_ms is None else format_instant(at_ms)


def present(**values: Any) -> dict[str, Any]:
    """Those that are neither None nor empty."""
    return {name: value for name, value in values.items() if value is not None and value not in ("", [], {})}


def _held(at_ms: int) -> int | None:
    return at_ms if INSTANT_MS_MIN <= at_ms <= INSTANT_MS_MAX else None
