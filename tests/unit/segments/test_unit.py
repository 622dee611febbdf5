"""What is kept and answered by key, and what falls due, against a plain dict."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from segments.unit import Unit

KEYS = st.sampled_from([0, 1, 5, 2**40, 2**62, 2**63 - 1])
KEPT = st.none() | st.integers(-(2**62), 2**62) | st.lists(st.integers(0, 9), max_size=3) | st.text(max_size=5)
DUES = st.none() | st.integers(-(2**45), 2**45)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), KEYS, KEPT),
        st.tuples(st.just("true"), KEYS, st.booleans()),
        st.tuples(st.just("due"), KEYS, DUES),
        st.tuples(st.just("note"), KEYS, st.tuples(st.booleans(), DUES)),
        st.tuples(st.just("drop"), KEYS, st.none()),
        st.tuples(st.just("forget"), KEYS, st.none()),
        st.tuples(st.just("find"), KEYS, st.none()),
    ),
    max_size=30,
)


@given(STEPS)
def test_each_key_is_what_was_last_said_of_it_and_the_earliest_due_instant_is_found(
    steps: list[tuple[str, int, Any]],
) -> None:
    """A due instant that gets lost is a contact who never leaves."""
    unit, model = Unit(), dict[int, list[Any]]()
    for verb, key, value in steps:
        said = model.setdefault(key, [None, None, False])
        if verb == "keep":
            unit.keep(key, value)
            said[0] = value
        elif verb == "true":
            assert unit.set_true(key, value) is (value is not said[2])
            said[2] = value
        elif verb == "due":
            unit.set_due(key, value)
            said[1] = value
        elif verb == "note":
            assert unit.note(key, *value) is (value[0] is not said[2])
            said[2], said[1] = value
        elif verb == "drop":
            unit.drop(key)
            del model[key]
        elif verb == "forget":
            unit.forget_answers()
            for other in model.values():
                other[1:] = [None, False]
        else:
            unit.find_due()
    first_ms = min((due for _, due, _ in model.values() if due is not None), default=None)

    assert first_ms is None or (unit.due_ms is not None and unit.due_ms <= first_ms)
    unit.find_due()
    assert unit.due_ms == first_ms
    for key, (kept, due, true) in model.items():
        assert (kept, due, true) == (unit.kept.get(key), unit.due_of(key), key in unit)
    said_something = sorted(key for key, said in model.items() if said != [None, None, False])
    assert said_something == unit.all_keys()
    assert [key for key in said_something if (due := model[key][1]) is not None and due <= 0] == unit.due_keys(0)
