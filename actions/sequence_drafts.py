"""Steps on their way to a flat list: those that are read don't know yet where they lead."""

import dataclasses
from dataclasses import dataclass, field

from actions.sequences import Branch, End, Split, Step, WaitDate, WaitFor


@dataclass(frozen=True)
class Draft:
    """A step that doesn't know yet where it leads.

    `ends`: nothing comes after it. `lists`: those within it, in order: of a split its paths, else `then` (of a date none)
    and `else`; None for one that is not there.
    """

    number: int
    step: Step
    ends: bool = False
    lists: "tuple[list[Draft] | None, ...]" = field(default=())


def ends(drafts: list[Draft]) -> bool:
    """Whether nothing comes after this list."""
    return bool(drafts) and drafts[-1].ends


def link(drafts: list[Draft], after: int, linked: dict[int, Step]) -> int:
    """Notes each step by its number, with where it leads; where the list begins, which leads to `after`."""
    nexts = [*(draft.number for draft in drafts), after]
    for draft, then in zip(drafts, nexts[1:], strict=False):
        inner = [None if within is None else link(within, then, linked) for within in draft.lists]
        linked[draft.number] = _leading(draft.step, then, inner)
    return nexts[0]


def _leading(step: Step, then: int, inner: list[int | None]) -> Step:
    if isinstance(step, End):
        return step
    if isinstance(step, Split):
        paths = zip(step.paths, inner, strict=True)
        return dataclasses.replace(step, paths=tuple(dataclasses.replace(path, then=first) for path, first in paths))
    if isinstance(step, WaitDate):
        return dataclasses.replace(step, then=then, otherwise=inner[0])
    if isinstance(step, WaitFor | Branch):
        first, other = inner
        assert first is not None and other is not None, "a list that is not written is an empty one"
        return dataclasses.replace(step, then=first, otherwise=other)
    return dataclasses.replace(step, then=then)
