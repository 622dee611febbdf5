"""Bad definitions: each error names segment, path, what was expected and what was found; all of a file at once."""

import pathlib
import random
from typing import Any

import hypothesis.strategies as st
import jsonschema
import pytest
import yaml
from hypothesis import example, given, settings

from schemas.definition_file import definition_file
from segments import DefinitionErrors, Limits, load, load_data
from segments.check_conditions import HEADS
from segments.check_measures import MEASURES
from segments.check_tests import TRAIT_OPERATORS
from segments.check_times import WORDS
from segments.conditions import walk
from segments.read import read_text
from segments.report import ERRORS_MAX, Report
from segments.warn import warnings

SCHEMA = jsonschema.Draft202012Validator(definition_file())
EVERYTHING = (pathlib.Path(__file__).parent / "everything.yaml").read_text()
GOLDEN = yaml.safe_load((pathlib.Path(__file__).parent / "bad_definitions.yaml").read_text())


def errors_of(text: str) -> list[str]:
    with pytest.raises(DefinitionErrors) as caught:
        load(text, "file")
    return caught.value.errors


@pytest.mark.parametrize("case", GOLDEN, ids=[case["name"] for case in GOLDEN])
def test_a_bad_definition_is_told_what_is_wrong(case: dict[str, object]) -> None:
    """An author who can't see what is wrong asks us instead."""
    text = case["file"] if "file" in case else f"segments: [{{id: s, when: {case['when']}}}]"

    assert case["errors"] == errors_of(str(text))


def test_no_definition_of_a_file_with_an_error_is_loaded() -> None:
    """Half a file in force is what nobody asked for."""
    text = "segments: [{id: good, when: {everyone: true}}, {id: bad, when: {event: ''}}]"

    assert len(errors_of(text)) == 1


def test_what_is_wrong_in_several_places_is_said_of_each() -> None:
    """One error at a time costs the author an afternoon."""
    text = """
    segments:
      - {id: a, when: {event: X, count: ten}}
      - {id: b, when: {all: []}, hold: {enter: soon}}
    """

    assert len(errors_of(text)) == 3


def test_yaml_has_no_dates_no_yes_and_no_base_60() -> None:
    """YAML 1.1's guesses have put Norway (`NO`) and 12:30 into databases as false and 750."""
    text = "segments: [{id: s, when: {trait: t, in: [NO, yes, 2026-01-01, 12:30, 0o17, 1e3]}}]"
    (segment,) = load(text).segments

    assert segment.body["when"]["in"] == ["NO", "yes", "2026-01-01", "12:30", 15, 1000.0]


def test_json_is_accepted_as_yaml_is() -> None:
    """Surrogate pairs are what a YAML reader makes of JSON's emoji if one lets it."""
    (segment,) = load('{"segments": [{"id": "s", "when": {"trait": "t", "eq": "\\ud83d\\ude00"}}]}').segments

    assert segment.body["when"]["eq"] == "\U0001f600"


def test_aliases_that_explode_are_refused_before_they_are_walked() -> None:
    """Nine lines of YAML can mean ten to the ninth nodes."""
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    assert "aliases counted each time" in errors_of("\n".join(rows))[0]


def test_a_document_of_too_many_values_is_refused_before_it_is_composed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is composed of ten megabytes takes two gigabytes."""
    monkeypatch.setattr(yaml, "load", lambda *_, **__: pytest.fail("it was composed"))

    (error,) = errors_of("[" + "x," * 1_000_001 + "]")
    assert error == "file: expected at most 1000000 values, aliases counted each time, got more"


@pytest.mark.parametrize("text", ["segments: " + "[" * 100_000, '{"segments": ' + "[" * 100_000, "- " * 50_000])
def test_a_document_nested_without_end_is_an_error_not_a_crash(text: str) -> None:
    """What composes YAML recurses in C: the process would be gone without a word."""
    (error,) = errors_of(text)

    assert "levels of nesting" in error or "expected YAML" in error


def test_half_a_surrogate_pair_is_no_text() -> None:
    """It would be found by whoever encodes it, far from its author."""
    (error,) = errors_of('{"segments": [{"id": "s", "when": {"trait": "t", "eq": "\\ud800"}}]}')

    assert "surrogate" in error


def test_a_reference_to_nobody_is_said_beside_other_errors() -> None:
    """All errors at once: those of another segment hide none."""
    text = "segments: [{id: a, when: {segment: nobody}}, {id: b, when: {event: ''}}, {id: c, when: {segment: b}}]"

    assert [line.split(":")[0] for line in errors_of(text)] == ["segment 'b'", "segment 'a'"]


LIFTED = {"id": "~0123456789abcdef", "when": {"segment": "a"}, "tz": "UTC"}


def test_lifted_conditions_are_checked_as_segments_are() -> None:
    """They are what sequences ask; what they name has to be there, and nobody else can name them."""
    data = {"segments": [{"id": "a", "when": {"everyone": True}}]}
    naming = {"segments": [*data["segments"], {"id": "b", "when": {"segment": LIFTED["id"]}}]}

    assert [segment.id for segment in load_data(data, lifted=[LIFTED]).segments] == ["a", LIFTED["id"]]
    with pytest.raises(
        DefinitionErrors, match=r"^segment '~0123456789abcdef': expected the id of a segment in `segment`"
    ):
        load_data({"sequences": []}, lifted=[LIFTED])
    with pytest.raises(DefinitionErrors, match=r"^segment 'b': expected the id of a segment in `segment`"):
        load_data(naming, lifted=[LIFTED])
    with pytest.raises(DefinitionErrors, match="expected an id of 1 to 64 of a-z 0-9"):
        load_data({"segments": [LIFTED]})


def test_errors_without_end_end() -> None:
    """A file of ten megabytes of slips would say nothing that its first thousand lines don't."""
    lines = errors_of("segments: [{id: s, when: {any: [" + ", ".join(["{evnt: X}"] * 5_000) + "]}}]")
    assert len(lines) <= Limits().conditions + 1

    lines = errors_of("segments: [" + ", ".join(["{}"] * 5_000) + "]")
    assert len(lines) == ERRORS_MAX + 1
    assert lines[-1] == f"file: expected fewer than {ERRORS_MAX} errors, got more; the rest is not checked"


def test_a_key_without_end_is_shown_short_and_compared_with_nothing() -> None:
    """What is close is found in time that grows with the square of the length."""
    (error,) = errors_of(f"segments: [{{id: s, when: {{? {'x' * 100_000} : 1}}}}]")

    assert len(error) < 500


def test_what_is_close_is_looked_for_while_it_is_cheap() -> None:
    """Fifty thousand ids misspelled would take minutes to find what is close to each."""
    report = Report("file")
    known = [f"segment-{n}" for n in range(30_000)]

    hints = [report.close_to("segmnt-7", known) for _ in range(10)]
    assert [bool(hint) for hint in hints] == [True] * 3 + [False] * 7


def test_conditions_and_steps_are_counted_together() -> None:
    """256 of them are taken, one more isn't."""
    steps = [{"event": "X"}] * 254
    fits = {"any": [{"sequence": steps}]}
    load_data({"segments": [{"id": "s", "when": fits}]})

    with pytest.raises(DefinitionErrors) as caught:
        load_data({"segments": [{"id": "s", "when": {"any": [{"sequence": [*steps, {"event": "X"}]}]}}]})
    assert caught.value.errors == [
        "segment 's': expected at most 256 conditions and steps in a segment, got more - at $.when"
    ]


# ---- whatever is written --------------------------------------------------------------------------------------------

WORDS_OF_THE_LANGUAGE = [
    *(
        "segments",
        "scores",
        "rules",
        "id",
        "when",
        "tz",
        "hold",
        "enter",
        "leave",
        "per",
        "carry",
        "backfill",
        "silent",
    ),
    *HEADS,
    *MEASURES,
    *TRAIT_OPERATORS,
    *WORDS,
    *(
        "where",
        "within",
        "ago",
        "since",
        "until",
        "local_time",
        "weekdays",
        "by",
        "of",
        "absent",
        "completed",
        "started",
    ),
    *("every", "periods", "at_least", "times", "points", "expires", "lasting", "half_life", "min", "max", "for"),
    *("default", "percent", "salt", "last_days", "next_weeks", "days_ago", "prefix", "any_except", "ignore_case"),
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([10**400, -(10**400), 1e308, 2**63, 10_001])
    | st.text(max_size=8)
    | st.sampled_from(
        ["contact", "Europe/Paris", "30d", "0s", "2026-03-01", "9999-12-31", "0001-01-01", "mon", "24:00"]
    )
    | st.sampled_from(WORDS_OF_THE_LANGUAGE)
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(WORDS_OF_THE_LANGUAGE) | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=30,
)


def taken_or_refused(data: Any) -> bool:
    """Whether the data is taken; fails where it gives anything but definitions, with warnings, or a list of errors."""
    try:
        definitions = load_data(data)
    except DefinitionErrors as error:
        assert error.errors and all(line.count(" - at $") >= 1 for line in error.errors)
        return False
    for segment in definitions.segments:
        assert sum(1 for _ in walk(segment.when)) <= Limits().conditions
    warnings(definitions, events=())
    return True


@given(ANYTHING)
def test_any_data_at_all_gives_definitions_or_errors(data: Any) -> None:
    """Never another exception."""
    taken_or_refused(data)
    taken_or_refused({"segments": [data]})
    taken_or_refused({"segments": [{"id": "s", "when": data}]})
    taken_or_refused({"scores": [{"id": "s", "rules": [data]}]})


@given(st.text() | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
@example("segments: !!python/object/apply:os.system [exit]")
@example("segments: &a [*a]")
@example("? [a]\n: b")
@example("segments: !!binary x")
@example("segments: 2026-01-01T00:00:00Z\n---\nsegments: []")
@example('{"segments": 1e400000}')
def test_any_text_at_all_gives_definitions_or_errors(text: str) -> None:
    """As it comes from a file that was none."""
    try:
        load(text)
    except DefinitionErrors as error:
        assert error.errors


def mutated(data: Any, choose: random.Random) -> Any:
    """The data with one value at a random place replaced, or one key taken away or renamed."""
    if not isinstance(data, dict | list) or not data or choose.random() < 0.05:
        return choose.choice(
            [None, True, 0, -1, 1e400, "", "x", "30d", [], {}, [data], {"trait": data}, data, "contact"]
        )
    if isinstance(data, list):
        at = choose.randrange(len(data))
        return [mutated(item, choose) if n == at else item for n, item in enumerate(data)]
    at = choose.choice(list(data))
    kind = choose.random()
    if kind < 0.1:
        return {key: value for key, value in data.items() if key != at}
    if kind < 0.2:
        return {choose.choice(WORDS_OF_THE_LANGUAGE) if key == at else key: value for key, value in data.items()}
    return {key: mutated(value, choose) if key == at else value for key, value in data.items()}


@settings(max_examples=300)
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_a_slip_anywhere_in_a_good_file_gives_definitions_or_errors(seed: int, slips: int) -> None:
    """Deeper than anything made at random from nothing gets."""
    choose = random.Random(seed)
    data = read_text(EVERYTHING, "everything")
    for _ in range(slips):
        data = mutated(data, choose)
    if taken_or_refused(data) and "rules" not in data:
        assert SCHEMA.is_valid(data), "an editor would refuse what is taken"
