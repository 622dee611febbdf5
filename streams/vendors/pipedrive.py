"""Pipedrive: its general webhooks, version 1 and 2.

Pages: https://pipedrive.readme.io/docs/guide-for-webhooks and .../guide-for-webhooks-v2. Pipedrive is told the URL of the
connection, event action and object (`*` for all), and as HTTP Auth username and password the connection's secret,
`user:password`.

* Proof: HTTP Basic; Pipedrive signs nothing.
* Contact: of a person its primary address, else its id (`pipedrive:3`); they are linked, as the company's own people wrote them.
  A deal, lead, activity or note belongs to its person, else to its organization (`pipedrive:organization:2`). What belongs to
  neither (products, pipelines, stages, users) says nobody's name: subscribe to the others alone, or `events: {added.product:
  ignore, …}`. Whose address changes is another contact, unless the connection has `contact: [user_id, vendor_id, email]`.
* What is told: `Contact Created`, `Contact Updated`, `Contact Deleted`, `Contact Merged` (version 1 alone) of persons, the same
  of organizations as `Company …`, and `Deal …`, `Lead …`, `Activity …`, `Note …`. A deal that is won or lost is `Deal Won` or
  `Deal Lost`, with no update beside it. `events:` go by Pipedrive's own names: `updated.deal`, in version 2 `change.deal`.
* Traits: of a person `email phone name firstName lastName title`, of an organization `name`; custom fields are
  `pipedrive.<their key>`. What the object has no more is cleared; what it never had is another source's.
* Order: by the instant of the change, in version 1 to the microsecond.
* Replays: no time is proved. The id of a change is the event's in version 2, in version 1 made of object, action and instant, so
  that neither a repeat nor a second webhook for the same change counts twice.
"""

import re
from typing import Any, Final

import orjson

from streams.vendors.contract import Meaning, Names, Notification, Request, Said, Vendor, text_of
from streams.vendors.signing import login_problem, prove_login, sign_login
from streams.vendors.values import (
    amount,
    at,
    code_of,
    exact_number,
    iso,
    json_object,
    mapping,
    objects,
    present,
    seconds,
    written,
)

_DONE: Final = {
    "added": "Created",
    "create": "Created",
    "updated": "Updated",
    "change": "Updated",
    "deleted": "Deleted",
    "delete": "Deleted",
    "merged": "Merged",
}
_NAMED: Final = {
    "person": "Contact",
    "organization": "Company",
    "deal": "Deal",
    "lead": "Lead",
    "activity": "Activity",
    "note": "Note",
}
_OUTCOMES: Final = {"won": "Deal Won", "lost": "Deal Lost"}
# of version 1, where they stand among all others
_CUSTOM: Final = re.compile(r"[0-9a-f]{40}(_[a-z_]+)?", re.ASCII)


def read(request: Request) -> list[Notification]:
    """The one change of a body."""
    body = json_object(request.body)
    meta = mapping(body.get("meta"))
    kind = text_of(meta.get("entity")) or text_of(meta.get("object"))
    action = text_of(meta.get("action"))
    name = f"{action}.{kind}" if action and kind else text_of(body.get("event")) or "event"
    return [Notification(name, _id(meta, name), _at_ms(meta), body)]


def _id(meta: dict[str, Any], name: str) -> str | None:
    if "entity" in meta:
        return text_of(meta.get("id"))
    micro = text_of(meta.get("timestamp_micro"))
    object_id = text_of(meta.get("id"))
    return f"{name}:{object_id}:{micro}" if micro and object_id else None


def _at_ms(meta: dict[str, Any]) -> int | None:
    micro = exact_number(meta.get("timestamp_micro"))
    if micro is not None:
        return seconds(str(micro / 1_000_000))
    timestamp = meta.get("timestamp")
    return iso(timestamp) if exact_number(timestamp) is None else seconds(timestamp)


def mean(notification: Notification) -> Meaning:
    """What was done to an object, and what is known of a person or organization since."""
    body = notification.body
    action, _, kind = notification.name.partition(".")
    current, previous = mapping(body.get("current") or body.get("data")), mapping(body.get("previous"))
    # of what is gone the last state stands there
    state = current or previous
    names = _names(kind, state, body)
    if kind not in _NAMED or action not in _DONE:
        return Meaning(names, properties=present(**{**mapping(body.get("meta")), kind or "object": state}))
    done = f"{_NAMED[kind]} {_DONE[action]}"
    if kind == "deal" and _DONE[action] == "Updated" and previous.get("status") not in (None, current.get("status")):
        done = _OUTCOMES.get(text_of(current.get("status")) or "", done)
    return Meaning(
        names,
        (Said(done, _properties(kind, state, previous)),),
        traits=_changed(_traits(kind, current), _traits(kind, previous)) if current else {},
        links=kind == "person",
    )


def _names(kind: str, state: dict[str, Any], body: dict[str, Any]) -> Names:
    meta = mapping(body.get("meta"))
    id = text_of(state.get("id")) or text_of(meta.get("entity_id")) or text_of(meta.get("id"))
    if kind == "person":
        return Names(email=_primary(state, "email"), vendor_id=id)
    if kind not in _NAMED:
        return Names()
    person = None if kind == "organization" else text_of(state.get("person_id"))
    organization = id if kind == "organization" else text_of(state.get("org_id"))
    return Names(vendor_id=person or (f"organization:{organization}" if organization else None))


def _primary(state: dict[str, Any], of: str) -> str | None:
    """The primary address or number, else the first; version 2 has them in the plural."""
    found = objects(state.get(of) or state.get(of + "s"))
    values = [text_of(each.get("value")) for each in sorted(found, key=lambda each: each.get("primary") is not True)]
    return next((value for value in values if value), None)


def _changed(traits: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """Without what the object never had: another source may know it."""
    return {name: value for name, value in traits.items() if value is not None or before.get(name) is not None}


def _traits(kind: str, current: dict[str, Any]) -> dict[str, Any]:
    custom = {name: value for name, value in current.items() if _CUSTOM.fullmatch(name)}
    custom |= {name: _custom(value) for name, value in mapping(current.get("custom_fields")).items()}
    traits = {f"pipedrive.{name}": value for name, value in custom.items()}
    if kind == "organization":
        return {"name": text_of(current.get("name")), **traits}
    if kind != "person":
        return {}
    return {
        "email": _primary(current, "email"),
        "phone": _primary(current, "phone"),
        "name": text_of(current.get("name")),
        "firstName": text_of(current.get("first_name")),
        "lastName": text_of(current.get("last_name")),
        "title": text_of(current.get("job_title")),
        **traits,
    }


def _custom(value: Any) -> Any:
    """A custom field of version 2 says its type beside its value."""
    return value.get("value", value.get("id")) if isinstance(value, dict) else value


def _properties(kind: str, state: dict[str, Any], previous: dict[str, Any]) -> dict[str, Any]:
    moved = previous.get("stage_id") if previous.get("stage_id") != state.get("stage_id") else None
    return present(
        **{f"{kind}_id": state.get("id")},
        title=state.get("title") or state.get("subject"),
        name=state.get("name"),
        total=amount(state.get("value")) if kind == "deal" else amount(at(state, "value", "amount")),
        currency=code_of(state.get("currency") if kind == "deal" else at(state, "value", "currency")),
        status=state.get("status"),
        stage_id=state.get("stage_id"),
        previous_stage_id=moved,
        pipeline_id=state.get("pipeline_id"),
        lost_reason=state.get("lost_reason"),
        type=state.get("type"),
        done=state.get("done"),
        content=state.get("content"),
        org_id=state.get("org_id"),
        **({} if kind == "person" else {"person_id": state.get("person_id")}),
    )


def _sample(now_ms: int) -> bytes:
    person = {
        "id": 1,
        "name": "Ada Lovelace",
        "first_name": "Ada",
        "last_name": "Lovelace",
        "emails": [{"label": "work", "value": "ada@example.com", "primary": True}],
    }
    meta = {
        "action": "create",
        "entity": "person",
        "entity_id": "1",
        "id": f"sample-{now_ms}",
        "timestamp": written(now_ms),
        "version": "2.0",
    }
    return orjson.dumps({"meta": meta, "data": person, "previous": None})


VENDOR = Vendor("pipedrive", "Pipedrive", prove_login, read, mean, _sample, sign_login, secret_problem=login_problem)
