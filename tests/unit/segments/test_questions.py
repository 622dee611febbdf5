"""Whether two definitions ask the same, and what follows of it where one takes the other's place."""

import json
from typing import Any

import pytest

from segments import load_data, simulate
from segments.questions import questions

BOUGHT = {"event": "Order Completed", "within": "1d"}
PAID = {"trait": "plan", "eq": "pro"}
Body = dict[str, Any]


def asked(**body: Any) -> bytes:
    """What a segment of that body asks, where the score `lead` is worth 5 points an order."""
    scores = [{"id": "lead", "rules": [{"event": "Order Completed", "points": 5}]}]
    return questions(load_data({"segments": [{"id": "s", **body}], "scores": scores}))["segment", "s"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"when": {"all": [BOUGHT, PAID]}}, {"when": {"all": [PAID, BOUGHT]}}),
        ({"when": BOUGHT}, {"when": {**BOUGHT, "within": "24h"}}),
        ({"when": BOUGHT}, {"when": {**BOUGHT, "count": {"gte": 1}}}),
        ({"when": BOUGHT}, {"when": {"not": {**BOUGHT, "count": 0}}}),
        ({"when": PAID}, {"when": {"trait": "plan", "in": ["pro"]}}),
        ({"when": PAID}, {"when": {"not": {"trait": "plan", "ne": "pro"}}}),
        ({"when": BOUGHT}, {"when": BOUGHT, "tz": "Asia/Tokyo"}),
        ({"when": BOUGHT, "hold": {"enter": "1h"}}, {"when": BOUGHT, "hold": {"leave": "0s", "enter": "60m"}}),
        ({"when": BOUGHT}, {"when": BOUGHT, "name": "Bought", "carry": ["email"], "backfill": "silent"}),
    ],
)
def test_other_words_are_no_other_question(one: Body, other: Body) -> None:
    """Nobody's answer can differ."""
    assert asked(**one) == asked(**other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"when": {"all": [BOUGHT, PAID]}}, {"when": {"any": [BOUGHT, PAID]}}),
        ({"when": BOUGHT}, {"when": {**BOUGHT, "within": "25h"}}),
        ({"when": BOUGHT}, {"when": {"not": BOUGHT}}),
        ({"when": PAID}, {"when": {**PAID, "ignore_case": True}}),
        ({"when": {"trait": "n", "eq": 1}}, {"when": {"trait": "n", "eq": True}}),
        ({"when": {"event": "x", "calendar": "today"}}, {"when": {"event": "x", "calendar": "today"}, "tz": "Asia/Tokyo"}),
        ({"when": BOUGHT}, {"when": BOUGHT, "per": "sku"}),
        ({"when": BOUGHT}, {"when": BOUGHT, "hold": {"leave": "1h"}}),
        ({"when": {"held": PAID, "for": "1h"}}, {"when": {"held": PAID, "for": "2h"}}),
        ({"when": {"score": "lead", "gte": 5}}, {"when": {"score": "lead", "gte": 6}}),
    ],
)  # fmt: skip
def test_another_question_is_told(one: Body, other: Body) -> None:
    """Somebody's answer can differ."""
    assert asked(**one) != asked(**other)


def test_a_segment_asks_what_its_score_gives_points_for_and_not_what_it_is_called() -> None:
    """The same name may stand for something else."""

    def of(**score: Any) -> bytes:
        data = {"segments": [{"id": "s", "when": {"score": "lead", "gte": 5}}], "scores": [{"id": "lead", **score}]}
        return questions(load_data(data))["segment", "s"]

    rules = [{"event": "Order Completed", "points": 5}]
    assert of(rules=rules) == of(rules=rules, name="Lead", description="Points")
    assert of(rules=rules) != of(rules=rules, max=10)


@pytest.mark.parametrize(
    ("now", "left_at"),
    [
        ({"all": [{"held": {"trait": "plan", "in": ["pro"]}, "for": "60m"}]}, "01:59:58"),
        ({"any": [{"held": {"trait": "plan", "in": ["pro"]}, "for": "60m"}]}, None),
    ],
)
def test_what_is_held_goes_on_where_only_the_words_are_others(now: Body, left_at: str | None) -> None:
    """With another question, `held` measures anew: the contact would leave for an hour."""
    before = {"any": [{"held": PAID, "for": "1h"}]}
    lines: list[Body] = [
        {"type": "identify", "userId": "c", "traits": {"plan": "pro"}, "timestamp": "2026-03-01T00:00:00Z"},
        {"type": "definitions", "segments": [{"id": "s", "when": now}], "receivedAt": "2026-03-01T02:00:00Z"},
        {"type": "page", "userId": "c", "timestamp": "2026-03-01T02:30:00Z"},
    ]
    raw = [json.dumps(line).encode() for line in lines]
    emitted = [one.simulated() for one in simulate(load_data({"segments": [{"id": "s", "when": before}]}), raw)]

    assert [each["at"][11:19] for each in emitted] == ["01:00:00", *([left_at] if left_at else [])]
