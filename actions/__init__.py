"""Rules and what carries them out: channels, ledger, retry.

Read `rules.py` first: on which transitions a message goes out, a pure function that the worker calls in the contact's
own step. `reading.py` makes rules from files, `templates.py` says what a template may do. The dispatcher's part:
`dispatch.py` takes a delivery through the ledger (`ledger.py`, in Redis) to its channel (`webhook.py`, `mail.py`), in the
lane of its receiver (`lanes.py`), and `retry.py` says when an attempt that failed is made again. `README.md` is for those
who write rules.

This package knows nothing of Kafka or Faust: records come in and go out as values, through `streams/dispatcher.py`.
"""

from actions.errors import RuleErrors
from actions.reading import check_segments, load_rules, rule_of
from actions.rules import Rule, Rules, Template, compile_rules, too_large

__all__ = [
    "Rule",
    "RuleErrors",
    "Rules",
    "Template",
    "check_segments",
    "compile_rules",
    "load_rules",
    "rule_of",
    "too_large",
]
