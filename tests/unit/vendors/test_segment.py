"""Segment's webhook destination: events handed on, and what of a batch is signed."""

import json
from typing import Any

import orjson
import pytest

from schemas.rejected import Reason, Rejection
from streams.vendors.connection import Connection, Override
from streams.vendors.contract import Unproved
from streams.vendors.segment import SIGNATURE, VENDOR, first_event
from streams.vendors.signing import hex_digest
from tests.unit.vendors import hostile
from tests.unit.vendors.payloads import NOW_MS, document, events, parsed, request, vectors

VECTOR = vectors("segment")
SECRET = VECTOR["secret"]
# the messages of the spec that say their type: what the destination sends always has one
MESSAGES = [
    case["message"]
    for case in document("segment/spec_samples.json")["cases"]
    if case.get("message", {}).get("type") and ("userId" in case["message"] or "anonymousId" in case["message"])
]
BATCH = json.dumps(
    [{"type": "page", "userId": "u1", "name": 'a "] } \\ ö'}, {"type": "track", "userId": "u2", "event": "Paid"}]
)

test_no_body_does_more_than_be_refused = hostile.reading(VENDOR, [*MESSAGES, MESSAGES[:3]])
test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, [SIGNATURE])


def _proved(body: bytes, signature: str, *secrets: str) -> bool:
    try:
        VENDOR.prove(request(body, {SIGNATURE: signature}), secrets or (SECRET,), NOW_MS)
    except Unproved:
        return False
    return True


def test_the_signature_is_of_every_byte_of_the_body_and_of_the_secret() -> None:
    """One changed anywhere, and it is not believed."""
    body, signature = VECTOR["body"].encode(), VECTOR["headers"][SIGNATURE]

    assert _proved(body, signature)
    assert _proved(body, signature.upper())
    assert _proved(body, signature, "another", SECRET)
    assert not _proved(body, signature, "another")
    for at in range(len(body)):
        assert not _proved(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :], signature)
    for at in range(len(signature)):
        assert not _proved(body, signature[:at] + "g" + signature[at + 1 :])
    with pytest.raises(Unproved) as raised:
        VENDOR.prove(request(body), (SECRET,), NOW_MS)
    assert raised.value.doubt == "no_signature"


@pytest.mark.parametrize("blanks", ["", " ", "\n\t"])
def test_of_a_batch_the_first_event_is_signed_as_its_bytes_came(blanks: str) -> None:
    """Brackets and quotes in text are no end; JSON written again would have other bytes for `ö`."""
    first = json.dumps(json.loads(BATCH)[0])
    body = (blanks + "[" + blanks + BATCH.removeprefix("[")).encode()

    assert _proved(body, hex_digest(SECRET, first.encode(), "sha1"))
    assert not _proved(body, hex_digest(SECRET, body, "sha1"))
    assert not _proved(body.replace(b"u1", b"u3"), hex_digest(SECRET, first.encode(), "sha1"))


@pytest.mark.parametrize("body", [b"[]", b"[1]", b'[[{"a":1}]]', b'[{"a":1', b"[", b'["{}"]', b'[{"a":"}]'])
def test_an_array_that_begins_with_no_event_is_not_believed(body: bytes) -> None:
    """There is nothing that could be signed, whatever the signature."""
    assert first_event(body) is None
    assert not _proved(body, hex_digest(SECRET, b"", "sha1"))


def test_a_long_text_is_skipped_in_linear_time() -> None:
    """Ten megabytes of it would otherwise be a way to stop a gateway without knowing the secret."""
    for filling in (b"\\\\", b'\\"', b"[", b"{}"):
        assert first_event(b'[{"a":"' + filling * 2_000_000) is None


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: f"{message['type']}-{message.get('event', '')}")
def test_events_of_the_spec_are_handed_on_as_they_are(message: dict[str, Any]) -> None:
    """But for where they came from, and when they arrived, which the gateway says."""
    (event,) = events(VENDOR, request(message))

    expected = {name: value for name, value in message.items() if name != "receivedAt"}
    expected["context"] = {**message.get("context", {}), "source": "here"}
    expected.setdefault("messageId", event["messageId"])
    assert event == expected
    assert parsed(event).message_id == event["messageId"]


def test_an_event_without_an_id_has_one_that_its_repeat_has_as_well() -> None:
    """The same bytes again are the same event; others aren't."""
    ids = [events(VENDOR, request({"type": "track", "userId": "u", "event": name}))[0]["messageId"] for name in "aab"]

    assert ids[0] == ids[1] != ids[2]
    assert ids[0].startswith("segment:")


def test_every_event_of_a_batch_is_read() -> None:
    """In order, each for its own contact."""
    assert [event["userId"] for event in events(VENDOR, request(BATCH.encode()))] == ["u1", "u2"]


def test_events_are_ignored_by_name_or_type() -> None:
    """As the connection has it."""
    connection = Connection("here", "segment", ("S",), overrides={"page": Override(ignored=True)})

    assert [event["type"] for event in events(VENDOR, request(BATCH.encode()), connection)] == ["track"]


def test_what_a_worker_would_refuse_is_refused_with_its_reason() -> None:
    """The raw body is kept with it, rather than an event that nobody can read."""
    for message, reason in (
        ({"type": "track", "userId": "u"}, Reason.MISSING_FIELD),
        ({"type": "track", "event": "A"}, Reason.NO_CONTACT),
        ({"type": "nonsense", "userId": "u"}, Reason.UNKNOWN_TYPE),
        ({"type": "track", "userId": "u", "event": "A", "timestamp": "yesterday"}, Reason.UNREADABLE_TIME),
    ):
        with pytest.raises(Rejection) as raised:
            events(VENDOR, request(message))
        assert raised.value.reason is reason


def test_a_delete_is_taken_where_it_is_signed_alone() -> None:
    """Whoever has seen one signed request could put it behind the event of that."""
    delete = {"type": "delete", "userId": "u"}
    assert ["delete"] == [event["type"] for event in events(VENDOR, request([delete]))]

    with pytest.raises(Rejection, match="expected a delete to be the first of its batch"):
        events(VENDOR, request([{"type": "page", "userId": "u"}, delete]))


def test_a_sample_is_proved_and_read() -> None:
    """What `tidegate connections test` sends."""
    body = VENDOR.seal(VENDOR.sample(NOW_MS), SECRET, NOW_MS)
    asked = request(body, VENDOR.sign(body, SECRET, "https://gateway.example/", NOW_MS))

    VENDOR.prove(asked, [SECRET], NOW_MS)
    assert [event["event"] for event in events(VENDOR, asked)] == ["Sample Sent"]
    assert orjson.loads(body)["messageId"]
