"""Whether a delivery may go out: each reason not to, in their order, and quiet hours where clocks change."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from actions.decisions import BEHIND_MS, BEHIND_MS_MAX, asks_read_model, decide
from actions.facts import Facts
from actions.policies import Policies
from actions.policy_reading import load_policies
from schemas.deliveries import Delivery, Ending, Ends
from schemas.instants import parse_instant
from schemas.transitions import Consent, MembershipRecord

Make = Callable[..., Delivery]
NOW = "2026-03-02T12:00:00Z"
QUIET = 'quiet_hours: {from: "21:00", to: "08:00"}'
ON, OFF = Consent(True, "2026-01-01T00:00:00.000Z"), Consent(False, "2026-01-02T00:00:00.000Z")
LATER_ON = Consent(True, "2026-01-03T00:00:00.000Z")


def at(text: str) -> int:
    found = parse_instant(text, offset_required=True)
    assert found is not None
    return found


def policies_of(*texts: str, explicit: bool = False) -> Policies:
    listed = "".join(f"  - {{id: p{n}, {text}}}\n" for n, text in enumerate(texts))
    return Policies(explicit, load_policies(f"policies:\n{listed}" if texts else "{}"))


def member(member: bool, revision: int) -> MembershipRecord:
    return MembershipRecord("c-17", "trial", member, NOW, 1 if member else 2, 1, revision)


# of a delivery of revision 4, whose step was taken at noon; a goal and an exit
BOUGHT = {"ends": Ends("2026-03-02T12:00:00.000Z", (Ending("paying", "entered"), Ending("trial", "left")))}


def ended(paying: tuple[bool, int, int] | None, trial: tuple[bool, int, int] | None) -> Facts:
    """Of each segment whether the contact is in it, as of which revision, and since which second after noon."""
    found = (
        each and MembershipRecord("c-17", "any", each[0], f"2026-03-02T12:00:{each[2]:02}.000Z", 1, 1, each[1])
        for each in (paying, trial)
    )
    return there(revision=9, endings=tuple(found))


def there(**changes: Any) -> Facts:
    """What is known of somebody of whom nothing speaks against a message."""
    return Facts(**{"revision": 4, **changes})


CASES: dict[str, tuple[dict[str, Any], Facts, Policies, tuple[str | None, str | None]]] = {
    "nothing objects": ({}, there(), Policies(), (None, None)),
    "the read model is filling": ({}, there(ready=False), Policies(), ("behind", "later")),
    "the contact is not there yet": ({}, Facts(), Policies(), ("behind", "later")),
    "the contact is older than the delivery": ({"revision": 5}, there(), Policies(), ("behind", "later")),
    "a webhook asks nothing of the contact": ({"channel": "webhook"}, Facts(ready=False), Policies(), (None, None)),
    "a webhook of a group does": ({"channel": "webhook", "group": "g"}, Facts(), Policies(), ("behind", "later")),
    "erased": ({}, Facts(gone=True), Policies(), ("gone", None)),
    "erased, and a webhook": ({"channel": "webhook"}, Facts(gone=True), Policies(), ("gone", None)),
    "still in `while`": ({"while_segment": "trial"}, there(membership=member(True, 2)), Policies(), (None, None)),
    "left `while` since": ({"while_segment": "trial"}, there(membership=member(False, 4)), Policies(), ("while", None)),
    "left it before the delivery: not read yet that it is back": (
        {"while_segment": "trial"}, there(membership=member(False, 3)), Policies(), ("behind", "later")),
    "not read yet that it entered": ({"while_segment": "trial"}, there(), Policies(), ("behind", "later")),
    "has bought since": (BOUGHT, ended((True, 5, 0), (True, 3, 0)), Policies(), ("ended", None)),
    "has left the trial since": (BOUGHT, ended(None, (False, 5, 0)), Policies(), ("ended", None)),
    "bought at a later instant of the same step": (BOUGHT, ended((True, 4, 1), None), Policies(), ("ended", None)),
    "had bought, and left the trial, when the message was written": (
        BOUGHT, ended((True, 4, 0), (False, 3, 0)), Policies(), (None, None)),
    "has entered what only leaving ends, and left what only entering does": (
        BOUGHT, ended((False, 5, 1), (True, 5, 1)), Policies(), (None, None)),
    "was never in any of it": (BOUGHT, ended(None, None), Policies(), (None, None)),
    "a webhook is asked as well whether its sequence goes on": (
        {**BOUGHT, "channel": "webhook"}, Facts(ready=False), Policies(), ("behind", "later")),
    "consent is assumed": ({"group": "promo"}, there(consent={"news": OFF}), Policies(), (None, None)),
    "consent has to be given": ({"group": "promo"}, there(), policies_of("consent: explicit"), ("consent", None)),
    "consent has to be given, everywhere": ({"group": "promo"}, there(), policies_of(explicit=True), ("consent", None)),
    "consent was given": ({"group": "promo"}, there(consent={"promo": ON}), policies_of(explicit=True), (None, None)),
    "taken back": ({"group": "promo"}, there(consent={"promo": OFF}), Policies(), ("consent", None)),
    "taken back of all": ({"group": "promo"}, there(consent={"promo": ON, "": OFF}), Policies(), ("consent", None)),
    "of all, without a group": ({}, there(consent={"": OFF}), Policies(), ("consent", None)),
    "of one, without a group": ({}, there(consent={"promo": OFF}), Policies(), (None, None)),
    "given after all": ({"group": "promo"}, there(consent={"": OFF, "promo": LATER_ON}), Policies(), (None, None)),
    "transactional passes no consent": (
        {"group": "bills", "transactional": True}, there(consent={"bills": OFF}), Policies(), ("consent", None)),
    "webhook without a group": ({"channel": "webhook"}, there(consent={"": OFF}), Policies(), (None, None)),
    "suppressed": ({}, there(suppressed="a hard bounce"), Policies(), ("suppressed", None)),
    "suppressed, transactional": ({"transactional": True}, there(suppressed="x"), Policies(), ("suppressed", None)),
    "suppressed is of e-mail": ({"channel": "sms"}, there(suppressed="a hard bounce"), Policies(), (None, None)),
    "awake": ({}, there(), policies_of(QUIET), (None, None)),
    "asleep": ({}, there(zone="Asia/Tokyo"), policies_of(QUIET), ("quiet", "2026-03-02T23:00:00Z")),
    "asleep, where nothing else is known": (
        {}, there(zone="Mars"), policies_of(QUIET + ", tz: Asia/Tokyo"), ("quiet", "2026-03-02T23:00:00Z")),
    "asleep, in a zone of the policy's": (
        {}, there(), policies_of('quiet_hours: {from: "11:00", to: "13:00", tz: UTC}'), ("quiet", "2026-03-02T13:00:00Z")),
    "asleep, then dropped": (
        {}, there(), policies_of('quiet_hours: {from: "11:00", to: "13:00", then: drop}'), ("quiet", None)),
    "asleep by two, the later end counts": (
        {}, there(), policies_of(*(f'quiet_hours: {{from: "11:00", to: "{end}"}}' for end in ("14:00", "13:00"))),
        ("quiet", "2026-03-02T14:00:00Z")),
    "transactional passes quiet hours": ({"transactional": True}, there(zone="Asia/Tokyo"), policies_of(QUIET), (None, None)),
    "in-app wakes nobody": ({"channel": "inapp"}, there(zone="Asia/Tokyo"), policies_of(QUIET), (None, None)),
    "consent comes before sleep": ({}, there(consent={"": OFF}, zone="Asia/Tokyo"), policies_of(QUIET), ("consent", None)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_first_that_objects_is_the_reason(case: str, make_delivery: Make) -> None:
    """Of each: the code, and until when it waits (`later`: until it is asked again; None: left out for good)."""
    changes, facts, policies, (code, until) = CASES[case]
    delivery = make_delivery(**{"channel": "email", "target": "ada@home.example", **changes})
    verdict = decide(delivery, facts, policies, at(NOW), 0)

    until_ms = at(NOW) + BEHIND_MS if until == "later" else None if until is None else at(until)
    assert (verdict.code, verdict.until_ms) == (code, until_ms), verdict.reason


def test_what_is_newer_than_the_read_model_goes_by_what_is_there_in_the_end(make_delivery: Make) -> None:
    """But where the read model itself is not whole, it waits on: nobody knows who has unsubscribed."""
    delivery = make_delivery(channel="email", revision=9)

    def asked(facts: Facts, behind_ms: int) -> str | None:
        return decide(delivery, facts, Policies(), at(NOW), behind_ms).code

    assert asked(there(), BEHIND_MS_MAX - 1) == "behind"
    assert asked(there(), BEHIND_MS_MAX) is None
    assert asked(there(consent={"": OFF}), BEHIND_MS_MAX) == "consent"
    assert asked(Facts(), BEHIND_MS_MAX) == "gone"
    assert asked(there(ready=False), BEHIND_MS_MAX) == "behind"


def test_that_a_contact_was_erased_is_told(make_delivery: Make) -> None:
    """A webhook that says so would never go out if the contact had to be there."""
    told = msgspec.structs.replace(make_delivery().transition, cause="erasure")
    delivery = make_delivery(transition=told, group="g")

    assert decide(delivery, Facts(gone=True), Policies(), at(NOW), 0).code is None
    assert not asks_read_model(delivery, Policies())


@pytest.mark.parametrize(
    ("zone", "quiet", "now", "end"),
    [
        # the clock goes from 02:00 to 03:00 on 29 March, and from 03:00 back to 02:00 on 25 October
        ("Europe/Berlin", ("21:00", "08:00"), "2026-03-28T20:00:00Z", "2026-03-29T06:00:00Z"),
        ("Europe/Berlin", ("21:00", "08:00"), "2026-03-28T19:59:59Z", None),
        ("Europe/Berlin", ("21:00", "08:00"), "2026-03-29T05:59:59.999Z", "2026-03-29T06:00:00Z"),
        ("Europe/Berlin", ("21:00", "08:00"), "2026-03-29T06:00:00Z", None),
        ("Europe/Berlin", ("22:00", "02:30"), "2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", ("02:15", "02:45"), "2026-03-29T01:00:00Z", None),
        ("Europe/Berlin", ("21:00", "08:00"), "2026-10-24T22:00:00Z", "2026-10-25T07:00:00Z"),
        ("Europe/Berlin", ("22:00", "02:30"), "2026-10-25T00:29:00Z", "2026-10-25T00:30:00Z"),
        ("Europe/Berlin", ("22:00", "02:30"), "2026-10-25T01:15:00Z", None),
        ("America/St_Johns", ("21:00", "08:00"), "2026-07-01T01:00:00Z", "2026-07-01T10:30:00Z"),
        ("UTC", ("12:00", "14:00"), "2026-07-01T12:00:00Z", "2026-07-01T14:00:00Z"),
        ("UTC", ("12:00", "14:00"), "2026-07-01T14:00:00Z", None),
    ],
)
def test_quiet_hours_are_those_of_the_clock_on_the_wall(
    zone: str, quiet: tuple[str, str], now: str, end: str | None, make_delivery: Make
) -> None:
    delivery = make_delivery(channel="sms", target="+4930901820")
    policies = policies_of(f'quiet_hours: {{from: "{quiet[0]}", to: "{quiet[1]}"}}')
    verdict = decide(delivery, there(zone=zone), policies, at(now), 0)

    assert verdict.until_ms == (None if end is None else at(end))
    assert verdict.code == (None if end is None else "quiet")


def test_a_condition_in_place_has_no_name_that_people_know(make_delivery: Make) -> None:
    delivery = make_delivery(channel="email", while_segment="~0123456789abcdef")
    verdict = decide(delivery, there(membership=member(False, 4)), Policies(), at(NOW), 0)

    assert verdict.reason == f"expected the contact in what `while` asks for, which it has left at {NOW}"


def test_of_a_sequence_that_has_ended_it_is_said_by_what_and_since_when(make_delivery: Make) -> None:
    def reason(segment: str, transition: Any) -> str | None:
        ends = Ends("2026-03-02T11:00:00.000Z", (Ending(segment, transition),))
        since = MembershipRecord("c-17", segment, transition == "entered", NOW, 1, 1, 4)
        delivery = make_delivery(rule="cart", kind="sequence", ends=ends)
        return decide(delivery, there(endings=(since,)), Policies(), at(NOW), 0).reason

    expected = "expected nothing since that ends sequence 'cart', but the contact has"
    assert reason("paying", "entered") == f"{expected} entered segment 'paying' at {NOW}"
    assert reason("~goal-0123456789abcdef", "entered") == f"{expected} entered what `goal` asks for at {NOW}"
    assert reason("~0123456789abcdef", "left") == f"{expected} left what `exit` asks for at {NOW}"
