"""Typeform: a form that was filled in.

Page: https://www.typeform.com/developers/webhooks/. Typeform is told the URL of the connection and, as Secret, the connection's
secret.

* Proof: `Typeform-Signature`, `sha256=` and the HMAC-SHA256 of the raw body in base64.
* Contact: a hidden field `user_id` (or `userId`), else the first e-mail address that was answered, else a hidden field `email`.
  None is linked to another: whoever fills in a form may write anybody's address, and into the URL anybody's id. For the same
  reason the trait `email` is only set where the address is what the contact is found by.
* What is told: `Form Submitted` with `answers.<ref>`, the author's name of a field, which a webhook has in the definition only,
  or its id where the author gave none; hidden fields as `hidden.<name>`. A partial response is `Typeform form_response_partial`.
* Order: there is none, each response comes once.
* Replays: no time is signed, so that a repeat is known by its `event_id` alone.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from schemas.instants import format_instant
from streams.vendors.contract import Meaning, Names, Notification, Request, Said, Vendor, text_of, user_id_in
from streams.vendors.signing import base64_digest, header, prove_one_of
from streams.vendors.values import at, iso, json_object, mapping, objects, present, written

SIGNATURE: Final = "Typeform-Signature"


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
    """`Form Submitted` with `answers.<ref>`; another kind of event is told with the same properties."""
    response = mapping(notification.body.get("form_response"))
    answers, hidden = objects(response.get("answers")), mapping(response.get("hidden"))
    names = Names(
        user_id=user_id_in(hidden),
        email=next((found for each in answers if (found := text_of(each.get("email")))), None)
        or text_of(hidden.get("email")),
    )
    refs = {
        text_of(field.get("id")): text_of(field.get("ref")) for field in objects(at(response, "definition", "fields"))
    }
    properties = present(
        form_id=response.get("form_id"),
        form_name=at(response, "definition", "title"),
        answers={ref: _value(each) for each in answers if (ref := _ref(each, refs))},
        hidden=hidden,
        score=at(response, "calculated", "score"),
        landed_at=written(iso(response.get("landed_at"))),
        response_id=response.get("token"),
    )
    if notification.name != "form_response":
        return Meaning(names, properties=properties)
    return Meaning(names, (Said("Form Submitted", properties),), traits=present(email=names.email), claimed=True)


def _ref(answer: dict[str, Any], refs: dict[str | None, str | None]) -> str | None:
    id = text_of(at(answer, "field", "id"))
    return text_of(at(answer, "field", "ref")) or refs.get(id) or id


def _value(answer: dict[str, Any]) -> Any:
    """An answer without what it is wrapped in; of choices the labels, with what a person wrote into "other" as the last."""
    kind = text_of(answer.get("type")) or ""
    found = answer.get(kind)
    other = at(found, "other")
    if kind == "choices":
        labels = at(found, "labels")
        return [*(labels if isinstance(labels, list) else ()), *([] if other is None else [other])]
    if kind == "choice":
        return at(found, "label") if other is None else other
    return at(found, "amount") if kind == "payment" else found


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
