"""What a rule does with a transition: a delivery, an outcome that says why not, or nothing."""

from typing import Any

import pytest

from actions import Rules, compile_rules, load_rules
from schemas.deliveries import delivery_id
from schemas.transitions import CauseEvent, Transition

DAY_MS = 86_400_000
SINCE_MS = 10 * DAY_MS
AT_MS = SINCE_MS + 1000
TEXT = """
rules:
  - id: mail
    on: {segment: cart, transition: entered}
    channel: email
    target: {trait: contact.email}
    template: {subject: Hi, text: "{{ traits.first_name }}"}
  - id: hook
    on: {segment: cart, transition: left, causes: [event, timer, backfill]}
    channel: webhook
    target: https://shop.example/
    secret: SHOP
    traits: [address.city]
    max_age: 2h
"""
TRAITS = {"contact": {"email": "ada@shop.example"}, "first_name": "Ada", "address": {"city": "Ghent"}, "secret": "x"}


@pytest.fixture
def rules() -> Rules:
    return compile_rules(load_rules(TEXT), {"mail": SINCE_MS, "hook": SINCE_MS}, {"mail": 3, "hook": 1})


def transition(**changes: Any) -> Transition:
    values: dict[str, Any] = {"segment": "cart", "segment_version": 1, "contact": "c", "seq": 1, "at_ms": AT_MS}
    return Transition(**(values | {"cause": "timer"} | changes))


def test_the_shell_can_tell_which_segments_concern_no_rule(rules: Rules) -> None:
    assert rules.segments == {"cart"}
    assert rules.act(transition(segment="other"), TRAITS, 1, AT_MS) == ([], [])


def test_a_transition_in_the_other_direction_is_no_matter_of_the_rule(rules: Rules) -> None:
    """It isn't left out, so there is no outcome either."""
    deliveries, outcomes = rules.act(transition(seq=2), TRAITS, 1, AT_MS)

    assert ([delivery.rule for delivery in deliveries], outcomes) == (["hook"], [])


def test_a_delivery_carries_the_traits_that_are_asked_for_and_no_others(rules: Rules) -> None:
    ((mail,), _) = rules.act(transition(), TRAITS, 7, AT_MS + 2000)
    ((hook,), _) = rules.act(transition(seq=2), TRAITS, 8, AT_MS)

    assert (mail.target, mail.traits, mail.revision, mail.channel) == (
        "ada@shop.example",
        {"first_name": "Ada"},
        7,
        "email",
    )
    assert hook.traits == {"address.city": "Ghent"}
    assert mail.created_at == "1970-01-11T00:00:03.000Z"


def test_the_id_of_a_delivery_is_the_same_on_replay(rules: Rules) -> None:
    """It depends on transition, rule, version and step, and not on when the step was made."""
    ((one,), _) = rules.act(transition(), TRAITS, 7, AT_MS)
    ((again,), _) = rules.act(transition(), TRAITS | {"first_name": "Eve"}, 9, AT_MS + 5)

    assert one.id == again.id == delivery_id(transition().id, "mail", 3, 0)
    assert one.id != delivery_id(transition().id, "mail", 4, 0)


def test_a_delivery_quotes_the_event_behind_it(rules: Rules) -> None:
    event = CauseEvent(name="Cart Viewed", message_id="m-1", properties={"cart_id": "k"})
    ((delivery,), _) = rules.act(transition(cause="event", event=event), TRAITS, 1, AT_MS)

    assert delivery.transition.event == event


@pytest.mark.parametrize("cause", ["import", "backfill", "edit", "merge", "manual", "erasure"])
def test_only_events_and_time_message_anyone_unless_the_rule_says_otherwise(rules: Rules, cause: Any) -> None:
    deliveries, (outcome,) = rules.act(transition(cause=cause), TRAITS, 1, AT_MS)

    assert deliveries == []
    assert (outcome.status, outcome.code) == ("skipped", "cause")
    assert outcome.reason == f"expected cause event or timer, got {cause}"


def test_a_silent_transition_messages_no_one_whatever_the_rule_says(rules: Rules) -> None:
    deliveries, (outcome,) = rules.act(transition(seq=2, cause="backfill", silent=True), TRAITS, 1, AT_MS)

    assert (deliveries, outcome.code) == ([], "silent")


def test_max_age_is_measured_from_arrival_and_is_itself_young_enough(rules: Rules) -> None:
    """A worker that was down for an hour plays what fell due then; a replay of last year's events sends nothing."""
    at_the_edge, _ = rules.act(transition(seq=2), TRAITS, 1, AT_MS + 2 * 3_600_000)
    beyond, (outcome,) = rules.act(transition(seq=2), TRAITS, 1, AT_MS + 2 * 3_600_000 + 1)

    assert (len(at_the_edge), beyond, outcome.code) == (1, [], "too_old")
    assert outcome.reason == "expected an instant no more than 2h ago, got one of 2h1ms ago"


def test_a_rule_acts_on_nothing_before_itself(rules: Rules) -> None:
    deliveries, (outcome,) = rules.act(transition(at_ms=SINCE_MS), TRAITS, 1, SINCE_MS + 1)
    after, _ = rules.act(transition(at_ms=SINCE_MS + 1), TRAITS, 1, SINCE_MS + 1)

    assert (deliveries, outcome.code, len(after)) == ([], "before_rule", 1)


@pytest.mark.parametrize(
    "address", [None, "", "nobody", "a@b@c", "Ada <a@b.example>", "a@b.example\nBcc: x@y.example", 5, ["a@b.example"],
                "a" * 250 + "@b.example", "ä@b.example", "a..b@c.example", "a@b.example, c@d.example", "a@-b.example"]
)  # fmt: skip
def test_a_trait_that_is_no_address_is_left_out_with_an_outcome(rules: Rules, address: Any) -> None:
    deliveries, (outcome,) = rules.act(transition(), {"contact": {"email": address}}, 1, AT_MS)

    assert (deliveries, outcome.code, outcome.attempts) == ([], "no_target", 0)
    assert "expected an e-mail address in trait 'contact.email', got" in str(outcome.reason)


@pytest.mark.parametrize("address", ["a@b", "a.b+c@mail.shop.example", "O'Neil@shop.example", "a@b-c.example"])
def test_addresses_that_mail_servers_take_are_taken(rules: Rules, address: str) -> None:
    ((delivery,), _) = rules.act(transition(), {"contact": {"email": address}}, 1, AT_MS)

    assert delivery.target == address


def test_an_outcome_names_the_delivery_that_was_left_out(rules: Rules) -> None:
    """So that a rule's version, mended, is a delivery of its own."""
    _, (outcome,) = rules.act(transition(silent=True), TRAITS, 1, AT_MS)

    assert outcome.delivery == delivery_id(transition().id, "mail", 3, 0)
    assert (outcome.rule, outcome.rule_version, outcome.contact, outcome.segment) == ("mail", 3, "c", "cart")
