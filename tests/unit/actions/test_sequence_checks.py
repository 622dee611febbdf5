"""What sequences and segments say of each other: what is named is there, and no sequence feeds itself."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from actions import (
    Sequence,
    check_loops,
    check_named,
    in_sequence,
    lifted_bodies,
    load_sequences,
    warn_of_sequences,
)
from segments import Definitions, load, load_data

GOOD = (Path(__file__).parent / "sequences.yaml").read_text()
BASE: dict[str, Any] = {"id": "welcome", "on": {"segment": "signed-up"}, "steps": []}
OWN = {"event": "Sequence Converted"}
OF_OTHER = {"event": "Sequence Converted", "where": {"sequence": "other"}}
WITH_PER = {"id": "carts", "per": "cart_id", "when": {"event": "Cart Updated"}}
SIGNED_UP = {"id": "signed-up", "when": {"event": "Signed Up"}}


def sequences_of(*written: dict[str, Any]) -> tuple[Sequence, ...]:
    return load_sequences(orjson.dumps({"sequences": [BASE | each for each in written]}).decode())


def checked(
    *written: dict[str, Any], segments: tuple[dict[str, Any], ...] = (), **more: Any
) -> tuple[tuple[Sequence, ...], Definitions]:
    sequences = sequences_of(*written)
    data = {"segments": [SIGNED_UP, *segments], **more}
    return sequences, load_data(data, lifted=lifted_bodies(sequences))


def named(**change: Any) -> list[str]:
    bodies = {body["id"]: body for body in (SIGNED_UP, WITH_PER)}
    return [line.removeprefix("sequence 'welcome': ") for line in check_named(sequences_of(change), bodies)]


def test_what_is_all_right_is_left_alone() -> None:
    sequences = load_sequences(GOOD)
    definitions = load_data(
        {"segments": [segment.body for segment in load(GOOD).segments]}, lifted=lifted_bodies(sequences)
    )
    bodies = {segment.id: segment.body for segment in definitions.segments}

    assert check_named(sequences, bodies) == []
    assert check_loops(sequences, definitions) == []
    assert warn_of_sequences(sequences, definitions) == []


def test_a_segment_that_is_not_there_is_said_where_it_is_named() -> None:
    """On which the sequence would never begin, or end."""
    branch = {"branch": {"if": {"segment": "signd-up"}, "then": ["end"]}}
    lines = named(on={"segment": "signed"}, goal={"segment": "paying"}, steps=[{"wait": "1d"}, branch])

    assert lines == [
        "expected a segment in force, got 'signed' (did you mean 'signed-up'?) - at $.on.segment",
        "expected a segment in force, got 'signd-up' (did you mean 'signed-up'?) - at $.steps[1].branch.if.segment",
        "expected a segment in force, got 'paying' - at $.goal.segment",
    ]


def test_once_a_key_asks_for_a_segment_with_keys() -> None:
    assert named(again="per_key") == [
        "expected a segment with `per` in `on` beside `per_key`, got 'signed-up' - at $.again"
    ]
    assert named(again="per_key", on={"segment": "carts"}) == []


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"steps": [{"wait_for": {"segment": "carts"}}]}, "$.steps[0].wait_for.segment"),
        ({"steps": [{"branch": {"if": {"segment": "carts"}, "then": []}}]}, "$.steps[0].branch.if.segment"),
        (
            {
                "while": {"segment": "carts"},
                "steps": [{"send": {"channel": "webhook", "target": "https://a.example/", "secret": "A"}}],
            },
            "$.while.segment",
        ),
    ],
)
def test_a_step_asks_for_nothing_that_a_contact_is_in_many_times(change: dict[str, Any], place: str) -> None:
    """Be the segment that of `on` or another."""
    sentence = "expected a segment without `per`, got 'carts'; its memberships are many a contact"

    assert named(**change) == [f"{sentence} - at {place}"]
    assert named(**change, on={"segment": "carts"}, goal={"segment": "carts"}) == [f"{sentence} - at {place}"]


def test_a_goal_or_an_exit_counts_for_the_key_that_it_began_with() -> None:
    """So of segments with keys it can only be the one that it began with."""
    ends = {"goal": {"segment": "carts"}, "exit": {"segment": "carts"}}

    assert named(**ends, on={"segment": "carts"}) == []
    assert named(**ends) == ["expected a segment without `per`, or that of `on`, got 'carts' - at $.goal.segment"]


def test_an_error_of_a_lifted_condition_is_said_at_its_place() -> None:
    (sequence,) = sequences_of({"goal": {"when": {"all": [{"trait": "plan", "equals": "pro"}]}}})
    (id,) = sequence.lifted

    assert in_sequence(f"segment '{id}': expected x - at $.when.all[0].equals", [sequence]) == (
        "sequence 'welcome': expected x - at $.goal.when.all[0].equals"
    )
    assert in_sequence("segment 'a': expected x - at $.when", [sequence]) == "segment 'a': expected x - at $.when"


@pytest.mark.parametrize(
    "when",
    [
        OWN,
        {"event": ["Order Completed", "Sequence Exited"]},
        {"event": {"prefix": "Seq"}},
        {"event": {"prefix": "Sequence E"}},
        {"event": "Sequence Step Sent", "where": {"reason": "goal"}},
        {"event": "Sequence Converted", "where": {"sequence": "welcome"}},
        {"event": "*", "where": {"sequence": ["other", "welcome"]}},
        {"event": "Sequence Converted", "where": {"any": [{"sequence": "other"}, {"version": 1}]}},
        {"not": {"held": OWN, "for": "1d"}},
        {"sequence": [{"event": "A"}, {"absent": "Sequence Entered", "within": "1d"}]},
        {"score": "engaged", "gte": 5},
        {"segment": "ahead"},
    ],
)
@pytest.mark.parametrize("place", ["goal", "exit", "while", "wait_for"])
def test_a_sequence_that_asks_for_its_own_events_is_refused(when: dict[str, Any], place: str) -> None:
    """By name or prefix, through scores and other segments, whatever it asks for it."""
    change: dict[str, Any] = {
        "goal": {"goal": {"when": when}},
        "exit": {"exit": [{"when": when}]},
        "while": {"while": when},
        "wait_for": {"steps": [{"wait_for": {"when": when}}]},
    }[place]
    led = {"id": "led", "when": {"any": [{"event": "A"}, OWN]}}
    scores = [{"id": "engaged", "rules": [{"event": "Sequence Converted", "points": 5}]}]
    ahead = {"id": "ahead", "when": {"segment": "between"}}
    between = {"id": "between", "when": {"not": {"segment": "led"}}}
    (line,) = check_loops(*checked(change, segments=(ahead, between, led), scores=scores))
    where = " in segment 'led'" if when == {"segment": "ahead"} else ""

    assert line.startswith(f"sequence 'welcome': expected no condition on events of its own, got one{where}; ask for")
    assert line.partition(" - at ")[2].startswith(f"$.{'steps[0].wait_for' if place == 'wait_for' else place}")


def test_a_sequence_that_begins_on_its_own_events_is_refused() -> None:
    led = {"id": "led", "when": OWN}
    (line,) = check_loops(*checked({"on": {"segment": "led"}}, segments=(led,)))

    assert line == (
        "sequence 'welcome': expected no condition on events of its own, got one in segment 'led'; ask for another "
        "sequence's, by `where: {sequence: …}` - at $.on.segment"
    )


@pytest.mark.parametrize(
    "when",
    [
        OF_OTHER,
        {"event": "Sequence Exited", "where": {"sequence": {"eq": "other"}, "reason": "goal"}},
        {"event": {"prefix": "Sequence "}, "where": {"all": [{"sequence": ["other", "third"]}]}},
        {"event": "Sequences Planned"},
        {"event": {"prefix": "Sequel"}},
        {"event": {"any_except": [{"prefix": "Sequence "}]}},
        {"event": {"any_except": [{"prefix": "Seq"}]}},
    ],
)
def test_a_sequence_may_ask_for_events_of_others(when: dict[str, Any]) -> None:
    """A second sequence for those whom the first has not won."""
    sequences, definitions = checked({"goal": {"when": when}}, {"id": "other"})

    assert check_loops(sequences, definitions) == []
    assert warn_of_sequences(sequences, definitions) == []


def test_sequences_that_ask_for_each_others_events_in_a_circle_are_refused() -> None:
    """Each is told; who only looks on at the circle is no part of it."""

    def of(id: str) -> dict[str, Any]:
        return {"goal": {"when": {"event": "Sequence Converted", "where": {"sequence": id}}}}

    written = ({"id": "a", **of("b")}, {"id": "b", **of("c")}, {"id": "c", **of("a")}, {"id": "d", **of("a")})

    assert check_loops(*checked(*written)) == [
        f"sequence '{id}': expected no circle of sequences on each other's events, got one through a, b, c - at $.goal.when"
        for id in "abc"
    ]
    assert check_loops(*checked(written[0], written[1], {"id": "c"}, written[3])) == []


@pytest.mark.parametrize("names", ["*", {"any_except": ["Sequence Entered", {"prefix": "Sequence Ex"}]}])
def test_who_takes_any_event_takes_those_of_sequences(names: Any) -> None:
    """A contact that has been dormant is so no longer once the sequence to win it back has begun."""
    dormant = {"id": "dormant", "when": {"event": names, "within": "30d", "count": 0}}
    sequences, definitions = checked({"on": {"segment": "dormant"}}, segments=(dormant,))

    assert check_loops(sequences, definitions) == []
    assert warn_of_sequences(sequences, definitions) == [
        "sequence 'welcome': takes events of sequences among all others in segment 'dormant', its own too; leave them out "
        'with `any_except: [{prefix: "Sequence "}]` - at $.on.segment'
    ]


@pytest.mark.parametrize(
    ("when", "set_", "what"),
    [
        ({"trait": "stage", "eq": "new"}, {"traits": {"stage": "old", "x": 1}}, "the trait 'stage'"),
        ({"trait": "address.city", "exists": True}, {"traits": {"address": {}}}, "the trait 'address'"),
        ({"not": {"listed": "vip"}}, {"list": "vip", "action": "added"}, "the list 'vip'"),
        ({"score": "lead", "gte": 1}, {"traits": {"plan": "pro"}}, "the trait 'plan'"),
    ],
)
def test_who_sets_what_it_begins_on_is_warned(when: dict[str, Any], set_: dict[str, Any], what: str) -> None:
    """Where it begins every time: it could begin itself again without end."""
    scores = [{"id": "lead", "rules": [{"trait": "plan", "eq": "pro", "points": 1}]}]
    change = {"on": {"segment": "asked", "causes": ["event", "manual"]}, "steps": [{"set": set_}]}
    segments = ({"id": "inner", "when": when}, {"id": "asked", "when": {"segment": "inner"}})
    more: dict[str, Any] = {"segments": segments, "scores": scores}

    assert warn_of_sequences(*checked(change | {"again": "every_time"}, **more)) == [
        f"sequence 'welcome': step 'set-0' sets {what}, which segment 'asked' of `on` asks for: with `every_time` it may "
        "begin itself again and again - at $.again"
    ]
    assert warn_of_sequences(*checked(change, **more)) == []
    assert warn_of_sequences(*checked({"again": "every_time", "steps": [{"set": set_}]}, **more)) == []


@pytest.mark.parametrize(
    ("causes", "more", "warnings"),
    [
        (["event", "timer"], {}, 0),
        (["event", "timer", "manual"], {}, 1),
        (["event", "timer"], {"hold": {"enter": "1m"}}, 1),
        (["event"], {"hold": {"enter": "1m"}}, 0),
        (["timer"], {"when": {"held": {"listed": "vip"}, "for": "1m"}}, 1),
    ],
)
def test_who_sets_a_list_is_warned_where_what_that_brings_has_a_cause_to_begin_by(
    causes: list[str], more: dict[str, Any], warnings: int
) -> None:
    """A list's own transitions are `manual`; those that it brings after a hold are the timer's."""
    change = {"on": {"segment": "asked", "causes": causes}, "again": "every_time"}
    steps = [{"set": {"list": "vip", "action": "removed"}}]
    segment = {"id": "asked", "when": {"listed": "vip"}} | more

    assert len(warn_of_sequences(*checked(change | {"steps": steps}, segments=(segment,)))) == warnings


def test_sequences_that_set_what_each_other_begins_on_are_warned() -> None:
    """Each beginning of one is one of the other, as fast as their waits allow."""
    segments = ({"id": "x", "when": {"trait": "x", "eq": 1}}, {"id": "y", "when": {"trait": "y", "eq": 1}})

    def written(id: str, on: str, sets: str, again: str = "every_time") -> dict[str, Any]:
        return {"id": id, "on": {"segment": on}, "again": again, "steps": [{"set": {"traits": {sets: 1}}}]}

    circle = [written("a", "x", "y"), written("b", "y", "x"), written("c", "x", "z")]
    more = ", and that leads back here: with `every_time` they may begin each other again and again - at $.again"
    assert warn_of_sequences(*checked(*circle, segments=segments)) == [
        f"sequence 'a': step 'set-0' sets the trait 'y', which segment 'y' of 'b' asks for{more}",
        f"sequence 'b': step 'set-0' sets the trait 'x', which segment 'x' of 'a' asks for{more}",
    ]
    once = [written("a", "x", "y"), written("b", "y", "x", again="once")]
    assert warn_of_sequences(*checked(*once, segments=segments)) == []
