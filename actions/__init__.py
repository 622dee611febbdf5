"""Rules and what carries them out: channels, ledger, retry.

Read `rules.py` first: on which transitions a message goes out, a pure function that the worker calls in the contact's
own step. `reading.py` makes rules from files, `templates.py` says what a template may do. Sequences: `SEQUENCES.md`
says what one means, `sequences.py` is its model, `sequence_reading.py` makes it from files. `report.py` sums up what
one was worth, `standing.py` where a contact stands. The dispatcher's part: `dispatch.py` takes a delivery through the
ledger (`ledger.py`, in Redis) to its channel (`registry.py` names them), in the lane of its receiver (`lanes.py`), if the
last look before it lets it pass (`gate.py`, `decisions.py`), and `retry.py` says when an attempt that failed is made
again. `README.md` is for those who write rules.

This package knows nothing of Kafka or Faust: records come in and go out as values, through `streams/dispatcher.py`.
"""

from actions.errors import RuleErrors, SequenceErrors
from actions.policies import Policy
from actions.policy_reading import load_policies
from actions.reading import check_identify, check_segments, load_rules, rule_of
from actions.rules import Rule, Rules, Template, compile_rules, too_large
from actions.sequence_checks import check_loops, check_named, in_sequence, lifted_bodies, warn_of_sequences
from actions.sequence_reading import load_sequences, sequence_of
from actions.sequences import Asking, Sequence

__all__ = [
    "Asking",
    "Policy",
    "Rule",
    "RuleErrors",
    "Rules",
    "Sequence",
    "SequenceErrors",
    "Template",
    "check_identify",
    "check_loops",
    "check_named",
    "check_segments",
    "compile_rules",
    "in_sequence",
    "lifted_bodies",
    "load_policies",
    "load_rules",
    "load_sequences",
    "rule_of",
    "sequence_of",
    "too_large",
    "warn_of_sequences",
]
