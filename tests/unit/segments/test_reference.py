"""The language reference: every file in it checks, compiles and runs."""

import pathlib
import re

import pytest

from segments import load, simulate

README = pathlib.Path(__file__).parents[3] / "segments" / "README.md"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)
EVENTS = [
    b'{"type": "identify", "userId": "c", "timestamp": "2026-03-01T00:00:00Z", "traits": {"plan": "PRO", "seats": 7}}',
    b'{"type": "track", "userId": "c", "timestamp": "2026-03-02T00:00:00Z", "event": "Order Completed",'
    b' "properties": {"total": 60, "currency": "EUR", "products": [{"category": "ink", "price": 12}]}}',
]


def test_the_reference_has_examples() -> None:
    """A pattern that finds nothing would let the other test pass for ever."""
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_of_the_reference_is_accepted_and_runs(text: str) -> None:
    """What people copy from the page must work as it stands."""
    definitions = load(text)
    seen = list(simulate(definitions, EVENTS, until_ms=1_800_000_000_000))

    assert {transition.segment for transition in seen} <= {segment.id for segment in definitions.segments}
    assert definitions.segments
