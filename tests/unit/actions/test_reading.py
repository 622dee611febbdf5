"""Rules as they are written: what is taken, and what each error says."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from actions import RuleErrors, check_segments, load_rules, rule_of
from actions.templates import FILTERS

MAIL = {
    "id": "cart-mail",
    "on": {"segment": "abandoned-cart"},
    "channel": "email",
    "target": {"trait": "email"},
    "template": {"subject": "Your cart", "text": "Hello {{ traits.first_name }}"},
}
HOOK = {
    "id": "crm",
    "on": {"segment": "abandoned-cart", "transition": "left"},
    "channel": "webhook",
    "target": "https://shop.example/hooks",
    "secret": "SHOP",
}


def load(*rules: Any, templates: Path | None = None) -> Any:
    return load_rules(orjson.dumps({"rules": rules}).decode(), "rules.json", templates)


def errors_of(*rules: Any, templates: Path | None = None) -> list[str]:
    with pytest.raises(RuleErrors) as raised:
        load(*rules, templates=templates)
    return raised.value.errors


def test_a_rule_says_by_itself_on_what_it_acts() -> None:
    """Entered, by an event or time, no older than a day: history played in never messages anyone."""
    (rule,) = load(MAIL)

    assert (rule.transition, rule.causes, rule.max_age_ms) == ("entered", {"event", "timer"}, 86_400_000)
    assert rule.traits == ("first_name",)
    assert rule.target_trait == "email"


def test_yaml_is_read_by_the_core_schema() -> None:
    """PyYAML's own schema would read the key `on` as a boolean."""
    text = "rules:\n  - {id: a, on: {segment: s}, channel: email, target: a@b.example, template: {subject: x, text: y}}"

    assert load_rules(text)[0].segment == "s"


def test_the_other_keys_of_a_file_are_none_of_ours() -> None:
    assert load_rules("segments: [{id: x, when: {everyone: true}}]") == ()


def test_a_rule_comes_back_from_its_body() -> None:
    for rule in load(MAIL, HOOK):
        assert rule_of(orjson.loads(orjson.dumps(rule.body))) == rule


def test_a_template_is_found_by_name_and_travels_with_the_rule(tmp_path: Path) -> None:
    """Workers and dispatchers read no files: what is applied is what is sent."""
    (tmp_path / "cart.txt").write_text("Subject: Hi {{ traits.first_name }}\n\nHello {{ traits.city }}\n")
    (tmp_path / "cart.html").write_text("<p>{{ traits.street }}</p>")
    (rule,) = load(MAIL | {"template": "cart"}, templates=tmp_path)

    assert rule.body["template"] == {
        "subject": "Hi {{ traits.first_name }}",
        "text": "Hello {{ traits.city }}\n",
        "html": "<p>{{ traits.street }}</p>",
    }
    assert rule.traits == ("city", "first_name", "street")
    assert rule_of(rule.body) == rule


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"id": "Cart"}, "rules.json: expected an id of small letters, digits, `.`, `_` and `-`, 64 at most, got 'Cart'"),
        ({"on": "entered"}, "rule 'cart-mail': expected {segment: ID}, got 'entered' - at $.on"),
        ({"on": {}}, "rule 'cart-mail': expected the id of a segment, got nothing - at $.on.segment"),
        ({"on": {"segment": "s", "transition": "enter"}}, "got 'enter' (did you mean 'entered'?) - at $.on.transition"),
        ({"on": {"segment": "s", "causes": []}}, "expected a list of causes, got [] - at $.on.causes"),
        ({"on": {"segment": "s", "causes": ["time"]}}, "got 'time' (did you mean 'timer'?) - at $.on.causes[0]"),
        ({"on": {"segment": "s", "when": 1}}, "unknown key 'when', expected one of segment transition causes - at $.on"),
        ({"channel": "mail"}, "got 'mail' (did you mean 'email'?) - at $.channel"),
        ({"target": "nobody"}, "expected an e-mail address, or {trait: …}, got 'nobody' - at $.target"),
        ({"target": {"trait": 5}}, "expected the name of a trait, got 5 - at $.target.trait"),
        ({"secret": "SHOP"}, "unknown key 'secret'"),
        ({"templat": "x"}, "unknown key 'templat' (did you mean 'template'?)"),
        ({"template": 7}, "expected the name of a template, or {subject: …, text: …, html: …}, got 7 - at $.template"),
        ({"template": {"subject": "x"}}, "expected text, got nothing - at $.template.text"),
        ({"template": {"subject": "x", "text": "{{ nme }}"}}, "got 'nme', in line 1 - at $.template.text"),
        ({"template": {"subject": "x\ny", "text": "z"}}, "expected one line of at most 1000 characters"),
        ({"template": "../../etc/passwd"}, "expected the name of a template: small letters, digits"),
        ({"max_age": "1month"}, "expected a duration such as 30m, 1d or 1d12h, got '1month' - at $.max_age"),
        ({"max_age": "0s"}, "expected a duration such as 30m, 1d or 1d12h, got '0s' - at $.max_age"),
        ({"traits": "email"}, "expected a list of names of traits, got 'email' - at $.traits"),
        ({"tags": [1]}, "expected a list of words, got [1] - at $.tags"),
    ],
)  # fmt: skip
def test_an_error_says_what_was_expected_what_came_and_where(change: dict[str, Any], expected: str) -> None:
    assert any(expected in error for error in errors_of(MAIL | change)), errors_of(MAIL | change)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("ftp://shop.example/", "expected a URL that begins with https:// or http:// and has a host"),
        ("https://", "expected a URL that begins with https:// or http:// and has a host"),
        ("https://user:word@shop.example/", "expected a URL with no user or password in it"),
        ("https://shop.example:port/", "expected a URL, got"),
        ("https://shop.example/\nx", "expected a URL of at most 2000 printable ASCII characters"),
        ({"trait": "website"}, "expected a URL of at most 2000 printable ASCII characters"),
    ],
)
def test_a_webhook_goes_to_a_plain_url_that_the_rule_names(target: Any, expected: str) -> None:
    """A URL out of a trait would let a contact choose what our machine calls."""
    assert expected in errors_of(HOOK | {"target": target})[0]


def test_a_webhook_is_signed_with_a_secret_that_is_named_not_written() -> None:
    (error,) = errors_of(HOOK | {"secret": "whsec_abcdef"})

    assert "expected a NAME, whose secret stands in the environment as TIDEGATE_SECRET_NAME" in error


def test_all_errors_of_a_file_are_reported() -> None:
    """An author corrects them in one go."""
    errors = errors_of(MAIL | {"max_age": 5, "target": 6}, HOOK | {"id": "other", "traits": 7}, 8)

    assert [error.rpartition(" - at ")[2] for error in errors] == ["$.target", "$.max_age", "$.traits", "$.rules[2]"]


def test_an_id_twice_is_an_error() -> None:
    assert errors_of(MAIL, MAIL) == ["rule 'cart-mail': expected an id of its own, got it twice - at $.id"]


def test_a_template_file_that_is_missing_or_malformed_says_so(tmp_path: Path) -> None:
    (tmp_path / "cart-mial.txt").write_text("Hello")
    (missing,) = errors_of(MAIL | {"template": "cart-mail"}, templates=tmp_path)
    (malformed,) = errors_of(MAIL | {"template": "cart-mial"}, templates=tmp_path)

    assert "got none (did you mean 'cart-mial'?) - at $.template" in missing
    assert "expected `Subject: …` in the first line" in malformed


def test_a_rule_on_a_segment_that_is_not_in_force_is_an_error() -> None:
    rules = load(MAIL)

    assert check_segments(rules, ["abandoned-cart"]) == []
    assert check_segments(rules, ["abandoned-carts"]) == [
        "rule 'cart-mail': expected a segment in force, got 'abandoned-cart' (did you mean 'abandoned-carts'?)"
        " - at $.on.segment"
    ]


def test_the_rules_of_the_documentation_are_rules() -> None:
    """The first block of `actions/README.md`, with the demo's templates."""
    root = Path(__file__).resolve().parent.parent.parent.parent
    text = (root / "actions" / "README.md").read_text().split("```yaml\n")[1].split("```")[0]
    rules = load_rules(text, "README.md", root / "deploy" / "templates")

    assert [rule.id for rule in rules] == ["cart-mail", "crm"]


def test_the_filters_of_the_documentation_are_those_that_there_are() -> None:
    root = Path(__file__).resolve().parent.parent.parent.parent
    text = " ".join((root / "actions" / "README.md").read_text().split())

    assert f"the filters {', '.join(FILTERS[:-2])}, {FILTERS[-2]} and {FILTERS[-1]};" in text
