"""Which paths of its splits an entry of a sequence has taken, where it has not said so: as long as it is under way.

`Sequence Exited`, `Completed` and `Converted` name them. Until then they follow from the sequence: those that are taken at
the instant of the beginning, and those that lie before every way to a message that the entry has come to.
"""

from actions.sequences import END, Branch, End, Send, Sequence, Set, Split, Step, WaitDate, WaitFor


class Paths:
    """What the steps of one version say of the splits before them."""

    def __init__(self, sequence: Sequence) -> None:
        self._sequence = sequence
        self.splits = [(number, step) for number, step in enumerate(sequence.steps) if isinstance(step, Split)]
        self._before = {
            number: {split for split, _ in self.splits if number not in _reached(sequence, split)}
            for number in range(len(sequence.steps))
        }

    def taken(self, contact: str, reached: set[int]) -> dict[str, str]:
        """Name of each split to the name of the path, of an entry that has come to the steps `reached`."""
        from actions.step_times import path_of

        found: dict[str, str] = {}
        at = self._sequence.begin
        while at != END and isinstance(step := self._sequence.steps[at], Send | Set | Split):
            if isinstance(step, Split):
                path = path_of(step, contact)
                found[step.name] = path.name
                at = END if path.then is None else path.then
            else:
                at = step.then
        before = set().union(*(self._before[number] for number in reached))
        return found | {step.name: path_of(step, contact).name for number, step in self.splits if number in before}


def _reached(sequence: Sequence, without: int) -> set[int]:
    """The steps that can be come to from the beginning with one step taken out."""
    found: set[int] = set()
    todo = [sequence.begin]
    while todo:
        at = todo.pop()
        if at not in (END, without) and at not in found:
            found.add(at)
            todo += _after(sequence.steps[at])
    return found


def _after(step: Step) -> list[int]:
    if isinstance(step, End):
        return []
    if isinstance(step, Split):
        return [path.then for path in step.paths if path.then is not None]
    if isinstance(step, WaitFor | Branch):
        return [step.then, step.otherwise]
    if isinstance(step, WaitDate) and step.otherwise is not None:
        return [step.then, step.otherwise]
    return [step.then]
