"""What can go wrong with rules, before anything is sent.

Exception
└── RuleErrors              a file of rules, or a rule on the definitions topic, that can't be taken
    └── SequenceErrors      one of sequences
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actions.sequences import Asking


class RuleErrors(Exception):
    """All errors of a file of rules; its author corrects them and applies again. Nothing of it is in force.

    `errors` are whole lines: `rule 'cart-mail': expected text, got 5 - at $.template.subject`.
    """

    def __init__(self, errors: Iterable[str]) -> None:
        self.errors = list(errors)
        super().__init__("\n".join(self.errors))


class SequenceErrors(RuleErrors):
    """All errors of a file of sequences but those of conditions in place: `asking` has these, of all sequences in it."""

    def __init__(self, errors: Iterable[str], asking: "Iterable[Asking]") -> None:
        super().__init__(errors)
        self.asking = list(asking)
