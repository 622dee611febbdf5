"""Conditions as the oracle has them (page section 4): each read afresh from the contact's whole history."""

import hashlib
import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from tests.oracle_contact import Contact, Here, key_of
from tests.oracle_events import event_holds, named, sequence_holds
from tests.oracle_operators import COMBINE, date_passes, number_passes, passes
from tests.oracle_scores import parts_of as parts_of_score
from tests.oracle_scores import total_of
from tests.oracle_values import duration, equal, look_up, number_of, plain, present

Condition = dict[str, Any]


def holds(condition: Condition, here: Here) -> bool:
    """The condition's answer from here."""
    return CONDITIONS[head_of(condition)](condition, here.inside(condition))


def head_of(condition: Condition) -> str:
    return next(head for head in CONDITIONS if head in condition)


def trait_holds(condition: Condition, here: Here) -> bool:
    """Section 5 on a trait; a score's rule comes here as well."""
    path, here = condition["trait"], here.inside(condition)
    if "unchanged_for" in condition:
        since = unchanged_since(here.contact, path)
        return since is not None and since <= here.now - duration(condition["unchanged_for"])
    return passes(look_up(here.contact.traits, path), without(condition, "trait", "tz"), here)


def without(mapping: Condition, *keys: str) -> Condition:
    return {key: part for key, part in mapping.items() if key not in keys}


def unchanged_since(contact: Contact, path: str) -> int | None:
    """When the latest unbroken run of writes of the trait's value began; None where it is absent."""
    run: int | None = None
    value: Any = None
    merged: dict[str, Any] = {}
    for event in contact.events:
        merged |= event.writes
        written = look_up(merged, path)
        if run is None or not equal(written, value):
            run, value = (event.t if written is not None else None), written
    return run


def known_holds(condition: Condition, here: Here) -> bool:
    first = here.contact.events[0].t
    return all(date_passes(name, first, operand, here) for name, operand in condition["known"].items())


def score_holds(condition: Condition, here: Here) -> bool:
    score = here.scores[condition["score"]]
    total = total_of(score, parts_of_score(score, here, trait_holds), here.now)
    return number_passes(total, without(condition, "score"))


def subscribed_holds(condition: Condition, here: Here) -> bool:
    """The last word on the group, by event time; a word without a group is for every one."""
    answer = bool(condition.get("default", False))
    for event in here.contact.events:
        group = event.value("group")
        names = not present(group) or (not isinstance(group, (list, dict)) and plain(group) == condition["subscribed"])
        if event.name in ("Subscribed", "Unsubscribed") and names:
            answer = event.name == "Subscribed"
    return answer


def listed_holds(condition: Condition, here: Here) -> bool:
    words = [event.added for event in here.contact.events if event.list_name == condition["listed"]]
    return bool(words) and words[-1]


def sample_holds(condition: Condition, here: Here) -> bool:
    sample = condition["sample"]
    text = f"{sample.get('salt', here.segment)}:{here.contact.name}"
    first = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    percent = number_of(sample["percent"])
    assert percent is not None
    return Fraction(first, 2**64) < percent / 100


def held_holds(condition: Condition, here: Here) -> bool:
    answer, since = here.answers[name_of(condition)]
    return answer and since <= here.now - duration(condition["for"])


def name_of(held: Condition) -> str:
    """The name under which the answers of what a `held` measures are remembered in its segment."""
    return json.dumps(held, default=str, sort_keys=True)


CONDITIONS: dict[str, Callable[[Condition, Here], bool]] = {
    "all": lambda c, here: all(holds(part, here) for part in c["all"]),
    "any": lambda c, here: any(holds(part, here) for part in c["any"]),
    "none": lambda c, here: not any(holds(part, here) for part in c["none"]),
    "not": lambda c, here: not holds(c["not"], here),
    "everyone": lambda c, here: True,
    "known": known_holds,
    "trait": trait_holds,
    "event": event_holds,
    "sequence": sequence_holds,
    "score": score_holds,
    "segment": lambda c, here: here.contact.membership(c["segment"]).inside,
    "subscribed": subscribed_holds,
    "listed": listed_holds,
    "sample": sample_holds,
    "held": held_holds,
}


# ---- what a condition is made of ----


def parts_of(condition: Condition) -> list[Condition]:
    """The conditions directly in it."""
    lists = [condition[head] for head in COMBINE if head in condition]
    return [part for parts in lists for part in parts] + [
        condition[head] for head in ("not", "held") if head in condition
    ]


def conditions_in(condition: Condition) -> Iterator[Condition]:
    """It and all conditions in it, the innermost first."""
    for part in parts_of(condition):
        yield from conditions_in(part)
    yield condition


def names_asked(condition: Condition) -> list[Any]:
    """The names of events that its `event` and `sequence` conditions ask for, absent ones among them."""
    asked = [part for one in conditions_in(condition) for part in (one, *one.get("sequence", []))]
    return [one[head] for one in asked for head in ("event", "absent") if head in one]


def keys_asked(segment: Condition, contact: Contact) -> list[str | None]:
    """The keys of the contact's memberships of the segment; a lone None where it is not `per` anything."""
    if "per" not in segment:
        return [None]
    asked = names_asked(segment["when"])
    events = [e for e in contact.events if e.name is not None and any(named(e.name, names) for names in asked)]
    return [key for key in dict.fromkeys(key_of(event, segment["per"]) for event in events) if key is not None]
