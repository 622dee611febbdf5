"""Connections as they are written, and every way in which they can be wrong."""

from typing import Any

import pytest
import yaml
from hypothesis import given, settings

from actions import RuleErrors
from streams.vendors.connection import Connection, Path
from streams.vendors.connection_reading import load_connections
from streams.vendors.schemes import Login, Signature, Standard
from tests.unit.vendors import hostile

STRIPE: dict[str, Any] = {"id": "shop", "vendor": "stripe", "secret": "STRIPE"}
GENERIC: dict[str, Any] = {"id": "erp", "vendor": "generic", "secret": "ERP", "signature": {"header": "X-Sign"}}
FORM: dict[str, Any] = {"id": "news", "vendor": "form", "secret": "NEWS"}


def _read(*connections: Any) -> tuple[Connection, ...]:
    return load_connections(yaml.safe_dump({"connections": list(connections)}))


def _errors(*connections: Any) -> list[str]:
    with pytest.raises(RuleErrors) as raised:
        _read(*connections)
    return raised.value.errors


def test_a_connection_is_read_with_all_that_it_may_say() -> None:
    """As the design has it."""
    (connection,) = load_connections("""
connections:
  - id: shop-stripe
    vendor: stripe
    name: The shop's account
    owner: billing
    secret: [STRIPE, STRIPE_BEFORE]
    contact: [email, vendor_id]
    user_id: [$.data.object.metadata.account]
    namespace: shop
    events:
      charge.dispute.created: {event: Payment Disputed, properties: {amount: $.data.object.amount}, traits: {disputed: true}}
      product.*: ignore
""")

    assert (connection.id, connection.vendor, connection.secrets) == (
        "shop-stripe",
        "stripe",
        ("STRIPE", "STRIPE_BEFORE"),
    )
    assert connection.contact == ("email", "vendor_id")
    assert connection.user_ids == (Path("$.data.object.metadata.account"),)
    assert connection.namespace == "shop"
    disputed, ignored = connection.override("charge.dispute.created"), connection.override("product.created")
    assert disputed is not None and ignored is not None
    assert (disputed.event, disputed.traits) == ("Payment Disputed", {"disputed": True})
    assert disputed.properties == {"amount": Path("$.data.object.amount")}
    assert ignored.ignored


def test_what_is_left_out_has_its_default() -> None:
    """One secret, one path; the rule of the page."""
    shop, website = _read(
        {**STRIPE, "user_id": "$.id"},
        {"id": "web", "vendor": "tracking", "secret": "W", "origins": ["https://Shop.example"]},
    )

    assert shop == Connection("shop", "stripe", ("STRIPE",), user_ids=(Path("$.id"),))
    assert shop.contact == ("user_id", "email", "vendor_id")
    assert website.origins == ("https://shop.example",)


def test_the_longest_beginning_counts_and_an_exact_name_before_it() -> None:
    """Whatever their order in the file."""
    events = {"a.*": "ignore", "a.b.*": {"event": "Longer"}, "a.b.c": {"event": "Exact"}, "*": {"event": "Any"}}
    (connection,) = _read({**STRIPE, "events": events})

    def named(name: str) -> str | None:
        override = connection.override(name)
        return override.event if override else "none"

    assert [named(name) for name in ("a.b.c", "a.b.d", "a.x", "b")] == ["Exact", "Longer", None, "Any"]
    assert _read({**STRIPE, "events": {"a.*": "ignore"}})[0].override("b") is None


@pytest.mark.parametrize(
    "changed, expected",
    [
        ({"vendor": "stripee"}, "expected tracking or stripe or chargebee"),
        ({"vendor": "stripee"}, "got 'stripee' (did you mean 'stripe'?) - at $.vendor"),
        ({"secret": None}, "in TIDEGATE_SECRET_<name> (two while it is rotated), got nothing - at $.secret"),
        ({"secret": "whsec_abc"}, "got something else - at $.secret"),
        ({"secret": []}, "expected 1 to 4 names of secrets, got 0 - at $.secret"),
        ({"secret": ["A", "B", "C", "D", "E"]}, "expected 1 to 4 names of secrets, got 5 - at $.secret"),
        ({"contact": "email"}, "got 'email' - at $.contact"),
        ({"contact": []}, "got [] - at $.contact"),
        ({"contact": ["email", "email"]}, "got ['email', 'email'] - at $.contact"),
        ({"contact": ["emial"]}, "(did you mean 'email'?) - at $.contact[0]"),
        (
            {"user_id": "data.id"},
            "expected a JSONPath such as $.data.object.metadata.account, got 'data.id' - at $.user_id",
        ),
        ({"user_id": "$.["}, "got '$.[': "),
        ({"user_id": 7}, "got 7 - at $.user_id"),
        ({"user_id": "$." + "a" * 600}, "- at $.user_id"),
        ({"events": []}, "expected a mapping from the vendor's names of events, got [] - at $.events"),
        ({"events": {"a": "drop"}}, "got 'drop' - at $.events['a']"),
        ({"events": {"a": {"evnt": "A"}}}, "unknown key 'evnt' (did you mean 'event'?)"),
        ({"events": {"a": {"event": " "}}}, "expected the name of an event, got ' ' - at $.events['a'].event"),
        ({"events": {"a": {"event": None}}}, "expected the name of an event, got nothing - at $.events['a'].event"),
        ({"events": {"a": {"properties": {"x": "$.["}}}}, "- at $.events['a'].properties.x"),
        ({"events": {"a": {"traits": []}}}, "expected a mapping, got [] - at $.events['a'].traits"),
        ({"events": {str(n): "ignore" for n in range(501)}}, "expected at most 500 events, got 501 - at $.events"),
        ({"namespace": "Shop:"}, "got 'Shop:' - at $.namespace"),
        ({"origins": ["https://a.example"]}, "unknown key 'origins'"),
        ({"signature": "basic"}, "unknown key 'signature'"),
        ({"tags": "a"}, "expected a list of words, got 'a' - at $.tags"),
    ],
)
def test_each_error_says_what_was_expected_what_came_and_where(changed: dict[str, Any], expected: str) -> None:
    """One line, that names the connection."""
    errors = _errors({**STRIPE, **changed})

    assert any(expected in error for error in errors), errors
    assert all(error.startswith("connection 'shop': ") for error in errors)


def test_what_stands_in_place_of_a_secret_is_never_shown() -> None:
    """It may be the secret itself, written where its name belongs."""
    assert "hidden" not in str(_errors({**STRIPE, "secret": "whsec_hidden"}, {**FORM, "secret": ["hidden"]}))


def test_all_errors_of_a_file_are_told_at_once() -> None:
    """With the place in the file where there is no id."""
    errors = _errors({**STRIPE, "secret": 1, "contact": 2}, {**STRIPE, "id": "Shop"}, "text", {**STRIPE}, {**STRIPE})

    assert [error.rpartition(" - at ")[2] for error in errors] == [
        "$.secret",
        "$.contact",
        "$.connections[1].id",
        "$.connections[2]",
        "$.id",
    ]
    assert errors[-1].startswith("connection 'shop': expected an id of its own")


def test_no_more_connections_are_read_than_may_be() -> None:
    """A thousand of them are."""
    many = [{**STRIPE, "id": f"c{n}"} for n in range(1001)]

    assert len(_read(*many[:1000])) == 1000
    assert _errors(*many)[-1].endswith("expected at most 1000 connections, got 1001 - at $.connections")


@pytest.mark.parametrize("origin", ["shop.example", "https://shop.example/", "https://shop.example/a", "*", "null", 7])
def test_an_origin_is_what_a_browser_calls_one(origin: Any) -> None:
    """Anything else would never be met."""
    tracking = {"id": "web", "vendor": "tracking", "secret": "W", "origins": ["http://localhost:3000", origin]}

    assert _errors(tracking)[0].endswith("- at $.origins[1]")


def test_tracking_has_no_mapping() -> None:
    """What comes there are events already."""
    assert len(_errors({"id": "web", "vendor": "tracking", "secret": "W", "events": {}, "user_id": "$.a"})) == 2


def test_events_of_segment_can_only_be_ignored() -> None:
    """They are handed on as they are."""
    segment = {"id": "seg", "vendor": "segment", "secret": "S"}

    assert _read({**segment, "events": {"page": "ignore"}})[0].override("page")
    (error,) = _errors({**segment, "events": {"A": {"event": "B"}}})
    assert error.endswith("- at $.events['A']")
    assert len(_errors({**segment, "contact": ["email"], "user_id": "$.a"})) == 2


def test_a_generic_webhook_says_how_it_is_proved() -> None:
    """With what is usual left out; its ids are its own."""
    timestamp = {"header": "X-Time", "unit": "ms"}
    full = {
        "header": "X-Sign",
        "algorithm": "sha512",
        "encoding": "base64",
        "prefix": "v1=",
        "signed": "{timestamp}:{method}:{url}:{body}",
        "timestamp": timestamp,
        "tolerance": "90s",
    }
    short, long, basic, standard = _read(
        GENERIC,
        {**GENERIC, "id": "b", "signature": full},
        {**GENERIC, "id": "c", "signature": "basic", "namespace": "crm"},
        {**GENERIC, "id": "d", "signature": "standard-webhooks"},
    )

    assert short.own["signature"] == Signature("X-Sign", "sha256", "hex", "", "{body}")
    assert long.own["signature"] == Signature(
        "X-Sign", "sha512", "base64", "v1=", "{timestamp}:{method}:{url}:{body}", "X-Time", "", 1, 90_000
    )
    assert isinstance(basic.own["signature"], Login)
    assert isinstance(standard.own["signature"], Standard)
    assert (short.namespace, basic.namespace) == ("erp", "crm")


@pytest.mark.parametrize(
    "signature, expected",
    [
        (
            None,
            "expected `basic`, `standard-webhooks`, or a mapping that begins with the name of a header, got nothing",
        ),
        ("basci", "got 'basci' - at $.signature"),
        ({}, "expected the name of a header, got nothing - at $.signature.header"),
        ({"header": "X Sign"}, "expected the name of a header, got 'X Sign' - at $.signature.header"),
        ({"header": "X", "algorithm": "md5"}, "got 'md5' - at $.signature.algorithm"),
        ({"header": "X", "encoding": "base32"}, "(did you mean 'base64'?) - at $.signature.encoding"),
        ({"header": "X", "prefix": "a, b"}, "got 'a, b' - at $.signature.prefix"),
        ({"header": "X", "prefix": ""}, "got '' - at $.signature.prefix"),
        ({"header": "X", "signed": 5}, "got 5 - at $.signature.signed"),
        ({"header": "X", "signed": "{boddy}"}, "got '{boddy}' - at $.signature.signed"),
        (
            {"header": "X", "signed": "{method}"},
            "or anything could be sent with it, got '{method}' - at $.signature.signed",
        ),
        (
            {"header": "X", "signed": "{timestamp}.{body}"},
            "expected `timestamp`, which says where {timestamp} is, got none",
        ),
        ({"header": "X", "timestamp": {"header": "Y"}}, "or anything could be written there, got '{body}'"),
        ({"header": "X", "timestamp": {}}, "expected one of `header` and `prefix`, got {} - at $.signature.timestamp"),
        ({"header": "X", "timestamp": {"header": "Y", "prefix": "t="}}, "- at $.signature.timestamp"),
        (
            {"header": "X", "timestamp": {"header": "Y", "unit": "us"}},
            "got 'us' (did you mean 's'?) - at $.signature.timestamp.unit",
        ),
        ({"header": "X", "timestamp": {"header": ""}}, "got '' - at $.signature.timestamp.header"),
        ({"header": "X", "timestamp": "Y"}, "got 'Y' - at $.signature.timestamp"),
        ({"header": "X", "tolerance": "5m"}, "nothing else says how old a request is - at $.signature.tolerance"),
        ({"header": "X", "tolerance": "2d"}, "expected a duration of at most 1d, got '2d' - at $.signature.tolerance"),
        ({"header": "X", "secret": "hmac"}, "unknown key 'secret', expected one of header algorithm"),
    ],
)
def test_a_proof_that_would_prove_nothing_is_an_error(signature: Any, expected: str) -> None:
    """Also one that can't be carried out."""
    errors = _errors({**GENERIC, "signature": signature})

    assert any(expected in error for error in errors), errors


@pytest.mark.parametrize("path", ["$[?search(@.name, '(a+)+b')]", "$[?match(@.name, @.pattern)]"])
def test_a_path_has_no_regular_expressions(path: str) -> None:
    """What a stranger typed could keep one busy for good, and the gateway with it."""
    (error,) = _errors({**GENERIC, "user_id": path})

    assert "is not defined" in error and error.endswith(" - at $.user_id")


@pytest.mark.parametrize(
    "changed, path",
    [
        ({"notification": "$.id"}, "$.notification"),
        ({"notification": {"id": "id"}}, "$.notification.id"),
        ({"notification": {"name": {"header": "a b"}}}, "$.notification.name.header"),
        ({"notification": {"name": {}}}, "$.notification.name.header"),
        ({"notification": {"when": "$.t"}}, "$.notification"),
        ({"names": {"phone": "$.p"}}, "$.names"),
        ({"names": {"email": "$.["}}, "$.names.email"),
        ({"names": {"email": {"header": "X"}}}, "$.names.email"),
        ({"title": ""}, "$.title"),
    ],
)
def test_each_path_of_a_generic_webhook_is_checked(changed: dict[str, Any], path: str) -> None:
    """Before anything comes in by it."""
    assert [error.rpartition(" - at ")[2] for error in _errors({**GENERIC, **changed})] == [path]


def test_a_form_is_read() -> None:
    """All that it may say."""
    own = {"form_name": "News", "redirect": "https://shop.example/thanks?a=1", "fields": {"email": "mail"}}
    (form,) = _read({**FORM, **own, "origins": ["https://shop.example"]})

    assert form.own == own
    assert form.origins == ("https://shop.example",)


@pytest.mark.parametrize(
    "redirect",
    [
        "/thanks",
        "//evil.example",
        "javascript:alert(1)",
        "https://",
        "https://a b",
        "https://a\r\nX: y",
        "https://[",
        5,
    ],
)
def test_a_form_goes_to_a_page_and_to_nothing_else(redirect: Any) -> None:
    """Nor does what is written there end the header that it stands in."""
    assert _errors({**FORM, "redirect": redirect})[0].endswith("- at $.redirect")


@pytest.mark.parametrize("fields", [[], {"phone": "p"}, {"email": 5}, {"email": ""}])
def test_the_fields_of_a_form_are_names(fields: Any) -> None:
    """Of those that name a contact."""
    assert "- at $.fields" in _errors({**FORM, "fields": fields})[0]


@settings(max_examples=300, deadline=None)
@given(hostile.spoiled([[STRIPE, GENERIC, FORM]]))
def test_whatever_is_written_there_is_read_or_refused_with_errors(connections: Any) -> None:
    """Never with another exception."""
    try:
        text = yaml.safe_dump({"connections": connections}, allow_unicode=True)
        load_connections(text)
    except RuleErrors as raised:
        assert raised.errors
