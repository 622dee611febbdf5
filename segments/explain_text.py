"""An explanation as people read it: for each segment what it comes to, then its conditions with what is behind each."""

from collections.abc import Callable, Iterator
from typing import Any

from schemas.instants import format_instant
from segments.explain_nodes import Change, Evidence, Explanation, Membership, Node, SegmentExplained
from segments.explain_words import value_words

WIDTH_MIN = 60
_SHORT_MAX = 60
_WHY_MAX = 2
_INDENT = "  "

# a text in one of these styles: "yes", "no", "head", "note", "dim"
Paint = Callable[[str, str], str]


def plain(text: str, style: str) -> str:
    """No colour at all."""
    return text


def text_of(explanation: Explanation, width: int = 100, paint: Paint = plain) -> str:
    """The lines of an explanation, none wider than `width` characters but for what a first reader must see whole."""
    return "\n".join(_Writer(max(width, WIDTH_MIN), paint).lines(explanation)) + "\n"


class _Writer:
    def __init__(self, width: int, paint: Paint) -> None:
        self.width = width
        self.paint = paint

    def lines(self, explanation: Explanation) -> Iterator[str]:
        also = f" (also {_clean(', '.join(explanation.names))})" if explanation.names else ""
        known, at = _time(format_instant(explanation.known_since_ms)), _time(format_instant(explanation.at_ms))
        yield f"{_clean(explanation.contact)}{also} as of {at}, known since {known}"
        for note in explanation.notes:
            yield from self._note(note, "")
        if explanation.rejections:
            yield from self._note(f"mentioned, but no events: {_count(explanation.rejections, 'line')}", "")
            for line, reason in explanation.rejected:
                yield from self._wrapped(f"line {line}: {reason}", _INDENT, "dim")
        if explanation.looked_ahead_to_ms is not None:
            ahead = _time(format_instant(explanation.looked_ahead_to_ms))
            yield from self._note(f"changes were looked for up to {ahead}; later ones are not shown", "")
        for segment in explanation.segments:
            yield ""
            yield from self._segment(explanation, segment)

    def _segment(self, explanation: Explanation, segment: SegmentExplained) -> Iterator[str]:
        for at, membership in enumerate(segment.memberships):
            if at:
                yield ""
            yield from self._summary(explanation, segment, membership)
            yield from self._tree(membership.condition)
        if segment.keys is not None:
            more = segment.keys - len(segment.memberships)
            if not segment.memberships:
                yield self.paint(f"{_clean(explanation.contact)} is not in {segment.id}", "head")
            elif more:
                yield f"{_INDENT}and {more} more keys of {segment.id}"
        for note in segment.notes:
            yield from self._note(note, _INDENT)

    def _summary(self, explanation: Explanation, segment: SegmentExplained, membership: Membership) -> Iterator[str]:
        key = "" if membership.key is None else f" under {value_words(membership.key)}"
        where = f"{_clean(explanation.contact)} is {'in' if membership.member else 'not in'} {segment.id}{_clean(key)}"
        if membership.since_ms is not None:
            where += f" since {_time(format_instant(membership.since_ms))}"
        yield self.paint(f"{where}; {_will(membership, explanation.looked_ahead_to_ms)}", "head")
        if membership.hold is not None:
            hold = membership.hold
            stands = f"the condition has been {str(hold['answer']).lower()} since {_time(hold['since'])}"
            yield from self._wrapped(f"hold: {stands}, which counts from {_time(hold['takes_effect'])}", _INDENT, "dim")

    # ---- conditions -------------------------------------------------------------------------------------------------

    def _tree(self, root: Node) -> Iterator[str]:
        changes = any(node.change is not None for node in root.walk())
        room = self.width - len("  yes  ") - (len("  no at 2026-03-01T00:00:00.000Z") if changes else 0)
        column = min(room, max(len(_INDENT) * depth + len(_clean(node.says)) for node, depth in _deep(root)))
        for node, depth in _deep(root):
            indent = _INDENT * depth
            says = _cut(indent + _clean(node.says), column)
            answer = self.paint("yes", "yes") if node.answer else self.paint("no ", "no")
            turns = f"  {_turns(node.change)}" if node.change is not None else ""
            yield f"  {answer}  {says.ljust(column) if turns else says}{turns}"
            below = f"       {indent}{_INDENT}"
            for sentence in sentences(node.evidence):
                yield from self._wrapped(sentence, below, "dim")
            for note in node.notes:
                yield from self._note(note, below)

    def _note(self, note: str, indent: str) -> Iterator[str]:
        yield from self._wrapped(f"note: {note}", indent, "note")

    def _wrapped(self, text: str, indent: str, style: str) -> Iterator[str]:
        """The text in lines of the width, those after the first indented once more."""
        line = ""
        for word in _time(_clean(text)).split(" "):
            room = self.width - len(indent) - (0 if line == "" else len(line) + 1)
            if line and len(word) > room:
                yield indent + self.paint(line, style)
                line, word = "", _INDENT + word
            line = f"{line} {word}" if line else word
        yield indent + self.paint(line, style)


def _deep(node: Node, depth: int = 0) -> Iterator[tuple[Node, int]]:
    yield node, depth
    for part in node.parts:
        yield from _deep(part, depth + 1)


def _will(membership: Membership, ahead_ms: int | None) -> str:
    change = membership.change
    if change is None:
        up_to = "" if ahead_ms is None else f" up to {_time(format_instant(ahead_ms))}"
        return f"time alone will not {'end' if membership.member else 'change'} that{up_to}"
    turning = [f"{_short(leaf)} turns {_word(leaf.change)}" for leaf in membership.why[:_WHY_MAX]]
    if not turning and membership.hold is not None:
        turning = [f"its condition has been {str(membership.hold['answer']).lower()} for as long as `hold` says"]
    why = f" ({' and '.join(turning)})" if turning else ""
    return f"it will {'enter' if change.answer else 'leave'} at {_time(format_instant(change.at_ms))}{why}"


def _short(leaf: Node) -> str:
    """A leaf in few words."""
    return _cut(_clean(leaf.says.removeprefix("{").removesuffix("}").removeprefix("trait: ")), _SHORT_MAX)


def _word(change: Change | None) -> str:
    return "" if change is None else str(change.answer).lower()


def _turns(change: Change) -> str:
    return f"{'yes' if change.answer else 'no'} at {_time(format_instant(change.at_ms))}"


# ---- evidence -------------------------------------------------------------------------------------------------------


def sentences(evidence: Evidence) -> Iterator[str]:
    """What is behind an answer, a sentence a line."""
    for key, say in _SAYS.items():
        if key in evidence:
            yield from say(evidence)


def _trait(evidence: Evidence) -> Iterator[str]:
    if "rules" in evidence:
        return
    yield _valued(evidence)
    if "instant" in evidence and _time(evidence["instant"]) != evidence["value"]:
        yield f"which is {_time(evidence['instant'])}"
    if evidence.get("unchanged_since") is not None:
        yield f"unchanged since {_time(evidence['unchanged_since'])}"
    if "against" in evidence:
        yield f"the trait {evidence['against']['trait']} is {_valued(evidence['against'])}"


def _valued(evidence: Evidence) -> str:
    written = evidence["written_at"]
    if evidence["value"] is None:
        return "absent" if written is None else f"absent, written {_time(written)}"
    return f"{value_words(evidence['value'])}, written {_time(written)}"


def _events(evidence: Evidence) -> Iterator[str]:
    count = evidence["events"]
    measured, kind = evidence.get("measured"), evidence["measure"].replace("_", " ")
    comes_to = "" if measured is None or evidence["measure"] == "count" else f", {kind} {_measured(measured)}"
    yield f"{_count(count, 'matching event')}{comes_to}"
    for one in evidence["newest"]:
        yield _event(one)
    hidden = count - len(evidence["newest"])
    if hidden > 0:
        yield f"and {hidden} more before"
    for one in evidence.get("values", ()):
        answer, of = "yes" if one["answer"] else "no", _count(one["events"], "event")
        yield f"{evidence['by']} {value_words(one['value'])}: {answer}, {_measured(one['measured'])} of {of}"
    if evidence.get("more"):
        yield f"and {evidence['more']} more values"
    if "outside" in evidence:
        outside = evidence["outside"]
        yield f"outside of the range: {outside['count']}, the newest at {_time(outside['newest']['at'])}"
    if "failed" in evidence:
        failed = evidence["failed"]
        newest = f"the newest at {_time(failed['newest']['at'])}"
        yield f"of the name, but not matching: {failed['count']}, {newest}: {failed['because']}"


def _measured(measured: Any) -> str:
    if not isinstance(measured, dict):
        return _time(measured) if isinstance(measured, str) else value_words(measured)
    if "met" in measured:
        return f"{measured['met']} of {measured['of']} periods, the latest first: {measured['counts']}"
    return _event(measured) + (f": {measured['because']}" if "because" in measured else "")


def _event(one: Evidence) -> str:
    properties = "".join(f", {path} {value_words(value)}" for path, value in one["properties"].items())
    id = "" if one["messageId"] is None else f" ({_cut(one['messageId'], _SHORT_MAX)})"
    return f"{_time(one['at'])} {_cut(one['event'], _SHORT_MAX)}{id}{properties}"


def _steps(evidence: Evidence) -> Iterator[str]:
    if "value" in evidence:
        yield f"{evidence['by']} {value_words(evidence['value'])}, of {_count(evidence['values'], 'value')}"
    for step in evidence["steps"]:
        number, events = step["step"], _count(step["events"], "such event")
        if step["absent"]:
            yield f"step {number}: absent ({events} in all)"
        else:
            yield f"step {number}: " + (f"not reached ({events} in all)" if step["at"] is None else _event(step))
    if evidence["completes"] is not None:
        until = f", counts until {_time(evidence['counts_until'])}" if "counts_until" in evidence else ""
        word = "completed" if evidence["completed"] else "will be complete, if nothing forbidden comes,"
        yield f"{word} at {_time(evidence['completes'])}{until}"
    if "because" in evidence:
        yield evidence["because"]


def _score(evidence: Evidence) -> Iterator[str]:
    yield f"the score is {value_words(evidence['value'])}"
    for rule in evidence["rules"]:
        by = (
            f"by {_count(rule['events'], 'event')}"
            if "events" in rule
            else "as it holds"
            if rule["holds"]
            else "as it fails"
        )
        yield f"{value_words(rule['points'])} {by}: {rule['says']}"


def _held(evidence: Evidence) -> Iterator[str]:
    yield f"{str(evidence['condition']).lower()} since {_time(evidence['since'])}, must be true for {evidence['for']}"


def _since(evidence: Evidence) -> Iterator[str]:
    if "for" in evidence:
        return
    if "seq" not in evidence:
        yield f"known since {_time(evidence['since'])}"
    elif evidence["since"] is None:
        yield "never entered"
    else:
        yield f"{'entered' if evidence['seq'] & 1 else 'left'} at {_time(evidence['since'])}"


def _said(evidence: Evidence) -> Iterator[str]:
    said = evidence["said"]
    yield "nothing was heard of it" if said is None else f"{'on' if said['on'] else 'off'} since {_time(said['at'])}"


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


# ---- text -----------------------------------------------------------------------------------------------------------


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _time(text: str | None) -> str:
    """An instant without the milliseconds that it hasn't; None for one that no calendar has."""
    if text is None:
        return "no instant up to the year 9999"
    return text.replace(".000Z", "Z")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _clean(text: str) -> str:
    """What comes from outside, so that none of it steers the terminal."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)
