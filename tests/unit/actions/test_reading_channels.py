"""What a rule may say of each channel, and what it is told where it says something else."""

from pathlib import Path
from typing import Any

import jsonschema
import orjson
import pytest

from actions import Rule, RuleErrors, Template, load_rules, rule_of
from actions.registry import SPECS
from actions.rules import compile_rules
from schemas.definition_file import definition_file
from schemas.deliveries import CHANNELS
from schemas.transitions import Transition

COMMON = {"id": "r", "on": {"segment": "s"}}
TEXT = {"template": {"text": "Hi {{ traits.name }}"}}
SLACK = COMMON | TEXT | {"channel": "slack", "secret": "SALES"}
SMS = COMMON | TEXT | {"channel": "sms", "secret": "TWILIO", "target": {"trait": "phone"}, "from": "SHOP"}
INAPP = COMMON | TEXT | {"channel": "inapp"}
KAFKA = COMMON | {"channel": "kafka", "target": "crm.messages"}
SEGMENT = COMMON | {"channel": "segment", "target": "https://api.segment.io", "secret": "CDP"}
ALL = {"slack": SLACK, "sms": SMS, "inapp": INAPP, "kafka": KAFKA, "segment": SEGMENT}
SERVICE = "MG" + "0a" * 16


def load(rule: Any, templates: Path | None = None) -> Rule:
    (found,) = load_rules(orjson.dumps({"rules": [rule]}).decode(), "rules.json", templates)
    return found


def errors_of(rule: Any) -> list[str]:
    with pytest.raises(RuleErrors) as raised:
        load(rule)
    return raised.value.errors


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_rule_of_each_channel_comes_back_from_its_body(name: str) -> None:
    rule = load(ALL[name] | {"group": "promo", "traits": ["plan"]})

    assert rule.channel == name
    assert rule.group == "promo"
    assert "plan" in rule.traits
    assert rule_of(orjson.loads(orjson.dumps(rule.body))) == rule


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (SLACK | {"target": "#sales"}, "unknown key 'target'"),
        (SLACK | {"secret": "https://hooks.slack.com/services/T/B/x"}, "expected a NAME, whose secret stands in"),
        (SLACK | {"template": {"subject": "x", "text": "y"}}, "unknown key 'subject', expected one of text - at $.template"),
        (SLACK | {"template": {}}, "expected text, got nothing - at $.template.text"),
        (SLACK | {"template": "hello"}, "expected a template in place: {text: …}, got 'hello'"),
        (SMS | {"target": "030 901820"}, "expected a phone number such as '+4930901820', or {trait: …}, got '030 901820'"),
        (SMS | {"target": 4930901820}, "expected a phone number such as '+4930901820', or {trait: …}, got 4930901820"),
        (SMS | {"target": {"trait": ""}}, "expected the name of a trait, got '' - at $.target.trait"),
        (SMS | {"from": 15550001111}, "expected in quotes a phone number, a short code, a name"),
        (SMS | {"from": "a name too long"}, "expected in quotes a phone number, a short code, a name"),
        (SMS | {"from": "MG123\nTo: x"}, "expected in quotes a phone number, a short code, a name"),
        ({key: SMS[key] for key in SMS if key != "from"}, "got nothing - at $.from"),
        ({key: SMS[key] for key in SMS if key != "target"}, "got nothing - at $.target"),
        (INAPP | {"target": {"trait": "x"}}, "unknown key 'target'"),
        (INAPP | {"secret": "X"}, "unknown key 'secret'"),
        (INAPP | {"template": {"text": "x", "html": "y"}}, "unknown key 'html', expected one of text subject"),
        (KAFKA | {"target": "no topic"}, "expected the name of a topic: at most 249 letters, digits, '.', '_' and '-'"),
        (KAFKA | {"target": ".."}, "expected the name of a topic"),
        (KAFKA | {"target": "__consumer_offsets"}, "expected a topic of yours, none of Kafka's own"),
        (KAFKA | {"target": {"trait": "topic"}}, "expected the name of a topic"),
        (KAFKA | {"template": {"text": "x"}}, "unknown key 'template'"),
        (SEGMENT | {"target": "https://api.segment.io/v1/"}, "expected a URL that /v1/batch comes after, such as https://"),
        (SEGMENT | {"target": "https://api.segment.io/v1/batch"}, "expected a URL that /v1/batch comes after"),
        (SEGMENT | {"target": "https://cdp.example/?key=1"}, "expected a URL that /v1/batch comes after"),
        (SEGMENT | {"target": "https://key:@cdp.example"}, "expected a URL with no user or password in it"),
        (SEGMENT | {"target": {"trait": "x"}}, "expected a URL of at most 2000 printable ASCII characters, got {'trait'"),
        ({key: SEGMENT[key] for key in SEGMENT if key != "secret"}, "expected a NAME, whose secret stands in"),
        (SEGMENT | {"event": ""}, "expected the name of an event, of at most 100 characters, got '' - at $.event"),
        (SEGMENT | {"event": "a\nb"}, "expected the name of an event, of at most 100 characters"),
        (SEGMENT | {"event": None}, "expected the name of an event, of at most 100 characters, got nothing"),
        (SEGMENT | {"identify": "yes"}, "expected true or false, got 'yes' - at $.identify"),
        (SEGMENT | {"template": {"text": "x"}}, "unknown key 'template'"),
        (KAFKA | {"identify": True}, "unknown key 'identify'"),
        (INAPP | {"group": ""}, "expected the name of a message group, of at most 100 characters, got '' - at $.group"),
        (INAPP | {"group": ["a"]}, "expected the name of a message group"),
        (INAPP | {"group": "a\nb"}, "expected the name of a message group"),
        (COMMON | {"channel": "fax"}, f"expected {' or '.join(CHANNELS)}, got 'fax' - at $.channel"),
    ],
)  # fmt: skip
def test_an_error_says_what_was_expected_what_came_and_where(rule: dict[str, Any], expected: str) -> None:
    assert any(expected in error for error in errors_of(rule)), errors_of(rule)


@pytest.mark.parametrize("sender", ["+15005550006", "12345", "SHOP", "My Shop 24", SERVICE])
def test_an_sms_comes_from_a_number_a_short_code_a_name_or_a_service(sender: str) -> None:
    assert load(SMS | {"from": sender}).sender == sender


def test_a_template_file_without_a_subject_is_the_text_alone(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("Hi {{ traits.name }}\nSubject: no\n")
    (tmp_path / "titled.txt").write_text("Subject: Look\n\nHi\n")
    (tmp_path / "titled.html").write_text("<p>{{ traits.more }}</p>")

    assert load(SMS | {"template": "note"}, tmp_path).template == Template("", "Hi {{ traits.name }}\nSubject: no\n")
    assert load(INAPP | {"template": "titled"}, tmp_path).template == Template("Look", "Hi\n")


@pytest.mark.parametrize(
    ("phone", "target"),
    [
        ("+4930901820", "+4930901820"), ("+49 30 901820", None), ("030901820", None), ("+0123456789", None),
        ("+1234567890123456", None), ("+4930901820\r\n", None), (4930901820, None), (None, None), ("+١٢٣٤٥٦٧٨", None),
    ],
)  # fmt: skip
def test_a_phone_number_out_of_a_trait_is_e164_or_nothing_is_sent(phone: Any, target: str | None) -> None:
    rules = compile_rules([load(SMS)], {"r": 0}, {"r": 1})
    transition = Transition("s", 1, "c", 1, 1000, "event")
    deliveries, outcomes = rules.act(transition, {"phone": phone, "name": "Ada"}, 1, 1000)

    assert [delivery.target for delivery in deliveries] == ([target] if target else [])
    if target is None:
        assert outcomes[0].code == "no_target"
        assert "expected a phone number such as '+4930901820' in trait 'phone'" in str(outcomes[0].reason)


def test_a_channel_whose_messages_have_one_place_to_go_is_shown_by_its_name() -> None:
    assert (load(SLACK).target, load(INAPP).target) == ("SALES", "inapp")


def test_no_channel_lets_a_contact_choose_what_is_called_or_written_to() -> None:
    """Only what can do no more than reach the wrong person may come out of a trait."""
    assert {name for name, spec in SPECS.items() if spec.target and spec.target.by_trait} == {"email", "sms"}


@pytest.mark.parametrize("name", sorted(ALL))
def test_an_editor_takes_a_rule_of_each_channel(name: str) -> None:
    schema = jsonschema.Draft202012Validator(definition_file())

    schema.validate({"rules": [ALL[name] | {"group": "promo"}]})
    assert not schema.is_valid({"rules": [ALL[name] | {"chanel": name}]})
