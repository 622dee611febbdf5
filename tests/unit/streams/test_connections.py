"""Connections with their secrets, and how requests find theirs."""

from pathlib import Path

import pytest

from streams.connections import load
from streams.errors import InputError
from streams.settings import load_settings

FILE = """
connections:
  - {id: website, vendor: tracking, secret: [WEBSITE, WEBSITE_BEFORE]}
  - {id: form, vendor: typeform, secret: FORM}
  - {id: other, vendor: typeform, secret: [FORM, OTHER]}
"""
SECRETS = {
    "TIDEGATE_SECRET_WEBSITE": "key-of-the-website",
    "TIDEGATE_SECRET_WEBSITE_BEFORE": "key-before-that",
    "TIDEGATE_SECRET_FORM": "hidden-form-secret",
    "TIDEGATE_SECRET_OTHER": "hidden-other-secret",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of connections."""
    path = tmp_path / "connections.yaml"
    path.write_text(FILE)
    return path


def test_a_webhook_finds_its_connection_by_vendor_and_id(path: Path) -> None:
    """Both have to be right: the vendor says how it is read, the id whose secrets count."""
    connections = load(load_settings({"TIDEGATE_CONNECTIONS": str(path)}), SECRETS)

    other = connections.webhook("typeform", "other")
    assert other is not None and other.vendor is not None
    assert (other.connection.id, other.vendor.title) == ("other", "Typeform")
    assert other.secrets == ("hidden-form-secret", "hidden-other-secret")
    assert connections.webhook("stripe", "other") is None
    assert connections.webhook("typeform", "nobody") is None
    assert connections.webhook("tracking", "website") is None
    assert [each.connection.id for each in connections] == ["website", "form", "other"]
    assert len(connections) == 3


def test_each_of_two_write_keys_finds_the_connection(path: Path) -> None:
    """While they are rotated, both count; a webhook's secret is no write key."""
    connections = load(load_settings({"TIDEGATE_CONNECTIONS": str(path)}), SECRETS)

    for key in ("key-of-the-website", "key-before-that"):
        found = connections.tracking(key)
        assert found is not None and found.connection.id == "website" and found.vendor is None
    assert connections.tracking("hidden-form-secret") is None
    assert connections.tracking("") is None
    assert connections.tracking("\udce4") is None


def test_secrets_are_not_in_what_is_printed(path: Path) -> None:
    """A line of a log, or a traceback with values, must not have them."""
    connections = load(load_settings({"TIDEGATE_CONNECTIONS": str(path)}), SECRETS)

    assert not any(secret in repr(list(connections)) for secret in SECRETS.values())


def test_every_secret_that_is_missing_or_wrong_is_named_at_once(path: Path) -> None:
    """By its variable and its connection, never by what it is."""
    some = {"TIDEGATE_SECRET_WEBSITE": "with blanks in it", "TIDEGATE_SECRET_FORM": "short"}

    with pytest.raises(InputError) as raised:
        load(load_settings({"TIDEGATE_CONNECTIONS": str(path)}), some)

    key = "expected a write key of 8 to 256 characters of ASCII without blanks and `:`, got something else"
    assert raised.value.lines == (
        f"TIDEGATE_SECRET_WEBSITE: {key} - of connection 'website'",
        "TIDEGATE_SECRET_WEBSITE_BEFORE: expected a secret, got none - of connection 'website'",
        "TIDEGATE_SECRET_FORM: expected at least 8 characters, got 5 - of connection 'form'",
        "TIDEGATE_SECRET_FORM: expected at least 8 characters, got 5 - of connection 'other'",
        "TIDEGATE_SECRET_OTHER: expected a secret, got none - of connection 'other'",
    )


def test_two_connections_can_not_have_one_write_key(path: Path) -> None:
    """It alone says whose an event is."""
    path.write_text("connections: [{id: a, vendor: tracking, secret: A}, {id: b, vendor: tracking, secret: B}]")
    keys = {"TIDEGATE_SECRET_A": "one-and-the-same", "TIDEGATE_SECRET_B": "one-and-the-same"}

    with pytest.raises(
        InputError, match=r"connection 'b': expected a write key of its own, got that of connection 'a'"
    ):
        load(load_settings({"TIDEGATE_CONNECTIONS": str(path)}), keys)


@pytest.mark.parametrize("public", ["{id: a, vendor: tracking, secret: A}", "{id: a, vendor: form, secret: A}"])
def test_what_is_in_a_page_for_all_to_see_proves_nothing_else(path: Path, public: str) -> None:
    """A write key or a form's key says which connection it is, and no more."""
    path.write_text(f"connections: [{{id: b, vendor: typeform, secret: [B, C]}}, {public}]")
    keys = {"TIDEGATE_SECRET_A": "one-and-the-same", "TIDEGATE_SECRET_C": "one-and-the-same"}

    with pytest.raises(InputError) as raised:
        load(load_settings({"TIDEGATE_CONNECTIONS": str(path)}), keys | {"TIDEGATE_SECRET_B": "another-secret"})
    assert raised.value.lines == (
        "connection 'b': expected a secret of its own, got that of connection 'a', which is in a page for all to see",
    )


def test_a_secret_that_is_no_text_is_said_before_a_request_comes(path: Path) -> None:
    """An environment may have any bytes."""
    with pytest.raises(InputError, match="TIDEGATE_SECRET_OTHER: expected text in UTF-8, got something else"):
        load(load_settings({"TIDEGATE_CONNECTIONS": str(path)}), SECRETS | {"TIDEGATE_SECRET_OTHER": "\udce4" * 20})


def test_a_file_that_is_wrong_or_missing_is_refused_with_all_its_errors(path: Path) -> None:
    """Nothing of it is in force."""
    path.write_text("connections: [{id: a, vendor: typefrom, secret: A}, {id: b, vendor: typeform}]")

    with pytest.raises(InputError) as raised:
        load(load_settings({"TIDEGATE_CONNECTIONS": str(path)}), {})
    assert [line.rpartition(" - at ")[2] for line in raised.value.lines] == ["$.vendor", "$.secret"]

    path.unlink()
    with pytest.raises(InputError, match="got none: TIDEGATE_CONNECTIONS says where it is"):
        load(load_settings({"TIDEGATE_CONNECTIONS": str(path)}), {})
