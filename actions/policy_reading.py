"""Policies as they are written, to `Policy`s: every error of a file at once, each with its path.

policies:
  - id: default
    caps: [{channel: email, group: promo, at_most: 3, within: 7d, then: drop}]
    quiet_hours: {from: "21:00", to: "08:00", tz: contact, then: later}
    rates: [{channel: webhook, per_second: 50, burst: 100}]
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast, get_args

from actions.errors import RuleErrors
from actions.message_reading import read_group
from actions.policies import CAP_MS_MAX, CONTACT, WAKING, Cap, Policy, QuietHours, Rate, Then
from actions.reader import DESCRIPTIVE, Reader, read_each
from schemas.deliveries import CHANNELS, Channel
from segments.calendar import UTC_ZONE, zone

_KEYS: Final = ("id", "consent", "caps", "quiet_hours", "rates", "tz", *DESCRIPTIVE)
_CAP_KEYS: Final = ("channel", "group", "at_most", "within", "then")
_QUIET_KEYS: Final = ("from", "to", "tz", "then", "channels")
_RATE_KEYS: Final = ("channel", "host", "per_second", "burst")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
AT_MOST_MAX: Final = 1_000
PER_SECOND_MAX: Final = 100_000
BURST_MAX: Final = 100_000
HOST_CHARACTERS_MAX: Final = 260

T = TypeVar("T")


def load_policies(text: str, name: str = "policies") -> tuple[Policy, ...]:
    """The policies in one YAML or JSON file; its other keys are not looked at. Raises `RuleErrors` with every error."""
    policies, errors = read_each("policy", "policies", text, name, None, _policy)
    if errors:
        raise RuleErrors(errors)
    return policies


def policy_of(body: Mapping[str, Any]) -> Policy:
    """The policy of a definition record's body; raises `RuleErrors`."""
    reader = Reader("policy: ", "$", None)
    policy = _policy(reader, dict(body))
    if policy is None:
        raise RuleErrors(reader.errors)
    return policy


def _policy(reader: Reader, body: Any) -> Policy | None:
    """The policy, or None with something in the reader's `errors`."""
    if not reader.is_mapping(body, ""):
        return None
    id = reader.id(body, "policy")
    reader.descriptive(body)
    reader.keys(body, _KEYS, "")
    consent = reader.choice({"consent": "assumed"} | body, "consent", ("assumed", "explicit"), "")
    caps = _listed(reader, body, "caps", _cap)
    rates = _listed(reader, body, "rates", _rate)
    quiet = _quiet(reader, body["quiet_hours"]) if "quiet_hours" in body else None
    here = zone(str(body.get("tz", "UTC")))
    if here is None:
        reader.error("an IANA time zone such as Europe/Paris", body["tz"], ".tz")
    if not any(key in body for key in ("consent", "caps", "quiet_hours", "rates")):
        reader.say("expected consent, caps, quiet_hours or rates, got none of them", "")
    if reader.errors:
        return None
    return Policy(id, body, consent == "explicit", tuple(caps), quiet, tuple(rates), here or UTC_ZONE)


def _listed(
    reader: Reader, body: dict[str, Any], key: str, read: Callable[[Reader, dict[str, Any], str], T]
) -> list[T]:
    written = body.get(key, [])
    if key in body and (not isinstance(written, list) or not written):
        reader.error(f"a list of {key}", written, f".{key}")
        return []
    paths = [(each, f".{key}[{at}]") for at, each in enumerate(written)]
    return [read(reader, each, path) for each, path in paths if reader.is_mapping(each, path)]


def _cap(reader: Reader, written: dict[str, Any], path: str) -> Cap:
    reader.keys(written, _CAP_KEYS, path)
    within = "a duration such as 1d or 7d, of at most 30d"
    return Cap(
        at_most=_whole(reader, written.get("at_most"), AT_MOST_MAX, f"{path}.at_most"),
        within_ms=reader.duration(written.get("within"), f"{path}.within", ms_max=CAP_MS_MAX, expected=within),
        channel=_channel(reader, written, path) if "channel" in written else None,
        group=read_group(reader, written, path),
        then=_then(reader, written, "drop", path),
    )


def _quiet(reader: Reader, written: Any) -> QuietHours | None:
    path = ".quiet_hours"
    if not reader.is_mapping(written, path):
        return None
    reader.keys(written, _QUIET_KEYS, path)
    from_ms, to_ms = (_clock(reader, written.get(key), f"{path}.{key}") for key in ("from", "to"))
    if from_ms == to_ms and not reader.errors:
        reader.error("another time than `from`", written.get("to"), f"{path}.to")
    tz = written.get("tz", CONTACT)
    if tz != CONTACT and (not isinstance(tz, str) or zone(tz) is None):
        reader.error("`contact`, or an IANA time zone such as Europe/Paris", tz, f"{path}.tz")
    channels = written.get("channels", sorted(WAKING))
    if not isinstance(channels, list) or not channels:
        reader.error("a list of channels", channels, f"{path}.channels")
        channels = []
    for at, channel in enumerate(channels):
        if channel not in CHANNELS:
            reader.error("one of " + " ".join(CHANNELS), channel, f"{path}.channels[{at}]", CHANNELS)
    then = _then(reader, written, "later", path)
    return QuietHours(from_ms, to_ms, str(tz), then, frozenset(each for each in channels if each in CHANNELS))


def _rate(reader: Reader, written: dict[str, Any], path: str) -> Rate:
    reader.keys(written, _RATE_KEYS, path)
    per_second = written.get("per_second")
    if isinstance(per_second, bool) or not isinstance(per_second, int | float) or not 0 < per_second <= PER_SECOND_MAX:
        reader.error(f"a number above 0, of at most {PER_SECOND_MAX}", per_second, f"{path}.per_second")
        per_second = 1
    host = written.get("host")
    if "host" in written and (not isinstance(host, str) or not 0 < len(host) <= HOST_CHARACTERS_MAX):
        reader.error("a host, as `host` or `host:port`", host, f"{path}.host")
    burst = _whole(reader, written.get("burst", max(1, int(per_second))), BURST_MAX, f"{path}.burst")
    return Rate(
        _channel(reader, written, path), float(per_second), burst, host.lower() if isinstance(host, str) else None
    )


def _channel(reader: Reader, written: dict[str, Any], path: str) -> Channel:
    return cast(Channel, reader.choice(written, "channel", CHANNELS, path))


def _then(reader: Reader, written: dict[str, Any], default: Then, path: str) -> Then:
    return cast(Then, reader.choice({"then": default} | written, "then", get_args(Then), path))


def _whole(reader: Reader, found: Any, most: int, path: str) -> int:
    if isinstance(found, bool) or not isinstance(found, int) or not 1 <= found <= most:
        reader.error(f"a whole number from 1 to {most}", found, path)
        return 1
    return found


def _clock(reader: Reader, found: Any, path: str) -> int:
    matched = _CLOCK.fullmatch(found) if isinstance(found, str) else None
    if matched is None:
        reader.error('a time of day such as "21:00", in quotes', found, path)
        return 0
    return (int(matched[1]) * 60 + int(matched[2])) * 60_000
