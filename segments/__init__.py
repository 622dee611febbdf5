"""What a segment means, and nothing else: pure functions of definitions, events and instants.

No Kafka, no clock, no randomness, no I/O: the same inputs give the same transitions on any machine and on replay. The
way through: `read` (text to data), `check` (data to conditions, every error with its path), `canonical` (one spelling
for one meaning), `leaves` (what is kept of the past and what it answers), `program` (index and trees), `evaluate` (one
contact's step), `state` (its bytes), `simulate` (a whole run), `explain` (why). Read `conditions.py` first.

For notebooks and tests, all of it typed, with no broker and nothing of Kafka imported:

    from segments import RejectedLine, Stats, explain, load_data, simulate, text_of

    when = {"all": [{"trait": "plan", "eq": "trial"}, {"trait": "trial_ends_at", "within_next": "1d"}]}
    definitions = load_data({"segments": [{"id": "trial-ending", "when": when}]})  # `load` takes YAML or JSON as text
    lines = [  # JSON, one event each, in order of arrival; an open file does as well
        b'{"type": "identify", "userId": "c-17", "timestamp": "2026-03-01T09:30:00Z",'
        b' "traits": {"plan": "trial", "trial_ends_at": "2026-03-05T12:00:00Z"}}',
        b'{"type": "page", "userId": "c-18", "timestamp": "2026-03-04T18:00:00Z"}',
    ]
    stats = Stats()
    for one in simulate(definitions, lines):
        if isinstance(one, RejectedLine):
            print(one.line, one.reason)
        else:
            print(one.contact, one.transition, one.segment, one.at_ms, one.cause)
            stats.add(one)

    found = explain(definitions, lines, "c-17", segment="trial-ending")
    membership = found.segments[0].memberships[0]
    print(membership.member, membership.change)
    print(text_of(found))

`simulate` is lazy: take of it what you need. `Explanation` and `Stats` have `json()`; `explain_nodes` says what is in it.
"""

from schemas.transitions import Transition
from segments.check import load, load_data
from segments.compile import compile_program
from segments.conditions import Definitions, Segment
from segments.errors import DefinitionErrors, SegmentsError, StateError
from segments.evaluate import Program, Step
from segments.explain import explain
from segments.explain_nodes import Explanation, UnknownName
from segments.explain_text import text_of
from segments.limits import Limits
from segments.simulate import RejectedLine, line_of, simulate
from segments.state import ContactState, header
from segments.stats import Stats

__all__ = [
    "ContactState",
    "DefinitionErrors",
    "Definitions",
    "Explanation",
    "Limits",
    "Program",
    "RejectedLine",
    "Segment",
    "SegmentsError",
    "StateError",
    "Stats",
    "Step",
    "Transition",
    "UnknownName",
    "compile_program",
    "explain",
    "header",
    "line_of",
    "load",
    "load_data",
    "simulate",
    "text_of",
]
