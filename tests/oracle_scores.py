"""Scores as the oracle has them (page section 8), to thirty digits."""

from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction
from functools import cache
from typing import Any

from tests.oracle_contact import Here
from tests.oracle_events import event_matches
from tests.oracle_values import duration, number_of

PRECISE = Context(prec=30)
HALF_LIVES = 64


Parts = tuple[Fraction, list[tuple[Fraction, int]]]
"""The points that stay as they are, and those that decay, each with the time of its event."""


def parts_of(score: dict[str, Any], here: Here, trait_holds: Callable[[dict[str, Any], Here], bool]) -> Parts:
    """What the score is made of now; its zones are its own, never those of the segment that reads it."""
    there = Here(here.contact, here.now, here.scores, here.segment, here.answers).inside(score)
    staying, decaying = Fraction(0), []
    for rule in score["rules"]:
        points = Fraction(rule["points"])
        if "trait" in rule:
            condition = {key: part for key, part in rule.items() if key != "points"}
            staying += points * trait_holds(condition, there)
            continue
        for event in there.events:
            if not event_matches(rule, rule["event"], event, there.inside(rule)):
                continue
            if "expires" in rule:
                staying += points * (here.now < event.t + duration(rule["expires"]))
            elif rule.get("lasting") or "half_life" not in score:
                staying += points
            elif here.now - event.t < HALF_LIVES * duration(score["half_life"]):
                decaying.append((points, event.t))
    return staying, decaying


def total_of(score: dict[str, Any], parts: Parts, now: int) -> Fraction:
    """What the parts come to at `now`, clamped."""
    staying, decaying = parts
    total = staying + sum(points * decayed(Fraction(now - t, duration(score["half_life"]))) for points, t in decaying)
    lowest, highest = number_of(score.get("min")), number_of(score.get("max"))
    total = total if lowest is None else max(total, lowest)
    return total if highest is None else min(total, highest)


@cache
def decayed(half_lives: Fraction) -> Fraction:
    """2^-half_lives."""
    exponent = PRECISE.divide(Decimal(-half_lives.numerator), Decimal(half_lives.denominator))
    return Fraction(PRECISE.power(Decimal(2), exponent))
