"""Due instants: none early, none missed, however they are moved."""

from hypothesis import given
from hypothesis import strategies as st

from streams.timers import ORDERED_MAX, STALE_MAX, Timers

DAY_MS = 86_400_000
KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])
INSTANTS = st.integers(-3_000, 6_000)


def due_at(timers: Timers, until_ms: int) -> list[bytes]:
    """All that is popped by then, however often the caller has to come back for it."""
    found: list[bytes] = []
    while True:
        if (key := timers.pop(until_ms)) is not None:
            found.append(key)
        elif timers.first_ms is None or timers.first_ms > until_ms:
            return found


@given(st.dictionaries(KEYS, INSTANTS), st.lists(st.tuples(KEYS, INSTANTS) | INSTANTS, max_size=30))
def test_each_contact_is_found_at_its_instant_and_not_before(first: dict[bytes, int], steps: list[object]) -> None:
    timers, armed, now_ms = Timers(first.items()), dict(first), -10_000
    for step in steps:
        if isinstance(step, tuple):
            key, due_ms = step
            timers.arm(key, due_ms)
            armed[key] = min(due_ms, armed.get(key, due_ms))
        else:
            assert isinstance(step, int)
            now_ms = max(now_ms, step)
            due = sorted(key for key, due_ms in armed.items() if due_ms <= now_ms)
            assert sorted(due_at(timers, now_ms)) == due
            for key in due:
                del armed[key]
        first_ms = timers.first_ms
        earliest_ms = min(armed.values(), default=None)
        assert (first_ms is not None and first_ms <= earliest_ms) if earliest_ms is not None else True


def test_the_first_instant_is_told_to_the_second_and_once_it_is_near_to_the_millisecond() -> None:
    timers = Timers([(b"c", 5_700), (b"d", 5_900)])

    assert timers.first_ms == 5_000
    assert timers.pop(5_000) is None
    assert timers.first_ms == 5_700


def test_a_crowd_of_one_instant_late_in_its_second_is_put_in_order_piece_by_piece() -> None:
    """Ten thousand at once would hold the events up."""
    timers = Timers((b"%d" % number, 5_999) for number in range(10 * ORDERED_MAX))
    calls = 1
    while timers.first_ms != 5_999:
        assert timers.pop(5_500) is None
        calls += 1

    assert 10 <= calls <= 12
    assert len(due_at(timers, 5_999)) == 10 * ORDERED_MAX
    assert timers.first_ms is None


def test_timers_that_are_postponed_again_and_again_take_no_room() -> None:
    """A contact that goes back and forth between a near and a far instant leaves a stale entry each time."""
    timers = Timers(())
    for number in range(100_000):
        timers.arm(b"c", 10 * DAY_MS - number)
        assert timers._entries <= 2 + STALE_MAX

    assert due_at(timers, 10 * DAY_MS) == [b"c"]
