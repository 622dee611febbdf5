"""Which events say that an address takes no more mail."""

from typing import Any

import orjson
import pytest

from actions.suppression import Suppression, suppression_of

ADDRESS = "ada@home.example"


def event(name: str, **properties: Any) -> bytes:
    return orjson.dumps({"type": "track", "userId": "ada", "event": name, "properties": properties})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (event("Email Bounced", email=ADDRESS), Suppression(ADDRESS, "a bounce")),
        (event("Email Bounced", email=ADDRESS, bounce_type="Permanent"), Suppression(ADDRESS, "a bounce")),
        (event("Email Bounced", email=ADDRESS, bounce_type="Transient"), None),
        (event("Email Bounced", email=ADDRESS, type="SoftBounce"), None),
        (event("Email Bounced", recipient=ADDRESS), Suppression(ADDRESS, "a bounce")),
        (event("Email Marked as Spam", email=ADDRESS), Suppression(ADDRESS, "a complaint")),
        (event("Email Complained", address=ADDRESS), Suppression(ADDRESS, "a complaint")),
        (event("Email Bounced"), Suppression(None, "a bounce")),
        (event("Email Bounced", email="no address"), Suppression(None, "a bounce")),
        (event("Email Unsuppressed", email=ADDRESS), Suppression(ADDRESS, None)),
        (event("Email Opened", email=ADDRESS, subject="Bounced"), None),
        (event("Email Bounced", email=ADDRESS).replace(b"Bounced", b"\\u0042ounced"), Suppression(ADDRESS, "a bounce")),
        (b'{"event": "Email Bounced", "properties": {', None),
        (b"Bounced", None),
        (b"", None),
        (None, None),
    ],
)
def test_a_bounce_for_good_and_a_complaint_suppress_the_address_that_they_name(
    value: bytes | None, expected: Suppression | None
) -> None:
    assert suppression_of(value) == expected


def test_the_address_may_stand_in_the_context() -> None:
    """As an SDK puts it there."""
    said = {"type": "track", "userId": "a", "event": "Email Bounced", "context": {"traits": {"email": ADDRESS}}}

    assert suppression_of(orjson.dumps(said)) == Suppression(ADDRESS, "a bounce")


def test_it_is_said_when_that_was() -> None:
    said = {"type": "track", "userId": "a", "event": "Email Unsuppressed", "timestamp": 5, "properties": {}}

    assert suppression_of(orjson.dumps(said)) == Suppression(None, None, 5)
