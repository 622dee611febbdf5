"""The author's own words: a condition's body, paired with what was read from it, on one line; and what is close to a word."""

import difflib
from collections.abc import Iterable, Iterator
from typing import Any

import yaml

from schemas.instants import INSTANT_MS_MAX, INSTANT_MS_MIN, format_instant
from segments.conditions import All, Any_, Condition, Held, Not
from segments.report import shown
from segments.values import plain

_COMBINING = ("all", "any", "none")
_CLOSE_MAX = 80
VALUE_CHARACTERS_MAX = 60


class _Dumper(yaml.SafeDumper):
    """Writes out each time what is there twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def close_to(word: str, known: Iterable[str], most: int = 3) -> str:
    """`; did you mean 'x' or 'y'?` where some of `known` are spelled much like `word`, else nothing."""
    # finding them takes time that grows with the square of the length
    close = difflib.get_close_matches(word, list(known), n=most) if len(word) <= _CLOSE_MAX else []
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def iso(at_ms: int) -> str | None:
    """An instant as data for JSON; None after the year 9999 or before the year 1, which a duration may lead to."""
    return format_instant(at_ms) if INSTANT_MS_MIN <= at_ms <= INSTANT_MS_MAX else None


def instant_words(at_ms: int) -> str:
    """An instant in a sentence."""
    return iso(at_ms) or ("after the year 9999" if at_ms > 0 else "before the year 1")


def value_words(value: Any, most: int = VALUE_CHARACTERS_MAX) -> str:
    """A value on one line, cut to `most` characters: text in quotes, numbers plainly, arrays and objects as YAML."""
    if isinstance(value, list | dict):
        text = flow(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        text = plain(value) or ""
    else:
        text = shown(value)
    return text if len(text) <= most else text[: most - 1] + "…"


def flow(body: Any) -> str:
    """A body as YAML on one line."""
    text: str = yaml.dump(
        body, Dumper=_Dumper, default_flow_style=True, sort_keys=False, allow_unicode=True, width=2**31
    )
    return " ".join(text.removesuffix("...\n").split())


def says(condition: Condition, body: dict[str, Any]) -> str:
    """What an author sees of a condition above its parts: all of a leaf."""
    if isinstance(condition, Held) and "held" in body:
        return f"held for {body.get('for')}"
    head = next(iter(body))
    return head if head in (*_COMBINING, "not") else flow(body)


def parts(condition: Condition, body: dict[str, Any], path: str) -> Iterator[tuple[Condition, dict[str, Any], str]]:
    """The conditions below this one, each with its body and its path; `none` stands for the opposite of `any`."""
    head = next((key for key in (*_COMBINING, "not", "held") if key in body), None)
    if head in _COMBINING:
        inner = condition.condition if isinstance(condition, Not) else condition
        assert isinstance(inner, All | Any_)
        for at, part in enumerate(inner.conditions):
            yield part, body[head][at], f"{path}.{head}[{at}]"
    elif head is not None:
        assert isinstance(condition, Not | Held)
        yield condition.condition, body[head], f"{path}.{head}"
