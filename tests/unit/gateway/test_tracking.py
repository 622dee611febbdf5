"""Segment's tracking API, from bodies to records: what its calls become, and what of them can't be taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import parse_event
from schemas.instants import format_instant, parse_instant
from schemas.topics import REJECTED
from streams.gateway.record import Record
from streams.gateway.tracking import (
    BATCH_BYTES_MAX,
    BATCH_EVENTS_MAX,
    EVENT_BYTES_MAX,
    TYPES,
    Arrival,
    Refused,
    read_call,
    records_of,
)

NOW_MS = 1_800_000_000_000
SPEC = Path(__file__).resolve().parents[2] / "data" / "webhooks" / "segment" / "spec_samples.json"
# as the documentation's example of a batch has it: no ISO 8601
UNREADABLE = "2015-2-02"


def records(name: str, body: Any, **changes: Any) -> list[Record]:
    """What becomes of a call; `body` is JSON, or bytes as they come."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    ids = iter(range(10_000))
    arrival = Arrival("website", NOW_MS, "203.0.113.7", lambda: f"gw-{next(ids)}", imported=name == "import")
    return [record for some in records_of(read_call(name, raw), arrival) for record in some]


def one(name: str, body: Any) -> dict[str, Any]:
    """The only event of a call, which was taken."""
    (record,) = records(name, body)
    assert record.topic != REJECTED.name, dict(record.headers)
    return orjson.loads(record.value)


def reason(record: Record) -> str | None:
    return dict(record.headers)["reason"].decode() if record.topic == REJECTED.name else None


def test_a_track_call_becomes_the_event_that_a_worker_reads() -> None:
    (record,) = records("track", {"userId": "ada", "event": "Signed Up", "properties": {"n": 1}, "writeKey": "secret"})

    expected = {
        "type": "track", "userId": "ada", "event": "Signed Up", "properties": {"n": 1}, "messageId": "gw-0",
        "receivedAt": format_instant(NOW_MS), "context": {"source": "website"},
    }  # fmt: skip
    assert expected == orjson.loads(record.value)
    assert ("events.product", b"ada", []) == (record.topic, record.key, record.headers)
    assert "Signed Up" == parse_event(record.value).name


def sample(case: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """A payload of the documentation, or what analytics.js makes of the call there, and its path; None where it is neither."""
    if "call" in case:
        return case["call"], of_call(case["call"], case["args"])
    message = case["message"]
    type = message.get("type") or message.get("action") or case["heading"].lower()
    # pages show parts of events, and leave out whom they are about
    return (type, {"userId": "ada", **message}) if type in TYPES else None


def of_call(call: str, args: list[Any]) -> dict[str, Any]:
    """As analytics.js reads its arguments: texts first, then an object."""
    texts = [each for each in args if isinstance(each, str)]
    (fields, *_) = [each for each in args if isinstance(each, dict)] or [{}]
    if call == "identify":
        return {"userId": (texts or ["ada"])[0], "traits": fields}
    if call == "group":
        return {"userId": "ada", "groupId": texts[0], "traits": fields}
    if call == "alias":
        return {"userId": texts[0], "previousId": "anonymous"}
    name = {"event": (texts or ["x"])[0]} if call == "track" else {"name": texts[-1] if texts else None}
    return {"userId": "ada", **name, "properties": fields}


CASES = json.loads(SPEC.read_text())["cases"]
SAMPLES = [found for case in CASES if (found := sample(case)) is not None]


@pytest.mark.parametrize(("type", "message"), SAMPLES)
def test_every_payload_of_segments_documentation_is_taken(type: str, message: dict[str, Any]) -> None:
    event = one(type, message)

    known = ("userId", "anonymousId", "event", "groupId", "previousId", "properties", "traits", "timestamp")
    same = {name: message[name] for name in known if message.get(name) is not None and "sentAt" not in message}
    assert same | {"type": type} == {name: event[name] for name in same} | {"type": event["type"]}
    assert message.get("messageId", "gw-0") == event["messageId"]


def test_the_batch_of_segments_documentation_is_taken_but_for_its_unreadable_times() -> None:
    (message,) = [case["message"] for case in CASES if "batch" in case.get("message", {})]

    unreadable = [each["timestamp"].startswith(UNREADABLE) for each in message["batch"]]
    assert [False, False, True, True] == unreadable
    assert unreadable == [reason(record) == "unreadable_time" for record in records("batch", message)]


def test_the_samples_are_all_but_the_fragments_of_the_documentation() -> None:
    assert (141, 138) == (len(CASES), len(SAMPLES))


@pytest.mark.parametrize("letter", "itpsga")
def test_calls_by_their_first_letter_are_the_calls(letter: str) -> None:
    body = {"userId": "ada", "event": "x", "groupId": "g", "previousId": "p"}
    (name,) = (type for type in TYPES if type[0] == letter)

    assert one(name, body) == one(letter, body)


def test_the_path_says_what_a_call_is_whatever_stands_in_the_body() -> None:
    assert "track" == one("track", {"type": "page", "userId": "ada", "event": "x"})["type"]


@pytest.mark.parametrize("name", ["batch", "import", "b"])
def test_a_batch_is_its_events_each_with_what_stands_beside_them(name: str) -> None:
    body = {
        "batch": [
            {"type": "identify", "userId": "ada", "traits": {"plan": "pro"}, "messageId": "m-1"},
            {"type": "track", "userId": "bob", "event": "Order Completed", "context": {"ip": "1.2.3.4"}},
        ],
        "context": {"ip": "0.0.0.0", "library": {"name": "x"}},
        "integrations": {"All": False},
    }
    first, second = records(name, body)
    imported = {"import": True} if name == "import" else {}
    library = {"library": {"name": "x"}}

    assert ("events.product", b"ada") == (first.topic, first.key)
    assert ("events.billing", b"bob") == (second.topic, second.key)
    context = {"ip": "0.0.0.0", **library, "source": "website", **imported}
    assert context == orjson.loads(first.value)["context"]
    assert context | {"ip": "1.2.3.4"} == orjson.loads(second.value)["context"]
    assert {"All": False} == orjson.loads(second.value)["integrations"]
    assert ["m-1", "gw-0"] == [orjson.loads(record.value)["messageId"] for record in (first, second)]


def test_an_import_marks_events_unless_they_say_otherwise() -> None:
    events = [{"type": "page", "userId": "ada", "context": {"import": value}} for value in (True, False)]

    assert [True, False] == [orjson.loads(r.value)["context"]["import"] for r in records("import", {"batch": events})]


def test_what_is_wrong_in_a_batch_goes_to_rejected_as_it_came_and_the_rest_is_taken() -> None:
    parts = [
        b'{"type": "track", "userId": "ada"}',
        b'{"type":"page","userId":"bob"}',
        b"5",
        b'{"type":"page"}',
        b'{"type":"page","userId":"c\xff"}',
        b'{"type":"page","userId":"d","context":7}',
    ]
    taken = records("batch", b'{"batch":[%b]}' % b" , ".join(parts))

    assert ["missing_field", None, "not_an_object", "no_contact", "not_json", "wrong_type"] == list(map(reason, taken))
    assert parts[0] == taken[0].value and parts[4] == taken[4].value
    assert [b"ada", b"bob", None, None, None, b"d"] == [record.key for record in taken]
    assert b"gateway:website" == dict(taken[0].headers)["topic"]


@pytest.mark.parametrize("type", ["delete", "list", "tick", "nonsense", 7, None])
def test_a_write_key_erases_nobody_and_lists_nobody(type: Any) -> None:
    body = {"type": type, "userId": "ada", "list": "vip", "action": "added", "receivedAt": "2026-03-01T09:30:00Z"}
    (record,) = records("batch", {"batch": [body]})

    assert "unknown_type" == reason(record)


def test_timestamps_are_corrected_by_how_far_the_senders_clock_is_off() -> None:
    sent = {"timestamp": "2020-01-01T00:00:00.000Z", "sentAt": "2020-01-01T00:00:30.000Z"}
    event = one("track", {"userId": "ada", "event": "x", **sent})

    assert format_instant(NOW_MS - 30_000) == event["timestamp"]
    assert sent["timestamp"] == event["originalTimestamp"]
    assert format_instant(NOW_MS) == event["receivedAt"]


@pytest.mark.parametrize("at_ms", [1_577_836_800_000, 1_577_836_800_000.25, 0, 0.5])
def test_times_in_epoch_milliseconds_are_corrected_as_well(at_ms: float) -> None:
    """Browsers have fractions of them, and a clock without a battery begins with 0."""
    event = one("track", {"userId": "ada", "event": "x", "timestamp": at_ms, "sentAt": at_ms + 30_000})

    assert format_instant(NOW_MS - 30_000) == event["timestamp"]
    assert at_ms == event["originalTimestamp"]


@pytest.mark.parametrize(
    ("at", "sent_at"),
    [
        ("9999-12-31T00:00:00.000Z", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T00:00:00.000Z", -62_135_596_800_000),
        ("2020-01-01T00:00:00.000Z", 10**18),
        ("2020-01-01T00:00:00.000Z", 1e300),
    ],
)
def test_an_instant_of_sending_that_would_lead_out_of_time_corrects_nothing(at: str, sent_at: Any) -> None:
    assert at == one("track", {"userId": "ada", "event": "x", "timestamp": at, "sentAt": sent_at})["timestamp"]


def test_the_instant_of_sending_may_stand_beside_the_events() -> None:
    event = {"type": "track", "userId": "ada", "event": "x", "timestamp": "2020-01-01T00:00:00.000Z"}
    body = {"batch": [event], "sentAt": "2020-01-01T00:00:30.123456+00:00"}

    assert format_instant(NOW_MS - 30_123) == orjson.loads(records("batch", body)[0].value)["timestamp"]


def test_an_imports_timestamps_stay_as_they_are() -> None:
    event = {"type": "track", "userId": "ada", "event": "x", "timestamp": "2020-01-01T00:00:00.000Z"}
    (record,) = records("import", {"batch": [event], "sentAt": "2020-01-01T00:00:30.000Z"})

    assert event["timestamp"] == orjson.loads(record.value)["timestamp"]


@pytest.mark.parametrize("sent_at", [None, "", "yesterday", {}, "2020-01-01T00:00:00", True])
def test_without_a_readable_instant_of_sending_a_timestamp_stays(sent_at: Any) -> None:
    body = {"userId": "ada", "event": "x", "timestamp": "2020-01-01T00:00:00.000Z", "sentAt": sent_at}

    assert "2020-01-01T00:00:00.000Z" == one("track", body)["timestamp"]


def test_an_unreadable_timestamp_is_rejected_and_one_that_is_missing_stays_missing() -> None:
    assert "unreadable_time" == reason(records("track", {"userId": "a", "event": "x", "timestamp": "soon"})[0])
    assert "timestamp" not in one("track", {"userId": "a", "event": "x", "sentAt": "2020-01-01T00:00:30Z"})


def test_the_senders_address_is_told_only_where_it_asks_for_that() -> None:
    assert "203.0.113.7" == one("page", {"userId": "a", "context": {"direct": True}})["context"]["ip"]
    assert "9.9.9.9" == one("page", {"userId": "a", "context": {"direct": True, "ip": "9.9.9.9"}})["context"]["ip"]
    assert "ip" not in one("page", {"userId": "a"})["context"]


def test_of_a_key_that_stands_twice_the_last_counts() -> None:
    event = one("track", b'{"userId":"ada","userId":"bob","event":"x","event":"y"}')

    assert ("bob", "y") == (event["userId"], event["event"])


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("track", b""),
        ("track", b"nope"),
        ("track", b"[]"),
        ("track", b'"text"'),
        ("track", b'{"userId":"\xff"}'),
        ("track", b'{"a":' * 100 + b"1" + b"}" * 100),
        ("track", b'{"a":' * 5000),
        ("track", b'{"price":1e-400}'),
        ("batch", b""),
        ("batch", b"{}"),
        ("batch", b"[]"),
        ("batch", b'{"batch":null}'),
        ("batch", b'{"batch":{"type":"track"}}'),
        ("batch", b'{"batch":"[]"}'),
        ("batch", b'{"batch":[1,]}'),
        ("batch", b'{"batch":[' + b"[" * 100_000),
        ("batch", b'{"batch":[],"context":5}'),
        ("batch", b'{"batch":[],"integrations":true}'),
        ("batch", b'{"batch":[],"writeKey":"\xff"}'),
    ],
)
def test_a_body_that_is_no_call_is_refused_with_what_was_expected(name: str, body: bytes) -> None:
    with pytest.raises(Refused, match="expected") as refused:
        read_call(name, body)
    assert "invalid_request" == refused.value.code


def test_a_body_over_the_published_limit_is_refused_and_an_event_of_a_batch_rejected() -> None:
    event = {"type": "track", "userId": "ada", "event": "x", "properties": {"text": "x" * EVENT_BYTES_MAX}}
    with pytest.raises(Refused, match="expected at most 32768 bytes"):
        read_call("track", json.dumps(event).encode())
    with pytest.raises(Refused, match="expected at most 512000 bytes"):
        read_call("batch", b'{"batch":[]}'.ljust(BATCH_BYTES_MAX + 1))
    assert ["too_large"] == list(map(reason, records("batch", {"batch": [event]})))


def test_events_beyond_the_limit_of_a_batch_are_rejected_together() -> None:
    events = [{"type": "page", "userId": f"c-{n}"} for n in range(BATCH_EVENTS_MAX + 2)]
    taken = records("batch", {"batch": events})

    assert [None] * BATCH_EVENTS_MAX + ["too_large"] == list(map(reason, taken))
    assert events[-2:] == orjson.loads(taken[-1].value)


def test_what_stands_beside_the_events_has_the_bound_of_an_event() -> None:
    """It is in the record of each: a batch of half a megabyte was records of 600 MB."""
    body = {"batch": [{"type": "page", "userId": "ada"}], "context": {"text": "x" * EVENT_BYTES_MAX}}
    with pytest.raises(Refused, match="expected at most 32768 bytes beside the events") as refused:
        records("batch", body)
    assert "too_large" == refused.value.code


def test_a_batch_that_becomes_far_more_than_it_is_is_refused() -> None:
    body = {"batch": [{"type": "page", "userId": "ada"}] * BATCH_EVENTS_MAX, "context": {"text": "x" * 2_000}}
    with pytest.raises(Refused, match="expected at most 4194304 bytes") as refused:
        records("batch", body)
    assert "too_large" == refused.value.code

    assert 1_000 == len(records("batch", {**body, "batch": body["batch"][:1_000]}))


def test_the_loop_gets_its_turn_after_some_events_or_few_that_are_large() -> None:
    """Half a megabyte of arrays in arrays took a quarter of a second, in which nobody else was answered."""
    arrival = Arrival("website", NOW_MS, None, lambda: "gw-0")
    large = {"type": "page", "userId": "ada", "properties": {"a": [[]] * 2_000}}
    for event, count, most in (({}, 600, 250), (large, 40, 6)):
        call = read_call("batch", orjson.dumps({"batch": [event] * count}))
        turns = [len(some) for some in records_of(call, arrival)]

        assert count == sum(turns)
        assert most == max(turns)


def test_a_batch_of_nothing_is_nothing() -> None:
    assert [] == records("batch", {"batch": []})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    "type", "userId", "anonymousId", "event", "properties", "traits", "context", "groupId", "previousId", "timestamp",
    "sentAt", "originalTimestamp", "messageId", "receivedAt", "integrations", "writeKey", "name",
)  # fmt: skip
EVENTS = st.dictionaries(st.sampled_from(FIELDS), st.sampled_from(TYPES) | JSON, max_size=12)


@given(st.lists(EVENTS, max_size=4), st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=4))
def test_whatever_a_batch_holds_each_event_is_one_that_a_worker_reads_or_is_rejected(
    events: list[dict[str, Any]], beside: dict[str, Any]
) -> None:
    try:
        taken = records("batch", {"batch": events, **beside})
    except Refused:
        return
    assert len(events) == len(taken)
    for record in taken:
        if record.topic == REJECTED.name:
            continue
        event = parse_event(record.value)
        assert event.contact.encode() == record.key
        assert event.message_id
        assert NOW_MS == event.received_at_ms == parse_instant(format_instant(NOW_MS), offset_required=True)


@given(st.binary(max_size=200), st.sampled_from(["track", "batch"]))
def test_whatever_bytes_come_they_are_taken_or_refused(body: bytes, name: str) -> None:
    try:
        records(name, body)
    except Refused:
        return


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("track", {"event": "Of nobody", "writeKey": 'a "secret" key'}),
        ("batch", {"batch": [{"type": "track", "writeKey": 'a "secret" key', "event": "Of nobody"}]}),
        ("batch", {"batch": [{"type": "track", "event": "Too long", "x": "x" * 40_000, "writeKey": 'a "secret" key'}]}),
    ],
)
def test_what_is_rejected_is_kept_as_it_came_but_for_the_write_key(name: str, body: dict[str, Any]) -> None:
    """Whoever may read `rejected` could send in the sender's name."""
    (record,) = records(name, body)

    assert "rejected" == record.topic
    assert b"secret" not in record.value
    sent = body["batch"][0] if name == "batch" else body
    assert {**sent, "writeKey": "***"} == json.loads(record.value)
