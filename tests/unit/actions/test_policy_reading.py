"""Policies as they are written: what they come to, and what is wrong with them, each with its place."""

import jsonschema
import pytest

from actions.errors import RuleErrors
from actions.policies import CONTACT, WAKING, Cap, QuietHours, Rate
from actions.policy_reading import load_policies, policy_of
from schemas.instants import DAY_MS
from schemas.jsonschema import schemas
from segments.read import read_text

HOUR_MS = 3_600_000
WHOLE = """
policies:
  - id: default
    name: Nobody is written to too often
    consent: explicit
    tz: Europe/Berlin
    caps:
      - {channel: email, group: promo, at_most: 3, within: 7d, then: later}
      - {at_most: 1, within: 1h}
    quiet_hours: {from: "21:30", to: "08:00"}
    rates:
      - {channel: webhook, per_second: 50, burst: 100}
      - {channel: webhook, host: "Crm.shop.example:8443", per_second: 0.5}
"""
WRONG = {
    "caps: []": ["expected a list of caps, got [] - at $.caps"],
    "caps: [{at_most: 1}]": ["expected a duration such as 1d or 7d, of at most 30d, got nothing - at $.caps[0].within"],
    "caps: [{at_most: true, within: 31d, then: never}]": [
        "expected a whole number from 1 to 1000, got True - at $.caps[0].at_most",
        "expected a duration such as 1d or 7d, of at most 30d, got '31d' - at $.caps[0].within",
        "expected drop or later, got 'never' - at $.caps[0].then",
    ],
    "caps: [{at_most: 1, within: 1d, channel: mail}]": [
        "expected webhook or email or slack or sms or inapp or kafka or segment, got 'mail' (did you mean 'email'?)"
        " - at $.caps[0].channel"
    ],
    "quiet_hours: {from: 21:00, to: '24:00'}": ["""expected a time of day such as "21:00", in quotes, got '24:00'"""
                                                " - at $.quiet_hours.to"],
    "quiet_hours: {from: '21:00', to: '21:00'}": ["expected another time than `from`, got '21:00' - at $.quiet_hours.to"],
    "quiet_hours: {from: '21:00', to: '08:00', tz: Berlin}": [
        "expected `contact`, or an IANA time zone such as Europe/Paris, got 'Berlin' - at $.quiet_hours.tz"
    ],
    "rates: [{channel: webhook, per_second: 0}]": [
        "expected a number above 0, of at most 100000, got 0 - at $.rates[0].per_second"
    ],
    "rates: [{per_second: .inf}]": [
        "expected a number above 0, of at most 100000, got .inf - at $.rates[0].per_second",
        "expected webhook or email or slack or sms or inapp or kafka or segment, got nothing - at $.rates[0].channel",
    ],
    "tz: Mars, consent: explicit": ["expected an IANA time zone such as Europe/Paris, got 'Mars' - at $.tz"],
    "tz: UTC": ["expected consent, caps, quiet_hours or rates, got none of them - at $"],
    "capz: []": [
        "unknown key 'capz' (did you mean 'caps'?), expected one of id consent caps quiet_hours rates tz name description"
        " tags owner - at $",
        "expected consent, caps, quiet_hours or rates, got none of them - at $",
    ],
}  # fmt: skip


def test_a_policy_comes_to_what_it_says() -> None:
    (policy,) = load_policies(WHOLE)

    assert policy.caps == (
        Cap(3, 7 * DAY_MS, "email", "promo", "later"),
        Cap(1, HOUR_MS),
    )
    assert policy.quiet_hours == QuietHours(21 * HOUR_MS + HOUR_MS // 2, 8 * HOUR_MS, CONTACT, "later", WAKING)
    assert policy.rates == (Rate("webhook", 50, 100), Rate("webhook", 0.5, 1, "crm.shop.example:8443"))
    assert (policy.explicit, policy.zone.name) == (True, "Europe/Berlin")
    assert policy_of(policy.body) == policy


def test_an_editor_takes_what_is_right() -> None:
    assert jsonschema.Draft202012Validator(schemas()["segments"]).is_valid(read_text(WHOLE, "policies"))


@pytest.mark.parametrize("written", WRONG)
def test_all_that_is_wrong_is_told_with_its_place(written: str) -> None:
    with pytest.raises(RuleErrors) as refused:
        load_policies(f"policies: [{{id: p, {written}}}]")

    assert refused.value.errors == [f"policy 'p': {line}" for line in WRONG[written]]
