"""A webhook of which the connection says everything."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

import pytest
import standardwebhooks
import yaml

from schemas.rejected import Reason, Rejection
from streams.vendors.connection import Connection
from streams.vendors.connection_reading import load_connections
from streams.vendors.contract import Request, Unproved, Vendor
from streams.vendors.registry import vendor_for
from tests.unit.vendors import hostile
from tests.unit.vendors.payloads import NOW_MS, URL, events, parsed, request, vectors

SECRET = "secret-of-the-erp"
ERP = """
connections:
  - id: shop-erp
    vendor: generic
    secret: ERP
    title: ERP
    signature:
      header: X-Erp-Signature
      prefix: "v1="
      signed: "{timestamp}.{body}"
      timestamp: {prefix: "t="}
      tolerance: 2m
    notification: {id: $.id, name: $.topic, at: $.created}
    names: {user_id: $.customer.ref, email: $.customer.email, vendor_id: $.customer.id}
    events:
      order.paid: {event: Order Completed, properties: {total: $.order.total, channel: erp}, traits: {erp_tier: $.customer.tier}}
      stock.*: ignore
"""
ORDER = {
    "id": 17,
    "topic": "order.paid",
    "created": "2026-09-21T14:00:00Z",
    "customer": {"ref": "c-17", "email": "Ada@Example.com", "id": 4, "tier": "gold"},
    "order": {"total": "19.99"},
}


def _connected(text: str) -> tuple[Connection, Vendor]:
    (connection,) = load_connections(text)
    return connection, vendor_for(connection)


def _signed(signature: Any, **more: Any) -> Vendor:
    """The vendor of a connection with that `signature`."""
    written = {"id": "g", "vendor": "generic", "secret": "G", "signature": signature, **more}
    return _connected(yaml.safe_dump({"connections": [written]}))[1]


def _doubt(vendor: Vendor, asked: Request, *secrets: str, now_ms: int = NOW_MS) -> str | None:
    try:
        vendor.prove(asked, secrets or (SECRET,), now_ms)
    except Unproved as unproved:
        return unproved.doubt
    return None


def _told(body: Any, headers: dict[str, str] | None = None, text: str = ERP) -> list[dict[str, Any]]:
    connection, vendor = _connected(text)
    return events(vendor, request(body, headers), connection)


VENDOR = _connected(ERP)[1]
test_no_body_does_more_than_be_refused = hostile.reading(VENDOR, [ORDER, [ORDER, ORDER]])
test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, ["X-Erp-Signature"])
test_no_standard_header_does_more_than_be_doubted = hostile.proving(
    _signed("standard-webhooks"),
    ["webhook-id", "webhook-timestamp", "webhook-signature"],
    secret="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
)


def test_a_named_event_is_what_the_connection_says() -> None:
    """With literals and what its paths lead to, beside the whole object."""
    identified, told = _told(ORDER)

    assert (identified["userId"], identified["traits"]) == ("c-17", {"erp_tier": "gold"})
    assert (told["event"], told["userId"], told["messageId"]) == ("Order Completed", "c-17", "generic:shop-erp:17")
    assert told["properties"] == {**ORDER, "total": "19.99", "channel": "erp"}
    assert told["timestamp"] == "2026-09-21T14:00:00.000Z"
    assert parsed(told).name == "Order Completed"


def test_an_event_that_is_not_named_has_the_title_before_its_name() -> None:
    """Nothing is lost; what is to be ignored is."""
    (told,) = _told({**ORDER, "topic": "order.moved"})
    assert (told["event"], told["properties"]["id"]) == ("ERP order.moved", 17)
    assert _told({**ORDER, "topic": "stock.low"}) == []


@pytest.mark.parametrize(
    "customer, contact",
    [
        ({"ref": "c-17", "email": "a@b.c", "id": 4}, "c-17"),
        ({"ref": 17}, "17"),
        ({"ref": "", "email": "A@B.c", "id": 4}, "a@b.c"),
        ({"ref": {}, "email": None, "id": 4}, "shop-erp:4"),
    ],
)
def test_the_contact_is_the_first_that_there_is(customer: dict[str, Any], contact: str) -> None:
    """A vendor's id begins with the connection's: another system has the same numbers. Nothing is linked."""
    told = _told({**ORDER, "topic": "x", "customer": customer})

    assert [(event["type"], event["userId"]) for event in told] == [("track", contact)]


def test_who_is_nobody_is_refused() -> None:
    """With what to do about it."""
    with pytest.raises(Rejection, match="`user_id:` of connection 'shop-erp' can say where it stands") as raised:
        _told({**ORDER, "customer": None})
    assert raised.value.reason is Reason.NO_CONTACT


@pytest.mark.parametrize(
    "at, at_ms",
    [
        ("2026-09-21T16:00:00+02:00", 1_790_000_000_000 - 800_000),
        (1_789_999_200, 1_789_999_200_000),
        (1_789_999_200.5, 1_789_999_200_500),
        ("1789999200123", 1_789_999_200_123),
        (None, NOW_MS),
        ("yesterday", NOW_MS),
    ],
)
def test_instants_are_iso_or_epoch_seconds_or_milliseconds(at: Any, at_ms: int) -> None:
    """What is none of them is that of arrival."""
    assert parsed(_told({**ORDER, "created": at})[-1]).occurred_at_ms == at_ms


def test_each_object_of_an_array_is_a_notification() -> None:
    """With its own id; one without an id has one made of what it says."""
    nameless = {"customer": {"ref": "c"}, "topic": "x"}
    told = _told([{**ORDER, "topic": "x"}, nameless, nameless, {**nameless, "n": 1}])

    ids = [event["messageId"] for event in told]
    assert ids[0] == "generic:shop-erp:17"
    assert ids[1] == ids[2] != ids[3]


GITHUB = """
connections:
  - id: repository
    vendor: generic
    secret: GITHUB
    signature: {header: X-Hub-Signature-256, prefix: "sha256="}
    notification: {id: {header: X-GitHub-Delivery}, name: {header: X-GitHub-Event}}
    names: {vendor_id: $.sender.id}
"""


def test_ids_and_names_may_stand_in_headers() -> None:
    """As with GitHub, whose page has this very signature of "Hello, World!"; of an array each still has an id of its own."""
    vendor = _connected(GITHUB)[1]
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    headers = {"X-GitHub-Delivery": "d-1", "X-GitHub-Event": "star"}

    proved = request(b"Hello, World!", {"X-Hub-Signature-256": signature})
    assert _doubt(vendor, proved, "It's a Secret to Everybody") is None
    (told,) = _told({"sender": {"id": 5}}, headers, GITHUB)
    assert (told["event"], told["userId"]) == ("repository star", "repository:5")
    assert told["messageId"] == "generic:repository:d-1"
    both = _told([{"sender": {"id": 5}}, {"sender": {"id": 6}}], headers, GITHUB)
    assert [event["messageId"] for event in both] == ["generic:repository:d-1:0", "generic:repository:d-1:1"]


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_a_signature_is_of_every_byte(algorithm: str, encoding: str) -> None:
    """Of each algorithm in each encoding, against a computation of its own; one byte changed and it is not believed."""
    vendor = _signed({"header": "X-Sign", "algorithm": algorithm, "encoding": encoding})
    body = b'{"total":19.99}'
    made = hmac.new(SECRET.encode(), body, getattr(hashlib, algorithm)).digest()
    written = made.hex() if encoding == "hex" else base64.b64encode(made).decode()

    assert _doubt(vendor, request(body, {"X-Sign": written})) is None
    assert _doubt(vendor, request(body, {"X-Sign": written}), "another", SECRET) is None
    assert _doubt(vendor, request(body, {"X-Sign": written}), "another") == "wrong_signature"
    assert _doubt(vendor, request(body)) == "no_signature"
    for at in range(len(body)):
        changed = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
        assert _doubt(vendor, request(changed, {"X-Sign": written})) == "wrong_signature"
    for at in range(len(written)):
        changed_text = written[:at] + "~" + written[at + 1 :]
        assert _doubt(vendor, request(body, {"X-Sign": changed_text})) == "wrong_signature"


def test_a_header_may_have_several_signatures_and_its_time() -> None:
    """While the sender changes its secret; the prefix says which they are."""
    body = b"{}"
    time = NOW_MS // 1000
    made = hmac.new(SECRET.encode(), f"{time}.".encode() + body, "sha256").hexdigest()

    for written in (f"t={time},v1={made}", f"t={time}; v1=00, v1={made.upper()} v0=1"):
        assert _doubt(VENDOR, request(body, {"X-Erp-Signature": written})) is None
    for written in (
        f"t={time},v0={made}",
        f"t={time},{made}",
        f"v1={made}",
        f"t={time + 1},v1={made}",
        f"t=,v1={made}",
        made,
    ):
        assert _doubt(VENDOR, request(body, {"X-Erp-Signature": written})) == "wrong_signature"


def test_what_was_signed_too_long_ago_or_too_early_is_old() -> None:
    """The bound itself is allowed; asked after the signature, so that who doesn't know the secret learns nothing."""
    signed = request(b"{}", VENDOR.sign(b"{}", SECRET, URL, NOW_MS))

    for off_ms, doubt in ((120_000, None), (120_001, "old"), (-120_000, None), (-121_001, "old")):
        assert _doubt(VENDOR, signed, now_ms=NOW_MS + off_ms) == doubt
    assert _doubt(VENDOR, signed, "another", now_ms=NOW_MS + 10**9) == "wrong_signature"


def test_a_time_may_stand_in_a_header_of_its_own_in_either_unit() -> None:
    """And the method and URL may be signed with it."""
    signed = {
        "header": "X-Sign",
        "signed": "{method}{url}{body}{timestamp}",
        "timestamp": {"header": "X-Time", "unit": "ms"},
    }
    vendor = _signed(signed)
    made = hmac.new(SECRET.encode(), f"POST{URL}{{}}{NOW_MS}".encode(), "sha256").hexdigest()
    headers = {"X-Sign": made, "X-Time": str(NOW_MS)}

    assert _doubt(vendor, request(b"{}", headers)) is None
    assert _doubt(vendor, request(b"{}", headers, url=URL + "?a")) == "wrong_signature"
    assert _doubt(vendor, request(b"{}", {**headers, "X-Time": str(NOW_MS + 1)})) == "wrong_signature"
    assert _doubt(vendor, request(b"{}", {"X-Sign": made})) == "no_signature"
    assert _doubt(vendor, request(b"{}", headers), now_ms=NOW_MS + 300_001) == "old"


def test_basic_is_the_login_that_the_secret_is() -> None:
    """Whose form is checked where it is read."""
    vendor = _signed("basic")

    assert _doubt(vendor, request(b"{}", {"Authorization": "Basic dXNlcjpwYXNzd29yZA=="}), "user:password") is None
    assert (
        _doubt(vendor, request(b"{}", {"Authorization": "Basic dXNlcjpwYXNzd29yZB=="}), "user:password")
        == "wrong_login"
    )
    assert _doubt(vendor, request(b"{}"), "user:password") == "no_login"
    assert vendor.secret_problem("user:password") is None
    assert vendor.secret_problem("password") is not None


def test_standard_webhooks_are_those_of_its_own_library() -> None:
    """Its published vector, and what the library signs, and one byte changed of each part."""
    vector, vendor = vectors("standard-webhooks"), _signed("standard-webhooks")
    secret, body, headers = vector["secret"], vector["body"].encode(), vector["headers"]
    then_ms = int(headers["webhook-timestamp"]) * 1000

    assert _doubt(vendor, request(body, headers), secret, now_ms=then_ms + 300_000) is None
    assert _doubt(vendor, request(body, headers), secret, now_ms=then_ms + 300_001) == "old"
    assert _doubt(vendor, request(body + b" ", headers), secret, now_ms=then_ms) == "wrong_signature"
    for name, value in headers.items():
        changed = value[:-2] + chr(ord(value[-2]) ^ 1) + value[-1:]
        assert _doubt(vendor, request(body, {**headers, name: changed}), secret, now_ms=then_ms) == "wrong_signature"
        without = {key: each for key, each in headers.items() if key != name}
        assert _doubt(vendor, request(body, without), secret, now_ms=then_ms) == "no_signature"

    text, at = '{"größe": 1}', datetime.fromtimestamp(NOW_MS // 1000, UTC)
    signature = standardwebhooks.Webhook(secret).sign("msg_1", at, text)
    several = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(NOW_MS // 1000),
        "webhook-signature": f"v1,AAAA v1a,BBBB {signature}",
    }
    assert _doubt(vendor, request(text.encode(), several), secret) is None
    assert vendor.secret_problem(secret) is None
    for wrong in ("whsec_", "whsec_====", secret.removeprefix("whsec_"), "whsec_" + "A" * 200, "whsec_ö"):
        assert vendor.secret_problem(wrong) is not None


@pytest.mark.parametrize(
    "signature, secret",
    [
        ({"header": "X-Sign", "prefix": "sha256="}, SECRET),
        ({"header": "X-Sign", "signed": "{timestamp}{body}", "timestamp": {"header": "X-Time", "unit": "ms"}}, SECRET),
        ({"header": "X-Sign", "signed": "{timestamp}{body}", "timestamp": {"prefix": "t="}, "prefix": "v="}, SECRET),
        ("basic", "user:password"),
        ("standard-webhooks", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    ],
)
def test_a_sample_is_proved_and_has_what_the_connection_looks_for(signature: Any, secret: str) -> None:
    """In the body, and in headers; a path that goes by more than names is left to a payload of one's own."""
    vendor = _signed(
        signature,
        notification={"id": "$.meta.id", "name": {"header": "X-Topic"}, "at": "$.meta['sent at']"},
        names={"email": "$.people[0].email", "user_id": "$.account.id"},
    )
    body = vendor.seal(vendor.sample(NOW_MS), secret, NOW_MS)
    asked = request(body, vendor.sign(body, secret, URL, NOW_MS))

    vendor.prove(asked, [secret], NOW_MS)
    (told,) = events(vendor, asked)
    assert (told["event"], told["userId"], told["messageId"]) == ("g sample-name", "sample", "generic:g:sample-id")
