"""Data of a definitions file to `Definitions`: every error of the file found at once, each with its path."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from segments.check_conditions import CONDITIONS_MAX, ConditionChecker
from segments.check_references import Reference, check_references
from segments.check_scores import PROSE_KEYS, check_prose, check_score
from segments.check_times import check_tz
from segments.check_values import check_duration, check_path
from segments.conditions import UTC, Definitions, Score, Segment
from segments.errors import DefinitionErrors
from segments.read import read_text
from segments.report import Report, TooManyErrors

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_FILE_KEYS = ("segments", "scores", "rules")
_SEGMENT_KEYS = ("id", *PROSE_KEYS, "tz", "when", "hold", "per", "carry", "backfill")


def load(text: str, name: str = "segments") -> Definitions:
    """The definitions in a file's text, YAML or JSON; raises `DefinitionErrors` with every error of the file."""
    return load_data(read_text(text, name), name)


def load_data(data: Any, name: str = "segments") -> Definitions:
    """The definitions in a file's data; `rules`, which other code reads, are left aside. Raises `DefinitionErrors`.

    Where there are `rules`, be it an empty list, no segments and scores at all are fine.
    """
    checker = _FileChecker(name)
    try:
        definitions = checker.check(data)
    except TooManyErrors:
        raise DefinitionErrors(checker.report.errors) from None
    if checker.report.errors:
        raise DefinitionErrors(checker.report.errors)
    return definitions


class _FileChecker:
    """Checks one file; what is wrong gathers in `report`, what refers to something else in two lists."""

    def __init__(self, name: str) -> None:
        self.report = Report(name)
        self._named: list[Reference] = []
        self._scores: list[Reference] = []

    def check(self, data: Any) -> Definitions:
        """What is right in the file; it is of use only where the report is empty."""
        report = self.report
        if not isinstance(data, dict):
            report.expected("a mapping with `segments`", data)
            return Definitions(())
        report.only(data, _FILE_KEYS)
        optional = "rules" in data
        scores, score_ids = [], dict[str, Any]()
        if "scores" in data:
            with report.at("scores"):
                score_ids = self._bodies(data["scores"], "score", optional)
                scores = list(self._each(score_ids, "score", self._score))
        segments, segment_ids = [], dict[str, Any]()
        if "segments" in data or not (optional or "scores" in data):
            with report.at("segments"):
                segment_ids = self._bodies(data.get("segments"), "segment", optional)
                segments = list(self._each(segment_ids, "segment", self._segment))
        check_references(report, self._named, segment_ids, self._scores, score_ids)
        return Definitions(tuple(segments), tuple(scores))

    def _bodies(self, listed: Any, kind: str, optional: bool) -> dict[str, Any]:
        """The bodies in a list, by id."""
        report = self.report
        if not isinstance(listed, list):
            report.expected(f"a list of {kind}s", listed)
            return {}
        if not listed and not optional:
            report.expected(f"at least one {kind}", listed)
        bodies: dict[str, Any] = {}
        for at, body in enumerate(listed):
            with report.at(at):
                if not isinstance(body, dict):
                    report.expected(f"a mapping with `id` and `{'when' if kind == 'segment' else 'rules'}`", body)
                    continue
                with report.at("id"):
                    id = body.get("id")
                    if not isinstance(id, str) or not _ID.fullmatch(id):
                        report.expected("an id of 1 to 64 of a-z 0-9 . _ -, a letter or digit first", id)
                    elif id in bodies:
                        report.say(f"expected each id once, got {id!r} again")
                    else:
                        bodies[id] = body
        return bodies

    def _each(self, bodies: dict[str, Any], kind: str, check: Callable[[str, dict[str, Any]], Any]) -> Iterable[Any]:
        """What `check` makes of each body, but for those in which it finds something wrong."""
        for id, body in bodies.items():
            with self.report.about(f"{kind} {id!r}"):
                checked = check(id, body)
            if checked is not None:
                yield checked

    def _score(self, id: str, body: dict[str, Any]) -> Score | None:
        return check_score(self.report, id, body)

    def _segment(self, id: str, body: dict[str, Any]) -> Segment | None:
        report = self.report
        before = len(report.errors)
        report.only(body, _SEGMENT_KEYS)
        check_prose(report, body)
        checker = ConditionChecker(report, id, check_tz(report, body, UTC))
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
            if checker.seen > CONDITIONS_MAX:
                report.say(f"expected at most {CONDITIONS_MAX} conditions and steps in a segment, got more")
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
