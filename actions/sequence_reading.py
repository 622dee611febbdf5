"""Sequences as they are written (`SEQUENCES.md`), to `Sequence`s: every error of a file at once, each with its path."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from actions.errors import RuleErrors, SequenceErrors
from actions.message_reading import read_group
from actions.reader import DESCRIPTIVE, MAX_AGE, ON, Reader, read_each
from actions.sequence_conditions import Conditions, read_tz
from actions.sequence_steps import Given, StepsReader
from actions.sequences import GOAL, UTC, Again, AgainKind, On, Sequence
from schemas.transitions import Direction

_KEYS = ("id", "on", "again", "existing", "while", "goal", "exit", "max_age", "group", "tz", "steps", *DESCRIPTIVE)
EXITS_MAX: Final = 16
_AGAIN = ("once", "every_time", "per_key")


def load_sequences(text: str, name: str = "sequences", templates: Path | None = None) -> tuple[Sequence, ...]:
    """The sequences in one YAML or JSON file; its other keys are not looked at. `templates`: directory of those named.

    Raises `SequenceErrors` with every error of the file. What is asked of a contact is not checked here: the conditions
    in place are in `lifted`, for `segments.load_data`.
    """
    asking: list[Conditions] = []

    def read(reader: Reader, body: Any) -> Sequence | None:
        sequence, conditions = _sequence(reader, body)
        asking.extend([conditions] if conditions is not None and conditions.id else [])
        return sequence

    sequences, errors = read_each("sequence", "sequences", text, name, templates, read)
    if errors:
        raise SequenceErrors(errors, asking)
    return sequences


def sequence_of(body: Mapping[str, Any]) -> Sequence:
    """The sequence of a definition record's body, whose templates are in place; raises `RuleErrors`."""
    reader = Reader("sequence: ", "$", None)
    sequence, _ = _sequence(reader, dict(body))
    if sequence is None:
        raise RuleErrors(reader.errors)
    return sequence


def _sequence(reader: Reader, body: Any) -> tuple[Sequence | None, Conditions | None]:
    """The sequence, or None with something in the reader's `errors`; and its conditions, right or wrong.

    Templates that are named are put in place in `body`.
    """
    if not reader.is_mapping(body, ""):
        return None, None
    id = reader.id(body, "sequence")
    reader.keys(body, _KEYS, "")
    reader.descriptive(body)
    segment, transition, causes = reader.on(body)
    on = On(segment, transition)
    tz = read_tz(reader, body, "", UTC)
    max_age_ms = reader.duration(body.get("max_age", MAX_AGE), ".max_age")
    group = read_group(reader, body, "")
    conditions = Conditions(reader, id, tz)
    while_ = conditions.segment(body["while"], ".while") if "while" in body else None
    steps_reader = StepsReader(reader, conditions, Given(id, on, causes, while_, max_age_ms, group, tz))
    steps, begin = steps_reader.read(body.get("steps"))
    goal, goal_ends = _goal(reader, conditions, body)
    exits = _exits(reader, conditions, body)
    again = _again(reader, body.get("again", "once"))
    existing = _existing(reader, body, transition)
    if reader.errors:
        return None, conditions
    sequence = Sequence(
        id=id,
        on=on,
        causes=causes,
        again=again,
        existing=existing,
        max_age_ms=max_age_ms,
        goal=goal,
        goal_ends=goal_ends,
        exits=exits,
        steps=steps,
        begin=begin,
        lifted=conditions.lifted,
        places=conditions.places,
        event_asked=steps_reader.event_asked,
        body=body,
    )
    return sequence, conditions


def _again(reader: Reader, found: Any) -> Again:
    if isinstance(found, dict):
        reader.keys(found, ("cooldown",), ".again")
        return Again("cooldown", reader.duration(found.get("cooldown"), ".again.cooldown"))
    if found not in _AGAIN:
        reader.error(f"{' or '.join(_AGAIN)} or {{cooldown: …}}", found, ".again", _AGAIN)
        return Again()
    return Again(cast(AgainKind, found))


def _existing(reader: Reader, body: dict[str, Any], transition: Direction) -> bool:
    existing = reader.boolean(body, "existing", "")
    if existing and transition != "entered":
        reader.say("expected `transition: entered` beside `existing`, got 'left'", ".on.transition")
    return existing


def _goal(reader: Reader, conditions: Conditions, body: dict[str, Any]) -> tuple[On | None, bool]:
    goal = body.get("goal")
    if "goal" not in body or not reader.is_mapping(goal, ".goal", f"{ON} or {{when: …}}"):
        return None, True
    reader.keys(goal, ("segment", "when", "ends"), ".goal")
    return On(conditions.named(goal, ".goal", GOAL), "entered"), reader.boolean(goal, "ends", ".goal", default=True)


def _exits(reader: Reader, conditions: Conditions, body: dict[str, Any]) -> tuple[On, ...]:
    if "exit" not in body:
        return ()
    written = body["exit"]
    if isinstance(written, dict):
        return (_exit(reader, conditions, written, ".exit"),)
    if not isinstance(written, list) or not written:
        reader.error("{segment: …} or {when: …}, or a list of such", written, ".exit")
        return ()
    if len(written) > EXITS_MAX:
        reader.say(f"expected at most {EXITS_MAX} exits, got {len(written)}", ".exit")
        return ()
    places = [(f".exit[{at}]", item) for at, item in enumerate(written)]
    return tuple(
        _exit(reader, conditions, item, path)
        for path, item in places
        if reader.is_mapping(item, path, f"{ON} or {{when: …}}")
    )


def _exit(reader: Reader, conditions: Conditions, written: dict[str, Any], path: str) -> On:
    reader.keys(written, ("segment", "when", "transition"), path)
    return On(conditions.named(written, path), reader.direction(written, "left", path))
