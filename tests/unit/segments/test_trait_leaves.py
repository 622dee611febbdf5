"""The leaves over traits against the page, computed naively from all writes; and `known`."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segments.conditions import Known, Span, TraitIs, TraitRef, Tz
from segments.conditions import Test as OneTest  # pytest takes what is called Test for a class of tests
from segments.contact import EVENTS_KEPT_MAX, find_trait, trait_ways, zone_of
from segments.trait_leaves import KnownLeaf, TraitLeaf, UnchangedFor, trait_leaf
from segments.values import equal

DURATION_MS = 10
quick = settings(deadline=None, derandomize=True, max_examples=500)

# what an event writes to `o.n`: to it as one trait, or by the object `o`, or to both at once, or to none of them
values = st.sampled_from([None, "", 1, "1", 2, True, [1], {"x": 1}])
writes = st.fixed_dictionaries(
    {},
    optional={
        "o.n": values,
        "o": st.one_of(values, st.fixed_dictionaries({"n": values}), st.just({})),
        "z": values,
    },
)
histories = st.lists(st.tuples(st.integers(0, 40), writes), max_size=8)


class Someone:
    """A contact, as leaves see one."""

    def __init__(self, clock_ms: int = 0, **traits: Any) -> None:
        self.traits: dict[str, list[Any]] = {key: [value, 0] for key, value in traits.items()}
        self.clock_ms = self.first_ms = clock_ms
        self.contact = "c"
        self.bytes_estimated = self.limits_passed = 0


def unchanged_for(path: str = "o.n", duration_ms: int = DURATION_MS) -> UnchangedFor:
    """The leaf of `unchanged_for`."""
    leaf = trait_leaf(TraitIs(path, OneTest("unchanged_for", duration_ms)))
    assert isinstance(leaf, UnchangedFor)
    return leaf


def since(history: list[tuple[int, dict[str, Any]]]) -> int | None:
    """When the latest run of writes of one value of `o.n` began; by event time, ties by arrival."""
    traits: dict[str, Any] = {}
    began: int | None = None
    last: Any = None
    for at_ms, written in sorted(history, key=lambda write: write[0]):
        if not written.keys() & {"o", "o.n"}:
            continue
        traits.update({key: None if value == "" else value for key, value in written.items()})
        found = find_trait({key: [value, 0] for key, value in traits.items()}, trait_ways("o.n"))
        if found is None:
            began = None
        elif last is None or not equal(found, last):
            began = at_ms
        last = found
    return began


def naive(history: list[tuple[int, dict[str, Any]]], now_ms: int) -> bool:
    """Whether that run began at or before now - D."""
    began = since(history)
    return began is not None and began <= now_ms - DURATION_MS


@quick
@given(histories, st.integers(0, 30))
def test_a_run_of_writes_is_what_the_page_takes_it_for(history: list[tuple[int, dict[str, Any]]], ahead: int) -> None:
    """In whatever order the writes arrive; what is kept has a bound; and no answer turns but at the instant named."""
    leaf, someone, kept = unchanged_for(), Someone(), None
    for at, (at_ms, written) in enumerate(history):
        someone.clock_ms = max(someone.clock_ms, at_ms)
        kept = leaf.write(kept, written, at_ms, someone)
        answer, due_ms = leaf.read(kept, someone, someone.clock_ms)
        assert naive(history[: at + 1], someone.clock_ms) is answer

        until_ms = someone.clock_ms + 2 * DURATION_MS if due_ms is None else due_ms
        seen = {naive(history[: at + 1], now_ms) for now_ms in range(someone.clock_ms, until_ms)}
        assert {answer} == seen
        assert due_ms is None or naive(history[: at + 1], due_ms) is not answer
    now_ms = someone.clock_ms + ahead
    leaf.read(kept, someone, now_ms)
    in_window = sum(1 for at_ms, written in history if at_ms > now_ms - DURATION_MS and written.keys() & {"o", "o.n"})
    assert len(kept or []) <= in_window + 2


@quick
@given(histories, histories)
def test_two_contacts_made_one_have_one_run(
    ours: list[tuple[int, dict[str, Any]]], theirs: list[tuple[int, dict[str, Any]]]
) -> None:
    """Each write at its own time, as if all had been of one contact; but for ties."""
    ours = [(2 * at_ms, written) for at_ms, written in ours]
    theirs = [(2 * at_ms + 1, written) for at_ms, written in theirs]
    leaf, someone = unchanged_for(), Someone(100)
    kept: list[Any] = []
    for history in (ours, theirs):
        mine = None
        for at_ms, written in history:
            mine = leaf.write(mine, written, at_ms, Someone(at_ms))
        kept.append(mine)
    for now_ms in (100, 105):
        someone.clock_ms = now_ms
        both = leaf.merge(kept[0] and list(kept[0]), kept[1] and list(kept[1]), someone)

        assert naive(ours + theirs, now_ms) is leaf.read(both, someone, now_ms)[0]


def test_events_of_one_instant_are_writes_one_after_the_other() -> None:
    """A value that stood between two events is a break, though both happened at once; within one event nothing stands."""
    leaf, someone = unchanged_for(), Someone(20)
    one = leaf.write(None, {"o.n": 1}, 0, someone)
    one = leaf.write(one, {"o": {"n": 5}, "o.n": 1}, 15, someone)
    two = leaf.write(None, {"o": {"n": 1}}, 0, someone)
    two = leaf.write(two, {"o.n": 2}, 15, someone)
    two = leaf.write(two, {"o.n": None}, 15, someone)

    assert (True, None) == leaf.read(one, someone, 20)
    assert (False, 25) == leaf.read(two, someone, 20)


def test_writes_have_a_limit_and_passing_it_is_said() -> None:
    """The oldest go first; and long values are kept by their keys, so that the estimate of their bytes holds."""
    leaf, someone, kept = unchanged_for("o", 10**9), Someone(), None
    for at_ms in range(EVENTS_KEPT_MAX):
        kept = leaf.write(kept, {"o": "x" * 1_000}, at_ms, someone)
    assert kept is not None and (EVENTS_KEPT_MAX, 0) == (len(kept), someone.limits_passed)

    kept = leaf.write(kept, {"o": 1}, EVENTS_KEPT_MAX, someone)
    assert kept is not None and (EVENTS_KEPT_MAX, 1) == (len(kept), someone.limits_passed)
    assert 1 == kept[0][0]
    assert max(len(entry[2]) for entry in kept) <= 40
    assert [5_000, 5_001] == list(leaf.times(leaf.shed(kept, 4_999)))[:2]


def test_what_writes_other_traits_leaves_nothing() -> None:
    """Nor does a read of nothing answer."""
    leaf, someone = unchanged_for(), Someone()

    assert leaf.write(None, {"z": 1}, 0, someone) is None
    assert (False, None) == leaf.read(None, someone, 0)
    assert leaf.is_empty(leaf.shed([[5, 0, "1"]], 5))
    assert ("o.n", "o") == leaf.keys
    assert {"o.n", "o"} == leaf.traits


def test_a_trait_leaf_says_by_which_traits_it_moves() -> None:
    """All that its own path may lead through, those on the right side, and the zone where that is the contact's."""
    of_ref = TraitLeaf(TraitIs("a.b", OneTest("eq", TraitRef("c.d"))))
    of_day = TraitLeaf(TraitIs("d", OneTest("calendar", Span("day", 0, 0), tz=Tz(contact=True))))

    assert {"a", "a.b", "c", "c.d"} == of_ref.traits
    assert {"d", "timezone"} == of_day.traits
    assert (True, None) == of_ref.read(None, Someone(**{"a": {"b": 5}, "c.d": "5"}), 0)
    # midnight in Tokyo is 15:00 UTC of the day before
    assert (True, 54_000_000) == of_day.read(None, Someone(d="1970-01-01", timezone="Asia/Tokyo"), 0)
    assert (False, None) == of_ref.read(None, Someone(), 0)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("Asia/Tokyo", "Asia/Tokyo"),
        ("asia/tokyo", "Europe/Berlin"),
        ("localtime", "Europe/Berlin"),
        ("", "Europe/Berlin"),
        (9, "Europe/Berlin"),
        (["Asia/Tokyo"], "Europe/Berlin"),
        (None, "Europe/Berlin"),
    ],
)
def test_the_contact_s_zone_is_its_timezone_where_that_is_one(value: Any, name: str) -> None:
    """Else the one that stands in; and one that is given is asked of nobody."""
    assert name == zone_of(Tz("Europe/Berlin", contact=True), Someone(timezone=value)).name
    assert "Europe/Berlin" == zone_of(Tz("Europe/Berlin"), Someone(timezone=value)).name


def test_known_asks_the_time_of_the_first_event() -> None:
    """By event time, so a late one may turn the answer."""
    leaf = KnownLeaf(Known(OneTest("older_than", 1_000)))
    someone = Someone(5_000)

    assert (False, 6_000) == leaf.read(None, someone, 5_000)
    assert (True, None) == leaf.read(None, someone, 6_000)
    someone.first_ms = 3_000
    assert (True, None) == leaf.read(None, someone, 5_000)
    assert frozenset() == leaf.traits


def test_known_may_be_compared_with_a_trait() -> None:
    """And moves with it, and with the contact's zone."""
    leaf = KnownLeaf(Known(OneTest("on_or_before", TraitRef("due"), tz=Tz(contact=True))))

    assert {"due", "timezone"} == leaf.traits
    assert (False, None) == leaf.read(None, Someone(1, due="1970-01-01"), 1)
    assert (True, None) == leaf.read(None, Someone(1, due="1970-01-01", timezone="America/New_York"), 1)
