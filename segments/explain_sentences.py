"""What is behind an answer in sentences: evidence, as people read it."""

from collections.abc import Callable, Iterator
from typing import Any

from segments.explain_nodes import Evidence
from segments.explain_words import value_words

SHORT_MAX = 60


def sentences(evidence: Evidence) -> Iterator[str]:
    """What is behind an answer, a sentence a line."""
    for key, say in _SAYS.items():
        if key in evidence:
            yield from say(evidence)


def _trait(evidence: Evidence) -> Iterator[str]:
    if "rules" in evidence:
        return
    yield _valued(evidence)
    if "instant" in evidence and time_words(evidence["instant"]) != evidence["value"]:
        yield f"which is {time_words(evidence['instant'])}"
    if evidence.get("unchanged_since") is not None:
        yield f"unchanged since {time_words(evidence['unchanged_since'])}"
    if "against" in evidence:
        yield f"the trait {evidence['against']['trait']} is {_valued(evidence['against'])}"


def _valued(evidence: Evidence) -> str:
    written = evidence["written_at"]
    if evidence["value"] is None:
        return "absent" if written is None else f"absent, written {time_words(written)}"
    return f"{value_words(evidence['value'])}, written {time_words(written)}"


def _events(evidence: Evidence) -> Iterator[str]:
    count = evidence["events"]
    measured, kind = evidence.get("measured"), evidence["measure"].replace("_", " ")
    comes_to = "" if measured is None or evidence["measure"] == "count" else f", {kind} {_measured(measured)}"
    yield f"{count_words(count, 'matching event')}{comes_to}"
    for one in evidence["newest"]:
        yield _event(one)
    hidden = count - len(evidence["newest"])
    if hidden > 0:
        yield f"and {hidden} more before"
    for one in evidence.get("values", ()):
        answer, of = "yes" if one["answer"] else "no", count_words(one["events"], "event")
        yield f"{evidence['by']} {value_words(one['value'])}: {answer}, {_measured(one['measured'])} of {of}"
    if evidence.get("more"):
        yield f"and {evidence['more']} more values"
    if "outside" in evidence:
        outside = evidence["outside"]
        yield f"outside of the range: {outside['count']}, the newest at {time_words(outside['newest']['at'])}"
    yield from _failed(evidence)


def _failed(evidence: Evidence) -> Iterator[str]:
    failed = evidence.get("failed")
    if failed is not None:
        newest = f"the newest at {time_words(failed['newest']['at'])}"
        yield f"of the name, but not matching: {failed['count']}, {newest}: {failed['because']}"


def _measured(measured: Any) -> str:
    if not isinstance(measured, dict):
        return time_words(measured) if isinstance(measured, str) else value_words(measured)
    if "met" in measured:
        return f"{measured['met']} of {measured['of']} periods, the latest first: {measured['counts']}"
    return _event(measured) + (f": {measured['because']}" if "because" in measured else "")


def _event(one: Evidence) -> str:
    properties = "".join(f", {path} {value_words(value)}" for path, value in one["properties"].items())
    id = "" if one["messageId"] is None else f" ({cut(one['messageId'], SHORT_MAX)})"
    return f"{time_words(one['at'])} {cut(one['event'], SHORT_MAX)}{id}{properties}"


def _steps(evidence: Evidence) -> Iterator[str]:
    if "value" in evidence:
        yield f"{evidence['by']} {value_words(evidence['value'])}, of {count_words(evidence['values'], 'value')}"
    for step in evidence["steps"]:
        number, events = step["step"], count_words(step["events"], "such event")
        if step["absent"]:
            yield f"step {number}: absent ({events} in all)"
            yield from _failed(step)
        else:
            yield f"step {number}: " + (f"not reached ({events} in all)" if step["at"] is None else _event(step))
            yield from _failed(step) if step["at"] is None else ()
    if evidence["completes"] is not None:
        until = f", counts until {time_words(evidence['counts_until'])}" if "counts_until" in evidence else ""
        word = "completed" if evidence["completed"] else "will be complete, if nothing forbidden comes,"
        yield f"{word} at {time_words(evidence['completes'])}{until}"
    if "because" in evidence:
        yield evidence["because"]


def _score(evidence: Evidence) -> Iterator[str]:
    yield f"the score is {value_words(evidence['value'])}"
    for rule in evidence["rules"]:
        if "events" in rule:
            by = f"by {count_words(rule['events'], 'event')}"
        else:
            by = "as it holds" if rule["holds"] else "as it fails"
        yield f"{value_words(rule['points'])} {by}: {rule['says']}"
        yield from _failed(rule)


def _held(evidence: Evidence) -> Iterator[str]:
    yield f"{str(evidence['condition']).lower()} since {time_words(evidence['since'])}, must be true for {evidence['for']}"


def _since(evidence: Evidence) -> Iterator[str]:
    if "for" in evidence:
        return
    if "seq" not in evidence:
        yield f"known since {time_words(evidence['since'])}"
    elif evidence["since"] is None:
        yield "never entered"
    else:
        yield f"{'entered' if evidence['seq'] & 1 else 'left'} at {time_words(evidence['since'])}"


def _said(evidence: Evidence) -> Iterator[str]:
    said = evidence["said"]
    yield (
        "nothing was heard of it" if said is None else f"{'on' if said['on'] else 'off'} since {time_words(said['at'])}"
    )


def _fraction(evidence: Evidence) -> Iterator[str]:
    yield f"the contact's place in the sample is {evidence['fraction']} %"


_SAYS: dict[str, Callable[[Evidence], Iterator[str]]] = {
    "written_at": _trait,
    "newest": _events,
    "steps": _steps,
    "rules": _score,
    "for": _held,
    "since": _since,
    "said": _said,
    "fraction": _fraction,
}


def count_words(number: int, noun: str) -> str:
    """`1 event`, `2 events`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def time_words(text: str | None) -> str:
    """An instant without the milliseconds that it hasn't; None for one that no calendar has."""
    if text is None:
        return "no instant up to the year 9999"
    return text.replace(".000Z", "Z")


def cut(text: str, width: int) -> str:
    """The text in `width` characters at most."""
    return text if len(text) <= width else text[: width - 1] + "…"


def clean(text: str) -> str:
    """What comes from outside, so that none of it steers the terminal."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
