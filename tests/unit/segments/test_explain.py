"""What an explanation says of each kind of condition, what it warns of, and how it reads."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.instants import parse_instant
from segments import Explanation, Limits, UnknownName, explain, load_data, text_of
from segments.explain_lines import glance_at
from segments.explain_nodes import Change, Node

DAY = "2026-03-02T"


def at(clock: str) -> int:
    """Epoch ms of a time of day."""
    found = parse_instant(f"{DAY}{clock}Z", offset_required=True)
    assert found is not None
    return found


def track(clock: str, name: str, contact: str = "c", **properties: Any) -> dict[str, Any]:
    return {"type": "track", "userId": contact, "event": name, "timestamp": at(clock), "properties": properties}


def traits(clock: str, contact: str = "c", **values: Any) -> dict[str, Any]:
    return {"type": "identify", "userId": contact, "timestamp": at(clock), "traits": values}


def explained(when: Any, *events: dict[str, Any], scores: Any = (), more: Any = (), **keys: Any) -> Explanation:
    """The explanation of a segment `s` with this condition for the contact `c`."""
    asked = {name: keys.pop(name) for name in ("at_ms", "key", "limits", "contact") if name in keys}
    data: dict[str, Any] = {"segments": [{"id": "s", "when": when, **keys}, *more]}
    if scores:
        data["scores"] = scores
    lines = [json.dumps(event).encode() for event in events]
    return explain(load_data(data), lines, asked.pop("contact", "c"), segment="s", **asked)


def root(explanation: Explanation) -> Node:
    """The condition of the only membership."""
    (segment,) = explanation.segments
    (membership,) = segment.memberships
    return membership.condition


# ---- traits ---------------------------------------------------------------------------------------------------------


def test_of_a_trait_the_value_and_when_it_was_written_are_shown() -> None:
    """The one that counts, not one that came later and was older."""
    node = root(explained({"trait": "plan", "eq": "pro"}, traits("10:00", plan="pro"), traits("09:00", plan="free")))

    assert node.answer is True
    assert node.evidence == {"value": "pro", "written_at": f"{DAY}10:00:00.000Z"}
    assert node.notes == ()


def test_a_cleared_trait_shows_when_it_was_cleared() -> None:
    """It is as absent as one that never was; the difference is what an author looks for."""
    node = root(explained({"trait": "plan", "eq": "pro"}, traits("09:00", plan="pro"), traits("10:00", plan=None)))

    assert (node.answer, node.evidence) == (False, {"value": None, "written_at": f"{DAY}10:00:00.000Z"})


def test_of_a_trait_on_the_right_side_the_value_is_shown_as_well() -> None:
    """Both sides come from the contact."""
    node = root(explained({"trait": "a", "gt": {"trait": "b"}}, traits("09:00", a=5), traits("10:00", b="x")))

    assert node.evidence["against"] == {"trait": "b", "value": "x", "written_at": f"{DAY}10:00:00.000Z"}
    assert node.notes == ("expected a number in the trait 'b', got 'x'",)


def test_unchanged_for_shows_since_when_the_value_stands() -> None:
    """A write of the value that it has begins no new run; and when it will have stood long enough is known."""
    events = [traits("09:00", plan="a"), traits("10:00", plan="b"), traits("10:30", plan="b")]
    node = root(explained({"trait": "plan", "unchanged_for": "1h"}, *events))

    assert node.evidence["unchanged_since"] == f"{DAY}10:00:00.000Z"
    assert node.change is not None
    assert (node.change.at_ms, node.change.answer) == (at("11:00"), True)


@pytest.mark.parametrize(
    ("when", "value", "note"),
    [
        ({"has": "x"}, "x", "expected an array for `has`, got 'x'"),
        ({"gt": 5}, "ten", "expected a number for `gt`, got 'ten'"),
        ({"between": [1, 2]}, True, "expected a number for `between`, got true"),
        ({"contains": "1"}, 123, "expected text for `contains`, got 123"),
        ({"matches": "a"}, [1, 2], "expected text for `matches`, got [1, 2]"),
        ({"any_item": {"a": 1}}, ["a"], "expected an array of objects for `any_item`, got [a]"),
        ({"no_item": {"a": 1}}, "a", "expected an array of objects for `no_item`, got 'a', so it always holds"),
        (
            {"within_last": "1d"},
            "yesterday",
            "expected a date (ISO 8601, or epoch seconds or ms) for `within_last`, got 'yesterday'",
        ),
        ({"eq": {"trait": "other"}}, 1, "the trait 'other', which it is compared with, is absent"),
        ({"in": {"trait": "v"}}, "x", "expected an array in the trait 'v', got 'x'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_value_that_an_operator_can_not_be_applied_to_is_told(when: dict[str, Any], value: Any, note: str) -> None:
    """The condition is false of it, and says nothing about it elsewhere."""
    assert root(explained({"trait": "v", **when}, traits("09:00", v=value))).notes == (note,)


@pytest.mark.parametrize(
    ("when", "value"),
    [
        ({"gt": 5}, "10"),
        ({"gt": 5}, 1),
        ({"has": "x"}, []),
        ({"any_item": {"a": 1}}, []),
        ({"contains": "x"}, ["y", 1]),
        ({"within_last": "1d"}, 0),
        ({"eq": 5}, "five"),
        ({"gt": 5}, None),
    ],
    ids=str,
)
def test_a_value_that_an_operator_can_be_applied_to_is_not_noted(when: dict[str, Any], value: Any) -> None:
    """A note that is always there is never read."""
    assert root(explained({"trait": "v", **when}, traits("09:00", v=value, w=1))).notes == ()


def test_a_path_that_leads_into_an_array_is_told() -> None:
    """Paths go into objects only, and the value is absent as if it weren't there."""
    node = root(explained({"trait": "o.items.price", "gt": 1}, traits("09:00", o={"items": [{"price": 5}]})))

    assert node.evidence["value"] is None
    assert node.notes == (
        "'o.items.price' leads into the array at 'o.items', where paths don't go: `any_item` looks at its objects",
    )


def test_a_trait_that_never_was_but_another_is_spelled_alike_is_told() -> None:
    """A slip of the pen, most likely."""
    node = root(explained({"trait": "planned", "eq": 1}, traits("09:00", planed=1)))

    assert node.notes == ("the contact never had a trait 'planned'; did you mean 'planed'?",)


def test_a_timezone_that_is_none_is_told_where_the_contact_s_is_asked_for() -> None:
    """UTC stands in, and the day begins at another hour."""
    when = {"event": "A", "calendar": "today"}
    events = [traits("09:00", timezone="Berlin"), track("09:01", "A")]

    assert root(explained({**when, "tz": "contact"}, *events)).notes == (
        "the trait 'timezone' is 'Berlin', which is no IANA name: another zone stands in",
    )
    assert root(explained(when, *events)).notes == ()


# ---- events ---------------------------------------------------------------------------------------------------------


def test_of_events_those_in_the_range_are_shown_and_what_the_measure_comes_to() -> None:
    """With the properties that were asked for, and no others."""
    when = {"event": "A", "where": {"s": "x"}, "within": "1h", "sum": {"of": "n", "gte": 1}}
    events = [
        track("08:00", "A", s="x", n=100),
        {**track("09:30", "A", s="x", n=0.1, z=1), "messageId": "m1"},
        {**track("10:00", "A", s="x", n=0.2), "messageId": "m2"},
        {**track("10:01", "A", s="y", n=5), "messageId": "m3"},
    ]
    node = root(explained(when, *events))

    assert node.answer is False
    assert node.evidence == {
        "events": 2,
        "newest": [
            {"at": f"{DAY}10:00:00.000Z", "messageId": "m2", "event": "A", "properties": {"s": "x", "n": 0.2}},
            {"at": f"{DAY}09:30:00.000Z", "messageId": "m1", "event": "A", "properties": {"s": "x", "n": 0.1}},
        ],
        "measure": "sum",
        "measured": 0.3,
        "outside": {
            "count": 1,
            "newest": {
                "at": f"{DAY}08:00:00.000Z",
                "messageId": None,
                "event": "A",
                "properties": {"s": "x", "n": 100},
            },
        },
        "failed": {
            "count": 1,
            "newest": {"at": f"{DAY}10:01:00.000Z", "messageId": "m3"},
            "because": "s: expected eq 'x', got 'y'",
        },
    }


def test_an_event_is_in_the_range_up_to_the_last_millisecond() -> None:
    """As the core has it: at exactly an hour it counts no more."""
    when = {"event": "A", "within": "1h"}
    before, then = (root(explained(when, track("09:00", "A"), at_ms=at("10:00") - early)) for early in (1, 0))

    assert (before.answer, before.evidence["events"]) == (True, 1)
    assert (then.answer, then.evidence["events"], then.evidence["outside"]["count"]) == (False, 0, 1)


def test_an_event_is_in_a_period_up_to_the_last_millisecond() -> None:
    """As the core has it: the last period is as long as all others."""
    when = {"event": "A", "regularly": {"every": "30m", "periods": 2, "at_least": 1}}
    before, then = (root(explained(when, track("09:00", "A"), at_ms=at("10:00") - early)) for early in (1, 0))

    assert (before.answer, before.evidence["measured"]["met"]) == (True, 1)
    assert (then.answer, then.evidence["measured"]["met"]) == (False, 0)


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ({"count": {"gte": 1}}, 3),
        ({"avg": {"of": "n", "gt": 0}}, 2),
        ({"min": {"of": "n", "gt": 0}}, 1),
        ({"max": {"of": "n", "gt": 0}}, 3),
        ({"distinct": {"of": "s", "gt": 0}}, 2),
        ({"first_at": {"older_than": "1m"}}, f"{DAY}09:00:00.000Z"),
        ({"last_at": {"older_than": "1m"}}, f"{DAY}09:20:00.000Z"),
        ({"regularly": {"every": "10m", "periods": 3, "at_least": 2}}, {"met": 3, "of": 3, "counts": [1, 1, 1]}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_measure_is_shown_as_what_it_comes_to(measure: dict[str, Any], expected: Any) -> None:
    """The figure itself, so that one sees how far it is from the test."""
    events = [track("09:00", "A", n=1, s="x"), track("09:10", "A", n=2, s="y"), track("09:20", "A", n=3, s="y")]

    assert root(explained({"event": "A", **measure}, *events, at_ms=at("09:20"))).evidence["measured"] == expected


def test_latest_shows_the_event_and_what_it_fails() -> None:
    """The one that is asked, whatever others have."""
    events = [track("09:00", "A", plan="free"), track("09:10", "A", plan="pro")]
    node = root(explained({"event": "A", "latest": {"plan": "free"}}, *events))

    assert node.evidence["measured"]["because"] == "plan: expected eq 'free', got 'pro'"
    assert node.evidence["measured"]["at"] == f"{DAY}09:10:00.000Z"


def test_of_events_of_one_instant_the_one_that_arrived_last_is_the_latest() -> None:
    """Of whatever names they are; and the first of them the earliest."""
    events = [track("09:00", "B", n=1), track("09:00", "A", n=2), track("09:00", "B", n=3), track("09:00", "A", n=4)]
    latest, earliest = (
        root(explained({"event": ["A", "B"], which: {"n": 9}}, *events)).evidence for which in ("latest", "earliest")
    )

    assert latest["measured"]["because"] == "n: expected eq 9, got 4"
    assert earliest["measured"]["because"] == "n: expected eq 9, got 1"
    assert [one["properties"]["n"] for one in latest["newest"]] == [4, 3, 2]


def test_by_value_those_that_satisfy_come_first_and_the_rest_is_counted() -> None:
    """There may be ten thousand of them."""
    events = [track("09:00", "A", sku="hit"), track("09:01", "A", sku="hit")]
    events += [track(f"10:{n:02}", "A", sku=n) for n in range(6)]
    evidence = root(explained({"event": "A", "by": "sku", "count": {"gte": 2}}, *events)).evidence

    assert evidence["values"][0] == {"value": "hit", "answer": True, "events": 2, "measured": 2}
    assert [one["value"] for one in evidence["values"][1:]] == [5, 4, 3, 2]
    assert evidence["more"] == 2


@pytest.mark.parametrize(
    ("where", "because"),
    [
        ({"n": {"gte": 50, "lt": 100}}, "n: expected gte 50, got 20"),
        ({"n": 1, "s": "y"}, "n: expected eq 1, got 20"),
        ({"n": 20, "s": "y"}, "s: expected eq 'y', got 'x'"),
        ({"gone": 1}, "gone: expected eq 1, got nothing"),
        ({"n": {"has": 1}}, "n: expected an array for `has`, got 20"),
        ({"any": [{"n": 1}, {"s": "y"}]}, "n: expected eq 1, got 20 and s: expected eq 'y', got 'x'"),
        ({"none": [{"s": "y"}, {"s": "x"}]}, "expected none of several to hold, got one that does: s eq 'x'"),
        ({"s": {"in": ["a", "b"]}}, "s: expected in ['a', 'b'], got 'x'"),
        ({"context.ip": "1"}, "context.ip: expected eq '1', got '2'"),
        ({"items.price": 1}, "items.price: expected eq 1, got nothing ('items.price' leads into the array at 'items',"),
        ({"on": {"older_than": "1d"}}, "on: expected older_than 1d, got '2026-03-02'"),
    ],
    ids=str,
)
def test_of_events_that_fail_where_the_first_test_that_the_newest_fails_is_told(where: Any, because: str) -> None:
    """Expected and found, as an error would have it."""
    event = track("09:00", "A", n=20, s="x", items=[{"price": 1}], on="2026-03-02")
    node = root(explained({"event": "A", "where": where}, {**event, "context": {"ip": "2"}}))

    assert node.answer is False
    assert node.evidence["failed"]["because"].startswith(because)


def test_an_event_at_another_local_time_says_which_it_was() -> None:
    """In the zone of the condition."""
    when = {"event": "A", "local_time": ["22:00", "04:00"], "tz": "Asia/Tokyo"}
    because = root(explained(when, track("09:00", "A"))).evidence["failed"]["because"]

    assert because == "expected another local time or weekday, got 18:00:00 on a mon"


def test_a_name_that_never_came_is_told_with_what_is_close_to_it() -> None:
    """Of the contact alone, or of everyone in the file."""
    others = track("09:00", "Order Completed", contact="d")

    assert root(explained({"event": "Order Complete"}, track("09:00", "A"), others)).notes == (
        "no event named 'Order Complete' came for anyone; did you mean 'Order Completed'?",
    )
    assert root(explained({"event": "Order Completed"}, track("09:00", "A"), others)).notes == (
        "no event named 'Order Completed' came for this contact; others had some",
    )


def test_events_that_lack_what_is_measured_are_told() -> None:
    """They match, and add nothing."""
    events = [track("09:00", "A", n=1), track("09:01", "A"), track("09:02", "A", n="many")]
    node = root(explained({"event": "A", "sum": {"of": "n", "gte": 1}}, *events))

    assert node.notes == (
        "1 of 3 events have no 'n', and don't count for `sum`",
        "1 of 3 events have a 'n' that is no number, such as 'many'",
    )


# ---- sequences ------------------------------------------------------------------------------------------------------

CART = [
    {"event": "Cart"},
    {"event": "Checkout", "within": "1h"},
    {"absent": "Order", "within": "2h"},
]


def sequence(*events: dict[str, Any], at_clock: str | None = None, **keys: Any) -> dict[str, Any]:
    at_ms = None if at_clock is None else at(at_clock)
    return root(explained({"sequence": CART, **keys}, *events, at_ms=at_ms)).evidence


def test_of_a_sequence_the_match_that_completed_is_shown_step_by_step() -> None:
    """The events themselves, and when it was complete."""
    evidence = sequence(track("09:00", "Cart"), track("09:30", "Checkout"), at_clock="12:00")

    assert [step["at"] for step in evidence["steps"]] == [f"{DAY}09:00:00.000Z", f"{DAY}09:30:00.000Z", None]
    assert (evidence["completed"], evidence["completes"]) == (True, f"{DAY}11:30:00.000Z")
    assert "because" not in evidence


@pytest.mark.parametrize(
    ("events", "clock", "reached", "because"),
    [
        ([("09:00", "Cart")], "09:10", 1, "step 1 may still come, until 2026-03-02T10:00:00.000Z"),
        ([("09:00", "Cart")], "10:10", 1, "step 1 did not come within 1h, by 2026-03-02T10:00:00.000Z"),
        (
            [("09:00", "Cart"), ("09:30", "Checkout"), ("10:00", "Order")],
            "10:10",
            2,
            "what must stay absent came at 2026-03-02T10:00:00.000Z",
        ),
    ],
    ids=["open", "too late", "forbidden"],
)
def test_of_a_sequence_that_is_not_complete_it_is_told_how_far_it_has_got(
    events: list[tuple[str, str]], clock: str, reached: int, because: str
) -> None:
    """And what is in the way."""
    evidence = sequence(*(track(*event) for event in events), at_clock=clock)

    assert (evidence["completed"], evidence["reached"], evidence["because"]) == (False, reached, because)


def test_a_match_that_only_waits_says_when_it_will_be_complete() -> None:
    """Unless what is forbidden comes."""
    evidence = sequence(track("09:00", "Cart"), track("09:30", "Checkout"), at_clock="10:00")

    assert (evidence["completed"], evidence["completes"]) == (False, f"{DAY}11:30:00.000Z")


def test_a_match_counts_from_the_instant_of_its_completion_until_it_leaves_its_window() -> None:
    """To the millisecond, as the core has it."""
    events = [track("09:00", "Cart"), track("09:30", "Checkout")]
    at_ms = {"before": at("11:30") - 1, "complete": at("11:30"), "last": at("12:30") - 1, "gone": at("12:30")}
    when = {"sequence": CART, "completed": {"within": "1h"}}
    found = {name: root(explained(when, *events, at_ms=ms)) for name, ms in at_ms.items()}

    assert [node.answer for node in found.values()] == [False, True, True, False]
    assert [node.evidence["completed"] for node in found.values()] == [False, True, True, True]
    assert found["last"].evidence["counts_until"] == f"{DAY}12:30:00.000Z"
    assert found["gone"].evidence["because"] == f"it left its window at {DAY}12:30:00.000Z"


def test_a_match_that_counts_tells_more_than_a_newer_one_that_does_not_yet() -> None:
    """It is why the answer is true."""
    events = [track("09:00", "Cart"), track("09:30", "Checkout"), track("11:20", "Cart"), track("11:25", "Checkout")]
    evidence = sequence(*events, at_clock="12:00")

    assert (evidence["completed"], evidence["completes"]) == (True, f"{DAY}11:30:00.000Z")


def test_a_chain_that_may_go_on_tells_more_than_a_longer_one_that_may_not() -> None:
    """It is what the contact is in the midst of."""
    events = [track("09:00", "Cart"), track("09:30", "Checkout"), track("10:00", "Order"), track("10:10", "Cart")]
    evidence = sequence(*events, at_clock="10:20")

    assert (evidence["reached"], evidence["steps"][0]["at"]) == (1, f"{DAY}10:10:00.000Z")


def test_steps_of_one_instant_do_not_follow_each_other() -> None:
    """Later is later, by a millisecond at least."""
    evidence = sequence(track("09:00", "Cart"), track("09:00", "Checkout"), at_clock="12:00")

    assert evidence["reached"] == 1


def test_events_that_failed_a_step_or_lack_its_key_are_told() -> None:
    """They are why a sequence never gets on."""
    steps = [{"event": "Cart"}, {"event": "Checkout", "where": {"n": 1}}]
    events = [track("09:00", "Cart", id=1), track("09:10", "Checkout", id=1, n=2), track("09:20", "Cart")]
    found = explained({"sequence": steps, "by": "id"}, *events)
    node = root(found)

    assert node.evidence["steps"][0]["failed"] is None
    assert node.evidence["steps"][1]["failed"]["because"] == "n: expected eq 1, got 2"
    assert node.notes == ("1 of 2 events have no 'id', and don't count for `by`",)
    assert f"of the name, but not matching: 1, the newest at {DAY}09:10:00Z: n: expected eq 1, got 2" in text_of(
        found, 200
    )


def test_with_by_the_value_that_has_got_furthest_is_shown() -> None:
    """Of all that there are."""
    events = [track("09:00", "Cart", id=1), track("09:10", "Checkout", id=1), track("09:20", "Cart", id=2)]
    evidence = sequence(*events, by="id", at_clock="09:30")

    assert (evidence["value"], evidence["values"], evidence["reached"]) == (1, 2, 2)


# ---- the others -----------------------------------------------------------------------------------------------------


def test_of_a_score_the_shares_of_its_rules_are_shown_as_of_now() -> None:
    """Half after one half-life; none after it expired."""
    score = {
        "id": "lead",
        "half_life": "1h",
        "rules": [
            {"event": "Opened", "points": 8},
            {"event": "Booked", "points": 40, "expires": "30m"},
            {"event": "Paid", "points": 1, "lasting": True},
            {"trait": "seats", "gte": 10, "points": 2},
        ],
    }
    events = [track("09:00", "Opened"), track("09:00", "Booked"), track("09:00", "Paid"), traits("09:00", seats=12)]
    evidence = root(explained({"score": "lead", "gte": 7}, *events, scores=[score], at_ms=at("10:00"))).evidence

    assert evidence["value"] == 7
    assert [rule["points"] for rule in evidence["rules"]] == [4, 0, 1, 2]
    assert [rule.get("events", rule.get("holds")) for rule in evidence["rules"]] == [1, 0, 1, True]
    assert evidence["rules"][0]["says"] == "{event: Opened, points: 8}"


def test_events_that_give_no_points_are_told() -> None:
    """They have the name, and fail what the rule asks."""
    score = {"id": "lead", "rules": [{"event": "Opened", "where": {"n": 1}, "points": 8}]}
    evidence = root(explained({"score": "lead", "gte": 7}, track("09:00", "Opened", n=2), scores=[score])).evidence

    assert evidence["rules"][0]["failed"]["because"] == "n: expected eq 1, got 2"


def test_points_that_expire_count_up_to_the_last_millisecond() -> None:
    """And the share of a rule says so, as the score does."""
    score = {"id": "lead", "rules": [{"event": "Booked", "points": 40, "expires": "30m"}]}
    shares = []
    for at_ms in (at("09:30") - 1, at("09:30")):
        evidence = root(
            explained({"score": "lead", "gte": 40}, track("09:00", "Booked"), scores=[score], at_ms=at_ms)
        ).evidence
        shares.append((evidence["value"], evidence["rules"][0]["points"], evidence["rules"][0]["events"]))

    assert shares == [(40, 40, 1), (0, 0, 0)]


@pytest.mark.parametrize(
    ("when", "evidence"),
    [
        ({"known": {"older_than": "1d"}}, {"since": f"{DAY}09:00:00.000Z"}),
        ({"subscribed": "news"}, {"said": {"at": f"{DAY}09:10:00.000Z", "on": False}}),
        ({"subscribed": "other"}, {"said": None}),
        ({"listed": "vip"}, {"said": {"at": f"{DAY}09:20:00.000Z", "on": True}}),
        ({"segment": "t"}, {"since": f"{DAY}09:00:00.000Z", "seq": 1}),
        ({"sample": {"percent": 50, "salt": "x"}}, {"fraction": 100 * 0x8628 / 0x10000}),
        ({"everyone": True}, {}),
    ],
    ids=lambda value: next(iter(value), "") if isinstance(value, dict) else "",
)
def test_of_the_other_heads_what_they_rest_on_is_shown(when: dict[str, Any], evidence: dict[str, Any]) -> None:
    """Each has something of its own."""
    events = [
        track("09:00", "Subscribed", group="news"),
        track("09:10", "Unsubscribed", group="news"),
        {"type": "list", "userId": "c", "list": "vip", "action": "added", "timestamp": at("09:20")},
    ]
    found = root(explained(when, *events, more=[{"id": "t", "when": {"everyone": True}}])).evidence

    assert found == (pytest.approx(evidence, rel=1e-3) if "fraction" in evidence else evidence)


def test_held_says_since_when_it_is_true_and_when_it_will_have_been_long_enough() -> None:
    """Its own answer is false until then."""
    node = root(explained({"held": {"trait": "a", "eq": 1}, "for": "2h"}, traits("09:00", a=1)))

    assert (node.says, node.answer, node.parts[0].answer) == ("held for 2h", False, True)
    assert node.evidence == {"condition": True, "since": f"{DAY}09:00:00.000Z", "for": "2h"}
    assert node.change is not None
    assert (node.change.at_ms, node.change.answer) == (at("11:00"), True)


def test_a_hold_says_since_when_the_answer_stands_and_when_it_takes_effect() -> None:
    """The condition is true and the contact is not in: that has to be told."""
    found = explained({"trait": "a", "eq": 1}, traits("09:00", a=1), hold={"enter": "5m"}, at_ms=at("09:01"))
    membership = found.segments[0].memberships[0]

    assert (membership.member, membership.condition.answer) == (False, True)
    assert membership.hold == {
        "answer": True,
        "since": f"{DAY}09:00:00.000Z",
        "takes_effect": f"{DAY}09:05:00.000Z",
    }
    assert membership.change is not None
    assert membership.change.at_ms == at("09:05")
    assert "(its condition has been true for as long as `hold` says)" in text_of(found)


# ---- memberships ----------------------------------------------------------------------------------------------------


def test_the_tree_is_as_its_author_wrote_it() -> None:
    """With `none` and double negation, and the path to each condition."""
    when = {"all": [{"none": [{"trait": "a", "ne": 1}]}, {"not": {"not": {"event": "A", "count": 0}}}]}
    node = root(explained(when, traits("09:00", a=1)))

    assert [(one.path, one.says, one.answer) for one in node.walk()] == [
        ("$.when", "all", True),
        ("$.when.all[0]", "none", True),
        ("$.when.all[0].none[0]", "{trait: a, ne: 1}", False),
        ("$.when.all[1]", "not", True),
        ("$.when.all[1].not", "not", False),
        ("$.when.all[1].not.not", "{event: A, count: 0}", True),
    ]


def test_a_membership_says_when_time_alone_will_end_it_and_which_condition_turns() -> None:
    """To the millisecond; a condition that turns later is not the reason."""
    when = {"all": [{"event": "A", "within": "1h"}, {"event": "A", "within": "2h"}]}
    membership = explained(when, track("09:00", "A")).segments[0].memberships[0]

    assert (membership.member, membership.seq, membership.since_ms) == (True, 1, at("09:00"))
    assert membership.change is not None
    assert (membership.change.at_ms, membership.change.answer) == (at("10:00"), False)
    assert [leaf.path for leaf in membership.why] == ["$.when.all[0]"]


def test_with_per_each_key_is_told_the_one_seen_last_first_and_others_are_counted() -> None:
    """A contact may have thousands of carts; one may be asked for."""
    events = [track(f"09:{n:02}", "Cart", cart=n) for n in range(5)]
    (segment,) = explained({"event": "Cart", "within": "1h"}, *events, per="cart").segments
    (one,) = explained({"event": "Cart", "within": "1h"}, *events, per="cart", key="0").segments

    assert [membership.key for membership in segment.memberships] == ["4", "3", "2"]
    assert segment.keys == 5
    assert [membership.key for membership in one.memberships] == ["0"]
    assert one.memberships[0].condition.evidence["newest"][0]["properties"] == {"cart": 0}
    for membership, clock in zip(
        (*segment.memberships, *one.memberships), ("10:04", "10:03", "10:02", "10:00"), strict=True
    ):
        assert membership.change == membership.condition.change == Change(at(clock), False)


def test_a_hold_of_a_key_is_its_own() -> None:
    """Two carts wait, each since its own event."""
    events = [track("09:00", "Cart", cart=1), track("09:02", "Cart", cart=2)]
    (segment,) = explained({"event": "Cart"}, *events, per="cart", hold={"enter": "5m"}, at_ms=at("09:03")).segments

    assert [membership.hold["takes_effect"] for membership in segment.memberships if membership.hold] == [
        f"{DAY}09:07:00.000Z",
        f"{DAY}09:05:00.000Z",
    ]


@pytest.mark.parametrize(
    ("keys", "error"),
    [
        ({"per": "cart"}, "segment 's': expected a value of 'cart' that the contact has had, got 'x'"),
        ({}, "segment 's': expected no key where there is no `per`, got 'x'"),
    ],
    ids=["unknown", "no per"],
)
def test_a_key_that_is_not_there_is_an_error(keys: dict[str, Any], error: str) -> None:
    """Not an answer for another one."""
    with pytest.raises(UnknownName, match=re.escape(error)):
        explained({"event": "Cart"}, track("09:00", "Cart", cart=1), key="x", **keys)


def test_a_segment_with_per_and_no_key_says_why_there_is_none() -> None:
    """The property was forgotten, or no such event came."""
    when = {"event": "Cart"}

    (segment,) = explained(when, track("09:00", "Cart"), per="cart").segments
    assert segment.notes == ("none of 1 events that it asks for has a 'cart' that makes a key",)
    (segment,) = explained(when, track("09:00", "A"), per="cart").segments
    assert segment.notes == ("no event that it asks for came for this contact, so there is no key",)


def test_an_event_that_came_without_the_key_is_told() -> None:
    """It was to end the membership, and its property was forgotten."""
    when = {"all": [{"event": "Cart"}, {"event": "Order", "count": 0}]}
    (segment,) = explained(when, track("09:00", "Cart", cart=1), track("09:01", "Order"), per="cart").segments

    assert segment.memberships[0].condition.parts[1].notes == (
        "no event named 'Order' came with this 'cart', and 1 without it or with another",
    )


def test_a_limit_that_was_passed_is_told() -> None:
    """Answers may then rest on less than what is shown."""
    events = [traits("09:00", a=1, b=2, c=3)]

    assert explained({"everyone": True}, *events).notes == ()
    assert explained({"everyone": True}, *events, limits=Limits(traits=2)).notes == (
        "a limit was passed once, and the oldest was dropped: answers may lack events that are shown here",
    )


def test_how_far_was_looked_is_told_where_time_brings_more_than_can_be_played() -> None:
    """An anniversary comes every year, and a change behind the last one looked at isn't announced as none."""
    when = {"all": [{"trait": "born", "anniversary": "today"}, {"trait": "born", "age": {"gte": 2000}}]}
    found = explained(when, traits("09:00", born="2000-05-05"))

    assert found.looked_ahead_to_ms is not None
    assert found.looked_ahead_to_ms > at("09:00") + 400 * 365 * 86_400_000
    assert "time alone will not change that up to 2525-05-06T00:00:00Z" in text_of(found)


# ---- contacts -------------------------------------------------------------------------------------------------------


def test_a_contact_is_found_by_any_of_its_names_with_all_that_happened_under_them() -> None:
    """Also what happened before the link, to a name that the contact had only later."""
    events = [
        {"type": "track", "anonymousId": "anon", "event": "A", "timestamp": at("08:00")},
        {"type": "track", "anonymousId": "other", "event": "A", "timestamp": at("08:30")},
        {"type": "identify", "userId": "c", "anonymousId": "anon", "timestamp": at("09:00")},
        {"type": "alias", "userId": "d", "previousId": "c", "timestamp": at("10:00")},
    ]
    for name in ("anon", "c", "d"):
        found = explained({"event": "A"}, *events, contact=name)

        assert (found.contact, found.names) == ("d", ("anon", "c"))
        assert root(found).evidence["events"] == 1


def test_a_name_that_is_written_with_escapes_is_found() -> None:
    """JSON has many spellings for one text."""
    line = rb'{"type": "track", "userId": "\u0063\u00e9", "event": "A", "timestamp": 0}'
    definitions = load_data({"segments": [{"id": "s", "when": {"event": "A"}}]})

    assert explain(definitions, [line], "cé").contact == "cé"


def test_at_an_instant_what_arrived_later_is_not_known_yet() -> None:
    """And time is played up to and including it."""
    events = [track("09:00", "A"), {**track("09:01", "A"), "receivedAt": at("12:00")}]
    when = {"event": "A", "within": "1h", "count": {"gte": 1}}

    assert root(explained(when, *events, at_ms=at("09:59"))).answer is True
    assert root(explained(when, *events, at_ms=at("10:00"))).answer is False
    assert root(explained(when, *events, at_ms=at("09:30"))).evidence["events"] == 1


@pytest.mark.parametrize(
    ("contact", "error"),
    [
        ("c-18", "expected a contact that some event is about, got 'c-18'; did you mean 'c-17'?"),
        ("gone", "expected a contact that is known, got 'gone', which line 3 deletes"),
    ],
)
def test_a_contact_that_is_not_there_is_an_error_that_helps(contact: str, error: str) -> None:
    """By names that are close, or by what became of it."""
    events = [
        track("09:00", "A", contact="c-17"),
        track("09:00", "A", contact="gone"),
        {"type": "delete", "userId": "gone", "timestamp": at("10:00")},
    ]
    with pytest.raises(UnknownName) as raised:
        explained({"event": "A"}, *events, contact=contact)

    assert str(raised.value) == error


def test_lines_that_mention_the_contact_and_are_no_events_are_told() -> None:
    """Whoever sent them thinks that they counted."""
    found = explained({"event": "A"}, track("09:00", "A"), {"type": "track", "userId": "c", "timestamp": 0})

    assert found.rejected == ((2, "expected `event` in a track event, got none"),)
    assert found.rejections == 1


def test_a_line_that_nests_without_end_is_no_event_and_no_end_of_the_rest() -> None:
    bomb = b'{"userId":"c","a":' * 5_000 + b"1" + b"}" * 5_000

    assert glance_at(bomb) is None
    assert glance_at(b'{"userId":"c"}') is not None


def test_an_iterator_of_lines_does_as_well_as_a_list() -> None:
    """As of an open file; it is gone through twice."""

    def lines() -> Iterator[bytes]:
        yield json.dumps(track("09:00", "A")).encode()

    definitions = load_data({"segments": [{"id": "s", "when": {"event": "A"}}]})

    assert explain(definitions, lines(), "c").segments[0].memberships[0].member is True


NASTY = [
    0,
    -0.0,
    1e308,
    -1e308,
    1e-300,
    2**53 + 1,
    True,
    "",
    "ten",
    "1e308",
    "9999-12-31",
    "0001-01-01",
    [],
    [[]],
    {},
    "x" * 500,
]
ASKED = [
    {"eq": 1},
    {"gt": 1},
    {"has": 1},
    {"contains": "x"},
    {"within_last": "36525d"},
    {"within_next": "36525d"},
    {"before": "0001-01-01"},
    {"calendar": {"next_years": 100}},
    {"anniversary": "tomorrow"},
    {"age": {"lt": 0}},
    {"any_item": {"a": 1}},
    {"in": {"trait": "t"}},
]


@pytest.mark.parametrize("value", NASTY, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("clock", [-62_135_596_800_000, 0, 253_402_300_799_999], ids=["first", "1970", "last"])
def test_nothing_that_comes_from_outside_breaks_an_explanation(value: Any, clock: int) -> None:
    """At the ends of the calendar, with numbers at the ends of what a double holds."""
    measures = [{kind: {"of": "v", "gt": 0}} for kind in ("sum", "avg", "min", "max", "distinct")]
    measures += [{"latest": {"v": one}} for one in ASKED[:-1]]
    when = [{"trait": "t", **one} for one in ASKED] + [{"trait": "t", "unchanged_for": "36525d"}]
    when += [{"event": "A", "by": "v", **one} for one in measures] + [
        {"event": "A", "where": {"v": one}} for one in ASKED
    ]
    when += [{"sequence": CART, "by": "v", "completed": {"within": "36525d"}}, {"score": "p", "gte": 5}]
    when += [
        {"held": {"event": "A"}, "for": "36525d"},
        {"event": "A", "local_time": ["01:00", "02:00"], "tz": "contact"},
    ]
    rules = [{"event": "A", "points": 1e308}, {"event": "A", "points": 1e308, "lasting": True}]
    events: list[dict[str, Any]] = [{"type": "identify", "traits": {"t": value, "timezone": value}}]
    events += [{"type": "track", "event": name, "properties": {"v": value}} for name in ("A", "A", "Cart", "Checkout")]
    found = explained(
        {"any": when},
        *({**event, "userId": "c", "timestamp": clock} for event in events),
        scores=[{"id": "p", "half_life": "1h", "rules": rules}],
        hold={"enter": "36525d"},
    )

    assert text_of(found)
    assert json.loads(json.dumps(found.json(), allow_nan=False))["contact"] == "c"


# ---- text -----------------------------------------------------------------------------------------------------------


def test_the_text_says_first_what_it_comes_to() -> None:
    """Then each condition, aligned, with what is behind it."""
    when = {"all": [{"trait": "plan", "eq": "trial"}, {"trait": "ends", "within_next": "1d"}]}
    found = explained(when, traits("09:00", plan="trial", ends=f"{DAY}12:00:00Z"))

    assert text_of(found).splitlines() == [
        f"c as of {DAY}09:00:00Z, known since {DAY}09:00:00Z",
        "",
        f"c is in s since {DAY}09:00:00Z; it will leave at {DAY}12:00:00Z (ends, within_next: 1d turns false)",
        f"  yes  all                               no at {DAY}12:00:00Z",
        "  yes    {trait: plan, eq: trial}",
        f"           'trial', written {DAY}09:00:00Z",
        f"  yes    {{trait: ends, within_next: 1d}}  no at {DAY}12:00:00Z",
        f"           '{DAY}12:00:00Z', written {DAY}09:00:00Z",
    ]


def test_no_line_of_a_tree_is_wider_than_the_terminal() -> None:
    """Long conditions are cut, long sentences go on in the next line."""
    words = " ".join(["word"] * 40)
    found = explained({"trait": "t", "in": [words, "x"]}, traits("09:00", t=words))
    first, _, summary, *tree = text_of(found, 60).splitlines()

    assert max(map(len, tree)) <= 60
    assert first.startswith("c as of")
    assert summary == "c is in s since 2026-03-02T09:00:00Z; time alone will not end that"


def test_nothing_from_outside_steers_the_terminal() -> None:
    """Names and values come from events."""
    red = "\x1b[31mA"
    when = {"any": [{"trait": "t", "eq": red}, {"event": red, "where": {red: {"exists": True}}}, {"event": "A"}]}
    events = [traits("09:00", contact=red, t=red), {**track("09:01", red, contact=red, **{red: red}), "messageId": red}]
    found = explained(when, *events, {"type": red, "userId": red}, contact=red)

    assert "[31mA" in text_of(found)
    assert all(character.isprintable() or character == "\n" for character in text_of(found))


def test_json_has_every_field_for_every_node() -> None:
    """What reads it may rely on them."""
    found = explained({"not": {"event": "A"}}, track("09:00", "B")).json()

    assert list(found) == ["contact", "names", "known_since", "at", "looked_ahead_to", "notes", "rejected", "segments"]
    (segment,) = found["segments"]
    assert list(segment) == ["segment", "name", "version", "keys", "notes", "memberships"]
    (membership,) = segment["memberships"]
    assert list(membership) == ["key", "member", "since", "seq", "changes", "why", "hold", "condition"]
    for node in (membership["condition"], membership["condition"]["parts"][0]):
        assert list(node) == ["path", "says", "answer", "changes", "evidence", "notes", "parts"]
    assert json.loads(json.dumps(found)) == found
