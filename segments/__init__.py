"""What a segment means, and nothing else: pure functions of definitions, events and instants.

No Kafka, no clock, no randomness, no I/O: the same inputs give the same transitions on any machine and on replay. The
way through: `read` (text to data), `check` (data to conditions, every error with its path), `canonical` (one spelling
for one meaning), `leaves` (what is kept of the past and what it answers), `program` (index and trees), `evaluate` (one
contact's step), `state` (its bytes), `simulate` (a whole run). Read `conditions.py` first.
"""

from segments.check import load, load_data
from segments.compile import compile_program
from segments.conditions import Definitions, Segment
from segments.errors import DefinitionErrors, SegmentsError, StateError
from segments.evaluate import Program, Step
from segments.program import Limits
from segments.simulate import RejectedLine, line_of, simulate
from segments.state import ContactState, header

__all__ = [
    "ContactState",
    "DefinitionErrors",
    "Definitions",
    "Limits",
    "Program",
    "RejectedLine",
    "Segment",
    "SegmentsError",
    "StateError",
    "Step",
    "compile_program",
    "header",
    "line_of",
    "load",
    "load_data",
    "simulate",
]
