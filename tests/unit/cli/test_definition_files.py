"""Files of segments, rules, policies and sequences, checked together and against what is in force."""

from pathlib import Path

import pytest

from streams.definition_files import Checked, File, check_files, check_removal, check_topics, find, open_files
from streams.errors import DefinitionsRefused, InputError
from streams.revisions import InForce, Revisions, messages, revise

BASE = File("base.yaml", "segments: [{id: big, when: {event: Order Completed}}]")
ON_TOP = File("top.yaml", "segments: [{id: bigger, when: {segment: big}}]")
RULE = File(
    "rules.yaml",
    "rules: [{id: hook, on: {segment: big}, channel: webhook, target: 'http://127.0.0.1:1/', secret: X}]",
)


def _check(*files: File, in_force: InForce | None = None) -> Checked:
    return check_files(files, in_force or InForce(), Path("templates"))


def _refused(*files: File, in_force: InForce | None = None) -> list[str]:
    with pytest.raises(DefinitionsRefused) as refused:
        _check(*files, in_force=in_force)
    return list(refused.value.lines)


def _applied(*files: File) -> InForce:
    revised = revise(InForce(), _check(*files).bodies, (), 1)
    assert revised is not None
    revisions = Revisions()
    for key, value in messages(revised):
        revisions.add(key, value)
    return revisions.in_force


def test_segments_and_rules_may_refer_to_another_file() -> None:
    """In whatever order they are named."""
    checked = _check(RULE, ON_TOP, BASE)

    assert set(checked.bodies) == {("segment", "big"), ("segment", "bigger"), ("rule", "hook")}


def test_segments_and_rules_may_refer_to_what_is_in_force() -> None:
    """And only what the files hold is put in force."""
    assert set(_check(ON_TOP, in_force=_applied(BASE)).bodies) == {("segment", "bigger")}
    assert set(_check(RULE, in_force=_applied(BASE)).bodies) == {("rule", "hook")}


def test_what_refers_to_nothing_is_refused() -> None:
    """A rule for a segment that is not there would never act."""
    assert "expected the id of a segment in `segment`, got 'big'" in _refused(ON_TOP)[0]
    assert "rule 'hook': expected a segment in force, got 'big'" in _refused(RULE)[0]


def test_a_membership_that_is_many_a_contact_is_no_trait() -> None:
    """Who leaves for one value of `per` may be in for another; a rule without `identify` may tell of each."""
    per = File("per.yaml", "segments: [{id: big, per: product, when: {event: Order Completed}}]")
    rule = "{{id: cdp, on: {{segment: big}}, channel: segment, target: 'https://cdp.example', secret: X, identify: {}}}"
    asking, telling = (File("rules.yaml", f"rules: [{rule.format(identify)}]") for identify in ("true", "false"))

    assert _refused(per, asking) == [
        "rules.yaml: rule 'cdp': expected no `identify` for a segment with `per`, got one for 'big'; its memberships are"
        " many a contact - at $.identify"
    ]
    assert ("rule", "cdp") in _check(per, telling).bodies
    assert ("rule", "cdp") in _check(BASE, asking).bodies


def test_a_cycle_over_two_files_is_refused() -> None:
    """Neither has one by itself."""
    back = File("back.yaml", "segments: [{id: big, when: {segment: bigger}}]")

    assert any("no circle of segments" in line for line in _refused(back, in_force=_applied(BASE, ON_TOP)))


def test_errors_of_all_files_are_listed_with_the_file() -> None:
    """All at once, each on a line."""
    bad = File("bad.yaml", "segments: [{id: x, when: {evnt: a}}]\nrules: [{id: q, on: {segment: x}}]")
    broken = File("broken.yaml", "segments: [")
    lines = _refused(BASE, bad, broken)

    assert any(line.startswith("bad.yaml: segment 'x': ") for line in lines)
    assert any(line.startswith("bad.yaml: rule 'q': ") for line in lines)
    assert any(line.startswith("broken.yaml: expected YAML") for line in lines)


def test_an_error_without_an_id_is_placed_in_its_own_file() -> None:
    """Not in a list of all files together, which nobody has written."""
    bad = File("bad.yaml", "segments: [{id: fine, when: everyone}, {id: not fine, when: everyone}]")
    lines = _refused(BASE, ON_TOP, bad)

    assert any(
        line.startswith("bad.yaml: expected an id") and line.endswith(" - at $.segments[1].id") for line in lines
    )


def test_a_file_named_twice_is_refused_as_that(tmp_path: Path) -> None:
    """Rather than by each id in it."""
    (tmp_path / "a.yaml").write_text(BASE.text)
    path = str(tmp_path / "a.yaml")

    with pytest.raises(InputError, match=r"a\.yaml: expected each file once, got it again"):
        open_files([path, path])


def test_with_one_file_errors_begin_with_the_segment() -> None:
    """As the language page has them."""
    (line,) = _refused(File("bad.yaml", "segments: [{id: x, when: {event: a, count: {gte: ten}}}]"))

    assert line == "segment 'x': expected a number, got 'ten' - at $.when.count.gte"


def test_one_id_in_two_files_is_refused() -> None:
    """The last one doesn't win."""
    again = File("again.yaml", BASE.text)
    lines = _refused(BASE, again)

    assert any("'big'" in line and "base.yaml" in line for line in lines)


def test_a_segment_and_a_rule_may_have_the_same_id() -> None:
    """They are told apart by kind."""
    rule = File("rules.yaml", RULE.text.replace("id: hook", "id: big"))

    in_force = _applied(BASE, rule)
    assert find(in_force, ["segment/big"]) == [("segment", "big")]
    with pytest.raises(InputError, match="say segment/big or rule/big"):
        find(in_force, ["big"])


def test_what_is_not_in_force_cannot_be_named() -> None:
    """All of them are said."""
    with pytest.raises(InputError) as error:
        find(_applied(BASE), ["big", "small", "rule/big"])
    assert len(error.value.lines) == 2


def test_removing_what_others_refer_to_is_refused_naming_them() -> None:
    """Unless they go with it."""
    in_force = _applied(BASE, ON_TOP, RULE)
    with pytest.raises(DefinitionsRefused) as refused:
        check_removal(in_force, [("segment", "big")])

    assert "'bigger'" in str(refused.value) and "'hook'" in str(refused.value)
    check_removal(in_force, [("segment", "big"), ("segment", "bigger"), ("rule", "hook")])
    check_removal(in_force, [("rule", "hook"), ("segment", "bigger")])


def test_all_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """A directory, bytes that are no text, and nothing at all."""
    (tmp_path / "bytes.yaml").write_bytes(b"\xff")
    with pytest.raises(InputError) as refused:
        open_files([str(tmp_path), str(tmp_path / "bytes.yaml"), str(tmp_path / "none.yaml")])

    directory, text, none = refused.value.lines
    assert directory.endswith("expected a file of definitions: Is a directory")
    assert text.endswith("expected text in UTF-8, got byte 0 that is none")
    assert none.endswith("expected a file of definitions: No such file or directory")


def test_a_file_without_an_end_is_not_read_to_its_end() -> None:
    """A device, for one."""
    with pytest.raises(InputError, match=r"^/dev/zero: expected a file of at most 10485760 characters, got more$"):
        open_files(["/dev/zero"])


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    """Some editors write one."""
    (tmp_path / "s.yaml").write_bytes(b"\xef\xbb\xbf" + BASE.text.encode())

    assert _check(*open_files([str(tmp_path / "s.yaml")])).bodies


def test_a_file_with_rules_alone_needs_no_segments() -> None:
    """They may be kept apart."""
    assert set(_check(RULE, in_force=_applied(BASE)).bodies) == {("rule", "hook")}


SCORE = File("scores.yaml", "scores: [{id: lead, rules: [{event: Order Completed, points: 5}]}]")
READS = File("hot.yaml", "segments: [{id: hot, when: {score: lead, gte: 80}}]")


def test_a_score_may_stand_in_another_file_or_be_in_force() -> None:
    """As a segment may."""
    assert set(_check(READS, SCORE).bodies) == {("segment", "hot"), ("score", "lead")}
    assert set(_check(READS, in_force=_applied(SCORE)).bodies) == {("segment", "hot")}
    assert {score.id for score in _check(READS, in_force=_applied(SCORE)).definitions.scores} == {"lead"}


def test_a_score_that_is_nowhere_is_told_with_the_file() -> None:
    """And so is what is wrong in one that is there."""
    bad = File("bad.yaml", "scores: [{id: lead, rules: [{event: X}]}, {id: no good, rules: []}]")

    assert _refused(READS)[0].startswith("segment 'hot': expected the id of a score in `score`, got 'lead'")
    lines = _refused(READS, bad)
    assert lines[0] == "bad.yaml: score 'lead': expected a number, got none - at $.rules[0].points"
    assert lines[1].startswith("bad.yaml: expected an id") and lines[1].endswith(" - at $.scores[1].id")


def test_a_score_in_two_files_is_refused_and_one_with_a_segments_id_is_not() -> None:
    """They are told apart by kind."""
    again = File("again.yaml", SCORE.text)
    assert any("score 'lead'" in line and "scores.yaml" in line for line in _refused(SCORE, again))

    same = File("same.yaml", "segments: [{id: lead, when: {score: lead, gte: 80}}]")
    assert set(_check(same, SCORE).bodies) == {("segment", "lead"), ("score", "lead")}


def test_removing_a_score_that_is_read_is_refused() -> None:
    """Unless its readers go with it."""
    in_force = _applied(SCORE, READS)
    with pytest.raises(DefinitionsRefused) as refused:
        check_removal(in_force, [("score", "lead")])

    assert "'hot'" in str(refused.value)
    check_removal(in_force, [("score", "lead"), ("segment", "hot")])


def test_an_empty_list_is_refused_where_nothing_else_says_that_it_is_meant() -> None:
    """A file that came out empty is a mistake of whatever wrote it."""
    lines = _refused(File("none.yaml", "segments: []\nscores: []"), BASE)

    assert ["at least one score", "at least one segment"] == [
        line.split(", ")[0].split("expected ")[1] for line in lines
    ]


SIGNED_UP = File("signed-up.yaml", "segments: [{id: signed-up, when: {event: Signed Up}}]")
PAYING = File("paying.yaml", "segments: [{id: paying, when: {trait: plan, eq: pro}}]")
WELCOME = File(
    "welcome.yaml",
    "sequences: [{id: welcome, on: {segment: signed-up}, goal: {segment: paying}, while: {not: {segment: paying}},"
    " steps: [{wait: 1d}]}]",
)


def test_sequences_are_applied_beside_what_they_name() -> None:
    """In other files, or in force; what they ask in place is among the definitions, and no body of its own."""
    checked = _check(WELCOME, SIGNED_UP, PAYING)
    later = _check(WELCOME, in_force=_applied(SIGNED_UP, PAYING))

    assert set(checked.bodies) == {("segment", "signed-up"), ("segment", "paying"), ("sequence", "welcome")}
    assert set(later.bodies) == {("sequence", "welcome")}
    for each in (checked, later):
        assert {segment.id for segment in each.definitions.segments} == {
            "signed-up",
            "paying",
            *each.sequences[0].lifted,
        }


def test_what_a_sequence_names_has_to_be_there() -> None:
    """Named or in place, and told at its place in the sequence."""
    lines = _refused(WELCOME, SIGNED_UP)

    assert lines == [
        "welcome.yaml: sequence 'welcome': expected the id of a segment in `segment`, got 'paying', which is not defined"
        " - at $.while.not.segment",
        "welcome.yaml: sequence 'welcome': expected a segment in force, got 'paying' - at $.goal.segment",
    ]


def test_an_error_in_a_condition_in_place_is_told_where_it_stands() -> None:
    """Its author knows nothing of the segment that it becomes."""
    bad = File("bad.yaml", WELCOME.text.replace("{not: {segment: paying}}", "{any: [{trait: plan, equals: pro}]}"))
    lines = _refused(bad, SIGNED_UP, PAYING)

    assert len(lines) == 1
    assert lines[0].startswith("bad.yaml: sequence 'welcome': expected a known key, got 'equals'")
    assert lines[0].endswith(" - at $.while.any[0].equals")


def test_conditions_are_checked_in_a_sequence_that_is_wrong_elsewhere() -> None:
    """One error at a time costs the author an afternoon."""
    text = WELCOME.text.replace("{not: {segment: paying}}", "{trait: plan, equals: pro}").replace("1d", "soon")
    lines = _refused(File("bad.yaml", text), SIGNED_UP, PAYING)

    assert [line.rpartition(" - at ")[2] for line in lines] == ["$.steps[0].wait", "$.while.equals"]


def test_a_segment_of_a_sequence_cannot_be_removed_without_it() -> None:
    """Be it named, or asked for in a condition in place."""
    in_force = _applied(WELCOME, SIGNED_UP, PAYING)
    with pytest.raises(DefinitionsRefused) as refused:
        check_removal(in_force, [("segment", "paying")])

    assert "$.goal.segment" in str(refused.value) and "$.while.not.segment" in str(refused.value)
    assert "sequence 'welcome'" in str(refused.value)
    check_removal(in_force, [("segment", "paying"), ("sequence", "welcome")])
    check_removal(in_force, [("sequence", "welcome")])


def test_a_segment_in_force_cannot_become_what_makes_a_sequence_go_round() -> None:
    """Though the file says nothing of the sequence."""
    led = File("led.yaml", "segments: [{id: signed-up, when: {event: Sequence Entered}}]")
    (line,) = _refused(led, in_force=_applied(WELCOME, SIGNED_UP, PAYING))

    assert line.startswith(
        "sequence 'welcome': expected no condition on events of its own, got one in segment 'signed-up'"
    )


def test_a_sequence_of_a_file_takes_the_place_of_that_in_force() -> None:
    """Which is checked no more."""
    other = File("other.yaml", "sequences: [{id: welcome, on: {segment: signed-up}, steps: []}]")
    checked = _check(other, in_force=_applied(WELCOME, SIGNED_UP, PAYING))

    assert [sequence.goal for sequence in checked.sequences] == [None]


def test_an_error_of_rules_hides_none_of_sequences() -> None:
    """Both are read by themselves."""
    bad = File("bad.yaml", "rules: [5]\nsequences: [6]")

    assert [line.rpartition(" - at ")[2] for line in _refused(bad)] == ["$.rules[0]", "$.sequences[0]"]


def test_one_id_of_a_sequence_in_two_files_is_refused() -> None:
    again = File("again.yaml", WELCOME.text)

    assert any("sequence 'welcome': expected an id of its own" in line for line in _refused(WELCOME, again, SIGNED_UP))


POLICY = File("policy.yaml", "policies: [{id: default, caps: [{channel: email, at_most: 3, within: 7d}]}]")


def test_a_policy_is_applied_and_taken_out_like_a_rule() -> None:
    """It names nothing and nothing names it; a change of it is another version, of its prose it isn't."""
    in_force = _applied(BASE, RULE, POLICY)
    assert [record.body["caps"][0]["at_most"] for record in in_force.policies] == [3]
    changed = _check(File("p.yaml", POLICY.text.replace("at_most: 3", "at_most: 4")), in_force=in_force)
    revised = revise(in_force, changed.bodies, (), 2)
    named = _check(File("p.yaml", POLICY.text.replace("id: default", "id: default, name: Mail")), in_force=in_force)
    renamed = revise(in_force, named.bodies, (), 2)

    assert revised is not None and [(each.what, each.version) for each in revised.changes] == [("changed", 2)]
    assert renamed is not None and [(each.what, each.version) for each in renamed.changes] == [("updated", 1)]
    assert find(in_force, ["default"]) == [("policy", "default")]
    check_removal(in_force, [("policy", "default")])


def test_an_error_of_policies_is_told_with_those_of_rules_and_its_id_is_its_own() -> None:
    bad = File("bad.yaml", "rules: [5]\npolicies: [{id: p, caps: [{at_most: 0, within: 31d}]}]")

    assert [line.rpartition(" - at ")[2] for line in _refused(bad)] == [
        "$.rules[0]",
        "$.caps[0].at_most",
        "$.caps[0].within",
    ]
    again = File("again.yaml", POLICY.text)
    assert any("policy 'default': expected an id of its own" in line for line in _refused(POLICY, again))


TOPIC = """
rules:
  - {id: hook, on: {segment: big}, channel: kafka, target: shop.events.product}
sequences:
  - id: led
    on: {segment: big}
    steps:
      - set: {traits: {channel: kafka, target: shop.state}}
      - branch: {if: {segment: big}, then: [{send: {channel: kafka, target: shop.transitions}}]}
"""


def test_a_message_to_a_topic_of_ours_is_refused_where_the_prefix_is_known() -> None:
    """An event that a rule writes by itself could bring the rule about again, for ever."""
    bodies = _check(BASE, File("topics.yaml", TOPIC)).bodies
    check_topics(bodies, "tidegate.")
    with pytest.raises(DefinitionsRefused) as refused:
        check_topics(bodies, "shop.")

    assert [line.partition(", which")[0] for line in refused.value.lines] == [
        "rule 'hook': expected a topic of yours, got 'shop.events.product'",
        "sequence 'led': expected a topic of yours, got 'shop.transitions'",
    ]


def test_without_a_prefix_our_topics_are_known_by_their_names() -> None:
    bodies = _check(BASE, File("topics.yaml", TOPIC.replace("shop.", ""))).bodies
    with pytest.raises(DefinitionsRefused, match=r"got 'events\.product'"):
        check_topics(bodies, "")
    check_topics(_check(BASE, File("topics.yaml", TOPIC)).bodies, "")
