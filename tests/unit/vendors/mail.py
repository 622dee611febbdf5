"""Mail services' published payloads, held against what django-anymail's own tests expect of them."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest

from actions.suppression import Suppression, suppression_of
from streams.vendors.contract import Request, Vendor
from streams.vendors.engagement import NAMES
from tests.unit.vendors.payloads import document, events, parsed

# its normalised fields, as properties of ours
_PROPERTIES = {
    "message_id": "email_id",
    "recipient": "email",
    "click_url": "link_url",
    "reject_reason": "reason",
    "description": "description",
    "mta_response": "response",
    "tags": "tags",
    "metadata": "metadata",
    "user_agent": "user_agent",
}
_CLOCK = {
    "datetime": datetime,
    "timezone": type("timezone", (), {"utc": UTC}),
    "get_fixed_timezone": lambda minutes: timezone(timedelta(minutes=minutes)),
}


def cases(file: str) -> list[Any]:
    """The payloads of `email/<file>.json`, each with its name."""
    found = document(f"email/{file}.json")["cases"]
    return [pytest.param(case, id=case["test"].partition(".")[2]) for case in found]


def bodies(file: str) -> list[Any]:
    """The payloads alone."""
    return [case["payload"] for case in document(f"email/{file}.json")["cases"]]


def payload(file: str, name: str) -> Any:
    """The payload of the case whose test is named so."""
    return next(c["payload"] for c in document(f"email/{file}.json")["cases"] if c["test"].endswith(f".{name}"))


def check(vendor: Vendor, asked: Request, expected: dict[str, Any], *, besides: Iterable[str] = ()) -> None:
    """The first notification is what is expected, in name, properties, instant and id, but for the fields `besides`.

    Empty and missing are the same.
    """
    told = vendor.read(asked)[0]
    meaning = vendor.mean(told)
    wanted = {field: value for field, value in expected.items() if field not in besides}
    if "event_id" in wanted:
        assert told.id == wanted["event_id"]
    if "timestamp" in wanted:
        at = eval(wanted["timestamp"], _CLOCK)
        assert told.at_ms == (at - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)
    if "recipient" in wanted:
        assert meaning.names.email == wanted["recipient"]
    if wanted.get("event_type") == "unknown":
        assert meaning.said == ()
        return
    (said,) = meaning.said
    if "event_type" in wanted:
        assert said.name == NAMES[wanted["event_type"]]
    for field, name in _PROPERTIES.items():
        if field in wanted:
            assert (said.properties.get(name) or None) == (wanted[field] or None), field


def suppressed(vendor: Vendor, asked: Request) -> list[Suppression]:
    """What becomes of addresses, as the projector reads it of the events; every event is one that workers can read."""
    made = events(vendor, asked)
    for each in made:
        parsed(each)
    return [found for each in made if (found := suppression_of(orjson.dumps(each)))]


def named(vendor: Vendor, asked: Request) -> list[tuple[str, str]]:
    """The contacts and names of a request's events; every event is one that workers can read."""
    made = events(vendor, asked)
    for each in made:
        parsed(each)
    return [(each["userId"], each["event"]) for each in made]
