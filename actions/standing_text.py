"""Where a contact stands in sequences, as people read it below an explanation of segments."""

from collections.abc import Iterator

from actions.standing import Ended, Running, Standing
from schemas.instants import format_instant
from segments.explain_sentences import clean, cut, time_words
from segments.explain_text import Paint, plain


def text_of(standing: Standing, contact: str, width: int = 100, paint: Paint = plain) -> str:
    """The lines: each entry under way with what it waits for and what its conditions answer, then those that ended."""
    return "\n".join(_lines(standing, clean(contact), width, paint)) + "\n"


def _lines(standing: Standing, contact: str, width: int, paint: Paint) -> Iterator[str]:
    for each in standing.running:
        yield paint(f"{contact} is in sequence {_named(each)} since {_at(each.began_ms)}", "head")
        until = "" if each.due_ms is None else f", until {_at(each.due_ms)}"
        yield f"  at {each.step} since {_at(each.came_ms)}: {clean(each.waits)}{until}"
        taken = [f"{split}: {path}" for split, path in each.splits.items()]
        notes = [*taken, *(["converted"] if each.converted else [])]
        if notes:
            yield paint(f"  {clean(', '.join(notes))}", "dim")
        for condition in each.conditions:
            answer = paint("yes", "yes") if condition.member else paint("no ", "no")
            role = clean(condition.role)
            yield f"  {answer}  {cut(clean(condition.says), max(20, width - len(role) - 11))}  {paint(role, 'dim')}"
    if not standing.running:
        yield paint(f"{contact} is in no sequence", "head")
    for over in standing.ended:
        yield paint(f"  earlier: {_named(over)}, {_at(over.began_ms)} to {_at(over.ended_ms)}, {_how(over)}", "dim")


def _named(each: Running | Ended) -> str:
    version = f" (version {each.version})" if isinstance(each, Running) else ""
    return f"{each.sequence}{version}" + ("" if each.key is None else f" for {clean(each.key)}")


def _how(over: Ended) -> str:
    if over.how == "completed":
        return "completed"
    return f"left by {over.how}" + ("" if over.step is None else f" at {over.step}")


def _at(at_ms: int) -> str:
    return time_words(format_instant(at_ms))
