"""Plain HTML forms, as browsers post them, with no script: `<form method="post" action="…/v1/webhooks/form/ID">`.

* Proof: browsers can't sign. A hidden field `_key` has the connection's secret, which is public with the page that it stands
  in: it says which form it is, keeps out who has not seen the page, and is changed like any secret. With `origins:`, the
  browser's `Origin` has to be one of them.
* Told: the URL of the connection as the form's `action`; as the form's type the default, or `multipart/form-data`; in pages that
  aren't in UTF-8 `accept-charset="utf-8"`. Files are refused with a sentence.
* Contact: the field that `fields: {user_id: …}` of the connection names (none by default: whoever fills in a form can write
  anything there), else that of `email`, which is `email` by default. None is linked to another, and the trait `email` is only
  set where the address is what the contact is found by.
* What is told: `Form Submitted` with `form_id` (the connection's id), `form_name` and `answers.<name>`; a name that comes several
  times, or ends with `[]`, has a list. Empty fields and those whose names begin with `_` are left out. In `events:` it is
  `submission`, with `$.answers.<name>`.
* Robots: a submission with something in `_gotcha`, a field that people don't see, is answered as any other and left out.
* Order: that of arrival. Replays: the same answers again are the same submission, for the dedup horizon: a button that was
  pressed twice counts once.
* Answer: with `redirect:` 303 to that page, which the connection alone says: nothing of the request is ever gone to.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from schemas.rejected import Reason, Rejection
from streams.vendors.connection import Connection
from streams.vendors.contract import Answer, Meaning, Names, Notification, Request, Said, Unproved, Vendor, text_of
from streams.vendors.form_fields import URLENCODED, Field, fields_of
from streams.vendors.signing import prove_one_of
from streams.vendors.values import mapping, present

KEY: Final = "_key"
HONEYPOT: Final = "_gotcha"
SUBMISSION: Final = "submission"
NAME_CHARACTERS_MAX: Final = 200
VALUE_CHARACTERS_MAX: Final = 20_000
_ADDRESS: Final = re.compile(r"[^@\s]{1,64}@[^@\s]{1,190}")
# it stands in a page, where nothing has to be written otherwise for it
_FORM_KEY: Final = re.compile(r"[A-Za-z0-9._-]{8,200}", re.ASCII)


class Form:
    """The form of one connection."""

    def __init__(self, connection: Connection) -> None:
        own = connection.own
        self._id, self._origins = connection.id, connection.origins
        self._name = own.get("form_name", connection.id)
        self._names = {"email": "email", **own.get("fields", {})}

    def prove(self, request: Request, secrets: Sequence[str], now_ms: int) -> None:
        """The field `_key`, and where the page is from."""
        origin = request.headers.get("origin", "").lower()
        if self._origins and origin not in self._origins:
            raise Unproved("not_theirs", "expected a form of a page of this connection's `origins`, got one of another")
        try:
            fields = _fields(request, strict=False)
        except Rejection as rejection:
            raise Unproved("no_signature", f"expected a form with the field {KEY}: {rejection.sentence}") from None
        keys = [field.value for field in fields if field.name == KEY]
        if not keys:
            raise Unproved("no_signature", f"expected a form with the field {KEY}, got none")
        prove_one_of(keys[:1], secrets, KEY)

    def read(self, request: Request) -> list[Notification]:
        """The submission; none of a robot's."""
        fields = _fields(request)
        if any(field.value for field in fields if field.name == HONEYPOT):
            return []
        return [Notification(SUBMISSION, None, None, {"form": self._id, "answers": _answers(fields)})]

    def mean(self, notification: Notification) -> Meaning:
        """`Form Submitted`."""
        answers = mapping(notification.body.get("answers"))
        user_id = text_of(answers.get(self._names.get("user_id", "")))
        address = text_of(answers.get(self._names["email"]))
        email = address if address and _ADDRESS.fullmatch(address) else None
        properties = present(form_id=self._id, form_name=self._name, answers=answers)
        said = (Said("Form Submitted", properties),)
        return Meaning(Names(user_id, email), said, traits=present(email=email), claimed=True)

    def sample(self, now_ms: int) -> bytes:
        """A form, filled in."""
        return urlencode({self._names["email"]: "ada@example.com", "comment": f"A sample of {now_ms}"}).encode()


def _fields(request: Request, *, strict: bool = True) -> list[Field]:
    return fields_of(request.body, request.headers.get("content-type", ""), strict=strict)


def _answers(fields: Iterable[Field]) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for field in fields:
        name = field.name.removesuffix("[]")
        if field.file:
            raise Rejection(
                Reason.NOT_SUPPORTED,
                f"expected no files in a form, got one in {name[:60]!r}: keep it elsewhere, and send its address",
            )
        if not name or name.startswith("_") or not field.value:
            continue
        if len(name) > NAME_CHARACTERS_MAX or len(field.value) > VALUE_CHARACTERS_MAX:
            raise Rejection(
                Reason.TOO_LARGE,
                f"expected at most {NAME_CHARACTERS_MAX} characters in a field's name and {VALUE_CHARACTERS_MAX} in what "
                f"it says, got more in {name[:60]!r}",
            )
        if name in answers or field.name != name:
            before = answers.get(name, [])
            answers[name] = [*(before if isinstance(before, list) else [before]), field.value]
        else:
            answers[name] = field.value
    return answers


def _seal(body: bytes, secret: str, now_ms: int) -> bytes:
    return body + b"&" + urlencode({KEY: secret}).encode()


def _sign(body: bytes, secret: str, url: str, now_ms: int) -> dict[str, str]:
    return {}


def _key_problem(secret: str) -> str | None:
    if _FORM_KEY.fullmatch(secret):
        return None
    return "expected a key of 8 to 200 letters, digits, `.`, `_` and `-`, got something else"


def vendor(connection: Connection) -> Vendor:
    """The vendor that a connection's form is."""
    form = Form(connection)
    redirect = connection.own.get("redirect")
    answer = Answer(303, {"Location": redirect}, b"") if redirect else Answer(body=b"Thank you.\n")
    return Vendor(
        "form",
        "Form",
        form.prove,
        form.read,
        form.mean,
        form.sample,
        _sign,
        _seal,
        _key_problem,
        content_type=URLENCODED,
        answer=answer,
    )
