"""The language reference: every example in it comes out as the page says, and every word of the language has one."""

import contextlib
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from schemas.instants import format_instant, parse_instant
from segments import RejectedLine, check_conditions, check_events, check_measures, check_scores, check_sequences, load
from segments import check as check_module
from segments import check_tests, check_times, simulate
from segments.check_tests import FOLDING_OPERATORS
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
            assert row, f"expected 'INSTANT CONTACT SEGMENT[KEY] entered|left SEQ CAUSE' under {heading!r}, got {line!r}"
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
    definitions = oracle_input.load(example.definitions)
    transitions, reasons = oracle.simulate(definitions, example.lines, example.until_ms)
    # it takes definitions for right, so a line of them with an error is beyond it
    if any(json.loads(example.lines[line - 1])["type"] == "definitions" for line in example.rejected):
        pytest.skip("the example has a line of definitions with an error in it")
    pairs = defaultdict(list)
    for one in transitions:
        row = (one["seq"], one["transition"], one["at"], one["cause"])
        pairs[one["contact"], one["segment"], one.get("key")].append(row)
    assert (dict(pairs), [int(reason.split(":")[0]) for reason in reasons]) == stated(example)


def test_transitions_carry_and_are_marked_as_the_page_says(example: Example) -> None:
    """`simulate` prints neither the traits nor the mark, so that they would go wrong unseen."""
    expected = sorted((row[1], row[2], row[3], bool(row[8]), row[9] and json.loads(row[9])) for row in example.rows)
    found = [one for one in simulate(load(example.definitions), example.lines, example.until_ms)]
    got = [one for one in found if not isinstance(one, RejectedLine)]
    assert sorted((format_instant(one.at_ms), one.contact, one.segment, one.silent, one.traits) for one in got) == expected


def test_the_python_example_prints_what_the_page_says() -> None:
    """Notebooks begin as copies of it."""
    ((code, expected),) = re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", PAGE, re.DOTALL)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    assert printed.getvalue() == expected


# ---- every word of the language ----


class Words:
    """The words that the examples use, each by what it is used as; `under` are the headings that it is used below."""

    def __init__(self) -> None:
        self.under: dict[tuple[str, str], set[str]] = defaultdict(set)
        for example in EXAMPLES:
            self._heading = example.heading
            self._file(read_text(example.definitions, "page"))
            for line in example.lines:
                if b'"definitions"' in line:
                    self._file(json.loads(line))

    def of(self, kind: str) -> set[str]:
        return {word for found, word in self.under if found == kind}

    def _say(self, kind: str, words: Any) -> None:
        for word in words:
            self.under[kind, word].add(self._heading)

    def _file(self, data: dict[str, Any]) -> None:
        for segment in data["segments"]:
            self._say("segment", segment)
            if "when" in segment:
                self._condition(segment["when"])
        for score in data.get("scores", ()):
            self._say("score", score)
            for rule in score["rules"]:
                self._say("rule", rule)
                self._where(rule.get("where", {}))

    def _condition(self, condition: dict[str, Any]) -> None:
        (head,) = condition.keys() & set(check_conditions.HEADS)
        self._say("head", [head])
        self._say(head, condition)
        body = condition[head]
        for part in body if head in JOINING else [body] if head in ("not", "held") else []:
            self._condition(part)
        if head == "known":
            self._tests(body)
        if head == "trait":
            self._tests({key: test for key, test in condition.items() if key not in ("trait", "tz")})
        if head == "event":
            self._event(condition)
        if head == "sequence":
            for step in body:
                self._say("step", step)
                self._where(step.get("where", {}))

    def _event(self, condition: dict[str, Any]) -> None:
        for key in ("where", "earliest", "latest"):
            self._where(condition.get(key, {}))
        for key in ("first_at", "last_at"):
            self._tests(condition.get(key, {}))
        self._calendar(condition.get("calendar", {}))
        self._say("weekday", condition.get("weekdays", ()))
        if isinstance(condition["event"], dict):
            self._say("names", condition["event"])
        for key in condition.keys() & set(check_measures.MEASURES):
            measure = condition[key] if isinstance(condition[key], dict) else {"eq": condition[key]}
            self._say("regularly" if key == "regularly" else "number test", measure)

    def _where(self, where: dict[str, Any]) -> None:
        for path, test in where.items():
            if path in JOINING:
                self._say("where", [path])
                for part in test:
                    self._where(part)
            elif isinstance(test, dict):
                self._tests(test)

    def _tests(self, tests: dict[str, Any]) -> None:
        self._say("operator", tests)
        for operator, argument in tests.items():
            if operator in ("any_item", "no_item"):
                self._where(argument)
            if operator in ("calendar", "anniversary"):
                self._calendar(argument)
            if isinstance(argument, dict) and "trait" in argument:
                self._say("right side", argument)

    def _calendar(self, word: Any) -> None:
        self._say("calendar", [word] if isinstance(word, str) else word)


WORDS = Words()
RULE_KEYS = {*check_scores._EVENT_KEYS, "trait"}
KNOWN = {
    "head": check_conditions.HEADS,
    "event": check_conditions._EVENT_KEYS,
    "operator": (*check_tests.TRAIT_OPERATORS, "ignore_case"),
    "number test": (*(set(check_tests.NUMBER_OPERATORS) - {"ne", "between"}), "of"),
    "calendar": (*check_times.WORDS, *check_times.COUNTED_WORDS),
    "weekday": ("fri", "sat", "sun"),
    "names": ("prefix", "any_except"),
    "where": JOINING,
    "regularly": check_measures._REGULARLY_KEYS,
    "step": ("event", "absent", "within", *check_events.MATCHING_KEYS),
    "sequence": check_sequences._KEYS,
    "right side": ("trait",),
    "sample": ("sample",),
    "subscribed": ("subscribed", "default"),
    "held": ("held", "for"),
    "score": (*check_scores._KEYS, *check_tests.ORDER_OPERATORS),
    "rule": RULE_KEYS,
    "segment": check_module._SEGMENT_KEYS,
}
