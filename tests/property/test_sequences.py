"""Sequences of the core against their oracle, on random sequences and histories."""

from collections import defaultdict

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.histories_sequences import Case, cases
from tests.oracle_sequences import AtOnceRun
from tests.property.engines import by_pair
from tests.sequence_runs import Said, by_core, by_oracle, in_force


def by_sequence(said: list[Said]) -> dict[tuple[str, str], list[Said]]:
    """What was said of each contact, by sequence."""
    found: dict[tuple[str, str], list[Said]] = defaultdict(list)
    for one in said:
        found[one.contact, one.sequence].append(one)
    return dict(found)


@given(cases(), st.sampled_from([2000, 0]))
def test_a_contact_is_led_as_the_page_says(case: Case, grace_ms: int) -> None:
    """Progress that is kept and moved on step by step must do what working it out afresh does."""
    sequences = [in_force(one) for one in case.sequences]
    said, transitions = by_oracle(case.definitions, sequences, case.raw(), case.until_ms, grace_ms)
    at_once, _ = by_oracle(case.definitions, sequences, case.raw(), case.until_ms, grace_ms, AtOnceRun)
    assume(by_sequence(at_once) == by_sequence(said))  # else it is something that the page leaves open
    got, got_transitions = by_core(case.definitions, sequences, case.raw(), case.until_ms, grace_ms)
    assert by_sequence(got) == by_sequence(said)
    assert by_pair(got_transitions) == by_pair(transitions)


@given(cases(), st.lists(st.booleans(), min_size=1, max_size=4))
def test_a_contact_is_led_on_from_what_was_written_of_it(case: Case, written: list[bool]) -> None:
    """A worker that takes a partition over has nothing but the bytes of the last checkpoint."""
    sequences = [in_force(one) for one in case.sequences]
    at_once = by_core(case.definitions, sequences, case.raw(), case.until_ms)
    assert by_core(case.definitions, sequences, case.raw(), case.until_ms, written=written) == at_once
