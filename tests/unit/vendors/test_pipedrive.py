"""Pipedrive's webhooks of both versions: who it is about, what was done, what is known since."""

import copy
from typing import Any

import pytest

from schemas.rejected import Reason, Rejection
from streams.vendors.connection import Connection, Override, Path
from streams.vendors.pipedrive import VENDOR
from tests.unit.vendors import hostile
from tests.unit.vendors.payloads import NOW_MS, URL, document, events, parsed, request
from tests.unit.vendors.proofs import check_every_byte, doubt, in_segment

CASES = {
    case["file"].rpartition("/")[2].removesuffix(".json"): case
    for case in document("crm/pipedrive_captured.json")["cases"]
}
SECRET = "username:password"
HASH = "dcf558aac1ae4e8c4f849ba5e668430d8df9be12"
# as Pipedrive's guide to version 2 has the frame
META = {
    "action": "change",
    "entity": "deal",
    "company_id": "1",
    "correlation_id": "7f6fe7a2-7b0a-4b56-9a50-5cbd5c0e4d2f",
    "entity_id": "7",
    "id": "b1b53a49-fd42-4a8f-8a86-1b4f7e9e4f0e",
    "is_bulk_edit": False,
    "timestamp": "2026-01-01T00:00:00.123Z",
    "type": "general",
    "user_id": "3",
    "version": "2.0",
    "webhook_id": "5",
    "change_source": "app",
    "attempt": 1,
}
DEAL = {
    "id": 7,
    "title": "Big",
    "value": 1999.5,
    "currency": "eur",
    "status": "open",
    "stage_id": 2,
    "person_id": 3,
    "org_id": 2,
}
PERSON = {
    "id": 3,
    "name": "Ada Lovelace",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "emails": [{"value": "home@example.com", "primary": False}, {"value": "Ada@Example.com", "primary": True}],
    "phones": [{"value": "+31201234567", "primary": True}],
    "custom_fields": {HASH: {"type": "varchar", "value": "gold"}, HASH[::-1]: None},
}


def _second(entity: str, action: str, data: Any, previous: Any = None, **meta: Any) -> dict[str, Any]:
    """A body of version 2."""
    return {"meta": {**META, "entity": entity, "action": action, **meta}, "data": data, "previous": previous}


PAYLOADS = [
    *(case["body"] for case in CASES.values()),
    _second("deal", "change", DEAL, {"stage_id": 1}),
    _second("person", "create", PERSON),
]
test_no_body_does_more_than_be_refused = hostile.reading(VENDOR, PAYLOADS)
test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, [], secret=SECRET)


def _told(body: dict[str, Any]) -> dict[str, Any]:
    return events(VENDOR, request(body))[-1]


def test_the_login_is_the_connections() -> None:
    """As it came with each of the captured requests."""
    for case in CASES.values():
        assert doubt(VENDOR, b"{}", {"Authorization": case["headers"]["authorization"]}, [SECRET]) is None
    check_every_byte(VENDOR, b"{}", VENDOR.sign(b"{}", SECRET, URL, NOW_MS), SECRET, NOW_MS, signed=False)
    assert VENDOR.secret_problem("username") is not None


@pytest.mark.parametrize(
    "name, event, contact",
    [
        ("added.person", "Contact Created", "anthon@noco.com"),
        ("updated.person", "Contact Updated", "anthon@noco.com"),
        ("deleted.person", "Contact Deleted", "magnify@mail.com"),
        ("added.organization", "Company Created", "pipedrive:organization:2"),
        ("updated.organization", "Company Updated", "pipedrive:organization:2"),
        ("added.deal", "Deal Created", "pipedrive:3"),
        ("updated.deal", "Deal Updated", "pipedrive:3"),
        ("added.activity", "Activity Created", "pipedrive:3"),
        ("updated.activity", "Activity Updated", "pipedrive:3"),
        ("deleted.activity", "Activity Deleted", "pipedrive:3"),
    ],
)
def test_each_captured_change_is_told_of_whom_it_is(name: str, event: str, contact: str) -> None:
    """At its instant."""
    body = CASES[name]["body"]
    told = _told(body)

    assert (told["event"], told["userId"]) == (event, contact)
    assert parsed(told).occurred_at_ms == body["meta"]["timestamp_micro"] // 1000


@pytest.mark.parametrize("name", ["added.product", "updated.product"])
def test_a_product_is_nobodys(name: str) -> None:
    """It is refused with what to do, or ignored."""
    with pytest.raises(Rejection) as raised:
        _told(CASES[name]["body"])
    assert raised.value.reason is Reason.NO_CONTACT

    ignoring = Connection("here", "pipedrive", ("S",), overrides={name: Override(ignored=True)})
    assert events(VENDOR, request(CASES[name]["body"]), ignoring) == []


def test_a_person_has_traits_and_its_id_is_linked_with_its_address() -> None:
    """So that its deals, which have the id alone, are its own."""
    traits, link, _ = events(VENDOR, request(CASES["added.person"]["body"]))

    assert traits["traits"] == {
        "email": "anthon@noco.com",
        "phone": "+1434993473",
        "name": "Anthony Edwards",
        "firstName": "Anthony",
        "lastName": "Edwards",
    }
    assert (link["userId"], link["anonymousId"]) == ("anthon@noco.com", "pipedrive:3")
    both = [*events(VENDOR, request(CASES["added.deal"]["body"])), traits, link]
    assert in_segment({"event": "Deal Created"}, both) == {"anthon@noco.com"}


def test_a_person_of_version_2_is_the_same() -> None:
    """With its primary address, and its custom fields by their keys."""
    traits, link, told = events(VENDOR, request(_second("person", "create", PERSON)))

    assert traits["traits"] == {
        "email": "Ada@Example.com",
        "phone": "+31201234567",
        "name": "Ada Lovelace",
        "firstName": "Ada",
        "lastName": "Lovelace",
        f"pipedrive.{HASH}": "gold",
    }
    assert (link["userId"], link["anonymousId"]) == ("ada@example.com", "pipedrive:3")
    assert (told["event"], told["messageId"]) == ("Contact Created", f"pipedrive:{META['id']}")
    assert told["timestamp"] == "2026-01-01T00:00:00.123Z"


def test_what_an_object_has_no_more_is_cleared_and_what_it_never_had_is_left_to_others() -> None:
    """A person without a phone in Pipedrive may have told the shop another."""
    first = copy.deepcopy(CASES["updated.person"]["body"])
    first["current"] |= {"phone": [{"value": "", "primary": True}], "job_title": None, "first_name": None}
    first["previous"] |= {"phone": [{"value": "+1434993473", "primary": True}], "job_title": None, "first_name": "Ada"}
    person = {**PERSON, "phones": [], "job_title": None, "custom_fields": {HASH: None, HASH[::-1]: None}}
    before = {
        "phones": [{"value": "+31", "primary": True}],
        "custom_fields": {HASH: {"type": "varchar", "value": "gold"}},
    }

    for body, cleared in (
        (first, {"phone", "firstName"}),
        (_second("person", "change", person, before), {"phone", f"pipedrive.{HASH}"}),
    ):
        traits = events(VENDOR, request(body))[0]["traits"]
        assert {name for name, value in traits.items() if value is None} == cleared


def test_custom_fields_of_version_1_stand_among_the_others() -> None:
    """Their keys are hashes."""
    body = copy.deepcopy(CASES["updated.person"]["body"])
    body["current"] |= {HASH: 5, f"{HASH}_currency": "EUR"}

    traits = events(VENDOR, request(body))[0]["traits"]

    assert (traits[f"pipedrive.{HASH}"], traits[f"pipedrive.{HASH}_currency"]) == (5, "EUR")


def test_a_deal_has_its_money_and_where_it_moved_from() -> None:
    """Pipedrive has amounts in major units."""
    told = _told(_second("deal", "change", DEAL, {"stage_id": 1}))

    assert (told["event"], told["userId"]) == ("Deal Updated", "pipedrive:3")
    assert told["properties"] == {
        "deal_id": 7,
        "title": "Big",
        "total": 1999.5,
        "currency": "EUR",
        "status": "open",
        "stage_id": 2,
        "previous_stage_id": 1,
        "org_id": 2,
        "person_id": 3,
    }
    assert _told(CASES["added.deal"]["body"])["properties"]["total"] == 2_000_000


@pytest.mark.parametrize(
    "status, previous, event",
    [
        ("won", {"status": "open"}, "Deal Won"),
        ("lost", {"status": "open"}, "Deal Lost"),
        ("open", {"status": "lost"}, "Deal Updated"),
        ("won", {"value": 5}, "Deal Updated"),
        ("won", {"status": "won", "value": 5}, "Deal Updated"),
        ("won", None, "Deal Updated"),
    ],
)
def test_a_deal_is_won_once(status: str, previous: Any, event: str) -> None:
    """What changes about it later is an update."""
    assert _told(_second("deal", "change", {**DEAL, "status": status}, previous))["event"] == event
    first = copy.deepcopy(CASES["updated.deal"]["body"])
    first["current"]["status"], first["previous"] = status, previous
    assert _told(first)["event"] == event


@pytest.mark.parametrize(
    "data, contact",
    [({"person_id": 3, "org_id": 2}, "pipedrive:3"), ({"person_id": None, "org_id": 2}, "pipedrive:organization:2")],
)
def test_what_belongs_to_no_person_is_its_organizations(data: dict[str, Any], contact: str) -> None:
    """Of leads and notes as of deals; of what belongs to neither nobody is told."""
    for entity in ("deal", "lead", "note", "activity"):
        assert _told(_second(entity, "create", {"id": "x", **data}))["userId"] == contact
    with pytest.raises(Rejection, match="expected one of"):
        _told(_second("deal", "create", {"id": 1}))


def test_a_repeat_is_the_same_and_so_is_a_second_webhook_for_the_change() -> None:
    """In both versions."""
    first, second = copy.deepcopy(CASES["added.deal"]["body"]), _second("deal", "create", DEAL)
    again = copy.deepcopy(first)
    again["retry"], again["meta"]["webhook_id"] = 1, "5"

    assert _told(first)["messageId"] == _told(again)["messageId"] == "pipedrive:added.deal:1:1680840600460452"
    attempt = _second("deal", "create", DEAL, attempt=2, webhook_id="6")
    assert _told(second)["messageId"] == _told(attempt)["messageId"]


def test_an_older_state_that_comes_later_changes_no_trait() -> None:
    """Two changes of one second are told apart, too."""
    newer, older = copy.deepcopy(CASES["updated.person"]["body"]), copy.deepcopy(CASES["updated.person"]["body"])
    newer["current"]["job_title"], older["current"]["job_title"] = "Director", "Clerk"
    older["meta"]["timestamp_micro"] -= 2_000
    directors = {"trait": "title", "eq": "Director"}
    bodies = [*events(VENDOR, request(newer)), *events(VENDOR, request(older))]

    assert in_segment(directors, bodies) == {"anthon@noco.com"}


def test_an_object_that_nobody_has_heard_of_keeps_its_name() -> None:
    """Of whom a path of the connection leads to."""
    connection = Connection("here", "pipedrive", ("S",), user_ids=(Path("$.data.owner"),))
    (told,) = events(VENDOR, request(_second("project", "create", {"id": 1, "owner": 9})), connection)

    assert (told["event"], told["userId"]) == ("Pipedrive create.project", "9")
    assert told["properties"]["project"] == {"id": 1, "owner": 9}


def test_a_sample_is_proved_and_read() -> None:
    """What `tidegate connections test` sends."""
    body = VENDOR.seal(VENDOR.sample(NOW_MS), SECRET, NOW_MS)
    asked = request(body, VENDOR.sign(body, SECRET, URL, NOW_MS))

    VENDOR.prove(asked, [SECRET], NOW_MS)
    assert [event.get("event") for event in events(VENDOR, asked)] == [None, None, "Contact Created"]
