"""Plain HTML forms, as browsers post them."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from schemas.rejected import Reason, Rejection
from streams.vendors.connection import Connection
from streams.vendors.contract import Answer, Unproved, Vendor
from streams.vendors.form import vendor
from streams.vendors.form_fields import FIELDS_MAX, MULTIPART, URLENCODED, fields_of
from tests.unit.vendors import hostile
from tests.unit.vendors.payloads import NOW_MS, events, parsed, request

KEY = "public-form-key"
CONNECTION = Connection("contact-us", "form", ("FORM",), own={"form_name": "Contact us"})
VENDOR = vendor(CONNECTION)
BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
URLENCODED_HEADERS = {"Content-Type": URLENCODED}
MULTIPART_HEADERS = {"Content-Type": f"{MULTIPART}; boundary={BOUNDARY}"}
FILLED_IN = {"email": "Ada@Example.com", "comment": "hello & good bye", "_key": KEY}


def _encoded(value: Any) -> bytes:
    return urlencode(value).encode() if isinstance(value, dict) else json.dumps(value).encode("utf-8", "surrogatepass")


def _multipart(*parts: tuple[str, str], end: bool = True) -> bytes:
    """Parts, each with what follows `form-data`, and its content."""
    written = [
        f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n" for head, content in parts
    ]
    return ("".join(written) + (f"--{BOUNDARY}--\r\n" if end else "")).encode()


def _as_parts(value: Any) -> bytes:
    if not isinstance(value, dict):
        return _encoded(value)
    return _multipart(*((f'name="{name}"', str(content)) for name, content in value.items()))


test_no_form_does_more_than_be_refused = hostile.reading(
    VENDOR, [FILLED_IN], encode=_encoded, headers=URLENCODED_HEADERS
)
test_no_form_in_parts_does_more_than_be_refused = hostile.reading(
    VENDOR, [FILLED_IN], encode=_as_parts, headers=MULTIPART_HEADERS
)
test_no_header_does_more_than_be_doubted = hostile.proving(VENDOR, ["Origin"])


def _posted(fields: Any, connection: Connection = CONNECTION) -> list[dict[str, Any]]:
    body = fields if isinstance(fields, bytes) else urlencode(fields).encode()
    return events(vendor(connection), request(body, URLENCODED_HEADERS), connection)


def _doubt(of: Vendor, body: bytes, headers: dict[str, str], *secrets: str) -> str | None:
    try:
        of.prove(request(body, headers), secrets or (KEY,), NOW_MS)
    except Unproved as unproved:
        return unproved.doubt
    return None


def test_a_form_becomes_a_submission_and_the_trait_email() -> None:
    """What people wrote under the names of the fields; the key is not told."""
    identified, submitted = _posted(FILLED_IN)

    assert (identified["userId"], identified["traits"]) == ("ada@example.com", {"email": "Ada@Example.com"})
    assert (submitted["event"], submitted["userId"]) == ("Form Submitted", "ada@example.com")
    assert submitted["properties"] == {
        "form_id": "contact-us",
        "form_name": "Contact us",
        "answers": {"email": "Ada@Example.com", "comment": "hello & good bye"},
    }
    assert parsed(submitted).occurred_at_ms == NOW_MS


def test_a_form_in_parts_is_the_same() -> None:
    """As a browser sends it where the page says `multipart/form-data`; a file field in which nothing was chosen is nothing."""
    body = _multipart(
        ('name="email"', "Ada@Example.com"),
        ('name="comment"', "hello & good bye"),
        ('name="cv"; filename=""\r\nContent-Type: application/octet-stream', ""),
        ('name="_key"', KEY),
    )
    asked = request(body, MULTIPART_HEADERS)

    VENDOR.prove(asked, [KEY], NOW_MS)
    assert events(VENDOR, asked, CONNECTION) == _posted(FILLED_IN)


def test_what_is_not_ascii_comes_as_it_was_written() -> None:
    """In names and in what they say, both ways; quotes and line ends in names as browsers write them."""
    urlencoded = fields_of(urlencode({"Größe": "münchen\r\n✓"}).encode(), URLENCODED)
    parts = fields_of(_multipart(('name="Größe"', "münchen\r\n✓")), MULTIPART_HEADERS["Content-Type"])
    (quoted,) = fields_of(_multipart(('name="a%22b%0D%0A"', "x")), MULTIPART_HEADERS["Content-Type"])

    assert [(each.name, each.value) for each in urlencoded] == [("Größe", "münchen\r\n✓")]
    assert parts == urlencoded
    assert quoted.name == 'a"b\r\n'


@pytest.mark.parametrize("headers, body", [(URLENCODED_HEADERS, b"email=a%40b.c&_key="), ({}, b"_key=")])
def test_the_key_is_one_of_the_connection(headers: dict[str, str], body: bytes) -> None:
    """One of two while it is changed; a form without a content type is taken for the default one."""
    assert _doubt(VENDOR, body + KEY.encode(), headers) is None
    assert _doubt(VENDOR, body + KEY.encode(), headers, "another-key", KEY) is None
    assert _doubt(VENDOR, body + b"another-key", headers) == "wrong_signature"
    assert _doubt(VENDOR, body, headers) == "wrong_signature"
    assert _doubt(VENDOR, b"email=a%40b.c", headers) == "no_signature"


def test_only_the_first_key_counts() -> None:
    """Two hundred of them are no two hundred guesses."""
    assert _doubt(VENDOR, f"_key=another-key&_key={KEY}".encode(), {}) == "wrong_signature"


def test_what_is_no_form_has_no_key() -> None:
    """It is doubted, and not looked at further."""
    assert _doubt(VENDOR, b'{"_key": "public-form-key"}', {"Content-Type": "application/json"}) == "no_signature"
    assert _doubt(VENDOR, _multipart(('name="_key"', KEY), end=False), MULTIPART_HEADERS) == "no_signature"
    assert _doubt(VENDOR, _multipart(('name="_key"', KEY)), {"Content-Type": MULTIPART}) == "no_signature"
    assert _doubt(VENDOR, f"_key={KEY}&".encode() + b"a&" * FIELDS_MAX, {}) == "no_signature"


def test_with_origins_the_page_has_to_be_of_one_of_them() -> None:
    """Browsers say it of every form; who copies the form to another site is not believed."""
    bound = vendor(Connection("f", "form", ("F",), origins=("https://shop.example",)))
    body = f"_key={KEY}".encode()

    assert _doubt(bound, body, {"Origin": "https://shop.example"}) is None
    for origin in ("https://evil.example", "null", "https://shop.example.evil.example"):
        assert _doubt(bound, body, {"Origin": origin}) == "not_theirs"
    assert _doubt(bound, body, {}) == "not_theirs"


def test_a_submission_with_something_in_the_honeypot_is_left_out_and_answered_as_any_other() -> None:
    """A robot learns nothing from it; an empty one is what people send."""
    assert _posted({**FILLED_IN, "_gotcha": "buy"}) == []
    assert len(_posted({**FILLED_IN, "_gotcha": ""})) == 2


def test_redirects_go_where_the_connection_says_and_nowhere_else() -> None:
    """Whatever a request asks for: a gateway's address in a link must not lead to another's page."""
    there = vendor(Connection("f", "form", ("F",), own={"redirect": "https://shop.example/thanks"}))

    assert there.answer == Answer(303, {"Location": "https://shop.example/thanks"}, b"")
    asked = {**FILLED_IN, "_next": "https://evil.example", "_redirect": "https://evil.example", "redirect": "//evil"}
    _, submitted = _posted(asked)
    assert submitted["properties"]["answers"]["redirect"] == "//evil"
    assert (VENDOR.answer.status, VENDOR.answer.body) == (200, b"Thank you.\n")


def test_a_name_that_comes_several_times_has_a_list() -> None:
    """Check boxes; `[]` says so of one that comes once, and is no part of the name. What is empty was not answered."""
    body = b"email=a@b.c&size=S&size=M&colour[]=red&_hidden=x&empty=&=nameless"

    answers = _posted(body)[-1]["properties"]["answers"]

    assert answers == {"email": "a@b.c", "size": ["S", "M"], "colour": ["red"]}


def test_the_connection_says_which_fields_name_the_contact() -> None:
    """An address beside a user id is an answer and no trait: whoever fills in can write anything there."""
    connection = Connection("f", "form", ("F",), own={"fields": {"email": "mail", "user_id": "account"}})

    assert [event["userId"] for event in _posted({"mail": "a@b.c"}, connection)] == ["a@b.c"] * 2
    assert [(event["type"], event["userId"]) for event in _posted({"mail": "a@b.c", "account": "7"}, connection)] == [
        ("track", "7")
    ]


def test_what_is_no_address_names_nobody() -> None:
    """The submission is kept with the reason."""
    for email in ("ada", "@", "a b@c.d", "a@" + "b" * 300):
        with pytest.raises(Rejection) as raised:
            _posted({"email": email})
        assert raised.value.reason is Reason.NO_CONTACT


def test_the_same_answers_again_are_the_same_submission() -> None:
    """Of a button that was pressed twice; other answers, and those of another form, are others."""
    ids = [_posted({"email": "a@b.c", "n": n})[-1]["messageId"] for n in (1, 1, 2)]
    other = _posted({"email": "a@b.c", "n": 1}, Connection("other", "form", ("F",)))[-1]["messageId"]

    assert ids[0] == ids[1] != ids[2]
    assert other not in ids


@pytest.mark.parametrize(
    "body, headers, reason",
    [
        (_multipart(('name="cv"; filename="cv.pdf"', "x")), MULTIPART_HEADERS, Reason.NOT_SUPPORTED),
        (_multipart(("name=\"cv\"; filename*=UTF-8''cv.pdf", "x")), MULTIPART_HEADERS, Reason.NOT_SUPPORTED),
        (b"a=" + b"x" * 20_001, URLENCODED_HEADERS, Reason.TOO_LARGE),
        (b"x" * 201 + b"=a", URLENCODED_HEADERS, Reason.TOO_LARGE),
        (b"a=%ff", URLENCODED_HEADERS, Reason.NOT_SUPPORTED),
        (b"a=\xff", URLENCODED_HEADERS, Reason.NOT_SUPPORTED),
        (_multipart(('name="a"', "x")).replace(b"x", b"\xff"), MULTIPART_HEADERS, Reason.NOT_SUPPORTED),
        (_multipart(("x=1", "x")), MULTIPART_HEADERS, Reason.NOT_SUPPORTED),
        (b"a&" * 201, URLENCODED_HEADERS, Reason.TOO_LARGE),
        (_multipart(*[('name="a"', "x")] * 201), MULTIPART_HEADERS, Reason.TOO_LARGE),
        (b"{}", {"Content-Type": "text/plain"}, Reason.NOT_SUPPORTED),
    ],
)
def test_what_can_not_be_taken_is_refused_with_a_sentence(body: bytes, headers: dict[str, str], reason: Reason) -> None:
    """Files, and more or longer fields than a form has, and text that is none."""
    with pytest.raises(Rejection) as raised:
        VENDOR.read(request(body, headers))

    assert raised.value.reason is reason
    assert raised.value.sentence.startswith("expected ")


def test_as_many_fields_as_may_be_are_read() -> None:
    """The bound itself is allowed, both ways."""
    body = urlencode([(f"f{n}", "x") for n in range(FIELDS_MAX - 1)] + [("email", "a@b.c")]).encode()
    parts = _multipart(*[(f'name="f{n}"', "x") for n in range(FIELDS_MAX)])

    assert len(_posted(body)[-1]["properties"]["answers"]) == FIELDS_MAX
    assert len(fields_of(parts, MULTIPART_HEADERS["Content-Type"])) == FIELDS_MAX


def test_a_key_needs_no_escaping_in_a_page() -> None:
    """It stands in an attribute of HTML."""
    assert VENDOR.secret_problem("public-form.key_1") is None
    for key in ("short", 'quoted"key', "with blanks", "x" * 201):
        problem = VENDOR.secret_problem(key)
        assert problem is not None and key not in problem


def test_a_sample_is_proved_and_read() -> None:
    """What `tidegate connections test` sends."""
    body = VENDOR.seal(VENDOR.sample(NOW_MS), KEY, NOW_MS)
    headers = {"Content-Type": VENDOR.content_type, **VENDOR.sign(body, KEY, "https://gateway.example/", NOW_MS)}
    asked = request(body, headers)

    VENDOR.prove(asked, [KEY], NOW_MS)
    assert [event.get("event") for event in events(VENDOR, asked)] == [None, "Form Submitted"]
