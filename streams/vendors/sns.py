"""How SNS proves what it delivers by HTTPS (https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html).

Amazon signs for everybody's topics with the same keys, so a message is believed only if it is of the connection's own topic: its
ARN is the secret. Certificates are got from Amazon's hosts and from nowhere else.
"""

import base64
import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from schemas.rejected import Rejection
from streams.vendors.contract import Request, Unproved, Wanted
from streams.vendors.signing import SECOND_MS, prove_age
from streams.vendors.values import iso, json_object

AGE_MS_MAX: Final = 12 * 3600 * SECOND_MS
NOTIFICATION: Final = "Notification"
CONFIRMATION: Final = "SubscriptionConfirmation"
_CONFIRMED: Final = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
# what is signed, by the type of the message
FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    NOTIFICATION: ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    CONFIRMATION: _CONFIRMED,
    "UnsubscribeConfirmation": _CONFIRMED,
}
_HASHES: Final[Mapping[str, type[hashes.HashAlgorithm]]] = {"1": hashes.SHA1, "2": hashes.SHA256}
# what stands behind the host of the topic's region
_CERTIFICATE: Final = re.compile(r"/[A-Za-z0-9_-]{1,100}\.pem", re.ASCII)
_AGREEMENT: Final = re.compile(r"/\?([!-~]*&)?Action=ConfirmSubscription(&[!-~]*)?", re.ASCII)
_URL_CHARACTERS_MAX: Final = 2000
_TOPIC: Final = re.compile(r"arn:aws(-[a-z-]+)?:sns:[a-z0-9-]+:\d+:[A-Za-z0-9_-]{1,256}(\.fifo)?", re.ASCII)


def prove(request: Request, secrets: Sequence[str], now_ms: int) -> None:
    """The topic, the certificate's place, the signature with it, then the age; `Wanted` for the certificate."""
    body = _body(request)
    if str(body.get("Type")) not in FIELDS or not isinstance(body.get("Signature"), str):
        raise Unproved("no_signature", "expected a signed SNS message in JSON; raw message delivery has to be off")
    topic = str(body.get("TopicArn")).encode("utf-8", "replace")
    if not sum(hmac.compare_digest(topic, secret.encode()) for secret in secrets):
        raise Unproved("not_theirs", "expected a message of this connection's SNS topic, got one of another")
    url = _pinned(body, "SigningCertURL", _CERTIFICATE)
    if url is None:
        expected = "SigningCertURL at https://sns.<the topic's region>.amazonaws.com"
        raise Unproved("not_theirs", f"expected {expected}, got another place")
    if url not in request.fetched:
        raise Wanted(url)
    if not _has_signed(request.fetched[url], body, now_ms):
        raise Unproved("wrong_signature", "expected SNS's signature of this message, got another")
    _prove_age(body, now_ms)


def confirms(request: Request) -> str | None:
    """What has to be called to agree to a subscription, at Amazon; None where nothing has to."""
    body = _body(request)
    return _pinned(body, "SubscribeURL", _AGREEMENT) if body.get("Type") == CONFIRMATION else None


def topic_problem(secret: str) -> str | None:
    """What the topic should have been; None when it is all right."""
    if _TOPIC.fullmatch(secret):
        return None
    return "expected the ARN of an SNS topic, arn:aws:sns:<region>:<account>:<topic>, got something else"


def canonical(body: dict[str, Any]) -> bytes | None:
    """What SNS signs: names and values, each a line, without a `Subject` that isn't there; None where another is missing."""
    lines: list[str] = []
    for name in FIELDS.get(str(body.get("Type")), ()):
        value = body.get(name)
        if value is None and name == "Subject":
            continue
        if not isinstance(value, str):
            return None
        lines += (name, value)
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _body(request: Request) -> dict[str, Any]:
    try:
        return json_object(request.body)
    except Rejection:
        return {}


def _pinned(body: dict[str, Any], key: str, pattern: re.Pattern[str]) -> str | None:
    url, origin = body.get(key), _origin(str(body.get("TopicArn")))
    if not isinstance(url, str) or len(url) > _URL_CHARACTERS_MAX or not url.startswith(origin):
        return None
    return url if pattern.fullmatch(url.removeprefix(origin)) else None


def _origin(topic: str) -> str:
    """Where SNS is in the topic's own region: `sns.s3-us-west-2.amazonaws.com` would be whoever has the bucket `sns`."""
    _, partition, _, region, *_ = [*topic.split(":"), "", "", "", ""]
    return f"https://sns.{region}.amazonaws.com" + (".cn" if partition == "aws-cn" else "")


def _has_signed(certificate: bytes, body: dict[str, Any], now_ms: int) -> bool:
    algorithm, signed = _HASHES.get(str(body.get("SignatureVersion"))), canonical(body)
    if algorithm is None or signed is None:
        return False
    try:
        signature = base64.b64decode(body["Signature"], validate=True)
        read = x509.load_pem_x509_certificate(certificate)
        key = read.public_key()
        now = datetime.fromtimestamp(now_ms / SECOND_MS, UTC)
        if not isinstance(key, rsa.RSAPublicKey) or not read.not_valid_before_utc <= now <= read.not_valid_after_utc:
            return False
        key.verify(signature, signed, padding.PKCS1v15(), algorithm())
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


def _prove_age(body: dict[str, Any], now_ms: int) -> None:
    published_at_ms = iso(body.get("Timestamp"))
    if published_at_ms is None:
        raise Unproved("old", "expected an instant as Timestamp, got something else")
    prove_age(published_at_ms, now_ms, AGE_MS_MAX)
