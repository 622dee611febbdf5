"""Any webhook that is signed, of a vendor without a module here: its connection says how it is proved, and where things stand.

  - id: shop-erp
    vendor: generic
    secret: ERP
    title: ERP                     # begins the names of events that `events:` doesn't name; default: the id
    signature:                     # or `basic` (the secret is user:password), or `standard-webhooks` (whsec_…)
      header: X-Erp-Signature
      algorithm: sha256            # sha1, sha256 (default), sha512: of an HMAC with the secret
      encoding: hex                # hex (default), base64
      prefix: "v1="                # before each signature; a header may have several, after `,`, `;` or blanks
      signed: "{timestamp}.{body}" # default "{body}"; also {method} and {url}
      timestamp: {header: X-Erp-Time, unit: s}    # or {prefix: "t="}, of the same header; s (default) or ms
      tolerance: 5m                # how old, or early, it may be; default 5m
    notification: {id: $.id, name: {header: X-Erp-Topic}, at: $.created}
    names: {user_id: $.customer.ref, email: $.customer.email, vendor_id: $.customer.id}
    events:
      order.paid: {event: Order Completed, properties: {total: $.order.total}}

* Contact: by `names` (or `user_id:`); none is linked to another, as nothing says whether they are one person's. Vendor's ids
  begin with the connection's id unless `namespace` says another.
* What is told: an event that `events:` names, else `<title> <name>`, with the whole object as properties; of an array, one for
  each object.
* Order: by `at` (ISO 8601, or epoch seconds or ms), else that of arrival.
* Replays: by the age, where a time is signed, and by the id; with neither, the same name and object are the same notification.
  No scheme but `standard-webhooks` signs headers: an id or a name from one is as whoever has seen a request sends it again.
"""

from collections.abc import Mapping
from typing import Any, Final

import jsonpath_rfc9535
import orjson
from jsonpath_rfc9535.selectors import NameSelector

from schemas.instants import format_instant
from streams.vendors.connection import Connection, Path
from streams.vendors.contract import Meaning, Names, Notification, Request, Vendor, text_of
from streams.vendors.schemes import Login, Scheme
from streams.vendors.signing import HEADER_CHARACTERS_MAX
from streams.vendors.values import exact_number, iso, json_objects, milliseconds, seconds

# below this a number is epoch seconds, from it on ms, as in dates of definitions
SECONDS_END: Final = 10**11


class Generic:
    """The webhook of one connection. Of `own`: `signature` a `Scheme`, `notification` and `names` with a `Path` or, of a header,
    its name.
    """

    def __init__(self, connection: Connection) -> None:
        own = connection.own
        self._id = connection.id
        self.title: str = own.get("title", connection.id)
        self.scheme: Scheme = own.get("signature", Login())
        self._notification: Mapping[str, Path | str] = own.get("notification", {})
        self._names: Mapping[str, Path] = own.get("names", {})

    def read(self, request: Request) -> list[Notification]:
        """Each object of an array, or the one that is none."""
        bodies = json_objects(request.body)
        return [self._read(request, body, n if len(bodies) > 1 else None) for n, body in enumerate(bodies)]

    def _read(self, request: Request, body: dict[str, Any], n: int | None) -> Notification:
        found = {key: _found(request, body, where) for key, where in self._notification.items()}
        id = text_of(found.get("id"))
        if id is not None and n is not None and isinstance(self._notification["id"], str):
            id = f"{id}:{n}"  # a header has one of all of them
        # ids of others may be the same
        id = f"{self._id}:{id}" if id else None
        return Notification(text_of(found.get("name")) or "event", id, _instant(found.get("at")), body)

    def mean(self, notification: Notification) -> Meaning:
        """The whole object, of whom `names` say."""
        found = {kind: text_of(path.first(notification.body)) for kind, path in self._names.items()}
        return Meaning(Names(**found), properties=notification.body)

    def sample(self, now_ms: int) -> bytes:
        """An object that has something wherever the connection looks for an id, a name, an instant, or who it is."""
        body: dict[str, Any] = {"sample": True}
        instant = format_instant(now_ms)
        wanted = [(where, instant if key == "at" else f"sample-{key}") for key, where in self._notification.items()]
        wanted += [(path, "ada@example.com" if kind == "email" else "sample") for kind, path in self._names.items()]
        for where, value in wanted:
            if isinstance(where, Path):
                _lay(body, where, value)
        return orjson.dumps(body)

    def sign(self, body: bytes, secret: str, url: str, now_ms: int) -> dict[str, str]:
        """The headers that prove `body`, and those that say which notification it is."""
        named = {where: f"sample-{key}" for key, where in self._notification.items() if isinstance(where, str)}
        return named | self.scheme.sign(body, secret, url, now_ms)


def _found(request: Request, body: dict[str, Any], where: Path | str) -> Any:
    if isinstance(where, Path):
        return where.first(body)
    return request.headers.get(where.lower(), "")[:HEADER_CHARACTERS_MAX]


def _instant(value: Any) -> int | None:
    number = exact_number(value)
    if number is None:
        return iso(value)
    return seconds(value) if abs(number) < SECONDS_END else milliseconds(value)


def _lay(body: dict[str, Any], path: Path, value: str) -> None:
    """Puts a value where a path leads that goes by names alone; others are left."""
    query = jsonpath_rfc9535.compile(path.text)
    selectors = [selector for segment in query.segments for selector in segment.selectors]
    steps = [selector.name for selector in selectors if isinstance(selector, NameSelector)]
    if not query.singular_query() or not steps or len(steps) < len(selectors):
        return
    for step in steps[:-1]:
        inner = body.setdefault(step, {})
        if not isinstance(inner, dict):
            return
        body = inner
    body.setdefault(steps[-1], value)


def vendor(connection: Connection) -> Vendor:
    """The vendor that a connection describes."""
    generic = Generic(connection)
    return Vendor(
        "generic",
        generic.title,
        generic.scheme.prove,
        generic.read,
        generic.mean,
        generic.sample,
        generic.sign,
        secret_problem=generic.scheme.problem,
    )
