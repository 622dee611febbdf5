"""HubSpot: the webhooks of an app's subscriptions, and those that workflows send.

Pages: https://developers.hubspot.com/docs/api/webhooks and .../webhooks/validating-requests. HubSpot is told the URL of the
connection as the app's Target URL, or in a workflow's "Send a webhook" with "Include request signature in header" and the app's
id; the connection's secret is the app's client secret.

* Proof: `X-HubSpot-Signature-v3`, the HMAC-SHA256 in base64 of method, URI, body and `X-HubSpot-Request-Timestamp` (ms). Older
  signatures, which HubSpot sends beside it and which say no time, are not looked at. The URI is the one that HubSpot called, so
  behind a proxy the gateway has to know its public address.
* Contact: of a contact the property `user_id` (or `userId`), else its `email`, else its id (`hubspot:251`); these are linked to
  each other, as the company's own people wrote them. Companies are `hubspot:company:<id>`. A deal, ticket or anything else says
  nobody's name: `user_id:` of the connection can say where a workflow put one, or `events: {deal.*: ignore}`.
  A subscription says nothing but the id until `email` changes. Whose address changes is another contact then, unless the
  connection has `contact: [user_id, vendor_id, email]`.
* What is told: `Contact Created`, `Contact Updated` (a property), `Contact Deleted`, `Contact Restored`, `Contact Merged`, and
  the same of `Company`; a workflow's object is `HubSpot workflow.contact`, which `events:` names as what the workflow is for.
* Traits: `email phone firstName lastName title website createdAt`, of a company `name website phone industry description
  employees createdAt`; every other property is `hubspot.<name>`, so that it takes no other source's trait. Of a whole object
  those that begin with `hs_`, HubSpot's bookkeeping, are left out. Dates, which HubSpot has as ms in text, are ISO 8601.
* Order: a property by `occurredAt`, an object by when it was last modified.
* Replays: five minutes, and an id made of event, object and instant, as `eventId` alone is not unique.
* Somebody's erasure in HubSpot (`contact.privacyDeletion`) keeps its name: whether it is one here is for the company to say.
"""

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import unquote

import orjson

from streams.vendors.contract import Meaning, Names, Notification, Request, Said, Vendor, text_of, user_id_in
from streams.vendors.signing import base64_digest, header, number_in, prove_age, prove_one_of
from streams.vendors.values import at, json_object, json_objects, mapping, milliseconds, present, written

SIGNATURE: Final = "X-HubSpot-Signature-v3"
TIMESTAMP: Final = "X-HubSpot-Request-Timestamp"
WORKFLOW: Final = "workflow."
# as generic subscriptions and objects name their kinds
_KINDS: Final = {"0-1": "contact", "0-2": "company", "0-3": "deal", "0-5": "ticket"}
_NAMED: Final = {"contact": "Contact", "company": "Company"}
_DONE: Final = {
    "creation": "Created",
    "propertyChange": "Updated",
    "deletion": "Deleted",
    "restore": "Restored",
    "merge": "Merged",
}
_TRAITS: Final = {
    "contact": {
        "email": "email",
        "phone": "phone",
        "firstname": "firstName",
        "lastname": "lastName",
        "jobtitle": "title",
        "website": "website",
        "createdate": "createdAt",
    },
    "company": {
        "name": "name",
        "website": "website",
        "phone": "phone",
        "industry": "industry",
        "description": "description",
        "numberofemployees": "employees",
        "createdate": "createdAt",
    },
}
_DATE: Final = re.compile(r"(date|timestamp)$")
_MS: Final = re.compile(r"-?\d{12,14}", re.ASCII)
# what HubSpot decodes in the URI before it signs
_DECODED: Final = re.compile(r"%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)


def prove(request: Request, secrets: Sequence[str], now_ms: int) -> None:
    """The HMAC in base64 of method, URI, body and time."""
    given, timestamp = header(request, SIGNATURE), header(request, TIMESTAMP)
    wanted = [_signature(request.method, request.url, request.body, timestamp, secret) for secret in secrets]
    prove_one_of([given], wanted, SIGNATURE)
    prove_age(number_in(timestamp, TIMESTAMP), now_ms)


def sign(body: bytes, secret: str, url: str, now_ms: int) -> dict[str, str]:
    """The headers that prove `body`."""
    return {TIMESTAMP: str(now_ms), SIGNATURE: _signature("POST", url, body, str(now_ms), secret)}


def _signature(method: str, url: str, body: bytes, timestamp: str, secret: str) -> str:
    called = method + _DECODED.sub(lambda found: unquote(found.group()), url)
    signed = called.encode("utf-8", "surrogateescape") + body + timestamp.encode("utf-8", "surrogateescape")
    return base64_digest(secret, signed)


def read(request: Request) -> list[Notification]:
    """What subscriptions tell, which is an array; or the object of a workflow."""
    if request.body.lstrip()[:1] == b"[":
        return [_change(body) for body in json_objects(request.body)]
    body = json_object(request.body)
    return [Notification(WORKFLOW + _kind_of(body), None, None, body)]


def _change(body: dict[str, Any]) -> Notification:
    kind, _, done = (text_of(body.get("subscriptionType")) or "event").partition(".")
    if kind == "object":
        kind = _KINDS.get(text_of(body.get("objectTypeId")) or "", kind)
    parts = [text_of(body.get(key)) for key in ("eventId", "subscriptionId", "objectId", "propertyName", "occurredAt")]
    id = ":".join(part or "" for part in parts) if parts[0] else None
    return Notification(f"{kind}.{done}" if done else kind, id, milliseconds(body.get("occurredAt")), body)


def _kind_of(body: dict[str, Any]) -> str:
    if "vid" in body:
        return "contact"
    kind = text_of(body.get("objectType"))
    return kind.lower() if kind else _KINDS.get(text_of(body.get("objectTypeId")) or "", "object")


def mean(notification: Notification) -> Meaning:
    """A change of an object, or the object as it is."""
    if notification.name.startswith(WORKFLOW):
        return _object(notification.name.removeprefix(WORKFLOW), notification.body)
    kind, _, done = notification.name.partition(".")
    body = notification.body
    id, changed, value = text_of(body.get("objectId")), text_of(body.get("propertyName")), body.get("propertyValue")
    traits: dict[str, Any] = {}
    email = None
    if done == "propertyChange" and changed and "propertyValue" in body:
        traits = {_trait(kind, changed): _value(changed, value)}
        email = text_of(value) if (kind, changed) == ("contact", "email") else None
    properties = present(
        object_id=id or text_of(body.get("primaryObjectId")),
        object_type=kind,
        property=changed,
        value=None if changed is None else _value(changed, value),
        change_source=body.get("changeSource"),
        merged_ids=body.get("mergedObjectIds"),
    )
    names = _names(kind, properties.get("object_id"), email, None)
    if kind in _NAMED and done in _DONE:
        said = Said(f"{_NAMED[kind]} {_DONE[done]}", properties)
        return Meaning(names, (said,), traits=traits if kind in _TRAITS else {}, links=True)
    return Meaning(names, properties={**body, **properties})


def _object(kind: str, body: dict[str, Any]) -> Meaning:
    found = {
        name: _value(name, each.get("value") if isinstance(each, dict) else each)
        for name, each in mapping(body.get("properties")).items()
    }
    id = next((id for key in ("canonical-vid", "vid", "objectId") if (id := text_of(body.get(key)))), None)
    modified_at_ms = milliseconds(
        at(body, "properties", "lastmodifieddate", "value") or at(body, "properties", "hs_lastmodifieddate", "value")
    )
    email = text_of(found.get("email")) if kind == "contact" else None
    traits = {_trait(kind, name): value for name, value in found.items() if not name.startswith("hs_")}
    return Meaning(
        _names(kind, id, email, user_id_in(found)),
        properties=present(object_id=id, object_type=kind, properties=found),
        traits=traits if kind in _TRAITS else {},
        traits_at_ms=modified_at_ms,
        links=True,
    )


def _names(kind: str, id: str | None, email: str | None, user_id: str | None) -> Names:
    """Of kinds that are nobody, the id is no name."""
    ids = {"contact": id, "company": f"company:{id}" if id else None}
    return Names(user_id, email, ids.get(kind))


def _trait(kind: str, name: str) -> str:
    return _TRAITS.get(kind, {}).get(name, f"hubspot.{name}")


def _value(name: str, value: Any) -> Any:
    if isinstance(value, str) and _DATE.search(name) and _MS.fullmatch(value):
        return written(milliseconds(value)) or value
    return value


def _sample(now_ms: int) -> bytes:
    change = {
        "eventId": now_ms,
        "subscriptionId": 1,
        "portalId": 1,
        "appId": 1,
        "occurredAt": now_ms,
        "subscriptionType": "contact.propertyChange",
        "attemptNumber": 0,
        "objectId": 1,
        "propertyName": "email",
        "propertyValue": "ada@example.com",
        "changeSource": "CRM_UI",
    }
    return orjson.dumps([change])


VENDOR = Vendor("hubspot", "HubSpot", prove, read, mean, _sample, sign)
