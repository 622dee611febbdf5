"""Scores as the oracle has them (page section 8), to fifty digits."""

from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

from tests.oracle_contact import Here
from tests.oracle_events import event_matches
from tests.oracle_values import duration, number_of

PRECISE = Context(prec=50)
HALF_LIVES = 64


def score_of(score: dict[str, Any], here: Here, trait_holds: Callable[[dict[str, Any], Here], bool]) -> Fraction:
    """The score of the contact now; its zones are its own, never those of the segment that reads it."""
    there = Here(here.contact, here.now, here.scores, here.segment, here.answers).inside(score)
    total = Fraction(0)
    for rule in score["rules"]:
        if "trait" in rule:
            condition = {key: part for key, part in rule.items() if key != "points"}
            total += Fraction(rule["points"]) * trait_holds(condition, there)
        else:
            matching = [e for e in there.events if event_matches(rule, rule["event"], e, there.inside(rule))]
            total += sum(points(rule, score, here.now - event.t) for event in matching)
    lowest, highest = number_of(score.get("min")), number_of(score.get("max"))
    total = total if lowest is None else max(total, lowest)
    return total if highest is None else min(total, highest)


def points(rule: dict[str, Any], score: dict[str, Any], age: int) -> Fraction:
    """What an event of that age in ms adds."""
    full = Fraction(rule["points"])
    if "expires" in rule:
        return full * (age < duration(rule["expires"]))
    if rule.get("lasting") or "half_life" not in score:
        return full
    half_life = duration(score["half_life"])
    return full * decayed(Fraction(age, half_life)) if age < HALF_LIVES * half_life else Fraction(0)


def decayed(half_lives: Fraction) -> Fraction:
    """2^-half_lives."""
    exponent = PRECISE.divide(Decimal(-half_lives.numerator), Decimal(half_lives.denominator))
    return Fraction(PRECISE.power(Decimal(2), exponent))
