"""HubSpot: changes that subscriptions tell, objects that workflows send."""

import copy
from typing import Any

import pytest

from schemas.rejected import Reason, Rejection
from streams.vendors.connection import Connection, Override
from streams.vendors.contract import Request, Unproved
from streams.vendors.hubspot import SIGNATURE, TIMESTAMP, VENDOR
from tests.unit.vendors import hostile
from tests.unit.vendors.payloads import NOW_MS, URL, document, events, parsed, request, vectors
from tests.unit.vendors.proofs import in_segment

VECTOR = vectors("hubspot v3")
SECRET = VECTOR["secret"]
THEN_MS = int(VECTOR["headers"][TIMESTAMP])
COMPANY, CONTACT, DEAL = (case["body"] for case in document("crm/hubspot_captured.json")["cases"])
# as HubSpot's page on the webhooks API has them
CREATED: dict[str, Any] = {
    "objectId": 1246965,
    "eventId": 3816279340,
    "subscriptionId": 25,
    "portalId": 33,
    "appId": 1160452,
    "occurredAt": 1_462_216_307_945,
    "subscriptionType": "contact.creation",
    "attemptNumber": 0,
    "changeSource": "CRM",
}
CHANGED = {
    **CREATED,
    "subscriptionType": "contact.propertyChange",
    "propertyName": "lifecyclestage",
    "propertyValue": "subscriber",
    "changeSource": "ACADEMY",
}
MERGED = {
    **CREATED,
    "subscriptionType": "contact.merge",
    "objectId": None,
    "primaryObjectId": 5,
    "mergedObjectIds": [6, 7],
    "newObjectId": 8,
}

test_no_body_does_more_than_be_refused = hostile.reading(VENDOR, [COMPANY, CONTACT, DEAL, [CREATED, CHANGED, MERGED]])
test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, [SIGNATURE, TIMESTAMP])


def _doubt(asked: Request, *secrets: str, now_ms: int = THEN_MS) -> str | None:
    try:
        VENDOR.prove(asked, secrets or (SECRET,), now_ms)
    except Unproved as unproved:
        return unproved.doubt
    return None


def _vector(body: bytes | None = None, url: str = VECTOR["url"], **headers: str) -> Request:
    return request(body or VECTOR["body"].encode(), {**VECTOR["headers"], **headers}, url=url)


def test_the_signature_is_of_method_url_body_and_time() -> None:
    """One byte changed of any of them, or of the signature, and it is not believed."""
    body = VECTOR["body"].encode()
    signature = VECTOR["headers"][SIGNATURE]

    assert _doubt(_vector()) is None
    assert _doubt(_vector(), "another", SECRET) is None
    assert _doubt(_vector(), "another") == "wrong_signature"
    for at in range(len(body)):
        assert _doubt(_vector(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])) == "wrong_signature"
    for at in range(len(signature)):
        changed = {SIGNATURE: signature[:at] + "~" + signature[at + 1 :]}
        assert _doubt(_vector(**changed)) == "wrong_signature"
    assert _doubt(_vector(**{TIMESTAMP: str(THEN_MS + 1)})) == "wrong_signature"
    assert _doubt(_vector(url=VECTOR["url"] + "/")) == "wrong_signature"
    assert _doubt(request(body, {TIMESTAMP: "1"})) == _doubt(request(body, {SIGNATURE: signature})) == "no_signature"


def test_what_was_signed_more_than_five_minutes_ago_is_old() -> None:
    """To the millisecond, and both ways."""
    assert _doubt(_vector(), now_ms=THEN_MS + 300_000) is None
    assert _doubt(_vector(), now_ms=THEN_MS + 300_001) == "old"
    assert _doubt(_vector(), now_ms=THEN_MS - 300_001) == "old"


def test_the_url_is_signed_decoded_as_hubspot_decodes_it() -> None:
    """A dozen characters, and no others: %20 and the question mark of the query stay."""
    called = "https://gateway.example/hook%3A%2f?a=%40%21%24%27%28%29%2A%2C%3B%3F%20%25"
    decoded = "https://gateway.example/hook:/?a=@!$'()*,;?%20%25"
    headers = VENDOR.sign(b"{}", SECRET, decoded, THEN_MS)

    assert _doubt(request(b"{}", headers, url=called)) is None
    assert _doubt(request(b"{}", headers, url=called.replace("%20", " "))) == "wrong_signature"


def test_a_contact_of_a_workflow_has_its_properties_as_traits() -> None:
    """Those that HubSpot keeps for itself are left out; the address is linked with the id."""
    traits, link, told = events(VENDOR, request(CONTACT))

    assert traits["userId"] == link["userId"] == told["userId"] == "kovatif642@cyclesat.com"
    assert link["anonymousId"] == "hubspot:251"
    assert (
        traits["traits"]
        | {
            "email": "kovatif642@cyclesat.com",
            "firstName": "Kovat",
            "lastName": "Tif",
            "title": "Writer",
            "createdAt": "2023-04-02T15:08:19.688Z",
            "hubspot.lifecyclestage": "lead",
            "hubspot.lastmodifieddate": "2023-04-02T15:08:42.728Z",
        }
        == traits["traits"]
    )
    assert not [name for name in traits["traits"] if name.startswith("hubspot.hs_")]
    assert parsed(traits).occurred_at_ms == 1_680_448_122_728
    assert told["event"] == "HubSpot workflow.contact"
    assert (told["properties"]["object_id"], told["properties"]["object_type"]) == ("251", "contact")
    assert told["properties"]["properties"]["hs_analytics_source"] == "OFFLINE"
    assert parsed(told).occurred_at_ms == NOW_MS


def test_a_company_of_a_workflow_is_an_account() -> None:
    """Its number may be a contact's as well."""
    traits, told = events(VENDOR, request(COMPANY))

    assert traits["userId"] == told["userId"] == "hubspot:company:7298894071"
    assert (traits["traits"]["name"], traits["traits"]["employees"]) == ("Google", "10000")
    assert told["event"] == "HubSpot workflow.company"


def test_a_deal_says_nobodys_name_unless_the_connection_knows_where() -> None:
    """It is refused with what to do, or told of whom a path leads to, or ignored."""
    with pytest.raises(Rejection) as raised:
        events(VENDOR, request(DEAL))
    assert raised.value.reason is Reason.NO_CONTACT

    known = copy.deepcopy(DEAL)
    known["properties"]["user_id"] = {"value": "c-17"}
    (told,) = events(VENDOR, request(known))
    assert (told["event"], told["userId"]) == ("HubSpot workflow.deal", "c-17")
    assert told["properties"]["properties"]["amount"] == "50000000"
    ignoring = Connection("here", "hubspot", ("S",), overrides={"workflow.deal": Override(ignored=True)})
    assert events(VENDOR, request(DEAL), ignoring) == []


def test_a_workflow_is_named_by_the_connection() -> None:
    """What it is for, only its author knows."""
    connection = Connection("here", "hubspot", ("S",), overrides={"workflow.contact": Override("Lead Qualified")})

    assert events(VENDOR, request(CONTACT), connection)[-1]["event"] == "Lead Qualified"


@pytest.mark.parametrize(
    "change, name, contact",
    [
        (CREATED, "Contact Created", "hubspot:1246965"),
        (CHANGED, "Contact Updated", "hubspot:1246965"),
        ({**CREATED, "subscriptionType": "contact.deletion"}, "Contact Deleted", "hubspot:1246965"),
        ({**CREATED, "subscriptionType": "contact.restore"}, "Contact Restored", "hubspot:1246965"),
        (MERGED, "Contact Merged", "hubspot:5"),
        ({**CREATED, "subscriptionType": "company.creation"}, "Company Created", "hubspot:company:1246965"),
        (
            {**CREATED, "subscriptionType": "object.creation", "objectTypeId": "0-1"},
            "Contact Created",
            "hubspot:1246965",
        ),
        (
            {**CREATED, "subscriptionType": "contact.privacyDeletion"},
            "HubSpot contact.privacyDeletion",
            "hubspot:1246965",
        ),
        (
            {**CREATED, "subscriptionType": "contact.associationChange"},
            "HubSpot contact.associationChange",
            "hubspot:1246965",
        ),
    ],
)
def test_a_change_is_told_of_whom_it_is(change: dict[str, Any], name: str, contact: str) -> None:
    """With HubSpot's instant and an id of its own."""
    told = events(VENDOR, request([change]))[-1]

    assert (told["event"], told["userId"]) == (name, contact)
    assert parsed(told).occurred_at_ms == CREATED["occurredAt"]


@pytest.mark.parametrize("kind", ["deal", "ticket", "product", "line_item", "conversation"])
def test_a_change_of_what_is_nobody_is_refused(kind: str) -> None:
    """Its number must not be taken for a contact's."""
    with pytest.raises(Rejection, match="events:"):
        events(VENDOR, request([{**CREATED, "subscriptionType": f"{kind}.creation"}]))


def test_a_property_that_changed_is_a_trait() -> None:
    """Under its name here where it has one; what was emptied is cleared, and dates are ISO 8601."""

    def traits(name: str, value: Any) -> Any:
        return events(VENDOR, request([{**CHANGED, "propertyName": name, "propertyValue": value}]))[0]["traits"]

    assert traits("lifecyclestage", "customer") == {"hubspot.lifecyclestage": "customer"}
    assert traits("firstname", "Ada") == {"firstName": "Ada"}
    assert traits("firstname", "") == {"firstName": ""}
    assert traits("plan", "gold") == {"hubspot.plan": "gold"}
    assert traits("closedate", "1682861749726") == {"hubspot.closedate": "2023-04-30T13:35:49.726Z"}
    assert traits("updated", "1682861749726") == {"hubspot.updated": "1682861749726"}


def test_a_property_whose_value_is_not_told_is_not_cleared() -> None:
    """That it has changed is told all the same."""
    change = {key: value for key, value in CHANGED.items() if key != "propertyValue"}

    assert [each["type"] for each in events(VENDOR, request([change]))] == ["track"]


def test_an_address_is_linked_with_the_id_when_it_is_told() -> None:
    """What was told by the id before is the same contact's from then on."""
    change = {**CHANGED, "propertyName": "email", "propertyValue": "Ada@Example.com"}
    traits, link, _ = events(VENDOR, request([change]))

    assert (traits["userId"], traits["traits"]) == ("ada@example.com", {"email": "Ada@Example.com"})
    assert link["anonymousId"] == "hubspot:1246965"


def test_a_repeat_is_the_same_and_another_change_of_one_event_is_another() -> None:
    """An eventId alone is not unique."""

    def id(change: dict[str, Any]) -> str:
        return str(events(VENDOR, request([change]))[-1]["messageId"])

    assert id(CHANGED) == id({**CHANGED, "attemptNumber": 1})
    others = [{**CHANGED, "objectId": 2}, {**CHANGED, "propertyName": "email"}, {**CHANGED, "occurredAt": 5}]
    assert len({id(CHANGED), *map(id, others)}) == 4


def test_an_older_change_that_comes_later_changes_no_trait() -> None:
    """By when it occurred, not by when it came."""
    customers = {"trait": "hubspot.lifecyclestage", "eq": "customer"}
    newer = {**CHANGED, "propertyValue": "customer", "occurredAt": 2_000, "eventId": 2}
    older = {**CHANGED, "propertyValue": "lead", "occurredAt": 1_000, "eventId": 1}

    assert in_segment(customers, events(VENDOR, request([newer, older]))) == {"hubspot:1246965"}
    assert in_segment(customers, events(VENDOR, request([newer, {**older, "occurredAt": 3_000}]))) == set()


def test_what_was_told_by_the_id_is_the_addresss_once_that_is_known() -> None:
    """The link makes them one contact."""
    address = {**CHANGED, "propertyName": "email", "propertyValue": "Ada@Example.com", "occurredAt": 1_462_216_307_946}
    told = events(VENDOR, request([CHANGED, address]))

    assert in_segment({"trait": "hubspot.lifecyclestage", "eq": "subscriber"}, told) == {"ada@example.com"}


def test_a_sample_is_proved_and_read() -> None:
    """What `tidegate connections test` sends."""
    body = VENDOR.seal(VENDOR.sample(NOW_MS), SECRET, NOW_MS)
    asked = request(body, VENDOR.sign(body, SECRET, URL, NOW_MS))

    VENDOR.prove(asked, [SECRET], NOW_MS)
    assert [event.get("event") for event in events(VENDOR, asked)] == [None, None, "Contact Updated"]
