"""What an apply changes: versions, revisions, and what a reader of the topic makes of them."""

import hashlib
from typing import Any

import msgspec
import pytest

import streams.revisions
from actions.machine import Machine
from schemas.definitions import DefinitionRecord, RevisionRecord, definition_key
from segments import Program
from streams.definitions import compile_plan
from streams.errors import DefinitionsRefused
from streams.revisions import DefinitionsUnreadable, InForce, Name, Revised, Revisions, messages, revise
from streams.settings import load_settings

SEGMENT: Name = ("segment", "big")
RULE: Name = ("rule", "hook")
WHEN = {"event": "Order Completed"}


class Topic:
    """The definitions topic as a list, and what is in force by it."""

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes]] = []
        self.now_ms = 0

    @property
    def in_force(self) -> InForce:
        return read(self.records).in_force

    def apply(self, bodies: dict[Name, dict[str, Any]], removed: tuple[Name, ...] = ()) -> list[tuple[str, int, str]]:
        self.now_ms += 1
        revised = revise(self.in_force, bodies, removed, self.now_ms)
        if revised is None:
            return []
        self.records += messages(revised)
        return [(change.id, change.version, change.what) for change in revised.changes]


def read(records: list[tuple[bytes, bytes]]) -> Revisions:
    revisions = Revisions()
    for key, value in records:
        revisions.add(key, value)
    return revisions


def segment(**more: Any) -> dict[Name, dict[str, Any]]:
    return {SEGMENT: {"id": "big", "when": WHEN, **more}}


def test_nothing_is_in_force_before_the_first_apply() -> None:
    """Number 0."""
    assert InForce() == Topic().in_force


def test_a_new_definition_is_version_1_in_revision_1() -> None:
    """And counts from then on."""
    topic = Topic()

    assert topic.apply(segment()) == [("big", 1, "new")]
    assert (topic.in_force.number, topic.in_force.since_ms[SEGMENT]) == (1, 1)
    assert topic.in_force.segments[0].body == {"id": "big", "when": WHEN}


def test_applying_the_same_again_writes_nothing() -> None:
    """Whatever the order of the keys."""
    topic = Topic()
    topic.apply({SEGMENT: {"id": "big", "when": {"event": "x", "within": "1d"}}})

    assert topic.apply({SEGMENT: {"when": {"within": "1d", "event": "x"}, "id": "big"}}) == []
    assert topic.in_force.number == 1


@pytest.mark.parametrize("changed", [{"when": {"event": "x"}}, {"tz": "UTC"}, {"hold": {"enter": "1d"}}])
def test_a_change_of_meaning_is_a_new_version(changed: dict[str, Any]) -> None:
    """Of `when`, `per`, `tz` or `hold` (language page, section 9)."""
    topic = Topic()
    topic.apply(segment())

    assert topic.apply(segment(**changed)) == [("big", 2, "changed")]
    assert topic.in_force.since_ms[SEGMENT] == 2


@pytest.mark.parametrize("changed", [{"name": "Big"}, {"tags": ["a"]}, {"owner": "me"}, {"carry": ["email"]}])
def test_any_other_change_of_a_segment_is_taken_over_under_its_version(changed: dict[str, Any]) -> None:
    """It emits nothing; the version keeps the instant from which it counts."""
    topic = Topic()
    topic.apply(segment())

    assert topic.apply(segment(**changed)) == [("big", 1, "updated")]
    assert topic.in_force.since_ms[SEGMENT] == 1
    assert topic.in_force.segments[0].body == {"id": "big", "when": WHEN, **changed}
    assert topic.in_force.number == 2


def test_true_and_1_are_not_the_same() -> None:
    """They are to Python."""
    topic = Topic()
    topic.apply(segment(when={"trait": "a", "eq": 1}))

    assert topic.apply(segment(when={"trait": "a", "eq": True})) == [("big", 2, "changed")]


def test_a_rule_with_another_template_is_another_version_and_one_with_another_name_is_not() -> None:
    """A delivery's id has the rule's version in it."""
    topic = Topic()
    body = {"id": "hook", "template": {"subject": "a", "text": "b"}}
    topic.apply({RULE: body})

    assert topic.apply({RULE: {**body, "name": "Hook"}}) == [("hook", 1, "updated")]
    assert topic.apply({RULE: {**body, "template": {"subject": "a", "text": "c"}}}) == [("hook", 2, "changed")]


def test_what_an_apply_does_not_name_stays_in_force() -> None:
    """Files can be applied one by one."""
    topic = Topic()
    topic.apply(segment())
    topic.apply({RULE: {"id": "hook"}})

    assert set(topic.in_force.records) == {SEGMENT, RULE}


def test_what_is_added_again_after_a_removal_goes_on_in_versions() -> None:
    """No version ever means two things."""
    topic = Topic()
    topic.apply(segment())
    assert topic.apply({}, removed=(SEGMENT,)) == [("big", 1, "removed")]
    assert topic.in_force.records == {}

    assert topic.apply(segment()) == [("big", 2, "new")]


def test_a_revision_that_is_not_closed_counts_for_nothing() -> None:
    """As a reader that ends between two records sees it."""
    topic = Topic()
    topic.apply(segment())
    before = topic.in_force
    topic.apply(segment(when={"event": "x"}))

    assert read(topic.records[:-1]).in_force == before
    assert read(topic.records[:-1]).in_force.segments[0].body["when"] == WHEN


def test_compaction_changes_nothing_about_what_is_in_force() -> None:
    """The newest record of each key is kept, in its place."""
    topic = Topic()
    for n in range(5):
        topic.apply(segment(when={"event": f"x{n}"}, name="Before"))
        topic.apply(segment(when={"event": f"x{n}"}, name="After"))
    last = {key: at for at, (key, _) in enumerate(topic.records)}
    compacted = [record for at, record in enumerate(topic.records) if last[record[0]] == at]

    assert len(compacted) < len(topic.records)
    assert read(compacted).in_force == topic.in_force


def test_an_older_revision_behind_a_newer_one_is_not_gone_back_to() -> None:
    """Whoever wrote it."""
    topic = Topic()
    topic.apply(segment())
    first = topic.records[-1]
    topic.apply(segment(when={"event": "x"}))

    assert read([*topic.records, first]).in_force == topic.in_force


def test_the_hash_is_of_what_is_in_force_and_not_of_how_it_came() -> None:
    """Two prefixes with the same definitions can be compared."""
    one, other = Topic(), Topic()
    one.apply({**segment(), RULE: {"id": "hook"}})
    other.apply({RULE: {"id": "hook"}})
    other.apply(segment())

    assert read(one.records).history[-1].hash == read(other.records).history[-1].hash


@pytest.mark.parametrize("value", [b"", b"{}", b"[1]", b"\xff", b'{"kind": "segment", "id": "x", "version": 0}'])
def test_a_record_that_is_none_of_ours_is_said_and_not_passed_over(value: bytes) -> None:
    """A worker doesn't start on definitions that it can't read."""
    for key in (b"segment/x/1", b"revision//1", b"\xff"):
        with pytest.raises(DefinitionsUnreadable, match="expected a definition or a revision"):
            Revisions().add(key, value)


def test_a_revision_of_a_version_that_is_not_there_is_said() -> None:
    """Somebody deleted records."""
    topic = Topic()
    topic.apply(segment())

    with pytest.raises(DefinitionsUnreadable, match="expected version 1 of segment 'big' before it"):
        _ = read(topic.records[1:]).in_force


def test_a_tombstone_changes_nothing() -> None:
    """Definitions are removed by revisions."""
    topic = Topic()
    topic.apply(segment())

    assert read([*topic.records, (definition_key("segment", "big", 1), None)]).in_force == topic.in_force  # type: ignore[list-item]


def test_bodies_come_back_as_they_were_written() -> None:
    """Large numbers, small ones, and text of any kind."""
    body = {"id": "big", "when": {"trait": "a", "in": [2**80, 0.1, 1e300, "\U0001f30a", True]}}
    topic = Topic()
    topic.apply({SEGMENT: body})

    assert topic.in_force.segments[0].body == body
    record = msgspec.json.decode(topic.records[0][1], type=DefinitionRecord)
    assert record.body == body


def test_an_apply_of_thousands_looks_at_each_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at all of them for each."""
    bodies: dict[Name, dict[str, Any]] = {("segment", f"s{n}"): {"id": f"s{n}", "when": WHEN} for n in range(2_000)}
    topic = Topic()
    topic.apply(bodies)
    in_force = topic.in_force
    compared = 0
    same = streams.revisions._same

    def count(one: Any, other: Any) -> bool:
        nonlocal compared
        compared += 1
        return same(one, other)

    monkeypatch.setattr("streams.revisions._same", count)

    assert revise(in_force, bodies, (), 5) is None
    assert compared == len(bodies)
    assert in_force.records is in_force.records


def test_revised_lists_each_definition_once() -> None:
    """Unchanged ones among them, so that the command line can say so."""
    topic = Topic()
    topic.apply(segment())
    revised = revise(topic.in_force, {**segment(), RULE: {"id": "hook"}}, (), 5)

    assert isinstance(revised, Revised)
    assert [(change.id, change.what) for change in revised.changes] == [("big", "unchanged"), ("hook", "new")]
    assert [record.id for record in revised.records] == ["hook"]


@pytest.mark.parametrize(("changed", "since_ms"), [({"template": "other"}, 1), ({"on": {"segment": "small"}}, 2)])
def test_a_rule_that_listens_as_before_goes_on_from_where_it_was(changed: dict[str, Any], since_ms: int) -> None:
    """A mended text must not swallow what fell due in the seconds before it; another segment's past is none of it."""
    topic = Topic()
    rule = {"id": "hook", "on": {"segment": "big"}, "channel": "email", "template": "one"}
    topic.apply({RULE: rule})

    assert topic.apply({RULE: {**rule, **changed}}) == [("hook", 2, "changed")]
    assert topic.in_force.since_ms[RULE] == since_ms


SEQUENCE: Name = ("sequence", "welcome")


@pytest.mark.parametrize(
    ("changed", "said", "since_ms"),
    [
        ({"name": "First week", "tags": ["a"], "description": "b", "owner": "c"}, (1, "updated"), 1),
        ({"steps": [{"wait": "2d"}]}, (2, "changed"), 1),
        ({"existing": True}, (2, "changed"), 1),
        ({"on": {"segment": "small"}}, (2, "changed"), 2),
    ],
)
def test_a_sequence_is_another_one_when_anything_but_prose_differs(
    changed: dict[str, Any], said: tuple[int, str], since_ms: int
) -> None:
    """What is under way goes on in its version; and who enters while it is applied is led by one or the other."""
    topic = Topic()
    body = {"id": "welcome", "on": {"segment": "big"}, "steps": [{"wait": "1d"}]}
    topic.apply({SEQUENCE: body})

    assert topic.apply({SEQUENCE: body | changed}) == [("welcome", *said)]
    assert topic.in_force.since_ms[SEQUENCE] == since_ms
    assert [record.body for record in topic.in_force.sequences] == [body | changed]


def test_a_revision_says_who_applied_it_and_why_and_what_it_wrote_anew() -> None:
    """The version in force doesn't tell that its body is another one."""
    topic = Topic()
    topic.apply(segment())
    revised = revise(topic.in_force, segment(name="Big"), (), 5, author="ada", note="a better name")
    assert revised is not None
    last = read([*topic.records, *messages(revised)]).history[-1]

    assert (last.author, last.note, last.updated) == ("ada", "a better name", ["segment/big"])


def test_revisions_of_earlier_releases_are_read() -> None:
    """They say neither who nor why."""
    value = b'{"number":1,"applied_at_ms":5,"definitions":[],"hash":"0"}'

    assert read([(b"revision//1", value)]).history == [
        RevisionRecord(number=1, applied_at_ms=5, definitions=[], hash="0", author="", note="", updated=[])
    ]


def test_a_definition_larger_than_a_record_is_refused_with_its_name() -> None:
    """Kafka would refuse it, in other words; what compresses well is taken."""
    large = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(40_000)]
    bodies: dict[Name, dict[str, Any]] = {
        SEGMENT: {"id": "big", "when": {"trait": "a", "in": large}},
        ("segment", "long"): {"id": "long", "when": {"trait": "a", "in": ["same"] * 400_000}},
    }
    revised = revise(InForce(), bodies, (), 1)
    assert revised is not None

    with pytest.raises(DefinitionsRefused) as refused:
        messages(revised)
    assert [line.split(":")[0] for line in refused.value.lines] == ["segment 'big'", "nothing was applied"]


def test_more_definitions_than_a_revision_can_list_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are one record."""
    monkeypatch.setattr("streams.revisions.RECORD_BYTES_MAX", 1_000)
    revised = revise(InForce(), {("rule", f"r-{n * n}"): {"id": f"r-{n * n}"} for n in range(500)}, (), 1)
    assert revised is not None

    with pytest.raises(DefinitionsRefused, match="once compressed, got 500: remove some first"):
        messages(revised)


SCORE: Name = ("score", "lead")
RULES = [{"event": "Order Completed", "points": 5}]


def scored(**more: Any) -> dict[Name, dict[str, Any]]:
    return {SCORE: {"id": "lead", "rules": RULES, **more}}


def test_a_score_that_differs_makes_another_of_each_segment_that_reads_it() -> None:
    """Their answers differ as if they had been edited themselves (language page, section 9); no other's do."""
    topic = Topic()
    reads = {"all": [{"event": "x"}, {"not": {"held": {"score": "lead", "gte": 8}, "for": "1d"}}]}
    mentions = {"event": "x", "where": {"score": "lead"}}
    other: Name = ("segment", "other")
    topic.apply({**segment(when=reads), other: {"id": "other", "when": mentions}, **scored()})

    assert topic.apply(scored()) == []
    assert topic.apply(scored(max=10)) == [("lead", 2, "changed"), ("big", 2, "changed")]
    assert topic.in_force.since_ms[SEGMENT] == topic.now_ms
    assert topic.in_force.records[other].version == 1


def test_a_segment_that_stops_reading_a_score_as_that_changes_is_one_version_further() -> None:
    """And not two."""
    topic = Topic()
    topic.apply({**segment(when={"score": "lead", "gte": 8}), **scored()})

    assert topic.apply({**segment(), **scored(min=0)}) == [("big", 2, "changed"), ("lead", 2, "changed")]


def test_a_segment_that_is_removed_as_its_score_changes_is_gone() -> None:
    """It gets no version any more."""
    topic = Topic()
    topic.apply({**segment(when={"score": "lead", "gte": 8}), **scored()})

    assert topic.apply(scored(min=0), (SEGMENT,)) == [("lead", 2, "changed"), ("big", 1, "removed")]


def test_a_worker_starts_whatever_an_earlier_version_of_a_sequence_says_that_it_can_not_take() -> None:
    """What is refused today was applied by the code of last year; who is in that version ends."""
    topic = Topic()
    step: Any = {"wait": "1d"}
    for steps in ([step, step], [step]):
        body = {"id": "welcome", "on": {"segment": "big"}, "steps": steps}
        topic.apply({**segment(), ("sequence", "welcome"): body})
    first, *_ = [at for at, (key, _) in enumerate(topic.records) if key.endswith(b"welcome/1")]
    key, value = topic.records[first]
    topic.records[first] = key, value.replace(b'"1d"', b'"999d"')
    plan = compile_plan(topic.in_force, load_settings({}))

    assert isinstance(plan.program, Program) and isinstance(plan.program.follower, Machine)
    assert sorted(plan.program.follower.kept) == [("welcome", 2)]
