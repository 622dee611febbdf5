"""Data of a definitions file to `Definitions`: every error of the file found at once, each with its path."""

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from segments.check_conditions import ConditionChecker
from segments.check_references import Reference, check_references
from segments.check_scores import PROSE_KEYS, check_prose, check_score
from segments.check_times import check_tz
from segments.check_values import check_duration, check_path
from segments.conditions import LIFTED, UTC, Definitions, Score, Segment
from segments.errors import DefinitionErrors
from segments.limits import Limits
from segments.read import check_data, read_text
from segments.report import Report, TooManyErrors

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_FILE_KEYS = ("segments", "scores", "rules", "sequences", "policies")
# what a file may hold that other code reads
_OTHERS = ("rules", "sequences", "policies")
Check = Callable[[str, dict[str, Any]], Any]
_SEGMENT_KEYS = ("id", *PROSE_KEYS, "tz", "when", "hold", "per", "carry", "backfill")


def load(text: str, name: str = "segments", limits: Limits | None = None) -> Definitions:
    """The definitions in a file's text, YAML or JSON; raises `DefinitionErrors` with every error of the file."""
    return load_data(read_text(text, name), name, limits)


def load_data(
    data: Any, name: str = "segments", limits: Limits | None = None, *, lifted: Iterable[dict[str, Any]] = ()
) -> Definitions:
    """The definitions in a file's data; `rules`, `sequences` and `policies`, which other code reads, are left aside.

    Where there are such, be it an empty list, no segments and scores at all are fine. Of `limits`, `depth` and
    `conditions` are looked at. `lifted`: bodies of segments that stand for conditions of sequences, whose ids begin with
    `~`; they are checked and taken as segments of the file are, but nothing can name them. Raises `DefinitionErrors`.
    """
    lifted = list(lifted)
    check_data([data, lifted], name)
    checker = _FileChecker(name, limits or Limits())
    try:
        definitions = checker.check(data, lifted)
    except TooManyErrors:
        raise DefinitionErrors(checker.report.errors) from None
    if checker.report.errors:
        raise DefinitionErrors(checker.report.errors)
    return definitions


class _Listed(NamedTuple):
    """What was right in a list, and all bodies in it by id, so that a reference to one that is wrong is none to nothing."""

    checked: list[Any]
    bodies: dict[str, Any]


class _FileChecker:
    """Checks one file; what is wrong gathers in `report`, what refers to something else in two lists."""

    def __init__(self, name: str, limits: Limits) -> None:
        self.report = Report(name)
        self._limits = limits
        self._named: list[Reference] = []
        self._scores: list[Reference] = []

    def check(self, data: Any, lifted: list[dict[str, Any]]) -> Definitions:
        """What is right in the file; it is of use only where the report is empty."""
        report = self.report
        if not isinstance(data, dict):
            report.expected("a mapping with `segments`", data)
            return Definitions(())
        report.only(data, _FILE_KEYS)
        optional = any(key in data for key in _OTHERS)
        scores = segments = _Listed([], {})
        if "scores" in data:
            scores = self._listed(data["scores"], "scores", "score", optional, self._score)
        if "segments" in data or not (optional or "scores" in data):
            segments = self._listed(data.get("segments"), "segments", "segment", optional, self._segment)
        own = [self._lifted(body) for body in lifted]
        check_references(report, self._named, segments.bodies, self._scores, scores.bodies)
        return Definitions(
            (*segments.checked, *(segment for segment in own if segment is not None)), tuple(scores.checked)
        )

    def _lifted(self, body: dict[str, Any]) -> Segment | None:
        id = body["id"]
        assert id.startswith(LIFTED), "a segment that anybody may name is one of the file"
        with self.report.about(f"segment {id!r}"):
            return self._segment(id, body)

    def _listed(self, found: Any, key: str, kind: str, optional: bool, check: Check) -> "_Listed":
        """What `check` makes of each in the list under `key`."""
        report = self.report
        listed = _Listed([], {})
        with report.at(key):
            if not isinstance(found, list):
                report.expected(f"a list of {key}", found)
                return listed
            if not found and not optional:
                report.expected(f"at least one {kind}", found)
            for at, body in enumerate(found):
                with report.at(at):
                    if isinstance(body, dict):
                        checked = self._one(body, kind, listed.bodies, check)
                        listed.checked.extend([] if checked is None else [checked])
                    else:
                        report.expected(f"a mapping with `id` and `{'when' if kind == 'segment' else 'rules'}`", body)
        return listed

    def _one(self, body: dict[str, Any], kind: str, bodies: dict[str, Any], check: Check) -> Any:
        """What `check` makes of one of them; its path starts at itself where its id is known."""
        report = self.report
        id = body.get("id")
        if not isinstance(id, str) or not _ID.fullmatch(id):
            with report.at("id"):
                report.expected("an id of 1 to 64 of a-z 0-9 . _ -, a letter or digit first", id)
            return check("?", body)
        if id in bodies:
            with report.at("id"):
                report.say(f"expected each id once, got {id!r} again")
        bodies.setdefault(id, body)
        with report.about(f"{kind} {id!r}"):
            return check(id, body)

    def _score(self, id: str, body: dict[str, Any]) -> Score | None:
        return check_score(self.report, id, body)

    def _segment(self, id: str, body: dict[str, Any]) -> Segment | None:
        report = self.report
        before = len(report.errors)
        report.only(body, _SEGMENT_KEYS)
        check_prose(report, body)
        checker = ConditionChecker(report, id, check_tz(report, body, UTC), self._limits)
        enter_ms, leave_ms = _check_hold(report, body)
        carry = _check_carry(report, body)
        if "backfill" in body and body["backfill"] != "silent":
            with report.at("backfill"):
                report.expected("silent", body["backfill"])
        with report.at("when"):
            if "when" not in body:
                report.say("expected a condition, got none")
                return None
            when = checker.check(body["when"], 1)
            if checker.seen > self._limits.conditions:
                report.say(f"expected at most {self._limits.conditions} conditions and steps in a segment, got more")
        self._named += [Reference(id, other, place) for other, place in checker.named]
        self._scores += [Reference(id, score, place) for score, place in checker.scores]
        per = None
        if "per" in body:
            with report.at("per"):
                per = check_path(report, body["per"])
                if per is not None and when is not None and not checker.asks_events:
                    report.say(
                        "expected an `event` or `sequence` condition in `when`, got none; its events give the keys"
                    )
        if len(report.errors) > before or when is None:
            return None
        return Segment(id, when, enter_ms, leave_ms, body, per, carry, "backfill" in body)


def _check_hold(report: Report, body: dict[str, Any]) -> tuple[int, int]:
    if "hold" not in body:
        return 0, 0
    hold = body["hold"]
    held = {"enter": 0, "leave": 0}
    with report.at("hold"):
        if not isinstance(hold, dict) or not hold:
            report.expected("a mapping with `enter`, `leave` or both", hold)
            return 0, 0
        report.only(hold, held)
        for key in held:
            if key in hold:
                with report.at(key):
                    held[key] = check_duration(report, hold[key], zero=True) or 0
    return held["enter"], held["leave"]


def _check_carry(report: Report, body: dict[str, Any]) -> tuple[str, ...]:
    if "carry" not in body:
        return ()
    listed = body["carry"]
    with report.at("carry"):
        if not isinstance(listed, list) or not listed:
            report.expected("a list of at least one trait", listed)
            return ()
        paths = []
        for at, item in enumerate(listed):
            with report.at(at):
                paths.append(check_path(report, item))
    return tuple(dict.fromkeys(path for path in paths if path is not None))
