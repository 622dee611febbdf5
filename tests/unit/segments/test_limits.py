"""The limits of section 10, each set low: what goes, and that it is counted."""

import json
from typing import Any

import pytest

from segments import DefinitionErrors, Limits, load, load_data
from segments.simulate import Run
from segments.state import ContactState
from segments.values import eq_key

DAY_MS = 86_400_000


def events(number: int, step_ms: int = 1_000, contact: str = "c", **fields: Any) -> list[bytes]:
    """Events A of a contact, each with another `item` and a smaller `total`, all of one `kind`."""
    lines = []
    for n in range(number):
        properties = {"item": f"{contact}{n}", "total": number - n, "kind": "k"}
        body = {"type": "track", "event": "A", "userId": contact, "timestamp": n * step_ms, "properties": properties}
        lines.append(json.dumps(body | {key: value(n) for key, value in fields.items()}).encode())
    return lines


def writes(number: int) -> list[bytes]:
    """Writes of a trait, each with another value."""
    return events(number, type=lambda n: "identify", traits=lambda n: {"plan": f"p{n}"})


def ran(definitions: dict[str, Any], lines: list[bytes], limits: Limits) -> Run:
    run = Run(load_data(definitions), limits)
    for line in lines:
        list(run.take(line))
    return run


def state_of(definitions: dict[str, Any], lines: list[bytes], limits: Limits) -> ContactState:
    return ran(definitions, lines, limits).states["c"]


def one(when: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"segments": [{"id": "s", "when": when, **others}]}


def scored(**rule: Any) -> dict[str, Any]:
    read = {"id": "s", "when": {"score": "lead", "gte": 1_000}}
    return {"segments": [read], "scores": [{"id": "lead", "rules": [{"points": 1, **rule}]}]}


SEQUENCE = [{"event": "A"}, {"event": "B"}]
OPEN = {"item": {"eq": {"trait": "plan"}}}
PASSING: dict[str, tuple[dict[str, Any], Limits]] = {
    "count in a window": (one({"event": "A", "within": "1d", "count": {"gte": 20}}), Limits(events=5)),
    "count of long ago": (one({"event": "A", "ago": "1d", "count": {"gte": 20}}), Limits(events=5)),
    "count between two ages": (one({"event": "A", "ago": ["2d", "1d"], "count": {"gte": 2}}), Limits(events=5)),
    "sum in a window": (one({"event": "A", "within": "1d", "sum": {"of": "total", "gte": 1e6}}), Limits(events=5)),
    "sum of long ago": (one({"event": "A", "ago": "1d", "sum": {"of": "total", "gte": 1e6}}), Limits(events=5)),
    "greatest in a window": (one({"event": "A", "within": "1d", "max": {"of": "total", "gte": 99}}), Limits(events=5)),
    "a test that is open": (one({"event": "A", "where": OPEN}), Limits(events=5)),
    "events over all values": (
        one({"event": "A", "within": "1d", "by": "item", "sum": {"of": "total", "gte": 1e6}}),
        Limits(events=5),
    ),
    "values of by": (one({"event": "A", "by": "item", "count": {"gte": 2}}), Limits(values=5)),
    "values of by in a sequence": (one({"sequence": SEQUENCE, "by": "item"}), Limits(values=5)),
    "values in a window": (
        one({"event": "A", "within": "1d", "distinct": {"of": "item", "gte": 20}}),
        Limits(values=5),
    ),
    "values ever": (one({"event": "A", "distinct": {"of": "item", "gte": 20}}), Limits(values=5)),
    "values of per": (one({"event": "A"}, per="item"), Limits(values=5)),
    "a sequence": (one({"sequence": SEQUENCE}), Limits(events=5)),
    "a sequence by value": (one({"sequence": SEQUENCE, "by": "item"}), Limits(events=5)),
    "points that expire": (scored(event="A", expires="1d"), Limits(events=5)),
    "points of an open rule": (scored(event="A", where=OPEN), Limits(events=5)),
    "a condition of a key": (one({"event": "A", "ago": ["2d", "1d"]}, per="kind"), Limits(events=5)),
    "encoded state": (one({"event": "A", "ago": ["2d", "1d"]}), Limits(state_bytes=80)),
}


@pytest.mark.parametrize("what", PASSING)
def test_a_limit_that_is_passed_is_counted_and_at_its_default_is_not(what: str) -> None:
    """Answers that lack something, and nobody who could tell, are worse than an error."""
    definitions, limits = PASSING[what]

    assert state_of(definitions, events(12), limits).limits_passed > 0
    assert state_of(definitions, events(12), Limits()).limits_passed == 0


UNCHANGED = {"trait": "plan", "unchanged_for": "1d"}
WRITTEN = {
    "a condition": one(UNCHANGED),
    "a rule": scored(**UNCHANGED),
}


@pytest.mark.parametrize("of", WRITTEN)
def test_writes_are_limited_as_events_are(of: str) -> None:
    """They are kept one by one as well."""
    assert state_of(WRITTEN[of], writes(12), Limits(events=5)).limits_passed == 7
    assert state_of(WRITTEN[of], writes(12), Limits()).limits_passed == 0


def test_traits_are_limited_in_number() -> None:
    """A publisher that makes trait names of ids fills no broker."""
    lines = events(1, type=lambda n: "identify", traits=lambda n: {f"t{i}": i for i in range(12)})
    state = state_of(one({"trait": "t11", "exists": True}), lines, Limits(traits=5))

    assert (7, [f"t{i}" for i in range(7, 12)]) == (state.limits_passed, list(state.traits))


@pytest.mark.parametrize("measure", [{"count": {"gte": 6}}, {"distinct": {"of": "item", "gte": 6}}])
@pytest.mark.parametrize("time", [{"within": "1d"}, {}])
def test_one_more_than_the_limit_is_told_from_as_many(measure: dict[str, Any], time: dict[str, Any]) -> None:
    """Thresholds go up to the limit: `gt: 10000` is legal, and must not stay false in silence."""
    when = {"event": "A", **time, **measure}
    limits = Limits(events=5, values=5)

    assert [1, 1] == [state_of(one(when), events(n), limits).membership("s")[0] for n in (6, 12)]
    assert "s" not in state_of(one(when), events(5), limits).members


@pytest.mark.parametrize("time", [{"within": "1d"}, {}])
def test_the_values_seen_longest_ago_go_first(time: dict[str, Any]) -> None:
    """Who comes again stays, whatever else there was."""
    when = {"event": "A", **time, "distinct": {"of": "item", "gte": 20}}
    state = state_of(one(when), [*events(6), *events(9)[6:]], Limits(values=5))
    (kept,) = state.kept.values()

    assert [eq_key(f"c{n}") for n in range(3, 9)] == list(kept)


def test_two_contacts_that_become_one_are_brought_down_to_the_limits() -> None:
    """Each was within them."""
    link = {"type": "alias", "userId": "c", "previousId": "d", "timestamp": 20_000}
    lines = [*events(4), *events(4, contact="d"), json.dumps(link).encode()]
    for time in ({"within": "1d"}, {"ago": "1d"}):
        counted = one({"event": "A", **time, "count": {"gte": 20}})
        assert state_of(counted, lines, Limits(events=5)).limits_passed == 2
    for time in ({"within": "1d"}, {}):
        distinct = one({"event": "A", **time, "distinct": {"of": "item", "gte": 20}})
        assert state_of(distinct, lines, Limits(values=5)).limits_passed == 2


def test_a_limit_that_was_lowered_holds_from_the_next_event_on() -> None:
    """Else a contact that was over it would stay over it for good."""
    for time, measure in (({"within": "1d"}, {"sum": {"of": "total", "gte": 1e6}}), ({"ago": ["2d", "1d"]}, {})):
        definitions = one({"event": "A", **time, **measure})
        run = ran(definitions, events(12), Limits())
        record = run.program.encode(run.states["c"])
        lower = Run(load_data(definitions), Limits(events=5))
        state = lower.states["c"] = lower.program.decode("c", record)
        list(lower.take(events(13)[12]))

        assert state.limits_passed == 8


def nested(levels: int, head: str) -> dict[str, Any]:
    when: dict[str, Any] = {"event": "A"}
    for _ in range(levels - 1):
        when = {"held": when, "for": "1s"} if head == "held" else {head: when if head == "not" else [when]}
    return when


@pytest.mark.parametrize("head", ["all", "none", "not", "held"])
def test_the_depth_of_definitions_is_a_setting(head: str) -> None:
    """Up to the most that it may be, what is loaded runs."""
    load_data(one(nested(16, head)))
    with pytest.raises(DefinitionErrors, match="expected at most 16 levels of conditions, got more"):
        load_data(one(nested(17, head)))
    with pytest.raises(DefinitionErrors, match="expected at most 3 levels of conditions, got more"):
        load_data(one(nested(4, head)), limits=Limits(depth=3))

    deep = load(json.dumps(one(nested(64, head))), limits=Limits(depth=64))
    run = Run(deep, Limits(depth=64))
    for line in events(3):
        list(run.take(line))
    assert run.states["c"].limits_passed == 0


def test_the_number_of_conditions_is_a_setting() -> None:
    """Steps of sequences count, too."""
    when = {"any": [{"sequence": SEQUENCE}, {"event": "B"}]}  # any, sequence, two steps, event

    load_data(one(when), limits=Limits(conditions=5))
    with pytest.raises(DefinitionErrors, match="expected at most 4 conditions and steps in a segment, got more"):
        load_data(one(when), limits=Limits(conditions=4))


def test_a_line_of_definitions_is_held_to_the_same_limits() -> None:
    """What a run takes at its start and what it takes on the way must not differ."""
    run = Run(load_data(one(nested(20, "all")), limits=Limits(depth=20)), Limits(depth=20))
    line = {"type": "definitions", "receivedAt": 1_000, "segments": one(nested(20, "not"))["segments"]}

    list(run.take(json.dumps(line).encode()))
    assert run.program.revision == 1
