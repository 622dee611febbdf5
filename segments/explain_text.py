"""An explanation as people read it: for each segment what it comes to, then its conditions with what is behind each."""

from collections.abc import Callable, Iterator

from schemas.instants import format_instant
from segments.explain_nodes import Change, Explanation, Membership, Node, SegmentExplained
from segments.explain_sentences import SHORT_MAX, clean, count_words, cut, sentences, time_words
from segments.explain_words import value_words

WIDTH_MIN = 60
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
        also = f" (also {clean(', '.join(explanation.names))})" if explanation.names else ""
        known, at = (
            time_words(format_instant(explanation.known_since_ms)),
            time_words(format_instant(explanation.at_ms)),
        )
        yield f"{clean(explanation.contact)}{also} as of {at}, known since {known}"
        for note in explanation.notes:
            yield from self._note(note, "")
        if explanation.rejections:
            yield from self._note(f"mentioned, but no events: {count_words(explanation.rejections, 'line')}", "")
            for line, reason in explanation.rejected:
                yield from self._wrapped(f"line {line}: {reason}", _INDENT, "dim")
        if explanation.looked_ahead_to_ms is not None:
            ahead = time_words(format_instant(explanation.looked_ahead_to_ms))
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
                yield self.paint(f"{clean(explanation.contact)} is not in {segment.id}", "head")
            elif more:
                yield f"{_INDENT}and {more} more keys of {segment.id}"
        for note in segment.notes:
            yield from self._note(note, _INDENT)

    def _summary(self, explanation: Explanation, segment: SegmentExplained, membership: Membership) -> Iterator[str]:
        key = "" if membership.key is None else f" under {value_words(membership.key)}"
        where = f"{clean(explanation.contact)} is {'in' if membership.member else 'not in'} {segment.id}{clean(key)}"
        if membership.since_ms is not None:
            where += f" since {time_words(format_instant(membership.since_ms))}"
        yield self.paint(f"{where}; {_will(membership, explanation.looked_ahead_to_ms)}", "head")
        if membership.hold is not None:
            hold = membership.hold
            stands = f"the condition has been {str(hold['answer']).lower()} since {time_words(hold['since'])}"
            yield from self._wrapped(
                f"hold: {stands}, which counts from {time_words(hold['takes_effect'])}", _INDENT, "dim"
            )

    # ---- conditions -------------------------------------------------------------------------------------------------

    def _tree(self, root: Node) -> Iterator[str]:
        changes = any(node.change is not None for node in root.walk())
        room = self.width - len("  yes  ") - (len("  no at 2026-03-01T00:00:00.000Z") if changes else 0)
        column = min(room, max(len(_INDENT) * depth + len(clean(node.says)) for node, depth in _deep(root)))
        for node, depth in _deep(root):
            indent = _INDENT * depth
            says = cut(indent + clean(node.says), column)
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
        for word in time_words(clean(text)).split(" "):
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
        up_to = "" if ahead_ms is None else f" up to {time_words(format_instant(ahead_ms))}"
        return f"time alone will not {'end' if membership.member else 'change'} that{up_to}"
    turning = [f"{_short(leaf)} turns {_word(leaf.change)}" for leaf in membership.why[:_WHY_MAX]]
    if not turning and membership.hold is not None:
        turning = [f"its condition has been {str(membership.hold['answer']).lower()} for as long as `hold` says"]
    why = f" ({' and '.join(turning)})" if turning else ""
    return f"it will {'enter' if change.answer else 'leave'} at {time_words(format_instant(change.at_ms))}{why}"


def _short(leaf: Node) -> str:
    """A leaf in few words."""
    return cut(clean(leaf.says.removeprefix("{").removesuffix("}").removeprefix("trait: ")), SHORT_MAX)


def _word(change: Change | None) -> str:
    return "" if change is None else str(change.answer).lower()


def _turns(change: Change) -> str:
    return f"{'yes' if change.answer else 'no'} at {time_words(format_instant(change.at_ms))}"
