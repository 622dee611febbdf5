"""The language reference: every example in it comes out as the page says, and every word of the language has one."""

import contextlib
import dataclasses
import io
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from schemas.events import CONTACT_BYTES_MAX, EVENT_BYTES_MAX, EVENT_DEPTH_MAX, NAMED
from schemas.instants import DURATION_MS_MAX, format_instant, parse_instant
from schemas.transitions import CAUSES
from segments import (
    Limits,
    RejectedLine,
    check,
    check_conditions,
    check_measures,
    check_scores,
    check_sequences,
    load,
    read,
    simulate,
)
from segments.check_conditions import HEADS
from segments.check_events import MATCHING_KEYS, NAMES_MAX
from segments.check_measures import MEASURES
from segments.check_tests import NUMBER_OPERATORS, ORDER_OPERATORS, TRAIT_OPERATORS, WHERE_DEPTH_MAX
from segments.check_times import COUNTED_WORDS, SPAN_MAX, WEEKDAYS
from segments.check_times import WORDS as WORDS_FIXED
from segments.check_values import PATH_MAX, TEXT_MAX
from segments.read import read_text
from streams.settings import SETTINGS
from tests import oracle, oracle_input

PAGE = (Path(__file__).parents[3] / "segments" / "README.md").read_text()
BLOCKS = re.compile(r"```yaml\n(.*?)```\n\n```json\n(.*?)```\n\n```text\n(.*?)```", re.DOTALL)
ROW = re.compile(r"(\S+Z) +(\S+) +([^\s\[]+)(?:\[(.+?)\])? +(entered|left) +(\d+) +(\w+)(?: +(silent))?(?: +(\{.*\}))?")
JOINING = ("all", "any", "none")
Outcome = tuple[dict[Any, list[Any]], list[int]]
"""Transitions by contact, segment and key, as (seq, transition, at, cause), and the numbers of the rejected lines."""


class Example(NamedTuple):
    """Three blocks of the page, and the heading above them."""

    heading: str
    definitions: str
    lines: list[bytes]
    rows: list[re.Match[str]]
    rejected: list[int]
    until_ms: int | None


def read_example(match: re.Match[str]) -> Example:
    """The example in three blocks; each line of the third must be one that is understood."""
    heading = re.findall(r"^#+ (.+)$", PAGE[: match.start()], re.MULTILINE)[-1]
    rows, rejected, until_ms = [], [], None
    for line in match[3].splitlines():
        if line.startswith("until "):
            until_ms = parse_instant(line.removeprefix("until "), offset_required=True)
        elif found := re.fullmatch(r"line (\d+) rejected", line):
            rejected.append(int(found[1]))
        else:
            row = ROW.fullmatch(line)
            assert row, (
                f"expected 'INSTANT CONTACT SEGMENT[KEY] entered|left SEQ CAUSE' under {heading!r}, got {line!r}"
            )
            rows.append(row)
    return Example(heading, match[1], match[2].encode().splitlines(), rows, rejected, until_ms)


EXAMPLES = [read_example(match) for match in BLOCKS.finditer(PAGE)]


@pytest.fixture(params=EXAMPLES, ids=lambda example: example.heading)
def example(request: pytest.FixtureRequest) -> Example:
    found: Example = request.param
    return found


def stated(example: Example) -> Outcome:
    """What the page says comes out."""
    pairs = defaultdict(list)
    for row in example.rows:
        at, contact, segment, key, transition, seq, cause = row.groups()[:7]
        pairs[contact, segment, key].append((int(seq), transition, at, cause))
    return dict(pairs), example.rejected


def test_every_block_of_definitions_belongs_to_an_example() -> None:
    """A block that the pattern misses would be run by nobody."""
    assert len(EXAMPLES) == PAGE.count("```yaml\n") == PAGE.count("```json\n") >= 50
    assert all(example.rows for example in EXAMPLES)


def test_an_example_comes_out_of_the_core_as_the_page_says(example: Example) -> None:
    """What people learn from the page must be what happens, to the number, the millisecond and the cause."""
    pairs = defaultdict(list)
    rejected = []
    for one in simulate(load(example.definitions), example.lines, example.until_ms):
        if isinstance(one, RejectedLine):
            rejected.append(one.line)
        else:
            row = (one.seq, one.transition, format_instant(one.at_ms), one.cause)
            pairs[one.contact, one.segment, one.key].append(row)
    assert (dict(pairs), rejected) == stated(example)


def test_an_example_comes_out_of_the_oracle_as_the_page_says(example: Example) -> None:
    """What the core and the page have wrong alike is seen by an evaluator that shares nothing with the core."""
    # it takes definitions for right, so it isn't given the lines that must be rejected
    lines = [line for number, line in enumerate(example.lines, 1) if number not in example.rejected]
    transitions, rejected = oracle.simulate(oracle_input.load(example.definitions), lines, example.until_ms)
    pairs = defaultdict(list)
    for one in transitions:
        row = (one["seq"], one["transition"], one["at"], one["cause"])
        pairs[one["contact"], one["segment"], one.get("key")].append(row)
    assert (dict(pairs), rejected) == (stated(example)[0], [])


def test_transitions_carry_and_are_marked_as_the_page_says(example: Example) -> None:
    """`simulate` prints neither the traits nor the mark, so that they would go wrong unseen."""
    expected = sorted((row[1], row[2], row[3], bool(row[8]), row[9] and json.loads(row[9])) for row in example.rows)
    found = list(simulate(load(example.definitions), example.lines, example.until_ms))
    got = [one for one in found if not isinstance(one, RejectedLine)]
    assert (
        sorted((format_instant(one.at_ms), one.contact, one.segment, one.silent, one.traits) for one in got) == expected
    )


def test_the_python_example_prints_what_the_page_says() -> None:
    """Notebooks begin as copies of it."""
    ((code, expected),) = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue() == expected


# ---- every word of the language ----


class Words:
    """The words that the examples use: `under[kind, word]` are the headings below which it is used as that."""

    def __init__(self, examples: Iterable[Example]) -> None:
        self.under: dict[tuple[str, str], set[str]] = defaultdict(set)
        for example in examples:
            self._heading = example.heading
            self._file(read_text(example.definitions, "page"))
            for line in example.lines:
                if b'"definitions"' in line:
                    self._file(json.loads(line))

    def of(self, kind: str) -> set[str]:
        """All words of a kind."""
        return {word for found, word in self.under if found == kind}

    def headings(self, word: str) -> set[str]:
        """The headings below which the word is used, as whatever."""
        return {heading for (_, used), under in self.under.items() if used == word for heading in under}

    def _say(self, kind: str, words: Iterable[str]) -> None:
        for word in words:
            self.under[kind, word].add(self._heading)

    def _file(self, file: dict[str, Any]) -> None:
        for segment in file["segments"]:
            self._say("key of a segment", segment)
            if "when" in segment:
                self._condition(segment["when"])
        for score in file.get("scores", ()):
            self._say("key of a score", score)
            for rule in score["rules"]:
                self._say("key of a rule", rule)
                self._matching(rule)

    def _condition(self, condition: dict[str, Any]) -> None:
        (head,) = condition.keys() & set(HEADS)
        self._say("head", [head])
        self._say(f"key beside {head}", condition.keys() - {head})
        body = condition[head]
        for part in body if head in JOINING else [body] if head in ("not", "held") else []:
            self._condition(part)
        if head == "known":
            self._tests(body)
        elif head == "trait":
            self._tests({key: test for key, test in condition.items() if key not in ("trait", "tz")})
        elif head == "event":
            self._event(condition)
        elif head == "sequence":
            for step in body:
                self._say("key of a step", step)
                self._matching(step)

    def _event(self, condition: dict[str, Any]) -> None:
        self._matching(condition)
        self._calendar(condition.get("calendar", ()))
        if isinstance(condition["event"], dict):
            self._say("names", condition["event"])
        for measure in condition.keys() & set(MEASURES):
            asked = condition[measure]
            if measure in ("earliest", "latest"):
                self._where(asked)
            elif measure in ("first_at", "last_at"):
                self._tests(asked)
            else:
                self._say(f"key in {measure}", asked if isinstance(asked, dict) else ["eq"])

    def _matching(self, asked: dict[str, Any]) -> None:
        self._where(asked.get("where", {}))
        self._say("weekday", asked.get("weekdays", ()))

    def _where(self, where: dict[str, Any]) -> None:
        for path, test in where.items():
            if path in JOINING:
                self._say("joined where", [path])
                for part in test:
                    self._where(part)
            elif isinstance(test, dict):
                self._tests(test)

    def _tests(self, tests: dict[str, Any]) -> None:
        self._say("operator", tests)
        for operator, argument in tests.items():
            if operator in ("any_item", "no_item"):
                self._where(argument)
            elif operator in ("calendar", "anniversary"):
                self._calendar(argument)
            elif isinstance(argument, dict) and "trait" in argument:
                self._say("right side", argument)

    def _calendar(self, word: str | Iterable[str]) -> None:
        self._say("calendar word", [word] if isinstance(word, str) else word)


WORDS = Words(EXAMPLES)
# as the checker has them, so that a word that is added there must be added here
KNOWN: dict[str, Iterable[str]] = {
    "head": HEADS,
    "operator": (*TRAIT_OPERATORS, "ignore_case"),
    "key beside event": set(check_conditions._EVENT_KEYS) - {"event"},
    "key beside sequence": set(check_sequences._KEYS) - {"sequence"},
    "key beside score": ORDER_OPERATORS,
    "key beside subscribed": ["default"],
    "key beside held": ["for"],
    "key beside trait": ["tz", "ignore_case"],
    "key in count": NUMBER_OPERATORS,
    "key in regularly": check_measures._REGULARLY_KEYS,
    "calendar word": (*WORDS_FIXED, *COUNTED_WORDS),
    "weekday": WEEKDAYS,
    "names": ("prefix", "any_except"),
    "joined where": JOINING,
    "right side": ["trait"],
    "key of a step": ("event", "absent", "within", *MATCHING_KEYS),
    "key of a segment": check._SEGMENT_KEYS,
    "key of a score": check_scores._KEYS,
    "key of a rule": (*check_scores._EVENT_KEYS, "trait"),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_every_word_that_the_checker_knows_is_in_an_example(kind: str) -> None:
    """A construct without an example is one that nobody can look up, and that nobody has seen to do what it says."""
    assert set(KNOWN[kind]) - WORDS.of(kind) == set()


def test_every_cause_and_every_type_of_event_is_in_an_example() -> None:
    """They come out of events, which the checker knows nothing of."""
    types = {json.loads(line)["type"] for example in EXAMPLES for line in example.lines}
    assert types == {*NAMED, "track", "identify", "group", "alias", "list", "delete", "definitions"}
    assert {row[7] for example in EXAMPLES for row in example.rows} == set(CAUSES)


# ---- the page itself ----

HEADINGS = [(len(level), text) for level, text in re.findall(r"^(#+) (.+)$", PAGE, re.MULTILINE)]
TABLE_ROWS = re.findall(r"^\| (.+) \| .+ \| (\[.+\)) \|$", PAGE, re.MULTILINE)


def anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def below(name: str) -> set[str]:
    """The heading with that anchor, and those inside it."""
    at = next(at for at, (_, text) in enumerate(HEADINGS) if anchor(text) == name)
    inside = itertools.takewhile(lambda heading: heading[0] > HEADINGS[at][0], HEADINGS[at + 1 :])
    return {HEADINGS[at][1], *(text for _, text in inside)}


def test_every_link_within_the_page_leads_to_a_heading() -> None:
    """A renamed heading breaks links without a word."""
    anchors = [anchor(text) for _, text in HEADINGS]
    assert len(set(anchors)) == len(anchors)
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) - set(anchors) == set()


def test_the_contents_have_every_heading_in_order() -> None:
    """What isn't there isn't found."""
    contents = PAGE.partition("## Contents\n")[2].partition("\n## ")[0]
    listed = re.findall(r"\]\(#([^)]*)\)", contents)
    assert listed == [anchor(text) for level, text in HEADINGS if level > 1 and text != "Contents"]


@pytest.mark.parametrize("words, links", TABLE_ROWS)
def test_a_row_of_the_tables_leads_to_an_example_that_has_its_words(words: str, links: str) -> None:
    """Who looks a word up and follows its link must find it used there."""
    linked = set().union(*(below(name) for name in re.findall(r"\(#([^)]*)\)", links)))
    causes = {row[7] for example in EXAMPLES if example.heading in linked for row in example.rows}
    for word in re.findall(r"`\{?(\w+)", words):
        assert WORDS.headings(word) & linked or word in causes, f"{word!r} is in no example under {links}"


@pytest.mark.parametrize("kind", ["head", "operator", "key beside event", "key beside sequence", "calendar word"])
def test_every_word_that_the_checker_knows_is_in_a_table(kind: str) -> None:
    """The tables are what people look words up in."""
    listed = {word for words, _ in TABLE_ROWS for word in re.findall(r"`\{?(\w+)", words)}
    assert set(KNOWN[kind]) - listed == set()


LIMIT_ROWS = dict(re.findall(r"^\| (.+?) \| ([0-9].*?) \|(?: .+ \|)?$", PAGE.partition("## Limits\n")[2], re.MULTILINE))
FIGURES = {
    "levels of `where`": [WHERE_DEPTH_MAX],
    "names in a list": [NAMES_MAX],
    "threshold of": [check_measures.THRESHOLD_MAX],
    "`periods` ·": [check_measures.PERIODS_MAX],
    "`last_days`, ": [SPAN_MAX["day"]],
    "`last_weeks`, ": [SPAN_MAX["week"], SPAN_MAX["month"], SPAN_MAX["year"]],
    "a duration": [DURATION_MS_MAX // 86_400_000],
    "characters of a text": [TEXT_MAX, PATH_MAX],
    "a file: ": [read.BYTES_MAX, read.DEPTH_MAX, read.NODES_MAX],
    "its size": [EVENT_BYTES_MAX // 1024],
    "levels of nesting, the event": [EVENT_DEPTH_MAX],
    "a contact's id": [CONTACT_BYTES_MAX],
}


def figures(cell: str) -> list[int]:
    return [int(figure.replace(",", "")) for figure in re.findall(r"\d[\d,]*", cell)]


@pytest.mark.parametrize("limit", FIGURES)
def test_a_fixed_limit_is_what_the_page_says(limit: str) -> None:
    """A figure that is changed in the code alone makes the page wrong."""
    (cell,) = (cell for named, cell in LIMIT_ROWS.items() if named.startswith(limit))
    assert figures(cell) == FIGURES[limit]


@pytest.mark.parametrize("field", dataclasses.fields(Limits), ids=lambda field: str(field.name))
def test_a_limit_that_can_be_set_is_named_with_its_default(field: "dataclasses.Field[int]") -> None:
    """What can be set and isn't said is set by nobody."""
    assert f"`{field.name}`" in PAGE
    if not field.name.endswith("_ms"):
        variable = f"TIDEGATE_LIMIT_{field.name.upper()}"
        stated = [figures(cell) for named, cell in LIMIT_ROWS.items() if f"`{variable}`" in named]
        assert stated
        assert all(found == [field.default // (1024 if "BYTES" in variable else 1)] for found in stated)
        assert [setting.default for setting in SETTINGS if setting.variable == variable] == [str(field.default)]


def test_settings_are_named_as_they_are_and_with_their_defaults() -> None:
    """A variable that isn't one is refused at start; the page must not teach it."""
    defaults = {setting.variable: setting.default for setting in SETTINGS}
    stated = re.findall(r"`(TIDEGATE_\w+)`(?:[ \n]\(|,[ \n])(\d+)[ \n](m?s|h)\b", PAGE)
    assert {name for name, _, _ in stated} == {"TIDEGATE_GRACE", "TIDEGATE_SLACK", "TIDEGATE_DEDUP_HORIZON"}
    assert all(defaults[name] == number + unit for name, number, unit in stated)
    assert set(re.findall(r"TIDEGATE_[A-Z_]+", PAGE)) - defaults.keys() == set()
