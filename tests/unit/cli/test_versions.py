"""The past of one definition, and how its versions differ."""

from typing import Any

import pytest

from streams.differences import ABSENT, Difference, differences
from streams.errors import InputError
from streams.revisions import Name, Revisions, messages, revise
from streams.versions import find_ever, history_of, since_ms, version

BIG: Name = ("segment", "big")
SMALL: Name = ("segment", "small")
Records = list[tuple[bytes, bytes]]


def applied(*bodies: dict[str, Any] | None, name: Name = BIG) -> Records:
    """The topic after applying each body in turn, None being a removal; the authors are their numbers."""
    records: Records = []
    for number, body in enumerate(bodies, 1):
        given: dict[Name, dict[str, Any]] = {name: {"id": name[1], **body}} if body is not None else {}
        removed = () if body is not None else (name,)
        revised = revise(read(records).in_force, given, removed, 10 * number, author=str(number))
        if revised is not None:
            records += messages(revised)
    return records


def read(records: Records) -> Revisions:
    revisions = Revisions()
    for key, value in records:
        revisions.add(key, value)
    return revisions


def said(revisions: Revisions, name: Name = BIG) -> list[tuple[str, int, str, bool]]:
    """Author, version, what, and whether what was written is still there."""
    return [
        (step.revision.author, step.version, step.what, step.record is not None) for step in history_of(revisions, name)
    ]


LIFE: list[dict[str, Any] | None] = [
    {"when": 1}, {"when": 2}, {"when": 2, "name": "Two"}, {"when": 2, "name": "2"}, None, {"when": 2},
]  # fmt: skip


def test_a_definition_s_life_is_told_with_who_did_it() -> None:
    """Other revisions are no part of it."""
    records = applied(*LIFE)
    revised = revise(read(records).in_force, {SMALL: {"id": "small", "when": 1}}, (), 99, author="other")
    assert revised is not None
    revisions = read([*records, *messages(revised)])

    assert said(revisions) == [
        ("1", 1, "new", True),
        ("2", 2, "changed", False),
        ("3", 2, "updated", False),
        ("4", 2, "updated", True),
        ("5", 2, "removed", False),
        ("6", 3, "new", True),
    ]
    assert said(revisions, SMALL) == [("other", 1, "new", True)]
    assert since_ms(revisions, BIG, 2) == 20
    assert version(revisions, BIG, 2).body["name"] == "2"


def test_compaction_changes_nothing_about_a_definition_s_life() -> None:
    """The newest record of each key is kept, in its place."""
    records = applied(*LIFE)
    last = {key: at for at, (key, _) in enumerate(records)}
    compacted = [record for at, record in enumerate(records) if last[record[0]] == at]

    assert len(compacted) < len(records)
    assert said(read(compacted)) == said(read(records))


def test_what_never_was_is_said_and_what_is_several_asks_which() -> None:
    """What was removed is found."""
    records = applied({"when": 1}, None)
    revised = revise(read(records).in_force, {("rule", "big"): {"id": "big"}}, (), 99)
    assert revised is not None
    revisions = read([*records, *messages(revised)])

    assert find_ever(read(records), "big") == BIG
    assert find_ever(revisions, "rule/big") == ("rule", "big")
    with pytest.raises(InputError, match="several: say rule/big or segment/big"):
        find_ever(revisions, "big")
    with pytest.raises(InputError, match="is or was in force, got 'nobody'"):
        find_ever(revisions, "nobody")
    with pytest.raises(InputError, match=r"expected a version of segment 'big' \(1\), got 2"):
        version(revisions, BIG, 2)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ({"a": 1}, {"a": True}, [("$.a", 1, True)]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, [("$.a.b[1]", 2, 3)]),
        ({"a": 1}, {"b": None}, [("$.a", 1, ABSENT), ("$.b", ABSENT, None)]),
        ([{"x": 1}, {"y": 1}], [{"z": 1}, {"x": 1}, {"y": 2}], [("$[0]", ABSENT, {"z": 1}), ("$[2].y", 1, 2)]),
        ([1, 2, 3], [3], [("$[0]", 1, ABSENT), ("$[1]", 2, ABSENT)]),
        ({"where": {"utm source": 1}}, {"where": {"utm source": 2}}, [('$.where["utm source"]', 1, 2)]),
        ({"a": [1]}, {"a": {"b": 1}}, [("$.a", [1], {"b": 1})]),
        ([0] * 1_001, [1] * 1_001, [("$", [0] * 1_001, [1] * 1_001)]),
    ],
)
def test_differences_have_the_path_of_what_differs(old: Any, new: Any, found: list[tuple[str, Any, Any]]) -> None:
    """As deep down as it can be told; what is put in at the front of a list is one difference."""
    assert [repr(each) for each in differences(old, new)] == [repr(Difference(*each)) for each in found]
