"""Rows of a contact: packed, unpacked, dropped, and what falls due, against a plain dict."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from segments.unit import ROWS_OPEN_MAX, Unit

KEYS = st.sampled_from([0, 1, 5, 2**40, 2**62, 2**63 - 1])
OTHERS = range(100, 100 + 2 * ROWS_OPEN_MAX)  # so that some units have their rows in columns
KEPT = st.none() | st.integers(-(2**62), 2**62) | st.lists(st.integers(0, 9), max_size=3) | st.text(max_size=5)
DUES = st.none() | st.integers(-(2**45), 2**45)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), KEYS, KEPT),
        st.tuples(st.just("true"), KEYS, st.booleans()),
        st.tuples(st.just("due"), KEYS, DUES),
        st.tuples(st.just("note"), KEYS, st.tuples(st.booleans(), DUES)),
        st.tuples(st.just("drop"), KEYS, st.none()),
        st.tuples(st.just("pack"), KEYS, st.none()),
        st.tuples(st.just("forget"), KEYS, st.none()),
    ),
    max_size=30,
)


@given(STEPS, st.sampled_from([0, ROWS_OPEN_MAX - 3, ROWS_OPEN_MAX, 2 * ROWS_OPEN_MAX]))
def test_rows_are_what_was_last_said_of_them_however_often_they_are_packed(
    steps: list[tuple[str, int, Any]], others: int
) -> None:
    """A row that moves in the columns and takes another's bytes along would be another contact's answer."""
    unit, model = Unit(), dict[int, list[Any]]()
    for key in OTHERS[:others]:
        unit.keep(key, [key])
        model[key] = [[key], None, False]
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
            unit.note(key, unit.row(key), *value)
            said[2], said[1] = value
        elif verb == "drop":
            unit.drop(key)
            del model[key]
        elif verb == "forget":
            unit.forget_answers()
            for other in model.values():
                other[1:] = [None, False]
        else:
            again = Unit()
            again.unpack(unit.pack())
            again.due_stale = True
            unit = again
    unit.find_due()

    assert unit.due_ms == min((due for _, due, _ in model.values() if due is not None), default=None)
    for key, (kept, due, true) in model.items():
        row = unit.row(key)
        assert (kept, due, true) == (row.kept, row.due_ms, row.true)
        assert (key in unit) is true
    said_something = sorted(key for key, said in model.items() if said != [None, None, False])
    unit.pack()
    assert said_something == unit.all_keys()
    assert [key for key in said_something if (due := model[key][1]) is not None and due <= 0] == unit.due_keys(0)


def test_what_is_packed_is_no_longer_than_its_columns_and_what_is_kept() -> None:
    """A million contacts rest in memory as their bytes: 21 a row, and no more than what leaves keep."""
    unit = Unit()
    for key in range(1000):
        unit.keep(key, 1)

    packed = unit.pack()

    assert isinstance(packed, tuple)
    assert 1000 * (8 + 8 + 1 + 4 + 1) == sum(map(len, packed))
