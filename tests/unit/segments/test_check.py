"""Bad definitions: each error names segment, path, what was expected and what was found; all of a file at once."""

import pathlib

import pytest
import yaml

from segments import DefinitionErrors, load

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
