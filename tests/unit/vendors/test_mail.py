"""What holds for every mail service: names, contacts, samples that prove themselves."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from streams.vendors.connection import Connection, Override
from streams.vendors.contract import Unproved, Vendor
from streams.vendors.engagement import NAMES, RECIPIENTS_MAX, Engagement, address, addresses, epoch, for_each, id_of
from streams.vendors.registry import vendor_for
from tests.unit.vendors.mail import bodies, named
from tests.unit.vendors.payloads import NOW_MS, URL, events, parsed, request
from tests.unit.vendors.proofs import in_segment
from tests.unit.vendors.test_sendgrid import PRIVATE

SECRETS = {
    "sendgrid": PRIVATE,
    "postmark": "user:a-long-password",
    "mailgun": "a-signing-key",
    "resend": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "mandrill": "a-webhook-key",
    "mailjet": "user:a-long-password",
    "brevo": "user:a-long-password",
    "sparkpost": "user:a-long-password",
    "mailersend": "a-signing-secret",
}
FILES = {name: name for name in SECRETS} | {"ses": "amazon_ses"}


def _vendor(name: str) -> Vendor:
    return vendor_for(Connection("here", name, ("SECRET",)))


def _asked(name: str, payload: Any) -> Any:
    if name == "mandrill":
        return request(urlencode({"mandrill_events": json.dumps(payload)}).encode())
    return request(payload)


@pytest.mark.parametrize("name", SECRETS)
def test_a_sample_proves_itself_with_its_secret_beside_another_and_with_no_other(name: str) -> None:
    vendor, secret = _vendor(name), SECRETS[name]
    body = vendor.seal(vendor.sample(NOW_MS), secret, NOW_MS)
    asked = request(body, vendor.sign(body, secret, URL, NOW_MS))
    vendor.prove(asked, ["before-the-rotation", secret], NOW_MS)
    with pytest.raises(Unproved):
        vendor.prove(asked, ["before-the-rotation"], NOW_MS)
    assert vendor.secret_problem(secret) is None
    assert vendor.secret_problem("") is not None


@pytest.mark.parametrize("name", FILES)
def test_a_sample_becomes_one_event_of_now_that_workers_can_read(name: str) -> None:
    vendor = _vendor(name)
    asked = request(vendor.sample(NOW_MS))
    assert named(vendor, asked) == [("ada@example.com", "Email Opened")]
    assert abs(parsed(events(vendor, asked)[0]).occurred_at_ms - NOW_MS) < 1000


@pytest.mark.parametrize("name", FILES)
def test_every_event_has_a_canonical_name_or_the_services_and_links_nobody(name: str) -> None:
    vendor = _vendor(name)
    for payload in bodies(FILES[name]):
        for told in vendor.read(_asked(name, payload)):
            meaning = vendor.mean(told)
            assert not meaning.links
            assert not meaning.traits
            assert all(said.name in NAMES.values() for said in meaning.said)


@pytest.mark.parametrize("name", FILES)
def test_a_repeat_has_the_message_ids_of_the_first(name: str) -> None:
    vendor = _vendor(name)
    asked = request(vendor.sample(NOW_MS))
    later = request(vendor.sample(NOW_MS), received_at_ms=NOW_MS + 60_000)
    assert events(vendor, asked) == events(vendor, later)


def test_who_leaves_without_a_group_leaves_all_and_nobody_joins_all() -> None:
    left = Engagement("unsubscribed", "ada@example.com").meaning({})
    assert [said.name for said in left.said] == ["Unsubscribed"]
    assert "group" not in left.said[0].properties
    assert Engagement("subscribed", "ada@example.com").meaning({}).said == ()
    assert [said.name for said in Engagement("subscribed", "ada@example.com", group=7).meaning({}).said] == [
        "Subscribed"
    ]


def _subscribed(group: str, event: dict[str, Any], properties: dict[str, Any]) -> bool:
    """Whether who has agreed to that group still gets mail of it after a SendGrid event."""
    agreed = {"type": "track", "userId": "ada@example.com", "event": "Subscribed", "timestamp": "2026-01-01T00:00:00Z"}
    overrides = {event["event"]: Override(properties=properties)}
    body = [{"email": "Ada@example.com", "timestamp": 1_790_000_000, **event}]
    told = events(_vendor("sendgrid"), request(body), Connection("here", "sendgrid", ("SECRET",), overrides=overrides))
    return in_segment({"subscribed": group}, [agreed, *told]) == {"ada@example.com"}


def test_consent_ends_for_all_groups_or_for_the_one_that_is_named() -> None:
    group = {"event": "group_unsubscribe", "asm_group_id": 10}
    assert not _subscribed("newsletter", {"event": "unsubscribe"}, {})
    assert not _subscribed("10", group, {})
    assert _subscribed("newsletter", group, {})
    assert not _subscribed("newsletter", group, {"group": "newsletter"})
    assert _subscribed("10", group, {"group": "newsletter"})


def test_the_published_payloads_are_all_there() -> None:
    counted = {name: len(bodies(file)) for name, file in FILES.items()}
    assert sum(counted.values()) == 97, counted


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("ada@example.com", "ada@example.com"),
        (" Ada <ada@example.com> ", "ada@example.com"),
        ('"Lovelace, Ada" <ada@example.com>', "ada@example.com"),
        ("ada", None),
        ("<>", None),
        ("", None),
        (7, None),
        (None, None),
        (["ada@example.com"], None),
    ],
)
def test_an_address_is_found_beside_a_name(written: Any, found: str | None) -> None:
    assert address(written) == found


def test_addresses_of_a_header_and_of_a_list_are_found() -> None:
    assert addresses('"Doe, Jane" <jane@example.com>, bob@example.com') == ["jane@example.com", "bob@example.com"]
    assert addresses(["ada@example.com", None, "nobody"]) == ["ada@example.com"]
    assert addresses({"ada@example.com": 1}) == []


def test_an_instant_far_ahead_in_seconds_is_one_in_milliseconds() -> None:
    assert epoch(1_790_000_000) == epoch(1_790_000_000_000) == epoch("1790000000") == 1_790_000_000_000
    assert epoch("soon") is None


def test_an_id_of_parts_needs_the_first_alone() -> None:
    assert id_of("m", None, 7, "") == "m::7:"
    assert id_of(None, "open") is None


def test_a_message_has_a_bound_of_recipients() -> None:
    (told,) = _vendor("mailersend").read(request({"type": "activity.sent", "data": {"id": "a"}}))
    with pytest.raises(Exception, match="expected at most 1000 recipients, got 1001"):
        for_each(told, [f"{n}@example.com" for n in range(RECIPIENTS_MAX + 1)])


def test_who_is_a_recipient_twice_is_told_of_once() -> None:
    (told,) = _vendor("mailersend").read(request({"type": "activity.sent", "data": {"id": "a"}}))
    made = for_each(told, ["ada@example.com", "bob@example.com", "ada@example.com"])
    assert [(each.id, each.body["recipient"]) for each in made] == [
        ("a", "ada@example.com"),
        ("a:1", "bob@example.com"),
    ]
