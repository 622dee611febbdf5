"""Amazon SES over SNS: whose topic, whose certificate, and one event for each recipient."""

import base64
import datetime
import json
from functools import cache
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from schemas.instants import format_instant
from schemas.rejected import Reason, Rejection
from streams.vendors.contract import Doubt, Unproved, Unsignable, Wanted
from streams.vendors.ses import VENDOR
from streams.vendors.sns import AGE_MS_MAX, canonical
from tests.unit.vendors import hostile
from tests.unit.vendors.mail import bodies, cases, check, named, payload, suppressed
from tests.unit.vendors.payloads import NOW_MS, events, request

TOPIC = "arn:aws:sns:us-east-1:123456789012:ses-events"
PLACE = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
AGREE = f"https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=abc"


def _enveloped(message: Any) -> bytes:
    return json.dumps({"Type": "Notification", "MessageId": "m", "Message": json.dumps(message)}).encode()


test_no_body_does_more_than_be_refused = hostile.reading(VENDOR, bodies("amazon_ses"))
test_no_message_inside_does_more_than_be_refused = hostile.reading(
    VENDOR, [orjson.loads(each["Message"]) for each in bodies("amazon_ses")], encode=_enveloped
)
test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, ["x-amz-sns-message-type"], secret=TOPIC)


@cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def certificate(until_ms: int = NOW_MS + 1_000_000) -> bytes:
    """Amazon's, as far as these tests go."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    until = datetime.datetime.fromtimestamp(until_ms / 1000, datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(_key().public_key())
    builder = builder.serial_number(1).not_valid_before(until - datetime.timedelta(days=365)).not_valid_after(until)
    return builder.sign(_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def signed(version: str = "2", **fields: Any) -> dict[str, Any]:
    """A message as SNS would sign it."""
    body = {
        "Type": "Notification",
        "MessageId": "m-1",
        "TopicArn": TOPIC,
        "Message": '{"eventType": "Send", "mail": {"messageId": "e-1", "destination": ["ada@example.com"]}}',
        "Timestamp": format_instant(NOW_MS),
        "SignatureVersion": version,
        "SigningCertURL": PLACE,
        **fields,
    }
    text = canonical(body)
    assert text is not None
    algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()
    body["Signature"] = base64.b64encode(_key().sign(text, padding.PKCS1v15(), algorithm)).decode()
    return body


def _doubt(
    body: Any,
    *,
    topics: tuple[str, ...] = (TOPIC,),
    now_ms: int = NOW_MS,
    fetched: dict[str, bytes] | None = None,
) -> Doubt | None:
    asked = request(body)
    found = {PLACE: certificate()} if fetched is None else fetched
    asked = type(asked)(asked.method, asked.url, asked.headers, asked.body, asked.received_at_ms, found)
    try:
        VENDOR.prove(asked, topics, now_ms)
    except Unproved as unproved:
        return unproved.doubt
    return None


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", [{}, {"Subject": "Amazon SES Email Event Notification"}])
def test_a_signed_notification_is_believed_and_with_any_field_changed_it_is_not(
    version: str, subject: dict[str, str]
) -> None:
    body = signed(version, **subject)
    assert _doubt(body) is None
    for name in ("Message", "MessageId", "Timestamp", "Signature", *subject):
        for at in range(0, len(body[name]), 7):
            other = "0" if body[name][at] != "0" else "1"
            assert _doubt({**body, name: body[name][:at] + other + body[name][at + 1 :]}) is not None, (name, at)
    for name in set(body) - {"SignatureVersion"}:
        assert _doubt({key: value for key, value in body.items() if key != name}) is not None, name
    for wrong in ("3", "", None, "1" if version == "2" else "2"):
        assert _doubt({**body, "SignatureVersion": wrong}) == "wrong_signature"


def test_the_signed_text_is_what_amazon_documents() -> None:
    body = {"Type": "Notification", "Message": "Hi", "MessageId": "1", "Timestamp": "t", "TopicArn": "a", "Token": "x"}
    assert canonical(body) == b"Message\nHi\nMessageId\n1\nTimestamp\nt\nTopicArn\na\nType\nNotification\n"
    body |= {"Type": "SubscriptionConfirmation", "SubscribeURL": "u", "Subject": "never signed"}
    assert canonical(body) == (
        b"Message\nHi\nMessageId\n1\nSubscribeURL\nu\nTimestamp\nt\nToken\nx\nTopicArn\na\nType\nSubscriptionConfirmation\n"
    )


def test_another_topic_is_not_believed_though_amazon_has_signed_it() -> None:
    stranger = signed(TopicArn="arn:aws:sns:us-east-1:999999999999:ses-events")
    # without looking for a certificate, which anybody could have us do then
    assert _doubt(stranger, fetched={}) == "not_theirs"
    assert _doubt(stranger, topics=(TOPIC, stranger["TopicArn"])) is None


@pytest.mark.parametrize(
    "place",
    [
        "http://sns.us-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com.evil.example/a.pem",
        "https://sns.us-east-1.amazonaws.com@evil.example/a.pem",
        "https://evil.example/sns.us-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com:8443/a.pem",
        "https://sns.us-east-1.amazonaws.com/a.pem?x=1",
        "https://sns.us-east-1.amazonaws.com/../a.pem",
        "https://sns.us-east-1.amazonaws.com/a.txt",
        "https://s3.us-east-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com.cn.evil/a.pem",
        "https://sns..amazonaws.com/a.pem",
        # somebody's bucket of that name, and another region than the topic's
        "https://sns.s3-us-west-2.amazonaws.com/a.pem",
        "https://sns.s3-accelerate.amazonaws.com/a.pem",
        "https://sns.eu-west-1.amazonaws.com/a.pem",
        "https://sns.us-east-1.amazonaws.com.cn/a.pem",
        "https://sns.us-east-1.amazonaws.com/a.pem\n",
        "",
        None,
        7,
    ],
)
def test_a_certificate_is_got_from_amazon_and_nowhere_else(place: Any) -> None:
    body = {**signed(), "SigningCertURL": place}
    assert _doubt(body, fetched={str(place): certificate()}) == "not_theirs"
    assert _doubt(body, fetched={}) == "not_theirs"


def test_a_certificate_may_be_chinas() -> None:
    place = "https://sns.cn-north-1.amazonaws.com.cn/SimpleNotificationService-ab12.pem"
    topic = "arn:aws-cn:sns:cn-north-1:123456789012:ses-events"
    body = signed(SigningCertURL=place, TopicArn=topic)
    with pytest.raises(Wanted, match=place):
        _doubt(body, topics=(topic,), fetched={})
    assert _doubt(body, topics=(topic,), fetched={place: certificate()}) is None


def test_a_certificate_that_is_over_or_none_proves_nothing() -> None:
    assert _doubt(signed(), fetched={PLACE: b"no certificate"}) == "wrong_signature"
    assert _doubt(signed(), fetched={PLACE: certificate(NOW_MS - 1000)}) == "wrong_signature"


def test_a_message_is_believed_for_twelve_hours() -> None:
    assert _doubt(signed(Timestamp=format_instant(NOW_MS - AGE_MS_MAX))) is None
    assert _doubt(signed(Timestamp=format_instant(NOW_MS - AGE_MS_MAX - 1))) == "old"
    assert _doubt(signed(Timestamp="yesterday")) == "old"


def _confirmation(**fields: Any) -> dict[str, Any]:
    asked = {"Type": "SubscriptionConfirmation", "Message": "You have chosen", "Token": "abc", "SubscribeURL": AGREE}
    return signed(**{**asked, **fields})


def test_a_subscription_of_this_topic_is_agreed_to_at_amazon_and_tells_nothing() -> None:
    body = _confirmation()
    assert _doubt(body) is None
    assert VENDOR.confirms(request(body)) == AGREE
    assert VENDOR.read(request(body)) == []
    assert _doubt({**body, "SubscribeURL": AGREE + "x"}) == "wrong_signature"


@pytest.mark.parametrize(
    "url",
    [
        AGREE.replace("https", "http"),
        AGREE.replace("amazonaws.com", "amazonaws.com.evil.example"),
        AGREE.replace("sns.us-east-1", "sns.s3-us-west-2"),
        AGREE.replace("/?", "@evil.example/?"),
        AGREE.replace("ConfirmSubscription", "DeleteTopic"),
        AGREE + " x",
        None,
    ],
)
def test_nothing_else_is_called_to_agree(url: Any) -> None:
    assert VENDOR.confirms(request({**_confirmation(), "SubscribeURL": url})) is None


def test_the_end_of_a_subscription_is_believed_and_neither_told_nor_undone() -> None:
    body = _confirmation(Type="UnsubscribeConfirmation")
    assert _doubt(body) is None
    assert VENDOR.confirms(request(body)) is None
    assert VENDOR.read(request(body)) == []


def test_what_amazon_says_of_itself_is_told_to_nobody() -> None:
    for message in (
        "Successfully validated SNS topic for Amazon SES event publishing.",
        '{"notificationType": "AmazonSnsSubscriptionSucceeded", "message": "You have successfully subscribed"}',
    ):
        assert VENDOR.read(request(signed(Message=message))) == []


def test_raw_message_delivery_is_not_believed_as_nothing_issigned() -> None:
    assert _doubt({"eventType": "Send", "mail": {}}) == "no_signature"
    assert _doubt(b"not JSON") == "no_signature"
    assert _doubt({**signed(), "Type": ["Notification"]}) == "no_signature"


def test_only_amazon_can_seal_a_sample() -> None:
    with pytest.raises(Unsignable, match="only Amazon has the private key"):
        VENDOR.seal(VENDOR.sample(NOW_MS), TOPIC, NOW_MS)
    assert named(VENDOR, request(VENDOR.sample(NOW_MS))) == [("ada@example.com", "Email Opened")]


def test_what_is_no_topic_is_refused_before_it_is_used() -> None:
    for topic in (TOPIC, "arn:aws-cn:sns:cn-north-1:1:t", "arn:aws-us-gov:sns:us-gov-west-1:1:t.fifo"):
        assert VENDOR.secret_problem(topic) is None
    for wrong in ("", "ses-events", "arn:aws:sqs:us-east-1:1:t", TOPIC + " "):
        assert VENDOR.secret_problem(wrong) is not None


@pytest.mark.parametrize("case", [case for case in cases("amazon_ses") if case.id != "test_incorrect_received_event"])
def test_a_notification_becomes_what_anymail_makes_of_it(case: Any) -> None:
    check(VENDOR, request(case["payload"]), case["expected"])


def test_mail_that_came_in_is_rejected_as_it_names_no_contact_of_ours() -> None:
    with pytest.raises(Rejection) as caught:
        events(VENDOR, request(payload("amazon_ses", "test_incorrect_received_event")))
    assert caught.value.reason == Reason.NO_CONTACT


def test_each_recipient_of_a_notification_has_an_event_of_its_own() -> None:
    made = events(VENDOR, request(payload("amazon_ses", "test_multiple_bounce_event")))
    assert [each["userId"] for each in made] == ["jane@example.com", "richard@example.com"]
    assert len({each["messageId"] for each in made}) == 2


def test_permanent_bounces_and_complaints_alone_suppress_the_address() -> None:
    found = suppressed(VENDOR, request(payload("amazon_ses", "test_multiple_bounce_event")))
    assert [each.address for each in found] == ["jane@example.com", "richard@example.com"]
    found = suppressed(VENDOR, request(payload("amazon_ses", "test_complaint_event")))
    assert [(each.address, each.why) for each in found] == [("richard@example.com", "a complaint")]
    for type in ("Transient", "Undetermined", None):
        bounce = {"bounceType": type, "bouncedRecipients": [{"emailAddress": "ada@example.com"}]}
        assert not suppressed(VENDOR, request(_message({"eventType": "Bounce", "bounce": bounce, "mail": {}})))


def _message(event: dict[str, Any]) -> dict[str, Any]:
    return signed(Message=orjson.dumps(event).decode())


def test_a_contact_is_named_by_the_messages_tag_before_the_address() -> None:
    mail = {"destination": ["ada@example.com"], "tags": {"user_id": ["u-1"]}}
    assert named(VENDOR, request(_message({"eventType": "Open", "mail": mail, "open": {}}))) == [
        ("u-1", "Email Opened")
    ]


def test_a_delay_is_deferred_for_those_it_names() -> None:
    delay = {"delayType": "MailboxFull", "delayedRecipients": [{"emailAddress": "bob@example.com"}]}
    mail = {"destination": ["ada@example.com", "bob@example.com"]}
    (made,) = events(VENDOR, request(_message({"eventType": "DeliveryDelay", "mail": mail, "deliveryDelay": delay})))
    assert (made["userId"], made["event"]) == ("bob@example.com", "Email Deferred")
    assert made["properties"]["description"] == "MailboxFull"


def _preferences(everything: bool, **topics: str) -> dict[str, Any]:
    listed = [{"topicName": name, "subscriptionStatus": status} for name, status in topics.items()]
    return {"unsubscribeAll": everything, "topicSubscriptionStatus": listed}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            _preferences(False, news="OptIn", tips="OptOut", kept="OptIn"),
            _preferences(False, news="OptOut", tips="OptIn", kept="OptIn"),
            [("Unsubscribed", "news"), ("Subscribed", "tips")],
        ),
        (_preferences(False, news="OptIn"), _preferences(True, news="OptIn"), [("Unsubscribed", None)]),
        (_preferences(True, news="OptIn"), _preferences(False, news="OptIn"), [("Subscribed", "news")]),
        (_preferences(False, news="OptIn"), _preferences(False, news="OptIn"), [("Amazon SES Subscription", None)]),
        (_preferences(False, news="OptOut"), _preferences(False, news="Maybe"), [("Amazon SES Subscription", None)]),
    ],
)
def test_who_changes_topics_leaves_or_joins_each_that_changed(before: Any, after: Any, expected: Any) -> None:
    told = {"contactList": "Everyone", "oldTopicPreferences": before, "newTopicPreferences": after}
    event = {"eventType": "Subscription", "mail": {"destination": ["ada@example.com"]}, "subscription": told}
    made = events(VENDOR, request(_message(event)))
    assert [(each["event"], each["properties"].get("group")) for each in made] == expected
