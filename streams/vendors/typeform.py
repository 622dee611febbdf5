"""Typeform: a form that was filled in (https://www.typeform.com/developers/webhooks/).

Signed over the raw body with no time in it, so that a repeat is known by its `event_id` alone.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from schemas.instants import format_instant
from streams.vendors.contract import Meaning, Names, Notification, Request, Said, Vendor, text_of, user_id_in
from streams.vendors.signing import base64_digest, header, prove_one_of
from streams.vendors.values import at, iso, json_object, mapping, present, written

SIGNATURE: Final = "Typeform-Signature"
# of an answer whose value doesn't stand under the name of its type: where it stands
_VALUES: Final = {"choice": ("choice", "label"), "choices": ("choices", "labels"), "payment": ("payment", "amount")}


def prove(request: Request, secrets: Sequence[str], now_ms: int) -> None:
    """`sha256=` and the HMAC of the body in base64."""
    prove_one_of([header(request, SIGNATURE)], [_signature(request.body, secret) for secret in secrets], SIGNATURE)


def sign(body: bytes, secret: str, url: str, now_ms: int) -> dict[str, str]:
    """The header that proves `body`."""
    return {SIGNATURE: _signature(body, secret)}


def read(request: Request) -> list[Notification]:
    """The one notification of a body."""
    body = json_object(request.body)
    name = text_of(body.get("event_type")) or "event"
    return [Notification(name, text_of(body.get("event_id")), iso(at(body, "form_response", "submitted_at")), body)]


def mean(notification: Notification) -> Meaning:
    """`Form Submitted` with `answers.<ref>`; hidden fields, where they aren't the user's id, as `hidden.<name>`."""
    response = mapping(notification.body.get("form_response"))
    answers = [mapping(each) for each in response.get("answers") or () if isinstance(each, dict)]
    hidden = mapping(response.get("hidden"))
    names = Names(
        user_id=user_id_in(hidden),
        email=next((found for each in answers if (found := text_of(each.get("email")))), None)
        or text_of(hidden.get("email")),
    )
    properties = present(
        form_id=response.get("form_id"),
        form_name=at(response, "definition", "title"),
        answers={_ref(each): _value(each) for each in answers if _ref(each)},
        hidden=hidden,
        score=at(response, "calculated", "score"),
        landed_at=written(iso(response.get("landed_at"))),
        response_id=response.get("token"),
    )
    if notification.name != "form_response":
        return Meaning(names, properties=properties)
    # not linked: whoever fills in a form may write anybody's address
    return Meaning(names, (Said("Form Submitted", properties),), traits=present(email=names.email))


def _ref(answer: dict[str, Any]) -> str:
    # a field without a `ref` of the author's has an id
    return text_of(at(answer, "field", "ref")) or text_of(at(answer, "field", "id")) or ""


def _value(answer: dict[str, Any]) -> Any:
    kind = text_of(answer.get("type")) or ""
    found = at(answer, *_VALUES.get(kind, (kind,)))
    # what a person wrote into "other"
    return found if found is not None else at(answer, kind, "other")


def _signature(body: bytes, secret: str) -> str:
    return "sha256=" + base64_digest(secret, body)


def _sample(now_ms: int) -> bytes:
    answered = {"type": "text", "text": "A sample", "field": {"id": "f1", "ref": "comment", "type": "short_text"}}
    address = {"type": "email", "email": "ada@example.com", "field": {"id": "f2", "ref": "email", "type": "email"}}
    response = {
        "form_id": "sample",
        "token": f"sample-{now_ms}",
        "submitted_at": format_instant(now_ms),
        "definition": {"id": "sample", "title": "A sample"},
        "answers": [answered, address],
    }
    return orjson.dumps({"event_id": f"sample-{now_ms}", "event_type": "form_response", "form_response": response})


VENDOR = Vendor("typeform", "Typeform", prove, read, mean, _sample, sign)
