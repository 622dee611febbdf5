"""What a definition asks, however it is written: where two ask the same, nobody's answer can differ.

Conditions are compared by their canonical forms, by which leaves share their state (`canonical.py`): the order in `all`,
`any` and `none`, `24h` for `1d`, `in` with one value for `eq` and the like make no other question.
"""

import orjson

from segments.canonical import Scores, condition_form, normal, score_form
from segments.conditions import Definitions, Segment


def question(segment: Segment, scores: Scores) -> bytes:
    """What a segment asks, `hold` left out, as bytes that are equal for the same question."""
    return orjson.dumps([segment.per, condition_form(normal(segment.when, scores), scores)])


def questions(definitions: Definitions) -> dict[tuple[str, str], bytes]:
    """What each segment and score asks, by kind and id, `hold` with it; equal for the same question.

    A segment that reads a score asks what that gives points for.
    """
    by_id = {score.id: score for score in definitions.scores}
    found: dict[tuple[str, str], bytes] = {
        ("score", score.id): orjson.dumps(score_form(score)) for score in definitions.scores
    }
    for segment in definitions.segments:
        held = orjson.dumps([segment.enter_ms, segment.leave_ms])
        found["segment", segment.id] = question(segment, by_id) + held
    return found
